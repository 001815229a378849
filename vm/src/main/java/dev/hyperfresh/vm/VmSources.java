package dev.hyperfresh.vm;

import dev.hyperfresh.release.ImageSources;
import java.util.List;
import java.util.stream.Stream;

/// What the images of all kinds of virtual machines are built from. Resources have their absolute
/// names. They come to lie in one folder when an image is built, so that no two may be called the
/// same there.
public final class VmSources {
  /// How an archive is written.
  private static final String ARCHIVE = "/image/archive.sh";

  /// The agent, and `agent.sh`, which compiles it.
  static final List<String> AGENT =
      Stream.of(
              "agent.sh",
              "agent.c",
              "agent.h",
              "answer.c",
              "answer.h",
              "boot.c",
              "boot.h",
              "clocks.c",
              "clocks.h",
              "copy.c",
              "copy.h",
              "host.c",
              "host.h",
              "inspect.c",
              "launch.c",
              "launch.h",
              "links.c",
              "links.h",
              "loop.c",
              "loop.h",
              "machine.c",
              "machine.h",
              "outlets.c",
              "outlets.h",
              "programs.c",
              "programs.h",
              "requests.c",
              "requests.h",
              "slots.c",
              "text.c",
              "text.h",
              "verbs.h",
              "waits.c",
              "waits.h",
              "wire.c",
              "wire.h")
          .map(file -> "/agent/" + file)
          .toList();

  private VmSources() {}

  /// The sources of one kind's images.
  ///
  /// @param own what only that kind has; the first is the script that builds them
  public static ImageSources with(List<String> own) {
    return new ImageSources(Stream.of(own, List.of(ARCHIVE), AGENT).flatMap(List::stream).toList());
  }
}
