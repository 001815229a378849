package dev.hyperfresh.daemon;

import dev.hyperfresh.linux.UnixSocket.Credentials;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/// Who sends a request, as the kernel knows it.
///
/// The daemon's own gateway tells the web server by a header of the PROXY protocol, version 2, that
/// it puts before the first byte of the client's; the server's socket is for the daemon alone.
///
/// @param role empty when the user has none
/// @param connection its number, as [Gateway] counts them
record Caller(int pid, int uid, Optional<Role> role, long connection) {
  private static final byte[] SIGNATURE = {
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a
  };

  /// Version 2 and the command PROXY; AF_UNIX and STREAM.
  private static final byte VERSION_AND_COMMAND = 0x21;

  private static final byte FAMILY = 0x31;
  private static final int ADDRESS_BYTES = 216;

  /// The first type that the protocol leaves to its users.
  static final int TLV_TYPE = 0xe0;

  static Caller of(Credentials peer, List<Integer> groups, Roles roles, long connection) {
    return new Caller(peer.pid(), peer.uid(), roles.of(peer.uid(), peer.gid(), groups), connection);
  }

  byte[] header() {
    byte[] value =
        "%d %s %s %d"
            .formatted(
                pid,
                Integer.toUnsignedString(uid),
                role.map(Role::label).orElse("none"),
                connection)
            .getBytes(StandardCharsets.US_ASCII);
    ByteBuffer header =
        ByteBuffer.allocate(SIGNATURE.length + 4 + ADDRESS_BYTES + 3 + value.length);
    header.put(SIGNATURE).put(VERSION_AND_COMMAND).put(FAMILY);
    header.putShort((short) (ADDRESS_BYTES + 3 + value.length));
    header.position(header.position() + ADDRESS_BYTES);
    header.put((byte) TLV_TYPE).putShort((short) value.length).put(value);
    return header.array();
  }

  /// Reads what [#header] put into the field.
  static Caller parse(byte[] value) {
    List<String> words = Arrays.asList(new String(value, StandardCharsets.US_ASCII).split(" "));
    return new Caller(
        Integer.parseInt(words.get(0)),
        Integer.parseUnsignedInt(words.get(1)),
        Role.labelled(words.get(2)),
        Long.parseLong(words.get(3)));
  }

  boolean may(Role needed) {
    return role.isPresent() && role.get().compareTo(needed) >= 0;
  }
}
