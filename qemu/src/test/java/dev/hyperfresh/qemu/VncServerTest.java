package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/// A VNC server that a target takes over.
class VncServerTest {
  private static final String NOWHERE = "[{\"id\":\"default\",\"server\":[]}]";

  @TempDir Path folder;

  /// Answers as a QEMU whose VNC servers listen as `servers` says, and writes down what it is told.
  private static final class Answering implements MachineIdentity.Respondent {
    private final String servers;
    private final List<String> told = new ArrayList<>();

    Answering(String servers) {
      this.servers = servers;
    }

    @Override
    public JsonNode execute(String command, Map<String, ?> arguments) {
      if (command.equals("query-vnc-servers")) {
        return QmpMessage.JSON.readTree(servers);
      }
      told.add(command + " " + QmpMessage.JSON.valueToTree(arguments).path("addresses"));
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

  @Test
  void itListensWhereTheOtherOneDid() throws Exception {
    Path socket = folder.resolve("v");
    Answering qemu = new Answering(NOWHERE);
    server("unix:" + socket + ",vnc=:7,vnc=[::1]:8,ipv6=on").listen(qemu);
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
    server(":1").listen(listening);
    assertThat(listening.told).isEmpty();
    assertThat(VncServer.services(listening)).containsExactly("5901");

    Answering silent = new Answering(NOWHERE);
    server("none,password=on").listen(silent);
    assertThat(silent.told).isEmpty();
  }

  /// It gives up what it has when it is told of others.
  @Test
  void oneThatListensInPartIsToldAll() throws Exception {
    Path path = folder.resolve("v");
    try (UnixSocket _ = UnixSocket.listen(path, 0600)) {
      Answering qemu =
          new Answering("[{\"id\":\"default\",\"server\":[{\"service\":\"" + path + "\"}]}]");
      server("unix:" + path + ",vnc=:7").listen(qemu);
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
      assertThatThrownBy(() -> server.listen(qemu))
          .isInstanceOf(Qmp.QmpException.class)
          .hasMessage("another process listens at unix:" + path);
      assertThat(qemu.told).isEmpty();

      // What is free is taken all the same.
      VncServer two = server("unix:" + path + ",vnc=:7");
      assertThatThrownBy(() -> two.listen(qemu)).isInstanceOf(Qmp.QmpException.class);
      assertThat(qemu.told).singleElement().asString().contains("5907").doesNotContain("unix");
      qemu.told.clear();
    }
    // Its file stays behind, as that of an old QEMU does.
    assertThat(Files.exists(path)).isTrue();
    server.listen(qemu);
    assertThat(qemu.told).hasSize(1);
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

  @Test
  void aTwinListensNowhere() throws Exception {
    assertThat(new AdoptedWords(List.of("-vnc", "vnc=:1,password=on")).standIns("web1", List.of()))
        .containsExactly("-vnc", "vnc=none,password=on");
  }
}
