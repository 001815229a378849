package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.UnixSocket;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Guests that do not simply run, on real hypervisors: what each operation makes of them.
@Tag("slow")
class RunStateTest {
  private static final Duration LIMIT = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final Release old = Workshop.release("qemu-7.2");
  private final Release kept = Workshop.release("qemu-10.0");
  private Hyperplexor hyperplexor;

  @BeforeEach
  void begin() {
    hyperplexor = Workshop.hyperplexor(workspace.state());
  }

  @AfterEach
  void end() {
    hyperplexor.close();
  }

  @Test
  void aGuestThatSleepsIsMovedAsleepAndWokenWhereItIs() throws Exception {
    hyperplexor.create(Workshop.linux("web1", 256, List.of(), List.of()), kept, Progress.NONE);
    Workshop.awaitReady(workspace.files("web1"));
    try (TestGuest guest = TestGuest.beatingIn(view().pid(), LIMIT)) {
      type("echo mem > /sys/power/state");
      Workshop.await("its sleep", LIMIT, () -> view().detail().equals("suspended to RAM"));
      long beats = guest.counter();

      assertThat(failures(old)).singleElement().extracting(Check::name).isEqualTo("run state");
      ReplacementRecord record = hyperplexor.replace("web1", kept, BLACKOUT, Progress.NONE);

      assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
      assertThat(view().detail()).isEqualTo("suspended to RAM");
      // Another daemon leaves it asleep, too.
      hyperplexor.letGo();
      hyperplexor = Workshop.hyperplexor(workspace.state());
      hyperplexor.takeBack(Workshop.RELEASES::get, Map.of(), LIMIT, _ -> {}, _ -> {});
      assertThat(view().detail()).isEqualTo("suspended to RAM");
      assertThat(guest.counter()).isEqualTo(beats);

      hyperplexor.resume("web1");

      guest.awaitBeat(LIMIT);
      Workshop.await("that it is seen", LIMIT, () -> view().detail().isEmpty());
      assertThat(hyperplexor.replace("web1", old, BLACKOUT, Progress.NONE).outcome())
          .isEqualTo(Outcome.COMMITTED);
      guest.awaitBeat(LIMIT);
    }
  }

  /// Its image lies on a file system that is full after some 100 of its records.
  @Test
  void aGuestThatItsDiskStoppedStaysSoUntilItIsResumed() throws Exception {
    Path small = Files.createDirectory(workspace.state().resolve("small"));
    TestNetwork.run("mount", "-t", "tmpfs", "-o", "size=512k", "hf-small", small.toString());
    try {
      Path image = small.resolve("disk.raw");
      try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
        file.setLength(64 << 20);
      }
      hyperplexor.create(
          Workshop.linux("web1", 256, List.of(new Disk(image, Disk.Format.RAW, false)), List.of()),
          old,
          Progress.NONE);
      try (TestGuest guest = TestGuest.beatingIn(view().pid(), Workshop.BOOT)) {
        Workshop.await("the error", LIMIT, () -> view().detail().contains("I/O error"));
        long beats = guest.counter();

        assertThat(failures(kept))
            .anySatisfy(check -> {
              assertThat(check.name()).isEqualTo("run state");
              assertThat(check.remedy()).contains("guest resume");
            });
        assertThatThrownBy(() -> hyperplexor.replace("web1", kept, BLACKOUT, Progress.NONE))
            .isInstanceOf(HyperFreshException.class)
            .extracting(e -> ((HyperFreshException) e).problem())
            .isEqualTo(Problem.REPLACE_OBSTACLES);
        hyperplexor.letGo();
        hyperplexor = Workshop.hyperplexor(workspace.state());
        hyperplexor.takeBack(Workshop.RELEASES::get, Map.of(), LIMIT, _ -> {}, _ -> {});
        assertThat(view().detail()).contains("I/O error");
        assertThat(guest.counter()).isEqualTo(beats);

        TestNetwork.run("mount", "-o", "remount,size=80m", small.toString());
        hyperplexor.resume("web1");

        guest.awaitBeat(LIMIT);
        assertThat(hyperplexor.replace("web1", kept, BLACKOUT, Progress.NONE).outcome())
            .isEqualTo(Outcome.COMMITTED);
        guest.awaitBeat(LIMIT);
        assertThat(guest.diskErrors()).isZero();
      }
      hyperplexor.delete("web1");
    } finally {
      TestNetwork.run("umount", small.toString());
    }
  }

  private GuestView view() {
    return hyperplexor.show("web1");
  }

  private List<Check> failures(Release to) {
    return hyperplexor.plan("web1", to, false, false, Progress.NONE).stream()
        .filter(Check::failed)
        .toList();
  }

  /// What was typed has been passed on when the guest has repeated it.
  private void type(String line) {
    try (UnixSocket console = UnixSocket.connect(view().console().orElseThrow())) {
      console.receiveTimeout(LIMIT);
      console.send((line + "\n").getBytes(StandardCharsets.US_ASCII));
      StringBuilder repeated = new StringBuilder();
      byte[] bytes = new byte[1024];
      while (repeated.indexOf(line + "\n") < 0) {
        int got = console.receive(bytes, new ArrayList<>());
        assertThat(got).as("after '%s'", repeated).isPositive();
        repeated.append(new String(bytes, 0, got, StandardCharsets.ISO_8859_1).replace("\r", ""));
      }
    }
  }
}
