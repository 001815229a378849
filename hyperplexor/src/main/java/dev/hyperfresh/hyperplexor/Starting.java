package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MacVtap;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Supplier;

/// What a guest is to be started with: found fit for the release that is to run it, and not made
/// yet. Immutable.
///
/// @param accelerator what executes its code
/// @param memory of what its memory is made
/// @param queues how many queues each of its cards with taps has
record Starting(
    GuestSpec spec,
    Release release,
    AcceleratorChoice accelerator,
    List<MemoryPart> memory,
    List<Integer> queues) {
  Starting {
    memory = List.copyOf(memory);
    queues = List.copyOf(queues);
  }

  /// Looks whether a guest can run on `release` here; makes nothing.
  ///
  /// @param kvm what `/dev/kvm` was seen to do on this host
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException one of the `SPEC`, `RELEASE` and `HOST`
  ///   problems
  static Starting of(GuestSpec spec, Release release, Kinds kinds, KvmProbe.Result kvm) {
    requireKind(release, kinds);
    requireFiles(spec);
    List<MemoryPart> memory = spec.memoryParts();
    requireMemory(memory, Host.totalMemoryBytes(), "in this host");
    AcceleratorChoice accelerator = kinds.of(release).accelerator(spec.accelerator(), release, kvm);
    List<Integer> queues = AdoptedMachine.queues(spec, Optional.empty());
    return fit(new Starting(spec, release, accelerator, memory, queues), kinds);
  }

  /// The same for a guest that was adopted: the kind that adopted it builds its machine again, with
  /// the accelerator that it had.
  static Starting adopted(GuestIdentity guest, String kind, Release release, Kinds kinds) {
    if (!release.kind().equals(kind)) {
      throw Problem.GUEST_STATE.because(
          "Guest "
              + guest.name()
              + " was adopted as a "
              + kind
              + " and cannot be started as a "
              + release.kind()
              + ".");
    }
    requireKind(release, kinds);
    requireFiles(guest.spec());
    List<MemoryPart> memory = guest.adopted().orElseThrow().parts();
    List<Integer> queues = AdoptedMachine.queues(guest.spec(), guest.adopted());
    return fit(new Starting(guest.spec(), release, guest.accelerator(), memory, queues), kinds);
  }

  private static Starting fit(Starting starting, Kinds kinds) {
    Release release = starting.release();
    Accelerator accelerator = starting.accelerator().accelerator();
    List<Check> faults =
        Preflight.failures(kinds.of(release).checks(starting.spec(), release, accelerator));
    if (!faults.isEmpty()) {
      throw Problem.SPEC_INVALID.because(Preflight.sentences(faults));
    }
    return starting;
  }

  private static void requireKind(Release release, Kinds kinds) {
    if (!kinds.has(release)) {
      throw Problem.RELEASE_UNKNOWN.because(release.name() + " is of kind " + release.kind() + ".");
    }
  }

  /// Huge pages are set aside, and no part of what the rest of the host has.
  private static void requireMemory(List<MemoryPart> memory, long most, String where) {
    long bytes =
        memory.stream()
            .filter(part -> part.hugePageBytes().isEmpty())
            .mapToLong(MemoryPart::bytes)
            .sum();
    if (bytes > most) {
      throw Problem.SPEC_MEMORY.because(
          (bytes >> 20) + " MiB asked for, " + (most >> 20) + " MiB " + where + ".");
    }
  }

  private static void requireHugePages(List<MemoryPart> memory) {
    Map<Long, Long> wanted = new TreeMap<>();
    memory.forEach(part ->
        part.hugePageBytes().ifPresent(page -> wanted.merge(page, part.bytes() / page, Long::sum)));
    wanted.forEach((page, count) -> {
      long free = Host.freeHugePages(page);
      if (count > free) {
        throw Problem.SPEC_MEMORY.because(
            count
                + " huge pages of "
                + (page >> 10)
                + " KiB asked for, "
                + free
                + " free. Set more aside (vm.nr_hugepages).");
      }
    });
  }

  private static void requireFiles(GuestSpec spec) {
    List<Path> wanted = new ArrayList<>();
    spec.boot()
        .ifPresent(boot -> {
          wanted.add(boot.kernel());
          boot.initrd().ifPresent(wanted::add);
        });
    spec.disks().forEach(disk -> wanted.add(disk.path()));
    wanted.addAll(spec.devices().files());
    List<String> missing =
        wanted.stream().filter(file -> !Files.isReadable(file)).map(Path::toString).toList();
    if (!missing.isEmpty()) {
      throw Problem.SPEC_FILE_MISSING.because(String.join(", ", missing));
    }
  }

  /// Takes from the host what the guest needs to be run.
  ///
  /// @param confinement with which rights
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#SPEC_MEMORY],
  ///   [Problem#HOST_MISSING], [Problem#HOST_PERMISSION]; nothing is held then but what
  ///   `confinement` took
  GuestBody body(Supplier<Confinement> confinement) {
    requireMemory(memory, Host.availableMemoryBytes(), "available");
    requireHugePages(memory);
    List<Port> ports = new ArrayList<>();
    List<GuestMemory> memories = new ArrayList<>();
    try {
      for (int i = 0; i < queues.size(); i++) {
        ports.add(port(spec.taps().get(i), queues.get(i)));
      }
      GuestMemory made = GuestMemory.create("hf-" + spec.name(), memory);
      memories.add(made);
      return new GuestBody(made, new Endpoints(ports), new Pulse(made), confinement.get());
    } catch (LinuxException e) {
      memories.forEach(GuestMemory::close);
      ports.forEach(Port::close);
      throw Problem.HOST_MISSING.because(String.valueOf(e.getMessage()), e);
    } catch (RuntimeException e) {
      memories.forEach(GuestMemory::close);
      ports.forEach(Port::close);
      throw e;
    }
  }

  private static Port port(GuestSpec.Nic nic, int queues) {
    return nic.macvtap() ? new Port.Link(macvtap(nic)) : new Port.Own(tap(nic, queues), true);
  }

  /// It is somebody else's, and lets through what is for its own address alone.
  private static MacVtap macvtap(GuestSpec.Nic nic) {
    String which = "Macvtap " + nic.tap();
    MacVtap macvtap;
    try {
      macvtap = MacVtap.of(nic.tap());
    } catch (LinuxException e) {
      throw Problem.HOST_MISSING.because(which + " cannot be opened: " + e.getMessage(), e);
    }
    if (!macvtap.address().equals(nic.mac())) {
      macvtap.close();
      throw Problem.SPEC_INVALID.because(
          which
              + " has the address "
              + macvtap.address()
              + ", so nothing would reach a card with the mac "
              + nic.mac()
              + "; give both the same.");
    }
    return macvtap;
  }

  private static Tap tap(GuestSpec.Nic nic, int queues) {
    Tap tap;
    try {
      tap = Tap.create(nic.tap(), queues);
    } catch (LinuxException e) {
      throw (e.errnoName().equals("EPERM") || e.errnoName().equals("EACCES")
              ? Problem.HOST_PERMISSION
              : Problem.HOST_MISSING)
          .because("Tap " + nic.tap() + " cannot be created: " + e.getMessage(), e);
    }
    try {
      // A bridge takes over the least of its ports.
      nic.card().mtu().ifPresent(tap::mtu);
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
  String words() {
    String label = accelerator.accelerator().label();
    return "starting " + release.name() + " (" + label + ": " + accelerator.reason() + ")";
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#SPEC_INVALID]
  static void requireWithoutFaults(GuestSpec spec) {
    List<String> faults = spec.faults();
    if (!faults.isEmpty()) {
      throw Problem.SPEC_INVALID.because(String.join("; ", faults));
    }
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#HOST_SOCKET_PATH]
  static void requireShortSockets(Path sockets, String name) {
    // The longest name an instance of this guest can ever have, with ten digits of generation, or
    // with few and the number of the process that it was borrowed with.
    Path longest = sockets.resolve(name + ".9999999999.qmp");
    int length = longest.toString().getBytes(StandardCharsets.UTF_8).length;
    if (length > UnixSocket.MAX_PATH) {
      throw Problem.HOST_SOCKET_PATH.because(longest + " has " + length + " bytes.");
    }
  }
}
