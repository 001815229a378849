package dev.hyperfresh.linux;

import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/// Which of the calls that this package makes are to be had on this host: of the C library, and of
/// the kernel under it.
///
/// A function that the library lacks is found by its name. A system call that the kernel lacks, or
/// that a sandbox hides, answers `ENOSYS`; it is made with arguments that no kernel takes, so that
/// nothing happens where it is there.
public final class SystemCalls {
  private static final int NOTHING = -1;
  private static final String NO_DAEMON = "no daemon starts";

  private SystemCalls() {}

  /// A call that not every host has: it is younger than hosts which are still about, or a kernel
  /// can be built without it.
  enum Uncertain {
    PIDFD_OPEN("pidfd_open", Symbol.PIDFD_OPEN, "Linux 5.3 and glibc 2.36", NO_DAEMON),
    PIDFD_GETFD("pidfd_getfd", Symbol.PIDFD_GETFD, "Linux 5.6 and glibc 2.36", NO_DAEMON),
    PIDFD_SEND_SIGNAL(
        "pidfd_send_signal", Symbol.PIDFD_SEND_SIGNAL, "Linux 5.1 and glibc 2.36", NO_DAEMON),
    MEMFD_CREATE("memfd_create", Symbol.MEMFD_CREATE, "Linux 3.17 and glibc 2.27", NO_DAEMON),
    GETTID("gettid", Symbol.GETTID, "glibc 2.30", NO_DAEMON),
    CLOSE_FROM(
        "posix_spawn_file_actions_addclosefrom_np",
        Symbol.ACTIONS_CLOSE_FROM,
        "glibc 2.34",
        "no hypervisor, machine or OS can be started"),
    OPENAT2("openat2", Symbol.SYSCALL_OPENAT2, "Linux 5.6", "no container can be run"),
    GETDENTS64("getdents64", Symbol.GETDENTS64, "glibc 2.30", "no container can be removed"),
    TGKILL("tgkill", Symbol.TGKILL, "glibc 2.30", "KVM cannot be examined"),
    BPF(
        "bpf",
        Symbol.SYSCALL_BPF,
        "Linux 3.18 with CONFIG_BPF_SYSCALL",
        "a guest's network loses packets at a replacement"),
    PROCESS_VM_READV(
        "process_vm_readv",
        Symbol.PROCESS_VM_READV,
        "Linux 3.2 with CONFIG_CROSS_MEMORY_ATTACH",
        "blackouts of large guests are longer"),
    STRERRORNAME(
        "strerrorname_np",
        Symbol.STRERRORNAME,
        "glibc 2.32",
        "errors of the kernel have a number and no name");

    private final String call;
    private final Symbol symbol;
    private final String needs;
    private final String without;

    Uncertain(String call, Symbol symbol, String needs, String without) {
      this.call = call;
      this.symbol = symbol;
      this.needs = needs;
      this.without = without;
    }

    /// Whether the kernel knows it. The C library must have it.
    boolean isInKernel() {
      return makeInVain() != -Constants.ENOSYS;
    }

    private long makeInVain() {
      return switch (this) {
        case PIDFD_OPEN -> PidCalls.pidfdOpen(NOTHING);
        case PIDFD_GETFD -> PidCalls.pidfdGetfd(NOTHING, NOTHING);
        case PIDFD_SEND_SIGNAL -> PidCalls.pidfdSendSignal(NOTHING, 0);
        case MEMFD_CREATE -> MemoryCalls.memfdCreate(MemorySegment.NULL, NOTHING);
        case OPENAT2 -> FileCalls.openat2(NOTHING, MemorySegment.NULL, MemorySegment.NULL, 0);
        case GETDENTS64 -> FileCalls.getdents64(NOTHING, MemorySegment.NULL, 0);
        case BPF -> DeviceCalls.bpf(NOTHING, MemorySegment.NULL, 0);
        case PROCESS_VM_READV ->
            PidCalls.processVmReadv(NOTHING, MemorySegment.NULL, 0, MemorySegment.NULL, 0);
        // Every kernel has what these stand for.
        case GETTID, TGKILL, CLOSE_FROM, STRERRORNAME -> 0;
      };
    }

    private MissingCall missing() {
      return new MissingCall(call, needs, without, without.equals(NO_DAEMON));
    }
  }

  /// The answers of a kernel.
  interface Kernel {
    /// Whether it has the call, which the C library has.
    boolean has(Uncertain call);
  }

  /// The calls that this host lacks; empty on one that has all. Changes nothing, and may be called
  /// by any thread.
  public static List<MissingCall> missing() {
    return missing(Linker.nativeLinker().defaultLookup(), Uncertain::isInKernel);
  }

  /// As [#missing()], of the host with this C library and this kernel.
  static List<MissingCall> missing(SymbolLookup library, Kernel kernel) {
    List<MissingCall> missing = new ArrayList<>();
    Set<Symbol> others = EnumSet.allOf(Symbol.class);
    for (Uncertain call : Uncertain.values()) {
      others.remove(call.symbol);
      if (!call.symbol.isIn(library) || !kernel.has(call)) {
        missing.add(call.missing());
      }
    }
    others.stream()
        .filter(symbol -> !symbol.isIn(library))
        .map(symbol -> new MissingCall(symbol.cName(), "glibc", NO_DAEMON, true))
        .forEach(missing::add);
    return missing;
  }
}
