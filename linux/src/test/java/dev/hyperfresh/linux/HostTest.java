package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class HostTest {
  private static final String MEMINFO =
      """
      MemTotal:       24749812 kB
      MemFree:          100000 kB
      MemAvailable:   20000000 kB
      HugePages_Total:       0
      """;

  @Test
  void readsMemoryInBytes() {
    assertThat(Host.memoryBytes(MEMINFO, "MemTotal")).isEqualTo(24_749_812L * 1024);
    assertThat(Host.memoryBytes(MEMINFO, "MemAvailable")).isEqualTo(20_000_000L * 1024);
    assertThatThrownBy(() -> Host.memoryBytes(MEMINFO, "Mem"))
        .hasMessage("/proc/meminfo has no line Mem");
  }

  @Test
  void theHostHasMemory() {
    assertThat(Host.totalMemoryBytes()).isGreaterThan(64L << 20);
    assertThat(Host.availableMemoryBytes()).isBetween(1L, Host.totalMemoryBytes());
  }

  @Test
  void theUserIsTheOwnerOfTheProcess() throws Exception {
    assertThat(Host.effectiveUid())
        .isEqualTo(Files.getAttribute(Path.of("/proc/self"), "unix:uid"));
  }

  @Test
  void onlyTheBodyRunsInTheNamespace() {
    try (TestNamespace namespace = TestNamespace.create("host")) {
      String outside = currentNamespace();
      String inside = namespace.within(HostTest::currentNamespace);

      assertThat(inside).isNotEqualTo(outside);
      assertThat(currentNamespace()).isEqualTo(outside);
      assertThat(namespace.within(() -> Thread.currentThread().isVirtual())).isFalse();
    }
  }

  @Test
  void whatTheBodyThrowsComesOut() {
    Path own = Path.of("/proc/self/ns/net");
    Here.requireRoot();
    IllegalStateException thrown = new IllegalStateException("from the body");

    assertThatThrownBy(() ->
            Host.inNetworkNamespace(
                own,
                () -> {
                  throw thrown;
                }))
        .isSameAs(thrown);
    assertThatThrownBy(() -> Host.inNetworkNamespace(Path.of("/no/ns"), () -> 1))
        .hasMessage("open /no/ns: ENOENT (2)");
    assertThatThrownBy(() -> Host.inNetworkNamespace(Path.of("/dev/null"), () -> 1))
        .hasMessage("setns CLONE_NEWNET /dev/null: EINVAL (22)");
  }

  private static String currentNamespace() {
    try {
      return Files.readSymbolicLink(Path.of("/proc/thread-self/ns/net")).toString();
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    }
  }

  @Test
  void aProcessHasOneStart() {
    int self = (int) ProcessHandle.current().pid();

    assertThat(Host.processStart(self)).isPresent().isEqualTo(Host.processStart(self));
    assertThat(Host.processStart(Integer.MAX_VALUE)).isEmpty();
  }
}
