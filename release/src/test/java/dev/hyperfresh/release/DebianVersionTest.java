package dev.hyperfresh.release;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DebianVersionTest {
  /// The oldest first. What is behind a tilde comes before the end, letters before other
  /// characters, numbers by their value.
  private static final List<String> ORDER =
      List.of(
          "0~~",
          "0~~a",
          "0~",
          "0",
          "0.a-1",
          "1.0~rc1-1",
          "1.0-1~bpo12+1",
          "1.0-1",
          "1.0-1+b3",
          "1.0-1+deb12u1",
          "1.0-1+deb12u2",
          "1.0-1+deb12u10",
          "1.0-1.1",
          "1.0-2",
          "1.0a-1",
          "1.0+ds-1",
          "1.2-1",
          "1.10-1",
          "9.9.9-9",
          "99999999999999999999.0",
          "1:0.1-1",
          "1:7.2+dfsg-7+deb12u18",
          "1:7.2+dfsg-7+deb12u18+b3",
          "1:8.2.2+ds-0ubuntu1.9",
          "1:8.2.2+ds-0ubuntu1.10",
          "1:10.0.2+ds-2+deb13u1~bpo12+1",
          "1:10.0.2+ds-2+deb13u1",
          "1:10.0.2+ds-2+deb13u2",
          "1:10.0.3+ds-0+deb13u1",
          "2:0");

  @Test
  void theyAreOrderedAsDpkgOrdersThem() {
    List<DebianVersion> shuffled = new ArrayList<>(ORDER.stream().map(DebianVersion::new).toList());
    Collections.shuffle(shuffled, new Random(1));
    Collections.sort(shuffled);
    assertThat(shuffled).extracting(DebianVersion::text).containsExactlyElementsOf(ORDER);
  }

  @Test
  void dpkgItselfSaysTheSame() throws Exception {
    if (!Files.isExecutable(Path.of("/usr/bin/dpkg"))) {
      System.out.println("skipped: this host has no dpkg to compare with");
      return;
    }
    for (int i = 0; i + 1 < ORDER.size(); i++) {
      assertThat(dpkgSays(ORDER.get(i), "lt", ORDER.get(i + 1)))
          .as(ORDER.get(i) + " < " + ORDER.get(i + 1))
          .isTrue();
    }
    assertThat(dpkgSays("1.0", "eq", "1.00-0")).isTrue();
  }

  private static boolean dpkgSays(String one, String relation, String other) throws Exception {
    return new ProcessBuilder("/usr/bin/dpkg", "--compare-versions", one, relation, other)
            .inheritIO()
            .start()
            .waitFor()
        == 0;
  }

  @Test
  void textsThatDifferCanBeEqualInOrder() {
    DebianVersion one = new DebianVersion("1.0");
    for (String text : List.of("1.00", "01.0", "0:1.0", "1.0-0")) {
      DebianVersion other = new DebianVersion(text);
      assertThat(one).isEqualByComparingTo(other).isNotEqualTo(other);
    }
  }

  @Test
  void itsPartsAreWhatStandsAroundColonAndLastHyphen() {
    DebianVersion version = new DebianVersion("1:10.0.2+ds-rc1-2+deb13u1~bpo12+1");
    assertThat(version.upstream()).isEqualTo("10.0.2+ds-rc1");
    assertThat(version.revision()).isEqualTo("2+deb13u1~bpo12+1");
    assertThat(new DebianVersion("1.0").revision()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "a", "1.0-", "1 0", "1.0_1", "../1", "1/2", "-1", ":1", "1.0-1\n", "é"})
  void whatIsNoVersionIsNone(String text) {
    assertThat(DebianVersion.parse(text)).isEmpty();
    assertThatThrownBy(() -> new DebianVersion(text)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void oneThatIsTooLongIsNone() {
    assertThat(DebianVersion.parse("1" + "0".repeat(127))).isPresent();
    assertThat(DebianVersion.parse("1" + "0".repeat(128))).isEmpty();
  }
}
