package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine.RunAs;
import dev.hyperfresh.linux.Cgroup;
import dev.hyperfresh.linux.CgroupPlace;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.ProcessRights;
import dev.hyperfresh.linux.Unprivileged;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// As whom a process that something else started runs, and whether later instances can run
/// likewise: a daemon that is root starts them with the same rights, in the same network namespace
/// and in the same control groups. Immutable.
///
/// @param rights of the process
/// @param ours whether it is this daemon's user and has all its rights, so that nothing is gained
///   by what the daemon does for it
/// @param root whether the daemon is root
/// @param runAs how to start later instances, where they are not to run as the daemon
/// @param reasons what keeps them from running likewise, one sentence each
/// @param remarks what is not as before with them
record ForeignUser(
    ProcessRights rights,
    boolean ours,
    boolean root,
    Optional<RunAs> runAs,
    List<String> reasons,
    List<String> remarks) {
  /// Where `ip netns` gives names to network namespaces.
  static final Path NAMES = Path.of("/run/netns");

  /// Those that only what started the process can enter as it did.
  private static final List<String> CLOSED = List.of("user", "pid", "time");

  /// The host as its processes show it.
  ///
  /// @param cgroups where the hierarchies of control groups are
  /// @param names as [#NAMES]
  record Surroundings(ProcFs proc, Path cgroups, Path names) {
    static final Surroundings HOST = new Surroundings(ProcFs.HOST, Cgroup.MOUNTED, NAMES);
  }

  ForeignUser {
    reasons = List.copyOf(reasons);
    remarks = List.copyOf(remarks);
  }

  /// Of process `pid` of this host.
  ///
  /// @throws IOException when it cannot be looked at
  static ForeignUser of(int pid) throws IOException {
    return of(Surroundings.HOST, pid, Math.toIntExact(ProcessHandle.current().pid()));
  }

  /// @param self the daemon's own process
  static ForeignUser of(Surroundings host, int pid, int self) throws IOException {
    ProcessRights rights = ProcessRights.of(host.proc(), pid);
    ProcessRights mine = ProcessRights.of(host.proc(), self);
    boolean root = mine.uid() == 0;
    boolean same = rights.uid() == mine.uid();
    boolean ours =
        same
            && !rights.differFrom(mine)
            && host.proc().namespace(pid, "mnt").equals(host.proc().namespace(self, "mnt"));
    List<String> reasons = new ArrayList<>();
    List<String> remarks = new ArrayList<>();
    if (!root && same && !ours) {
      reasons.add(
          "It runs as the daemon's user, but with fewer rights, under another label or in another"
              + " mount namespace, and later processes would run as the daemon; run the daemon as"
              + " root.");
    } else if (!root && !ours) {
      reasons.add(
          "It runs as user "
              + rights.uid()
              + ", and later processes would run as user "
              + mine.uid()
              + "; run the daemon as root, or as that user with a --state directory of its own.");
    }
    Optional<RunAs> runAs = Optional.empty();
    if (root) {
      closed(host.proc(), pid, self).ifPresent(reasons::add);
      Optional<Path> network = network(host, pid, self);
      if (network.isPresent() || rights.differFrom(mine)) {
        runAs =
            Optional.of(
                new RunAs(rights, CgroupPlace.of(host.proc(), host.cgroups(), pid), network));
        Unprivileged.obstacle()
            .filter(_ -> rights.differFrom(mine))
            .ifPresent(why ->
                reasons.add("Later processes cannot be started with its rights: " + why + "."));
        remarks.addAll(remarks(host.proc(), rights, pid, self));
      }
    }
    return new ForeignUser(rights, ours, root, runAs, reasons, remarks);
  }

  /// A container's process has another view of the host than whoever is outside.
  private static Optional<String> closed(ProcFs proc, int pid, int self) {
    List<String> own =
        CLOSED.stream()
            .filter(kind -> proc.namespace(self, kind).isPresent())
            .filter(kind -> !proc.namespace(pid, kind).equals(proc.namespace(self, kind)))
            .toList();
    return own.isEmpty()
        ? Optional.empty()
        : Optional.of(
            "It runs in another "
                + String.join(" and ", own)
                + " namespace, as in a container, where no later process could be started like it;"
                + " run the daemon there, or let what manages the container replace it.");
  }

  private static Optional<Path> network(Surroundings host, int pid, int self) {
    Optional<String> its = host.proc().namespace(pid, "net");
    if (its.isEmpty() || its.equals(host.proc().namespace(self, "net"))) {
      return Optional.empty();
    }
    Path namespace = host.proc().of(pid, "ns/net");
    try (Stream<Path> names = Files.list(host.names())) {
      return Optional.of(
          names.filter(name -> isSame(name, namespace)).findFirst().orElse(RunAs.NAMELESS));
    } catch (IOException | UncheckedIOException none) {
      return Optional.of(RunAs.NAMELESS);
    }
  }

  private static boolean isSame(Path one, Path other) {
    try {
      return Files.isSameFile(one, other);
    } catch (IOException gone) {
      return false;
    }
  }

  private static List<String> remarks(ProcFs proc, ProcessRights rights, int pid, int self) {
    List<String> remarks = new ArrayList<>();
    long lost = rights.uid() == 0 ? 0 : rights.permitted() & ~rights.ambient();
    if (lost != 0) {
      remarks.add(
          "Later processes do without its capabilities "
              + BitSet.valueOf(new long[] {lost}).stream()
                  .mapToObj(Integer::toString)
                  .collect(Collectors.joining(", "))
              + ", which it does not leave to programs that it starts.");
    }
    if (!proc.namespace(pid, "mnt").equals(proc.namespace(self, "mnt"))) {
      remarks.add(
          "It runs in another mount namespace than the daemon, in whose later processes run; its"
              + " files are the same in both.");
    }
    return remarks;
  }

  /// The user in whose name its files are opened.
  FileUser files() {
    return root && !ours ? rights.files() : FileUser.SELF;
  }
}
