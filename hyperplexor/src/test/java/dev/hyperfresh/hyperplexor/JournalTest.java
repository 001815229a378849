package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Journal.Entry;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.Host;
import java.io.BufferedReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
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
  void itIsCompactedWhenReplacementsEndAndKeepsWhatHasNotEnded() throws Exception {
    Path path = folder.resolve("journal.log");
    Entry kept = entry("kept", "Switching");
    try (Journal journal = Journal.open(path, 2048)) {
      journal.write(kept);
      for (int i = 0; i < 200; i++) {
        journal.write(entry("r" + i, "Planned"));
        journal.write(entry("r" + i, "Retired"));
        assertThat(Files.size(path)).isLessThan(3 * 2048);
        assertThat(Journal.unfinished(path)).containsExactly(kept);
      }
    }
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(path)))
        .isEqualTo("rw-------");
    assertThat(folder.resolve("journal.log.new")).doesNotExist();
  }

  @Test
  void itIsCompactedWhenItIsOpened() throws Exception {
    Path path = folder.resolve("journal.log");
    Entry kept = entry("kept", "Switching");
    try (Journal journal = Journal.open(path)) {
      journal.write(kept);
      for (int i = 0; i < 50; i++) {
        journal.write(entry("r" + i, "Retired"));
      }
    }
    Files.writeString(path, TORN, StandardOpenOption.APPEND);
    // What a daemon that was killed had begun.
    Files.writeString(folder.resolve("journal.log.new"), TORN);
    Entry next = entry("next", "Planned");
    try (Journal journal = Journal.open(path, 2048)) {
      assertThat(Files.readAllLines(path)).hasSize(1);
      journal.write(next);
    }
    assertThat(Journal.unfinished(path)).containsExactly(kept, next);
  }

  @Test
  void aProcessThatIsKilledWhileItCompactsLosesNothingThatHasNotEnded() throws Exception {
    for (int lines : List.of(20, 47, 101)) {
      Path own = Files.createDirectory(folder.resolve("killed-" + lines));
      Process writer = new ProcessBuilder(JournalWriter.command(own)).start();
      String last = "";
      try (BufferedReader said = writer.inputReader()) {
        for (int i = 0; i < lines; i++) {
          last = said.readLine();
        }
        // The other way would close what it has said.
        assertThat(writer.toHandle().destroyForcibly()).isTrue();
        for (String line = said.readLine(); line != null; line = said.readLine()) {
          last = line;
        }
      }
      String[] word = last.split(" ");
      Map<String, String> left =
          Journal.unfinished(own.resolve("journal.log")).stream()
              .collect(Collectors.toMap(Entry::id, Entry::state));

      assertThat(left).containsEntry("kept", "Switching").hasSizeLessThanOrEqualTo(2);
      if (word[1].equals("Planned")) {
        assertThat(left).as(last).containsKey(word[0]);
      }
    }
  }

  @Test
  void onAFullDiskItStaysAsItIsAndIsCompactedLater() throws Exception {
    Assumptions.assumeTrue(Host.effectiveUid() == 0, "skipped: needs root");
    List<String> command =
        List.of(
            "unshare",
            "-m",
            "sh",
            "-c",
            "mount -t tmpfs -o size=64k none \"$0\" && exec \"$@\"",
            folder.toString());
    Process writer =
        new ProcessBuilder(
                Stream.concat(
                        command.stream(),
                        JournalWriter.command(folder, JournalWriter.FULL).stream())
                    .toList())
            .redirectErrorStream(true)
            .start();
    List<String> said;
    try (BufferedReader lines = writer.inputReader()) {
      said = lines.lines().toList();
    }
    assertThat(writer.waitFor()).as(said.toString()).isZero();

    assertThat(said)
        .anyMatch(line -> line.startsWith("full: No space left"))
        .anyMatch(line -> line.contains("journal.log could not be compacted"))
        .containsSubsequence("unfinished: [kept] large: true", "unfinished: [kept] large: false");
  }

  @Test
  void aJournalThatCannotBeOpenedIsNamed() {
    assertThatThrownBy(() -> Journal.open(folder.resolve("no/journal.log")))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("no/journal.log")
        .extracting(StagedRelease::code)
        .isEqualTo("HF-DAEMON-003");
  }

  private static Entry entry(String id, String state) {
    return new Entry(Instant.parse("2026-01-01T00:00:01Z"), id, "web1", state, 1, 2, "qemu-7.2.22");
  }
}
