package dev.hyperfresh.libvirt;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Optional;

/// The place of the one that looks after QEMU with libvirt's files. Whoever has it locks a file
/// beside those of the domains (`driver.pid`), and a libvirt that cannot lock it ends before it
/// looks at any domain. So as long as this daemon has the place, whoever starts libvirt does no
/// harm. The kernel gives it back when this process ends. Thread-safe.
public final class DriverSeat {
  private static final System.Logger LOG = System.getLogger(DriverSeat.class.getName());

  /// How often a file is locked that is another one by then.
  private static final int ATTEMPTS = 10;

  private final LibvirtHost host;
  private Optional<Taken> taken = Optional.empty();

  /// The file is locked as long as it is open. Nothing else of this process may open it: the kernel
  /// would take the lock away when that is closed.
  ///
  /// @param number of the file, which no other has as long as it is open
  private record Taken(FileChannel file, Object number) {}

  /// That of a host.
  public DriverSeat(LibvirtHost host) {
    this.host = host;
  }

  LibvirtHost host() {
    return host;
  }

  private Path file() {
    return host.domains().resolve("driver.pid");
  }

  /// Takes it, unless this daemon has it.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE] when a libvirt has it
  synchronized void take() {
    if (isTaken()) {
      return;
    }
    leave();
    try {
      Files.createDirectories(host.domains());
      for (int attempt = 0; attempt < ATTEMPTS && taken.isEmpty(); attempt++) {
        taken = locked();
      }
    } catch (IOException e) {
      throw Problem.LIBVIRT_SERVICE.because(
          file() + " cannot be locked: " + e.getMessage() + ".", e);
    }
    if (taken.isEmpty()) {
      throw Problem.LIBVIRT_SERVICE.because(
          "A libvirt runs, or is starting: it has locked " + file() + ".");
    }
  }

  /// @return empty when somebody else has locked it, or has put another file there
  private Optional<Taken> locked() throws IOException {
    try {
      Files.createFile(file());
    } catch (FileAlreadyExistsException left) {
      // A libvirt that was killed leaves it behind.
    }
    Object number;
    FileChannel opened;
    try {
      number = number();
      opened = FileChannel.open(file(), StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
    } catch (NoSuchFileException ended) {
      return Optional.empty();
    }
    Taken now = new Taken(opened, number);
    boolean kept = false;
    try {
      kept = isLocked(opened) && isThere(now);
    } finally {
      if (!kept) {
        opened.close();
      }
    }
    return kept ? Optional.of(now) : Optional.empty();
  }

  /// Locks what libvirt locks: the first byte.
  private static boolean isLocked(FileChannel file) throws IOException {
    try {
      return file.tryLock(0, 1, false) != null;
    } catch (OverlappingFileLockException other) {
      return false;
    }
  }

  private Object number() throws IOException {
    return Files.getAttribute(file(), "unix:ino", LinkOption.NOFOLLOW_LINKS);
  }

  private boolean isThere(Taken one) {
    try {
      return one.number().equals(number());
    } catch (IOException gone) {
      return false;
    }
  }

  private boolean isTaken() {
    return taken.filter(this::isThere).isPresent();
  }

  /// What makes it unsure that no libvirt looks at domains; empty when none does. That is so if
  /// this daemon has the place, and no process of libvirt runs: an old one knows no such place.
  synchronized Optional<String> intruder() {
    List<Integer> running = new LibvirtProcesses(host.proc()).running();
    if (!running.isEmpty()) {
      return Optional.of(
          "Something else has started libvirt, which is process " + running.getFirst() + ".");
    }
    return isTaken()
        ? Optional.empty()
        : Optional.of("HyperFresh has not locked " + file() + ", so that libvirt can start.");
  }

  /// Gives it back. Does nothing when this daemon does not have it.
  synchronized void leave() {
    Optional<Taken> before = taken;
    taken = Optional.empty();
    before.ifPresent(this::close);
  }

  /// As libvirt does, before it is closed: whoever waits for it sees that it is another file.
  private void close(Taken one) {
    try (FileChannel _ = one.file()) {
      if (isThere(one)) {
        Files.deleteIfExists(file());
      }
    } catch (IOException e) {
      LOG.log(System.Logger.Level.WARNING, file() + " stays", e);
    }
  }
}
