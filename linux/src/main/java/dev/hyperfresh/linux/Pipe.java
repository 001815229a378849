package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// Both ends of a pipe. Owned by the caller, who closes each end or the whole.
///
/// @param readEnd where bytes come out
/// @param writeEnd where bytes go in
public record Pipe(Fd readEnd, Fd writeEnd) implements AutoCloseable {

  /// Opens a pipe that holds up to `bytes` without a reader, or what the kernel allows this user
  /// (`/proc/sys/fs/pipe-max-size`) if that is less.
  ///
  /// @throws LinuxException when the kernel refuses
  public static Pipe open(int bytes, String label) {
    MemorySegment ends = Scratch.mine().arguments();
    check(FileCalls.pipe2(ends, Constants.O_CLOEXEC), "pipe2", label);
    Fd readEnd = Fd.adopt(ends.get(ValueLayout.JAVA_INT, 0), label + " read end");
    Fd writeEnd = Fd.adopt(ends.get(ValueLayout.JAVA_INT, 4), label + " write end");
    // A refusal leaves the default size, which is correct and only a little slower.
    FileCalls.fcntl(writeEnd.number(), Constants.F_SETPIPE_SZ, bytes);
    return new Pipe(readEnd, writeEnd);
  }

  @Override
  public void close() {
    readEnd.close();
    writeEnd.close();
  }
}
