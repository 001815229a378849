package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.Ifinfomsg;
import dev.hyperfresh.linux.Layouts.Nlmsghdr;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/// Network interfaces, through rtnetlink(7), in the network namespace of the calling thread.
final class Links {
  private static final int HEADER_BYTES = (int) Nlmsghdr.TYPE.bytes();
  private static final int REQUEST_BYTES = HEADER_BYTES + (int) Ifinfomsg.TYPE.bytes();

  // The unit of times: USER_HZ is 100 everywhere.
  private static final Duration TICK = Duration.ofMillis(10);

  // Far more than a link's whole description.
  private static final int LINK_BYTES = 32 * 1024;

  private Links() {}

  /// Deletes an interface and returns when it is gone.
  ///
  /// @param label what errors call it
  static void delete(int index, String label) {
    try (Fd socket = open(label)) {
      byte[] request = request(index, Constants.RTM_DELLINK, Constants.NLM_F_ACK);
      socket.write(request, 0, request.length);
      byte[] answer = new byte[512];
      int bytes = socket.read(answer, 0, answer.length);
      check(result(answer, bytes), "rtnetlink RTM_DELLINK", label);
    }
  }

  /// The number of the bridge that an interface is a port of; empty when it is none of a bridge.
  ///
  /// @param label what errors call it
  static OptionalInt bridge(int index, String label) {
    return bridge(description(request(index, Constants.RTM_GETLINK, 0), label));
  }

  /// What the kernel tells of an interface.
  private static ByteBuffer description(byte[] request, String label) {
    try (Fd socket = open(label)) {
      socket.write(request, 0, request.length);
      byte[] answer = new byte[LINK_BYTES];
      int bytes = socket.read(answer, 0, answer.length);
      if (bytes < REQUEST_BYTES
          || Nlmsghdr.nlmsg_type.get(MemorySegment.ofArray(answer)) != Constants.RTM_NEWLINK) {
        check(result(answer, bytes), "rtnetlink RTM_GETLINK", label);
      }
      return ByteBuffer.wrap(answer, 0, bytes).order(ByteOrder.nativeOrder());
    }
  }

  /// As [Bridge#silence].
  static Optional<Duration> silence(String name) {
    try {
      return silence(description(byName(name), name));
    } catch (LinuxException e) {
      if (e.errno() == Constants.ENODEV) {
        return Optional.empty();
      }
      throw e;
    }
  }

  private static Optional<Duration> silence(ByteBuffer message) {
    boolean isBridge = false;
    Duration silence = Duration.ZERO;
    for (Attribute link : attributes(message, REQUEST_BYTES, message.limit())) {
      if (link.type() == Constants.IFLA_LINKINFO) {
        for (Attribute info : attributes(message, link.from(), link.to())) {
          if (info.type() == Constants.IFLA_INFO_KIND) {
            isBridge = text(message, info).equals("bridge");
          } else if (info.type() == Constants.IFLA_INFO_DATA) {
            silence = silence(message, attributes(message, info.from(), info.to()));
          }
        }
      }
    }
    return isBridge ? Optional.of(silence) : Optional.empty();
  }

  private static Duration silence(ByteBuffer message, List<Attribute> bridge) {
    long looks = number(message, bridge, Constants.IFLA_BR_STP_STATE);
    long delay = number(message, bridge, Constants.IFLA_BR_FORWARD_DELAY);
    return looks == 0 ? Duration.ZERO : TICK.multipliedBy(2 * delay);
  }

  /// 0 when it is not there.
  private static long number(ByteBuffer message, List<Attribute> attributes, int type) {
    return attributes.stream()
        .filter(attribute -> attribute.type() == type && attribute.to() - attribute.from() == 4)
        .mapToLong(attribute -> Integer.toUnsignedLong(message.getInt(attribute.from())))
        .findFirst()
        .orElse(0);
  }

  private static OptionalInt bridge(ByteBuffer message) {
    OptionalInt master = OptionalInt.empty();
    boolean inBridge = false;
    for (Attribute link : attributes(message, REQUEST_BYTES, message.limit())) {
      if (link.type() == Constants.IFLA_MASTER) {
        master = OptionalInt.of(message.getInt(link.from()));
      } else if (link.type() == Constants.IFLA_LINKINFO) {
        inBridge =
            attributes(message, link.from(), link.to()).stream()
                .filter(info -> info.type() == Constants.IFLA_INFO_SLAVE_KIND)
                .anyMatch(info -> text(message, info).equals("bridge"));
      }
    }
    return inBridge ? master : OptionalInt.empty();
  }

  /// One `struct nlattr`; `from` and `to` enclose its payload.
  private record Attribute(int type, int from, int to) {}

  private static List<Attribute> attributes(ByteBuffer message, int from, int to) {
    List<Attribute> found = new ArrayList<>();
    int at = from;
    while (at + 4 <= to) {
      int length = Short.toUnsignedInt(message.getShort(at));
      // The two highest bits of the type are flags.
      int type = message.getShort(at + 2) & 0x3fff;
      if (length < 4 || at + length > to) {
        break;
      }
      found.add(new Attribute(type, at + 4, at + length));
      at += (length + 3) / 4 * 4;
    }
    return found;
  }

  private static String text(ByteBuffer message, Attribute attribute) {
    byte[] bytes = new byte[attribute.to() - attribute.from()];
    message.get(attribute.from(), bytes);
    return new String(bytes, StandardCharsets.US_ASCII).replace("\0", "");
  }

  private static Fd open(String label) {
    int made =
        SocketCalls.socket(Constants.AF_NETLINK, Constants.SOCK_RAW | Constants.SOCK_CLOEXEC);
    return Fd.adopt(check(made, "socket AF_NETLINK", label), "rtnetlink");
  }

  private static byte[] request(int index, int type, int flags) {
    byte[] bytes = new byte[REQUEST_BYTES];
    MemorySegment message = MemorySegment.ofArray(bytes);
    Nlmsghdr.nlmsg_len.set(message, REQUEST_BYTES);
    Nlmsghdr.nlmsg_type.set(message, type);
    Nlmsghdr.nlmsg_flags.set(message, Constants.NLM_F_REQUEST | flags);
    Ifinfomsg.ifi_index.set(message.asSlice(HEADER_BYTES), index);
    return bytes;
  }

  /// Asks for an interface by its name instead of its number.
  private static byte[] byName(String name) {
    byte[] text = name.getBytes(StandardCharsets.US_ASCII);
    if (text.length == 0 || text.length >= Constants.IFNAMSIZ) {
      throw new IllegalArgumentException("\"" + name + "\" cannot name a network interface");
    }
    byte[] bytes = new byte[REQUEST_BYTES + 4 + Constants.IFNAMSIZ];
    ByteBuffer message = ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder());
    message.put(0, request(0, Constants.RTM_GETLINK, 0));
    message.putShort(REQUEST_BYTES, (short) (4 + Constants.IFNAMSIZ));
    message.putShort(REQUEST_BYTES + 2, (short) Constants.IFLA_IFNAME);
    message.put(REQUEST_BYTES + 4, text);
    Nlmsghdr.nlmsg_len.set(MemorySegment.ofArray(bytes), bytes.length);
    return bytes;
  }

  /// 0 or `-errno`: the first member of the `struct nlmsgerr` behind the header.
  private static int result(byte[] answer, int bytes) {
    MemorySegment message = MemorySegment.ofArray(answer);
    if (bytes < HEADER_BYTES + Integer.BYTES
        || Nlmsghdr.nlmsg_type.get(message) != Constants.NLMSG_ERROR) {
      return -Constants.EINVAL;
    }
    return ByteBuffer.wrap(answer).order(ByteOrder.nativeOrder()).getInt(HEADER_BYTES);
  }
}
