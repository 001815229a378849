package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// What a peer on the network sees of replacements: one TCP connection, every byte in order, and a
/// stall that is short.
@Tag("slow")
class GuestContinuityTest {
  private static final String TAP = "hf-peer0";
  private static final int REPLACEMENTS = 6;
  private static final double MAX_STALL_MS = 1000;
  private static final Duration PATIENCE = Duration.ofMinutes(3);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private TestNetwork network;

  @BeforeEach
  void network() {
    network = TestNetwork.create();
  }

  @AfterEach
  void noNetwork() {
    if (network != null) {
      network.close();
    }
  }

  /// Sends numbered words without a pause longer than a millisecond, and reads their echo.
  private static final class Peer implements AutoCloseable {
    private static final int WORDS_A_WRITE = 64;

    private final SocketChannel channel;
    private final Thread writer;
    private final Thread reader;
    private volatile boolean done;
    private volatile long sent;
    private volatile long echoed;
    private volatile long longestStallNanos;
    private volatile String fault = "";

    Peer(SocketChannel channel) {
      this.channel = channel;
      this.writer = Thread.ofPlatform().name("peer-out").start(this::write);
      this.reader = Thread.ofPlatform().name("peer-in").start(this::read);
    }

    private void write() {
      ByteBuffer words = ByteBuffer.allocate(WORDS_A_WRITE * Long.BYTES);
      long next = 0;
      try {
        while (!done) {
          words.clear();
          for (int i = 0; i < WORDS_A_WRITE; i++) {
            words.putLong(next++);
          }
          words.flip();
          while (words.hasRemaining()) {
            channel.write(words);
          }
          sent = next * Long.BYTES;
          Workshop.pause(Duration.ofMillis(1));
        }
      } catch (IOException e) {
        fault = "write: " + e;
      }
    }

    private void read() {
      ByteBuffer words = ByteBuffer.allocate(64 * 1024);
      long next = 0;
      long last = System.nanoTime();
      try {
        while (true) {
          if (channel.read(words) < 0) {
            if (done && echoed == sent) {
              return;
            }
            throw new EOFException("the guest closed the connection");
          }
          long now = System.nanoTime();
          longestStallNanos = Math.max(longestStallNanos, now - last);
          last = now;
          words.flip();
          while (words.remaining() >= Long.BYTES) {
            long word = words.getLong();
            if (word != next) {
              throw new IOException("word " + word + " came instead of " + next);
            }
            next++;
          }
          words.compact();
          echoed = next * Long.BYTES;
        }
      } catch (IOException e) {
        fault = "read: " + e;
      }
    }

    double takeLongestStallMs() {
      double millis = longestStallNanos / 1e6;
      longestStallNanos = 0;
      return millis;
    }

    /// Ends the stream, and waits for the echo of all that was sent, and for its end.
    void finish() throws InterruptedException, IOException {
      done = true;
      writer.join();
      channel.shutdownOutput();
      reader.join(PATIENCE);
    }

    @Override
    public void close() {
      done = true;
      try {
        channel.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  @Test
  void aTcpStreamGoesOnThroughReplacements() throws Exception {
    List<QemuRelease> releases =
        List.of(Workshop.release("qemu-10.0"), Workshop.release("qemu-7.2"));
    GuestSpec spec = Workshop.linux("peer", 256, List.of(), List.of(nic(Optional.empty())));
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      GuestView view =
          network.within(() -> hyperplexor.create(spec, releases.getLast(), Progress.NONE));
      network.ip("addr", "add", "10.77.0.1/24", "dev", TAP);
      Workshop.awaitReady(workspace.files("peer"));
      try (TestGuest guest = TestGuest.beatingIn(view.pid(), PATIENCE);
          Peer peer = new Peer(network.within(GuestContinuityTest::connect))) {
        replaceUnder(peer, hyperplexor, releases);
        peer.finish();
        System.out.println("  " + peer.sent + " bytes sent, " + peer.echoed + " echoed");
        assertThat(peer.fault).as("fault of the stream").isEmpty();
        assertThat(peer.echoed).as("bytes echoed").isEqualTo(peer.sent).isPositive();
        assertThat(guest.echoConnections()).as("connections").isEqualTo(1);
        // The guest counts what it has sent, so that its peer may have it a moment before.
        Workshop.await(
            "the guest's count of " + peer.sent + " bytes",
            PATIENCE,
            () -> guest.echoBytes() >= peer.sent);
        assertThat(guest.echoBytes()).as("bytes as the guest counts").isEqualTo(peer.sent);
      }
      assertThat(network.interfaces()).contains(TAP);
      hyperplexor.delete("peer");
    }
    assertThat(network.interfaces()).as("interfaces after the guest is gone").doesNotContain(TAP);
  }

  private static void replaceUnder(Peer peer, Hyperplexor hyperplexor, List<QemuRelease> releases) {
    Sample stalls = new Sample("longest stall of the stream");
    Sample quiet = new Sample("longest stall in as long a time without a replacement");
    for (int i = 0; i < REPLACEMENTS; i++) {
      peer.takeLongestStallMs();
      Workshop.pause(Duration.ofSeconds(1));
      quiet.add(peer.takeLongestStallMs());
      ReplacementRecord record =
          hyperplexor.replace("peer", releases.get(i % 2), Duration.ofSeconds(5), Progress.NONE);
      long echoed = peer.echoed;
      Workshop.await(
          "an echo after the replacement; " + peer.fault, PATIENCE, () -> peer.echoed > echoed);
      double stall = peer.takeLongestStallMs();
      stalls.add(stall);
      System.out.printf(
          Locale.ROOT,
          "  to %-11s blackout %6.2f ms, heartbeat gap %6.2f ms, stream stalled %6.2f ms%n",
          record.to(),
          record.blackoutMs().orElse(-1),
          record.guestGapMs().orElse(-1),
          stall);
      assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    }
    System.out.println("  " + stalls);
    System.out.println("  " + quiet);
    assertThat(stalls.quantile(1))
        .as("longest stall, ms, beyond what this host shows without a replacement")
        .isLessThan(MAX_STALL_MS * Workshop.crowd() + quiet.quantile(1));
  }

  private static SocketChannel connect() {
    // The guest prints READY when its network is up; the first packet may still find no neighbour.
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (true) {
      try {
        SocketChannel channel = SocketChannel.open();
        try {
          channel.connect(new InetSocketAddress("10.77.0.2", 7));
          return channel;
        } catch (IOException e) {
          channel.close();
          if (System.nanoTime() > deadline) {
            throw e;
          }
        }
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      Workshop.pause(Duration.ofMillis(100));
    }
  }

  @Test
  void aGuestThatCannotHaveItsNetworkLeavesNoTap() {
    QemuRelease release = Workshop.release("qemu-7.2");
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      GuestSpec noBridge =
          Workshop.linux("lost", 64, List.of(), List.of(nic(Optional.of("no-such-br"))));
      List<String> before = network.interfaces();
      assertThatThrownBy(
              () -> network.within(() -> hyperplexor.create(noBridge, release, Progress.NONE)))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.HOST_MISSING))
          .hasMessageContaining(TAP);
      assertThat(network.interfaces()).isEqualTo(before);
      assertThat(hyperplexor.list()).isEmpty();
      assertThat(workspace.files("lost")).doesNotExist();
    }
  }

  @Test
  void aTapWhoseNameIsTakenIsRefused() {
    QemuRelease release = Workshop.release("qemu-7.2");
    network.ip("tuntap", "add", "dev", TAP, "mode", "tap");
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      GuestSpec spec = Workshop.linux("lost", 64, List.of(), List.of(nic(Optional.empty())));
      assertThatThrownBy(
              () -> network.within(() -> hyperplexor.create(spec, release, Progress.NONE)))
          .isInstanceOf(HyperFreshException.class)
          .hasMessageContaining(TAP);
      assertThat(network.interfaces()).contains(TAP);
      assertThat(workspace.files("lost")).doesNotExist();
    }
  }

  private static Nic nic(Optional<String> bridge) {
    return new Nic(TAP, bridge, "52:54:00:77:00:02");
  }
}
