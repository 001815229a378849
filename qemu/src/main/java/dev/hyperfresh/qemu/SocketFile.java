package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Supplier;

/// The file of a unix socket, at which one process at a time listens. QEMU removes a file that is
/// in the way of its own, whatever it is and whoever listens there, and does not notice when
/// somebody removes its own.
///
/// @param path absolute
record SocketFile(String path) {
  private static final Duration PATIENCE = Duration.ofSeconds(1);

  /// Who listens at an address.
  enum Holder {
    NOBODY,
    QEMU,
    ANOTHER,
    /// There is a file that is no socket.
    NO_SOCKET;

    /// Why a QEMU is not to listen at `where`, if it is not.
    Optional<String> fault(String where) {
      return switch (this) {
        case NOBODY, QEMU -> Optional.empty();
        case ANOTHER -> Optional.of("another process listens at " + where);
        case NO_SOCKET -> Optional.of("there is a file at " + where + " that is no socket");
      };
    }
  }

  /// The folder in which it is.
  Path folder() {
    Path folder = Path.of(path).getParent();
    return folder == null ? Path.of("/") : folder;
  }

  private boolean isThere() {
    return Files.exists(Path.of(path));
  }

  /// Whether its file is there and is one of the user that a process is. Nobody else can have put
  /// it in the place of the process's own.
  boolean isOfUserOf(int pid) {
    try {
      int owner = (int) Files.getAttribute(Path.of(path), "unix:uid", LinkOption.NOFOLLOW_LINKS);
      OptionalInt user = ProcFs.HOST.uid(pid);
      return user.isPresent() && user.getAsInt() == owner;
    } catch (IOException e) {
      return false;
    }
  }

  /// Who listens there, by connecting to it.
  ///
  /// @param reporting the QEMU that says that it listens there, by its pid; empty when none does
  /// @param user who connects
  Holder holder(OptionalInt reporting, FileUser user) {
    return holder(reporting, () -> user.connect(Path.of(path), PATIENCE));
  }

  /// As [#holder(OptionalInt, FileUser)], of a socket that may be root's, and that no QEMU reports.
  Holder holderOfOwners(FileUser user) {
    return holder(OptionalInt.empty(), () -> user.connectAsOwner(Path.of(path), PATIENCE));
  }

  private Holder holder(OptionalInt reporting, Supplier<UnixSocket> connecting) {
    if (isThere() && !isSocket()) {
      return Holder.NO_SOCKET;
    }
    try (UnixSocket socket = connecting.get()) {
      boolean same = reporting.isPresent() && socket.peer().pid() == reporting.getAsInt();
      return same ? Holder.QEMU : Holder.ANOTHER;
    } catch (LinuxException e) {
      if (Set.of("ECONNREFUSED", "ENOENT").contains(e.errnoName())) {
        return Holder.NOBODY;
      }
      return reporting.isPresent() ? Holder.QEMU : Holder.ANOTHER;
    }
  }

  private boolean isSocket() {
    try {
      return Files.readAttributes(Path.of(path), BasicFileAttributes.class).isOther();
    } catch (IOException e) {
      // What it is is not known; connecting to it tells more.
      return true;
    }
  }
}
