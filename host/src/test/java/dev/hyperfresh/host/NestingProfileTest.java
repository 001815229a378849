package dev.hyperfresh.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.OpenFlags;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NestingProfileTest {
  private static final Set<String> ALL =
      Set.of("halt-polling", "huge-pages", "transparent-huge-pages", "ksm");

  @TempDir Path root;

  @Test
  void whatIsAppliedIsSeenAndUndone() {
    FakeHost host = FakeHost.intel(root);
    Map<String, String> before = host.everything();

    List<Change> changes = profile().apply(ALL, 4096);

    assertThat(changes)
        .containsExactly(
            new Change("halt-polling", root.resolve(FakeHost.HALT), "200000", "0"),
            new Change("huge-pages", root.resolve(FakeHost.PAGES), "0", "2048"),
            new Change("transparent-huge-pages", root.resolve(FakeHost.SHMEM), "never", "advise"),
            new Change("ksm", root.resolve(FakeHost.KSM), "1", "0"));
    assertThat(host.text(FakeHost.SHMEM)).isEqualTo("always within_size [advise] never deny force");
    assertThat(profile().knobs())
        .filteredOn(knob -> ALL.contains(knob.name()))
        .allMatch(knob -> knob.state() == Knob.State.SET);

    Undone undone = profile().undo();

    assertThat(undone.changed()).hasSize(4);
    assertThat(undone.left()).isEmpty();
    assertThat(host.everything()).isEqualTo(before);
    assertThat(profile().undo()).isEqualTo(new Undone(List.of(), List.of()));
  }

  @Test
  void onlyWhatWasNamedIsWritten() {
    FakeHost host = FakeHost.intel(root);
    Map<String, String> expected = host.everything();
    expected.put(FakeHost.KSM, "0");
    expected.put(UndoRecord.FILE, "ksm 1 0");

    assertThat(profile().apply(Set.of("ksm"), 0)).hasSize(1);
    assertThat(host.everything()).isEqualTo(expected);

    assertThat(profile().apply(Set.of("ksm"), 0)).as("again").isEmpty();
    assertThat(profile().apply(Set.of(), 0)).isEmpty();
    assertThat(host.everything()).isEqualTo(expected);
  }

  @Test
  void theFirstOldValueIsTheOneToGoBackTo() {
    FakeHost host = FakeHost.intel(root);
    profile().apply(Set.of("huge-pages"), 64);
    profile().apply(Set.of("huge-pages"), 128);
    assertThat(host.text(FakeHost.PAGES)).isEqualTo("64");
    assertThat(profile().apply(Set.of("huge-pages"), 32)).as("never less").isEmpty();

    profile().undo();
    assertThat(host.text(FakeHost.PAGES)).isEqualTo("0");
  }

  @Test
  void whatSomebodyChangedSinceIsLeftAlone() {
    FakeHost host = FakeHost.intel(root);
    profile().apply(Set.of("halt-polling", "ksm"), 0);
    host.file(FakeHost.HALT, "5000");

    Undone undone = profile().undo();

    assertThat(undone.changed()).extracting(Change::knob).containsExactly("ksm");
    assertThat(undone.left()).singleElement().asString().contains("now holds 5000", "200000");
    assertThat(host.text(FakeHost.HALT)).isEqualTo("5000");
    assertThat(root.resolve(UndoRecord.FILE)).doesNotExist();
  }

  @Test
  void anOwnValueInBetweenBecomesTheOldOne() {
    FakeHost host = FakeHost.intel(root);
    profile().apply(Set.of("halt-polling"), 0);
    host.file(FakeHost.HALT, "5000");
    profile().apply(Set.of("halt-polling"), 0);

    profile().undo();
    assertThat(host.text(FakeHost.HALT)).isEqualTo("5000");
  }

  @Test
  void everythingWrongIsSaidAndNothingWritten() {
    FakeHost host = FakeHost.intel(root);
    Map<String, String> before = host.everything();

    HyperFreshException refused =
        refused(Set.of("nested", "turbo", "ksm", "huge-pages", "small-l0"), 3);

    assertThat(refused.problem()).isEqualTo(Problem.TUNE_REQUEST);
    assertThat(refused.detail())
        .contains("no setting \"turbo\"")
        .contains("nested cannot be set while")
        .contains("small-l0 cannot")
        .contains("a multiple of 2")
        .doesNotContain("ksm");
    assertThat(host.everything()).isEqualTo(before);
  }

  @ParameterizedTest
  @ValueSource(longs = {Long.MIN_VALUE, -2, 0, 1, 3})
  void hugePagesNeedASize(long mib) {
    FakeHost.intel(root);
    assertThat(refused(Set.of("huge-pages"), mib).problem()).isEqualTo(Problem.TUNE_REQUEST);
  }

  @ParameterizedTest
  @ValueSource(longs = {12290, 1L << 40, Long.MAX_VALUE - 1})
  void aReservationLeavesAQuarterOfWhatIsAvailable(long mib) {
    FakeHost host = FakeHost.intel(root);

    HyperFreshException refused = refused(Set.of("huge-pages"), mib);

    assertThat(refused.problem()).isEqualTo(Problem.TUNE_HOST);
    assertThat(refused.detail()).contains("of 16384 MiB available, at most 12288 may be reserved");
    assertThat(host.text(FakeHost.PAGES)).isEqualTo("0");
    assertThat(profile().apply(Set.of("huge-pages"), 12288)).hasSize(1);
  }

  @Test
  void aHostWithNothingTakesNothing() {
    HyperFreshException refused = refused(ALL, 64);

    assertThat(refused.problem()).isEqualTo(Problem.TUNE_HOST);
    assertThat(refused.detail())
        .contains("halt-polling: ", "huge-pages: ", "transparent-huge-pages: ")
        .contains("is not there")
        .doesNotContain("ksm");
    assertThat(profile().apply(Set.of("ksm"), 0)).as("nothing merges there").isEmpty();
    assertThat(new FakeHost(root).everything()).isEmpty();
  }

  @Test
  void aFileThatMayNotBeWrittenStopsAll() {
    FakeHost host = FakeHost.intel(root).readOnly(FakeHost.KSM);
    Map<String, String> before = host.everything();

    HyperFreshException refused = refused(ALL, 64);

    assertThat(refused.problem()).isEqualTo(Problem.TUNE_HOST);
    assertThat(refused.detail())
        .isEqualTo("ksm: " + root.resolve(FakeHost.KSM) + " may not be written.");
    assertThat(host.everything()).isEqualTo(before);
  }

  @Test
  void aLinkThatLeadsOutIsNotWritten(@TempDir Path elsewhere) throws Exception {
    Path outside = Files.writeString(elsewhere.resolve("file"), "1\n");
    new FakeHost(root).link(FakeHost.HALT, outside.toString());

    assertThat(refused(Set.of("halt-polling"), 0).problem()).isEqualTo(Problem.TUNE_HOST);
    assertThat(Files.readString(outside)).isEqualTo("1\n");
  }

  @Test
  void aRecordIsNotKeptOutside(@TempDir Path elsewhere) throws Exception {
    FakeHost host = FakeHost.intel(root).link("run", elsewhere.toString());

    HyperFreshException refused = refused(Set.of("ksm"), 0);

    assertThat(refused.problem()).isEqualTo(Problem.TUNE_HOST);
    assertThat(host.text(FakeHost.KSM)).isEqualTo("1");
    assertThat(elsewhere).isEmptyDirectory();
  }

  @Test
  void whatAnAdministratorForbadeStaysSo() {
    FakeHost host =
        FakeHost.intel(root).file(FakeHost.SHMEM, "always within_size advise never [deny] force");

    HyperFreshException refused = refused(Set.of("transparent-huge-pages", "ksm"), 0);

    assertThat(refused.problem()).isEqualTo(Problem.TUNE_HOST);
    assertThat(refused.detail()).contains("an administrator chose");
    assertThat(host.text(FakeHost.KSM)).isEqualTo("1");
  }

  /// The device that refuses every write stands in for a file of the kernel that does.
  @Test
  void aRefusalHalfWayPutsEverythingBack() {
    FakeHost host = FakeHost.intel(root);
    Map<String, String> before = host.everything();
    List<String> written = new ArrayList<>();
    NestingProfile profile =
        new NestingProfile(
            root,
            (file, value) -> {
              if (file.endsWith("ksm/run")) {
                refuse();
              }
              written.add(file.getFileName() + "=" + value);
              FakeHost.asTheKernel(file, value);
            });

    HyperFreshException failed =
        catchThrowableOfType(HyperFreshException.class, () -> profile.apply(ALL, 64));

    assertThat(failed.problem()).isEqualTo(Problem.TUNE_WRITE);
    assertThat(failed.detail()).isEqualTo("write /dev/full: ENOSPC (28).");
    assertThat(written)
        .containsExactly(
            "halt_poll_ns=0",
            "nr_hugepages=32",
            "shmem_enabled=advise",
            "shmem_enabled=never",
            "nr_hugepages=0",
            "halt_poll_ns=200000");
    assertThat(host.everything()).isEqualTo(before);
  }

  @Test
  void aKernelThatGivesFewerPagesKeepsNone() {
    FakeHost host = FakeHost.intel(root);
    Map<String, String> before = host.everything();
    NestingProfile profile =
        new NestingProfile(
            root,
            (file, value) ->
                FakeHost.asTheKernel(
                    file, file.endsWith("nr_hugepages") && !value.equals("0") ? "17" : value));

    HyperFreshException failed =
        catchThrowableOfType(HyperFreshException.class, () -> profile.apply(ALL, 64));

    assertThat(failed.problem()).isEqualTo(Problem.TUNE_WRITE);
    assertThat(failed.detail()).contains("nr_hugepages was given 32 but holds 17");
    assertThat(host.everything()).isEqualTo(before);
  }

  @Test
  void aFailureKeepsWhatWasAppliedEarlier() {
    FakeHost host = FakeHost.intel(root);
    profile().apply(Set.of("halt-polling"), 0);
    Map<String, String> before = host.everything();
    NestingProfile failing = new NestingProfile(root, (file, value) -> refuse());

    HyperFreshException failed =
        catchThrowableOfType(HyperFreshException.class, () -> failing.apply(Set.of("ksm"), 0));

    assertThat(failed.problem()).isEqualTo(Problem.TUNE_WRITE);
    assertThat(host.everything()).isEqualTo(before);
    assertThat(profile().undo().changed()).extracting(Change::knob).containsExactly("halt-polling");
  }

  @Test
  void aValueThatDoesNotGoBackIsNamedAndStaysRecorded() {
    FakeHost host = FakeHost.intel(root);
    NestingProfile profile =
        new NestingProfile(
            root,
            (file, value) -> {
              if (file.endsWith("ksm/run") || value.equals("200000")) {
                refuse();
              }
              FakeHost.asTheKernel(file, value);
            });

    HyperFreshException failed =
        catchThrowableOfType(HyperFreshException.class, () -> profile.apply(ALL, 64));

    assertThat(failed.problem()).isEqualTo(Problem.TUNE_STUCK);
    assertThat(failed.detail()).contains("(old value: 200000)");
    assertThat(host.text(FakeHost.HALT)).isEqualTo("0");
    assertThat(host.text(FakeHost.SHMEM)).contains("[never]");

    assertThat(profile().undo().changed()).extracting(Change::knob).containsExactly("halt-polling");
    assertThat(host.text(FakeHost.HALT)).isEqualTo("200000");
  }

  @Test
  void anUndoGoesOnWhereOneFileRefuses() {
    FakeHost host = FakeHost.intel(root);
    profile().apply(Set.of("halt-polling", "ksm"), 0);
    NestingProfile failing =
        new NestingProfile(
            root,
            (file, value) -> {
              if (file.endsWith("halt_poll_ns")) {
                refuse();
              }
              FakeHost.asTheKernel(file, value);
            });

    HyperFreshException failed = catchThrowableOfType(HyperFreshException.class, failing::undo);

    assertThat(failed.problem()).isEqualTo(Problem.TUNE_STUCK);
    assertThat(host.text(FakeHost.KSM)).isEqualTo("1");
    assertThat(host.text(UndoRecord.FILE)).isEqualTo("halt-polling 200000 0");
  }

  @Test
  void anUndoOfALockedFileChangesNothing() {
    FakeHost host = FakeHost.intel(root);
    profile().apply(Set.of("halt-polling", "ksm"), 0);
    host.readOnly(FakeHost.KSM);
    Map<String, String> before = host.everything();

    HyperFreshException refused =
        catchThrowableOfType(HyperFreshException.class, () -> profile().undo());

    assertThat(refused.problem()).isEqualTo(Problem.TUNE_HOST);
    assertThat(host.everything()).isEqualTo(before);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "ksm 1",
        "ksm 1 0 0",
        "passwd 1 0",
        "halt-polling 200000 -1",
        "transparent-huge-pages never sometimes",
        "ksm 1 3"
      })
  void aDamagedRecordWritesNothing(String line) {
    FakeHost host = FakeHost.intel(root).file(UndoRecord.FILE, line);
    Map<String, String> before = host.everything();

    HyperFreshException refused =
        catchThrowableOfType(HyperFreshException.class, () -> profile().undo());

    assertThat(refused.problem()).isEqualTo(Problem.TUNE_STUCK);
    assertThat(refused.detail()).contains(UndoRecord.FILE, line);
    assertThat(host.everything()).isEqualTo(before);
  }

  private static void refuse() {
    try (Fd full = Fd.open(Path.of("/dev/full"), OpenFlags.WRITE_ONLY)) {
      full.write(new byte[1], 0, 1);
    }
  }

  private NestingProfile profile() {
    return new NestingProfile(root, FakeHost::asTheKernel);
  }

  private HyperFreshException refused(Set<String> names, long mib) {
    return catchThrowableOfType(HyperFreshException.class, () -> profile().apply(names, mib));
  }
}
