package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.Ifinfomsg;
import dev.hyperfresh.linux.Layouts.Nlmsghdr;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/// Network interfaces, through rtnetlink(7), in the network namespace of the calling thread.
final class Links {
  private static final int HEADER_BYTES = (int) Nlmsghdr.TYPE.bytes();
  private static final int REQUEST_BYTES = HEADER_BYTES + (int) Ifinfomsg.TYPE.bytes();

  private Links() {}

  /// Deletes an interface and returns when it is gone.
  ///
  /// @param label what errors call it
  static void delete(int index, String label) {
    int made =
        SocketCalls.socket(Constants.AF_NETLINK, Constants.SOCK_RAW | Constants.SOCK_CLOEXEC);
    try (Fd socket = Fd.adopt(check(made, "socket AF_NETLINK", label), "rtnetlink")) {
      byte[] request = request(index);
      socket.write(request, 0, request.length);
      byte[] answer = new byte[512];
      int bytes = socket.read(answer, 0, answer.length);
      check(result(answer, bytes), "rtnetlink RTM_DELLINK", label);
    }
  }

  private static byte[] request(int index) {
    byte[] bytes = new byte[REQUEST_BYTES];
    MemorySegment message = MemorySegment.ofArray(bytes);
    Nlmsghdr.nlmsg_len.set(message, REQUEST_BYTES);
    Nlmsghdr.nlmsg_type.set(message, Constants.RTM_DELLINK);
    Nlmsghdr.nlmsg_flags.set(message, Constants.NLM_F_REQUEST | Constants.NLM_F_ACK);
    Ifinfomsg.ifi_index.set(message.asSlice(HEADER_BYTES), index);
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
