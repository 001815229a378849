package dev.hyperfresh.machine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.machine.MachineFile.Entry;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
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
class MachineFileTest {
  private static final Duration PATIENCE = Duration.ofMillis(300);

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

  @Test
  void aProcessOfAnotherBootIsAnotherProcess() throws IOException {
    MachineFile here = of(process(), true);
    assertThat(here.lives()).isTrue();
    assertThat(file(here.pid(), here.start(), "earlier", true).lives()).isFalse();
  }

  private Process process() throws IOException {
    Process process = new ProcessBuilder("sleep", "600").start();
    processes.add(process);
    return process;
  }

  private static MachineFile file(int pid, long start, boolean booted) {
    return file(pid, start, Host.bootId(), booted);
  }

  private static MachineFile file(int pid, long start, String boot, boolean booted) {
    Entry half = Entry.about("p7", Path.of("/state/guests/über web"), 3, true, 2, 1);
    return new MachineFile(
        pid,
        start,
        boot,
        booted,
        true,
        "machine-6.12.95+qemu-10.0.2",
        "qemu-10.0.2",
        Accelerator.TCG,
        2,
        1L << 30,
        6123.5,
        7,
        List.of(
            half, new Entry("p2", Path.of("/state/guests/web1"), 1, 412, false, 0, 0, 4, true)));
  }

  private static MachineFile of(Process process, boolean booted) {
    int pid = (int) process.pid();
    return file(pid, Host.processStart(pid).orElseThrow(), booted);
  }

  private void recover() {
    machines.recover(
        name -> {
          throw Problem.RELEASE_UNKNOWN.because("There is no " + name + ".");
        },
        MachineFileTest::hardware,
        PATIENCE,
        told::add);
  }

  private static QemuRelease hardware(String name) {
    throw Problem.RELEASE_UNKNOWN.because("There is no " + name + ".");
  }

  @Test
  void whatIsWrittenIsRead() {
    MachineFile written = file(17, 123_456_789_012L, true);
    assertThat(MachineFile.read(files)).isEmpty();
    written.write(files);
    assertThat(MachineFile.read(files)).contains(written);
    MachineFile later = written.withPlaces(8, List.of()).asHalted(false).asBooted(1);
    later.write(files);
    assertThat(MachineFile.read(files)).contains(later);
    MachineFile.remove(files);
    assertThat(MachineFile.read(files)).isEmpty();
  }

  @Test
  void everyHalfOfAFileIsRefused() throws IOException {
    file(17, 1, true).write(files);
    byte[] whole = Files.readAllBytes(files.resolve(MachineFile.NAME));
    for (int length = 0; length < whole.length; length++) {
      assertRefused(Arrays.copyOf(whole, length));
    }
  }

  @Test
  void everyChangedByteIsRefused() throws IOException {
    file(17, 1, true).write(files);
    byte[] whole = Files.readAllBytes(files.resolve(MachineFile.NAME));
    Random random = new Random(1);
    for (int at = 0; at < whole.length; at++) {
      byte[] changed = whole.clone();
      changed[at] ^= (byte) (1 << random.nextInt(7));
      assertRefused(changed);
    }
  }

  private void assertRefused(byte[] content) throws IOException {
    Files.write(files.resolve(MachineFile.NAME), content);
    assertThatThrownBy(() -> MachineFile.read(files))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(Problem.DAEMON_STATE))
        .hasMessageContaining(MachineFile.NAME + " cannot be read");
  }

  @Test
  void aDamagedFileKeepsTheNameAndKillsNothing() throws Exception {
    Process process = process();
    of(process, true).write(files);
    byte[] whole = Files.readAllBytes(files.resolve(MachineFile.NAME));
    Files.write(files.resolve(MachineFile.NAME), Arrays.copyOf(whole, whole.length / 2));

    recover();

    assertThat(told).singleElement().asString().contains("Machine m1 cannot be taken back");
    assertThat(process.isAlive()).isTrue();
    assertThat(machines.list()).isEmpty();
    assertThat(Files.exists(files.resolve(MachineFile.NAME))).isTrue();
  }

  @Test
  void aProcessThatGotTheNumberLaterIsNotTheMachine() throws Exception {
    Process other = process();
    int pid = (int) other.pid();
    file(pid, Host.processStart(pid).orElseThrow() - 1, false).write(files);
    Path socket = Files.createFile(run.resolve("m1.machine.qmp"));
    Path log = Files.createFile(files.resolve("hardware.log"));

    recover();

    assertThat(told).singleElement().asString().contains("ended while no daemon ran");
    assertThat(other.isAlive()).isTrue();
    assertThat(Files.exists(socket)).isFalse();
    assertThat(Files.exists(log)).isTrue();
    assertThat(MachineFile.read(files)).isEmpty();
  }

  @Test
  void aMachineThatNeverCameUpIsEnded() throws Exception {
    Process process = process();
    of(process, false).withPlaces(0, List.of()).write(files);

    recover();

    assertThat(told).singleElement().asString().contains("had not come up yet");
    assertThat(process.waitFor(10, TimeUnit.SECONDS)).isTrue();
    assertThat(MachineFile.read(files)).isEmpty();
  }

  @Test
  void aMachineThatIsNotTakenBackIsLeftAloneUntilItEnds() throws Exception {
    Process process = process();
    MachineFile file = of(process, true);
    file.write(files);

    recover();

    assertThat(told).singleElement().asString().contains("m1 is not taken back yet");
    assertThat(process.isAlive()).isTrue();
    assertThat(machines.places())
        .containsOnlyKeys((int) process.pid())
        .containsValue(file.places());
    assertThatThrownBy(() -> machines.get("m1")).hasMessageContaining("is not taken back");

    process.destroyForcibly().waitFor();
    long deadline = System.nanoTime() + Duration.ofSeconds(10).toNanos();
    while (told.size() < 2) {
      assertThat(System.nanoTime()).isLessThan(deadline);
      Thread.sleep(20);
    }
    assertThat(told.getLast()).contains("ended while no daemon ran");
    assertThat(machines.places()).isEmpty();
  }
}
