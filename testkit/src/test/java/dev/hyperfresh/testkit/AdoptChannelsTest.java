package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.adopt;
import static dev.hyperfresh.testkit.Adopted.takeBack;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hyperplexor.StartReason;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// The channels of a guest that was adopted stay where their clients look for them, whichever QEMU
/// the guest has: the socket of its agent, which the first one was passed, a second console on a
/// port, and a connection that QEMU makes.
@Tag("slow")
@Timeout(600)
class AdoptChannelsTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);

  private static final String LOG = "second.log";

  /// Passes a socket that listens, as libvirt does.
  private static final String PASSING =
      """
      use Socket;
      use POSIX;
      socket(S, PF_UNIX, SOCK_STREAM, 0) && bind(S, sockaddr_un(shift)) && listen(S, 8)
          && POSIX::dup2(fileno(S), 19) || die $!;
      exec @ARGV;
      """;

  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private int port;
  private int talks;

  @Test
  void itsClientsFindThemAfterEveryMove() throws Exception {
    port = Workshop.freePort();
    try (UnixSocket server = UnixSocket.listen(file("server.sock"), 0600);
        OwnQemu own = start()) {
      server.receiveTimeout(PATIENCE);
      UnixSocket connection = server.accept();
      // Its shell is on the other console.
      Workshop.await(
          "the guest", Workshop.BOOT, () -> Workshop.contains(file(LOG), Workshop.READY));
      talk();
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        assertThat(adopt(hyperplexor, own).detail())
            .contains("unix:" + agent() + " (qga0)", "tcp:127.0.0.1:" + port)
            .contains("its connection to unix:" + file("server.sock"), "ends and is made anew");
        talk();
        for (QemuRelease to : List.of(NEW, OLD)) {
          connection = moved(hyperplexor, to, server, connection);
        }
        assertThat(own.isAlive()).isFalse();
        anotherComesFirst(hyperplexor);
        hyperplexor.letGo();
      }
      try (Hyperplexor next = Workshop.hyperplexor(workspace.state())) {
        assertThat(takeBack(next)).singleElement().asString().contains("reattached");
        talk();
        startsWithThem(next);
        next.delete("mine");
      }
      connection.close();
    }
  }

  /// Those who are connected are told, and find the guest again at the same addresses when the
  /// replacement is over.
  private UnixSocket moved(
      Hyperplexor hyperplexor, QemuRelease to, UnixSocket server, UnixSocket before)
      throws IOException {
    try (UnixSocket held = UnixSocket.connect(agent())) {
      ReplacementRecord record = hyperplexor.replace("mine", to, BLACKOUT, Progress.NONE);
      assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
      assertThat(record.ramBytesCopied()).hasValue(0);
      assertThat(record.detail()).isEmpty();
      System.out.printf(
          Locale.ROOT,
          "  to %s: the old process had ended after %.1f ms%n",
          to.name(),
          record.phases().retireMs());
      assertEnded(held);
    }
    assertEnded(before);
    before.close();
    talk();
    return server.accept();
  }

  private static void assertEnded(UnixSocket socket) {
    socket.receiveTimeout(PATIENCE);
    assertThat(socket.receive(new byte[1], new ArrayList<>())).isEqualTo(-1);
  }

  /// Somebody else listens at the agent's address when the target could have it.
  private void anotherComesFirst(Hyperplexor hyperplexor) throws IOException {
    int source = hyperplexor.show("mine").pid();
    List<UnixSocket> taken = new ArrayList<>();
    ReplacementRecord record =
        hyperplexor.replace(
            "mine",
            NEW,
            BLACKOUT,
            (state, _) -> {
              if (state.equals("Committed") && taken.isEmpty()) {
                kill(source);
                taken.add(taken(agent()));
              }
            });
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.detail()).contains("another process listens at unix:" + agent());
    console();
    taken.forEach(UnixSocket::close);
  }

  /// Whatever the guest does, which has no driver yet.
  private void startsWithThem(Hyperplexor hyperplexor) throws IOException {
    hyperplexor.stop("mine", Duration.ZERO);
    List<String> steps = new ArrayList<>();
    hyperplexor.start("mine", NEW, StartReason.REQUEST, (_, text) -> steps.add(text));
    assertThat(steps).isNotEmpty().noneMatch(step -> step.contains("try again"));
    assertListening();

    ReplacementRecord record = hyperplexor.replace("mine", OLD, BLACKOUT, Progress.NONE);
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.detail()).isEmpty();
    assertListening();
  }

  private void assertListening() throws IOException {
    UnixSocket.connect(agent()).close();
    new Socket(InetAddress.getLoopbackAddress(), port).close();
  }

  private static void kill(int pid) {
    assertThat(ProcessHandle.of(pid).orElseThrow().destroyForcibly()).isTrue();
    Workshop.await("the end of the source", PATIENCE, () -> !Workspace.runs(pid));
  }

  private static UnixSocket taken(Path path) {
    try {
      Files.delete(path);
      return UnixSocket.listen(path, 0600);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void talk() throws IOException {
    askAgent();
    console();
  }

  /// The real agent in the guest answers.
  private void askAgent() {
    String id = Integer.toString(1000 + ++talks);
    try (UnixSocket socket = UnixSocket.connect(agent())) {
      ByteArrayOutputStream order = new ByteArrayOutputStream();
      order.write(0xff);
      order.writeBytes(
          ("{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":" + id + "}}\n")
              .getBytes(StandardCharsets.US_ASCII));
      socket.send(order.toByteArray());
      socket.receiveTimeout(PATIENCE);
      StringBuilder answer = new StringBuilder();
      byte[] bytes = new byte[1024];
      while (answer.indexOf(id) < 0) {
        List<Fd> none = new ArrayList<>();
        int got = socket.receive(bytes, none);
        assertThat(got).as("after '%s'", answer).isPositive();
        answer.append(new String(bytes, 0, got, StandardCharsets.ISO_8859_1));
      }
    }
  }

  /// The guest's terminal echoes what is typed.
  private void console() throws IOException {
    String word = "typed-" + ++talks;
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
      socket.setSoTimeout(Math.toIntExact(PATIENCE.toMillis()));
      socket.getOutputStream().write((word + "\n").getBytes(StandardCharsets.US_ASCII));
      StringBuilder seen = new StringBuilder();
      InputStream in = socket.getInputStream();
      while (seen.indexOf(word) < 0) {
        int next = in.read();
        assertThat(next).as("after '%s'", seen).isNotNegative();
        seen.append((char) next);
      }
    }
  }

  private Path agent() {
    return file("agent.sock");
  }

  private Path file(String name) {
    return workspace.state().resolve(name);
  }

  private OwnQemu start() throws IOException {
    GuestImages images = Workshop.images();
    Path initrd = file("initrd");
    try (OutputStream both = Files.newOutputStream(initrd)) {
      Files.copy(images.initrd(), both);
      Files.copy(images.agent(), both);
    }
    return OwnQemu.start(
        OLD,
        workspace.state(),
        List.of("perl", "-e", PASSING, agent().toString()),
        "-machine",
        "pc-q35-7.2,accel=tcg,memory-backend=m",
        "-cpu",
        "qemu64",
        "-m",
        "256",
        "-object",
        "memory-backend-file,id=m,size=256M,share=on,mem-path=" + file("ram"),
        "-kernel",
        images.kernel().toString(),
        "-initrd",
        initrd.toString(),
        "-append",
        // What it prints, and what is echoed, is of the second port.
        "console=ttyS1 quiet panic=-1 cryptomgr.notests hf.period=2000",
        "-chardev",
        "socket,id=ser0,path=own.con,server=on,wait=off",
        "-serial",
        "chardev:ser0",
        "-serial",
        "tcp:127.0.0.1:" + port + ",server=on,wait=off,logfile=" + LOG,
        "-device",
        "virtio-serial-pci,id=ports,max_ports=4",
        "-chardev",
        "socket,id=qga0,fd=19,server=on,wait=off",
        "-device",
        "virtserialport,bus=ports.0,nr=1,chardev=qga0,id=agent,name=org.qemu.guest_agent.0",
        "-chardev",
        "socket,id=out,path=server.sock,reconnect=1",
        "-device",
        "virtserialport,bus=ports.0,nr=2,chardev=out,id=outward,name=test.out");
  }
}
