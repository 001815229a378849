package dev.hyperfresh.relocation;

import com.fasterxml.jackson.annotation.JsonInclude;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.TreeMap;
import tools.jackson.databind.json.JsonMapper;

/// All that runc is told of a container: `config.json` of the OCI runtime specification, as far as
/// a container here may have it. Names and meanings are that specification's. Immutable.
///
/// What is not a component here is in no container, whatever its bundle says.
record ContainerConfig(
    String ociVersion,
    Root root,
    Program process,
    String hostname,
    String domainname,
    List<Mount> mounts,
    Linux linux,
    Map<String, String> annotations) {
  /// What runc 1.1 and later read.
  static final String VERSION = "1.0.2";

  private static final JsonMapper JSON =
      JsonMapper.builder()
          .changeDefaultPropertyInclusion(
              inclusion -> inclusion.withValueInclusion(JsonInclude.Include.NON_EMPTY))
          .build();

  private static final List<String> NAMESPACES = List.of("pid", "ipc", "uts", "mount", "cgroup");

  /// @param path in the bundle
  record Root(String path, boolean readonly) {}

  record Program(
      boolean terminal,
      User user,
      List<String> args,
      List<String> env,
      String cwd,
      Optional<Capabilities> capabilities,
      List<Rlimit> rlimits,
      boolean noNewPrivileges,
      OptionalInt oomScoreAdj) {}

  record User(long uid, long gid, OptionalInt umask, List<Long> additionalGids) {}

  record Capabilities(
      List<String> bounding,
      List<String> effective,
      List<String> inheritable,
      List<String> permitted,
      List<String> ambient) {}

  /// @param hard 64 bits without a sign; all of them set is no limit
  record Rlimit(String type, BigInteger hard, BigInteger soft) {}

  record Mount(String destination, String type, String source, List<String> options) {}

  record Linux(
      String cgroupsPath,
      List<Namespace> namespaces,
      Resources resources,
      List<String> maskedPaths,
      List<String> readonlyPaths,
      Map<String, String> sysctl,
      Optional<Seccomp> seccomp) {}

  record Namespace(String type, String path) {}

  record Resources(List<DeviceRule> devices, Memory memory, Cpu cpu, Pids pids) {}

  record DeviceRule(boolean allow, String access) {
    /// After which runc lets in its own devices, such as `/dev/null`, which are the same
    /// everywhere.
    static final DeviceRule NONE = new DeviceRule(false, "rwm");
  }

  /// In bytes; -1 is no limit.
  record Memory(OptionalLong limit, OptionalLong reservation, OptionalLong swap) {}

  /// @param quota µs in a period; -1 is no limit
  /// @param period µs
  record Cpu(OptionalLong shares, OptionalLong quota, OptionalLong period, String cpus) {}

  record Pids(OptionalLong limit) {}

  record Seccomp(
      String defaultAction,
      OptionalInt defaultErrnoRet,
      List<String> architectures,
      List<Syscall> syscalls) {}

  record Syscall(
      List<String> names, String action, OptionalInt errnoRet, List<SyscallArgument> args) {}

  record SyscallArgument(int index, BigInteger value, BigInteger valueTwo, String op) {}

  /// The same with other capabilities.
  ContainerConfig with(Capabilities capabilities) {
    Program changed =
        new Program(
            process.terminal(),
            process.user(),
            process.args(),
            process.env(),
            process.cwd(),
            Optional.of(capabilities),
            process.rlimits(),
            process.noNewPrivileges(),
            process.oomScoreAdj());
    return new ContainerConfig(
        ociVersion, root, changed, hostname, domainname, mounts, linux, annotations);
  }

  /// What runc gets of it for the container `name`, which has its folder, its group and its
  /// networks in every OS.
  ///
  /// @param networkNamespace the file that stands for it
  /// @param volumes mounted after everything else
  byte[] json(String name, String networkNamespace, List<VolumeMount> volumes) {
    List<Namespace> namespaces = new ArrayList<>();
    NAMESPACES.forEach(type -> namespaces.add(new Namespace(type, "")));
    namespaces.add(new Namespace("network", networkNamespace));
    Map<String, String> sysctl = new TreeMap<>(linux.sysctl());
    if (!domainname.isEmpty()) {
      // Older runc has no other way to it.
      sysctl.put("kernel.domainname", domainname);
    }
    Linux placed =
        new Linux(
            "/" + name,
            namespaces,
            linux.resources(),
            linux.maskedPaths(),
            linux.readonlyPaths(),
            sysctl,
            linux.seccomp());
    return JSON.writeValueAsBytes(
        new ContainerConfig(
            ociVersion,
            new Root("rootfs", root.readonly()),
            process,
            hostname.isEmpty() ? name : hostname,
            "",
            withVolumes(name, volumes),
            placed,
            annotations));
  }

  private List<Mount> withVolumes(String name, List<VolumeMount> volumes) {
    List<Mount> all =
        new ArrayList<>(
            mounts.stream()
                .filter(own -> volumes.stream().noneMatch(v -> v.path().equals(own.destination())))
                .toList());
    for (VolumeMount volume : volumes) {
      all.add(
          new Mount(
              volume.path(),
              "bind",
              OsVm.volume(name, volume.volume()),
              List.of("bind", "rprivate", "nodev", volume.readOnly() ? "ro" : "rw")));
    }
    return all;
  }

  /// What of its own mounts nobody would see under the volumes, a sentence each. One at the very
  /// place of a volume, such as a tmpfs that stands for one, gives way to it.
  List<String> hidden(List<VolumeMount> volumes) {
    List<String> hidden = new ArrayList<>();
    for (VolumeMount volume : volumes) {
      mounts.stream()
          .map(Mount::destination)
          .filter(there -> volume.hides(there) && !there.equals(volume.path()))
          .forEach(there ->
              hidden.add("volume: " + volume.path() + " would hide " + there + " of the bundle"));
    }
    return hidden;
  }
}
