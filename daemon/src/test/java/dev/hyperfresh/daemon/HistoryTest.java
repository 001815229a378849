package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.relocation.RelocationRecord;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

class HistoryTest {
  private static final Instant NOON = Instant.parse("2026-03-01T12:00:00.123456Z");

  @TempDir Path folder = Path.of("");

  @Test
  void aRecordIsReadAsTheApiShowsIt() {
    ReplacementRecord record = record("a", "web1", NOON, Outcome.COMMITTED);
    try (History history = open()) {
      history.add(record);

      JsonNode read = history.read(History.Kind.REPLACEMENT, Optional.empty(), 10).getFirst();
      assertThat(read)
          .isEqualTo(Api.JSON.readTree(Api.JSON.writeValueAsString(Views.replacement(record))));
      assertThat(read.path("blackout_ms").asDouble()).isEqualTo(5.25);
      assertThat(read.path("clock_lost_ms").asDouble()).isEqualTo(5.25);
      assertThat(read.has("clock_stepped_ms")).isFalse();
      assertThat(read.path("save_ms").asDouble()).isEqualTo(1.25);
      assertThat(read.path("load_ms").asDouble()).isEqualTo(4);
      assertThat(read.has("problem")).isFalse();
    }
  }

  @Test
  void movesOfContainersAreKeptBesideThem() {
    RelocationRecord record =
        new RelocationRecord(
            NOON,
            "c1",
            "os1",
            "os2",
            "6.1.192",
            "6.12.95",
            "mapped",
            "lost",
            "x".repeat(5000),
            1 << 20,
            512,
            Map.of("freeze", 1.5),
            OptionalDouble.empty(),
            new RelocationRecord.Drain(0, 0, 0, 0));
    try (History history = open()) {
      history.add(record("a", "c1", NOON, Outcome.COMMITTED));
      history.add(record);

      List<JsonNode> moves = history.read(History.Kind.RELOCATION, Optional.of("c1"), 10);
      assertThat(moves).hasSize(1);
      assertThat(moves.getFirst().path("problem").asString()).isEqualTo("HF-RELOCATE-003");
      assertThat(moves.getFirst().path("detail").asString()).hasSize(4001);
      assertThat(history.read(History.Kind.RELOCATION, Optional.of("c2"), 10)).isEmpty();
    }
  }

  @Test
  void whatWentWrongIsKeptWithItsCode() {
    try (History history = open()) {
      history.add(record("a", "web1", NOON, Outcome.ROLLED_BACK));

      JsonNode read = history.read(History.Kind.REPLACEMENT, Optional.empty(), 10).getFirst();
      assertThat(read.path("problem").asString()).isEqualTo("HF-REPLACE-003");
      assertThat(read.path("detail").asString()).isEqualTo("refused");
      assertThat(read.has("blackout_ms")).isFalse();
      assertThat(read.has("save_ms")).isFalse();
    }
  }

  @Test
  void theNewestComesFirstAndTheLimitCutsTheOldest() {
    try (History history = open()) {
      IntStream.range(0, 20)
          .map(i -> i * 7 % 20)
          .forEach(
              i -> history.add(record("id" + i, "web1", NOON.plusMillis(i), Outcome.COMMITTED)));

      assertThat(ids(history.read(History.Kind.REPLACEMENT, Optional.empty(), 3)))
          .containsExactly("id19", "id18", "id17");
      assertThat(history.read(History.Kind.REPLACEMENT, Optional.empty(), 1000)).hasSize(20);
    }
  }

  @Test
  void oneGuestsRecordsAreItsOwn() {
    try (History history = open()) {
      history.add(record("a", "web1", NOON, Outcome.COMMITTED));
      history.add(record("b", "web2", NOON.plusSeconds(1), Outcome.COMMITTED));

      assertThat(ids(history.read(History.Kind.REPLACEMENT, Optional.of("web1"), 10)))
          .containsExactly("a");
      assertThat(history.read(History.Kind.REPLACEMENT, Optional.of("web"), 10)).isEmpty();
      assertThat(history.read(History.Kind.REPLACEMENT, Optional.of("' OR ''='"), 10)).isEmpty();
      assertThat(ids(history.read(History.Kind.REPLACEMENT, Optional.empty(), 10)))
          .containsExactly("b", "a");
    }
  }

  @Test
  void theNextDaemonReadsWhatTheLastOneWrote() {
    try (History history = open()) {
      history.add(record("a", "web1", NOON, Outcome.COMMITTED));
    }
    try (History history = open()) {
      history.add(record("b", "web1", NOON.plusSeconds(1), Outcome.COMMITTED));

      assertThat(ids(history.read(History.Kind.REPLACEMENT, Optional.empty(), 10)))
          .containsExactly("b", "a");
    }
  }

  @Test
  void theOldestAreForgotten() {
    try (History history = History.open(file(), 10)) {
      for (int i = 0; i < 30; i++) {
        history.add(record("id" + i, "web1", NOON.plusSeconds(i), Outcome.COMMITTED));
      }
    }
    try (History history = History.open(file(), 10)) {
      assertThat(ids(history.read(History.Kind.REPLACEMENT, Optional.empty(), 1000)))
          .hasSize(10)
          .startsWith("id29")
          .endsWith("id20");
      history.add(record("next", "web1", NOON.plusSeconds(99), Outcome.COMMITTED));
      assertThat(ids(history.read(History.Kind.REPLACEMENT, Optional.empty(), 1000)))
          .hasSize(10)
          .startsWith("next");
    }
  }

  @Test
  void aFileThatIsNoDatabaseIsNamed() throws Exception {
    Files.writeString(
        file(), "this is no database, and long enough to be taken for one ".repeat(40));

    HyperFreshException refused =
        catchThrowableOfType(HyperFreshException.class, () -> open().close());
    assertThat(refused.problem()).isEqualTo(Problem.DAEMON_STATE);
    assertThat(refused.detail()).contains(file().toString());
  }

  @Test
  void anIdIsTakenOnce() {
    try (History history = open()) {
      history.add(record("a", "web1", NOON, Outcome.COMMITTED));

      HyperFreshException refused =
          catchThrowableOfType(
              HyperFreshException.class,
              () -> history.add(record("a", "web2", NOON, Outcome.COMMITTED)));
      assertThat(refused.problem()).isEqualTo(Problem.DAEMON_STATE);
      assertThat(history.read(History.Kind.REPLACEMENT, Optional.empty(), 10)).hasSize(1);
    }
  }

  private Path file() {
    return folder.resolve("history.db");
  }

  private History open() {
    return History.open(file());
  }

  private static List<String> ids(List<JsonNode> records) {
    return records.stream().map(record -> record.path("id").asString()).toList();
  }

  static ReplacementRecord record(String id, String guest, Instant at, Outcome outcome) {
    boolean committed = outcome == Outcome.COMMITTED;
    return new ReplacementRecord(
        id,
        guest,
        "process",
        "qemu-7.2.22",
        "qemu-10.0.2",
        "tcg",
        at,
        committed ? OptionalDouble.of(5.25) : OptionalDouble.empty(),
        OptionalDouble.empty(),
        OptionalDouble.empty(),
        false,
        new ReplacementRecord.Aftermath(OptionalDouble.of(12.5), OptionalLong.of(321)),
        OptionalLong.of(0),
        335_872,
        new ReplacementRecord.Phases(
            0.1,
            700,
            7,
            committed ? OptionalDouble.of(1.25) : OptionalDouble.empty(),
            committed ? OptionalDouble.of(4) : OptionalDouble.empty(),
            OptionalDouble.empty(),
            12),
        740,
        outcome,
        committed ? "" : "HF-REPLACE-003",
        committed ? "" : "refused",
        new ReplacementRecord.Parts(Map.of("qemu", "7.2.22"), Map.of("qemu", "10.0.2")),
        new ReplacementRecord.Clocks(
            OptionalDouble.of(committed ? 5.25 : 0), OptionalDouble.empty(), ""));
  }
}
