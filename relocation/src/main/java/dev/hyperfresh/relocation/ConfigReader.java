package dev.hyperfresh.relocation;

import dev.hyperfresh.relocation.ContainerConfig.Capabilities;
import dev.hyperfresh.relocation.ContainerConfig.Cpu;
import dev.hyperfresh.relocation.ContainerConfig.DeviceRule;
import dev.hyperfresh.relocation.ContainerConfig.Linux;
import dev.hyperfresh.relocation.ContainerConfig.Memory;
import dev.hyperfresh.relocation.ContainerConfig.Mount;
import dev.hyperfresh.relocation.ContainerConfig.Pids;
import dev.hyperfresh.relocation.ContainerConfig.Program;
import dev.hyperfresh.relocation.ContainerConfig.Resources;
import dev.hyperfresh.relocation.ContainerConfig.Rlimit;
import dev.hyperfresh.relocation.ContainerConfig.Root;
import dev.hyperfresh.relocation.ContainerConfig.Seccomp;
import dev.hyperfresh.relocation.ContainerConfig.Syscall;
import dev.hyperfresh.relocation.ContainerConfig.SyscallArgument;
import dev.hyperfresh.relocation.ContainerConfig.User;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.regex.Pattern;

/// What of a bundle's `config.json` is taken. A container can have what its processes bring along
/// when they move, and what runc makes again in every OS from the configuration alone.
final class ConfigReader {
  /// runc's.
  private static final long MOST_ID = Integer.MAX_VALUE;

  private static final int MOST_GROUPS = 1024;
  private static final int MOST_WORDS = 4096;
  private static final int MOST_PATHS = 128;
  private static final int MOST_MOUNTS = 64;
  private static final int MOST_RULES = 1024;
  private static final int MOST_ANNOTATIONS = 256;
  private static final int MOST_NAMESPACES = 16;
  private static final int MOST_ERRNO = 4095;
  private static final long MOST_PIDS = 1 << 22;

  /// The kernel's bounds of a weight, and of a period in µs.
  private static final long LEAST_SHARES = 2;

  private static final long MOST_SHARES = 262_144;

  private static final long LEAST_PERIOD = 1000;
  private static final long MOST_PERIOD = 1_000_000;

  private static final Set<String> LIMITS =
      Set.of(
          "AS",
          "CORE",
          "CPU",
          "DATA",
          "FSIZE",
          "LOCKS",
          "MEMLOCK",
          "MSGQUEUE",
          "NICE",
          "NOFILE",
          "NPROC",
          "RSS",
          "RTPRIO",
          "RTTIME",
          "SIGPENDING",
          "STACK");

  /// Those over the container's own processes, files and networks. The others are over the OS,
  /// which it shares with containers that it is kept from.
  static final Set<String> CAPABILITIES =
      Set.of(
          "CAP_AUDIT_WRITE",
          "CAP_CHOWN",
          "CAP_DAC_OVERRIDE",
          "CAP_FOWNER",
          "CAP_FSETID",
          "CAP_IPC_LOCK",
          "CAP_IPC_OWNER",
          "CAP_KILL",
          "CAP_LEASE",
          "CAP_MKNOD",
          "CAP_NET_ADMIN",
          "CAP_NET_BIND_SERVICE",
          "CAP_NET_BROADCAST",
          "CAP_NET_RAW",
          "CAP_SETFCAP",
          "CAP_SETGID",
          "CAP_SETPCAP",
          "CAP_SETUID",
          "CAP_SYS_CHROOT",
          "CAP_SYS_NICE",
          "CAP_SYS_PTRACE",
          "CAP_SYS_RESOURCE");

  /// Of a container's own namespaces. CRIU takes those of `ipc` and `uts` along, and runc sets
  /// those of the network in every OS before the container comes.
  private static final Pattern SYSCTL =
      Pattern.compile(
          "kernel\\.(domainname|msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)"
              + "|fs\\.mqueue\\.(queues_max|msg_max|msgsize_max|msg_default|msgsize_default)"
              + "|net\\.core\\.somaxconn"
              + "|net\\.ipv4\\.(ip_local_port_range|ip_unprivileged_port_start|ping_group_range"
              + "|tcp_fin_timeout|tcp_keepalive_(intvl|probes|time)|tcp_max_syn_backlog"
              + "|tcp_syncookies|tcp_tw_reuse)");

  private static final Pattern SETTING = Pattern.compile("[A-Za-z0-9._-][A-Za-z0-9._ \t-]{0,255}");
  private static final Pattern HOST_NAME = Pattern.compile("[A-Za-z0-9._-]{0,64}");
  private static final Pattern VERSION =
      Pattern.compile("1\\.[0-9]{1,3}\\.[0-9]{1,3}([-+].{0,64})?");
  private static final Pattern VARIABLE = Pattern.compile("[^=]+=.*", Pattern.DOTALL);
  private static final Pattern CPUS =
      Pattern.compile("[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*");
  private static final Pattern CALL = Pattern.compile("[a-z0-9_]{1,64}");

  /// Orders for a runtime.
  private static final Pattern ORDER =
      Pattern.compile("(org\\.systemd\\.property|run\\.oci|runc)\\..*", Pattern.DOTALL);

  private static final Set<String> NAMESPACES =
      Set.of("pid", "network", "ipc", "uts", "mount", "cgroup");

  private static final Set<String> ACTIONS =
      Set.of(
          "SCMP_ACT_ALLOW",
          "SCMP_ACT_ERRNO",
          "SCMP_ACT_KILL",
          "SCMP_ACT_KILL_PROCESS",
          "SCMP_ACT_KILL_THREAD",
          "SCMP_ACT_LOG",
          "SCMP_ACT_TRAP");

  private static final Set<String> OPERATORS =
      Set.of(
          "SCMP_CMP_EQ",
          "SCMP_CMP_GE",
          "SCMP_CMP_GT",
          "SCMP_CMP_LE",
          "SCMP_CMP_LT",
          "SCMP_CMP_MASKED_EQ",
          "SCMP_CMP_NE");

  private static final Set<String> ARCHITECTURES =
      Set.of("SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32");

  /// runc lets them into every container: `null`, `zero`, `full`, `random`, `urandom`, `tty`,
  /// `ptmx` and pseudo-terminals.
  private static final Set<String> USUAL_DEVICES =
      Set.of("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2");

  private static final String TERMINALS = "136";

  private static final String ELSEWHERE = "no container here can have it.";

  private ConfigReader() {}

  static ContainerConfig read(ConfigFields config) {
    var _ =
        config.text("ociVersion", VERSION.asMatchPredicate(), "version of OCI that is known here");
    config.refuse("hooks", "they would run in an OS that the container leaves.");
    config.refuse(List.of("vm", "solaris", "windows", "zos"), ELSEWHERE);
    ConfigFields root = config.part("root");
    Root files =
        new Root(
            root.text("path", path -> !path.isEmpty(), "path").orElse("rootfs"),
            root.flag("readonly", false));
    root.end();
    ContainerConfig read =
        new ContainerConfig(
            ContainerConfig.VERSION,
            files,
            process(config.part("process")),
            config.text("hostname", HOST_NAME.asMatchPredicate(), "name of a host").orElse(""),
            config.text("domainname", HOST_NAME.asMatchPredicate(), "name of a domain").orElse(""),
            mounts(config),
            linux(config.part("linux")),
            config.map(
                "annotations",
                MOST_ANNOTATIONS,
                key -> !ORDER.matcher(key).matches(),
                _ -> true,
                "text"));
    config.end();
    return read;
  }

  /// Of the container's own root file system, from wherever it is seen.
  static boolean isPath(String text) {
    return text.startsWith("/") && text.length() < 4096 && !List.of(text.split("/")).contains("..");
  }

  private static Program process(ConfigFields process) {
    if (process.flag("terminal", false)) {
      process.remark("terminal", "it runs without a terminal.");
    }
    process.drop("consoleSize", "it runs without a terminal.");
    process.drop("apparmorProfile", "it runs without one, the kernel of an OS has no AppArmor.");
    process.drop("selinuxLabel", "it runs without one, the kernel of an OS has no SELinux.");
    process.refuse(List.of("commandLine", "ioPriority", "scheduler", "execCPUAffinity"), ELSEWHERE);
    List<String> args = process.texts("args", MOST_WORDS, _ -> true, "text");
    if (args.isEmpty() || args.getFirst().isEmpty()) {
      process.fault("args", "there is no program to run.");
    }
    Program read =
        new Program(
            false,
            user(process.part("user")),
            args,
            process.texts("env", MOST_WORDS, VARIABLE.asMatchPredicate(), "NAME=VALUE"),
            process.text("cwd", ConfigReader::isPath, "absolute path without '..'").orElse("/"),
            capabilities(process.part("capabilities")),
            limits(process),
            process.flag("noNewPrivileges", false),
            process.small("oomScoreAdj", -1000, 1000));
    process.end();
    return read;
  }

  private static User user(ConfigFields user) {
    User read =
        new User(
            user.number("uid", 0, MOST_ID).orElse(0),
            user.number("gid", 0, MOST_ID).orElse(0),
            user.small("umask", 0, 0777),
            user.numbers("additionalGids", MOST_GROUPS, 0, MOST_ID));
    user.end();
    return read;
  }

  private static Optional<Capabilities> capabilities(ConfigFields sets) {
    if (!sets.isThere()) {
      return Optional.empty();
    }
    Capabilities read =
        new Capabilities(
            capabilities(sets, "bounding"),
            capabilities(sets, "effective"),
            capabilities(sets, "inheritable"),
            capabilities(sets, "permitted"),
            capabilities(sets, "ambient"));
    sets.end();
    return Optional.of(read);
  }

  private static List<String> capabilities(ConfigFields sets, String name) {
    return sets.texts(
        name, MOST_PATHS, CAPABILITIES::contains, "capability over the container alone");
  }

  private static List<Rlimit> limits(ConfigFields process) {
    List<Rlimit> limits = new ArrayList<>();
    Set<String> types = new HashSet<>();
    for (ConfigFields limit : process.parts("rlimits", LIMITS.size())) {
      String type =
          limit
              .text(
                  "type",
                  text ->
                      text.startsWith("RLIMIT_")
                          && LIMITS.contains(text.substring("RLIMIT_".length())),
                  "limit of a process")
              .orElse("");
      Rlimit read = new Rlimit(type, limit.unsigned("hard"), limit.unsigned("soft"));
      limit.end();
      if (!types.add(type)) {
        limit.fault("type", "'" + type + "' is there twice.");
      }
      if (read.soft().compareTo(read.hard()) > 0) {
        limit.fault("soft", read.soft() + " is more than the hard limit of " + read.hard() + ".");
      }
      limits.add(read);
    }
    return limits;
  }

  private static List<Mount> mounts(ConfigFields config) {
    List<Mount> mounts = new ArrayList<>();
    Set<String> destinations = new HashSet<>();
    for (ConfigFields mount : config.parts("mounts", MOST_MOUNTS)) {
      MountOptions.read(mount).ifPresent(mounts::add);
    }
    for (Mount mount : mounts) {
      if (!destinations.add(
          mount.destination().replaceAll("/+(\\./+)*", "/").replaceFirst("/\\.?$", ""))) {
        config.fault("mounts", ConfigFields.shown(mount.destination()) + " is there twice.");
      }
    }
    return mounts;
  }

  private static Linux linux(ConfigFields linux) {
    namespaces(linux);
    linux.refuse(List.of("uidMappings", "gidMappings"), "a user namespace cannot move.");
    linux.refuse("timeOffsets", "a time namespace cannot move.");
    linux.refuse("devices", "a device cannot move.");
    linux.refuse(List.of("intelRdt", "memoryPolicy", "netDevices", "personality"), ELSEWHERE);
    linux.drop("cgroupsPath", "its group is called like the container.");
    linux.drop("mountLabel", "its mounts have none, the kernel of an OS has no SELinux.");
    var _ =
        linux.text(
            "rootfsPropagation",
            Set.of("", "private", "rprivate", "slave", "rslave")::contains,
            "propagation of mounts that stays inside");
    Linux read =
        new Linux(
            "",
            List.of(),
            resources(linux.part("resources")),
            paths(linux, "maskedPaths"),
            paths(linux, "readonlyPaths"),
            linux.map(
                "sysctl",
                MOST_PATHS,
                SYSCTL.asMatchPredicate(),
                SETTING.asMatchPredicate(),
                "value of a setting"),
            seccomp(linux.part("seccomp")));
    linux.end();
    return read;
  }

  private static List<String> paths(ConfigFields linux, String name) {
    return linux.texts(name, MOST_PATHS, ConfigReader::isPath, "absolute path without '..'");
  }

  /// A container has the same ones always; what is said of them only must not ask for others.
  private static void namespaces(ConfigFields linux) {
    for (ConfigFields namespace : linux.parts("namespaces", MOST_NAMESPACES)) {
      String type = namespace.text("type", _ -> true, "kind of namespace").orElse("");
      if (type.equals("user") || type.equals("time")) {
        namespace.fault("type", "a " + type + " namespace cannot move.");
      } else if (!NAMESPACES.contains(type)) {
        namespace.fault("type", "'" + ConfigFields.shown(type) + "' is no kind of namespace.");
      }
      namespace.refuse("path", "a container here has namespaces of its own.");
      namespace.end();
    }
  }

  private static Resources resources(ConfigFields resources) {
    for (ConfigFields rule : resources.parts("devices", MOST_RULES)) {
      device(rule);
    }
    resources.refuse(List.of("blockIO", "hugepageLimits", "network", "rdma", "unified"), ELSEWHERE);
    Resources read =
        new Resources(
            List.of(DeviceRule.NONE),
            memory(resources.part("memory")),
            cpu(resources.part("cpu")),
            pids(resources.part("pids")));
    resources.end();
    return read;
  }

  /// Rules that change nothing: what they forbid is forbidden, and what they let in is.
  private static void device(ConfigFields rule) {
    boolean allow = rule.flag("allow", false);
    String type =
        rule.text("type", Set.of("", "a", "b", "c", "p", "u")::contains, "type of device")
            .orElse("");
    OptionalLong major = rule.number("major", -1, Integer.MAX_VALUE);
    OptionalLong minor = rule.number("minor", -1, Integer.MAX_VALUE);
    String access =
        rule.text("access", Pattern.compile("[rwm]{0,3}").asMatchPredicate(), "access").orElse("");
    rule.end();
    if (allow && !access.equals("m") && !isUsual(type, number(major), number(minor))) {
      rule.fault(
          "allow",
          (type.isEmpty() ? "a" : type)
              + " "
              + number(major)
              + ":"
              + number(minor)
              + " cannot be let in, a device cannot move.");
    }
  }

  private static boolean isUsual(String type, String major, String minor) {
    return type.equals("c")
        && (major.equals(TERMINALS) || USUAL_DEVICES.contains(major + ":" + minor));
  }

  private static String number(OptionalLong number) {
    return number.isPresent() && number.getAsLong() >= 0 ? Long.toString(number.getAsLong()) : "*";
  }

  private static Memory memory(ConfigFields memory) {
    memory.refuse(
        List.of("kernel", "kernelTCP", "swappiness", "disableOOMKiller", "checkBeforeUpdate"),
        ELSEWHERE);
    // The only way that there is.
    var _ = memory.flag("useHierarchy", true);
    Memory read =
        new Memory(
            memory.number("limit", -1, Long.MAX_VALUE),
            memory.number("reservation", -1, Long.MAX_VALUE),
            memory.number("swap", -1, Long.MAX_VALUE));
    memory.end();
    if (read.swap().orElse(0) > 0 && read.limit().orElse(0) > read.swap().getAsLong()) {
      memory.fault("swap", "it counts memory and swap together, and is less than the limit.");
    }
    if (read.swap().orElse(0) > 0 && read.limit().orElse(0) <= 0) {
      memory.fault("swap", "there is no limit of memory that it could go with.");
    }
    return read;
  }

  private static Cpu cpu(ConfigFields cpu) {
    cpu.refuse(List.of("burst", "idle", "mems", "realtimePeriod", "realtimeRuntime"), ELSEWHERE);
    Cpu read =
        new Cpu(
            cpu.number("shares", 0, MOST_SHARES),
            cpu.number("quota", -1, Long.MAX_VALUE / 1000),
            cpu.number("period", 0, MOST_PERIOD),
            cpu.text(
                    "cpus",
                    text -> text.isEmpty() || CPUS.matcher(text).matches(),
                    "list of processors")
                .orElse(""));
    cpu.end();
    requireAtLeast(cpu, "shares", read.shares(), LEAST_SHARES);
    requireAtLeast(cpu, "quota", read.quota(), LEAST_PERIOD);
    requireAtLeast(cpu, "period", read.period(), LEAST_PERIOD);
    return read;
  }

  /// 0 says nothing, and -1 that there is no limit.
  private static void requireAtLeast(
      ConfigFields fields, String name, OptionalLong value, long least) {
    if (value.orElse(0) > 0 && value.getAsLong() < least) {
      fields.fault(name, value.getAsLong() + " is less than " + least + ".");
    }
  }

  private static Pids pids(ConfigFields pids) {
    Pids read = new Pids(pids.number("limit", -1, MOST_PIDS));
    pids.end();
    return read;
  }

  /// CRIU takes a filter along as the kernel has it; nobody who is asked about calls can come
  /// along.
  private static Optional<Seccomp> seccomp(ConfigFields seccomp) {
    if (!seccomp.isThere()) {
      return Optional.empty();
    }
    seccomp.refuse(
        List.of("listenerPath", "listenerMetadata"), "who listens there would not move along.");
    seccomp.refuse("flags", "runc in an OS has none.");
    Seccomp read =
        new Seccomp(
            seccomp.text("defaultAction", ACTIONS::contains, "action that can move").orElse(""),
            seccomp.small("defaultErrnoRet", 0, MOST_ERRNO),
            seccomp.texts(
                "architectures", MOST_PATHS, ARCHITECTURES::contains, "architecture of an OS"),
            calls(seccomp));
    if (read.defaultAction().isEmpty()) {
      seccomp.fault("defaultAction", "there is none.");
    }
    seccomp.end();
    return Optional.of(read);
  }

  private static List<Syscall> calls(ConfigFields seccomp) {
    List<Syscall> calls = new ArrayList<>();
    for (ConfigFields call : seccomp.parts("syscalls", MOST_RULES)) {
      calls.add(
          new Syscall(
              call.texts("names", MOST_RULES, CALL.asMatchPredicate(), "system call"),
              call.text("action", ACTIONS::contains, "action that can move").orElse(""),
              call.small("errnoRet", 0, MOST_ERRNO),
              arguments(call)));
      if (calls.getLast().names().isEmpty() || calls.getLast().action().isEmpty()) {
        call.fault("names", "a rule needs system calls and an action.");
      }
      call.end();
    }
    return calls;
  }

  private static List<SyscallArgument> arguments(ConfigFields call) {
    List<SyscallArgument> arguments = new ArrayList<>();
    for (ConfigFields argument : call.parts("args", 6)) {
      arguments.add(
          new SyscallArgument(
              argument.small("index", 0, 5).orElse(0),
              argument.unsigned("value"),
              argument.unsigned("valueTwo"),
              argument.text("op", OPERATORS::contains, "comparison").orElse("")));
      if (arguments.getLast().op().isEmpty()) {
        argument.fault("op", "there is none.");
      }
      argument.end();
    }
    return arguments;
  }
}
