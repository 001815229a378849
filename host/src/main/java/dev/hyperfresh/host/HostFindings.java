package dev.hyperfresh.host;

import dev.hyperfresh.host.Finding.Verdict;
import dev.hyperfresh.linux.Cgroup;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MissingCall;
import dev.hyperfresh.linux.MissingCallException;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.Scheduling;
import dev.hyperfresh.linux.SystemCalls;
import dev.hyperfresh.linux.Unprivileged;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/// Looks at the host and says what works here, what does not, and what to do about it. Changes
/// nothing and needs no daemon. Thread-safe.
public final class HostFindings {
  private HostFindings() {}

  /// Examines the host.
  ///
  /// @param releases the programs of the installed releases of the `process` kind, by name, oldest
  ///   version first
  /// @param state where the daemon keeps its state; it need not exist
  public static List<Finding> examine(SequencedMap<String, Path> releases, Path state) {
    List<Finding> findings = new ArrayList<>();
    findings.add(system(SystemCalls.missing()));
    KvmProbe.Result kvm = KvmProbe.probe(Path.of("/dev/kvm"));
    findings.add(accelerator(kvm));
    findings.add(nesting(kvm, !releases.isEmpty()));
    findings.add(tuning(new NestingProfile(Path.of("/")).knobs()));
    findings.add(network());
    findings.add(unlessMissing("priority", HostFindings::priority));
    findings.add(memory());
    findings.add(hugePages());
    findings.add(packages());
    findings.add(releases(releases));
    findings.add(confinement(releases));
    findings.add(state(state));
    return findings;
  }

  /// Whether kernel and C library have all that is called here.
  static Finding system(List<MissingCall> missing) {
    if (missing.isEmpty()) {
      return new Finding(
          Verdict.OK, "system", "The kernel and the C library have every call that is used.", "");
    }
    return new Finding(
        missing.stream().anyMatch(MissingCall::vital) ? Verdict.MISSING : Verdict.LIMITED,
        "system",
        missing.stream()
            .map(call -> "Without %s, %s.".formatted(call.name(), call.without()))
            .collect(Collectors.joining(" ", "This host lacks calls. ", "")),
        missing.stream()
            .map(call -> "%s (%s)".formatted(call.name(), call.needs()))
            .collect(Collectors.joining(", ", "Use a host that has ", ".")));
  }

  /// A row whose look itself makes a call that this host may lack.
  static Finding unlessMissing(String subject, Supplier<Finding> look) {
    try {
      return look.get();
    } catch (MissingCallException e) {
      return new Finding(
          Verdict.MISSING,
          subject,
          "This cannot be determined: " + e.getMessage() + ".",
          "See system.");
    }
  }

  private static Finding accelerator(KvmProbe.Result kvm) {
    String nested =
        kvm.nested() ? " Nested virtualization is on." : " Nested virtualization is off.";
    return switch (kvm.verdict()) {
      case USABLE -> new Finding(Verdict.OK, "accelerator", "KVM. " + kvm.reason() + nested, "");
      case SLOW_RING0 ->
          new Finding(
              Verdict.LIMITED,
              "accelerator",
              "TCG. " + kvm.reason() + nested,
              "Guests are translated; a host with a full KVM runs them at speed.");
      case ABSENT, DENIED ->
          new Finding(
              Verdict.LIMITED,
              "accelerator",
              "TCG. " + kvm.reason(),
              "Load the kvm module, or let this user open /dev/kvm (group kvm).");
      case BROKEN ->
          new Finding(
              Verdict.LIMITED,
              "accelerator",
              "TCG. " + kvm.reason(),
              "Look for messages from kvm in the kernel's log.");
    };
  }

  /// How machines run here: with guests on the processor, translated, or not at all.
  static Finding nesting(KvmProbe.Result kvm, boolean hasRelease) {
    if (!hasRelease) {
      return new Finding(
          Verdict.MISSING,
          "nesting",
          "No machine can be started: there is no QEMU to run it.",
          "hyperfresh release fetch qemu-10.0");
    }
    if (kvm.verdict() == KvmProbe.Verdict.USABLE) {
      return kvm.nested()
          ? new Finding(
              Verdict.OK, "nesting", "Machines run on KVM, and their guests on nested KVM.", "")
          : new Finding(
              Verdict.LIMITED,
              "nesting",
              "Machines run on KVM, but their guests are translated: nesting is off.",
              "hyperfresh machine tune says how to switch it on.");
    }
    return new Finding(
        Verdict.LIMITED,
        "nesting",
        "Machines are translated, because this host has no KVM for them.",
        "See accelerator; a host with a full KVM runs machines at speed.");
  }

  /// A summary of the settings that keep nested guests cheap.
  static Finding tuning(List<Knob> knobs) {
    List<String> unset = names(knobs, Knob.State.NOT_SET);
    List<String> absent = names(knobs, Knob.State.ABSENT);
    String found =
        "%d of %d settings for cheap nesting are in place."
            .formatted(names(knobs, Knob.State.SET).size(), knobs.size());
    return new Finding(
        unset.isEmpty() && absent.isEmpty() ? Verdict.OK : Verdict.LIMITED,
        "tuning",
        found
            + (unset.isEmpty() ? "" : " Not set: " + String.join(", ", unset) + ".")
            + (absent.isEmpty() ? "" : " Not available here: " + String.join(", ", absent) + "."),
        unset.isEmpty() && absent.isEmpty()
            ? ""
            : "hyperfresh machine tune shows each, and applies those asked for.");
  }

  private static List<String> names(List<Knob> knobs, Knob.State state) {
    return knobs.stream().filter(knob -> knob.state() == state).map(Knob::name).toList();
  }

  private static Finding network() {
    try (Fd tun = Fd.open(Path.of("/dev/net/tun"), OpenFlags.READ_WRITE)) {
      boolean root = Host.effectiveUid() == 0;
      return new Finding(
          root ? Verdict.OK : Verdict.LIMITED,
          "network",
          tun.label() + " opens" + (root ? "." : ", but creating a tap needs CAP_NET_ADMIN."),
          root ? "" : "Run the daemon as root to give guests network cards.");
    } catch (LinuxException e) {
      return new Finding(
          Verdict.MISSING,
          "network",
          "No tap can be created: " + e.getMessage() + ".",
          "Load the tun module and run the daemon as root; guests without cards work.");
    }
  }

  private static Finding priority() {
    int self = Scheduling.currentThreadId();
    boolean allowed = Scheduling.realTime(self, 1) && Scheduling.normal(self);
    return allowed
        ? new Finding(Verdict.OK, "priority", "Real-time priority can be used for a switch.", "")
        : new Finding(
            Verdict.LIMITED,
            "priority",
            "Real-time priority is not allowed, so a busy host lengthens blackouts.",
            "Run the daemon as root or with CAP_SYS_NICE.");
  }

  private static Finding memory() {
    long available = Host.availableMemoryBytes() >> 20;
    long total = Host.totalMemoryBytes() >> 20;
    return new Finding(
        available < 1024 ? Verdict.LIMITED : Verdict.OK,
        "memory",
        available + " MiB of " + total + " MiB are available.",
        available < 1024 ? "A replacement needs 256 MiB in addition to the guests." : "");
  }

  private static Finding hugePages() {
    String count = readLine(Path.of("/proc/sys/vm/nr_hugepages"));
    return new Finding(
        Verdict.OK,
        "huge pages",
        count.equals("0") || count.isEmpty()
            ? "None reserved; guests use 4 KiB pages."
            : count + " reserved.",
        "");
  }

  private static Finding packages() {
    boolean apt =
        Files.isExecutable(Path.of("/usr/bin/apt-get"))
            && Files.isExecutable(Path.of("/usr/bin/dpkg-deb"));
    return apt
        ? new Finding(
            Verdict.OK, "packages", "apt-get is installed, so releases can be fetched.", "")
        : new Finding(
            Verdict.MISSING,
            "packages",
            "apt-get is not installed, so no release can be fetched.",
            "Add a QEMU of this host: hyperfresh release add /usr/bin/qemu-system-x86_64.");
  }

  private static Finding releases(SequencedMap<String, Path> releases) {
    return releases.isEmpty()
        ? new Finding(
            Verdict.MISSING,
            "releases",
            "None is installed.",
            "hyperfresh release fetch qemu-7.2; hyperfresh release fetch qemu-10.0")
        : new Finding(
            releases.size() < 2 ? Verdict.LIMITED : Verdict.OK,
            "releases",
            String.join(", ", releases.keySet()) + ".",
            releases.size() < 2 ? "A replacement needs a second release." : "");
  }

  private static Finding confinement(SequencedMap<String, Path> releases) {
    Optional<String> obstacle = Unprivileged.obstacle();
    if (obstacle.isPresent()) {
      return new Finding(
          Verdict.LIMITED,
          "confinement",
          "Hypervisors run as the daemon's user, since " + obstacle.get() + ".",
          "Run the daemon as root, with util-linux installed, to give each guest a user.");
    }
    Optional<Path> closed =
        releases.values().stream()
            .map(Unprivileged::closedOn)
            .flatMap(Optional::stream)
            .findFirst();
    boolean bounded = Cgroup.at(Cgroup.MOUNTED, Path.of("hyperfresh")).isPresent();
    return new Finding(
        closed.isEmpty() && bounded ? Verdict.OK : Verdict.LIMITED,
        "confinement",
        closed
                .map(path -> "Hypervisors run as the daemon's user, since " + path + " is closed,")
                .orElse("Each guest's hypervisors have a user of their own")
            + (bounded ? " and a control group." : "; there are no control groups."),
        closed.isEmpty()
            ? ""
            : "Keep releases where other users can read them: " + closed.get() + ".");
  }

  private static Finding state(Path state) {
    Path folder = state;
    while (folder != null && !Files.exists(folder)) {
      folder = folder.getParent();
    }
    boolean writable = folder != null && Files.isWritable(folder);
    return new Finding(
        writable ? Verdict.OK : Verdict.MISSING,
        "state",
        state + (writable ? " can be used." : " cannot be written."),
        writable ? "" : "Name another directory with --state.");
  }

  private static String readLine(Path file) {
    try {
      return Files.readString(file).strip();
    } catch (IOException e) {
      return "";
    }
  }
}
