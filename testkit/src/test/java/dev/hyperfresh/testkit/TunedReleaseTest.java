package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A QEMU with our patches takes guests from Debian's builds and gives them back. It takes long to
/// build, so there must be one already.
@Tag("slow")
class TunedReleaseTest {
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private static QemuRelease tuned() {
    List<QemuRelease> all = Workshop.RELEASES.list().stream().filter(QemuRelease::isTuned).toList();
    Workshop.require(!all.isEmpty(), "no tuned release in the cache");
    return all.getLast();
  }

  /// The guest's driver uses the rings of its disk, which a device looks at when it is loaded.
  @Test
  void aGuestMovesToOurPatchesAndBackAndLosesNothing() throws Exception {
    QemuRelease tuned = tuned();
    QemuRelease stock = Workshop.release("qemu-10.0");
    QemuRelease oldest = Workshop.release("qemu-7.2");
    Path image = workspace.state().resolve("disk.raw");
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.setLength(16 << 20);
    }
    GuestSpec spec =
        Workshop.linux("tuned", 256, List.of(new Disk(image, Disk.Format.RAW, false)), List.of());
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      hyperplexor.create(spec, oldest, Progress.NONE);
      Workshop.awaitReady(workspace.files("tuned"));
      try (TestGuest guest = TestGuest.beatingIn(hyperplexor.show("tuned").pid(), PATIENCE)) {
        for (QemuRelease to : List.of(tuned, stock, tuned, oldest, tuned)) {
          long records = guest.diskSequence();
          replace(hyperplexor, to, guest);
          Workshop.await(
              "a record on the disk", PATIENCE, () -> guest.diskSequence() > records + 1);
        }
        long passes = guest.passes();
        Workshop.await("a pass over the known region", PATIENCE, () -> guest.passes() > passes);
        assertThat(guest.mismatches()).as("mismatches in the known region").isZero();
        assertThat(guest.diskErrors()).as("errors of the disk").isZero();
        hyperplexor.stop("tuned", Duration.ZERO);
        checkDisk(image, guest);
        hyperplexor.delete("tuned");
      }
    }
  }

  private static void replace(Hyperplexor hyperplexor, QemuRelease to, TestGuest guest) {
    ReplacementRecord record =
        hyperplexor.replace("tuned", to, Duration.ofSeconds(5), Progress.NONE);
    System.out.printf(
        Locale.ROOT,
        "  to %-40s blackout %6.2f ms, heartbeat gap %6.2f ms%n",
        to.name(),
        record.blackoutMs().orElse(-1),
        record.guestGapMs().orElse(-1));
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.heartbeatWentBack()).as("the heartbeat went back").isFalse();
    assertThat(hyperplexor.show("tuned").release()).isEqualTo(to.name());
    guest.awaitBeat(Duration.ofSeconds(5));
  }

  private static void checkDisk(Path image, TestGuest guest) throws IOException {
    DiskRecords records = DiskRecords.read(image, guest.bootId());
    assertThat(records.damaged()).as("the first damaged record").isEmpty();
    assertThat(records.highest()).isBetween(guest.diskSequence(), guest.diskSequence() + 1);
  }
}
