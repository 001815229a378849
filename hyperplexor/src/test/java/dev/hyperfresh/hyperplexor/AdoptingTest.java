package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Memory;
import dev.hyperfresh.hypervisor.AdoptedMachine.RunAs;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.CgroupPlace;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.ProcessRights;
import dev.hyperfresh.linux.ProcessRights.Label;
import dev.hyperfresh.linux.Unprivileged;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Properties;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Guests whose first process ran as somebody else than the daemon.
@Timeout(30)
class AdoptingTest {
  private static final ProcessRights RIGHTS =
      new ProcessRights(
          64055,
          106,
          List.of(36, 106),
          0,
          0,
          0,
          0x1ff,
          Map.of("nofile", "1024:4096"),
          0,
          Optional.of(new Label("selinux", "a:b:c:s0:c1,c2")));

  @TempDir Path folder;

  private static AdoptedMachine machine(Optional<Path> network) {
    CgroupPlace groups = new CgroupPlace(List.of(Path.of("/sys/fs/cgroup/a b"), Path.of("/c")));
    return new AdoptedMachine(
        List.of("-S"),
        Path.of("/control"),
        Optional.empty(),
        List.of(new Memory(Memory.PRIVATE, MemoryPart.ordinary(512L << 20))),
        List.of(),
        Optional.of(new RunAs(RIGHTS, groups, network)));
  }

  @Test
  void asWhomItRanIsWrittenDown() {
    for (Optional<Path> network :
        List.of(
            Optional.<Path>empty(),
            Optional.of(RunAs.NAMELESS),
            Optional.of(Path.of("/run/netns/blue")))) {
      Properties p = new Properties();
      AdoptedProperties.put(p, machine(network));

      assertThat(AdoptedProperties.read(p, new Stage(folder).spec("g"))).contains(machine(network));
    }
  }

  @Test
  void aGuestInTheDaemonsNetworkHasNoOther() {
    int self = (int) ProcessHandle.current().pid();
    for (Confinement confinement :
        List.of(
            Adopting.asRunning(machine(Optional.empty()), self),
            Adopting.asBefore("g", machine(Optional.empty())))) {
      assertThat(confinement.network()).isEmpty();
      assertThat(confinement.user()).isEmpty();
      assertThat(confinement.within(() -> "here")).isEqualTo("here");
      confinement.letGo();
    }
  }

  @Test
  void aNetworkThatIsGoneIsSaid() {
    for (Path file : List.of(RunAs.NAMELESS, Path.of("/run/netns/hf-none"))) {
      assertThatThrownBy(() -> Adopting.asBefore("g", machine(Optional.of(file))))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.GUEST_STATE))
          .hasMessageContaining("network namespace of guest g");
    }
  }

  @Test
  void aNetworkIsHeldAsLongAsTheGuestIs() {
    int self = (int) ProcessHandle.current().pid();
    Confinement confinement = Adopting.asRunning(machine(Optional.of(RunAs.NAMELESS)), self);

    assertThat(confinement.network()).isPresent();
    assertThat(confinement.within(() -> "there")).isEqualTo("there");
    confinement.letGo();
  }

  /// Looking for its release takes time.
  @Test
  void aProcessThatEndsMeanwhileIsNotAdopted() throws Exception {
    Process process = new ProcessBuilder("sleep", "60").start();
    Stage stage = new Stage(folder);
    stage.process = OptionalInt.of((int) process.pid());
    try (Hyperplexor hyperplexor =
        new Hyperplexor(
            folder.resolve("state"),
            new Kinds(stage),
            new KvmProbe.Result(KvmProbe.Verdict.ABSENT, 0, 0, false, "there is none."),
            _ -> {})) {
      assertThatThrownBy(() ->
              hyperplexor.adopt(
                  "g",
                  (int) process.pid(),
                  Path.of("/control"),
                  Optional.empty(),
                  (_, _) -> {
                    process.destroyForcibly().onExit().join();
                    return Stage.OLD;
                  },
                  Progress.NONE))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_UNFIT))
          .hasMessageContaining("has ended, or has other rights");
      assertThat(hyperplexor.list()).isEmpty();
    } finally {
      process.destroyForcibly();
    }
  }

  /// The user may be that of a guest of another daemon, and would be given back with it.
  @Test
  void aUserThatGuestsOfOursAreGivenIsNotAdopted() throws Exception {
    if (Unprivileged.obstacle().isPresent()) {
      System.out.println("skipped: " + Unprivileged.obstacle().get());
      Assumptions.abort();
    }
    int user = Confiner.FIRST_USER + Confiner.USERS - 1;
    Process process =
        new ProcessBuilder(
                Unprivileged.command(List.of("sleep", "60"), Map.of(), user, OptionalInt.empty()))
            .start();
    Stage stage = new Stage(folder);
    stage.process = OptionalInt.of((int) process.pid());
    try (Hyperplexor hyperplexor =
        new Hyperplexor(
            folder.resolve("state"),
            new Kinds(stage),
            new KvmProbe.Result(KvmProbe.Verdict.ABSENT, 0, 0, false, "there is none."),
            _ -> {})) {
      while (Host.processUid((int) process.pid()).orElse(0) != user) {
        Thread.sleep(20);
      }
      assertThatThrownBy(() ->
              hyperplexor.adopt(
                  "g",
                  (int) process.pid(),
                  Path.of("/control"),
                  Optional.empty(),
                  (_, _) -> Stage.OLD,
                  Progress.NONE))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_REFUSED))
          .hasMessageContaining("runs as user " + user);
      assertThat(hyperplexor.list()).isEmpty();
      assertThat(folder.resolve("state/guests/g")).doesNotExist();
    } finally {
      process.destroyForcibly();
    }
  }
}
