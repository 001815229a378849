package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.ContainerState;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.SystemsWatch;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Operating systems boot again and again, each with a rehearsal and a container, and none of them
/// hangs. `-Dhf.boots=N` says how often, `-Dhf.kernels=6.1,7.3` with which kernels in turn.
@Tag("slow")
@Tag("measure")
class OsBootsTest {
  private static final int BOOTS = Integer.getInteger("hf.boots", 100);
  private static final List<String> KERNELS =
      List.of(System.getProperty("hf.kernels", "6.1,6.12").split(",", -1));

  /// A restore that hung has taken a minute.
  private static final Duration LIMIT = Duration.ofSeconds(30);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  @Test
  void noBootAndNoRehearsalHangs() throws IOException {
    Path run = Files.createDirectories(workspace.state().resolve("run"));
    Path bundle = ContainerBundle.build(workspace.state().resolve("bundle"), 16, 1);
    Sample boots = new Sample("boot with a rehearsal");
    Sample rehearsals = new Sample("rehearsal");
    Sample starts = new Sample("start of a container");
    try (Systems systems = new Systems(workspace.state(), run, SystemsWatch.NONE)) {
      for (int i = 0; i < BOOTS; i++) {
        OsVm os = boot(systems, KERNELS.get(i % KERNELS.size()));
        boots.add(os.bootMs());
        rehearsals.add(
            millis(() ->
                assertThat(os.run(List.of("/usr/lib/hyperfresh/rehearse"), LIMIT))
                    .isEqualTo("rehearsed")));
        starts.add(millis(() -> startAndStop(systems, bundle)));
        systems.delete("os");
        System.out.printf(
            Locale.ROOT, "  boot %d of %d: up after %.1f s%n", i + 1, BOOTS, os.bootMs() / 1000);
        assertThat(os.bootMs()).as("boot " + (i + 1)).isLessThan((double) LIMIT.toMillis());
      }
    }
    List.of(boots, rehearsals, starts).forEach(sample -> System.out.println("  " + sample));
  }

  private static OsVm boot(Systems systems, String kernel) {
    return systems.create(OsDaemon.settings("os", kernel, 2, 1L << 30));
  }

  private static void startAndStop(Systems systems, Path bundle) {
    var _ = systems.run(new ContainerSpec("c1", bundle, Optional.empty()), "os", Progress.NONE);
    assertThat(systems.container("c1").state()).isInstanceOf(ContainerState.Running.class);
    assertThat(systems.execute("c1", List.of("/bin/app")).output()).contains("usage");
    systems.stop("c1", Duration.ZERO);
    systems.remove("c1", false);
  }

  private static double millis(Runnable work) {
    long begin = System.nanoTime();
    work.run();
    return (System.nanoTime() - begin) / 1e6;
  }
}
