package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.FileUser;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;

/// The ports of this host that a target takes over for a user-mode network.
class UserNetworkTest {
  private static final int PID = 1;

  private static final String TABLE =
      """
      Hub -1 (n0):
        Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
        TCP[HOST_FORWARD]  13       127.0.0.1  2222       10.0.2.15    22     0     0
        TCP[ESTABLISHED]   15       127.0.0.1  2222       10.0.2.15    22     0     0
        TCP[HOST_FORWARD] 114               *    80       10.0.2.15    80     0     0
        UDP[HOST_FORWARD]  14       127.0.0.1    53       10.0.2.15    53     0     0
        UDP[236 sec]       16       10.0.2.15  4000        10.0.2.3    53     0     0
      Hub 0 (n1):
        TCP[HOST_FORWARD]  17         0.0.0.1     1       10.0.2.15     1     0     0
      """;

  /// Answers as the monitor of a QEMU, and writes down what it is told.
  private static final class Answering implements MachineIdentity.Respondent {
    private final List<String> told = new ArrayList<>();
    private String occupied = "none is";

    @Override
    public JsonNode execute(String command, Map<String, ?> arguments) {
      assertThat(command).isEqualTo("human-monitor-command");
      String line = String.valueOf(arguments.get("command-line"));
      if (line.equals("info usernet")) {
        return QmpMessage.JSON.valueToTree(TABLE.replace("\n", "\r\n"));
      }
      told.add(line);
      String refused = "could not set up host forwarding rule\r\n";
      return QmpMessage.JSON.valueToTree(line.contains(occupied) ? refused : "");
    }
  }

  private static List<TakenLater> later(String... words) {
    return new AdoptedWords(List.of(words)).takenLater(FileUser.SELF);
  }

  @Test
  void whereAQemuListensIsRead() {
    assertThat(HostPort.open(new Answering()))
        .containsExactlyInAnyOrder(
            "tcp:127.0.0.1:2222-10.0.2.15:22",
            "tcp::80-10.0.2.15:80",
            "udp:127.0.0.1:53-10.0.2.15:53",
            "tcp:0.0.0.1:1-10.0.2.15:1");
    assertThat(HostPort.open("unknown command: 'info usernet'\r\n")).isEmpty();
  }

  @Test
  void onlyWhatIsMissingIsTaken() {
    Answering qemu = new Answering();
    List<TakenLater> later =
        later(
            "-netdev",
            "type=user,id=n0,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:0.0.0.0:80-:80,"
                + "hostfwd=tcp::81-10.0.2.15:80",
            "-nic",
            "type=user,id=hf-user1,hostfwd=udp::54-:53",
            "-netdev",
            "type=user,id=n2",
            "-append",
            "-netdev");
    assertThat(later).hasSize(2).allMatch(one -> one.take(qemu, PID).isEmpty());
    assertThat(qemu.told)
        .containsExactly("hostfwd_add n0 tcp::81-10.0.2.15:80", "hostfwd_add hf-user1 udp::54-:53");
  }

  /// A port that leads elsewhere is another one.
  @ParameterizedTest
  @CsvSource({
    "tcp::80-:80, true",
    "tcp::80-10.0.2.15:80, true",
    "tcp:0.0.0.0:80-0.0.0.0:80, true",
    "tcp::80-10.0.2.16:80, false",
    "tcp::80-:8080, false",
    "tcp::80-:0, false",
    "udp::80-:80, false",
    "tcp:127.0.0.1:80-:80, false"
  })
  void aPortIsKnownByWhereItLeads(String rule, boolean same) throws Exception {
    assertThat(HostPort.parse(rule).is("tcp::80-10.0.2.15:80")).isEqualTo(same);
  }

  @Test
  void aPortThatIsTakenDoesNotCostTheOthers() {
    Answering qemu = new Answering();
    qemu.occupied = ":81-";
    TakenLater later =
        later("-netdev", "type=user,id=n0,hostfwd=tcp::81-:80,hostfwd=tcp::82-:80").getFirst();
    assertThat(later.take(qemu, PID))
        .hasValue(
            "Its user-mode network does not listen as before, at tcp::81 and tcp::82: could not"
                + " set up host forwarding rule. Free that. The next replacement and the next"
                + " start of the daemon try again.");
    assertThat(qemu.told).hasSize(2);
  }

  @Test
  void theScreenIsTakenBeside() {
    assertThat(later("-vnc", "vnc=:1", "-netdev", "type=user,id=n,hostfwd=tcp::1-:1")).hasSize(2);
    assertThat(later("-vnc", "vnc=none", "-netdev", "tap,id=n,fd=13")).isEmpty();
  }

  /// Any user may start a process with such a word.
  @Test
  void manyRulesAreNotRead() {
    String rules = ",hostfwd=tcp::1-:1".repeat(201);
    assertThatThrownBy(() -> UserNetwork.parse("user,id=n" + rules))
        .isInstanceOf(Suboptions.MalformedException.class)
        .hasMessageContaining("more than 200 keys");
  }

  /// It gets a name, and is read again with that.
  @Test
  void asManyRulesAsAreReadCanBeWritten() throws Exception {
    String rules = ",hostfwd=tcp::1-:1";
    assertThatThrownBy(() -> UserNetwork.parse("user" + rules.repeat(199)))
        .hasMessageContaining("more than 200 keys");
    UserNetwork named = UserNetwork.parse("user" + rules.repeat(198)).with("id", "n");
    assertThat(UserNetwork.of(named.text())).hasValue(named);
  }

  @Test
  void aTwinHasTheNetworkWithoutPorts() throws Exception {
    List<String> words =
        List.of("-netdev", "type=user,id=n,hostfwd=tcp::1-:1", "-netdev", "tap,id=t,fd=13");
    List<String> line = new AdoptedWords(words).standIns("web1", List.of());
    assertThat(line).containsExactly("-netdev", "type=user,id=n", "-netdev", "tap,id=t,fd=13");
    assertThat(AdoptedWords.unconnected(line))
        .containsExactly("-netdev", "type=user,id=n", "-netdev", "hubport,id=t,hubid=2");
  }
}
