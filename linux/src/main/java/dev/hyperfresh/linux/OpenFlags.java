package dev.hyperfresh.linux;

/// How [Fd#open] opens a file: one of the three access modes, joined by `|` with any of the rest.
/// Source: `fcntl.h`.
public final class OpenFlags {
  /// Only reading (`O_RDONLY`).
  public static final int READ_ONLY = Constants.O_RDONLY;

  /// Only writing (`O_WRONLY`).
  public static final int WRITE_ONLY = Constants.O_WRONLY;

  /// Reading and writing (`O_RDWR`).
  public static final int READ_WRITE = Constants.O_RDWR;

  /// Make the file when it is not there, readable and writable by its owner alone (`O_CREAT`,
  /// 0600).
  public static final int CREATE = Constants.O_CREAT;

  /// Every write goes to the end (`O_APPEND`).
  public static final int APPEND = Constants.O_APPEND;

  /// Empty the file first (`O_TRUNC`).
  public static final int TRUNCATE = Constants.O_TRUNC;

  /// Of a folder: a file without a name, which is gone when it is closed (`O_TMPFILE`, with
  /// `O_RDWR`).
  public static final int NAMELESS = Constants.O_TMPFILE | Constants.O_RDWR;

  /// Not the file that a symbolic link leads to (`O_NOFOLLOW`): opening a link is an error.
  public static final int NO_FOLLOW = Constants.O_NOFOLLOW;

  /// Calls answer `EAGAIN` instead of waiting (`O_NONBLOCK`).
  public static final int NON_BLOCKING = Constants.O_NONBLOCK;

  /// Past the page cache (`O_DIRECT`); not every file system can.
  public static final int DIRECT = Constants.O_DIRECT;

  private OpenFlags() {}
}
