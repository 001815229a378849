package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.DebianVersion;
import dev.hyperfresh.release.ReleaseFolders;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import org.assertj.core.api.AbstractThrowableAssert;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Several builds of one version side by side: how they come, what they are called, what a name
/// means. The builds are programs that answer as QEMUs do; archives and the host are folders.
@Timeout(60)
class QemuBuildsTest {
  private final Path directory;
  private final Path usr;
  private final Path dpkg;
  private final Archive archive = new Archive();
  private final List<String> told = new ArrayList<>();
  private final QemuReleases releases;

  /// Packages, each with the build that is in it.
  private static final class Archive implements QemuArchive {
    private final Map<Suite, String> offers = new EnumMap<>(Suite.class);
    private String version = "";
    private int unpacked;
    private boolean silent;
    private final Set<Suite> closed = EnumSet.noneOf(Suite.class);

    @Override
    public List<Suite> suites() {
      return List.of(Suite.STABLE, Suite.BACKPORTS, Suite.TRIXIE);
    }

    @Override
    public DebianVersion offered(Suite suite, Consumer<String> progress) {
      if (silent || closed.contains(suite)) {
        throw new PackagesException(PackagesException.Kind.UNREACHABLE, "no mirror answers");
      }
      return Optional.ofNullable(offers.get(suite))
          .map(DebianVersion::new)
          .orElseThrow(
              () -> new PackagesException(PackagesException.Kind.UNKNOWN_PACKAGE, "no such"));
    }

    @Override
    public DebianVersion unpack(Suite suite, Path root, Consumer<String> progress) {
      unpacked++;
      DebianVersion packaged = offered(suite, progress);
      try {
        FakeQemu.write(root.resolve("usr/bin/qemu-system-x86_64"), version, packaged.text());
        return packaged;
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public Path compile(TunedQemu qemu, Path work, Path log, Consumer<String> progress)
        throws IOException {
      throw new IOException("nothing is built here");
    }

    void offer(String packaged, String holding) {
      offers.put(Suite.STABLE, packaged);
      version = holding;
    }
  }

  QemuBuildsTest(@TempDir Path folder) {
    directory = folder.resolve("releases");
    usr = folder.resolve("usr");
    dpkg = folder.resolve("dpkg");
    releases = new QemuReleases(directory, archive, new HostQemu(List.of(absent(), own()), dpkg));
  }

  private Path absent() {
    return usr.resolve("libexec/qemu-kvm");
  }

  private Path own() {
    return usr.resolve("bin/qemu-system-x86_64");
  }

  /// Installs or upgrades the host's own package.
  private Path hostHas(String version, String packaged) throws Exception {
    FakeQemu.write(own(), version, packaged);
    write(usr.resolve("share/qemu/bios.bin"), "bios of " + packaged);
    write(usr.resolve("share/seabios/vgabios.bin"), "vga");
    write(usr.resolve("lib/x86_64-linux-gnu/qemu/block-curl.so"), "module");
    write(usr.resolve("share/doc/README"), "nothing that it needs");
    write(
        dpkg.resolve("status"),
        "Package: qemu-system-x86\nStatus: install ok installed\nVersion: " + packaged + "\n");
    byte[] sum = MessageDigest.getInstance("MD5").digest(Files.readAllBytes(own()));
    write(
        dpkg.resolve("info/qemu-system-x86.md5sums"),
        "%032x  %s\n".formatted(new BigInteger(1, sum), own().toString().substring(1)));
    return own();
  }

  private static void write(Path file, String content) throws IOException {
    Files.createDirectories(file.resolveSibling(""));
    Files.writeString(file, content);
  }

  /// A release as an earlier version of HyperFresh has written it down.
  private QemuRelease old(String version, String source) throws IOException {
    Path home = Files.createDirectories(directory.resolve("qemu-" + version));
    QemuRelease release =
        new QemuRelease(
            "qemu-" + version,
            version,
            home.resolve("root/usr/bin/qemu-system-x86_64"),
            List.of(),
            List.of(),
            "00",
            Set.of("pc-q35-7.2"),
            Set.of("qemu64"),
            Set.of("events"),
            source);
    Files.write(home.resolve("release.json"), QmpMessage.JSON.writeValueAsBytes(release));
    return release;
  }

  private List<String> names() {
    return releases.list().stream().map(QemuRelease::name).toList();
  }

  private String fetch(String name) {
    FetchedQemu fetched = releases.fetchNewest(name, told::add);
    return fetched.news().label() + " " + fetched.release().name();
  }

  @Test
  void aSecurityUpdateIsFetchedBesideTheBuildThatIsHere() {
    archive.offer("1:7.2+dfsg-7+deb12u9", "7.2.15");
    assertThat(fetch("qemu-7.2")).isEqualTo("fetched qemu-7.2.15+deb12u9");
    archive.offer("1:7.2+dfsg-7+deb12u10", "7.2.15");
    assertThat(fetch("qemu-7.2")).isEqualTo("fetched qemu-7.2.15+deb12u10");
    archive.offer("1:7.2+dfsg-7+deb12u18", "7.2.22");
    assertThat(fetch("qemu-7.2")).isEqualTo("fetched qemu-7.2.22+deb12u18");

    assertThat(names())
        .as("in Debian's order, not in the alphabet's")
        .containsExactly("qemu-7.2.15+deb12u9", "qemu-7.2.15+deb12u10", "qemu-7.2.22+deb12u18");
    for (String name : names()) {
      assertThat(releases.verify(name).compared()).isTrue();
      assertThat(releases.get(name).name()).isEqualTo(name);
    }
  }

  /// A copy would be of both versions.
  @Test
  void theHostsOwnIsNotCopiedWhileItsPackagesAreBeingChanged() throws Exception {
    var _ = hostHas("10.0.2", "1:10.0.2+ds-2+deb13u1");
    write(dpkg.resolve("updates/0"), "Package: ovmf\nStatus: install ok unpacked\n");
    assertThatThrownBy(releases::ofHost).hasMessageContaining("ovmf is unpacked");
    assertThat(names()).isEmpty();
  }

  @Test
  void whatIsTheNewestIsNotUnpackedAgain() {
    archive.offer("1:10.0.2+ds-2+deb13u1", "10.0.2");
    assertThat(fetch("qemu-10.0")).isEqualTo("fetched qemu-10.0.2+deb13u1");
    assertThat(fetch("qemu-10.0")).isEqualTo("newest qemu-10.0.2+deb13u1");
    assertThat(fetch("qemu-10.0.2")).isEqualTo("newest qemu-10.0.2+deb13u1");
    assertThat(fetch("qemu-10.0.2+deb13u1")).isEqualTo("newest qemu-10.0.2+deb13u1");
    // A mirror that lags behind.
    archive.offer("1:10.0.2+ds-2", "10.0.2");
    assertThat(fetch("qemu-10.0")).isEqualTo("newest qemu-10.0.2+deb13u1");

    assertThat(archive.unpacked).isOne();
    assertThat(releases.fetch("qemu-10.0", told::add).name()).isEqualTo("qemu-10.0.2+deb13u1");
    assertThat(archive.unpacked).isOne();
  }

  @Test
  void aNewerVersionIsNoneOfTheVersionThatWasAskedFor() {
    archive.offer("1:7.2+dfsg-7+deb12u9", "7.2.15");
    assertThat(fetch("qemu-7.2.15")).isEqualTo("fetched qemu-7.2.15+deb12u9");
    archive.offer("1:7.2+dfsg-7+deb12u18", "7.2.22");
    assertThat(fetch("qemu-7.2.15")).isEqualTo("newest qemu-7.2.15+deb12u9");
    assertRefused(() -> fetch("qemu-7.2.16"), Problem.RELEASE_FETCH)
        .hasMessageContaining("offer 7.2.22, none of which is qemu-7.2.16");
    assertThat(names()).containsExactly("qemu-7.2.15+deb12u9");
  }

  @Test
  void theNewestOfTheArchivesIsTakenFromTheSuiteThatHasIt() {
    archive.offer("1:7.2+dfsg-7+deb12u18", "10.0.2");
    archive.offers.put(Suite.BACKPORTS, "1:10.0.2+ds-2+deb13u1~bpo12+1");

    assertThat(fetch("qemu-10.0")).isEqualTo("fetched qemu-10.0.2+deb13u1~bpo12+1");
    assertThat(archive.unpacked).as("packages that hold no 10.0 are left there").isOne();
  }

  @Test
  void aBuildWhoseShortNameIsTakenGetsTheLongOne() {
    archive.offer("1:10.0.2+ds-2+deb13u1", "10.0.2");
    var _ = fetch("qemu-10.0");
    archive.offer("1:10.0.2+ds-3+deb13u1", "10.0.2");

    assertThat(fetch("qemu-10.0")).isEqualTo("fetched qemu-10.0.2+1_10.0.2+ds-3+deb13u1");
    assertThat(releases.get("qemu-10.0.2").name()).isEqualTo("qemu-10.0.2+1_10.0.2+ds-3+deb13u1");
    assertThat(releases.get("qemu-10.0.2+deb13u1").source()).endsWith("1:10.0.2+ds-2+deb13u1");
  }

  @Test
  void anAliasMeansTheNewestBuildAndAFullNameThatBuild() throws Exception {
    var _ = old("10.0.2", "Debian package qemu-system-x86 1:10.0.2+ds-1");
    var _ = old("7.2.22", "Debian package qemu-system-x86 1:7.2+dfsg-7+deb12u18");
    archive.offer("1:10.0.2+ds-2+deb13u1", "10.0.2");
    assertThat(fetch("qemu-10.0")).isEqualTo("fetched qemu-10.0.2+deb13u1");
    archive.offer("1:10.0.2+ds-2+deb13u2", "10.0.2");
    assertThat(fetch("qemu-10.0.2+deb13u2")).isEqualTo("fetched qemu-10.0.2+deb13u2");

    assertThat(releases.get("qemu-10").name()).isEqualTo("qemu-10.0.2+deb13u2");
    assertThat(releases.get("qemu-10.0").name()).isEqualTo("qemu-10.0.2+deb13u2");
    assertThat(releases.get("latest").name()).isEqualTo("qemu-10.0.2+deb13u2");
    assertThat(releases.get("qemu-10.0.2+deb13u1").name()).isEqualTo("qemu-10.0.2+deb13u1");
    assertThat(releases.get("qemu-7.2").name()).isEqualTo("qemu-7.2.22");
    assertThat(releases.all("qemu-10.0").stream().map(QemuRelease::name))
        .containsExactly("qemu-10.0.2", "qemu-10.0.2+deb13u1", "qemu-10.0.2+deb13u2");
    assertThat(releases.get("qemu-10.0.2").name())
        .as("state files of earlier versions name this one")
        .isEqualTo("qemu-10.0.2");

    assertThat(releases.recorded("qemu-10.0.2").name()).isEqualTo("qemu-10.0.2");
    releases.remove("qemu-10.0.2");
    assertRefused(() -> releases.recorded("qemu-10.0.2"), Problem.RELEASE_UNKNOWN);
    assertThat(releases.get("qemu-10.0.2").name()).isEqualTo("qemu-10.0.2+deb13u2");
  }

  @Test
  void aBuildOfAnEarlierVersionOfHyperFreshIsNotFetchedAgain() throws Exception {
    var _ = old("7.2.22", "Debian package qemu-system-x86 1:7.2+dfsg-7+deb12u18");
    archive.offer("1:7.2+dfsg-7+deb12u18", "7.2.22");

    assertThat(fetch("qemu-7.2")).isEqualTo("newest qemu-7.2.22");
    assertThat(archive.unpacked).isZero();
  }

  @Test
  void whereNothingIsThereIsNoLatest() {
    assertRefused(() -> releases.get("latest"), Problem.RELEASE_UNKNOWN);
  }

  @Test
  void anAddedQemuStaysWhatItIsWhenTheOriginalIsUpgraded() throws Exception {
    QemuRelease first = releases.add(hostHas("10.0.2", "1:10.0.2+ds-2+deb13u1"));
    assertThat(first.name()).isEqualTo("qemu-10.0.2+deb13u1");
    Path root = directory.resolve("qemu-10.0.2+deb13u1/root/usr");
    assertThat(first.binary()).isEqualTo(root.resolve("bin/qemu-system-x86_64"));
    assertThat(first.arguments())
        .containsExactly(
            "-L", root.resolve("share/qemu").toString(),
            "-L", root.resolve("share/seabios").toString());
    assertThat(root.resolve("lib/x86_64-linux-gnu/qemu/block-curl.so")).hasContent("module");
    assertThat(root.resolve("share/doc")).doesNotExist();

    QemuRelease second = releases.add(hostHas("10.0.2", "1:10.0.2+ds-2+deb13u2"));

    assertThat(second.name()).isEqualTo("qemu-10.0.2+deb13u2");
    assertThat(root.resolve("share/qemu/bios.bin")).hasContent("bios of 1:10.0.2+ds-2+deb13u1");
    assertThat(releases.verify(first.name()).compared()).isTrue();
    assertRefused(() -> releases.add(own()), Problem.RELEASE_NAME)
        .hasMessageContaining("qemu-10.0.2+deb13u2 is installed already");
  }

  @Test
  void aBuildFromElsewhereIsNamedByItsContents() throws Exception {
    Path opt = usr.resolveSibling("opt/qemu/bin/qemu-system-x86_64");
    write(usr.resolveSibling("opt/qemu/share/qemu/bios.bin"), "bios");
    QemuRelease first = releases.add(FakeQemu.write(opt, "10.0.2", "one"));
    QemuRelease second = releases.add(FakeQemu.write(opt, "10.0.2", "other"));
    assertRefused(() -> releases.add(opt), Problem.RELEASE_NAME);
    write(usr.resolveSibling("opt/qemu/share/qemu/bios.bin"), "another bios");
    QemuRelease third = releases.add(opt);

    assertThat(List.of(first, second, third))
        .allMatch(one -> one.name().matches("qemu-10\\.0\\.2\\+[0-9a-f]{8}"))
        .allMatch(one -> one.source().equals(opt.toString()));
    assertThat(names()).hasSize(3);
    assertThat(second.sha256()).isEqualTo(third.sha256());
    assertThat(releases.get("qemu-10.0")).as("the last one that came").isEqualTo(third);
    assertThat(releases.verify(first.name()).compared()).isTrue();
  }

  @Test
  void ofOneVersionAPackagesBuildIsNewerThanOneFromElsewhere() throws Exception {
    archive.offer("1:10.0.2+ds-2+deb13u1", "10.0.2");
    var _ = fetch("qemu-10.0");
    QemuRelease added =
        releases.add(FakeQemu.write(usr.resolve("local/bin/qemu-system-x86_64"), "10.0.2", "own"));

    assertThat(releases.get("qemu-10.0").name()).isEqualTo("qemu-10.0.2+deb13u1");
    assertThat(releases.get("latest").name()).isEqualTo("qemu-10.0.2+deb13u1");
    assertThat(releases.get(added.name())).isEqualTo(added);
  }

  @Test
  void aQemuThatLiesWhereItWasBuiltIsUsedThere() throws Exception {
    Path build = FakeQemu.write(usr.resolve("src/build/qemu-system-x86_64"), "10.0.2", "mine");
    Files.createDirectories(build.resolveSibling("qemu-bundle"));

    QemuRelease added = releases.add(build);

    assertThat(added.binary()).isEqualTo(build);
    assertThat(added.name()).isEqualTo("qemu-10.0.2+" + added.sha256().substring(0, 8));
  }

  @Test
  void theHostsOwnIsCopiedWhenItIsAskedForAndAgainAfterAnUpgrade() throws Exception {
    assertRefused(() -> releases.get("installed"), Problem.RELEASE_UNKNOWN)
        .hasMessageContainingAll("This host has no QEMU of its own", own().toString());
    assertRefused(() -> fetch("installed"), Problem.RELEASE_UNKNOWN);
    var _ = hostHas("10.0.2", "1:10.0.2+ds-2+deb13u1");
    assertRefused(() -> releases.get("installed"), Problem.RELEASE_UNKNOWN)
        .hasMessageContaining("release fetch installed");

    QemuRelease first = releases.ofHost();
    assertThat(first.name()).isEqualTo("qemu-10.0.2+deb13u1");
    assertThat(releases.ofHost()).isEqualTo(first);
    assertThat(releases.get("installed")).isEqualTo(first);
    assertThat(fetch("installed")).isEqualTo("newest qemu-10.0.2+deb13u1");
    var _ = hostHas("10.0.2", "1:10.0.2+ds-2+deb13u2");
    assertThat(releases.find("installed")).isEmpty();
    assertThat(fetch("installed")).isEqualTo("fetched qemu-10.0.2+deb13u2");
    assertThat(names()).containsExactly("qemu-10.0.2+deb13u1", "qemu-10.0.2+deb13u2");
  }

  @Test
  void aReleaseThatIsUsedWhereThePackageManagerReplacesItIsNotTheHostsOwn() throws Exception {
    Path binary = hostHas("10.0.2", "1:10.0.2+ds-2");
    QemuRelease old = old("10.0.2", binary.toString());
    Files.write(
        directory.resolve("qemu-10.0.2/release.json"),
        QmpMessage.JSON.writeValueAsBytes(
            new QemuRelease(
                old.name(),
                old.version(),
                binary,
                List.of(),
                List.of(),
                ReleaseFolders.sha256(binary),
                Set.of(),
                Set.of(),
                Set.of(),
                old.source())));

    assertThat(releases.find("installed")).isEmpty();
    assertThat(releases.ofHost().name()).isEqualTo("qemu-10.0.2+2");
  }

  @Test
  void archivesThatCannotBeAskedAreNoReasonToFail() {
    archive.offer("1:10.0.2+ds-2+deb13u1", "10.0.2");
    var _ = fetch("qemu-10.0");
    archive.silent = true;

    assertThat(fetch("qemu-10.0")).isEqualTo("unasked qemu-10.0.2+deb13u1");
    assertThat(told).last().asString().contains("newer build is not known", "no mirror");
    assertRefused(() -> fetch("qemu-7.2"), Problem.RELEASE_FETCH).hasMessageContaining("no mirror");
  }

  @Test
  void whatABuildDeprecatesIsWrittenDown() {
    archive.offer("1:11.1.3+ds-1", "11.1.3");
    var _ = fetch("qemu-11.1");

    assertThat(releases.get("qemu-11.1").machines()).contains("pc-q35-7.2", "pc-q35-9.2");
    assertThat(releases.get("qemu-11.1").deprecated()).containsExactly("pc-q35-7.2");
  }

  @Test
  void whatTheHostsOwnSuitesHaveComesBeforeThatOfOthers() {
    archive.offer("1:7.2+dfsg-7+deb12u18", "10.0.2");
    archive.offers.put(Suite.BACKPORTS, "1:10.0.2+ds-2+deb13u1~bpo12+1");
    archive.offers.put(Suite.TRIXIE, "1:10.0.13+ds-0+deb13u1");

    assertThat(fetch("qemu-10.0")).isEqualTo("fetched qemu-10.0.2+deb13u1~bpo12+1");
    assertThat(fetch("qemu-10.0")).isEqualTo("newest qemu-10.0.2+deb13u1~bpo12+1");
    assertThat(archive.unpacked).isOne();
  }

  @Test
  void whatTheHostsOwnSuitesDoNotHaveIsFetchedFromOthersAndUpdatedThere() {
    archive.offer("1:7.2+dfsg-7+deb12u18", "10.0.13");
    archive.offers.put(Suite.BACKPORTS, "1:10.0.2+ds-2+deb13u1~bpo12+1");
    archive.offers.put(Suite.TRIXIE, "1:10.0.13+ds-0+deb13u1");

    assertThat(fetch("qemu-10.0.13")).isEqualTo("fetched qemu-10.0.13+deb13u1");
    assertThat(fetch("qemu-10.0")).isEqualTo("newest qemu-10.0.13+deb13u1");
    archive.offers.put(Suite.TRIXIE, "1:10.0.13+ds-0+deb13u2");
    assertThat(fetch("qemu-10.0")).isEqualTo("fetched qemu-10.0.13+deb13u2");
  }

  @Test
  void aSuiteThatCannotBeAskedHidesNoneOfTheOthers() {
    archive.offer("1:7.2+dfsg-7+deb12u18", "11.1.3");
    archive.offers.put(Suite.TRIXIE, "1:11.1.3+ds-1");
    archive.closed.add(Suite.BACKPORTS);

    assertThat(fetch("qemu-11.1.3")).isEqualTo("fetched qemu-11.1.3+1");
    assertThat(told).contains("no mirror answers");
    assertThat(fetch("qemu-11.1")).as("it may have a newer one").isEqualTo("unasked qemu-11.1.3+1");
    assertRefused(() -> fetch("qemu-9.2"), Problem.RELEASE_FETCH)
        .as("it may have that one")
        .hasMessageContaining("no mirror answers");
  }

  /// The suite that cannot be asked may have another version of the series.
  @Test
  void aSeriesIsNotFetchedFromOthersBeforeAllOfTheHostsOwnSuitesHaveAnswered() throws Exception {
    archive.offer("1:7.2+dfsg-7+deb12u18", "10.0.13");
    archive.offers.put(Suite.TRIXIE, "1:10.0.13+ds-0+deb13u1");
    archive.closed.add(Suite.BACKPORTS);

    assertRefused(() -> fetch("qemu-10.0"), Problem.RELEASE_FETCH)
        .hasMessageContaining("no mirror answers");
    assertRefused(() -> releases.fetch("qemu-10.0", told::add), Problem.RELEASE_FETCH);
    assertThat(names()).isEmpty();
    var _ = old("10.0.2", "Debian package qemu-system-x86 1:10.0.2+ds-2+deb13u1~bpo12+1");
    assertThat(fetch("qemu-10.0")).isEqualTo("unasked qemu-10.0.2");
    assertThat(releases.get("qemu-10.0").name()).isEqualTo("qemu-10.0.2");

    assertThat(fetch("qemu-10.0.13"))
        .as("a version is the same everywhere")
        .isEqualTo("fetched qemu-10.0.13+deb13u1");
  }

  @Test
  void onlyOldBuildsThatAreNotTheHostsMayGo() throws Exception {
    archive.offer("1:10.0.2+ds-2+deb13u1", "10.0.2");
    var _ = fetch("qemu-10.0");
    var _ = hostHas("10.0.2", "1:10.0.2+ds-2+deb13u2");
    var _ = fetch("installed");
    archive.offer("1:10.0.2+ds-2+deb13u3", "10.0.2");
    var _ = fetch("qemu-10.0");
    archive.offer("1:10.0.2+ds-2+deb13u4", "10.0.2");
    var _ = fetch("qemu-10.0");
    assertThat(kept(30)).isEqualTo("kept kept kept kept");
    assertThat(kept(0)).isEqualTo("gone kept gone kept");

    Files.setLastModifiedTime(
        directory.resolve("qemu-10.0.2+deb13u1/release.json"),
        FileTime.from(Instant.now().minusSeconds(31L * 24 * 3600)));
    assertThat(kept(30)).isEqualTo("gone kept kept kept");
  }

  private String kept(int days) {
    return String.join(
        " ",
        releases.prunable(days).stream()
            .map(verdict -> verdict.kept().isEmpty() ? "gone" : "kept")
            .toList());
  }

  @Test
  void nothingIsLeftOfABuildThatDoesNotRun() throws Exception {
    Path broken = FakeQemu.write(own(), "10.0.2", "x");
    Files.writeString(broken, "#!/bin/bash\nexit 1\n");
    assertRefused(() -> releases.add(broken), Problem.RELEASE_DAMAGED);
    assertThat(directory).isEmptyDirectory();
  }

  private static AbstractThrowableAssert<?, ? extends Throwable> assertRefused(
      ThrowingCallable action, Problem problem) {
    return assertThatThrownBy(action)
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem));
  }
}
