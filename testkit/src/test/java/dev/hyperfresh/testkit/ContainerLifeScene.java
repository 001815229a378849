package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.ContainerState;
import dev.hyperfresh.relocation.Health;
import dev.hyperfresh.relocation.HealthCheck;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.VolumeView;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Two operating systems, `one` and `two`, which go from daemon to daemon, and containers that run
/// a program as they are told to. They serve all tests of a class.
abstract class ContainerLifeScene {
  static final Duration LIMIT = Duration.ofMinutes(3);

  @RegisterExtension static final Workspace WORKSPACE = Workspace.ofClass();

  static Optional<OsDaemon> daemon = Optional.empty();

  @BeforeAll
  static void boot() throws IOException {
    Files.createDirectories(state().resolve("run"));
    daemon = Optional.of(OsDaemon.start(state()));
    Workshop.together(() -> create("one", "6.1"), () -> create("two", "6.12"));
  }

  @AfterAll
  static void end() {
    daemon.ifPresent(last -> last.systems.close());
  }

  private static void create(String name, String kernel) {
    var _ = systems().create(OsDaemon.settings(name, kernel, 1, 512L << 20));
  }

  static Path state() {
    return WORKSPACE.state();
  }

  static Systems systems() {
    return daemon.orElseThrow().systems;
  }

  static void nextDaemon() {
    systems().letGo();
    daemon = Optional.of(OsDaemon.start(state()));
  }

  static Path bundle(String name, long memoryMax, String... words) {
    return new JobBundle(state().resolve("bundles")).build(name, memoryMax, words);
  }

  static ContainerSpec spec(String name, long memoryMax, String... words) {
    return new ContainerSpec(name, bundle(name, memoryMax, words), Optional.empty());
  }

  static void run(String name, String... words) {
    var _ = systems().run(spec(name, 0, words), "one", Progress.NONE);
  }

  static ContainerState.Ended ended(String name) {
    Workshop.await(name + " to end", LIMIT, () -> systems().view(name).state().hasEnded());
    assertThat(systems().view(name).state()).isInstanceOf(ContainerState.Ended.class);
    return (ContainerState.Ended) systems().view(name).state();
  }

  static void awaitRuns(String name, int times) {
    Path file = state().resolve("containers").resolve(name).resolve("share/rootfs/data/runs");
    Workshop.await(
        times + " runs of " + name, LIMIT, () -> Workshop.wholeLines(file).size() >= times);
  }

  static Path volume(String name) {
    return systems().volumes().stream()
        .filter(volume -> volume.name().equals(name))
        .map(VolumeView::path)
        .findFirst()
        .orElseThrow();
  }

  static long counted(String volume) {
    List<String> lines = Workshop.wholeLines(volume(volume).resolve("lines"));
    for (int i = 0; i < lines.size(); i++) {
      // None twice, and none left out.
      assertThat(lines.get(i)).isEqualTo(Integer.toString(i + 1));
    }
    return lines.size();
  }

  static void awaitCount(String volume, long least) {
    Workshop.await("it to count on", LIMIT, () -> counted(volume) >= least);
  }

  static int exitCode(String container, String... words) {
    List<String> command = Stream.concat(Stream.of("/bin/job"), Stream.of(words)).toList();
    return systems().execute(container, command).code();
  }

  static ContainerSpec checked(String name, String... words) {
    List<String> command = Stream.concat(Stream.of("/bin/job"), Stream.of(words)).toList();
    return new ContainerSpec(
        name,
        bundle(name, 0, "append", "/data/runs"),
        Optional.empty(),
        List.of(),
        Optional.of(
            new HealthCheck(
                command, Duration.ofSeconds(1), Duration.ofSeconds(60), 2, Duration.ZERO)));
  }

  static void awaitHealth(String container, Health.State state) {
    Workshop.await(
        container + " to be " + state,
        LIMIT,
        () ->
            systems()
                .view(container)
                .health()
                .filter(health -> health.state() == state)
                .isPresent());
  }
}
