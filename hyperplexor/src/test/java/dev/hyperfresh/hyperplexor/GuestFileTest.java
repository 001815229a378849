package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Memory;
import dev.hyperfresh.hypervisor.AdoptedMachine.Port;
import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.Firmware;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryLayout;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
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
    MemoryLayout layout =
        new MemoryLayout(
            OptionalLong.of(2L << 20),
            List.of(
                new MemoryLayout.Node(8L << 20, List.of(0, 1), List.of(3)),
                new MemoryLayout.Node(8L << 20, List.of(), List.of())));
    for (Optional<String> release : List.of(Optional.<String>empty(), Optional.of("qemu-1"))) {
      next = next.madeOf(release.isPresent() ? layout : MemoryLayout.PLAIN);
      next =
          release.isPresent() ? next.booting(new Firmware(Firmware.Kind.UEFI_SECURE, true)) : next;
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

  @Test
  void thePortsOfAnAdoptedGuestAreWrittenDown() throws IOException {
    AdoptedMachine machine =
        new AdoptedMachine(
            List.of("-vga", "none"),
            Path.of("/run/q"),
            Optional.empty(),
            List.of(new Memory(7, MemoryPart.ordinary(512L << 20))),
            List.of(
                new Port.Kept(List.of(30)),
                new Port.Kept(List.of(31, 40, 33)),
                new Port.Bridged("tap0", "br0", 1),
                new Port.Bridged("tap1", "br0", 4)));
    file(Optional.of(machine)).write(folder);
    assertThat(GuestFile.read(folder).orElseThrow().adopted()).contains(machine);

    // One that an earlier daemon wrote.
    Path path = folder.resolve("guest.properties");
    Files.write(
        path,
        Files.readAllLines(path).stream().filter(line -> !line.contains(".queues=")).toList());
    assertThat(GuestFile.read(folder).orElseThrow().adopted().orElseThrow().ports())
        .contains(new Port.Bridged("tap0", "br0", 1));
  }

  /// An older daemon may take over from this one.
  @Test
  void theOnlyMemoryIsWrittenAsEarlierDaemonsKnowItToo() throws IOException {
    Path path = folder.resolve("guest.properties");
    for (Memory memory :
        List.of(
            new Memory(7, MemoryPart.ordinary(1L << 20)),
            new Memory(7, new MemoryPart(2L << 20, OptionalLong.of(2L << 20))),
            new Memory(Memory.PRIVATE, MemoryPart.ordinary(1L << 20)))) {
      AdoptedMachine machine =
          new AdoptedMachine(
              List.of(), Path.of("/run/q"), Optional.empty(), List.of(memory), List.of());
      file(Optional.of(machine)).write(folder);

      boolean isKnown = memory.equals(new Memory(7, MemoryPart.ordinary(1L << 20)));
      assertThat(Files.readAllLines(path).contains("adopted.memory=7")).isEqualTo(isKnown);
      assertThat(GuestFile.read(folder).orElseThrow().adopted()).contains(machine);
    }
  }

  @Test
  void theMemoriesOfAnAdoptedGuestAreWrittenDown() throws IOException {
    AdoptedMachine machine =
        new AdoptedMachine(
            List.of("-m", "1024"),
            folder.resolve("control"),
            Optional.empty(),
            List.of(
                new Memory(17, new MemoryPart(1L << 30, OptionalLong.of(2L << 20))),
                new Memory(19, MemoryPart.ordinary(512L << 20))),
            List.of());
    GuestFile written = file(Optional.of(machine));
    written.write(folder);
    assertThat(GuestFile.read(folder)).contains(written);

    // As an older daemon wrote it, which knew of one memory only.
    Path path = folder.resolve("guest.properties");
    List<String> lines = new ArrayList<>(Files.readAllLines(path));
    lines.removeIf(line -> line.startsWith("adopted.memory."));
    Files.write(path, lines);
    assertThatThrownBy(() -> GuestFile.read(folder))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.DAEMON_STATE));
    lines.add("adopted.memory=3");
    Files.write(path, lines);
    assertThat(GuestFile.read(folder).orElseThrow().adopted().orElseThrow().memories())
        .containsExactly(
            new Memory(3, MemoryPart.ordinary(new Stage(folder).spec("g").memoryBytes())));
  }

  private GuestFile file() {
    return file(Optional.empty());
  }

  private GuestFile file(Optional<AdoptedMachine> adopted) {
    return new GuestFile(
        new Stage(folder).spec("g"),
        new AcceleratorChoice(Accelerator.TCG, "a test"),
        Instant.parse("2026-11-01T11:00:00Z"),
        OptionalInt.of(2_000_000_007),
        here(),
        Optional.of(here()),
        Optional.empty(),
        adopted,
        ClockLoss.NONE,
        7);
  }

  /// This process.
  private static GuestFile.Tenant here() {
    return GuestFile.Tenant.expected(1, Stage.OLD).found((int) ProcessHandle.current().pid());
  }
}
