package dev.hyperfresh.vm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.ProcessIdentity;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/// What becomes of virtual machines of which what is written is damaged.
class DamagedDefinitionTest extends IdleHost {
  @Test
  void oneOfWhichWhatIsWrittenIsDamagedKeepsItsName() throws Exception {
    create("a");
    registry.stop("a");
    Path file = registry.files("a").resolve(VmDefinition.NAME);
    Files.writeString(file, Files.readString(file).replace("true", "false"));

    nextDaemon();

    assertThat(starting).isEmpty();
    assertThat(told)
        .singleElement()
        .asString()
        .contains("its checksum is wrong", "`hyperfresh os delete a --force` removes it");
    assertProblem(Problem.OS_EXISTS, () -> create("a"), "exists already");
    assertProblem(Problem.OS_UNKNOWN, () -> registry.stop("a"), "is not reattached");
    assertThat(registry.on("os-6.12")).containsExactly("a");
  }

  @Test
  void oneOfWhichWhatIsWrittenIsDamagedCanBeRemoved() throws Exception {
    create("a");
    create("b");
    registry.stop("a");
    registry.stop("b");
    damage("a");
    damage("b");
    nextDaemon();

    registry.kill("a");
    registry.delete("b");

    assertThat(registry.awaitAnswer("a")).isEmpty();
    assertThat(registry.why("a")).isEmpty();
    assertThat(registry.files("b")).doesNotExist();
    assertThat(create("a").ended()).isFalse();
    assertThat(create("b").ended()).isFalse();
  }

  @Test
  void nothingOfWhichTheProcessMayLiveIsRemovedAsDamaged() throws Exception {
    create("a");
    registry.stop("a");
    damage("a");
    nextDaemon();
    VmFile.of(settings("a"))
        .on(ProcessIdentity.of((int) ProcessHandle.current().pid()))
        .write(registry.files("a"));
    assertProblem(Problem.OS_UNKNOWN, () -> registry.delete("a"), "still runs");

    Files.writeString(registry.files("a").resolve(VmFile.NAME), "{");

    assertProblem(Problem.DAEMON_STATE, () -> registry.delete("a"), "cannot be read");
    assertProblem(Problem.DAEMON_STATE, () -> registry.kill("a"), "cannot be read");
    assertThat(registry.files("a").resolve(VmDefinition.NAME)).exists();
  }

  /// Nobody knows whether it had autostart.
  @Test
  void oneThatIsDamagedIsWrittenAnewWithoutAutostart() throws Exception {
    Idle running = create("a");
    damage("a");

    nextDaemon();

    assertThat(registry.get("a").pid()).isEqualTo(running.pid());
    assertThat(told).anyMatch(line -> line.contains("written anew, with autostart off"));
    damage("a");
    assertThat(VmFile.read(registry.files("a"))).isPresent();
    told.clear();
    registry.letGo();
    processes.getFirst().destroyForcibly().waitFor();
    ofEarlierBootWithoutDefinition("a");
    comesBack();

    assertThat(starting).isEmpty();
    assertThat(told).anyMatch(line -> line.contains("written anew, with autostart off"));
    assertThat(registry.definitions().stopped()).containsExactly("a");
    assertThat(VmDefinition.read(registry.files("a")).orElseThrow().autostart()).isFalse();
  }

  private void ofEarlierBootWithoutDefinition(String name) {
    VmFile file = VmFile.read(registry.files(name)).orElseThrow();
    ProcessIdentity process = file.process();
    file.on(new ProcessIdentity(process.pid(), process.start(), "an-earlier-one"))
        .write(registry.files(name));
  }

  private void damage(String name) throws IOException {
    Files.writeString(registry.files(name).resolve(VmDefinition.NAME), "{");
  }
}
