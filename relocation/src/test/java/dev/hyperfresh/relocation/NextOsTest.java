package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/// Where a container is started when its OS is not there.
class NextOsTest {
  private static final Life ENDED =
      Life.begun(
              new ContainerSpec("job", Path.of("/bundle"), Optional.empty()),
              "os1",
              RestartPolicy.NO,
              Instant.EPOCH)
          .ended(ContainerState.Ended.unknown(Instant.EPOCH, "the host has booted since"));

  /// There is no other OS.
  private record None(boolean isComing) implements Hosts {
    @Override
    public OsVm get(String name) {
      throw Problem.OS_UNKNOWN.because(name);
    }

    @Override
    public Optional<OsVm> find(String name) {
      return Optional.empty();
    }

    /// Whoever waits for its own does not look for another one.
    @Override
    public List<OsVm> list() {
      if (isComing) {
        throw new AssertionError();
      }
      return List.of();
    }

    @Override
    public String waiting(String what) {
      return "";
    }

    @Override
    public boolean isComing(String os) {
      return isComing && os.equals("os1");
    }

    @Override
    public boolean isTakingBack(String container) {
      return false;
    }

    @Override
    public boolean isInDoubt(String name) {
      return false;
    }
  }

  @Test
  void itWaitsForItsOwnThatIsBeingStarted() {
    assertThatThrownBy(() -> new NextOs(new None(true)).of(ENDED))
        .hasMessageContaining("OS os1 is being started");
  }

  @Test
  void itLooksForAnotherOneWhenItsOwnDoesNotCome() {
    assertThatThrownBy(() -> new NextOs(new None(false)).of(ENDED))
        .hasMessageContaining("OS os1 has ended, and no other has 64 MiB of memory free");
  }
}
