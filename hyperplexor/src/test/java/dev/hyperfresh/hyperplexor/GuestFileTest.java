package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.GuestSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GuestFileTest {
  private static final Instant NOON = Instant.parse("2026-11-01T12:00:00Z");

  @TempDir Path folder;

  @Test
  void aProcessOfAnotherBootIsAnotherProcess() {
    GuestFile.Tenant here = here();
    GuestFile.Tenant before =
        new GuestFile.Tenant(here.pid(), here.start(), "earlier", 1, here.release(), "process");
    assertThat(here.processLives()).isTrue();
    assertThat(before.processLives()).isFalse();
  }

  @Test
  void aFileWithoutABootIsOfThisOneUnlessItIsOlder() throws IOException {
    GuestFile written = file();
    written.write(folder);
    assertThat(GuestFile.read(folder)).contains(written);
    Path path = folder.resolve("guest.properties");
    Files.write(
        path, Files.readAllLines(path).stream().filter(line -> !line.contains(".boot=")).toList());
    assertThat(GuestFile.read(folder)).contains(written);

    Files.setLastModifiedTime(path, FileTime.from(Instant.EPOCH));
    assertThat(GuestFile.read(folder).orElseThrow().running().processLives()).isFalse();
  }

  @Test
  void theEndOfAGuestIsWrittenDown() {
    GuestFile.Stopped end =
        new GuestFile.Stopped(Instant.parse("2026-11-01T12:00:00Z"), "why not", GuestEnd.CRASH);
    file().stopped(end).write(folder);
    GuestFile read = GuestFile.read(folder).orElseThrow();
    assertThat(read.stopped()).contains(end);
    assertThat(read.waiting()).isEmpty();
  }

  @Test
  void whatItsLaterStartsNeedIsWrittenDown() {
    GuestSpec next =
        new Stage(folder).spec("g").ending(new EndPolicy(Then.RESTART, Then.STOP, Then.RESTART));
    GuestFile file = file().stopped(new GuestFile.Stopped(NOON, "new", GuestEnd.NEW));
    for (Optional<String> release : List.of(Optional.<String>empty(), Optional.of("qemu-1"))) {
      Upkeep upkeep =
          new Upkeep(true, 3, "an earlier boot", Optional.of(new Upkeep.Next(next, release)));
      GuestFile written = file.keeping(upkeep);
      written.write(folder);
      assertThat(GuestFile.read(folder)).contains(written);
    }
  }

  /// Its guests are started by nobody but their users.
  @Test
  void aFileOfAnOlderDaemonHasNoLaterStarts() throws IOException {
    file().stopped(new GuestFile.Stopped(NOON, "why not", GuestEnd.CRASH)).write(folder);
    Path path = folder.resolve("guest.properties");
    Files.write(
        path,
        Files.readAllLines(path).stream()
            .filter(line -> !line.matches("(autostart|restarts|boot|stopped.end|on-\\w+)=.*"))
            .toList());

    GuestFile read = GuestFile.read(folder).orElseThrow();

    assertThat(read.upkeep()).isEqualTo(Upkeep.begun(Optional.empty()));
    assertThat(read.spec().ends()).isEqualTo(EndPolicy.DEFAULT);
    assertThat(read.stopped()).contains(new GuestFile.Stopped(NOON, "why not", GuestEnd.REQUEST));
  }

  private GuestFile file() {
    return new GuestFile(
        new Stage(folder).spec("g"),
        new AcceleratorChoice(Accelerator.TCG, "a test"),
        Instant.parse("2026-11-01T11:00:00Z"),
        OptionalInt.of(2_000_000_007),
        here(),
        Optional.of(here()),
        Optional.empty(),
        Optional.empty(),
        ClockLoss.NONE,
        7);
  }

  /// This process.
  private static GuestFile.Tenant here() {
    return GuestFile.Tenant.expected(1, Stage.OLD).found((int) ProcessHandle.current().pid());
  }
}
