package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.relocation.ContainerRollout;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.ContainerState;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.SystemsWatch;
import dev.hyperfresh.relocation.Transport;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Real programs in containers, as `runc spec` configures them, move between operating systems with
/// all that they have of the kernel; what cannot move is refused beforehand.
///
/// The same containers, in the same two operating systems, serve all tests.
///
/// Minutes, and packages of a database and a JVM, which `./verify` leaves out: `-DexcludedGroups=
/// -Dgroups=measure`.
@Tag("slow")
@Tag("measure")
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class RelocationCasesTest {
  private static final String REDIS = "10.78.0.5";
  private static final String POSTGRES = "10.78.0.6";
  private static final Duration PATIENCE = Duration.ofMinutes(2);

  @RegisterExtension static final Workspace WORKSPACE = Workspace.ofClass();

  private static Optional<TestNetwork> network = Optional.empty();
  private static Optional<Systems> systems = Optional.empty();

  @BeforeAll
  static void boot() throws IOException {
    TestNetwork made = TestNetwork.create();
    network = Optional.of(made);
    made.ip("link", "set", "lo", "up");
    made.ip("link", "add", "br0", "type", "bridge");
    made.ip("addr", "add", "10.78.0.1/24", "dev", "br0");
    made.ip("link", "set", "br0", "up");
    Path run = Files.createDirectories(WORKSPACE.state().resolve("run"));
    systems = Optional.of(new Systems(WORKSPACE.state(), run, SystemsWatch.NONE));
    Workshop.together(() -> create("older", "6.1"), () -> create("newer", "6.12"));
  }

  @AfterAll
  static void end() {
    systems.ifPresent(Systems::close);
    network.ifPresent(TestNetwork::close);
  }

  private static void create(String name, String kernel) {
    var _ = systems().create(OsDaemon.settings(name, kernel, 2, 1L << 30));
  }

  private static Systems systems() {
    return systems.orElseThrow();
  }

  private static RealBundles bundles() {
    return new RealBundles(
        Workshop.CACHE, WORKSPACE.state().resolve("bundles"), Workshop.PACKAGES, Workshop::say);
  }

  private static void run(String name, Path bundle, Optional<String> address) {
    ContainerSpec spec =
        new ContainerSpec(
            name,
            bundle,
            address.map(host ->
                new ContainerSpec.Network(host + "/24", Optional.empty(), Optional.of("br0"))));
    var _ = network.orElseThrow().within(() -> systems().run(spec, "older", Progress.NONE));
  }

  private interface Opening<T> {
    T open() throws IOException;
  }

  private static <T> T inside(Opening<T> opening) {
    return network
        .orElseThrow()
        .within(() -> {
          try {
            return opening.open();
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  /// The numbers of a container's lines "WORD NUMBER …", none of which may be lost, come twice or
  /// tell of trouble.
  ///
  /// @return the last word of every line
  private static List<String> lines(String container, String word) {
    Pattern line = Pattern.compile(word + " ([0-9]+) (.*\\S)");
    List<String> lastWords = new ArrayList<>();
    long number = 0;
    String log = systems().log(container);
    // Of the last one only a part may be there yet.
    for (String text : log.substring(0, log.lastIndexOf('\n') + 1).lines().toList()) {
      Matcher parts = line.matcher(text);
      assertThat(parts.matches()).as(container + ": " + text).isTrue();
      assertThat(text).doesNotContain("bad").doesNotContain("WRONG");
      assertThat(Long.parseLong(parts.group(1))).as(container + ": " + text).isEqualTo(++number);
      lastWords.add(parts.group(2).replaceFirst(".* ", ""));
    }
    return lastWords;
  }

  private static void goesOnIn(String os, String container, String word) {
    awaitMore(container, word);
    assertThat(lines(container, word).getLast())
        .isEqualTo(systems().get(os).settings().release().kernelRelease());
  }

  private static void awaitMore(String container, String word) {
    int before = lines(container, word).size();
    Workshop.await(
        "more from " + container, PATIENCE, () -> lines(container, word).size() > before + 25);
  }

  private static String executed(String container, String... command) {
    Systems.Executed end = systems().execute(container, List.of(command));
    assertThat(end.code()).as(end.output()).isZero();
    return end.output().strip();
  }

  private static void show(RelocationRecord move) {
    System.out.printf(
        Locale.ROOT,
        "  %s: Linux %s -> %s, %s%s; stood %.0f ms; %d KiB of memory, %d KiB copied; %s%n",
        move.container(),
        move.kernelFrom(),
        move.kernelTo(),
        move.outcome(),
        move.detail().isEmpty() ? "" : " (" + move.detail() + ")",
        move.frozenMs().orElse(0),
        move.memoryBytes() >> 10,
        move.frozenBytes() >> 10,
        move.phasesMs());
  }

  private static void moveAll(String from, String to) {
    Rollout.Result<RelocationRecord> result =
        network
            .orElseThrow()
            .within(() ->
                new Rollout<>(
                        new ContainerRollout(systems(), from, to),
                        new Rollout.Pace(2, 0, Duration.ZERO),
                        Rollout.Audience.NONE)
                    .run());
    assertThat(result.misses()).isEmpty();
    List<RelocationRecord> moves =
        result.entries().stream().flatMap(entry -> entry.record().stream()).toList();
    moves.forEach(RelocationCasesTest::show);
    assertThat(moves)
        .hasSize(systems().containers().size())
        .allSatisfy(move -> assertThat(move.outcome()).as(move.detail()).isEqualTo("committed"));
  }

  @Test
  @Order(1)
  void whatCannotMoveIsRefusedAndRunsOn() {
    Map<String, String> held =
        Map.of(
            "io_uring",
            "[io_uring]",
            "mqueue",
            "message queue",
            "traced",
            "is traced by",
            "/data/tun",
            "has the device /data/tun open");
    held.forEach((what, sentence) -> {
      String name = "holds-" + what.replaceAll("[^a-z]", "");
      run(name, bundles().odd(name, List.of(what)), Optional.empty());
      Workshop.await(name, PATIENCE, () -> systems().log(name).contains("holds " + what));
      assertThatThrownBy(() -> systems().relocate(name, "newer", Transport.MAPPED, Progress.NONE))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.RELOCATE_PREFLIGHT))
          .hasMessageContaining(sentence);
      assertThat(systems().container(name).state()).isInstanceOf(ContainerState.Running.class);
      int before = systems().log(name).length();
      Workshop.await("more from " + name, PATIENCE, () -> systems().log(name).length() > before);
      systems().stop(name, Duration.ZERO);
    });
  }

  @Test
  @Order(2)
  void realProgramsMoveThereAndBack() throws IOException {
    run("redis", bundles().redis(), Optional.of(REDIS));
    run("postgres", bundles().postgres(), Optional.of(POSTGRES));
    run("shell", bundles().shell(), Optional.empty());
    run("odd", bundles().odd("odd", List.of()), Optional.empty());
    try (RedisClient redis = inside(() -> RedisClient.open(REDIS, PATIENCE));
        PostgresSession one = inside(() -> PostgresSession.open(POSTGRES, PATIENCE));
        PostgresSession other = inside(() -> PostgresSession.open(POSTGRES, PATIENCE))) {
      String backend = begin(one, other);
      awaitMore("shell", "line");
      awaitMore("odd", "odd");
      for (String to : List.of("newer", "older")) {
        long keys = redis.answered();

        moveAll(to.equals("newer") ? "older" : "newer", to);

        Workshop.await("Redis", PATIENCE, () -> redis.answered() > keys + 10);
        goOn(one, other, backend, to);
        goesOnIn(to, "shell", "line");
        goesOnIn(to, "odd", "odd");
        limitsApply();
      }
      assertThat(redis.fault()).isEmpty();
      System.out.printf(Locale.ROOT, "  Redis has all of %d keys%n", redis.readAll());
    }
  }

  private static String begin(PostgresSession one, PostgresSession other) throws IOException {
    one.ask("CREATE TABLE moved (what text)");
    one.ask("INSERT INTO moved VALUES ('before')");
    one.ask("CREATE TEMPORARY TABLE own AS SELECT generate_series(1, 1000) AS n");
    one.ask("PREPARE total AS SELECT sum(n) FROM own");
    one.ask("BEGIN");
    one.ask("INSERT INTO moved VALUES ('in the transaction')");
    one.ask("SELECT pg_advisory_xact_lock(7)");
    assertThat(other.ask("SELECT what FROM moved")).containsExactly("before");
    return one.ask("SELECT pg_backend_pid()").getFirst();
  }

  /// The transaction is still open after the first move, and is committed then.
  private static void goOn(PostgresSession one, PostgresSession other, String backend, String to)
      throws IOException {
    assertThat(one.ask("SELECT pg_backend_pid()")).containsExactly(backend);
    assertThat(one.ask("EXECUTE total")).containsExactly("500500");
    if (to.equals("newer")) {
      assertThat(other.ask("SELECT what FROM moved")).containsExactly("before");
      assertThat(other.ask("SELECT pg_try_advisory_xact_lock(7)")).containsExactly("f");
      one.ask("COMMIT");
    }
    assertThat(other.ask("SELECT pg_try_advisory_xact_lock(7)")).containsExactly("t");
    other.ask("INSERT INTO moved VALUES ('in " + to + "')");
    other.ask("CHECKPOINT");
    assertThat(one.ask("SELECT what FROM moved"))
        .startsWith("before", "in the transaction")
        .endsWith("in " + to);
    // A session of its own needs a process of its own.
    try (PostgresSession late = inside(() -> PostgresSession.open(POSTGRES, PATIENCE))) {
      assertThat(late.ask("SELECT count(*) FROM moved"))
          .containsExactly(to.equals("newer") ? "3" : "4");
    }
  }

  /// Programs are run where the container is now, and see its limits, its user and nothing else.
  private static void limitsApply() {
    assertThat(
            executed(
                    "odd",
                    "/bin/sh",
                    "-c",
                    "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max /proc/self/cgroup; id -u;"
                        + " hostname")
                .lines())
        .containsExactly(
            Long.toString(RealBundles.MEMORY_MAX),
            Long.toString(RealBundles.PIDS_MAX),
            RealBundles.CPU_MICROS + " 100000",
            "0::/",
            "1000",
            "odd-host");
    assertThat(systems().execute("odd", List.of("/bin/sh", "-c", "true </data/fuse")).output())
        .contains("not permitted");
  }

  @Test
  @Order(3)
  void whatIsAskedToEndMayDoSo() {
    long begin = System.nanoTime();
    systems().stop("shell", PATIENCE);
    assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(PATIENCE);
    // A first process without a handler does not hear of it.
    for (String name : List.of("odd", "postgres", "redis")) {
      systems().stop(name, Duration.ofSeconds(1));
    }
    assertThat(systems().containers()).isEmpty();
  }

  @Test
  @Order(4)
  void aJvmMovesThereAndBack() {
    run("java", bundles().java(), Optional.empty());
    awaitMore("java", "churn");
    for (String to : List.of("newer", "older")) {
      moveAll(to.equals("newer") ? "older" : "newer", to);
      goesOnIn(to, "java", "churn");
    }
  }
}
