package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.whole;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.FileUser;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/// Command lines of all shapes in which managers and people write them, and the same with mistakes.
/// `-Dhyperfresh.fuzz.lines=N` sets their number, and `-Dhyperfresh.fuzz.seed=N` the first of them.
class ForeignShapesTest {
  private static final int LINES = Integer.getInteger("hyperfresh.fuzz.lines", 2000);
  private static final Pattern CONTROL = Pattern.compile("\\p{C}");
  private static final long SEED = Long.getLong("hyperfresh.fuzz.seed", 20_261_130L);

  /// A machine that is taken over has the same devices in the same order on what they were on, also
  /// when it is rehearsed, and none of it is there twice.
  @Test
  void aMachineIsTakenOverAsAWhole() {
    int accepted = 0;
    for (int i = 0; i < LINES; i++) {
      RandomMachine machine = new RandomMachine(new Random(SEED + i));
      List<String> line = machine.line();
      ForeignCommandLine read = whole(line, machine.live());
      if (read.reasons().isEmpty()) {
        accepted++;
        assertWhole(i, line, read.words());
      }
      assertThat(explained(i, line)).doesNotContain(RandomMachine.SECRET);
    }
    System.out.println("  " + accepted + " of " + LINES + " machines were accepted");
    assertThat(accepted).isGreaterThan(LINES / 5);
  }

  @Test
  void aMachineWithMistakesIsRefusedOrAWholeOne() {
    int accepted = 0;
    for (int i = 0; i < LINES; i++) {
      Random random = new Random(SEED + i);
      RandomMachine machine = new RandomMachine(random);
      List<String> line = machine.line();
      for (int mistakes = random.nextInt(3); mistakes >= 0; mistakes--) {
        spoil(line, random);
      }
      ForeignCommandLine read = whole(line, machine.live());
      if (read.reasons().isEmpty()) {
        accepted++;
        assertWhole(i, line, read.words());
      }
      explained(i, line);
    }
    System.out.println("  " + accepted + " of " + LINES + " with mistakes were accepted");
    assertThat(accepted).isPositive();
  }

  private static void spoil(List<String> line, Random random) {
    int at = random.nextInt(line.size());
    String word = line.get(at);
    switch (random.nextInt(7)) {
      case 0 -> line.remove(at);
      case 1 -> line.add(at, line.get(random.nextInt(line.size())));
      case 2 -> line.set(at, line.set(random.nextInt(line.size()), word));
      case 3 -> line.set(at, word.substring(0, random.nextInt(word.length() + 1)));
      case 4 -> line.set(at, word + word);
      case 5 -> {
        int place = random.nextInt(word.length() + 1);
        char odd = ",={}\"\\:.\0\n-\u202e".charAt(random.nextInt(12));
        line.set(at, word.substring(0, place) + odd + word.substring(place));
      }
      default -> line.set(at, word.replace("file", "backing").replace("id", "ID"));
    }
  }

  private static void assertWhole(int number, List<String> line, List<String> words) {
    String what = "line %d: %s became %s".formatted(number, line, words);
    NamesOfLine before = NamesOfLine.of(line);
    assertNames(what, before, words);
    AdoptedWords adopted = new AdoptedWords(words);
    assertNames(what, before, adopted.silent());
    assertNames(what, before, adopted.booting());
    assertNames(what, before, adopted.withoutVhost().words());
    assertNames(what, before, AdoptedWords.unconnected(words));
    assertThat(adopted.takenLater(FileUser.SELF)).as(what).doesNotContainNull();
    try {
      assertNames(what, before, adopted.standIns("g", images(words)));
    } catch (IOException e) {
      throw new AssertionError(what, e);
    }
  }

  private static void assertNames(String what, NamesOfLine before, List<String> words) {
    NamesOfLine after = NamesOfLine.of(words);
    assertThat(after.drivers()).as(what).isEqualTo(before.drivers());
    assertThat(before.missing()).as(what).containsAll(after.missing());
    assertThat(before.twice()).as(what).containsAll(after.twice());
  }

  /// What a QEMU would have open.
  private static List<AdoptedWords.OpenImage> images(List<String> words) {
    List<AdoptedWords.OpenImage> images = new ArrayList<>();
    for (ForeignPiece piece : ForeignPieces.of(words).all()) {
      Suboptions node = piece.pairs("file");
      switch (piece.option()) {
        case BLOCKDEV -> {
          Suboptions pairs = piece.pairs("driver");
          images.add(
              new AdoptedWords.OpenImage(
                  pairs.get("node-name", ""), pairs.get("driver", ""), Path.of("/x"), 512));
        }
        case DRIVE ->
            node.get("file")
                .or(() -> node.get("file.filename"))
                .ifPresent(file ->
                    images.add(
                        new AdoptedWords.OpenImage(
                            "#block",
                            node.get("format").or(() -> node.get("driver")).orElse("raw"),
                            Path.of(file),
                            512)));
        default -> {}
      }
    }
    return images;
  }

  /// All that is said of it, which a terminal can show.
  private static String explained(int number, List<String> line) {
    StringBuilder text = new StringBuilder();
    for (Explanation.Piece piece : Explanation.of(line, "7.2.22", Optional.empty()).pieces()) {
      text.append(piece.what()).append(piece.reason()).append(piece.action()).append(' ');
    }
    assertThat(CONTROL.matcher(text).find()).as("line %d: %s", number, line).isFalse();
    return text.toString();
  }

  /// Every form of every option has its turn.
  @Test
  void theMachinesAreOfAllShapes() {
    Set<String> seen = new TreeSet<>();
    for (int i = 0; i < 500; i++) {
      List<String> line = new RandomMachine(new Random(SEED + i)).line();
      for (int at = 0; at + 1 < line.size(); at++) {
        if (line.get(at).startsWith("-")) {
          seen.add(line.get(at) + (line.get(at + 1).startsWith("{") ? " {" : ""));
        }
      }
    }
    assertThat(seen)
        .contains(
            "-device",
            "-device {",
            "-blockdev",
            "-blockdev {",
            "-netdev",
            "-netdev {",
            "-object",
            "-object {",
            "-drive",
            "-chardev",
            "-serial",
            "-mon",
            "-qmp",
            "-audiodev",
            "-fsdev",
            "-spice");
  }
}
