package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MacVtap;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.ProcessMemory;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiPredicate;
import java.util.function.Function;
import java.util.stream.Stream;

/// A process that something else started, as proc(5) shows it.
record ForeignProcess(int pid) {
  private static final String CHANGED = "unix:ctime";

  // linux/stat.h S_IFMT, S_IFCHR, S_IFBLK
  private static final int KIND = 0170000;
  private static final int CHARACTERS = 0020000;
  private static final int BLOCKS = 0060000;

  /// The kernel takes at most 6 MiB of arguments and environment (execve(2)).
  private static final int MAX_ENVIRONMENT = 6 << 20;

  /// `flags` in the description of a descriptor: octal, as open(2) takes them.
  private static final String FLAGS = "flags:";

  // linux/stat.h S_IFMT, S_IFBLK
  private static final int KIND_OF_FILE = 0170000;

  private static final int BLOCK_DEVICE = 0060000;

  private static final String MODE = "unix:mode";

  private static final String LIBRARY_PATH = "LD_LIBRARY_PATH=";

  /// A descriptor of the process.
  ///
  /// @param target what its link says
  record Descriptor(int number, String target) {}

  /// Its arguments, the program's name not among them.
  ///
  /// @throws IOException when there is no such process, or it may not be looked at, or its command
  ///   line is longer than [ForeignCommandLine#MAX_BYTES]
  List<String> arguments() throws IOException {
    byte[] bytes;
    try (InputStream in = Files.newInputStream(proc("cmdline"))) {
      bytes = in.readNBytes(ForeignCommandLine.MAX_BYTES + 1);
    }
    if (bytes.length > ForeignCommandLine.MAX_BYTES) {
      throw new IOException(
          "its command line is longer than " + ForeignCommandLine.MAX_BYTES + " bytes");
    }
    String text = new String(bytes, StandardCharsets.UTF_8);
    if (text.isEmpty()) {
      throw new IOException("it has no command line");
    }
    String[] words = text.substring(0, text.length() - 1).split("\0", -1);
    return List.of(words).subList(1, words.length);
  }

  /// Its network namespace.
  Path network() {
    return proc("ns/net");
  }

  /// Its working folder.
  Path folder() throws IOException {
    return Files.readSymbolicLink(proc("cwd"));
  }

  /// Its program, which can be started again by this path even if its file is gone.
  Path program() {
    return proc("exe");
  }

  /// The folders of libraries that it was started with.
  List<Path> libraries() throws IOException {
    byte[] environment = BoundedFile.read(proc("environ"), MAX_ENVIRONMENT);
    return Arrays.stream(new String(environment, StandardCharsets.UTF_8).split("\0"))
        .filter(entry -> entry.startsWith(LIBRARY_PATH))
        .flatMap(entry -> Arrays.stream(entry.substring(LIBRARY_PATH.length()).split(":")))
        .filter(folder -> folder.startsWith("/"))
        .map(Path::of)
        .toList();
  }

  boolean isInMyNetwork() throws IOException {
    return Files.readSymbolicLink(proc("ns/net"))
        .equals(Files.readSymbolicLink(Path.of("/proc/thread-self/ns/net")));
  }

  boolean isInMyMounts() throws IOException {
    return Files.readSymbolicLink(proc("ns/mnt"))
        .equals(Files.readSymbolicLink(Path.of("/proc/thread-self/ns/mnt")));
  }

  /// Whether a path is the same file for it as for this process.
  boolean sees(Path path) {
    return isSame(path, path);
  }

  /// Whether `here`, a path of this process, leads to the file that it finds at `path`. A device is
  /// the same by its number, whatever file leads to it: some processes have a `/dev` of their own.
  boolean isSame(Path here, Path path) {
    Path there = proc("root").resolve(path.toString().substring(1));
    try {
      return Files.isSameFile(here, there)
          || device(here).filter(device -> device(there).equals(Optional.of(device))).isPresent();
    } catch (IOException e) {
      return false;
    }
  }

  /// The kind and the number of a device; empty of what is none.
  private static Optional<String> device(Path file) {
    try {
      int kind = (int) Files.getAttribute(file, "unix:mode") & KIND;
      return kind == CHARACTERS || kind == BLOCKS
          ? Optional.of(kind + ":" + Files.getAttribute(file, "unix:rdev"))
          : Optional.empty();
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  /// Whether there is such a file for it.
  boolean has(Path path) {
    return Files.exists(proc("root").resolve(path.toString().substring(1)));
  }

  /// Whether a file was changed after the process had started.
  boolean startedBefore(Path path) throws IOException {
    // Another file may have been put in its place by a link.
    return startedBeforeChange(path) || startedBeforeChange(path, LinkOption.NOFOLLOW_LINKS);
  }

  /// As [#startedBefore], of the file alone that a path leads to.
  boolean startedBeforeChange(Path path, LinkOption... how) throws IOException {
    FileTime changed = (FileTime) Files.getAttribute(path, CHANGED, how);
    return changed.toInstant().isAfter(startedAt());
  }

  private Instant startedAt() throws IOException {
    // The time of boot is known to a second.
    Instant boot = ProcFs.HOST.bootedAt().plusSeconds(1);
    return ProcFs.HOST.startedAt(pid, boot).orElse(boot);
  }

  /// The descriptor of the file that it maps at `address` and from there on over `bytes`, so that
  /// others see what is written; empty when it does not, or that is no plain file, or which file it
  /// is cannot be told.
  Optional<Descriptor> sharedMemory(long address, long bytes) throws IOException {
    List<ProcessMemory.Mapped> files = ProcessMemory.files(pid);
    Optional<ProcessMemory.Mapped> first =
        files.stream().filter(file -> file.shared() && contains(file.range(), address)).findFirst();
    if (first.isEmpty() || covered(files, first.get(), address, bytes) != bytes) {
      return Optional.empty();
    }
    Map<String, Descriptor> found = new HashMap<>();
    for (Descriptor descriptor : descriptors()) {
      Path link = proc("fd").resolve(Integer.toString(descriptor.number()));
      if (descriptor.target().startsWith("/")
          && Files.isRegularFile(link)
          && (long) Files.getAttribute(link, "unix:ino") == first.get().inode()) {
        long device = (long) Files.getAttribute(link, "unix:dev");
        found.putIfAbsent(ProcessMemory.device(device), descriptor);
      }
    }
    // Some file systems have another number for their device here.
    return found.size() == 1
        ? found.values().stream().findFirst()
        : Optional.ofNullable(found.get(first.get().device()));
  }

  /// Where in the file that it is of the memory at `address` is.
  long placeInFile(long address) throws IOException {
    return ProcessMemory.files(pid).stream()
        .filter(file -> file.shared() && contains(file.range(), address))
        .mapToLong(file -> file.range().offset() + address - file.range().start())
        .findFirst()
        .orElse(0);
  }

  private static boolean contains(ProcessMemory range, long address) {
    return address >= range.start() && address < range.end();
  }

  /// How much of a memory is mapped from the file that it begins in, each part where it belongs.
  private static long covered(
      List<ProcessMemory.Mapped> files, ProcessMemory.Mapped first, long address, long bytes) {
    long place = first.range().start() - first.range().offset();
    return files.stream()
        .filter(file -> file.shared() && file.inode() == first.inode())
        .filter(file -> file.device().equals(first.device()))
        .map(ProcessMemory.Mapped::range)
        .filter(range -> range.start() - range.offset() == place)
        .mapToLong(
            range -> Math.min(range.end(), address + bytes) - Math.max(range.start(), address))
        .filter(length -> length > 0)
        .sum();
  }

  /// Its descriptors of taps, in their order, by the name of the tap.
  Map<String, List<Integer>> taps() throws IOException {
    Map<String, List<Integer>> taps = new HashMap<>();
    for (Descriptor descriptor : descriptors()) {
      if (descriptor.target().equals("/dev/net/tun")) {
        tapName(descriptor.number())
            .ifPresent(name ->
                taps.computeIfAbsent(name, _ -> new ArrayList<>()).add(descriptor.number()));
      }
    }
    taps.values().forEach(Collections::sort);
    return taps;
  }

  /// Whether one of its descriptors is a queue of a macvtap.
  boolean isMacvtap(int number) {
    return MacVtap.isOne(proc("fd").resolve(Integer.toString(number)));
  }

  /// `iff:` in the description of a descriptor of `/dev/net/tun`.
  private Optional<String> tapName(int number) throws IOException {
    try (Stream<String> lines = Files.lines(proc("fdinfo").resolve(Integer.toString(number)))) {
      return lines
          .filter(line -> line.startsWith("iff:"))
          .map(line -> line.substring("iff:".length()).strip())
          .findFirst();
    }
  }

  /// The files that it was passed open to append to, as `/dev/fdset/` and by the path under which
  /// this process has the same file.
  ///
  /// @param sets the descriptors of each set, by its number
  Map<String, Path> logs(Map<String, List<Integer>> sets) {
    return behind(
        sets, (link, flags) -> Files.isRegularFile(link) && (flags & OpenFlags.APPEND) != 0);
  }

  /// The images that it was passed open, likewise.
  Map<String, Path> images(Map<String, List<Integer>> sets) {
    return behind(sets, (link, _) -> Files.isRegularFile(link) || isBlockDevice(link));
  }

  private static boolean isBlockDevice(Path link) {
    try {
      return ((int) Files.getAttribute(link, MODE) & KIND_OF_FILE) == BLOCK_DEVICE;
    } catch (IOException e) {
      return false;
    }
  }

  private Map<String, Path> behind(
      Map<String, List<Integer>> sets, BiPredicate<Path, Integer> wanted) {
    Map<String, Path> files = new HashMap<>();
    sets.forEach((set, descriptors) ->
        descriptors.stream()
            .flatMap(descriptor -> behind(descriptor, wanted).stream())
            .findFirst()
            .ifPresent(path -> files.put(ForeignFolders.set(set), path)));
    return files;
  }

  /// @param wanted is given the link to what is open, and the flags of open(2)
  private Optional<Path> behind(int descriptor, BiPredicate<Path, Integer> wanted) {
    String number = Integer.toString(descriptor);
    Path link = proc("fd").resolve(number);
    try {
      Path file = Files.readSymbolicLink(link);
      try (Stream<String> lines = Files.lines(proc("fdinfo").resolve(number))) {
        boolean isWanted =
            lines
                .filter(line -> line.startsWith(FLAGS))
                .map(line -> Integer.parseInt(line.substring(FLAGS.length()).strip(), 8))
                .anyMatch(flags -> wanted.test(link, flags));
        return isWanted && Files.isSameFile(link, file) ? Optional.of(file) : Optional.empty();
      }
    } catch (IOException e) {
      // Closed, deleted, or in another mount namespace: there is no such path here.
      return Optional.empty();
    }
  }

  /// Connects to its control socket in the name of its user, who may have put a link to another
  /// socket there.
  ///
  /// @throws LinuxException when the user cannot be served there
  /// @throws QemuProcess.TroubleException when another process serves there
  UnixSocket connect(Path control, FileUser user, Duration patience) {
    return connect(control, user, patience, false);
  }

  /// As [#connect(Path, FileUser, Duration)].
  ///
  /// @param borrowed whether its manager, which is root, may have made the socket for itself
  UnixSocket connect(Path control, FileUser user, Duration patience, boolean borrowed) {
    UnixSocket socket =
        borrowed ? user.connectAsOwner(control, patience) : user.connect(control, patience);
    // A socket that was passed to the process belongs to whoever made it, by the kernel's account.
    int peer = socket.peer().pid();
    if (peer == pid || isListeningAt(control, peer)) {
      return socket;
    }
    socket.close();
    throw new QemuProcess.TroubleException(
        control + " belongs to process " + peer + ", not to " + pid);
  }

  private boolean isListeningAt(Path path, int maker) {
    try (PidFd held = PidFd.open(pid)) {
      return listensAt(path, maker, held);
    } catch (IOException | LinuxException gone) {
      return false;
    }
  }

  /// Whether it holds a socket that listens at `path`, as the kernel tells of its descriptors.
  ///
  /// @param maker the process that has it listen, which whoever connects to it is told
  /// @param held the same process
  boolean listensAt(Path path, int maker, PidFd held) throws IOException {
    return listeners(
            held, socket -> socket.peer().pid() == maker ? socket.listensAt() : Optional.empty())
        .containsValue(path);
  }

  /// The files at which it listens, by its descriptors, as the kernel tells.
  ///
  /// @param held the same process
  Map<Integer, Path> sockets(PidFd held) throws IOException {
    return listeners(held, UnixSocket::listensAt);
  }

  private Map<Integer, Path> listeners(PidFd held, Function<UnixSocket, Optional<Path>> place)
      throws IOException {
    Map<Integer, Path> sockets = new HashMap<>();
    for (Descriptor descriptor : descriptors()) {
      if (descriptor.target().startsWith("socket:[")) {
        // A path that only its maker understands is no place for another process.
        asked(held, descriptor.number(), place)
            .filter(Path::isAbsolute)
            .map(BesideSocket::found)
            .ifPresent(path -> sockets.put(descriptor.number(), path));
      }
    }
    return sockets;
  }

  private static Optional<Path> asked(
      PidFd held, int number, Function<UnixSocket, Optional<Path>> place) {
    try (UnixSocket socket = UnixSocket.adopt(held.takeFd(number))) {
      return place.apply(socket);
    } catch (LinuxException e) {
      // One that was closed meanwhile is none.
      return Optional.empty();
    }
  }

  private List<Descriptor> descriptors() throws IOException {
    List<Descriptor> descriptors = new ArrayList<>();
    try (Stream<Path> links = Files.list(proc("fd"))) {
      for (Path link : links.toList()) {
        int number = Integer.parseInt(String.valueOf(link.getFileName()));
        // A descriptor that was closed meanwhile is none.
        readLink(link).ifPresent(target -> descriptors.add(new Descriptor(number, target)));
      }
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
    return descriptors;
  }

  private static Optional<String> readLink(Path link) {
    try {
      return Optional.of(Files.readSymbolicLink(link).toString());
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private Path proc(String entry) {
    return Path.of("/proc", Integer.toString(pid), entry);
  }
}
