package dev.hyperfresh.linux;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/// Calls that start a process. The `posix_spawn` family answers with 0 or with a positive error
/// number and leaves errno alone.
final class SpawnCalls {
  private SpawnCalls() {}

  private static final MethodHandle POSIX_SPAWNP = Symbol.POSIX_SPAWNP.link();
  private static final MethodHandle ACTIONS_INIT = Symbol.ACTIONS_INIT.link();
  private static final MethodHandle ACTIONS_DESTROY = Symbol.ACTIONS_DESTROY.link();
  private static final MethodHandle ACTIONS_DUP2 = Symbol.ACTIONS_DUP2.link();
  private static final MethodHandle ACTIONS_OPEN = Symbol.ACTIONS_OPEN.link();
  private static final MethodHandle ACTIONS_CLOSE = Symbol.ACTIONS_CLOSE.link();
  private static final MethodHandle ACTIONS_CLOSE_FROM = Symbol.ACTIONS_CLOSE_FROM.link();
  private static final MethodHandle ATTRIBUTES_INIT = Symbol.ATTRIBUTES_INIT.link();
  private static final MethodHandle ATTRIBUTES_DESTROY = Symbol.ATTRIBUTES_DESTROY.link();
  private static final MethodHandle ATTRIBUTES_FLAGS = Symbol.ATTRIBUTES_FLAGS.link();
  private static final MethodHandle ATTRIBUTES_MASK = Symbol.ATTRIBUTES_MASK.link();
  private static final MethodHandle ATTRIBUTES_DEFAULT = Symbol.ATTRIBUTES_DEFAULT.link();

  static int spawnp(
      MemorySegment pid,
      MemorySegment file,
      MemorySegment actions,
      MemorySegment attributes,
      MemorySegment arguments,
      MemorySegment environment) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int)
              POSIX_SPAWNP.invokeExact(
                  errno, pid, file, actions, attributes, arguments, environment),
          errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int actionsInit(MemorySegment actions) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) ACTIONS_INIT.invokeExact(errno, actions), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int actionsDestroy(MemorySegment actions) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) ACTIONS_DESTROY.invokeExact(errno, actions), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int actionsDup2(MemorySegment actions, int from, int to) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) ACTIONS_DUP2.invokeExact(errno, actions, from, to), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int actionsOpen(MemorySegment actions, int to, MemorySegment path, int flags) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int) ACTIONS_OPEN.invokeExact(errno, actions, to, path, flags, 0), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int actionsClose(MemorySegment actions, int number) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) ACTIONS_CLOSE.invokeExact(errno, actions, number), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int actionsCloseFrom(MemorySegment actions, int from) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) ACTIONS_CLOSE_FROM.invokeExact(errno, actions, from), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int attributesInit(MemorySegment attributes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) ATTRIBUTES_INIT.invokeExact(errno, attributes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int attributesDestroy(MemorySegment attributes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) ATTRIBUTES_DESTROY.invokeExact(errno, attributes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int attributesFlags(MemorySegment attributes, short flags) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) ATTRIBUTES_FLAGS.invokeExact(errno, attributes, flags), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int attributesMask(MemorySegment attributes, MemorySegment signals) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) ATTRIBUTES_MASK.invokeExact(errno, attributes, signals), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int attributesDefault(MemorySegment attributes, MemorySegment signals) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) ATTRIBUTES_DEFAULT.invokeExact(errno, attributes, signals), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }
}
