package dev.hyperfresh.testkit;

import java.io.DataInputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import javax.crypto.Cipher;
import javax.crypto.spec.SecretKeySpec;

/// As much of a VNC client as it takes to log in and to see how large the screen is (RFC 6143).
///
/// @param password of eight characters
record RfbClient(SocketAddress server, String password) {
  private static final String VERSION = "RFB 003.008\n";
  private static final byte VNC_AUTHENTICATION = 2;

  /// What a server says of its screen.
  record Screen(int width, int height, String title) {}

  static RfbClient at(Path socket, String password) {
    return new RfbClient(UnixDomainSocketAddress.of(socket), password);
  }

  static RfbClient at(int port, String password) {
    return new RfbClient(new InetSocketAddress("127.0.0.1", port), password);
  }

  /// Connects, logs in, and hangs up.
  ///
  /// @throws IOException when nobody listens, or the server does not let it in
  Screen look() throws IOException {
    try (SocketChannel channel = SocketChannel.open(server)) {
      DataInputStream in = new DataInputStream(Channels.newInputStream(channel));
      String version = new String(in.readNBytes(VERSION.length()), StandardCharsets.US_ASCII);
      if (!version.equals(VERSION)) {
        throw new IOException("no RFB 3.8: " + version);
      }
      send(channel, VERSION.getBytes(StandardCharsets.US_ASCII));
      byte[] offered = in.readNBytes(in.readUnsignedByte());
      if (offered.length != 1 || offered[0] != VNC_AUTHENTICATION) {
        throw new IOException("it does not ask for a password");
      }
      send(channel, VNC_AUTHENTICATION);
      send(channel, answer(in.readNBytes(16)));
      if (in.readInt() != 0) {
        throw new IOException("the password is wrong");
      }
      // Others may stay.
      send(channel, (byte) 1);
      int width = in.readUnsignedShort();
      int height = in.readUnsignedShort();
      in.skipNBytes(16);
      String title = new String(in.readNBytes(in.readInt()), StandardCharsets.UTF_8);
      return new Screen(width, height, title);
    }
  }

  private static void send(SocketChannel channel, byte... bytes) throws IOException {
    ByteBuffer rest = ByteBuffer.wrap(bytes);
    while (rest.hasRemaining()) {
      channel.write(rest);
    }
  }

  /// The challenge, encrypted with the password, each byte of which has its lowest bit first. The
  /// protocol leaves no other choice.
  @SuppressWarnings("InsecureCryptoUsage")
  private byte[] answer(byte[] challenge) throws IOException {
    byte[] key = password.getBytes(StandardCharsets.US_ASCII);
    for (int i = 0; i < key.length; i++) {
      key[i] = (byte) (Integer.reverse(key[i]) >>> 24);
    }
    try {
      Cipher des = Cipher.getInstance("DES/ECB/NoPadding");
      des.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "DES"));
      return des.doFinal(challenge);
    } catch (GeneralSecurityException e) {
      throw new IOException(e);
    }
  }
}
