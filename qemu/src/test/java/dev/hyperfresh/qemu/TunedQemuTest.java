package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.FetchedQemu.News;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.DebianVersion;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.assertj.core.api.AbstractThrowableAssert;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Builds with patches of ours: how they come, what they are called, who gets them. The builds are
/// programs that answer as QEMUs do, and nothing is compiled.
@Timeout(60)
class TunedQemuTest {
  private static final String PATCH = ".patch";

  private final Path directory;
  private final Archive archive = new Archive();
  private final List<String> told = new ArrayList<>();
  private final QemuReleases releases;

  /// Debian 13, and a workshop that may fail.
  private static final class Archive implements QemuArchive {
    private String packaged = "";
    private String version = "";
    private int compiled;
    private boolean works = true;

    @Override
    public List<Suite> suites() {
      return List.of(Suite.TRIXIE);
    }

    @Override
    public DebianVersion offered(Suite suite, Consumer<String> progress) {
      return new DebianVersion(packaged);
    }

    @Override
    public DebianVersion unpack(Suite suite, Path root, Consumer<String> progress) {
      try {
        FakeQemu.write(root.resolve("usr/bin/qemu-system-x86_64"), version, packaged);
        return new DebianVersion(packaged);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public Path compile(TunedQemu qemu, Path work, Path log, Consumer<String> progress)
        throws IOException {
      compiled++;
      Files.writeString(log, "all that was said");
      if (!works) {
        throw new IOException("error: the patch x does not apply to this source");
      }
      return FakeQemu.write(work.resolve("made"), version, qemu.packager());
    }

    void offer(String packaged, String holding) {
      this.packaged = packaged;
      version = holding;
    }
  }

  TunedQemuTest(@TempDir Path folder) {
    directory = folder.resolve("releases");
    releases = new QemuReleases(directory, archive, new HostQemu(List.of(), folder));
  }

  @Test
  void aBuildWithOurPatchesStandsBesideDebiansOwn() {
    archive.offer("1:10.0.13+ds-0+deb13u1", "10.0.13");
    QemuRelease stock = releases.fetchNewest("qemu-10.0", told::add).release();

    FetchedQemu built = releases.build("debian-10.0", told::add);

    QemuRelease tuned = built.release();
    assertThat(built.news()).isEqualTo(News.FETCHED);
    assertThat(tuned.name()).matches("qemu-10\\.0\\.13\\+tuned\\.deb13u1\\.[0-9a-f]{8}");
    assertThat(tuned.isTuned()).isTrue();
    assertThat(tuned.version()).isEqualTo("10.0.13");
    assertThat(tuned.sha256()).isNotEqualTo(stock.sha256());
    assertThat(tuned.source())
        .startsWith("Debian source package qemu 1:10.0.13+ds-0+deb13u1 with HyperFresh's patches ");
    assertThat(tuned.binary()).exists().startsWithRaw(home(tuned));
    assertThat(home(tuned).resolve("build.log")).hasContent("all that was said");
    assertThat(home(tuned).resolve("work")).doesNotExist();
    assertThat(releases.verify(tuned.name()).compared()).isTrue();
    assertThat(releases.list()).containsExactlyInAnyOrder(stock, tuned);
  }

  private Path home(QemuRelease release) {
    return directory.resolve(release.name());
  }

  @Test
  void nobodyGetsOurPatchesWithoutNamingThem() {
    archive.offer("1:10.0.13+ds-0+deb13u1", "10.0.13");
    QemuRelease tuned = releases.build("debian-10.0.13", told::add).release();

    for (String series : List.of("qemu-10", "qemu-10.0", "qemu-10.0.13", QemuReleases.LATEST)) {
      assertThat(releases.find(series)).as(series).isEmpty();
    }
    assertThat(QemuReleases.plain(releases.list())).isEmpty();
    for (String named : List.of("qemu-10.0.13+tuned", "qemu-10.0.13+tuned.deb13u1", tuned.name())) {
      assertThat(releases.get(named)).as(named).isEqualTo(tuned);
    }
    assertThat(releases.fetchNewest("qemu-10.0", told::add).release().name())
        .isEqualTo("qemu-10.0.13+deb13u1");
    assertThat(releases.get("qemu-10.0").isTuned()).isFalse();
    assertThat(releases.get(QemuReleases.LATEST).isTuned()).isFalse();
    assertThat(tuned.isNewerThan(releases.get("qemu-10.0"))).isFalse();
    assertThat(releases.get("qemu-10.0").isNewerThan(tuned)).isFalse();
  }

  @Test
  void theSamePatchesOnTheSameSourceAreBuiltOnce() {
    archive.offer("1:10.0.13+ds-0+deb13u1", "10.0.13");
    QemuRelease first = releases.build("debian-10.0", told::add).release();

    assertThat(releases.build("debian-10.0", told::add))
        .isEqualTo(new FetchedQemu(first, News.NEWEST));
    assertThat(archive.compiled).isEqualTo(1);

    archive.offer("1:10.0.14+ds-0+deb13u1", "10.0.14");
    FetchedQemu newer = releases.build("debian-10.0", told::add);
    assertThat(newer.news()).isEqualTo(News.FETCHED);
    assertThat(newer.release().isNewerThan(first)).isTrue();
    assertThat(releases.get("qemu-10.0.13+tuned")).isEqualTo(first);
  }

  @Test
  void whatCannotBeBuiltLeavesNothing() {
    archive.offer("1:10.0.13+ds-0+deb13u1", "10.0.13");
    archive.works = false;

    assertRefused(() -> releases.build("debian-10.0", told::add), Problem.HOST_MISSING)
        .hasMessageContaining("error: the patch x does not apply to this source");

    assertThat(directory).isEmptyDirectory();
  }

  @Test
  void thereArePatchesForOneSeriesOnly() {
    for (String from :
        List.of("", "10.0", "qemu-10.0", "debian-10", "debian-11.1", "debian-10.0.2-x")) {
      assertRefused(() -> releases.build(from, told::add), Problem.RELEASE_KIND)
          .hasMessageContaining("'" + from + "' is not debian-10.0");
    }
    archive.offer("1:10.0.13+ds-0+deb13u1", "10.0.13");

    assertRefused(() -> releases.build("debian-10.0.2", told::add), Problem.RELEASE_FETCH)
        .hasMessageContaining("Debian 13 offers 1:10.0.13+ds-0+deb13u1, which is not 10.0.2.");
    assertThat(told).isEmpty();
  }

  /// Who reads a patch wants to know what it is good for and why it may be trusted.
  @Test
  void everyPatchSaysWhatItSavesWhyItIsRightAndWhatUpstreamDoes() throws IOException {
    List<String> patches =
        TunedQemu.RECIPE.files().stream().filter(file -> file.endsWith(PATCH)).toList();
    assertThat(patches).isNotEmpty().isSorted();
    for (String patch : patches) {
      String text = text(patch);
      String header = text.substring(0, text.indexOf("\n--- a/"));
      for (String field : List.of("Subject", "Saves", "Right", "Costs", "Upstream")) {
        assertThat(header).as(patch).containsPattern("(?m)^" + field + ": \\S.{20,}");
      }
      assertThat(header).as(patch).endsWith("License: GPL-2.0-or-later\n");
      assertThat(header.lines()).as(patch).allMatch(line -> line.length() <= 120);
    }
  }

  /// As little of QEMU's own text as will apply: no more of it unchanged than a line or two around
  /// each change, which git calls `-U1`.
  @Test
  void patchesCarryLittleOfWhatTheyDoNotChange() throws IOException {
    for (String patch : TunedQemu.RECIPE.files()) {
      if (patch.endsWith(PATCH)) {
        int unchanged = 0;
        for (String line : text(patch).lines().dropWhile(one -> !one.startsWith("@@")).toList()) {
          unchanged = line.startsWith(" ") ? unchanged + 1 : 0;
          assertThat(unchanged).as(patch + ": " + line).isLessThanOrEqualTo(3);
        }
      }
    }
  }

  private static String text(String resource) throws IOException {
    try (InputStream in = TunedQemuTest.class.getResourceAsStream(resource)) {
      assertThat(in).as(resource).isNotNull();
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  @Test
  void theNewestBuildWithOurPatchesIsKeptBesideTheNewestOfAVersion() {
    archive.offer("1:10.0.13+ds-0+deb13u1", "10.0.13");
    QemuRelease tuned = releases.build("debian-10.0", told::add).release();
    QemuRelease stock = releases.fetchNewest("qemu-10.0", told::add).release();

    assertThat(releases.prunable(0))
        .containsExactlyInAnyOrder(
            new PruneRule.Verdict(
                tuned.name(), "It is the newest build of 10.0.13 with our patches."),
            new PruneRule.Verdict(stock.name(), "It is the newest build of 10.0.13."));
  }

  @Test
  void aBuildTellsHowFarItGot() {
    TunedBuild.Steps steps = new TunedBuild.Steps(told::add);

    for (String line :
        List.of(
            "step: configuring",
            "checking for step: none",
            "[1/1728] Generating trace.h",
            "[172/1728] Compiling C object a.o",
            "[173/1728] Compiling C object b.o",
            "[174/1728] Compiling C object c.o",
            "warning: [900/1728]",
            "[1000/1728] Compiling C object d.o",
            "[0/0] nothing",
            "[1728/1728] Linking target qemu-system-x86_64")) {
      steps.accept(line);
    }

    assertThat(told)
        .containsExactly("configuring", "compiled 10 %", "compiled 50 %", "compiled 100 %");
  }

  private static AbstractThrowableAssert<?, ? extends Throwable> assertRefused(
      ThrowingCallable action, Problem problem) {
    return assertThatThrownBy(action)
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem));
  }
}
