package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/// Makes a guest of a spec. For one thread.
final class Creating {
  private final GuestSpec spec;
  private final Release release;
  private final Kinds kinds;
  private final AcceleratorChoice accelerator;

  /// Looks whether the guest can run on `release` here; makes nothing.
  ///
  /// @param kvm what `/dev/kvm` was seen to do on this host
  /// @throws HyperFreshException one of the `SPEC`, `RELEASE` and `HOST` problems
  Creating(GuestSpec spec, Release release, Kinds kinds, KvmProbe.Result kvm) {
    requireFits(spec, release, kinds);
    this.spec = spec;
    this.release = release;
    this.kinds = kinds;
    this.accelerator = kinds.of(release).accelerator(spec.accelerator(), release, kvm);
    List<Check> faults =
        Preflight.failures(kinds.of(release).checks(spec, release, accelerator.accelerator()));
    if (!faults.isEmpty()) {
      throw Problem.SPEC_INVALID.because(Preflight.sentences(faults));
    }
  }

  private static void requireFits(GuestSpec spec, Release release, Kinds kinds) {
    if (!kinds.has(release)) {
      throw Problem.RELEASE_UNKNOWN.because(release.name() + " is of kind " + release.kind() + ".");
    }
    missingFiles(spec);
    long most = Host.availableMemoryBytes();
    if (spec.memoryBytes() > most) {
      throw Problem.SPEC_MEMORY.because(
          (spec.memoryBytes() >> 20) + " MiB asked for, " + (most >> 20) + " MiB available.");
    }
  }

  private static void missingFiles(GuestSpec spec) {
    List<Path> wanted = new ArrayList<>();
    spec.boot()
        .ifPresent(boot -> {
          wanted.add(boot.kernel());
          boot.initrd().ifPresent(wanted::add);
        });
    spec.disks().forEach(disk -> wanted.add(disk.path()));
    List<String> missing =
        wanted.stream().filter(file -> !Files.isReadable(file)).map(Path::toString).toList();
    if (!missing.isEmpty()) {
      throw Problem.SPEC_FILE_MISSING.because(String.join(", ", missing));
    }
  }

  /// The guest with its memory and ports, which nothing runs yet.
  ///
  /// @param files the guest's folder, which is made
  /// @throws HyperFreshException [Problem#HOST_MISSING], [Problem#HOST_PERMISSION],
  ///   [Problem#DAEMON_STATE]; nothing is held then, and the folder may be there
  Guest guest(Path files, Path sockets, Confiner confiner, Consumer<Guest> changed) {
    List<Tap> taps = new ArrayList<>();
    List<MemFd> memories = new ArrayList<>();
    try {
      OwnFolder.closed(files);
      for (GuestSpec.Nic nic : spec.nics()) {
        taps.add(tap(nic));
      }
      MemFd memory = MemFd.create("hf-" + spec.name(), spec.memoryBytes());
      memories.add(memory);
      GuestIdentity identity =
          new GuestIdentity(
              spec,
              accelerator,
              Optional.empty(),
              files,
              sockets,
              Instant.now(),
              confiner.confine(spec, files));
      return new Guest(identity, kinds, memory, Endpoints.of(taps), ClockLoss.NONE, changed);
    } catch (LinuxException e) {
      memories.forEach(MemFd::close);
      taps.forEach(Tap::close);
      throw Problem.HOST_MISSING.because(String.valueOf(e.getMessage()), e);
    } catch (RuntimeException e) {
      memories.forEach(MemFd::close);
      taps.forEach(Tap::close);
      throw e;
    }
  }

  private static Tap tap(GuestSpec.Nic nic) {
    Tap tap;
    try {
      tap = Tap.create(nic.tap());
    } catch (LinuxException e) {
      throw (e.errnoName().equals("EPERM") || e.errnoName().equals("EACCES")
              ? Problem.HOST_PERMISSION
              : Problem.HOST_MISSING)
          .because("Tap " + nic.tap() + " cannot be created: " + e.getMessage(), e);
    }
    try {
      nic.bridge().ifPresent(tap::addToBridge);
      tap.up();
      return tap;
    } catch (LinuxException e) {
      tap.close();
      throw Problem.HOST_MISSING.because(
          "Tap " + nic.tap() + " cannot be attached: " + e.getMessage(), e);
    }
  }

  /// What is about to be started, for the progress.
  String starting() {
    String label = accelerator.accelerator().label();
    return "starting " + release.name() + " (" + label + ": " + accelerator.reason() + ")";
  }

  /// @throws HyperFreshException [Problem#HOST_SOCKET_PATH]
  static void requireShortSockets(Path sockets, String name) {
    // The longest name an instance of this guest can ever have, with ten digits of generation.
    Path longest = sockets.resolve(name + ".9999999999.qmp");
    int length = longest.toString().getBytes(StandardCharsets.UTF_8).length;
    if (length > UnixSocket.MAX_PATH) {
      throw Problem.HOST_SOCKET_PATH.because(longest + " has " + length + " bytes.");
    }
  }
}
