package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.release.DebianVersion;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class BuildNameTest {
  private static List<String> names(String version, String packaged) {
    return BuildName.ofPackage(version, new DebianVersion(packaged));
  }

  @ParameterizedTest
  @CsvSource({
    // Debian's stable updates, one rebuilt without changes, one rebuilt for the release before.
    "10.0.2, 1:10.0.2+ds-2+deb13u1, qemu-10.0.2+deb13u1",
    "7.2.22, 1:7.2+dfsg-7+deb12u18, qemu-7.2.22+deb12u18",
    "7.2.22, 1:7.2+dfsg-7+deb12u18+b3, qemu-7.2.22+deb12u18+b3",
    "10.0.2, 1:10.0.2+ds-2+deb13u1~bpo12+1, qemu-10.0.2+deb13u1~bpo12+1",
    "10.0.3, 1:10.0.3+ds-0+deb13u1, qemu-10.0.3+deb13u1",
    // As Debian released it, a backport, and what comes before a stable update.
    "10.0.2, 1:10.0.2+ds-2, qemu-10.0.2+2",
    "11.1.0, 1:11.1.0+ds-1~bpo13+1, qemu-11.1.0+1~bpo13+1",
    "10.0.2, 1:10.0.2+ds-3~deb13u1, qemu-10.0.2+3~deb13u1",
    // Ubuntu 24.04.
    "8.2.2, 1:8.2.2+ds-0ubuntu1.10, qemu-8.2.2+0ubuntu1.10"
  })
  void theNameOfAPackagesBuildIsItsVersionAndItsPackagingRevision(
      String version, String packaged, String name) {
    assertThat(names(version, packaged)).first().isEqualTo(name);
  }

  @Test
  void theLongNameHasTheWholeVersion() {
    assertThat(names("10.0.2", "1:10.0.2+ds-2+deb13u1"))
        .containsExactly("qemu-10.0.2+deb13u1", "qemu-10.0.2+1_10.0.2+ds-2+deb13u1");
    assertThat(names("10.0.2", "10.0.2+local"))
        .as("a package without a revision has no other")
        .containsExactly("qemu-10.0.2+10.0.2+local");
  }

  @Test
  void noTwoBuildsShareALongName() {
    List<String> epochs = List.of("", "0:", "1:", "11:");
    List<String> upstreams = List.of("7.2", "7.2.22", "7.2+dfsg", "7.2+ds", "7.2-1", "7.2-1-1");
    List<String> revisions = List.of("", "-1", "-2", "-1+deb12u1", "-2+deb12u1", "-1~deb12u1");
    Set<String> packages = new HashSet<>();
    Set<String> names = new HashSet<>();
    for (String version : List.of("7.2.2", "7.2.22")) {
      for (String epoch : epochs) {
        for (String upstream : upstreams) {
          for (String revision : revisions) {
            packages.add(version + " " + epoch + upstream + revision);
            names.add(names(version, epoch + upstream + revision).getLast());
          }
        }
      }
    }
    assertThat(names).hasSameSizeAs(packages);
  }

  @Test
  void everyNameIsAWordOfPathsAndUrls() {
    for (String packaged :
        List.of("1:10.0.2+ds-2+deb13u1~bpo12+1", "1:8.2.2+ds-0ubuntu1.10", "3")) {
      assertThat(names("10.0.2", packaged)).allMatch(name -> name.matches("[a-z0-9._~+-]+"));
    }
  }

  @Test
  void theNameOfABuildFromElsewhereHasDigitsOfItsContents() {
    String sum = "0a1b2c3d".repeat(8);
    assertThat(BuildName.ofContents("10.0.2", sum))
        .containsExactly("qemu-10.0.2+0a1b2c3d", "qemu-10.0.2+" + sum);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "qemu-10",
        "qemu-10.0",
        "qemu-10.0.2",
        "qemu-10.0.2+deb13u1",
        "qemu-10.0.2+deb13u1~bpo12+1"
      })
  void aSeriesIsABeginningThatEndsWithAPart(String wanted) {
    assertThat(BuildName.meets("qemu-10.0.2+deb13u1~bpo12+1", wanted)).isTrue();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "qemu", "qemu-", "qemu-1", "qemu-10.", "qemu-10.0.2+", "qemu-10.0.2+deb", "q"})
  void whatEndsWithinAPartIsNoSeries(String wanted) {
    assertThat(BuildName.meets("qemu-10.0.2+deb13u1", wanted)).isFalse();
  }

  @Test
  void namesOfEarlierVersionsOfHyperFreshAreOfTheSameSeries() {
    for (String old : List.of("qemu-7.2.22", "qemu-7.2.22-0a1b2c3d")) {
      for (String wanted : List.of("qemu-7", "qemu-7.2", "qemu-7.2.22")) {
        assertThat(BuildName.meets(old, wanted)).isTrue();
      }
    }
  }

  @Test
  void aPackageMayBeEveryReleaseOfItsVersion() {
    DebianVersion stable = new DebianVersion("1:7.2+dfsg-7+deb12u18");
    for (String wanted : List.of("qemu-7.2", "qemu-7.2.22", "qemu-7.2.22+deb12u18")) {
      assertThat(BuildName.mayBe(wanted, stable)).as(wanted).isTrue();
    }
    for (String wanted : List.of("qemu-7.20", "qemu-8.2", "qemu-10.0", "qemu-7.1")) {
      assertThat(BuildName.mayBe(wanted, stable)).as(wanted).isFalse();
    }
    assertThat(BuildName.mayBe("qemu-10.0", new DebianVersion("1:10.0.2+ds-2"))).isTrue();
    assertThat(BuildName.mayBe("qemu-10.0.13", new DebianVersion("1:10.0.2+ds-2"))).isFalse();
  }
}
