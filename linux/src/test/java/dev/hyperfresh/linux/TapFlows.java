package dev.hyperfresh.linux;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.time.Duration;

/// Packets for the guest behind a tap, and the queues that they come to.
final class TapFlows {
  static final int FLOWS = 12;
  static final Duration NOW = Duration.ofMillis(10);
  static final Duration SOON = Duration.ofMillis(500);
  private static final String GUEST = "10.77.0.2";

  private TapFlows() {}

  /// Sets a tap up, so that packets for the guest go to it.
  static void address(Tap tap, TestNamespace namespace) {
    tap.up();
    namespace.ip("addr", "add", "10.77.0.1/24", "dev", tap.name());
    namespace.ip("neigh", "add", GUEST, "lladdr", "02:00:00:00:00:02", "dev", tap.name());
  }

  /// As [#address], with what sends them.
  static DatagramChannel sender(Tap tap, TestNamespace namespace) {
    address(tap, namespace);
    return sender(namespace);
  }

  static DatagramChannel sender(TestNamespace namespace) {
    return namespace.within(() -> {
      try {
        return DatagramChannel.open(StandardProtocolFamily.INET);
      } catch (IOException failed) {
        throw new UncheckedIOException(failed);
      }
    });
  }

  // Different ports make different flows, which an unsteered tap would spread over its queues.
  static void sendFlows(DatagramChannel sender) throws IOException {
    sendFlows(sender, FLOWS);
  }

  static void sendFlows(DatagramChannel sender, int count) throws IOException {
    for (int flow = 0; flow < count; flow++) {
      sender.send(ByteBuffer.wrap(new byte[] {1}), new InetSocketAddress(GUEST, 4000 + flow));
    }
  }

  // Counts the datagrams of sendFlows; the kernel may add packets of its own (IPv6).
  static int received(Fd queue) {
    return received(queue, SOON);
  }

  static int received(Fd queue, Duration patience) {
    byte[] frame = new byte[2000];
    int datagrams = 0;
    while (datagrams < FLOWS && queue.pollReadable(patience)) {
      int bytes = queue.read(frame, 0, frame.length);
      // After the 10 bytes of the virtio header and 14 of Ethernet: IPv4, protocol 17.
      if (bytes > 34 && frame[24] == 0x45 && frame[33] == 17) {
        datagrams++;
      }
    }
    return datagrams;
  }

  static void drain(Fd queue) {
    byte[] frame = new byte[2000];
    while (queue.pollReadable(Duration.ZERO)) {
      queue.read(frame, 0, frame.length);
    }
  }
}
