package dev.hyperfresh.machine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.ProcessIdentity;
import dev.hyperfresh.machine.LedgerFile.Entry;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.vm.VmFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// What is written down of a machine, and what is done with it, without a machine: the process is
/// one that does nothing.
@Timeout(60)
class MachinesTest {
  /// Longer than anything takes that comes to an end.
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  private static final Duration NONE = Duration.ZERO;

  @TempDir Path folder;

  private final List<Process> processes = new ArrayList<>();
  private final List<String> told = new CopyOnWriteArrayList<>();
  private Path files;
  private Path run;
  private Machines machines;

  @BeforeEach
  void open() throws IOException {
    files = Files.createDirectories(folder.resolve("machines/m1"));
    run = Files.createDirectory(folder.resolve("run"));
    machines = new Machines(folder.resolve("machines"), run);
  }

  @AfterEach
  void close() throws Exception {
    machines.letGo();
    for (Process process : processes) {
      process.destroyForcibly().waitFor();
    }
  }

  private Process process() throws IOException {
    Process process = new ProcessBuilder("sleep", "600").start();
    processes.add(process);
    return process;
  }

  private static final List<Entry> PLACES =
      List.of(
          Entry.about("p7", Path.of("/state/guests/über web"), 3, true, 2, 1),
          new Entry("p2", Path.of("/state/guests/web1"), 1, 412, false, 0, 0, 4, true));

  private static final QemuRelease QEMU =
      new QemuRelease(
          "qemu-10.0.2",
          "10.0.2",
          Path.of("/none"),
          List.of(),
          List.of(),
          "",
          Set.of(),
          Set.of(),
          Set.of(),
          "a test");

  private static MachineRelease release() {
    return new MachineRelease(
        "machine-6.12.95+qemu-10.0.2",
        "6.12.95",
        "6.12.95",
        "10.0.2",
        Path.of("/none"),
        Path.of("/none"),
        "",
        "",
        "",
        Set.of(),
        Set.of(),
        Set.of(),
        Set.of(),
        "a test");
  }

  private void write(ProcessIdentity process, boolean booted) {
    new VmFile(
            process,
            booted,
            "machine-6.12.95+qemu-10.0.2",
            "qemu-10.0.2",
            Accelerator.TCG,
            2,
            1L << 30,
            6123.5)
        .write(files);
    new LedgerFile(true, 7, PLACES).write(files);
  }

  private void write(Process process, boolean booted) {
    write(ProcessIdentity.of((int) process.pid()), booted);
  }

  private void recover(Duration patience) {
    machines.recover(
        name -> {
          throw Problem.RELEASE_UNKNOWN.because("There is no " + name + ".");
        },
        MachinesTest::hardware,
        patience,
        told::add);
  }

  private void awaitTold(int sentences) throws InterruptedException {
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (told.size() < sentences) {
      assertThat(System.nanoTime()).isLessThan(deadline);
      Thread.sleep(20);
    }
  }

  private static QemuRelease hardware(String name) {
    throw Problem.RELEASE_UNKNOWN.because("There is no " + name + ".");
  }

  @Test
  void whatIsWrittenOfPlacesIsRead() {
    assertThatThrownBy(() -> new Ledger(files)).hasMessageContaining("places.json is missing");
    LedgerFile.EMPTY.write(files);
    Ledger ledger = new Ledger(files);
    assertThat(ledger.places()).isEmpty();
    assertThat(ledger.newPlace()).isEqualTo("p1");
    PLACES.forEach(ledger::add);
    ledger.halted(true);
    assertThat(new Ledger(files).places()).isEqualTo(PLACES);
    assertThat(new Ledger(files).isHalted()).isTrue();
    assertThat(new Ledger(files).newPlace()).isEqualTo("p2");
  }

  @Test
  void aDamagedFileKeepsTheNameAndKillsNothing() throws Exception {
    Process process = process();
    write(process, true);
    byte[] whole = Files.readAllBytes(files.resolve(VmFile.NAME));
    Files.write(files.resolve(VmFile.NAME), Arrays.copyOf(whole, whole.length / 2));

    recover(PATIENCE);

    assertThat(told).singleElement().asString().contains("Machine m1 cannot be reattached");
    assertThat(process.isAlive()).isTrue();
    assertThat(machines.places()).isEmpty();
    assertThat(machines.list()).isEmpty();
    assertThat(Files.exists(files.resolve(VmFile.NAME))).isTrue();
  }

  @Test
  void aDamagedLedgerKeepsTheNameAndKillsNothing() throws Exception {
    Process process = process();
    write(process, true);
    Files.writeString(files.resolve(LedgerFile.NAME), "{}\n#sum 0\n");
    machines.recover(_ -> release(), _ -> QEMU, NONE, told::add);
    awaitTold(1);

    assertThat(told).singleElement().asString().contains("Machine m1 is not reattached yet");
    assertThat(told.getFirst()).contains("its checksum is wrong");
    assertThat(process.isAlive()).isTrue();
    // Guests of others must be able to be taken back.
    assertThat(machines.places()).isEmpty();
    assertThat(machines.on("qemu-10.0.2")).containsExactly("m1");
  }

  @Test
  void aMachineOfAnEarlierVersionKeepsItsName() throws Exception {
    ProcessIdentity it = ProcessIdentity.of((int) process().pid());
    Path file = files.resolve("machine.properties");
    Files.writeString(
        file, "pid=" + it.pid() + "\nstart=" + it.start() + "\nrelease=machine-6.1+qemu-7.2\n");

    recover(PATIENCE);

    assertThat(told).singleElement().asString().contains("an earlier version of HyperFresh");
    assertThatThrownBy(() -> machines.get("m1")).hasMessageContaining("is not reattached");
    assertThat(machines.on("machine-6.1+qemu-7.2")).containsExactly("m1");
    assertThat(machines.on("qemu-10.0.2")).isEmpty();

    Files.writeString(file, "pid=" + it.pid() + "\nstart=" + (it.start() - 1) + "\n");
    machines = new Machines(folder.resolve("machines"), run);
    recover(PATIENCE);

    assertThat(told).hasSize(2);
    assertThat(told.getLast()).contains("ended while no daemon ran");
    assertThat(Files.exists(file)).isFalse();
  }

  @Test
  void aProcessThatGotTheNumberLaterIsNotTheMachine() throws Exception {
    Process other = process();
    ProcessIdentity it = ProcessIdentity.of((int) other.pid());
    write(new ProcessIdentity(it.pid(), it.start() - 1, it.boot()), false);
    Path socket = Files.createFile(run.resolve("m1.machine.qmp"));
    Path log = Files.createFile(files.resolve("hardware.log"));

    recover(PATIENCE);

    assertThat(told).singleElement().asString().contains("ended while no daemon ran");
    assertThat(other.isAlive()).isTrue();
    assertThat(Files.exists(socket)).isFalse();
    assertThat(Files.exists(log)).isTrue();
    assertThat(VmFile.read(files)).isEmpty();
  }

  @Test
  void aMachineThatNeverCameUpIsEnded() throws Exception {
    Process process = process();
    write(process, false);

    recover(PATIENCE);

    assertThat(told).singleElement().asString().contains("had not started yet");
    assertThat(process.waitFor(10, TimeUnit.SECONDS)).isTrue();
    assertThat(VmFile.read(files)).isEmpty();
  }

  @Test
  void aMachineThatIsNotTakenBackIsLeftAloneUntilItEnds() throws Exception {
    Process process = process();
    write(process, true);

    recover(NONE);
    awaitTold(1);

    assertThat(told).singleElement().asString().contains("m1 is not reattached yet");
    assertThat(process.isAlive()).isTrue();
    assertThat(machines.places()).containsOnlyKeys((int) process.pid()).containsValue(PLACES);
    assertThatThrownBy(() -> machines.get("m1")).hasMessageContaining("is not reattached");

    process.destroyForcibly().waitFor();
    awaitTold(2);
    assertThat(told.getLast()).contains("ended while no daemon ran");
    assertThat(machines.places()).isEmpty();
  }
}
