package dev.hyperfresh.testkit;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/// The descriptors that are open in this process.
///
/// @param targets what each leads to, in the order of the words; of sockets and pipes only the
///   kind, since each has a number of its own
record OpenDescriptors(List<String> targets) {
  static OpenDescriptors now() {
    try (Stream<Path> links = Files.list(Path.of("/proc/self/fd"))) {
      return new OpenDescriptors(
          links
              .flatMap(link -> target(link).stream())
              .map(target -> target.replaceFirst("^(socket|pipe):.*", "$1"))
              .sorted()
              .toList());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Optional<String> target(Path link) {
    try {
      return Optional.of(Files.readSymbolicLink(link).toString());
    } catch (IOException e) {
      // Closed since it was listed.
      return Optional.empty();
    }
  }

  int count() {
    return targets.size();
  }

  /// Those of memories of guests.
  List<String> guestMemories() {
    return targets.stream().filter(target -> target.startsWith("/memfd:hf-")).toList();
  }

  /// What is open here beyond what was open `before`.
  List<String> openedSince(OpenDescriptors before) {
    List<String> more = new ArrayList<>(targets);
    before.targets.forEach(more::remove);
    return more;
  }
}
