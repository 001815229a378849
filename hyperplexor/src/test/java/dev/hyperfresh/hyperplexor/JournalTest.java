package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Journal.Entry;
import dev.hyperfresh.hypervisor.HyperFreshException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JournalTest {
  private static final String TORN = "2026-01-01T00:00:02Z b db1 Switching 3 4 qemu-10";

  @TempDir Path folder;

  @Test
  void whatWasWrittenIsReadByTheNextProcess() {
    Path path = folder.resolve("journal.log");
    Entry planned = entry("a", "Planned");
    Entry switching = entry("a", "Switching");
    Entry other = entry("b", "Planned");
    try (Journal journal = Journal.open(path)) {
      journal.write(planned);
      journal.write(other);
      journal.write(switching);
    }
    assertThat(Journal.unfinished(path)).containsExactly(switching, other);

    try (Journal journal = Journal.open(path)) {
      journal.write(entry("b", "Retired"));
    }
    assertThat(Journal.unfinished(path)).containsExactly(switching);
  }

  @ParameterizedTest
  @ValueSource(strings = {"Retired", "RolledBack", "Failed"})
  void anEndIsNotUnfinished(String state) {
    assertThat(entry("a", state).open()).isFalse();
  }

  @ParameterizedTest
  @ValueSource(strings = {"Planned", "Prepared", "Switching", "Committed"})
  void everythingElseIsUnfinished(String state) {
    assertThat(entry("a", state).open()).isTrue();
  }

  @Test
  void withoutAJournalNothingIsUnfinished() {
    assertThat(Journal.unfinished(folder.resolve("none"))).isEmpty();
  }

  @Test
  void aTornLastLineIsIgnoredWhereverItWasTorn() throws Exception {
    Path path = folder.resolve("journal.log");
    Entry whole = entry("a", "Committed");
    for (int length = 0; length <= TORN.length(); length++) {
      Files.deleteIfExists(path);
      try (Journal journal = Journal.open(path)) {
        journal.write(whole);
      }
      Files.writeString(path, TORN.substring(0, length), StandardOpenOption.APPEND);

      assertThat(Journal.unfinished(path)).as("torn after %d", length).containsExactly(whole);
    }
  }

  @Test
  void whatIsWrittenAfterATornLineIsNotLost() throws Exception {
    Path path = folder.resolve("journal.log");
    Entry next = entry("c", "Planned");
    for (int length = 1; length <= TORN.length(); length++) {
      Files.deleteIfExists(path);
      Files.writeString(path, TORN.substring(0, length));
      try (Journal journal = Journal.open(path)) {
        journal.write(next);
      }

      assertThat(Journal.unfinished(path)).as("torn after %d", length).contains(next);
    }
  }

  @Test
  void blocksThatNeverReachedTheDiskDoNotKeepTheDaemonFromStarting() throws Exception {
    Path path = folder.resolve("journal.log");
    try (Journal journal = Journal.open(path)) {
      journal.write(entry("a", "Planned"));
    }
    Files.write(path, new byte[512], StandardOpenOption.APPEND);
    assertThat(Journal.unfinished(path)).hasSize(1);

    Files.writeString(path, "\nx y z w v u t\n", StandardOpenOption.APPEND);
    assertThat(Journal.unfinished(path)).hasSize(1);
  }

  @Test
  void writersOfOneProcessDoNotMixTheirLines() throws Exception {
    Path path = folder.resolve("journal.log");
    try (Journal journal = Journal.open(path)) {
      List<Thread> writers =
          IntStream.range(0, 8)
              .mapToObj(writer ->
                  Thread.ofPlatform()
                      .start(() ->
                          IntStream.range(0, 25)
                              .forEach(i -> journal.write(entry(writer + "x" + i, "Planned")))))
              .toList();
      for (Thread writer : writers) {
        writer.join();
      }
    }
    assertThat(Files.readAllLines(path)).hasSize(200).allMatch(line -> line.split(" ").length == 8);
    assertThat(Journal.unfinished(path)).hasSize(200);
  }

  @Test
  void aJournalThatCannotBeOpenedIsNamed() {
    assertThatThrownBy(() -> Journal.open(folder.resolve("no/journal.log")))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("no/journal.log")
        .extracting(Stage::code)
        .isEqualTo("HF-DAEMON-003");
  }

  private static Entry entry(String id, String state) {
    return new Entry(Instant.parse("2026-01-01T00:00:01Z"), id, "web1", state, 1, 2, "qemu-7.2.22");
  }
}
