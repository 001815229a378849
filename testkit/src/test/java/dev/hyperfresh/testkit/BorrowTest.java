package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.at;
import static dev.hyperfresh.testkit.Adopted.moved;
import static dev.hyperfresh.testkit.Adopted.takeBack;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.AdoptOrder;
import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.linux.Unprivileged;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// A guest in the shape in which libvirt starts one is taken for a replacement and handed back: its
/// manager finds the same guest on another QEMU, at the same sockets.
@Tag("slow")
@Timeout(600)
class BorrowTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final int FIRST_PORT = 5900;

  /// Passes the sockets of a monitor and of a channel, which listen already.
  private static final String PASSING =
      """
      use Socket;
      use POSIX;
      for my $number (19, 20) {
        socket(my $s, PF_UNIX, SOCK_STREAM, 0) || die $!;
        bind($s, sockaddr_un(shift)) && listen($s, 8) && POSIX::dup2(fileno($s), $number)
            || die $!;
      }
      exec @ARGV;
      """;

  /// As libvirt starts QEMU: as a user without any right, with mounts of its own.
  private static final int USER = 1_999_900_011;

  private static final List<String> AS_USER =
      List.of(
          "unshare",
          "-m",
          "--",
          "setpriv",
          "--reuid",
          "" + USER,
          "--regid",
          "" + USER,
          "--clear-groups",
          "--no-new-privs",
          "--inh-caps=-all",
          "--ambient-caps=-all",
          "--bounding-set=-all",
          "--");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private QemuReleases releases = Workshop.RELEASES;
  private QemuRelease older = Workshop.release("qemu-7.2");
  private QemuRelease newer = Workshop.release("qemu-10.0");
  private Path own = Path.of("");
  private int port;

  /// What is the guest's, in one folder.
  @BeforeEach
  void files() throws Exception {
    port = Workshop.freePort();
    own = Files.createDirectory(workspace.state().resolve("own"));
    Files.write(own.resolve("key.aes"), new byte[32]);
    Files.copy(Workshop.images().tick(), own.resolve("tick"));
  }

  /// The same as another user's, if there can be one, with releases that the user can read.
  ///
  /// @return the words that make a command the user's
  private List<String> asUser() throws Exception {
    if (Unprivileged.obstacle().isPresent()) {
      Workshop.say("as the same user: " + Unprivileged.obstacle().get());
      return List.of();
    }
    Files.setPosixFilePermissions(workspace.state(), PosixFilePermissions.fromString("rwx--x--x"));
    TestReleases reachable = new TestReleases(workspace.state().resolve("releases"));
    older = reachable.reachable(older);
    newer = reachable.reachable(newer);
    releases = new QemuReleases(reachable.folder(), Workshop.PACKAGES);
    for (Path file : List.of(own.resolve("key.aes"), own.resolve("tick"), own)) {
      Files.setAttribute(file, "unix:uid", USER);
      Files.setAttribute(file, "unix:gid", USER);
    }
    return AS_USER;
  }

  @Test
  void itsManagerFindsItWhereItWasOnEveryRelease() throws Exception {
    List<String> memory =
        List.of(
            "-object",
            "memory-backend-memfd,id=pc.ram,size=64M,share=on",
            "-machine",
            "memory-backend=pc.ram");
    try (OwnQemu first = start(asUser(), memory);
        TestGuest guest = TestGuest.beatingIn(first.memory("memory-backend-memfd"), PATIENCE);
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      Files.setPosixFilePermissions(monitor(), PosixFilePermissions.fromString("rwxrw-r--"));
      Set<String> devices = labels(ask("query-chardev"));
      Object file = Files.getAttribute(monitor(), "unix:ino");
      Object owner = Files.getAttribute(monitor(), "unix:uid");

      borrow(hyperplexor, first.pid());
      assertThat(hyperplexor.borrowed()).containsExactly("mine");
      ReplacementRecord back =
          hyperplexor.replace("mine", newer, BLACKOUT, at("Prepared", this::killTarget));
      assertThat(back.outcome()).as(back.detail()).isEqualTo(Outcome.ROLLED_BACK);
      HandedBack same = handedBack(hyperplexor, older, devices, guest);
      assertThat(same.pid()).isEqualTo(first.pid());
      assertThat(Files.getAttribute(monitor(), "unix:ino")).isEqualTo(file);
      assertThat(first.wasStopped()).isFalse();

      borrow(hyperplexor, first.pid());
      moved(hyperplexor, newer, Progress.NONE, "");
      HandedBack second = handedBack(hyperplexor, newer, devices, guest);
      assertThat(first.isAlive()).isFalse();
      assertThat(second.program()).isEqualTo(newer.binary());
      assertThat(Files.getAttribute(monitor(), "unix:uid")).isEqualTo(owner);
      assertThat(Files.getPosixFilePermissions(monitor()))
          .isEqualTo(PosixFilePermissions.fromString("rwxrw-r--"));

      borrow(hyperplexor, second.pid());
      moved(hyperplexor, older, Progress.NONE, "");
      HandedBack third = handedBack(hyperplexor, older, devices, guest);
      assertThat(Workspace.names(workspace.state().resolve("handed")))
          .containsExactly("mine." + third.pid() + "." + second.pid() + ".2");

      // Its manager ends it, and waits until its number is gone.
      ask("quit");
      Workshop.await("its end", PATIENCE, () -> !Files.exists(process(third.pid())));
      hyperplexor.letGo();
    }
    try (Hyperplexor next = Workshop.hyperplexor(workspace.state())) {
      assertThat(takeBack(next)).isEmpty();
      assertThat(Workspace.names(workspace.state().resolve("handed"))).isEmpty();
    }
  }

  @Test
  void whatADaemonThatWasKilledHasBorrowedIsHandedBackByTheNext() throws Exception {
    try (OwnQemu first = start(List.of(), List.of())) {
      Set<String> devices = labels(ask("query-chardev"));
      Process borrower =
          new ProcessBuilder(
                  MortalBorrower.command(
                      workspace.state(), first.pid(), monitor(), "before", "2.takeAddresses"))
              .redirectErrorStream(true)
              .redirectOutput(workspace.state().resolve("borrower.log").toFile())
              .start();
      assertThat(borrower.waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
      assertThat(first.isAlive()).as("the first process").isFalse();

      try (Hyperplexor next = Workshop.hyperplexor(workspace.state())) {
        assertThat(takeBack(next)).anyMatch(told -> told.contains("was reattached"));
        assertThat(next.borrowed()).containsExactly("mine");
        try (TestGuest guest = TestGuest.beatingIn(next.show("mine").pid(), PATIENCE)) {
          HandedBack back = handedBack(next, newer, devices, guest);
          ask("quit");
          Workshop.await("its end", PATIENCE, () -> !Workspace.runs(back.pid()));
        }
      }
    }
  }

  private void borrow(Hyperplexor hyperplexor, int pid) {
    var _ =
        hyperplexor.adopt(
            new AdoptOrder(
                "mine",
                pid,
                monitor(),
                Optional.empty(),
                releases::ofProcess,
                Optional.empty(),
                true),
            Progress.NONE);
  }

  /// Hands the guest back, and looks at it as its manager does.
  private HandedBack handedBack(
      Hyperplexor hyperplexor, QemuRelease release, Set<String> devices, TestGuest guest)
      throws IOException {
    HandedBack back = hyperplexor.handBack("mine", _ -> {});
    assertThat(hyperplexor.list()).isEmpty();
    assertThat(hyperplexor.borrowed()).isEmpty();
    assertThat(workspace.sockets()).isEmpty();
    assertThat(Workspace.names(workspace.state().resolve("guests"))).isEmpty();
    assertThat(Workspace.names(own))
        .as("beside its sockets")
        .noneMatch(name -> name.contains(".hf"));

    assertThat(ask("query-status").path("status").asString()).isEqualTo("running");
    JsonNode version = ask("query-version").path("qemu");
    assertThat(version.path("major").asInt() + "." + version.path("minor").asInt())
        .isEqualTo(release.version().replaceFirst("\\.[0-9]+$", ""));
    JsonNode chardevs = ask("query-chardev");
    assertThat(labels(chardevs)).containsAll(devices);
    assertThat(back.terminals().keySet()).containsExactly("charserial0");
    String terminal = back.terminals().getOrDefault("charserial0", "");
    assertThat(chardevs.valueStream().map(chardev -> chardev.path("filename").asString()))
        .contains("pty:" + terminal);
    assertThat(Path.of(terminal)).exists();
    assertThat(back.vcpus().keySet()).containsExactly(0);
    assertThat(process(back.pid()).resolve("task/" + back.vcpus().get(0))).exists();
    // A migration of the manager takes the memory along.
    assertThat(
            ask("query-migrate-capabilities")
                .valueStream()
                .filter(item -> item.path("capability").asString().equals("x-ignore-shared"))
                .map(item -> item.path("state").asBoolean()))
        .containsExactly(false);
    UnixSocket.connect(own.resolve("agent.sock")).close();
    new Socket(InetAddress.getLoopbackAddress(), port).close();
    guest.awaitBeat(PATIENCE);
    return back;
  }

  private static Set<String> labels(JsonNode chardevs) {
    Set<String> labels = new TreeSet<>();
    chardevs.forEach(chardev -> labels.add(chardev.path("label").asString()));
    return labels;
  }

  private Path monitor() {
    return own.resolve("mon.sock");
  }

  /// As a manager that has just been started: connects to the path that it knows.
  private JsonNode ask(String command) throws IOException {
    try (SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(monitor()));
        BufferedReader lines =
            new BufferedReader(Channels.newReader(channel, StandardCharsets.UTF_8))) {
      for (String each : List.of("qmp_capabilities", command)) {
        channel.write(StandardCharsets.UTF_8.encode("{\"execute\":\"" + each + "\"}\n"));
      }
      List<JsonNode> answers = new ArrayList<>();
      while (answers.size() < 2) {
        JsonNode line =
            JsonMapper.shared().readTree(Optional.ofNullable(lines.readLine()).orElseThrow());
        assertThat(line.has("error")).as(line.toString()).isFalse();
        if (line.has("return")) {
          answers.add(line.path("return"));
        }
      }
      return answers.getLast();
    }
  }

  private static Path process(int pid) {
    return Path.of("/proc", Integer.toString(pid));
  }

  private void killTarget() {
    assertThat(workspace.hypervisors().stream().map(ProcessHandle::destroyForcibly))
        .containsExactly(true);
  }

  /// @param user what makes a command that of another user
  private OwnQemu start(List<String> user, List<String> memory) throws IOException {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "-name",
                "guest=shop,debug-threads=on",
                "-object",
                "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\",\"file\":\""
                    + own.resolve("key.aes")
                    + "\"}",
                "-machine",
                "pc-q35-7.2,usb=off",
                "-accel",
                "tcg",
                "-cpu",
                "qemu64",
                "-m",
                "64",
                "-kernel",
                own.resolve("tick").toString(),
                "-chardev",
                "socket,id=charmonitor,fd=19,server=on,wait=off",
                "-mon",
                "chardev=charmonitor,id=monitor,mode=control",
                "-chardev",
                "pty,id=charserial0",
                "-device",
                "{\"driver\":\"isa-serial\",\"chardev\":\"charserial0\",\"id\":\"serial0\",\"index\":0}",
                "-device",
                "{\"driver\":\"virtio-serial-pci\",\"id\":\"virtio-serial0\"}",
                "-chardev",
                "socket,id=charchannel0,fd=20,server=on,wait=off",
                "-device",
                "{\"driver\":\"virtserialport\",\"bus\":\"virtio-serial0.0\",\"nr\":1,"
                    + "\"chardev\":\"charchannel0\",\"id\":\"channel0\",\"name\":\"org.qemu.guest_agent.0\"}",
                "-device",
                "VGA,id=video0",
                "-vnc",
                "127.0.0.1:" + (port - FIRST_PORT),
                "-sandbox",
                "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
                "-msg",
                "timestamp=on"));
    arguments.addAll(memory);
    List<String> prefix =
        new ArrayList<>(
            List.of(
                "perl", "-e", PASSING, monitor().toString(), own.resolve("agent.sock").toString()));
    prefix.addAll(user);
    return OwnQemu.start(older, own, prefix, arguments.toArray(String[]::new));
  }
}
