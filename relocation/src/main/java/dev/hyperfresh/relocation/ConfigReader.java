package dev.hyperfresh.relocation;

import dev.hyperfresh.relocation.ContainerConfig.Capabilities;
import dev.hyperfresh.relocation.ContainerConfig.Linux;
import dev.hyperfresh.relocation.ContainerConfig.Mount;
import dev.hyperfresh.relocation.ContainerConfig.Program;
import dev.hyperfresh.relocation.ContainerConfig.Rlimit;
import dev.hyperfresh.relocation.ContainerConfig.Root;
import dev.hyperfresh.relocation.ContainerConfig.User;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
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
  private static final int MOST_ANNOTATIONS = 256;
  private static final int MOST_NAMESPACES = 16;
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

  /// Orders for a runtime.
  private static final Pattern ORDER =
      Pattern.compile("(org\\.systemd\\.property|run\\.oci|runc)\\..*", Pattern.DOTALL);

  private static final Set<String> NAMESPACES =
      Set.of("pid", "network", "ipc", "uts", "mount", "cgroup");

  /// Why a field is refused that makes sense elsewhere.
  static final String ELSEWHERE = "containers here cannot have it.";

  private ConfigReader() {}

  static ContainerConfig read(ConfigFields config) {
    var _ = config.text("ociVersion", VERSION.asMatchPredicate(), "OCI version");
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
            config.text("hostname", HOST_NAME.asMatchPredicate(), "host name").orElse(""),
            config.text("domainname", HOST_NAME.asMatchPredicate(), "domain name").orElse(""),
            mounts(config),
            linux(config.part("linux")),
            config.map(
                "annotations",
                MOST_ANNOTATIONS,
                key -> !ORDER.matcher(key).matches(),
                _ -> true,
                "string"));
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
    process.drop(
        "apparmorProfile", "it runs without one, because the kernel of an OS has no AppArmor.");
    process.drop(
        "selinuxLabel", "it runs without one, because the kernel of an OS has no SELinux.");
    process.refuse(List.of("commandLine", "ioPriority", "scheduler", "execCPUAffinity"), ELSEWHERE);
    List<String> args = process.texts("args", MOST_WORDS, _ -> true, "string");
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
    return sets.texts(name, MOST_PATHS, CAPABILITIES::contains, "capability inside a container");
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
                  "process limit")
              .orElse("");
      Rlimit read = new Rlimit(type, limit.unsigned("hard"), limit.unsigned("soft"));
      limit.end();
      if (!types.add(type)) {
        limit.fault("type", "'" + type + "' is given twice.");
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
        config.fault("mounts", ConfigFields.shown(mount.destination()) + " is given twice.");
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
    linux.drop("cgroupsPath", "its control group is named after the container.");
    linux.drop("mountLabel", "its mounts have none, because the kernel of an OS has no SELinux.");
    var _ =
        linux.text(
            "rootfsPropagation",
            Set.of("", "private", "rprivate", "slave", "rslave")::contains,
            "mount propagation that stays inside");
    Linux read =
        new Linux(
            "",
            List.of(),
            ResourcesReader.read(linux.part("resources")),
            paths(linux, "maskedPaths"),
            paths(linux, "readonlyPaths"),
            linux.map(
                "sysctl",
                MOST_PATHS,
                SYSCTL.asMatchPredicate(),
                SETTING.asMatchPredicate(),
                "setting"),
            SeccompReader.read(linux.part("seccomp")));
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
        namespace.fault("type", "'" + ConfigFields.shown(type) + "' is not a kind of namespace.");
      }
      namespace.refuse("path", "containers here have namespaces of their own.");
      namespace.end();
    }
  }
}
