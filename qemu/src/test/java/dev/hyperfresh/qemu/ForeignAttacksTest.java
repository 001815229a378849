package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/// Command lines that somebody wrote to do harm: any user may start a process that is called like a
/// QEMU.
@Timeout(60)
class ForeignAttacksTest {
  /// Enough for any recursion to come to the end of its stack.
  private static final int LONG = 20_000;

  private static String of(String part) {
    return part.repeat(LONG / part.length());
  }

  @ParameterizedTest
  @EnumSource(ForeignOption.class)
  void aLongWordIsReadLikeAnyOther(ForeignOption option) {
    for (String word :
        List.of(
            of("a"),
            of("a="),
            of(",,"),
            of("lossy=on,"),
            of("vnc=unix:/a,"),
            of("file."),
            of("file.backing.") + "driver=raw",
            of("+a,"),
            of("{\"a\":"),
            of("["),
            of("//a:b@"),
            of("key=\""))) {
      assertThatCode(() ->
              Explanation.of(List.of(option.word(), word), "7.2.22", Optional.empty()).pieces())
          .doesNotThrowAnyException();
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          OBJECT  | secret,id=s,data=hunter2               | -object secret,id=s,data=***
          OBJECT  | {"qom-type":"secret","data":"hunter2"} | -object {"qom-type":"secret","data":"***"}
          SPICE   | port=1,password=hunter2,addr=::1       | -spice port=1,password=***,addr=::1
          DRIVE   | file=https://me:hunter2@host/a         | -drive file=https://***@host/a
          DRIVE   | file=rbd:pool/a:id=me:key=hunter2      | -drive file=rbd:pool/a:id=me:key=***
          VNC     | :1,password-secret=vnc0                | -vnc :1,password-secret=vnc0
          """)
  void noSecretIsShown(ForeignOption option, String value, String text) {
    assertThat(new ForeignPiece(option, value).text()).isEqualTo(text);
  }

  @Test
  void aTypeOfProxmoxIsTheOneThatItIsMadeOf() {
    List<String> line =
        List.of("-nodefaults", "-display", "none", "-machine", "type=pc-q35-9.2+pve1");

    assertThat(ForeignCommandLine.unseen(line, "9.2.0").obstacles())
        .noneMatch(it -> it.startsWith("-machine"));
  }

  /// QEMU looks for options of the line only before it adds a card.
  @Test
  void aCardInAFileDoesNotReplaceTheDefaultOne() {
    ForeignConfiguration.Reader reader =
        _ -> "[netdev \"n0\"]\n  type = \"tap\"\n  ifname = \"t0\"\n";
    List<String> line = List.of("-readconfig", "/etc/a.cfg");

    assertThat(ForeignConfiguration.of(line, reader).faults())
        .singleElement()
        .asString()
        .contains("-nodefaults");
    assertThat(
            ForeignConfiguration.of(List.of("-nodefaults", "-readconfig", "/a.cfg"), reader)
                .faults())
        .isEmpty();
  }

  @Test
  void whatAFileSaysThatIsNotReadStaysOpen() {
    ForeignCommandLine line =
        ForeignCommandLine.unseen(List.of("-readconfig", "/etc/a.cfg"), "7.2.22");

    assertThat(line.obstacles()).isEmpty();
    assertThat(line.reasons()).isNotEmpty();
    assertThat(line.needsCopy()).isFalse();
  }

  @Test
  void logsAreToldToWhoeverChecksThem() {
    ForeignCommandLine line =
        ForeignLines.whole(
            List.of(
                "-nodefaults",
                "-display",
                "none",
                "-chardev",
                "null,id=a,logfile=/srv/a.log",
                "-chardev",
                "file,id=b,path=/srv/b.log",
                "-serial",
                "file:/dev/fdset/3"),
            Map.of("/dev/fdset/3", Path.of("/srv/c.log")),
            ForeignLines.live(Set.of(), 0, List.of()));

    assertThat(line.logs())
        .extracting(Object::toString)
        .containsExactly("/srv/a.log", "/srv/b.log", "/srv/c.log");
  }
}
