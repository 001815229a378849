package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Who may do something with a container that has ended, and when.
class ContainerRegistryTest {
  private static final ContainerState.Ended HOW =
      ContainerState.Ended.unknown(Instant.EPOCH, "it was over");

  @TempDir Path state;

  private final Recovering hosts = new Recovering();
  private ContainerRegistry all = new ContainerRegistry(Path.of(""), hosts, new Lives(Path.of("")));

  /// No OS is here, and a container may be taken back still.
  private static final class Recovering implements Hosts {
    private String waiting = "";

    @Override
    public OsVm get(String name) {
      throw Problem.OS_UNKNOWN.because(name);
    }

    @Override
    public Optional<OsVm> find(String name) {
      return Optional.empty();
    }

    @Override
    public List<OsVm> list() {
      return List.of();
    }

    @Override
    public String waiting(String what) {
      return waiting;
    }

    @Override
    public boolean isComing(String os) {
      return false;
    }

    @Override
    public boolean isTakingBack(String container) {
      return !waiting.isEmpty();
    }

    @Override
    public boolean isInDoubt(String name) {
      return false;
    }
  }

  @BeforeEach
  void open() {
    all = new ContainerRegistry(state.resolve("containers"), hosts, new Lives(state));
  }

  private Life begun() {
    return Life.begun(
        new ContainerSpec("job", Path.of("/bundle"), Optional.empty()),
        "os1",
        RestartPolicy.NO,
        Instant.EPOCH);
  }

  private static void assertRefused(Problem problem, String word, ThrowingCallable order) {
    assertThatThrownBy(order)
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> {
              assertThat(e.problem()).isEqualTo(problem);
              assertThat(e.detail()).contains(word);
            });
  }

  @Test
  void oneAtATimeHasToDoWithAContainerThatHasEnded() {
    all.lives().put(begun().ended(HOW));
    assertThat(all.begin("job").end()).contains(HOW);
    assertRefused(Problem.CONTAINER_STATE, "started or removed", () -> all.begin("job"));
    assertRefused(Problem.CONTAINER_STATE, "started or removed", () -> all.requireIdle("job"));
    // It is shown as it was.
    all.lives().put(begun());
    assertThat(all.known("job").flatMap(Life::end)).contains(HOW);
    all.done("job");
    assertThat(all.known("job").flatMap(Life::end)).isEmpty();
  }

  @Test
  void oneThatIsNotKnownToHaveEndedIsLeftAlone() {
    all.lives().put(begun());
    assertRefused(Problem.CONTAINER_STATE, "started", () -> all.begin("job"));
    assertRefused(Problem.CONTAINER_UNKNOWN, "is not a container", () -> all.begin("other"));
  }

  /// An earlier daemon may have died before its OS had let go of it.
  @Test
  void oneThatIsBeingTakenBackIsLeftAlone() {
    all.lives().put(begun().ended(HOW));
    hosts.waiting = "OS os1 does not answer";
    assertRefused(Problem.CONTAINER_STATE, "does not answer", () -> all.begin("job"));
    hosts.waiting = "";
    assertThat(all.begin("job").end()).contains(HOW);
  }

  @Test
  void foldersThatNobodyKnowsAreLeftOver() throws IOException {
    assertThat(all.leftOvers()).isEmpty();
    Files.createDirectories(state.resolve("containers/job"));
    Files.createDirectories(state.resolve("containers/.draft"));
    assertThat(all.leftOvers()).containsExactly("job");
    assertThat(all.mayBe("job")).isTrue();
    assertThat(all.claim("job")).isTrue();
    assertThat(all.claim("job")).isFalse();
    assertThat(all.leftOvers()).isEmpty();
    all.release("job");
    assertThat(all.leftOvers()).containsExactly("job");
    assertRefused(Problem.CONTAINER_UNKNOWN, "is not a container", () -> all.get("job"));
  }
}
