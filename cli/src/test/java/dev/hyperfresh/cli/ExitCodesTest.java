package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// How commands end where no daemon answers.
class ExitCodesTest {
  @TempDir Path state = Path.of("");

  @ParameterizedTest
  @ValueSource(
      strings = {
        "guest list",
        "guest ls",
        "guest list --watch",
        "guest rm web1",
        "wait guest/web1 --for state=running",
        "guest show web1",
        "guest console web1",
        "guest stop web1",
        "guest start web1",
        "guest restart web1 --release qemu-10.0",
        "guest autostart web1 on",
        "guest delete web1",
        "guest delete web1 --force",
        "release list",
        "release show qemu-7.2",
        "release fetch qemu-7.2",
        "release add /bin/true",
        "release verify qemu-7.2",
        "release remove qemu-7.2",
        "release prune --dry-run --days 7",
        "replace web1 --to qemu-10.0",
        "replace web1 --to qemu-10.0 --dry-run",
        "replace --libvirt web1 --to installed",
        "replace --libvirt --all --to installed --dry-run",
        "release build machine --kernel 6.12 --qemu 10.0",
        "release build qemu --from debian-10.0 --tuned",
        "machine create m1 --release machine-6.12",
        "machine list",
        "machine show m1",
        "machine delete m1",
        "replace --machine m1 --to machine-6.12",
        "release build os --kernel 6.12 --userland trixie",
        "os create os1 --release os-6.12",
        "os list",
        "os show os1",
        "os replace os1 --to os-6.12",
        "os delete os1",
        "container run web1 --os os1 --bundle web1",
        "container run web1 --os os1 --image web1.tar:web:1 --address6 fd00::5/64 --dns fd00::1",
        "container list",
        "container show web1",
        "container logs web1",
        "container relocate web1 --to os2",
        "container stop web1",
        "container rm web1",
        "container delete web1",
        "volume ls",
        "volume remove data",
        "release rm qemu-7.2",
        "history"
      })
  void withoutADaemonACommandEndsWithSeven(String command) throws Exception {
    Said said = run(command);
    assertThat(said.exit()).isEqualTo(7);
    assertThat(said.out()).isEmpty();
    assertThat(said.err().lines()).as("one line and a hint").hasSize(2);
    assertThat(said.err())
        .contains("HF-DAEMON-001", Problem.DAEMON_ABSENT.advice(), state.toString());

    Said json = run(command + " --json");
    assertThat(json.exit()).isEqualTo(7);
    assertThat(json.err()).isEmpty();
    assertThat(Output.JSON.readTree(json.out()).path("code").asString()).isEqualTo("HF-DAEMON-001");
  }

  /// Also those that are called like ours.
  @ParameterizedTest
  @ValueSource(
      strings = {"web1 ps", "web1 ls -l --json /", "web1 -- ls --state /", "-- web1 ls -l"})
  void whatFollowsTheNameOfAContainerIsItsProgramsOwn(String words) {
    Said said = run("container exec --state " + state + " " + words, List.of());
    assertThat(said.exit()).isEqualTo(7);
    assertThat(said.out()).isEmpty();
    assertThat(said.err()).contains("HF-DAEMON-001", state.toString());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "guest list",
        "guest delete web1",
        "release fetch qemu-7.2",
        "replace web1 --to qemu-10.0",
        "history"
      })
  void theSocketOfADaemonThatDiedIsNoDaemon(String command) throws Exception {
    leaveAStaleSocket();

    Said said = run(command);
    assertThat(said.exit()).isEqualTo(7);
    assertThat(said.err()).contains("HF-DAEMON-001");
  }

  /// Neither is it a defect when the daemon is gone before its answer is whole.
  @ParameterizedTest
  @ValueSource(strings = {"guest list", "guest delete web1", "replace web1 --to qemu-10.0"})
  void anAnswerThatBreaksOffSaysThatTheWorkMayBeDone(String command) throws Exception {
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(DaemonConfig.socket(state)));
      Thread daemon = Thread.ofPlatform().start(() -> answerHalf(server));

      Said said = run(command);
      daemon.join();
      assertThat(said.exit()).isEqualTo(7);
      assertThat(said.err()).contains("HF-DAEMON-001", "It ended before its answer did");
    }
  }

  private static void answerHalf(ServerSocketChannel server) {
    try (SocketChannel client = server.accept()) {
      client.read(ByteBuffer.allocate(64 << 10));
      client.write(
          StandardCharsets.US_ASCII.encode(
              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{\"progress\":"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void aSpecThatIsNotThereIsBadInputWithoutADaemonToo() {
    Said said = run("guest create -f " + state.resolve("nowhere.yaml"));

    assertThat(said.exit()).isEqualTo(2);
    assertThat(said.err()).contains("HF-SPEC-003", "nowhere.yaml");
  }

  @Test
  void theDoctorNeedsNoDaemonAndChangesNothing() throws Exception {
    Path folder = state.resolve("new");
    Said said = Said.by("doctor", "--json", "--state", folder.toString());

    assertThat(said.exit()).isZero();
    assertThat(Output.JSON.readTree(said.out()).path("findings").isEmpty()).isFalse();
    assertThat(Files.exists(folder)).isFalse();
  }

  @Test
  void aStateDirectoryWithATooLongPathIsBadInput() {
    Said said = Said.by("daemon", "--state", "/" + "d".repeat(120));

    assertThat(said.exit()).isEqualTo(2);
    assertThat(said.err()).contains("HF-HOST-001");
  }

  private Said run(String command) {
    return run(command, List.of("--state", state.toString()));
  }

  private static Said run(String command, List<String> last) {
    List<String> arguments = new ArrayList<>(List.of(command.split(" ")));
    arguments.addAll(last);
    return Said.by(arguments.toArray(String[]::new));
  }

  private void leaveAStaleSocket() throws Exception {
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(DaemonConfig.socket(state)));
    }
  }
}
