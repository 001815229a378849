package dev.hyperfresh.linux;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// Every C function that this package calls, as its C declaration.
///
/// The declaration is the only source: the foreign descriptor is read from it, and the header audit
/// test hands the same text to a C compiler beside the headers, which refuses a wrong one.
/// Functions that take variable arguments also list the types that are passed here.
enum Symbol {
  OPEN("int open(const char *, int, ...)", "unsigned int"),
  CLOSE("int close(int)"),
  READ("ssize_t read(int, void *, size_t)"),
  WRITE("ssize_t write(int, const void *, size_t)"),
  FDATASYNC("int fdatasync(int)"),
  FSYNC("int fsync(int)"),
  FALLOCATE("int fallocate(int, int, off_t, off_t)"),
  LSEEK("off_t lseek(int, off_t, int)"),
  PIPE2("int pipe2(int *, int)"),
  FCNTL("int fcntl(int, int, ...)", "int"),
  FSTAT("int fstat(int, struct stat *)"),
  STATX("int statx(int, const char *, int, unsigned int, struct statx *)"),
  FSTATFS("int fstatfs(int, struct statfs *)"),
  FTRUNCATE("int ftruncate(int, off_t)"),
  CHMOD("int chmod(const char *, mode_t)"),
  SYSCALL_OPENAT2("long syscall(long, ...)", "int, const char *, struct open_how *, size_t"),
  UNLINKAT("int unlinkat(int, const char *, int)"),
  RENAMEAT("int renameat(int, const char *, int, const char *)"),
  RENAMEAT2("int renameat2(int, const char *, int, const char *, unsigned int)"),
  MKDIRAT("int mkdirat(int, const char *, mode_t)"),
  GETDENTS64("ssize_t getdents64(int, void *, size_t)"),
  PPOLL("int ppoll(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *)"),
  MEMFD_CREATE("int memfd_create(const char *, unsigned int)"),
  MMAP("void *mmap(void *, size_t, int, int, int, off_t)"),
  MUNMAP("int munmap(void *, size_t)"),
  SOCKET("int socket(int, int, int)"),
  SOCKETPAIR("int socketpair(int, int, int, int *)"),
  BIND("int bind(int, const struct sockaddr *, socklen_t)"),
  LISTEN("int listen(int, int)"),
  CONNECT("int connect(int, const struct sockaddr *, socklen_t)"),
  ACCEPT4("int accept4(int, struct sockaddr *, socklen_t *, int)"),
  SENDMSG("ssize_t sendmsg(int, const struct msghdr *, int)"),
  RECVMSG("ssize_t recvmsg(int, struct msghdr *, int)"),
  SETSOCKOPT("int setsockopt(int, int, int, const void *, socklen_t)"),
  GETSOCKOPT("int getsockopt(int, int, int, void *, socklen_t *)"),
  GETSOCKNAME("int getsockname(int, struct sockaddr *, socklen_t *)"),
  SHUTDOWN("int shutdown(int, int)"),
  POSIX_SPAWNP(
      "int posix_spawnp(pid_t *, const char *, const posix_spawn_file_actions_t *,"
          + " const posix_spawnattr_t *, char *const *, char *const *)"),
  ACTIONS_INIT("int posix_spawn_file_actions_init(posix_spawn_file_actions_t *)"),
  ACTIONS_DESTROY("int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *)"),
  ACTIONS_DUP2("int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *, int, int)"),
  ACTIONS_OPEN(
      "int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *, int, const char *, int,"
          + " mode_t)"),
  ACTIONS_CLOSE("int posix_spawn_file_actions_addclose(posix_spawn_file_actions_t *, int)"),
  ACTIONS_CLOSE_FROM(
      "int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int)"),
  ATTRIBUTES_INIT("int posix_spawnattr_init(posix_spawnattr_t *)"),
  ATTRIBUTES_DESTROY("int posix_spawnattr_destroy(posix_spawnattr_t *)"),
  ATTRIBUTES_FLAGS("int posix_spawnattr_setflags(posix_spawnattr_t *, short)"),
  ATTRIBUTES_MASK("int posix_spawnattr_setsigmask(posix_spawnattr_t *, const sigset_t *)"),
  ATTRIBUTES_DEFAULT("int posix_spawnattr_setsigdefault(posix_spawnattr_t *, const sigset_t *)"),
  SIGEMPTYSET("int sigemptyset(sigset_t *)"),
  SIGFILLSET("int sigfillset(sigset_t *)"),
  SIGADDSET("int sigaddset(sigset_t *, int)"),
  PTHREAD_SIGMASK("int pthread_sigmask(int, const sigset_t *, sigset_t *)"),
  TGKILL("int tgkill(pid_t, pid_t, int)"),
  KILL("int kill(pid_t, int)"),
  PROCESS_VM_READV(
      "ssize_t process_vm_readv(pid_t, const struct iovec *, unsigned long, const struct iovec *,"
          + " unsigned long, unsigned long)"),
  WAITID("int waitid(idtype_t, id_t, siginfo_t *, int)"),
  PIDFD_OPEN("int pidfd_open(pid_t, unsigned int)"),
  PIDFD_GETFD("int pidfd_getfd(int, int, unsigned int)"),
  PIDFD_SEND_SIGNAL("int pidfd_send_signal(int, int, siginfo_t *, unsigned int)"),
  IOCTL("int ioctl(int, unsigned long, ...)", "void *"),
  SYSCALL_BPF("long syscall(long, ...)", "int, void *, unsigned int"),
  CLOCK_GETTIME("int clock_gettime(clockid_t, struct timespec *)"),
  SCHED_SETSCHEDULER("int sched_setscheduler(pid_t, int, const struct sched_param *)"),
  SCHED_SETAFFINITY("int sched_setaffinity(pid_t, size_t, const cpu_set_t *)"),
  SETPRIORITY("int setpriority(__priority_which_t, id_t, int)"),
  PRCTL("int prctl(int, ...)", "unsigned long"),
  GETTID("pid_t gettid(void)"),
  GETEUID("uid_t geteuid(void)"),
  SETNS("int setns(int, int)"),
  SETFSUID("int setfsuid(uid_t)"),
  SETFSGID("int setfsgid(gid_t)"),
  SYSCALL_SETRESID("long syscall(long, ...)", "uid_t, uid_t, uid_t"),
  SYSCALL_SETGROUPS("long syscall(long, ...)", "size_t, const gid_t *"),
  SYSCALL_CAPSET(
      "long syscall(long, ...)",
      "struct __user_cap_header_struct *, const struct __user_cap_data_struct *"),
  STRERRORNAME("const char *strerrorname_np(int)");

  private static final Pattern DECLARATION = Pattern.compile("(.*?)(\\w+)\\((.*)\\)");

  private final String declaration;
  private final String variableTypes;

  Symbol(String declaration, String variableTypes) {
    this.declaration = declaration;
    this.variableTypes = variableTypes;
  }

  Symbol(String declaration) {
    this(declaration, "");
  }

  /// The C declaration, without the semicolon.
  String declaration() {
    return declaration;
  }

  /// The name that the dynamic linker knows.
  String cName() {
    return parts().group(2);
  }

  /// The C types that cross the boundary by value: result, fixed and variable parameters.
  List<String> types() {
    List<String> types = new ArrayList<>();
    types.add(parts().group(1).strip());
    types.addAll(fixedTypes());
    types.addAll(split(variableTypes));
    return types;
  }

  /// What the linker passes for a C type.
  ///
  /// @throws IllegalStateException when the table below does not know the type
  static ValueLayout layout(String type) {
    if (type.endsWith("*")) {
      return ValueLayout.ADDRESS;
    }
    return switch (type) {
      case "short" -> ValueLayout.JAVA_SHORT;
      case "int", "unsigned int", "mode_t", "pid_t", "uid_t", "gid_t", "id_t" ->
          ValueLayout.JAVA_INT;
      case "idtype_t", "clockid_t", "socklen_t", "__priority_which_t" -> ValueLayout.JAVA_INT;
      case "long", "unsigned long", "size_t", "ssize_t", "off_t", "nfds_t" -> ValueLayout.JAVA_LONG;
      default -> throw new IllegalStateException("no layout for the C type " + type);
    };
  }

  /// Links the function. The handle takes a segment for errno (see [Errno]) before the C
  /// parameters. Where this C library does not have the function, every call of the handle throws a
  /// [MissingCallException], so that only what needs the function fails.
  MethodHandle link() {
    return link(Linker.nativeLinker().defaultLookup());
  }

  /// As [#link()], from another library than that of this process.
  MethodHandle link(SymbolLookup library) {
    return library.find(cName()).map(this::linkTo).orElseGet(this::absent);
  }

  /// Whether a library has the function.
  boolean isIn(SymbolLookup library) {
    return library.find(cName()).isPresent();
  }

  private MethodHandle linkTo(MemorySegment address) {
    List<Linker.Option> options = new ArrayList<>();
    options.add(Linker.Option.captureCallState("errno"));
    if (!variableTypes.isEmpty()) {
      options.add(Linker.Option.firstVariadicArg(fixedTypes().size()));
    }
    return Linker.nativeLinker()
        .downcallHandle(address, descriptor(), options.toArray(Linker.Option[]::new));
  }

  private MethodHandle absent() {
    MethodType type = descriptor().toMethodType().insertParameterTypes(0, MemorySegment.class);
    try {
      MethodHandle refusal =
          MethodHandles.lookup()
              .findVirtual(
                  Symbol.class, "missing", MethodType.methodType(MissingCallException.class))
              .bindTo(this);
      MethodHandle thrower =
          MethodHandles.throwException(type.returnType(), MissingCallException.class);
      return MethodHandles.dropArguments(
          MethodHandles.foldArguments(thrower, refusal), 0, type.parameterList());
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("the method below is there", e);
    }
  }

  /// What a call throws of a function that is not there.
  MissingCallException missing() {
    return MissingCallException.inLibrary(cName());
  }

  /// What a failed `invokeExact` means: a fault in this package, or a closed segment of the caller.
  static RuntimeException unexpected(@Nullable Throwable thrown) {
    return switch (thrown) {
      case RuntimeException runtime -> runtime;
      case Error error -> throw error;
      case null, default ->
          new IllegalStateException("a call into the C library did not complete", thrown);
    };
  }

  private FunctionDescriptor descriptor() {
    List<String> types = types();
    return FunctionDescriptor.of(
        layout(types.getFirst()),
        types.subList(1, types.size()).stream().map(Symbol::layout).toArray(MemoryLayout[]::new));
  }

  private List<String> fixedTypes() {
    String list = parts().group(3).replace(", ...", "");
    return list.equals("void") ? List.of() : split(list);
  }

  private static List<String> split(String types) {
    return types.isEmpty() ? List.of() : List.of(types.split(", "));
  }

  private Matcher parts() {
    Matcher matcher = DECLARATION.matcher(declaration);
    if (!matcher.matches()) {
      throw new IllegalStateException("not a C declaration: " + declaration);
    }
    return matcher;
  }
}
