package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;

/// A socket that a target takes over.
class SocketChardevTest {
  private static final int PID = Math.toIntExact(ProcessHandle.current().pid());

  /// No process has such a number.
  private static final int GONE = Integer.MAX_VALUE;

  @TempDir Path folder;

  /// A QEMU with one character device, which writes down what it is told.
  private static final class Answering implements MachineIdentity.Respondent {
    private String filename;
    private final List<JsonNode> told = new ArrayList<>();

    /// What it does not know, as it stands in what it is told.
    private String unknown = "nothing of that";

    private String refusal = "";

    Answering(String filename) {
      this.filename = filename;
    }

    @Override
    public JsonNode execute(String command, Map<String, ?> arguments) {
      if (command.equals("query-chardev")) {
        return QmpMessage.JSON.readTree(
            "[{\"label\":\"other\",\"filename\":\"null\"},{\"label\":\"c\",\"filename\":\""
                + filename
                + "\"}]");
      }
      assertThat(command).isEqualTo("chardev-change");
      JsonNode change = QmpMessage.JSON.valueToTree(arguments);
      assertThat(change.path("id").asString("")).isEqualTo("c");
      told.add(change.path("backend"));
      if (!refusal.isEmpty()) {
        throw new Qmp.QmpException(refusal);
      }
      if (change.toString().contains(unknown)) {
        throw new Qmp.QmpException(
            "Parameter 'backend.data." + unknown.replace("\"", "") + "' is unexpected");
      }
      filename = change.path("backend").path("type").asString("");
      return QmpMessage.JSON.createObjectNode();
    }
  }

  private static SocketChardev chardev(String words) throws Exception {
    return SocketChardev.of(Suboptions.parse("socket,id=c," + words, SocketChardev.BACKEND))
        .orElseThrow();
  }

  private Path socket() {
    return folder.resolve("c.sock");
  }

  private SocketChardev served() throws Exception {
    return chardev("path=" + socket() + ",server=on,wait=off");
  }

  @Test
  void aDescriptorIsOursAndNobodyElsesSocket() throws Exception {
    assertThat(SocketChardev.of(Suboptions.parse("socket,id=c,fd=12,server=on", "backend")))
        .isEmpty();
    assertThat(SocketChardev.of(Suboptions.parse("pty,id=c,path=/x", "backend"))).isEmpty();
  }

  @Test
  void aSilentOneKeepsItsLog() throws Exception {
    assertThat(chardev("path=/a,,b,server=on,logfile=/l,,g,logappend=on").silent())
        .isEqualTo("null,id=c,logfile=/l,,g,logappend=on");
    assertThat(chardev("host=h,port=1,server=on,telnet=on").silent()).isEqualTo("null,id=c");
  }

  @Test
  void itIsServedWhereTheOtherOneWas() throws Exception {
    Answering qemu = new Answering("null");
    chardev("path=" + socket() + ",server=on,wait=off,telnet=on,logfile=/l,logappend=on")
        .take(qemu, PID, FileUser.SELF);
    assertThat(qemu.told)
        .singleElement()
        .isEqualTo(
            QmpMessage.JSON.readTree(
                """
                {"type":"socket","data":{"addr":{"type":"unix","data":{"path":"SOCKET"}},
                 "server":true,"wait":false,"telnet":true,"logfile":"/l","logappend":true}}
                """
                    .replace("SOCKET", socket().toString())));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          host=::1,port=4444,ipv6=on  | {"type":"inet","data":{"host":"::1","port":"4444","ipv6":true}}
          host=,port=4444             | {"type":"inet","data":{"host":"","port":"4444"}}
          path=n,abstract=on          | {"type":"unix","data":{"path":"n","abstract":true}}
          path=n,abstract=on,tight=off| {"type":"unix","data":{"path":"n","abstract":true,"tight":false}}
          """)
  void anAddressIsSaidAsQmpWantsIt(String words, String address) throws Exception {
    Answering qemu = new Answering("null");
    chardev(words.strip() + ",server=on,wait=off,nodelay=on").take(qemu, PID, FileUser.SELF);
    assertThat(qemu.told).hasSize(1);
    JsonNode data = qemu.told.getFirst().path("data");
    assertThat(data.path("addr")).isEqualTo(QmpMessage.JSON.readTree(address));
    assertThat(data.path("nodelay").asBoolean(false)).isTrue();
    assertThat(data.has("reconnect-ms")).isFalse();
  }

  /// The guest would be told of a client.
  @Test
  void oneThatIsServedIsNotTouched() throws Exception {
    try (UnixSocket listener = UnixSocket.listen(socket(), 0600)) {
      Answering qemu = new Answering("disconnected:unix:" + socket() + ",server=on");
      served().take(qemu, PID, FileUser.SELF);
      assertThat(qemu.told).isEmpty();
      listener.receiveTimeout(Duration.ofMillis(1));
      assertThatThrownBy(listener::accept).hasMessageContaining("EAGAIN");
    }
    Answering port = new Answering("tcp:127.0.0.1:4444,server=on <-> 127.0.0.1:50000");
    chardev("host=127.0.0.1,port=4444,server=on").take(port, PID, FileUser.SELF);
    assertThat(port.told).isEmpty();
  }

  /// Whose file is another user's is asked for its process.
  @Test
  void whoeverServesInItsPlaceIsSaid() throws Exception {
    Answering qemu = new Answering("disconnected:unix:" + socket() + ",server=on");
    try (UnixSocket _ = UnixSocket.listen(socket(), 0600)) {
      assertThatThrownBy(() -> served().take(qemu, GONE, FileUser.SELF))
          .isInstanceOf(Qmp.QmpException.class)
          .hasMessage("another process listens at unix:" + socket() + " (c)");
    }
    assertThat(qemu.told).isEmpty();
  }

  /// A QEMU removes the file of a socket that it gives up, so it gives up the old one first.
  @Test
  void aFileThatSomebodyRemovedIsMadeAgain() throws Exception {
    Answering qemu = new Answering("unix:" + socket() + ",server=on");
    served().take(qemu, PID, FileUser.SELF);
    assertThat(qemu.told)
        .extracting(backend -> backend.path("type").asString(""))
        .containsExactly("null", "socket");
  }

  /// QEMU removes a file that is in its way.
  @Test
  void whatIsSomebodyElsesIsNotTakenAway() throws Exception {
    Answering qemu = new Answering("null");
    try (UnixSocket _ = UnixSocket.listen(socket(), 0600)) {
      assertThatThrownBy(() -> served().take(qemu, PID, FileUser.SELF))
          .isInstanceOf(Qmp.QmpException.class)
          .hasMessage("another process listens at unix:" + socket() + " (c)");
    }
    // A dead one, as that of a QEMU that was killed.
    served().take(qemu, PID, FileUser.SELF);
    assertThat(qemu.told).hasSize(1);

    Files.delete(socket());
    Files.writeString(socket(), "precious");
    qemu.filename = "null";
    assertThatThrownBy(() -> served().take(qemu, PID, FileUser.SELF))
        .hasMessageContaining("that is no socket");
    assertThat(qemu.told).hasSize(1);
    assertThat(socket()).hasContent("precious");
  }

  @Test
  void aClientConnectsAgainAndAgainByTheWordsOfEachRelease() throws Exception {
    SocketChardev client = chardev("path=" + socket() + ",reconnect-ms=1500");
    Answering newer = new Answering("null");
    client.take(newer, PID, FileUser.SELF);
    assertThat(newer.told).hasSize(1);
    assertThat(newer.told.getFirst().path("data").path("reconnect-ms").asInt(0)).isEqualTo(1500);
    assertThat(newer.told.getFirst().path("data").has("wait")).isFalse();

    Answering older = new Answering("null");
    older.unknown = "\"reconnect-ms\"";
    client.take(older, PID, FileUser.SELF);
    assertThat(older.told).hasSize(2);
    assertThat(older.told.getLast().path("data").path("reconnect").asInt(0)).isEqualTo(2);
    assertThat(older.told.getLast().path("data").path("server").asBoolean(true)).isFalse();

    // It does so by itself.
    older.told.clear();
    client.take(older, PID, FileUser.SELF);
    assertThat(older.told).isEmpty();
  }

  @Test
  void aGuestThatStandsIsTheReason() throws Exception {
    Answering qemu = new Answering("null");
    qemu.refusal = "Chardev user does not support chardev hotswap";
    assertThatThrownBy(() -> served().take(qemu, PID, FileUser.SELF))
        .hasMessage("the guest does not run now");
  }

  @Test
  void oneThatIsNotThereIsSaid() throws Exception {
    SocketChardev socket =
        SocketChardev.of(Suboptions.parse("socket,id=d,path=/x,server=on", "backend"))
            .orElseThrow();
    assertThatThrownBy(() -> socket.take(new Answering("null"), PID, FileUser.SELF))
        .isInstanceOf(Qmp.QmpException.class)
        .hasMessage("it has no character device unix:/x (d)");
  }

  @Test
  void whatAnotherProcessCannotHaveIsSaid() throws Exception {
    SocketChardev file = chardev("path=/run/a/c,server=on");
    assertThat(file.unreachable(false, Path.of("/run/a")::equals)).isEmpty();
    assertThat(file.unreachable(true, _ -> false))
        .contains(
            "The folder of its socket unix:/run/a/c (c) is missing, or is a different folder for"
                + " this daemon.");
    for (String words : List.of("host=,port=7,server=on", "path=n,abstract=on")) {
      assertThat(chardev(words).unreachable(true, _ -> false)).isEmpty();
      assertThat(chardev(words).unreachable(false, _ -> true))
          .get()
          .asString()
          .contains("(c) is in another network namespace");
    }
  }

  @Test
  void laterInstancesAndTwinsStartWithoutIt() throws Exception {
    List<String> words =
        List.of(
            "-chardev",
            "socket,id=c,path=/no/c,server=on,wait=off,logfile=/log,logappend=on",
            "-chardev",
            "socket,id=hf-console,fd=12,server=on,wait=off",
            "-append",
            "-chardev");
    AdoptedWords adopted = new AdoptedWords(words);
    List<String> silent =
        List.of(
            "-chardev",
            "null,id=c,logfile=/log,logappend=on",
            "-chardev",
            "socket,id=hf-console,fd=12,server=on,wait=off",
            "-append",
            "-chardev");
    assertThat(adopted.silent()).isEqualTo(silent);
    assertThat(adopted.booting()).isEqualTo(silent);
    assertThat(adopted.sockets()).singleElement().returns("unix:/no/c (c)", SocketChardev::named);
    assertThat(adopted.standIns("web1", List.of()))
        .containsSubsequence("-chardev", "null,id=c", "-chardev", "null,id=hf-console");
    assertThat(adopted.sockets().getFirst().text())
        .isEqualTo("socket,id=c,path=/no/c,server=on,wait=off,logfile=/log,logappend=on");
  }
}
