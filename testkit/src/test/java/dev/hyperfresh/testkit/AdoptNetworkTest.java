package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.adopt;
import static dev.hyperfresh.testkit.Adopted.at;
import static dev.hyperfresh.testkit.Adopted.moved;
import static dev.hyperfresh.testkit.Adopted.takeBack;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hyperplexor.StartReason;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A guest that was adopted is reached as before, whichever QEMU it has: through ports of the host
/// on a user-mode network, and through a tap with several queues.
@Tag("slow")
@Timeout(600)
class AdoptNetworkTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final Path VHOST = Path.of("/dev/vhost-net");
  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  @Test
  void portsOfTheHostLeadToTheGuestAfterEveryMove() throws Exception {
    int port = freePort();
    String place = "tcp:127.0.0.1:" + port;
    String card =
        "user,id=n0,net=10.0.2.0/24,hostfwd=" + place + "-:7,hostfwd=" + place(port + 1) + "-:9";
    try (OwnQemu own =
        start(List.of(), "10.0.2.15/24", "-netdev", card, "-device", "virtio-net-pci,netdev=n0")) {
      Workshop.awaitReady(workspace.state(), "own-console.log");
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state());
          Socket open = connected(port)) {
        assertThat(adopt(hyperplexor, own).detail())
            .contains("connections through its user-mode network end", place, place(port + 1));
        assertAnswers(open);

        ReplacementRecord back =
            hyperplexor.replace(
                "mine", NEW, BLACKOUT, at("Prepared", () -> killTarget(hyperplexor)));
        assertThat(back.outcome()).as(back.detail()).isEqualTo(Outcome.ROLLED_BACK);
        own.assertRunning();
        assertAnswers(open);

        List<ServerSocket> taken = new ArrayList<>();
        moved(
            hyperplexor,
            NEW,
            at("Committed", () -> taken.add(taken(own, place, port))),
            "Its user-mode network does not listen as before");
        assertThat(own.isAlive()).isFalse();
        assertThat(isOpen(open)).as("a connection through a process that is gone").isFalse();
        taken.forEach(AdoptNetworkTest::close);
        hyperplexor.letGo();
      }
      try (Hyperplexor next = Workshop.hyperplexor(workspace.state())) {
        assertThat(takeBack(next)).singleElement().asString().contains("reattached");
        assertAnswers(port);
        moved(next, OLD, Progress.NONE, "");
        assertAnswers(port);
        moved(next, NEW, Progress.NONE, "");
        assertAnswers(port);
        next.delete("mine");
      }
    }
  }

  private static String place(int port) {
    return "udp:127.0.0.1:" + port;
  }

  /// Somebody else has the port before the target can take it.
  private static ServerSocket taken(OwnQemu source, String place, int port) {
    try {
      source.say("human-monitor-command", "{\"command-line\":\"hostfwd_remove n0 " + place + "\"}");
      return new ServerSocket(port, 1, InetAddress.getLoopbackAddress());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void close(ServerSocket socket) {
    try {
      socket.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Socket connected(int port) throws IOException {
    Socket socket = new Socket(InetAddress.getLoopbackAddress(), port);
    socket.setSoTimeout((int) PATIENCE.toMillis());
    return socket;
  }

  private static void assertAnswers(int port) throws IOException {
    try (Socket socket = connected(port)) {
      assertAnswers(socket);
    }
  }

  /// The guest sends back what it is sent.
  private static void assertAnswers(Socket socket) throws IOException {
    byte[] word = {1, 2, 3, 4};
    socket.getOutputStream().write(word);
    assertThat(socket.getInputStream().readNBytes(word.length)).isEqualTo(word);
  }

  private static boolean isOpen(Socket socket) {
    try {
      return socket.getInputStream().read() >= 0;
    } catch (IOException e) {
      return false;
    }
  }

  /// Of three queues the guest, which has two processors, uses two; the third stays detached.
  @Test
  void aTapWithSeveralQueuesStaysTheGuests() throws Exception {
    boolean vhost = Files.exists(VHOST);
    if (!vhost) {
      System.out.println("skipped: the kernel's vhost is not tried: there is no " + VHOST);
    }
    try (TestNetwork network = TestNetwork.create()) {
      network.ip("link", "add", "br0", "type", "bridge");
      network.ip("addr", "add", "10.77.0.1/24", "dev", "br0");
      network.ip("link", "set", "br0", "up");
      try (OwnQemu own =
          start(
              network.prefix(),
              "10.77.0.2/24",
              "-smp",
              "2",
              "-netdev",
              "tap,id=n0,ifname=many0,script=no,downscript=no,queues=3,vhost="
                  + (vhost ? "on" : "off"),
              "-device",
              "virtio-net-pci,netdev=n0,mq=on,vectors=8,mac=52:54:00:77:00:02")) {
        network.ip("link", "set", "many0", "master", "br0", "up");
        Workshop.awaitReady(workspace.state(), "own-console.log");
        try (TestGuest guest = TestGuest.beatingIn(own.memory("memory-backend-memfd"), PATIENCE);
            EchoStream stream = network.within(AdoptNetworkTest::stream)) {
          assertQueues(network);
          try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
            assertThat(network.within(() -> adopt(hyperplexor, own)).spec().nics())
                .singleElement()
                .satisfies(nic -> assertThat(nic.tap()).isEqualTo("many0"));
            hyperplexor.letGo();
          }
          try (Hyperplexor next = takenBack(network)) {
            moved(next, NEW, Progress.NONE, "");
            assertQueues(network);
            moved(next, OLD, Progress.NONE, "");
            assertQueues(network);
            next.letGo();
          }
          try (Hyperplexor next = takenBack(network)) {
            ReplacementRecord back =
                next.replace("mine", NEW, BLACKOUT, at("Prepared", () -> killTarget(next)));
            assertThat(back.outcome()).as(back.detail()).isEqualTo(Outcome.ROLLED_BACK);
            assertQueues(network);
            moved(next, NEW, Progress.NONE, "");
            assertQueues(network);
            assertStreamWent(stream);
            assertThat(guest.echoConnections()).isEqualTo(1);
            next.delete("mine");
          }
        }
      }
      assertThat(network.interfaces()).doesNotContain("many0");
    }
  }

  /// It was opened by whoever started the QEMU, as libvirt and scripts do.
  @Test
  void aMacvtapStaysTheGuests() throws Exception {
    try (TestNetwork network = TestNetwork.create()) {
      Path device = macvtap(network, "mv0", "52:54:00:77:00:02");
      List<String> prefix = new ArrayList<>(network.prefix());
      prefix.addAll(List.of("sh", "-c", "exec 3<>\"$0\"; exec \"$@\"", device.toString()));
      try (OwnQemu own =
          start(
              prefix,
              "10.77.0.2/24",
              "-netdev",
              "tap,id=n0,fd=3",
              "-device",
              "virtio-net-pci,netdev=n0,mac=52:54:00:77:00:02")) {
        Workshop.awaitReady(workspace.state(), "own-console.log");
        try (EchoStream stream = network.within(AdoptNetworkTest::stream)) {
          try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
            assertThat(network.within(() -> adopt(hyperplexor, own)).spec().nics())
                .singleElement()
                .satisfies(nic -> assertThat(nic.tap()).isEqualTo("mv0"));
            ReplacementRecord back =
                hyperplexor.replace(
                    "mine", NEW, BLACKOUT, at("Prepared", () -> killTarget(hyperplexor)));
            assertThat(back.outcome()).as(back.detail()).isEqualTo(Outcome.ROLLED_BACK);
            moved(hyperplexor, NEW, Progress.NONE, "");
            hyperplexor.letGo();
          }
          try (Hyperplexor next = takenBack(network)) {
            moved(next, OLD, Progress.NONE, "");
            assertStreamWent(stream);
            next.stop("mine", Duration.ZERO);
            assertThat(network.interfaces()).contains("mv0");
            next.start("mine", OLD, StartReason.REQUEST, Progress.NONE);
            next.delete("mine", true);
          }
        }
      }
      assertThat(network.interfaces()).contains("mv0");
    }
  }

  /// On one end of a cable, whose other end the test has.
  private static Path macvtap(TestNetwork network, String name, String address) {
    // Its number is the name of a device of the whole host.
    String index = Long.toString(300_000 + ProcessHandle.current().pid() % 50_000);
    network.ip("link", "add", "cab0", "type", "veth", "peer", "name", "cab1");
    network.ip(
        "link", "add", "link", "cab0", "name", name, "address", address, "index", index, "type",
        "macvtap");
    for (String link : List.of("cab0", "cab1", name)) {
      network.ip("link", "set", link, "up");
    }
    network.ip("addr", "add", "10.77.0.1/24", "dev", "cab1");
    Path device = Path.of("/dev/tap" + index);
    Workshop.require(Files.exists(device), "there is no device of a macvtap");
    return device;
  }

  /// The first process may take its tap out of the bridge when it ends.
  @Test
  void aTapWithADownscriptGivesWayToOneWithAsManyQueues() throws Exception {
    try (TestNetwork network = TestNetwork.create()) {
      network.ip("link", "add", "br0", "type", "bridge");
      try (OwnQemu own =
          OwnQemu.start(
              OLD,
              workspace.state(),
              network.prefix(),
              "-machine",
              "pc-q35-7.2,accel=tcg,memory-backend=m",
              "-cpu",
              "qemu64",
              "-m",
              "64",
              "-object",
              "memory-backend-memfd,id=m,size=64M,share=on",
              "-nic",
              "user,model=e1000",
              "-netdev",
              "tap,id=n0,ifname=down0,script=no,downscript=/bin/true,queues=3",
              "-device",
              "virtio-net-pci,netdev=n0,mq=on,vectors=8",
              "-kernel",
              Workshop.images().tick().toString())) {
        network.ip("link", "set", "down0", "mtu", "1400", "master", "br0");
        try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
          assertThat(network.within(() -> adopt(hyperplexor, own)).detail())
              .contains("Its scripts are not run", "down0 is replaced by mine-0");
          moved(hyperplexor, NEW, Progress.NONE, "");
          Workshop.await(
              "the end of down0", PATIENCE, () -> !network.interfaces().contains("down0"));
          assertThat(network.interfaces()).contains("mine-0");
          assertQueues(network, "mine-0", "numqueues 1 numdisabled 2");
          assertThat(network.ip("-d", "link", "show", "mine-0")).contains("mtu 1400", "master br0");
          moved(hyperplexor, OLD, Progress.NONE, "");
          assertQueues(network, "mine-0", "numqueues 1 numdisabled 2");
          hyperplexor.delete("mine");
        }
      }
    }
  }

  private Hyperplexor takenBack(TestNetwork network) {
    Hyperplexor next = Workshop.hyperplexor(workspace.state());
    assertThat(network.within(() -> takeBack(next)))
        .singleElement()
        .asString()
        .contains("reattached");
    return next;
  }

  private static void assertQueues(TestNetwork network) {
    assertQueues(network, "many0", "numqueues 2 numdisabled 1");
  }

  /// The queues of a process that has ended are gone a moment later.
  private static void assertQueues(TestNetwork network, String tap, String queues) {
    Await.holdsWithin(PATIENCE, () -> network.ip("-d", "link", "show", tap).contains(queues));
    assertThat(network.ip("-d", "link", "show", tap)).contains(queues);
  }

  private static void assertStreamWent(EchoStream stream) {
    Workshop.pause(Duration.ofSeconds(1));
    System.out.printf(
        Locale.ROOT, "  longest wait of the stream %.0f ms%n", stream.takeLongestStallMs());
    stream.finish(PATIENCE);
    assertThat(stream.fault()).isEmpty();
    assertThat(stream.bytesLost()).isZero();
    assertThat(stream.bytesSent()).isPositive();
  }

  private static EchoStream stream() {
    return EchoStream.reach(new InetSocketAddress("10.77.0.2", 7));
  }

  private OwnQemu start(List<String> prefix, String address, String... network) throws IOException {
    GuestImages images = Workshop.images();
    List<String> line =
        new ArrayList<>(
            List.of(
                "-machine",
                "pc-q35-7.2,accel=tcg,memory-backend=m",
                "-cpu",
                "qemu64",
                "-m",
                "256",
                "-object",
                "memory-backend-memfd,id=m,size=256M,share=on",
                "-kernel",
                images.kernel().toString(),
                "-initrd",
                images.initrd().toString(),
                "-append",
                "console=ttyS0 quiet panic=-1 cryptomgr.notests hf.period=2000 hf.ip=" + address,
                "-chardev",
                "socket,id=ser0,path=own.con,server=on,wait=off,logfile=own-console.log",
                "-serial",
                "chardev:ser0"));
    line.addAll(List.of(network));
    return OwnQemu.start(OLD, workspace.state(), prefix, line.toArray(String[]::new));
  }

  /// Kills the process that waits for the state of `mine`; the one that runs has waited, too.
  private static void killTarget(Hyperplexor hyperplexor) {
    int running = hyperplexor.show("mine").pid();
    assertThat(
            ProcessHandle.current()
                .children()
                .filter(child -> child.pid() != running && isWaiting(child.pid()))
                .map(ProcessHandle::destroyForcibly))
        .containsExactly(true);
  }

  private static boolean isWaiting(long pid) {
    try {
      return Files.readString(Path.of("/proc", Long.toString(pid), "cmdline"))
          .contains("\0-incoming\0");
    } catch (IOException e) {
      // It has ended since it was listed.
      return false;
    }
  }

  /// Below those that the kernel gives to whoever wants any.
  private static int freePort() {
    for (int port = ThreadLocalRandom.current().nextInt(20_000, 30_000); true; port += 2) {
      try (ServerSocket _ = new ServerSocket(port, 1, InetAddress.getLoopbackAddress())) {
        return port;
      } catch (IOException e) {
        assertThat(port).as("no port is free: %s", e).isLessThan(32_000);
      }
    }
  }
}
