package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.Collectors;

/// The files that a foreign process names, opened in the name of its user: the paths are the
/// user's, who may have put a link to somebody else's file there, or do so at any moment. What was
/// opened is looked at, and not the path once more.
///
/// @param user who opens them
/// @param own the folder that the process has from HyperFresh, if it was handed back: what is in it
///   are copies that this daemon has made
record ForeignFiles(ForeignProcess process, FileUser user, Optional<Path> own) {
  private static final Path KVM = Path.of("/dev/kvm");

  private static final String OWNER = "unix:uid";
  private static final String MODE = "unix:mode";

  // linux/stat.h S_ISVTX
  private static final int STICKY = 01000;

  private static final String PASSABLE = "rwxr-xr-x";
  private static final String READABLE = "rw-r--r--";

  /// Of a process that has none of HyperFresh's.
  ForeignFiles(ForeignProcess process, FileUser user) {
    this(process, user, Optional.empty());
  }

  /// What later instances would have to open and their user may not, one sentence each: the first
  /// process may have done so before it became that user.
  List<String> closed(ForeignCommandLine line, Accelerator accelerator) {
    Set<Path> written =
        line.disks().stream()
            .filter(disk -> !disk.readOnly())
            .map(Disk::path)
            .collect(Collectors.toSet());
    Map<Path, Integer> opened = new LinkedHashMap<>();
    line.secrets().forEach(file -> opened.put(file, OpenFlags.READ_ONLY));
    line.images()
        .forEach(file ->
            opened.put(file, written.contains(file) ? OpenFlags.READ_WRITE : OpenFlags.READ_ONLY));
    line.logs().stream()
        .filter(Files::exists)
        .forEach(file -> opened.put(file, OpenFlags.WRITE_ONLY | OpenFlags.APPEND));
    line.served().forEach(folder -> opened.put(folder, OpenFlags.READ_ONLY));
    if (accelerator == Accelerator.KVM) {
      opened.put(KVM, OpenFlags.READ_WRITE);
    }
    List<String> closed = new ArrayList<>();
    opened.forEach((file, flags) -> {
      if (!canOpen(file, flags)) {
        closed.add(
            "Its user may not open "
                + file
                + (flags == OpenFlags.READ_ONLY ? " to read" : " to write")
                + ", so later processes could not; permit it.");
      }
    });
    line.logs().stream()
        .filter(file -> !Files.exists(file) && !mayMake(file))
        .forEach(file ->
            closed.add(
                "Its user may not make the log "
                    + file
                    + ", so later processes could not; permit it."));
    return closed;
  }

  /// Whether the user may make a file, also in the place of one that is there. Where that cannot be
  /// told it is taken for granted.
  boolean mayMake(Path file) {
    Path folder = file.resolveSibling("");
    try (Fd _ = user.open(folder, OpenFlags.NAMELESS)) {
      return mayRemove(file, folder);
    } catch (LinuxException e) {
      return !Set.of("EACCES", "EPERM", "EROFS").contains(e.errnoName());
    }
  }

  /// In some folders only its owner may remove a file, or the folder's, or root.
  private boolean mayRemove(Path file, Path folder) {
    try {
      boolean everybodys = ((int) Files.getAttribute(folder, MODE) & STICKY) != 0;
      return !everybodys
          || !Files.exists(file, LinkOption.NOFOLLOW_LINKS)
          || user.uid() == 0
          || user.uid() == (int) Files.getAttribute(folder, OWNER)
          || user.uid() == (int) Files.getAttribute(file, OWNER, LinkOption.NOFOLLOW_LINKS);
    } catch (IOException e) {
      return true;
    }
  }

  private boolean canOpen(Path file, int flags) {
    try (Fd _ = user.open(file, flags)) {
      return true;
    } catch (LinuxException e) {
      return false;
    }
  }

  /// How long a file is; empty when it is none that the process sees and its user may read.
  OptionalLong length(Path file) {
    try (Fd opened = open(file)) {
      return OptionalLong.of(Files.size(path(opened)));
    } catch (IOException e) {
      return OptionalLong.empty();
    }
  }

  /// The text of a configuration file that the process was started with.
  ///
  /// @param name as its command line has it
  /// @throws IOException when it cannot be read, or was changed since
  String configuration(String name) throws IOException {
    Path folder = process.folder();
    Path file =
        new ForeignFolders(folder, folder, Map.of())
            .path(name)
            .orElseThrow(() -> new IOException("its path cannot be understood"));
    try (Fd opened = open(file)) {
      byte[] text = BoundedFile.read(path(opened), ForeignConfiguration.MAX_BYTES);
      // Looked at last: a change while it was read is seen, too.
      if (process.startedBefore(file) || process.startedBeforeChange(path(opened))) {
        throw new IOException("it was changed since it was read; restore the old one");
      }
      return new String(text, StandardCharsets.UTF_8);
    }
  }

  /// Copies a file, for everybody who can reach the copy.
  ///
  /// @param root the folder that the copies are in, which is there
  /// @param most how many bytes it may have
  /// @return how many it has
  /// @throws IOException when it cannot be read or written
  long copy(Path from, Path root, Path to, long most) throws IOException {
    try (Fd opened = open(from);
        FileChannel in = FileChannel.open(path(opened), StandardOpenOption.READ)) {
      long length = in.size();
      if (length > most) {
        throw new IOException("there is room for " + most + " bytes more, and it has " + length);
      }
      makeFolders(root, to.resolveSibling(""));
      copy(in, length, to);
      return length;
    }
  }

  private static void makeFolders(Path root, Path wanted) throws IOException {
    Path folder = root;
    for (Path part : root.relativize(wanted)) {
      folder = folder.resolve(part);
      if (!folder.equals(root)) {
        Files.createDirectories(folder);
        Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString(PASSABLE));
      }
    }
  }

  private static void copy(FileChannel in, long length, Path to) throws IOException {
    try (FileChannel out =
        FileChannel.open(
            to,
            StandardOpenOption.CREATE,
            StandardOpenOption.TRUNCATE_EXISTING,
            StandardOpenOption.WRITE)) {
      for (long done = 0; done < length; ) {
        long moved = in.transferTo(done, length - done, out);
        if (moved <= 0) {
          throw new IOException("it was cut while it was copied");
        }
        done += moved;
      }
    }
    Files.setPosixFilePermissions(to, PosixFilePermissions.fromString(READABLE));
  }

  /// @throws IOException when the user may not read it, or it is no file, or another one than the
  ///   process sees
  private Fd open(Path file) throws IOException {
    Fd opened;
    try {
      boolean isOwn = own.filter(file.normalize()::startsWith).isPresent();
      opened = (isOwn ? FileUser.SELF : user).open(file, OpenFlags.READ_ONLY);
    } catch (LinuxException e) {
      throw new IOException(
          e.errnoName().equals("EACCES") ? "its user may not read it" : "it is missing", e);
    }
    if (Files.isRegularFile(path(opened)) && process.isSame(path(opened), file)) {
      return opened;
    }
    opened.close();
    throw new IOException("it is missing, no plain file, or a different file for this daemon");
  }

  private static Path path(Fd opened) {
    return Path.of(Descriptors.own(opened.number()));
  }
}
