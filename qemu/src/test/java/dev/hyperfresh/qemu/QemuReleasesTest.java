package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.release.DebianPackages;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(120)
class QemuReleasesTest {
  private static final Path CACHE =
      Path.of(
          System.getenv()
              .getOrDefault(
                  "HYPERFRESH_HOME", System.getProperty("user.home") + "/.cache/hyperfresh"));

  @TempDir Path directory;
  private QemuReleases releases;

  @BeforeEach
  void open() {
    releases = new QemuReleases(directory, new DebianPackages(directory.resolve("apt")));
  }

  @Test
  void aFolderThatDoesNotExistHasNoReleases() {
    QemuReleases none =
        new QemuReleases(directory.resolve("none"), new DebianPackages(directory.resolve("apt")));

    assertThat(none.list()).isEmpty();
    assertRefused(() -> none.get("qemu-7.2"), Problem.RELEASE_UNKNOWN)
        .hasMessage("'qemu-7.2' is not installed; installed: none.");
  }

  @Test
  void releasesAreListedByVersionAndNotByName() throws Exception {
    describe("10.0.2", "7.2.22", "9.1.3", "7.2.4");

    assertThat(releases.list().stream().map(QemuRelease::name))
        .containsExactly("qemu-7.2.4", "qemu-7.2.22", "qemu-9.1.3", "qemu-10.0.2");
  }

  @Test
  void theFirstReleaseOfASeriesIsListedLikeEveryOther() throws Exception {
    describe("9.2.0", "10.0.0", "7.2.22");

    assertThat(releases.list().stream().map(QemuRelease::name))
        .containsExactly("qemu-7.2.22", "qemu-9.2.0", "qemu-10.0.0");
  }

  @Test
  void aReleaseThatIsStillBeingMadeIsNotListed() throws Exception {
    describe("7.2.22");
    Files.move(directory.resolve("qemu-7.2.22"), directory.resolve(".staging-123"));

    assertThat(releases.list()).isEmpty();
  }

  @Test
  void aNameFindsItsReleaseAndAPrefixTheNewestOfIts() throws Exception {
    describe("10.0.2", "7.2.22", "7.2.4", "1.0.1");

    assertThat(releases.get("qemu-7.2.4").version()).isEqualTo("7.2.4");
    assertThat(releases.get("qemu-7.2").version()).isEqualTo("7.2.22");
    assertThat(releases.get("qemu-7").version()).isEqualTo("7.2.22");
    assertThat(releases.get("qemu-1").version()).isEqualTo("1.0.1");
    assertThat(releases.get("qemu-10.0").version()).isEqualTo("10.0.2");
    for (String unknown : List.of("", "qemu", "qemu-", "qemu-7.", "qemu-7.2.2", "../x", "QEMU-7")) {
      assertRefused(() -> releases.get(unknown), Problem.RELEASE_UNKNOWN)
          .hasMessageContaining("qemu-1.0.1, qemu-7.2.4, qemu-7.2.22, qemu-10.0.2");
    }
  }

  @Test
  void aReleaseIsReadAsItWasWritten() throws Exception {
    describe("7.2.22");

    assertThat(releases.get("qemu-7.2.22"))
        .isEqualTo(description("7.2.22", directory.resolve("qemu-7.2.22")));
  }

  @Test
  void aDescriptionThatCannotBeReadIsNamed() throws Exception {
    describe("7.2.22");
    Files.writeString(directory.resolve("qemu-7.2.22/release.json"), "{");

    assertRefused(releases::list, Problem.DAEMON_STATE).hasMessageContaining("release.json");
  }

  @Test
  void onlyTheReleaseThatIsNamedIsRemoved() throws Exception {
    describe("7.2.22", "10.0.2");

    releases.remove("qemu-7.2.22");

    assertThat(releases.list().stream().map(QemuRelease::name)).containsExactly("qemu-10.0.2");
    assertThat(directory.resolve("qemu-7.2.22")).doesNotExist();
    assertRefused(() -> releases.remove("qemu-7.2.22"), Problem.RELEASE_UNKNOWN);
  }

  @Test
  void namesThatAreNoReleasesAreNotFetched() {
    for (String name : List.of("", "qemu", "qemu-10", "10.0", "qemu-10.0.2-x", "qemu-a.b")) {
      assertRefused(() -> releases.fetch(name, _ -> {}), Problem.RELEASE_KIND)
          .hasMessageContaining("'" + name + "'");
    }
  }

  @Test
  void packagesThatCannotBeUnpackedAreNoRelease() throws Exception {
    Path file = Files.writeString(directory.resolve("file"), "");
    QemuReleases stuck = new QemuReleases(directory, new DebianPackages(file.resolve("apt")));

    assertRefused(() -> stuck.fetch("qemu-10.0", _ -> {}), Problem.RELEASE_FETCH)
        .hasMessageContaining("could not be had");
  }

  @Test
  void aReleaseThatIsHereIsNotFetchedAgain() throws Exception {
    describe("7.2.22");

    assertThat(releases.fetch("qemu-7.2", _ -> {}).version()).isEqualTo("7.2.22");
  }

  @Test
  void aProgramThatIsNotQemuIsNotAdded() {
    assertRefused(() -> releases.add(Path.of("/bin/true")), Problem.RELEASE_DAMAGED)
        .hasMessageContaining("/bin/true");
    assertNothingInstalled();
  }

  @Test
  void whatIsNoProgramIsNotAdded() {
    assertRefused(() -> releases.add(directory.resolve("absent")), Problem.RELEASE_DAMAGED);
    assertRefused(() -> releases.add(directory), Problem.RELEASE_DAMAGED);
    assertNothingInstalled();
  }

  @Test
  void aProgramThatGreetsAndEndsIsNotAdded() throws Exception {
    Path script =
        script(
            """
            echo '{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":1}}}}' >&10
            echo 'something is missing' >&2
            """);

    assertRefused(() -> releases.add(script), Problem.RELEASE_DAMAGED)
        .hasMessageContaining("something is missing");
    assertNothingInstalled();
  }

  @Test
  void aProgramThatSaysOtherThingsIsNotAdded() throws Exception {
    assertRefused(
            () -> releases.add(script("echo hello >&10\nexec sleep 60")), Problem.RELEASE_DAMAGED)
        .hasMessageContaining("not JSON");
    assertNoChild("sleep 60");
  }

  @Test
  void aProgramThatHangsIsGivenUpAndGone() throws Exception {
    QemuRelease hanging =
        new QemuRelease(
            "candidate",
            "",
            script("exec sleep 61"),
            List.of(),
            List.of(),
            "",
            Set.of(),
            Set.of(),
            Set.of(),
            "a test");

    assertThatThrownBy(
            () -> QemuProbe.ask(hanging, directory.resolve("log"), Duration.ofSeconds(1)))
        .isInstanceOf(Qmp.QmpException.class)
        .hasMessageContaining("does not run");

    assertNoChild("sleep 61");
  }

  @Test
  @Tag("slow")
  void aFetchedReleaseIsWhatItSaysAndVerifies() {
    QemuReleases fetched = fetched();
    QemuRelease release = fetched.fetch("qemu-7.2", System.out::println);

    assertThat(release.version()).startsWith("7.2.");
    assertThat(release.machines()).contains("pc-q35-7.2", "microvm");
    assertThat(release.cpus()).contains("qemu64");
    assertThat(release.capabilities()).contains("x-ignore-shared", "events");
    assertThat(fetched.get("qemu-7.2")).isEqualTo(release);
    assertThat(fetched.list()).contains(release);
    assertThat(fetched.verify(release.name()).release()).isEqualTo(release);
  }

  @Test
  @Tag("slow")
  void aBinaryWithoutItsLibrariesIsRefusedWithWhatItPrinted() throws Exception {
    Path copy = directory.resolve("copy");
    Files.copy(
        fetched().fetch("qemu-7.2", System.out::println).binary(),
        copy,
        StandardCopyOption.COPY_ATTRIBUTES);
    if (runsByItself(copy)) {
      org.junit.jupiter.api.Assumptions.abort("this host has the libraries of a QEMU");
    }

    assertRefused(() -> releases.add(copy), Problem.RELEASE_DAMAGED)
        .hasMessageContaining("error while loading shared libraries");
    assertNothingInstalled();
  }

  @Test
  @Tag("slow")
  void aReleaseWithOneOtherByteIsDamaged() throws Exception {
    QemuRelease original = fetched().fetch("qemu-7.2", System.out::println);
    Path home = Files.createDirectory(directory.resolve(original.name()));
    // QEMU finds its modules beside the folder of its binary.
    Path usr = original.binary().resolve("../..").normalize();
    Path binary = home.resolve("usr/bin/qemu-system-x86_64");
    Files.createDirectories(binary.getParent());
    Files.createSymbolicLink(home.resolve("usr/lib"), usr.resolve("lib"));
    Files.createSymbolicLink(home.resolve("usr/share"), usr.resolve("share"));
    Files.copy(original.binary(), binary, StandardCopyOption.COPY_ATTRIBUTES);
    write(
        home,
        new QemuRelease(
            original.name(),
            original.version(),
            binary,
            original.arguments(),
            original.libraries(),
            original.sha256(),
            original.machines(),
            original.cpus(),
            original.capabilities(),
            "a copy"));
    Path rom = Files.writeString(home.resolve("boot.rom"), "its first content");
    assertThat(releases.verify(original.name()))
        .as("the first time nothing but the binary is known")
        .returns(false, QemuReleases.Verified::compared)
        .returns(binary, verified -> verified.release().binary());
    assertThat(releases.verify(original.name()).compared()).isTrue();

    Files.writeString(rom, "its other content");
    assertRefused(() -> releases.verify(original.name()), Problem.RELEASE_DAMAGED)
        .hasMessageContaining(rom + " was changed.");
    Files.writeString(rom, "its first content");
    Path library = Files.writeString(home.resolve("usr/libc.so.6"), "");
    assertRefused(() -> releases.verify(original.name()), Problem.RELEASE_DAMAGED)
        .hasMessageContaining(library + " is new.");
    Files.delete(library);
    Files.delete(rom);
    assertRefused(() -> releases.verify(original.name()), Problem.RELEASE_DAMAGED)
        .hasMessageContaining(rom + " is missing.");
    Files.writeString(rom, "its first content");
    assertThat(releases.verify(original.name()).compared()).isTrue();

    try (RandomAccessFile file = new RandomAccessFile(binary.toFile(), "rw")) {
      file.seek(file.length() / 2);
      int old = file.read();
      file.seek(file.length() / 2);
      file.write(old ^ 1);
    }
    assertRefused(() -> releases.verify(original.name()), Problem.RELEASE_DAMAGED)
        .hasMessageContaining("is not the file that was added as " + original.name());

    Files.delete(binary);
    assertRefused(() -> releases.verify(original.name()), Problem.RELEASE_DAMAGED)
        .hasMessageContaining("is missing");
    releases.remove(original.name());
    assertNothingInstalled();
  }

  static QemuReleases fetched() {
    return new QemuReleases(CACHE.resolve("releases"), new DebianPackages(CACHE.resolve("apt")));
  }

  private static boolean runsByItself(Path binary) throws Exception {
    Process process =
        new ProcessBuilder(binary.toString(), "--version")
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    return process.waitFor() == 0;
  }

  private Path script(String body) throws IOException {
    return Files.writeString(
        Files.createFile(
            directory.resolve("program"),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x"))),
        "#!/bin/bash\n" + body + "\n");
  }

  private void describe(String... versions) throws IOException {
    for (String version : versions) {
      Path home = Files.createDirectory(directory.resolve("qemu-" + version));
      write(home, description(version, home));
    }
  }

  private static QemuRelease description(String version, Path home) {
    return new QemuRelease(
        "qemu-" + version,
        version,
        home.resolve("bin/qemu"),
        List.of("-L", home.toString()),
        List.of(home.resolve("lib")),
        "00",
        Set.of("pc-q35-7.2"),
        Set.of("qemu64"),
        Set.of("events"),
        "a test");
  }

  private static void write(Path home, QemuRelease release) throws IOException {
    Files.write(home.resolve("release.json"), QmpMessage.JSON.writeValueAsBytes(release));
  }

  private void assertNothingInstalled() {
    assertThat(releases.list()).isEmpty();
    try (Stream<Path> files = Files.list(directory)) {
      assertThat(files.filter(file -> file.getFileName().toString().startsWith(".staging-")))
          .isEmpty();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private static void assertNoChild(String command) {
    assertThat(
            ProcessHandle.current()
                .children()
                .map(child -> child.info().commandLine().orElse("a zombie"))
                .filter(line -> line.contains(command) || line.equals("a zombie")))
        .isEmpty();
  }

  private static AbstractThrowableAssert<?, ? extends Throwable> assertRefused(
      org.assertj.core.api.ThrowableAssert.ThrowingCallable action, Problem problem) {
    return assertThatThrownBy(action)
        .isInstanceOf(HyperFreshException.class)
        .satisfies(
            refused -> assertThat(((HyperFreshException) refused).problem()).isEqualTo(problem));
  }
}
