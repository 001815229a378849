package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Siblings;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Where the state of a TPM is, whatever becomes of a replacement. A state is a text here.
class TpmFoldersTest {
  private static final String STATE = "tpm2-00.permall";

  @TempDir private Path above;

  private final Map<Integer, Boolean> ran = new HashMap<>();
  private TpmFolders folders;

  @BeforeEach
  void aTpmWithAState() throws IOException {
    Files.createDirectory(home());
    write(home(), "first");
    folders = folders(Optional.empty());
  }

  private TpmFolders folders(Optional<GuestTpm.First> first) {
    return new TpmFolders(
        new GuestTpm(
            Path.of("/usr/bin/swtpm"),
            home(),
            true,
            Optional.of(QemuUser.rightsOfThisProcess()),
            first),
        OptionalInt.empty(),
        generation -> Optional.ofNullable(ran.get(generation)));
  }

  @Test
  void aTargetHasAFolderWithoutAStateAndTheSourceItsOwn() throws Exception {
    try (Fd folder = folders.ofTarget(2)) {
      assertThat(Siblings.names(folder)).containsExactly(".hyperfresh-of-2");
    }

    assertThat(states()).containsExactly("tpm2=first", "tpm2.hyperfresh-2=");
    assertThat(folders.obstacle()).isEmpty();
  }

  @Test
  void aTargetThatRunsTheGuestTakesTheOwnersPlaceWithItsFolderOpen() throws Exception {
    try (Fd folder = folders.ofTarget(2)) {
      Path open = Path.of(Descriptors.own(folder.number()));
      write(open, "second");
      folders.settle(2);
      // Whatever it writes later, and however often it is settled.
      write(open, "third");
      folders.settle(2);
    }

    assertThat(states()).containsExactly("tpm2=third");
  }

  @Test
  void aTargetThatGotNothingTakesNoPlace() throws Exception {
    folders.ofTarget(2).close();

    assertThatThrownBy(() -> folders.settle(2)).hasMessageContaining("no state yet");

    assertThat(states()).contains("tpm2=first");
  }

  @Test
  void aRollBackLeavesTheStateOfTheSource() throws Exception {
    target(2, "second");
    folders.discard(2);
    folders.discard(2);

    assertThat(states()).containsExactly("tpm2=first");
  }

  /// The host failed between the switch and the end of the replacement.
  @Test
  void aStartFindsTheNewestState() throws Exception {
    target(2, "second");
    target(3, "never had the guest");
    ran.putAll(Map.of(2, true, 3, false));

    folders.ofFirst().close();

    assertThat(states()).containsExactly("tpm2=second");
  }

  @Test
  void aStartDoesNotGuess() throws Exception {
    target(2, "perhaps");

    assertThatThrownBy(() -> folders.ofFirst())
        .isInstanceOf(IOException.class)
        .hasMessageContaining("not known which is the newest")
        .hasMessageContaining(above.resolve("tpm2.hyperfresh-2").toString());

    assertThat(states()).containsExactly("tpm2=first", "tpm2.hyperfresh-2=perhaps");
  }

  /// The end of a log may be lost with the host's power, and with it the line that says so.
  @Test
  void thatATargetNeverRanIsNotBelievedAfterALossOfPower() throws Exception {
    target(2, "perhaps");
    ran.put(2, false);
    writtenInAnotherBoot(2);

    assertThatThrownBy(() -> folders.ofFirst()).hasMessageContaining("not known which is the new");
    folders.settle(1);

    assertThat(states()).containsExactly("tpm2=first", "tpm2.hyperfresh-2=perhaps");
  }

  @Test
  void thatATargetRanIsBelievedAlsoAfterALossOfPower() throws Exception {
    target(2, "second");
    ran.put(2, true);
    writtenInAnotherBoot(2);

    folders.ofFirst().close();

    assertThat(states()).containsExactly("tpm2=second");
  }

  /// The name of a file may be on the disk and its content not.
  @Test
  void anEmptyFileIsNoState() throws Exception {
    target(2, "");
    ran.put(2, true);

    folders.ofFirst().close();

    assertThat(states()).containsExactly("tpm2=first");
  }

  @Test
  void aTargetDoesNotTakeThePlaceOfAStateThatIsThere() throws Exception {
    target(2, "of an earlier guest");

    assertThatThrownBy(() -> folders.ofTarget(2))
        .hasMessageContaining(above.resolve("tpm2.hyperfresh-2") + " has a state of a TPM already");
    folders.abandon(2);

    assertThat(states()).containsExactly("tpm2=first", "tpm2.hyperfresh-2=of an earlier guest");
  }

  @Test
  void whatATargetThatDidNotStartLeavesIsRemoved() throws Exception {
    folders.ofTarget(2).close();

    folders.abandon(2);
    folders.abandon(2);

    assertThat(states()).containsExactly("tpm2=first");
  }

  @Test
  void aStartWithoutAStateOfItsOwnRemovesNoOther() throws Exception {
    target(2, "all there is");
    ran.put(2, false);
    Files.delete(home().resolve(STATE));

    folders.ofFirst().close();
    Files.delete(home());

    assertThatThrownBy(() -> folders.ofFirst()).hasMessageContaining("is not in " + home());
    assertThat(states()).containsExactly("tpm2.hyperfresh-2=all there is");
  }

  @Test
  void aStartMindsNoFolderWithoutAState() throws Exception {
    folders.ofTarget(2).close();

    folders.ofFirst().close();

    assertThat(states()).containsExactly("tpm2=first");
  }

  @Test
  void aStartWithoutAStateIsNone() throws Exception {
    Files.delete(home().resolve(STATE));
    Files.delete(home());

    assertThatThrownBy(() -> folders.ofFirst()).hasMessageContaining("is not in " + home());
    assertThat(folders.obstacle()).isPresent();
  }

  /// Of a guest in doubt somebody decides which instance goes on with it.
  @Test
  void whoGoesOnWithAGuestInDoubtHasTheOnlyState() throws Exception {
    target(2, "second");
    ran.put(2, true);
    folders.settle(1);
    assertThat(states()).containsExactly("tpm2=first", "tpm2.hyperfresh-2=second");

    folders.forgetOthers(1);

    assertThat(states()).containsExactly("tpm2=first");
  }

  @Test
  void aFolderOfSomebodyElseIsNoState() throws Exception {
    target(2, "planted");
    ran.put(2, true);
    assumeTrue(Host.effectiveUid() == 0, "only root gives files away");
    Files.setAttribute(above.resolve("tpm2.hyperfresh-2"), "unix:uid", 1_999_900_001);

    folders.ofFirst().close();

    assertThat(states()).containsExactly("tpm2=first");
  }

  /// It would write into the folder of its successor.
  @Test
  void theEndOfTheFirstSwtpmIsAwaited() throws Exception {
    Process first = new ProcessBuilder("sleep", "600").start();
    try {
      folders = folders(GuestTpm.First.of((int) first.pid()));
      target(2, "second");

      folders.settle(2);

      // Java notices the end of a process in a thread of its own.
      assertThat(first.waitFor(10, TimeUnit.SECONDS)).isTrue();
      assertThat(states()).containsExactly("tpm2=second");
    } finally {
      first.destroyForcibly();
    }
  }

  @Test
  void aStartAwaitsTheEndOfTheFirstSwtpm() throws Exception {
    Process first = new ProcessBuilder("sleep", "600").start();
    try {
      folders = folders(GuestTpm.First.of((int) first.pid()));

      folders.ofFirst().close();

      // Java notices the end of a process in a thread of its own.
      assertThat(first.waitFor(10, TimeUnit.SECONDS)).isTrue();
      assertThat(states()).containsExactly("tpm2=first");
    } finally {
      first.destroyForcibly();
    }
  }

  /// The host failed between the exchange and the removal.
  @Test
  void anExchangeIsNotTakenBackWhenItIsSettledAgain() throws Exception {
    target(2, "second");
    exchangeByHand();

    folders.settle(2);

    assertThat(states()).containsExactly("tpm2=second");
    assertThat(home()).isDirectoryNotContaining("glob:**.hyperfresh*");
  }

  @Test
  void anExchangeIsNotTakenBackByAStart() throws Exception {
    target(2, "second");
    ran.put(2, true);
    exchangeByHand();

    folders.ofFirst().close();

    assertThat(states()).containsExactly("tpm2=second");
    assertThat(home()).isDirectoryNotContaining("glob:**.hyperfresh*");
  }

  /// It ran the guest, too, and after the exchange nothing would tell that it is older.
  @Test
  void whatAnEarlierInstanceLeftGoesBeforeTheExchange() throws Exception {
    Path inTheWay = Files.createDirectory(home().resolve("folder"));
    target(2, "second");
    target(3, "third");
    ran.putAll(Map.of(2, true, 3, true));
    assertThatThrownBy(() -> folders.settle(3)).isInstanceOf(LinuxException.class);

    Files.delete(above.resolve("tpm2.hyperfresh-3").resolve(inTheWay.getFileName()));
    folders.ofFirst().close();

    assertThat(states()).containsExactly("tpm2=third");
  }

  @Test
  void anExchangeIsNotTakenBackWhenTheOldFolderCannotBeRemoved() throws Exception {
    Path inTheWay = Files.createDirectory(home().resolve("folder"));
    target(2, "second");

    for (int i = 0; i < 3; i++) {
      assertThatThrownBy(() -> folders.settle(2)).isInstanceOf(LinuxException.class);
      assertThat(Files.readString(home().resolve(STATE))).isEqualTo("second");
    }

    Files.delete(above.resolve("tpm2.hyperfresh-2").resolve(inTheWay.getFileName()));
    folders.settle(2);
    assertThat(states()).containsExactly("tpm2=second");
  }

  /// The owner's folder may have the mark of a generation of that number from before.
  @Test
  void aMarkOfAnEarlierTargetOrOfSomebodyElseIsNone() throws Exception {
    Files.createFile(home().resolve(".hyperfresh-of-2"));
    target(2, "second");
    Path planted = Files.createFile(home().resolve("planted"));
    Files.createLink(home().resolve(".hyperfresh-of-2"), planted);

    folders.settle(2);

    assertThat(states()).containsExactly("tpm2=second");
  }

  @Test
  void aFolderOfAnEarlierReleaseHasNoMark() throws Exception {
    target(2, "second");
    Files.delete(above.resolve("tpm2.hyperfresh-2").resolve(".hyperfresh-of-2"));

    folders.settle(2);

    assertThat(states()).containsExactly("tpm2=second");
  }

  @Test
  void aStateIsNotMadeAnew() throws Exception {
    folders.make();
    assertThat(states()).containsExactly("tpm2=first");
    Files.delete(home().resolve(STATE));
    Files.createFile(home().resolve("left over"));

    folders.make();

    assertThat(home()).isEmptyDirectory();
  }

  @Test
  void whatIsWrittenDownReplacesTheFileAtOnce() throws Exception {
    GuestTpm one = new GuestTpm(Path.of("/one"), home(), true, Optional.empty(), Optional.empty());
    GuestTpm other =
        new GuestTpm(Path.of("/other"), home(), true, Optional.empty(), Optional.empty());
    one.write(above);
    Path before = Files.createDirectory(above.resolve("before"));
    Files.createLink(before.resolve("tpm.properties"), above.resolve("tpm.properties"));

    other.write(above);

    assertThat(GuestTpm.read(above)).contains(other);
    assertThat(GuestTpm.read(before)).contains(one);
    assertThat(above.resolve("tpm.properties.new")).doesNotExist();
  }

  @Test
  void whatIsWrittenDownIsReadAgain() throws Exception {
    GuestTpm tpm =
        new GuestTpm(
            Path.of("/usr/bin/swtpm"),
            home(),
            true,
            Optional.of(QemuUser.rightsOfThisProcess()),
            GuestTpm.First.of((int) ProcessHandle.current().pid()));
    assertThat(GuestTpm.read(above)).isEmpty();

    tpm.write(above);

    assertThat(GuestTpm.read(above)).contains(tpm);
    assertThat(tpm.first().orElseThrow().lives()).isTrue();
    assertThat(String.join(" ", Swtpm.command(tpm)))
        .isEqualTo(
            "/usr/bin/swtpm socket --tpm2 --ctrl type=unixio,clientfd=3"
                + " --tpmstate dir=/proc/self/fd/4,mode=0600 --terminate");
  }

  private Path home() {
    return above.resolve("tpm2");
  }

  private void target(int generation, String state) throws IOException {
    folders.ofTarget(generation).close();
    write(above.resolve("tpm2.hyperfresh-" + generation), state);
  }

  private void exchangeByHand() {
    try (Siblings beside = Siblings.in(above)) {
      beside.exchange("tpm2.hyperfresh-2", "tpm2");
    }
  }

  private void writtenInAnotherBoot(int generation) throws IOException {
    Path folder = above.resolve("tpm2.hyperfresh-" + generation);
    Path mark = folder.resolve(".hyperfresh-of-" + generation);
    assertThat(mark).hasContent(Host.bootId());
    Files.writeString(mark, "c0ffee00-0000-4000-8000-000000000000");
  }

  private static void write(Path folder, String state) throws IOException {
    Files.writeString(folder.resolve(STATE), state);
  }

  private List<String> states() throws IOException {
    try (Stream<Path> all = Files.list(above)) {
      return all.sorted().map(TpmFoldersTest::state).toList();
    }
  }

  private static String state(Path folder) {
    try {
      Path file = folder.resolve(STATE);
      return folder.getFileName() + "=" + (Files.exists(file) ? Files.readString(file) : "");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
