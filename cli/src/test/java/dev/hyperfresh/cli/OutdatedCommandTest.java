package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.DaemonConfig;
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
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;
import tools.jackson.databind.JsonNode;

/// What `hyperfresh outdated` says of a host whose processes and packages are files.
class OutdatedCommandTest {
  private static final String PACKAGED = QemuHost.PACKAGED;
  private static final List<String> SHARED =
      List.of(
          "-nodefaults",
          "-display",
          "none",
          "-machine",
          "q35,memory-backend=ram",
          "-object",
          "memory-backend-file,id=ram,size=512M,mem-path=/dev/shm/web1,share=on");

  @TempDir Path root;
  @TempDir Path state;
  private QemuHost host;

  @BeforeEach
  void makeAHost() throws IOException {
    host = new QemuHost(root, state);
  }

  @Test
  void aHostWithoutOneSaysSo() {
    assertThat(run()).isEqualTo(new Said(0, "No QEMU runs on this host." + nl(), ""));
  }

  @Test
  void oneThatRunsTheInstalledBuildIsCurrent() throws Exception {
    QemuHost.copy(QemuHost.OLD, host.binary);
    host.process(4711, host.binary, "-name", "web1");

    Said text = run();
    assertThat(text.exit()).isZero();
    assertThat(text.out())
        .contains("GUEST", "web1", "4711", "current", PACKAGED)
        .endsWith("1 of 1 QEMUs run the installed build." + nl())
        .doesNotContain("replace");
    JsonNode qemu = only(run("--json"));
    assertThat(qemu.path("state").asString()).isEqualTo("current");
    assertThat(qemu.path("file").asString()).isEqualTo("in place");
    assertThat(qemu.path("package").asString()).isEqualTo("qemu-system-x86 " + PACKAGED);
    assertThat(qemu.path("running").path("version").asString()).isEqualTo(PACKAGED);
    assertThat(qemu.path("started_at").asString()).isEqualTo("2023-11-14T22:13:25Z");
  }

  @Test
  void oneWhosePackageWasUpgradedIsOutdatedAndSaysWhatCanBeDone() throws Exception {
    host.upgraded();
    host.process(1, host.deleted(), "-name", "guest=web1", "-snapshot");
    host.process(2, host.deleted(), "-id", "100", "-name", "web2,debug-threads=on");
    host.process(3, host.deleted(), "-name", "guest=web3");
    host.file("proc/3/cgroup", "0::/machine.slice/machine-qemu\\x2d1\\x2dweb3.scope\n");
    host.process(4, host.deleted(), with("-name", "web4"));
    host.file("proc/4/status", "Uid:\t0\t" + uid() + "\t0\t0\n");
    host.process(5, host.deleted(), with("-name", "web5"));
    host.file("proc/5/status", "Uid:\t0\t4242\t0\t0\n");

    Said text = run();
    assertThat(text.exit()).isEqualTo(OutdatedCommand.SOME_OUTDATED);
    assertThat(text.err()).isEmpty();
    assertThat(text.out())
        .endsWith("5 of 5 QEMUs run another build than the installed one." + nl());
    assertThat(text.out().lines()).allMatch(line -> line.length() <= 80);
    JsonNode answer = Output.JSON.readTree(run("--json").out());
    assertThat(answer.path("outdated").asInt()).isEqualTo(5);
    assertThat(answer.path("qemus").valueStream().map(q -> q.path("verdict").asString()))
        .containsExactly(
            "It cannot be adopted as it is: -snapshot: writes go to a file that has no name (and 1"
                + " more).",
            "Proxmox VE manages it as 100, so it is replaced only when Proxmox VE stops and starts"
                + " it.",
            "libvirt manages it: `hyperfresh replace --libvirt web3 --to installed --dry-run` says"
                + " whether it can be replaced in place.",
            "`hyperfresh guest adopt NAME --pid 4 --qmp SOCKET` checks it further, and `hyperfresh"
                + " replace` replaces it then.",
            uid() == 0
                ? "`hyperfresh guest adopt NAME --pid 5 --qmp SOCKET` checks it further, and"
                    + " `hyperfresh replace` replaces it then."
                : "It runs as user 4242, and only a daemon of that user, or one that is root, can"
                    + " adopt it.");
    JsonNode first = answer.path("qemus").path(0);
    assertThat(first.path("file").asString()).isEqualTo("replaced");
    assertThat(first.path("running").path("label").asString()).startsWith("build ");
    assertThat(first.path("installed").path("version").asString()).isEqualTo(PACKAGED);
    assertThat(first.path("installed_at").asString()).isNotEmpty();
  }

  @Test
  void oneWhoseFileIsGoneIsRemoved() throws Exception {
    QemuHost.copy(QemuHost.OLD, host.deleted());
    host.process(4711, host.deleted());

    Said text = run();
    assertThat(text.exit()).isEqualTo(8);
    assertThat(text.out()).contains("removed", "nothing at that path", "(deleted)");
    assertThat(run("--quiet")).isEqualTo(new Said(8, "", ""));
    assertThat(run("--quiet", "--json")).isEqualTo(new Said(8, "", ""));
  }

  @Test
  void oneThatCannotBeReadIsUnknownAndAnotherExitCode() throws Exception {
    host.process(4711, host.binary, "-name", "web1");

    Said text = run();
    assertThat(text.exit()).isEqualTo(3);
    assertThat(text.out())
        .contains("unknown", "cannot be read", "0 of 1 QEMUs run the installed build. 1 cannot be");
  }

  @Test
  void aHostileCommandLineStaysOnItsLine() throws Exception {
    host.upgraded();
    host.process(4711, host.deleted(), "-name", "a\u001b[2J\nweb1 4712", "x".repeat(1 << 20));

    String out = run().out();
    assertThat(out).doesNotContain("\u001b").contains("a[2Jweb1 4712");
    assertThat(out.lines().filter(line -> line.startsWith("web1"))).isEmpty();
    assertThat(out).contains("too long");
  }

  /// What a name says may be run by whoever reads it.
  @Test
  void aNameIsNoPartOfACommand() throws Exception {
    host.upgraded();
    host.process(4711, host.deleted(), "-name", "guest=a;reboot");
    host.file("proc/4711/cgroup", "0::/hyperfresh/a.60000\n");

    assertThat(only(run("--json")).path("verdict").asString())
        .isEqualTo("`hyperfresh replace NAME --to installed` replaces it.");
  }

  @Test
  void aMachineAndAnOsOfOursAreNamedAsSuch() throws Exception {
    host.upgraded();
    String port = "virtserialport,bus=ports.0,nr=1,chardev=agent,name=dev.hyperfresh.agent";
    host.process(1, host.deleted(), "-name", "guest=machine-m1", "-device", port);
    host.process(2, host.deleted(), "-name", "guest=os-os1", "-device", port);
    for (int pid : new int[] {1, 2}) {
      host.file("proc/" + pid + "/cgroup", "0::/hyperfresh/x\n");
    }

    assertThat(run().out()).contains("machine m1", "os os1");
    JsonNode qemus = Output.JSON.readTree(run("--json").out()).path("qemus");
    assertThat(qemus.path(0).path("verdict").asString())
        .contains("`hyperfresh replace --machine m1 --to RELEASE`");
    assertThat(qemus.path(1).path("verdict").asString())
        .contains("`hyperfresh os replace os1 --to RELEASE`");
    assertThat(qemus.valueStream().map(qemu -> qemu.path("manager").asString()))
        .containsOnly("hyperfresh");
  }

  /// A release of ours stays where it is when a newer one is installed.
  @Test
  void aNewerReleaseOfTheSameSeriesMakesOneOfOursOutdated() throws Exception {
    QemuHost.copy(QemuHost.OLD, host.binary);
    host.process(4711, host.binary, "-name", "guest=web1");
    host.file("proc/4711/cgroup", "0::/hyperfresh/web1.60000\n");
    host.release("7.2.22", host.binary);
    host.release("10.0.2", Path.of("/bin/cat"));
    assertThat(run().exit()).isZero();
    JsonNode before = only(run("--json"));
    assertThat(before.path("release").asString()).isEqualTo("qemu-7.2.22");
    assertThat(before.path("manager").asString()).isEqualTo("hyperfresh");

    host.release("7.2.23", QemuHost.NEW);
    host.release("7.2.3", QemuHost.NEW);
    assertThat(run().exit()).isEqualTo(8);
    JsonNode after = only(run("--json"));
    assertThat(after.path("state").asString()).isEqualTo("outdated");
    assertThat(after.path("file").asString()).isEqualTo("in place");
    assertThat(after.path("installed").path("version").asString()).isEqualTo("7.2.23");
    assertThat(after.path("verdict").asString())
        .isEqualTo("`hyperfresh replace web1 --to qemu-7.2.23` replaces it.");
  }

  /// A copy of this host's own QEMU stays where it is when the package is upgraded.
  @Test
  void anUpgradeOfTheHostsOwnQemuMakesItsCopyOutdated() throws Exception {
    Path copy = root.resolve("copy/qemu-system-x86_64");
    QemuHost.copy(QemuHost.OLD, copy);
    host.process(4711, copy, "-name", "guest=web1");
    host.file("proc/4711/cgroup", "0::/hyperfresh/web1.60000\n");
    String package7 = "Debian package qemu-system-x86 1:7.2+dfsg-7+deb12u17";
    host.release("7.2.21", copy, List.of(), package7);
    host.program("7.2.21 (Debian 1:7.2+dfsg-7+deb12u17)");
    assertThat(run().exit()).isZero();

    host.program("7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)");
    assertThat(run().exit()).isEqualTo(8);
    JsonNode after = only(run("--json"));
    assertThat(after.path("state").asString()).isEqualTo("outdated");
    assertThat(after.path("to").asString()).isEqualTo("installed");
    assertThat(after.path("installed").path("packaging").asString())
        .isEqualTo("Debian 1:7.2+dfsg-7+deb12u18");
    assertThat(after.path("verdict").asString())
        .isEqualTo("`hyperfresh replace web1 --to installed` replaces it.");

    // Also a newer distribution's, but not for a release that was fetched with its own libraries.
    host.program("10.0.2 (Debian 1:10.0.2+ds-2+deb13u1)");
    assertThat(only(run("--json")).path("to").asString()).isEqualTo("installed");
    host.release("7.2.21", copy, List.of(Path.of("/opt/lib")), package7);
    assertThat(run().exit()).isZero();
    host.program("7.2.20 (Debian 1:7.2+dfsg-7+deb12u16)");
    host.release("7.2.21", copy, List.of(), package7);
    assertThat(run().exit()).isZero();
  }

  @Test
  void aDaemonSaysWhatItsOwnAre() throws Exception {
    host.upgraded();
    host.process(4711, host.deleted());
    host.process(4712, host.deleted(), "-name", "other");
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(DaemonConfig.socket(state)));
      Thread daemon =
          Thread.ofPlatform()
              .daemon()
              .start(() ->
                  answer(
                      server,
                      """
                      {"guests":[{"name":"web1","pid":4711,"state":"running","release":"qemu-7.2.22"},
                      {"name":"old","pid":4712,"state":"stopped","release":"qemu-7.2.22"},
                      {"name":"in","pid":0,"state":"running","release":"m1"}]}
                      """,
                      "{\"machines\":[]}",
                      "{\"os\":[]}"));
      JsonNode qemus = Output.JSON.readTree(run("--json").out()).path("qemus");
      daemon.join();

      assertThat(qemus.path(0).path("name").asString()).isEqualTo("web1");
      assertThat(qemus.path(0).path("manager").asString()).isEqualTo("hyperfresh");
      assertThat(qemus.path(0).path("release").asString()).isEqualTo("qemu-7.2.22");
      assertThat(qemus.path(1).path("name").asString()).isEqualTo("other");
      assertThat(qemus.path(1).path("manager").asString()).isEqualTo("other");
    }
  }

  /// One that takes the connection and says nothing.
  @Test
  @Timeout(30)
  void aSilentDaemonIsNotWaitedFor() throws Exception {
    QemuHost.copy(QemuHost.OLD, host.binary);
    host.process(4711, host.binary);
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(DaemonConfig.socket(state)));

      assertThat(run(Duration.ofMillis(100)).exit()).isZero();
    }
  }

  private static void answer(ServerSocketChannel server, String... bodies) {
    for (String body : bodies) {
      try (SocketChannel client = server.accept()) {
        client.read(ByteBuffer.allocate(64 << 10));
        client.write(
            StandardCharsets.UTF_8.encode(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                    + body.length()
                    + "\r\n\r\n"
                    + body));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  private Said run(String... arguments) {
    return run(Duration.ofMinutes(1), arguments);
  }

  private Said run(Duration patience, String... arguments) {
    List<String> all = new ArrayList<>(List.of("--state", state.toString()));
    all.addAll(Arrays.asList(arguments));
    CommandLine line = new CommandLine(new OutdatedCommand(root, patience));
    line.setExecutionExceptionHandler(Main::report);
    return Said.of(() -> line.execute(all.toArray(String[]::new)));
  }

  private static JsonNode only(Said said) {
    JsonNode qemus = Output.JSON.readTree(said.out()).path("qemus");
    assertThat(qemus).hasSize(1);
    return qemus.path(0);
  }

  private static String[] with(String... more) {
    List<String> all = new ArrayList<>(SHARED);
    all.addAll(Arrays.asList(more));
    return all.toArray(String[]::new);
  }

  private static int uid() throws IOException {
    return (int) Files.getAttribute(Path.of("/proc/self"), "unix:uid");
  }

  private static String nl() {
    return System.lineSeparator();
  }
}
