package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Card;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.DiskDrive;
import dev.hyperfresh.hypervisor.Firmware;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.MemoryLayout;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.release.ReleaseFolders;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.stream.Stream;

/// The rehearsals that were passed, so that a chain of replacements pays for one. What failed is
/// never remembered: the cause may be gone. Thread-safe; whoever asks sees to it that guests of one
/// shape that move together ask one after the other, and so share a single one.
final class Rehearsals implements Rehearser {
  private static final String NAME = "rehearsal";

  /// What decides how a rehearsal ends.
  private record Pair(
      Build from,
      Build to,
      Accelerator accelerator,
      Shape shape,
      Map<String, MachineIdentity.Block> blocks) {}

  /// A release as it lies on disk now, whatever it was when it was added.
  private record Build(
      String sha256, List<String> arguments, List<Path> libraries, List<FileState> firmware) {}

  /// A disk without its name and its serial number.
  private record Drive(
      boolean readOnly, DiskDrive.Bus bus, boolean cdrom, boolean cached, boolean ioThread) {
    static Drive of(GuestSpec.Disk disk) {
      return new Drive(
          disk.readOnly(),
          disk.drive().bus(),
          disk.drive().cdrom(),
          disk.access().cache().writeCache(),
          disk.access().ioThread());
    }
  }

  private record NetworkCard(Card card, boolean user) {
    static NetworkCard of(GuestSpec.Nic nic) {
      return new NetworkCard(nic.card(), nic.user().isPresent());
    }
  }

  private record Others(boolean rng, boolean balloon, boolean screen) {}

  /// A guest without what the device state does not depend on: names, paths, addresses. Of one that
  /// was adopted, its whole command line.
  private record Shape(
      int vcpus,
      long memoryBytes,
      String machine,
      String cpu,
      boolean kernel,
      boolean initrd,
      List<Drive> disks,
      List<NetworkCard> nics,
      boolean agent,
      Others others,
      MemoryLayout layout,
      Firmware firmware,
      List<String> adopted) {
    static Shape of(Launch guest) {
      GuestSpec spec = guest.spec();
      return new Shape(
          spec.vcpus(),
          spec.memoryBytes(),
          spec.machine(),
          spec.cpu(),
          spec.boot().isPresent(),
          spec.boot().flatMap(GuestSpec.KernelBoot::initrd).isPresent(),
          Seed.disks(guest).stream().map(Drive::of).toList(),
          spec.nics().stream().map(NetworkCard::of).toList(),
          spec.agent(),
          new Others(
              spec.devices().rng(), spec.devices().balloon(), spec.devices().screen().isPresent()),
          spec.layout(),
          spec.firmware(),
          guest.adopted().map(AdoptedMachine::words).orElse(List.of()));
    }
  }

  /// A file that was not written since it had this state.
  private record FileState(Path file, Object key, long bytes, FileTime written) {
    static FileState of(Path file) throws IOException {
      BasicFileAttributes now = Files.readAttributes(file, BasicFileAttributes.class);
      return new FileState(file, String.valueOf(now.fileKey()), now.size(), now.lastModifiedTime());
    }
  }

  private record Success(Instant at, long millis, String note) {}

  private final Map<Pair, Success> passed = new ConcurrentHashMap<>();

  /// Reading a whole binary takes as long as a third of a rehearsal.
  private final Map<FileState, String> sums = new ConcurrentHashMap<>();

  @Override
  public Check rehearse(
      QemuInstance source, Release release, boolean anew, Consumer<String> begins) {
    if (!(release instanceof QemuRelease to)) {
      return NONE.rehearse(source, release, anew, begins);
    }
    Launch guest = source.launch();
    QemuRelease from = (QemuRelease) source.release();
    Pair pair;
    MachineIdentity identity;
    Rehearsal.Scenery scenery;
    try {
      identity = source.identity();
      pair =
          new Pair(build(from), build(to), guest.accelerator(), Shape.of(guest), identity.blocks());
      Optional<Success> earlier = anew ? Optional.empty() : Optional.ofNullable(passed.get(pair));
      if (earlier.isPresent()) {
        return Check.pass(
            NAME, sentence(from, to, earlier.get()) + " earlier: " + earlier.get().at() + ".");
      }
      scenery = scenery(source);
    } catch (IOException | Qmp.QmpException | HyperFreshException e) {
      return unknown(String.valueOf(e.getMessage()));
    }
    begins.accept("rehearsing with a twin on " + from.name() + " and scratch memory");
    return switch (new Rehearsal(guest, from, to, identity, scenery).run()) {
      case Rehearsed.Passed done -> {
        Success success =
            new Success(Instant.now().truncatedTo(ChronoUnit.SECONDS), done.millis(), done.note());
        passed.put(pair, success);
        yield Check.pass(NAME, sentence(from, to, success) + " just now.");
      }
      case Rehearsed.Rejected rejected -> {
        passed.remove(pair);
        yield Check.fail(
            NAME, rejected.sentence(), "Choose another release; the guest was not touched.");
      }
      case Rehearsed.TooSlow late -> {
        passed.remove(pair);
        yield Check.fail(
            NAME,
            late.sentence(),
            "Choose another release, or try again with --no-rehearsal if the host is just slow.");
      }
      case Rehearsed.Impossible impossible -> unknown(impossible.reason());
    };
  }

  private static Rehearsal.Scenery scenery(QemuInstance source) throws IOException {
    Optional<AdoptedMachine> adopted = source.launch().adopted();
    return adopted.isPresent()
        ? new Rehearsal.Scenery(
            List.of(),
            new AdoptedWords(adopted.get().words())
                .standIns(source.launch().spec().name(), source.openImages()))
        : new Rehearsal.Scenery(source.diskBytes(), List.of());
  }

  static Check unknown(String reason) {
    return Check.unknown(
        NAME,
        "Not rehearsed: " + reason + ".",
        "You can try the replacement anyway; it is rolled back if the target refuses.");
  }

  private static String sentence(QemuRelease from, QemuRelease to, Success success) {
    return to.name()
        + " took the state of a twin on "
        + from.name()
        + success.note()
        + ", in "
        + success.millis()
        + " ms,";
  }

  private Build build(QemuRelease release) throws IOException {
    FileState state;
    try {
      state = FileState.of(release.binary());
    } catch (IOException e) {
      throw new IOException(release.binary() + " cannot be read", e);
    }
    String sum = sums.computeIfAbsent(state, read -> ReleaseFolders.sha256(read.file()));
    return new Build(sum, release.arguments(), release.libraries(), firmware(release));
  }

  private static List<FileState> firmware(QemuRelease release) throws IOException {
    List<Path> folders = new ArrayList<>(release.firmware());
    release.bootRoms().ifPresent(folders::add);
    List<FileState> states = new ArrayList<>();
    for (Path folder : folders) {
      try (Stream<Path> files = Files.list(folder)) {
        for (Path file : files.filter(Files::isRegularFile).sorted().toList()) {
          states.add(FileState.of(file));
        }
      }
    }
    return states;
  }
}
