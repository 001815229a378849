package dev.hyperfresh.linux;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/// A rehearsal of every call that a switch-over makes. The first call of a C function costs Java up
/// to 0.1 s, which must not fall into a blackout.
public final class WarmUp {
  private static final int NO_SUCH_THREAD = Integer.MAX_VALUE;

  private WarmUp() {}

  /// Links and makes every call once, on things of its own; it leaves no descriptor behind and
  /// changes nothing about this process. Takes up to half a second the first time. May be called by
  /// any thread, and again.
  public static void run() {
    moveDescriptor();
    mapMemory();
    askProcess();
    chooseQueue();
    Clock.now();
    Scheduling.currentThreadId();
    // A thread that cannot exist: the call is made and no thread is touched.
    Scheduling.realTime(NO_SUCH_THREAD, 1);
    Scheduling.normal(NO_SUCH_THREAD);
  }

  private static void moveDescriptor() {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket left = pair.left();
        UnixSocket right = pair.right();
        Fd passenger = left.fd().duplicate()) {
      right.receiveTimeout(Duration.ofSeconds(1));
      List<Fd> received = new ArrayList<>();
      byte[] letter = {1};
      left.send(letter, passenger);
      right.fd().pollReadable(Duration.ofSeconds(1));
      right.receive(letter, received);
      received.forEach(Fd::close);
      left.fd().write(letter, 0, 1);
      right.fd().read(letter, 0, 1);
      right.peer();
      failOnce(right);
      left.shutdown();
    }
  }

  // An exception loads classes and links a call of its own, and a switch that fails must be quick
  // too.
  private static void failOnce(UnixSocket socket) {
    socket.receiveTimeout(Duration.ofNanos(1));
    try {
      int bytes = socket.receive(new byte[1], new ArrayList<>());
      throw new IllegalStateException("a socket without data gave " + bytes + " bytes");
    } catch (LinuxException expected) {
      if (expected.errno() != Constants.EAGAIN) {
        throw expected;
      }
    }
  }

  private static void mapMemory() {
    try (MemFd memory = MemFd.create("warm-up", 4096);
        Mapping mapping = memory.map(true)) {
      mapping.segment().fill((byte) 1);
      memory.populatedBytes();
      memory.inode();
      memory.hugePageBytes();
      memory.nextData(0);
      memory.nextHole(0);
      int self = (int) ProcessHandle.current().pid();
      ProcessMemory.sharedMappings(self, memory).forEach(here -> here.populate(memory));
    }
  }

  private static void askProcess() {
    try (PidFd self = PidFd.open((int) ProcessHandle.current().pid())) {
      self.signal(Signals.NONE);
      self.exited();
      self.takeFd(self.fd().number()).close();
      connectToNobody();
    }
  }

  private static void connectToNobody() {
    try (UnixSocket somebody = UnixSocket.connect(Path.of("/proc/self/no-socket"))) {
      throw new IllegalStateException(somebody.fd().label() + " cannot be");
    } catch (LinuxException expected) {
      if (expected.errno() != Constants.ENOENT) {
        throw expected;
      }
    }
  }

  private static void chooseQueue() {
    try (QueueSteering steering = QueueSteering.load()) {
      steering.choose(1);
    } catch (LinuxException refused) {
      if (!QueueSteering.unavailable(refused)) {
        throw refused;
      }
    }
  }
}
