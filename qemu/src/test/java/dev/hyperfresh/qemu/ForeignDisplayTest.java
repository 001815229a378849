package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.listening;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static dev.hyperfresh.qemu.ForeignLines.whole;
import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What a foreign command line shows the guest's screen on.
class ForeignDisplayTest {
  private static final String PORT = "5907";

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          -vnc :7                                      | 5907      | -vnc vnc=:7
          -vnc vnc=127.0.0.1:7,audiodev=a              | 5907      | -vnc vnc=127.0.0.1:7,audiodev=a
          -vnc [::1]:7,ipv6=on,share=ignore            | 5907      | -vnc vnc=[::1]:7,ipv6=on,share=ignore
          -vnc localhost:7,power-control=on,lossy=on   | 5907      | -vnc vnc=localhost:7,power-control=on,lossy=on
          -vnc unix:/run/w.vnc,password=on             | /run/w.vnc | -vnc vnc=unix:/run/w.vnc,password=on
          -vnc unix:w.vnc                              | w.vnc     | -vnc vnc=unix:/srv/vm/w.vnc
          -vnc unix:/run/a,,b                          | /run/a,b  | -vnc vnc=unix:/run/a,,b
          -vnc :3,to=20                                | 5907      | -vnc vnc=:7
          -vnc :3,to=20                                | 5903      | -vnc vnc=:3
          -vnc none                                    |           | -vnc vnc=none
          -display vnc=:7                              | 5907      | -vnc vnc=:7
          -display vnc=unix:/run/w.vnc,id=w            | /run/w.vnc | -vnc vnc=unix:/run/w.vnc,id=w
          """)
  void aVncServerIsTakenOver(String words, String service, String wanted) {
    String[] services = service == null ? new String[0] : new String[] {service};
    String joined = joined(read(listening(services), words.strip().split(" ", 2)));
    assertThat(" " + joined + " ").contains(" " + wanted + " ").doesNotContain("-display vnc");
  }

  @Test
  void oneServerCanHaveSeveralAddresses() {
    ForeignCommandLine line =
        read(listening("/run/w.vnc", PORT), "-vnc", "unix:/run/w.vnc,vnc=127.0.0.1:7,share=ignore");
    assertThat(joined(line)).contains("-vnc vnc=unix:/run/w.vnc,vnc=127.0.0.1:7,share=ignore");
    assertThat(line.remarks())
        .containsExactly(
            "With each replacement, its VNC server at unix:/run/w.vnc and 127.0.0.1:7 disconnects"
                + " its clients, which have to connect again.");
  }

  @Test
  void aPasswordIsSaidToBeLost() {
    assertThat(read(listening(PORT), "-vnc", ":7,password=on").remarks())
        .hasSize(2)
        .first()
        .asString()
        .contains("the password of its VNC server is lost", "password-secret=");
    assertThat(read(listening(PORT), "-vnc", ":7").remarks()).hasSize(1);
    assertThat(read(listening(), "-vnc", "none").remarks()).isEmpty();
  }

  @Test
  void aSecretGoesWithItsServer() {
    ForeignCommandLine line =
        read(
            listening(PORT),
            "-object",
            "secret,id=s,file=/etc/vnc.key",
            "-object",
            "secret,id=other,data=x",
            "-vnc",
            ":7,password-secret=s");
    assertThat(joined(line))
        .contains("-object qom-type=secret,id=s,file=/etc/vnc.key -vnc vnc=:7,password-secret=s")
        .doesNotContain("id=other");
    assertThat(line.secrets()).containsExactly(Path.of("/etc/vnc.key"));
    assertThat(line.remarks())
        .hasSize(2)
        .noneMatch(remark -> remark.contains("lost"))
        .anyMatch(remark -> remark.contains("told after its start is forgotten"));
    assertThat(
            read(
                    listening(PORT),
                    "-object",
                    "secret,id=s,data=x,keyid=master",
                    "-vnc",
                    ":7,password-secret=s")
                .reasons())
        .singleElement()
        .asString()
        .contains("encrypted");
    assertThat(
            read(
                    listening(PORT),
                    "-object",
                    "secret,id=s,file=vnc.key",
                    "-vnc",
                    ":7,password-secret=s")
                .reasons())
        .singleElement()
        .asString()
        .contains("relative path");
  }

  @ParameterizedTest
  @ValueSource(strings = {"/dev/fd/63", "/proc/self/fd/9", "/srv/../proc/self/fd/9", "/dev/stdin"})
  void aFileThatAnotherProcessDoesNotFindIsNoSecret(String file) {
    ForeignCommandLine line =
        read(
            listening(PORT), "-object", "secret,id=s,file=" + file, "-vnc", ":7,password-secret=s");
    assertThat(line.reasons())
        .singleElement()
        .asString()
        .contains("another process does not find its file");
    assertThat(line.secrets()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          -vnc :7,tls-creds=t,tls-authz=a   | 5907 | with tls-creds cannot be taken over yet
          -vnc :7,sasl=on                   | 5907 | with sasl cannot be taken over yet
          -vnc :7,websocket=5701            | 5907 | with websocket cannot be taken over yet
          -vnc :7,reverse=on                | 5907 | with reverse cannot be taken over yet
          -vnc :7,frobnicate=on             | 5907 | not known here: frobnicate
          -vnc :7                           | 5908 | it listens elsewhere: 5908
          -vnc :7,to=20                     | 5901 | it listens elsewhere: 5901
          -vnc :7,to=20                     | x    | it listens elsewhere: x
          -vnc :7                           |      | it does not listen there any more
          -vnc none                         | 5907 | it listens elsewhere: 5907
          -vnc seven                        | 5907 | its address cannot be understood
          -vnc :seven                       | 5907 | its address cannot be understood
          -vnc :60000                       | 5907 | there is no port 65900
          -vnc unix:                        |      | its path cannot be used
          -display gtk                      |      | use -display none or -vnc
          """)
  void whatCannotBeTakenOverIsSaid(String words, String service, String reason) {
    String[] services = service == null ? new String[0] : new String[] {service};
    assertThat(read(listening(services), words.strip().split(" ", 2)).reasons())
        .anySatisfy(said -> assertThat(said).startsWith(words.strip() + ": ").contains(reason));
  }

  @Test
  void oneServerIsEnough() {
    assertThat(read(listening(PORT), "-vnc", ":7", "-display", "vnc=unix:/run/w.vnc").reasons())
        .contains("-vnc :7: only one VNC server can be taken over.");
  }

  @Test
  void aPathThatIsTooLongForAnotherProcessIsRefused() {
    String path = "v".repeat(105);
    assertThat(read(listening(path), "-vnc", "unix:" + path).reasons())
        .singleElement()
        .asString()
        .contains("its path cannot be used by another process");
  }

  /// Without any of them QEMU opens a window, or serves VNC at an address of its choice.
  @Test
  void aServerIsADisplay() {
    List<String> line = new ArrayList<>(ForeignLines.BASE);
    line.removeAll(List.of("-display", "none"));
    assertThat(whole(line, listening(PORT)).reasons())
        .singleElement()
        .asString()
        .contains("It has a display");
    line.addAll(List.of("-vnc", ":7"));
    assertThat(joined(whole(line, listening(PORT)))).contains("-vnc vnc=:7");
  }

  /// Who reads a line without asking its process does not find what only that could say.
  @Test
  void whatNobodyWasAskedIsNoReason() {
    assertThat(read("-vnc", ":7,to=20").reasons()).isEmpty();
  }
}
