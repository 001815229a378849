package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Obstacle;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.stream.Stream;

/// The way in: guests are made, listed, moved and ended here. Thread-safe; work on one guest is
/// done in order on the guest's own thread, work on several in parallel.
public final class Hyperplexor implements AutoCloseable {
  private final Path directory;
  private final Path sockets;
  private final Hypervisor hypervisor;
  private final KvmProbe.Result kvm;
  private final Journal journal;
  private final Consumer<GuestView> changed;
  private final Map<String, Guest> guests = new ConcurrentHashMap<>();
  private final AtomicLong lastId = new AtomicLong(System.currentTimeMillis());

  /// Works under `directory`, which it creates with mode 0700.
  ///
  /// @param kvm what `/dev/kvm` was seen to do on this host
  /// @param changed told of every guest whose view changed, on the guest's thread; must not block
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  public Hyperplexor(
      Path directory, Hypervisor hypervisor, KvmProbe.Result kvm, Consumer<GuestView> changed) {
    this.directory = directory.toAbsolutePath();
    this.sockets = this.directory.resolve("run");
    this.hypervisor = hypervisor;
    this.kvm = kvm;
    this.changed = changed;
    privateFolder(this.directory);
    privateFolder(sockets);
    this.journal = Journal.open(this.directory.resolve("journal.log"));
  }

  /// Makes and starts a guest on `release`. When it fails, nothing is left behind.
  ///
  /// @throws HyperFreshException one of the `SPEC`, `GUEST` and `HOST` problems
  public GuestView create(GuestSpec spec, Release release, Progress progress) {
    check(spec, release);
    AcceleratorChoice accelerator = AcceleratorChoice.choose(spec.accelerator(), kvm);
    List<Obstacle> obstacles = hypervisor.obstacles(spec, release, accelerator.accelerator());
    if (!obstacles.isEmpty()) {
      throw Problem.SPEC_INVALID.because(
          String.join(" ", obstacles.stream().map(o -> o.what() + " " + o.remedy()).toList()));
    }
    Path files = directory.resolve("guests").resolve(spec.name());
    progress.step("create", "memory of " + (spec.memoryBytes() >> 20) + " MiB and the network");
    Guest guest = assemble(spec, accelerator, files);
    if (guests.putIfAbsent(spec.name(), guest) != null) {
      guest.delete();
      throw exists(spec.name());
    }
    try {
      progress.step(
          "create",
          "starting "
              + release.name()
              + " ("
              + accelerator.accelerator().label()
              + ": "
              + accelerator.reason()
              + ")");
      guest.call(() -> {
        guest.start(release);
        return true;
      });
      return guest.view();
    } catch (HyperFreshException e) {
      guests.remove(spec.name());
      guest.delete();
      deleteFolder(files);
      throw e;
    }
  }

  private void check(GuestSpec spec, Release release) {
    List<String> faults = spec.faults();
    if (!faults.isEmpty()) {
      throw Problem.SPEC_INVALID.because(String.join("; ", faults));
    }
    if (guests.containsKey(spec.name())) {
      throw exists(spec.name());
    }
    if (!release.kind().equals(hypervisor.kind())) {
      throw Problem.RELEASE_UNKNOWN.because(release.name() + " is of kind " + release.kind() + ".");
    }
    missingFiles(spec);
    long most = Host.availableMemoryBytes();
    if (spec.memoryBytes() > most) {
      throw Problem.SPEC_MEMORY.because(
          (spec.memoryBytes() >> 20) + " MiB asked for, " + (most >> 20) + " MiB available.");
    }
    // The longest name an instance of this guest can ever have, with ten digits of generation.
    Path longest = sockets.resolve(spec.name() + ".9999999999.qmp");
    int length = longest.toString().getBytes(StandardCharsets.UTF_8).length;
    if (length > UnixSocket.MAX_PATH) {
      throw Problem.HOST_SOCKET_PATH.because(longest + " has " + length + " bytes.");
    }
  }

  private static HyperFreshException exists(String name) {
    return Problem.GUEST_EXISTS.because("Guest " + name + " is here already.");
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

  private Guest assemble(GuestSpec spec, AcceleratorChoice accelerator, Path files) {
    List<Tap> taps = new ArrayList<>();
    try {
      privateFolder(files.getParent() == null ? files : files.getParent());
      privateFolder(files);
      for (GuestSpec.Nic nic : spec.nics()) {
        taps.add(tap(nic));
      }
      MemFd memory = MemFd.create("hf-" + spec.name(), spec.memoryBytes());
      return new Guest(
          spec,
          hypervisor,
          accelerator,
          memory,
          taps,
          files,
          sockets,
          guest -> changed.accept(guest.view()));
    } catch (LinuxException e) {
      taps.forEach(Tap::close);
      throw Problem.HOST_MISSING.because(String.valueOf(e.getMessage()), e);
    } catch (HyperFreshException e) {
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
          .because("Tap " + nic.tap() + " cannot be made: " + e.getMessage(), e);
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

  /// All guests, by name.
  public List<GuestView> list() {
    return guests.values().stream()
        .map(Guest::view)
        .sorted(Comparator.comparing(view -> view.spec().name()))
        .toList();
  }

  /// The guest called `name`.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN]
  public GuestView show(String name) {
    return guest(name).view();
  }

  /// What is known to keep guest `name` from moving to `to`; empty when nothing is.
  public List<Obstacle> plan(String name, Release to) {
    Guest guest = guest(name);
    return guest.call(() -> {
      guest.running();
      return Replacement.obstacles(guest, to);
    });
  }

  /// Moves guest `name` to `to`. Returns also when it was rolled back; the record says so.
  ///
  /// @param maxBlackout after which the switch is given up
  /// @throws HyperFreshException [Problem#REPLACE_OBSTACLES], [Problem#REPLACE_BUSY],
  ///   [Problem#GUEST_STATE]; the guest was not touched
  public ReplacementRecord replace(
      String name, Release to, Duration maxBlackout, Progress progress) {
    Guest guest = guest(name);
    if (guest.view().state() == GuestView.State.REPLACING) {
      throw Problem.REPLACE_BUSY.because(
          "Guest " + name + " is being moved " + guest.view().detail() + ".");
    }
    String id = Long.toString(lastId.incrementAndGet(), 36);
    return guest.call(() -> new Replacement(id, guest, to, maxBlackout, journal, progress).run());
  }

  /// Whether the guest carries a heartbeat that beats now.
  public boolean hasHeartbeat(String name) {
    Guest guest = guest(name);
    return guest.call(() -> guest.pulse().find());
  }

  /// Powers the guest off and ends its hypervisor; after `patience` without its consent.
  public GuestView stop(String name, Duration patience) {
    Guest guest = guest(name);
    return guest.call(() -> {
      guest.stop(patience);
      return guest.view();
    });
  }

  /// Ends the guest and removes its folder.
  public void delete(String name) {
    Guest guest = guest(name);
    guest.delete();
    guests.remove(name);
    deleteFolder(guest.files());
  }

  private Guest guest(String name) {
    Guest guest = guests.get(name);
    if (guest == null) {
      throw Problem.GUEST_UNKNOWN.because("No guest is called '" + name + "'.");
    }
    return guest;
  }

  /// Ends every guest and lets go of everything.
  @Override
  public void close() {
    guests.values().forEach(Guest::delete);
    guests.clear();
    journal.close();
  }

  private static void privateFolder(Path folder) {
    try {
      Files.createDirectories(
          folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be made: " + e.getMessage(), e);
    }
  }

  private static void deleteFolder(Path folder) {
    if (!Files.exists(folder)) {
      return;
    }
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be removed: " + e.getMessage(), e);
    }
  }
}
