package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/// A VNC server that a target takes over.
class VncServerTest {
  private static final String NOWHERE = "[{\"id\":\"default\",\"server\":[]}]";

  private static final int PID = Math.toIntExact(ProcessHandle.current().pid());

  @TempDir Path folder;

  /// Answers as a QEMU whose VNC servers listen as `servers` says, and writes down what it is told.
  private static final class Answering implements MachineIdentity.Respondent {
    private final String servers;
    private final List<String> told = new ArrayList<>();

    /// What it cannot listen at, as it stands in what it is told.
    private String occupied = "none is";

    Answering(String servers) {
      this.servers = servers;
    }

    @Override
    public JsonNode execute(String command, Map<String, ?> arguments) {
      if (command.equals("query-vnc-servers")) {
        return QmpMessage.JSON.readTree(servers);
      }
      String addresses = QmpMessage.JSON.valueToTree(arguments).path("addresses").toString();
      told.add(command + " " + addresses);
      if (addresses.contains(occupied)) {
        throw new Qmp.QmpException("Address already in use");
      }
      return QmpMessage.JSON.createObjectNode();
    }
  }

  private static VncServer server(String text) throws Exception {
    return VncServer.parse(text);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "vnc=:1",
        "vnc=unix:/a,,b,vnc=[::1]:7,password=on",
        "vnc=none,share=ignore",
        "vnc=h:0,ipv4=on"
      })
  void itIsWrittenAsItIsRead(String text) throws Exception {
    assertThat(server(text).text()).isEqualTo(text);
  }

  @Test
  void aSilentOneKeepsWhatIsNotAboutAddresses() throws Exception {
    assertThat(server(":1,to=9,ipv4=on,ipv6=off,password=on,id=v").silent().text())
        .isEqualTo("vnc=none,password=on,id=v");
    assertThat(server("none").silent().text()).isEqualTo("vnc=none");
  }

  /// Any user may start a process with such a word, and every process is looked at.
  @ParameterizedTest
  @ValueSource(strings = {"x", ",,", "=", "unix:/", ":1,", "vnc=:1,"})
  void aWordOfAnyLengthIsReadToAnEnd(String piece) {
    String word = piece.repeat(ForeignCommandLine.MAX_BYTES / piece.length());
    assertThat(catchThrowable(() -> server(word)))
        .satisfiesAnyOf(
            nothing -> assertThat(nothing).isNull(),
            refused -> assertThat(refused).isInstanceOf(Suboptions.MalformedException.class));
    assertThat(catchThrowable(() -> server(":1,id=" + word.replace(",", "")))).isNull();
  }

  @Test
  void itListensWhereTheOtherOneDid() throws Exception {
    Path socket = folder.resolve("v");
    Answering qemu = new Answering(NOWHERE);
    server("unix:" + socket + ",vnc=:7,vnc=[::1]:8,ipv6=on").listen(qemu, PID, FileUser.SELF);
    assertThat(qemu.told).hasSize(1);
    JsonNode addresses =
        QmpMessage.JSON.readTree(qemu.told.getFirst().substring("display-update ".length()));
    assertThat(addresses)
        .isEqualTo(
            QmpMessage.JSON.readTree(
                """
                [{"type":"unix","path":"SOCKET"},
                 {"type":"inet","host":"","port":"5907","ipv6":true},
                 {"type":"inet","host":"::1","port":"5908","ipv6":true}]
                """
                    .replace("SOCKET", socket.toString())));
  }

  @Test
  void oneThatListensIsLeftAlone() throws Exception {
    Answering listening =
        new Answering("[{\"id\":\"default\",\"server\":[{\"service\":\"5901\",\"host\":\"::\"}]}]");
    server(":1").listen(listening, PID, FileUser.SELF);
    assertThat(listening.told).isEmpty();
    assertThat(VncServer.services(listening)).containsExactly("5901");

    Answering silent = new Answering(NOWHERE);
    server("none,password=on").listen(silent, PID, FileUser.SELF);
    assertThat(silent.told).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          127.0.0.1:1 | 127.0.0.1 | true
          127.0.0.1:1 | 127.0.0.2 | false
          127.0.0.1:1 | 0.0.0.0   | false
          [::1]:1     | ::1       | true
          [::1]:1     | ::        | false
          localhost:1 | 127.0.0.1 | true
          :1          | ::        | true
          127.0.0.1:1 |           | true
          """)
  void theSamePortOfAnotherAddressIsAnother(String wanted, String host, boolean same)
      throws Exception {
    Answering qemu =
        new Answering(
            "[{\"server\":[{\"service\":\"5901\",\"host\":\""
                + (host == null ? "" : host)
                + "\"}]}]");
    server(wanted).listen(qemu, PID, FileUser.SELF);
    assertThat(qemu.told.isEmpty()).isEqualTo(same);
  }

  /// QEMU goes on saying that it listens there.
  @Test
  void aSocketThatSomebodyRemovedIsMadeAgain() throws Exception {
    Path path = folder.resolve("v");
    Answering qemu = new Answering("[{\"server\":[{\"service\":\"" + path + "\"}]}]");
    VncServer server = server("unix:" + path);
    server.listen(qemu, PID, FileUser.SELF);
    assertThat(qemu.told).hasSize(1);

    qemu.told.clear();
    try (UnixSocket _ = UnixSocket.listen(path, 0600)) {
      server.listen(qemu, PID, FileUser.SELF);
      assertThat(qemu.told).isEmpty();
      assertThatThrownBy(() -> server.listen(qemu, PID + 1, FileUser.SELF))
          .hasMessage("another process listens at unix:" + path);
      assertThat(qemu.told).isEmpty();
    }
  }

  @Test
  void anOccupiedPortDoesNotCostTheOthers() throws Exception {
    Answering qemu = new Answering(NOWHERE);
    qemu.occupied = "5907";
    VncServer server = server(":6,vnc=:7,vnc=:8");
    assertThatThrownBy(() -> server.listen(qemu, PID, FileUser.SELF))
        .isInstanceOf(Qmp.QmpException.class)
        .hasMessage(":7: Address already in use");
    assertThat(qemu.told).hasSize(4);
    assertThat(qemu.told.getLast()).contains("5906", "5908").doesNotContain("5907");

    VncServer alone = server(":7");
    qemu.told.clear();
    assertThatThrownBy(() -> alone.listen(qemu, PID, FileUser.SELF))
        .hasMessage(":7: Address already in use");
    assertThat(qemu.told).hasSize(1);
  }

  @Test
  void whatAnotherProcessCannotHaveIsSaid() throws Exception {
    VncServer server = server(":7,vnc=unix:/run/a/v");
    assertThat(server.unreachable(true, Path.of("/run/a")::equals)).isEmpty();
    assertThat(server.unreachable(false, _ -> true))
        .containsExactly(
            "Its VNC server listens at :7 in another network namespace; run the daemon there.");
    assertThat(server.unreachable(true, _ -> false))
        .singleElement()
        .asString()
        .contains("socket /run/a/v ", "different folder");
    assertThat(server("none").unreachable(false, _ -> false)).isEmpty();
  }

  /// It gives up what it has when it is told of others.
  @Test
  void oneThatListensInPartIsToldAll() throws Exception {
    Path path = folder.resolve("v");
    try (UnixSocket _ = UnixSocket.listen(path, 0600)) {
      Answering qemu =
          new Answering("[{\"id\":\"default\",\"server\":[{\"service\":\"" + path + "\"}]}]");
      server("unix:" + path + ",vnc=:7").listen(qemu, PID, FileUser.SELF);
      assertThat(qemu.told).singleElement().asString().contains(path.toString(), "5907");
    }
  }

  /// QEMU removes the file of a socket before it makes its own, whoever listens there.
  @Test
  void aSocketIsNotTakenAwayFromAnotherProcess() throws Exception {
    Path path = folder.resolve("v");
    Answering qemu = new Answering(NOWHERE);
    VncServer server = server("unix:" + path);
    try (UnixSocket _ = UnixSocket.listen(path, 0600)) {
      assertThatThrownBy(() -> server.listen(qemu, PID, FileUser.SELF))
          .isInstanceOf(Qmp.QmpException.class)
          .hasMessage("another process listens at unix:" + path);
      assertThat(qemu.told).isEmpty();

      // What is free is taken all the same.
      VncServer two = server("unix:" + path + ",vnc=:7");
      assertThatThrownBy(() -> two.listen(qemu, PID, FileUser.SELF))
          .isInstanceOf(Qmp.QmpException.class);
      assertThat(qemu.told).singleElement().asString().contains("5907").doesNotContain("unix");
      qemu.told.clear();
    }
    // Its file stays behind, as that of an old QEMU does.
    assertThat(Files.exists(path)).isTrue();
    server.listen(qemu, PID, FileUser.SELF);
    assertThat(qemu.told).hasSize(1);
  }

  /// QEMU removes the file of its old socket, too, which may be somebody else's by now.
  @Test
  void whatSomebodyHasPutInThePlaceOfItsSocketStays() throws Exception {
    Path path = folder.resolve("v");
    Answering qemu = new Answering("[{\"server\":[{\"service\":\"" + path + "\"}]}]");
    VncServer server = server("unix:" + path + ",vnc=:7");
    try (UnixSocket _ = UnixSocket.listen(path, 0600)) {
      assertThatThrownBy(() -> server.listen(qemu, PID + 1, FileUser.SELF))
          .hasMessage(
              "another process listens at unix:"
                  + path
                  + "; the others cannot be taken, since that would remove what is there");
    }
    Files.delete(path);
    Files.writeString(path, "precious");
    assertThatThrownBy(() -> server.listen(qemu, PID, FileUser.SELF))
        .hasMessageStartingWith("there is a file at unix:" + path);
    assertThat(qemu.told).isEmpty();
    Files.delete(path);
    server.listen(qemu, PID, FileUser.SELF);
    assertThat(qemu.told).hasSize(1);
  }

  /// QEMU removes whatever is in the way of its socket.
  @Test
  void aFileThatIsNoSocketStays() throws Exception {
    Path path = Files.writeString(folder.resolve("v"), "precious");
    Answering qemu = new Answering(NOWHERE);
    VncServer server = server("unix:" + path);
    assertThatThrownBy(() -> server.listen(qemu, PID, FileUser.SELF))
        .hasMessage("there is a file at unix:" + path + " that is no socket");
    assertThat(qemu.told).isEmpty();
  }

  @Test
  void laterInstancesStartSilentBesideAnotherOne() {
    List<String> words = List.of("-append", "-vnc", "-vnc", "vnc=unix:/v,share=ignore", "-k", "de");
    AdoptedWords adopted = new AdoptedWords(words);
    assertThat(adopted.silent())
        .containsExactly("-append", "-vnc", "-vnc", "vnc=none,share=ignore", "-k", "de");
    assertThat(adopted.vnc().orElseThrow().where()).isEqualTo("unix:/v");
    assertThat(new AdoptedWords(List.of("-display", "none")).vnc()).isEmpty();
  }

  /// An address may be occupied, and the host may have lost a feature since.
  @Test
  void nothingOfTheHostKeepsAGuestFromBooting() {
    List<String> words =
        List.of("-vnc", "vnc=:1,share=ignore", "-cpu", "base,avx2=on,enforce=on,level=13");
    assertThat(new AdoptedWords(words).booting())
        .containsExactly("-vnc", "vnc=none,share=ignore", "-cpu", "base,avx2=on,level=13");
    assertThat(new AdoptedWords(words).silent()).endsWith("base,avx2=on,enforce=on,level=13");
    assertThat(new AdoptedWords(List.of("-cpu", "EPYC,enforce=on")).booting())
        .as("its owner's own")
        .endsWith("EPYC,enforce=on");
  }

  @Test
  void aTwinListensNowhere() throws Exception {
    assertThat(new AdoptedWords(List.of("-vnc", "vnc=:1,password=on")).standIns("web1", List.of()))
        .containsExactly("-vnc", "vnc=none,password=on");
  }
}
