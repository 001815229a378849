package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// The TPM on a foreign command line.
class ForeignTpmTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "-tpmdev emulator,id=tpm0,chardev=c -chardev socket,id=c,path=/run/tpm.sock"
            + " -device tpm-tis,tpmdev=tpm0,id=t",
        "-chardev {\"backend\":\"socket\",\"id\":\"c\",\"path\":\"/run/tpm.sock\"}"
            + " -tpmdev {\"type\":\"emulator\",\"id\":\"tpm0\",\"chardev\":\"c\"}"
            + " -device {\"driver\":\"tpm-crb\",\"tpmdev\":\"tpm0\",\"id\":\"t\"}"
      })
  void laterInstancesGetOneOnASocketThatTheyArePassed(String words) {
    ForeignCommandLine line = read(live(Set.of("t"), 0, List.of()), words.split(" "));

    assertThat(joined(line))
        .contains("-chardev socket,id=c,fd=8 -tpmdev type=emulator,id=tpm0,chardev=c")
        .doesNotContain("/run/tpm.sock");
    assertThat(line.tpm()).contains(Path.of("/run/tpm.sock"));
  }

  @Test
  void aRehearsalGetsOneToo() throws Exception {
    ForeignCommandLine line =
        read(
            live(Set.of("t"), 0, List.of()),
            ("-tpmdev emulator,id=tpm0,chardev=c -chardev socket,id=c,path=tpm.sock"
                    + " -device tpm-tis,tpmdev=tpm0,id=t")
                .split(" "));

    assertThat(line.tpm()).contains(ForeignLines.FOLDER.resolve("tpm.sock"));
    assertThat(String.join(" ", new AdoptedWords(line.words()).standIns("web1", List.of())))
        .contains("-chardev socket,id=c,fd=8 ");
    // Nobody else has it, so there is nothing to wait for.
    assertThat(String.join(" ", new AdoptedWords(line.words()).silent()))
        .contains("-chardev socket,id=c,fd=8 ");
    assertThat(new AdoptedWords(line.words()).sockets()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          -tpmdev passthrough,id=t                              | in two QEMUs
          -tpmdev x,id=t                                        | this kind of TPM
          -tpmdev emulator,id=t,chardev=none                    | by the path of a unix socket
          -tpmdev emulator,id=t                                 | by the path of a unix socket
          -tpmdev emulator,id=t,chardev=tcp                     | by the path of a unix socket
          -tpmdev emulator,id=t,chardev=server                  | by the path of a unix socket
          -tpmdev emulator,id=t,chardev=abstract                | by the path of a unix socket
          -tpmdev emulator,id=t,chardev=passed                  | started here before
          -tpmdev emulator,id=t,chardev=unix,x-new=1            | not known here: x-new
          """)
  void anyOtherIsRefused(String words, String reason) {
    List<String> line = new ArrayList<>(List.of(words.strip().split(" ")));
    for (String chardev :
        List.of(
            "socket,id=unix,path=/run/tpm.sock",
            "socket,id=passed,fd=8",
            "socket,id=tcp,host=127.0.0.1,port=1",
            "socket,id=server,path=/run/s,server=on,wait=off",
            "socket,id=abstract,path=s,abstract=on")) {
      if (line.getLast().endsWith("chardev=" + chardev.split("[=,]")[2])
          || line.getLast().contains("=unix,")) {
        line.addAll(List.of("-chardev", chardev));
      }
    }
    assertThat(String.join("\n", read(line.toArray(String[]::new)).reasons())).contains(reason);
  }

  @Test
  void onlyItsSwtpmTellsWhereItsStateIs() {
    Explanation explanation =
        Explanation.of(
            List.of(
                "-tpmdev",
                "emulator,id=t,chardev=c",
                "-chardev",
                "socket,id=c,path=/run/tpm.sock",
                "-device",
                "tpm-tis,tpmdev=t"),
            "",
            Optional.empty());

    assertThat(explanation.pieces())
        .filteredOn(piece -> piece.what().contains("tpm"))
        .extracting(Explanation.Piece::verdict)
        .containsExactly(
            Explanation.Verdict.UNKNOWN, Explanation.Verdict.MOVES, Explanation.Verdict.MOVES);
  }
}
