package dev.hyperfresh.testkit;

import java.io.IOException;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;

/// A client of a SPICE server that gets as far as its answer to the first message.
final class SpiceClient {
  private static final byte[] MAGIC = "REDQ".getBytes(StandardCharsets.US_ASCII);
  private static final int VERSION = 2;
  private static final int HEADER_BYTES = 16;
  private static final int MESSAGE_BYTES = 18;
  private static final byte MAIN_CHANNEL = 1;

  private SpiceClient() {}

  /// Asks the SPICE server at an address for its main channel.
  ///
  /// @throws IOException when nobody listens
  /// @throws AssertionError when what answers is no SPICE server, or refuses
  static void greet(SocketAddress server) throws IOException {
    try (SocketChannel channel = SocketChannel.open(server)) {
      channel.write(hello());
      ByteBuffer answer =
          ByteBuffer.wrap(Channels.newInputStream(channel).readNBytes(HEADER_BYTES + Integer.BYTES))
              .order(ByteOrder.LITTLE_ENDIAN);
      boolean is =
          answer.remaining() == HEADER_BYTES + Integer.BYTES
              && answer.slice(0, MAGIC.length).equals(ByteBuffer.wrap(MAGIC))
              && answer.getInt(HEADER_BYTES) == 0;
      if (!is) {
        throw new AssertionError("no SPICE server, or one that refuses: " + answer);
      }
    }
  }

  private static ByteBuffer hello() {
    return ByteBuffer.allocate(HEADER_BYTES + MESSAGE_BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(MAGIC)
        .putInt(VERSION)
        .putInt(VERSION)
        .putInt(MESSAGE_BYTES)
        // No session yet, the first main channel, and no capabilities, which would stand at the
        // end.
        .putInt(0)
        .put(MAIN_CHANNEL)
        .put((byte) 0)
        .putInt(0)
        .putInt(0)
        .putInt(MESSAGE_BYTES)
        .flip();
  }
}
