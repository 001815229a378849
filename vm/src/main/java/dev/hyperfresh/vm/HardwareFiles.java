package dev.hyperfresh.vm;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalInt;
import java.util.function.Predicate;
import java.util.stream.Stream;

/// What the hardware of a virtual machine has open of a guest or a port, found in proc(5) by what
/// it is.
public final class HardwareFiles {
  private HardwareFiles() {}

  /// The number of the descriptor that is the memory of guest `name`.
  ///
  /// @throws TroubleException when there is none
  public static int memory(int pid, String name) {
    Path wanted = Path.of("/memfd:hf-" + name + " (deleted)");
    return find(pid, "memory of " + name, file -> target(file).equals(wanted));
  }

  /// The number of the descriptor that is a queue of the tap called `name`.
  ///
  /// @throws TroubleException when there is none
  public static int queue(int pid, String name) {
    return find(pid, "queue of port " + name, file -> attachedTo(pid, file, name));
  }

  /// Whether there is a descriptor that is a queue of the tap called `name`.
  static boolean hasQueue(int pid, String name) {
    return look(pid, file -> attachedTo(pid, file, name)).isPresent();
  }

  private static int find(int pid, String what, Predicate<Path> wanted) {
    return look(pid, wanted)
        .orElseThrow(() -> new TroubleException("process " + pid + " has no " + what));
  }

  private static OptionalInt look(int pid, Predicate<Path> wanted) {
    Path folder = Path.of("/proc", Integer.toString(pid), "fd");
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .filter(wanted)
          .mapToInt(file -> Integer.parseInt(String.valueOf(file.getFileName())))
          .min();
    } catch (IOException | UncheckedIOException e) {
      throw new TroubleException("process " + pid + ": " + e.getMessage(), e);
    }
  }

  private static Path target(Path descriptor) {
    try {
      return Files.readSymbolicLink(descriptor);
    } catch (IOException e) {
      // Closed since it was listed.
      return Path.of("");
    }
  }

  /// `iff` of a tun device's fdinfo is the name of the interface, after a tabulator. Its path says
  /// less: it reads differently where the daemon that opened it had other mounts.
  private static boolean attachedTo(int pid, Path descriptor, String name) {
    Path info =
        Path.of("/proc", Integer.toString(pid), "fdinfo", String.valueOf(descriptor.getFileName()));
    try (Stream<String> lines = Files.lines(info)) {
      return lines.anyMatch(line -> line.equals("iff:\t" + name));
    } catch (IOException | UncheckedIOException e) {
      return false;
    }
  }
}
