package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.ProcFs;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// A process that something else started, as proc(5) shows it.
record ForeignProcess(int pid) {
  private static final String CHANGED = "unix:ctime";

  /// The kernel takes at most 6 MiB of arguments and environment (execve(2)).
  private static final int MAX_ENVIRONMENT = 6 << 20;

  /// `flags` in the description of a descriptor: octal, as open(2) takes them.
  private static final String FLAGS = "flags:";

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

  /// The user whose rights it has.
  int uid() throws IOException {
    return (int) Files.getAttribute(proc("."), "unix:uid");
  }

  boolean isInMyNetwork() throws IOException {
    return Files.readSymbolicLink(proc("ns/net"))
        .equals(Files.readSymbolicLink(Path.of("/proc/thread-self/ns/net")));
  }

  /// Whether a path is the same file for it as for this process.
  boolean sees(Path path) {
    try {
      return Files.isSameFile(path, proc("root").resolve(path.toString().substring(1)));
    } catch (IOException e) {
      return false;
    }
  }

  /// Whether there is such a file for it.
  boolean has(Path path) {
    return Files.exists(proc("root").resolve(path.toString().substring(1)));
  }

  /// Whether a file was changed after the process had started.
  boolean startedBefore(Path path) throws IOException {
    FileTime changed = (FileTime) Files.getAttribute(path, CHANGED);
    // Another file may have been put in its place by a link.
    FileTime link = (FileTime) Files.getAttribute(path, CHANGED, LinkOption.NOFOLLOW_LINKS);
    Instant start = startedAt();
    return changed.toInstant().isAfter(start) || link.toInstant().isAfter(start);
  }

  private Instant startedAt() throws IOException {
    // The time of boot is known to a second.
    Instant boot = ProcFs.HOST.bootedAt().plusSeconds(1);
    return ProcFs.HOST.startedAt(pid, boot).orElse(boot);
  }

  /// The descriptors through which it maps a whole file of `bytes` shared, one for each such file.
  List<Descriptor> sharedMemory(long bytes) throws IOException {
    Map<Long, Long> mapped = new HashMap<>();
    try (Stream<String> maps = Files.lines(proc("maps"), StandardCharsets.ISO_8859_1)) {
      // proc_pid_maps(5): address, permissions with `s` for shared, offset, device, inode, name.
      maps.map(line -> line.split(" +", 6))
          .filter(fields -> fields.length > 4 && fields[1].endsWith("s"))
          .forEach(fields -> mapped.merge(Long.valueOf(fields[4]), length(fields[0]), Long::sum));
    }
    Map<Long, Descriptor> found = new HashMap<>();
    for (Descriptor descriptor : descriptors()) {
      Path link = proc("fd").resolve(Integer.toString(descriptor.number()));
      if (descriptor.target().startsWith("/") && Files.isRegularFile(link)) {
        long inode = (long) Files.getAttribute(link, "unix:ino");
        if (Files.size(link) == bytes && mapped.getOrDefault(inode, 0L) == bytes) {
          found.putIfAbsent(inode, descriptor);
        }
      }
    }
    return List.copyOf(found.values());
  }

  /// Whether a file lies on a file system of huge pages; one that was unlinked does so, too.
  boolean hasHugePages(Descriptor descriptor) throws IOException {
    Path link = proc("fd").resolve(Integer.toString(descriptor.number()));
    long device = (long) Files.getAttribute(link, "unix:dev");
    try (Stream<String> mounts = Files.lines(proc("mountinfo"), StandardCharsets.UTF_8)) {
      return isOnHugePages(mounts, device);
    }
  }

  /// @param mounts as proc_pid_mountinfo(5) has them: number, parent, `major:minor` of the device,
  ///   and after a `-` the type of the file system
  /// @param device as stat(2) has it
  static boolean isOnHugePages(Stream<String> mounts, long device) {
    // gnu_dev_major(3): 12 and 20 bits of each in two pieces.
    long major = (device >>> 8 & 0xfff) | (device >>> 32 & 0xfffff000L);
    long minor = (device & 0xff) | (device >>> 12 & 0xffffff00L);
    String number = major + ":" + minor;
    return mounts
        .filter(line -> line.contains(" - hugetlbfs "))
        .anyMatch(line -> line.split(" ", 4)[2].equals(number));
  }

  private static long length(String range) {
    int dash = range.indexOf('-');
    return Long.parseUnsignedLong(range.substring(dash + 1), 16)
        - Long.parseUnsignedLong(range.substring(0, dash), 16);
  }

  /// Its descriptors of taps, by the name of the tap.
  Map<String, Integer> taps() throws IOException {
    Map<String, Integer> taps = new HashMap<>();
    for (Descriptor descriptor : descriptors()) {
      if (descriptor.target().equals("/dev/net/tun")) {
        tapName(descriptor.number()).ifPresent(name -> taps.put(name, descriptor.number()));
      }
    }
    return taps;
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
    Map<String, Path> logs = new HashMap<>();
    sets.forEach((set, descriptors) ->
        descriptors.stream()
            .flatMap(descriptor -> appended(descriptor).stream())
            .findFirst()
            .ifPresent(path -> logs.put(ForeignFolders.set(set), path)));
    return logs;
  }

  private Optional<Path> appended(int descriptor) {
    String number = Integer.toString(descriptor);
    Path link = proc("fd").resolve(number);
    try {
      Path file = Files.readSymbolicLink(link);
      try (Stream<String> lines = Files.lines(proc("fdinfo").resolve(number))) {
        boolean appends =
            lines
                .filter(line -> line.startsWith(FLAGS))
                .map(line -> Integer.parseInt(line.substring(FLAGS.length()).strip(), 8))
                .anyMatch(flags -> (flags & OpenFlags.APPEND) != 0);
        return appends && Files.isRegularFile(link) && Files.isSameFile(link, file)
            ? Optional.of(file)
            : Optional.empty();
      }
    } catch (IOException e) {
      // Closed, deleted, or in another mount namespace: there is no such path here.
      return Optional.empty();
    }
  }

  /// The text of a configuration file that it was started with.
  ///
  /// @param name as its command line has it
  /// @throws IOException when it cannot be read, or was changed since
  String configuration(String name) throws IOException {
    Path folder = folder();
    Path file =
        new ForeignFolders(folder, folder, Map.of())
            .path(name)
            .orElseThrow(() -> new IOException("its path cannot be understood"));
    if (!Files.isRegularFile(file) || !sees(file)) {
      throw new IOException("it is missing, or is a different file for this daemon");
    }
    byte[] text = BoundedFile.read(file, ForeignConfiguration.MAX_BYTES);
    // Looked at last: a change while it was read is seen, too.
    if (startedBefore(file)) {
      throw new IOException("it was changed since it was read; restore the old one");
    }
    return new String(text, StandardCharsets.UTF_8);
  }

  /// Whether it holds the socket that listens at `path`, which somebody else may have made.
  boolean listensAt(Path path) throws IOException {
    Set<String> inodes;
    try (Stream<String> lines = Files.lines(proc("net/unix"), StandardCharsets.UTF_8)) {
      // proc_net(5): number, references, protocol, flags, type, state, inode, path.
      inodes =
          lines
              .skip(1)
              .map(line -> line.strip().split(" +", 8))
              .filter(fields -> fields.length == 8 && isListening(fields[3]))
              .filter(fields -> fields[7].equals(path.toString()))
              .map(fields -> "socket:[" + fields[6] + "]")
              .collect(Collectors.toSet());
    }
    // One whose file was replaced still listens, and is found by nobody.
    Set<String> held = descriptors().stream().map(Descriptor::target).collect(Collectors.toSet());
    return !inodes.isEmpty() && held.containsAll(inodes);
  }

  // linux/net.h __SO_ACCEPTCON
  private static boolean isListening(String flags) {
    return (Long.parseLong(flags, 16) & 0x10000) != 0;
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
