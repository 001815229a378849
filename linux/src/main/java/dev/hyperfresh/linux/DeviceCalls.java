package dev.hyperfresh.linux;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/// Calls on devices and on eBPF. Each answers with its value or with `-errno`.
final class DeviceCalls {
  private DeviceCalls() {}

  private static final MethodHandle IOCTL = Symbol.IOCTL.link();
  private static final MethodHandle SYSCALL_BPF = Symbol.SYSCALL_BPF.link();

  static int ioctl(int fd, long request, MemorySegment argument) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) IOCTL.invokeExact(errno, fd, request, argument), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static long bpf(int command, MemorySegment attributes, int bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (long)
              SYSCALL_BPF.invokeExact(errno, (long) Constants.SYS_bpf, command, attributes, bytes),
          errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }
}
