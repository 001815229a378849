package dev.hyperfresh.qemu;

import dev.hyperfresh.release.BuildRoom;
import dev.hyperfresh.release.DebianPackages;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// One build of an emulator, in a Debian of its own, behind the guests.
///
/// @param packages where the source comes from, and all that it is built with
/// @param work an empty folder
/// @param progress gets one line for each step
record TunedBuild(DebianPackages packages, Path work, Consumer<String> progress) {
  /// What the Debian is made of: what a package's own build may take for granted, and what
  /// `build.sh` switches on.
  private static final List<String> TOOLS =
      List.of(
          "base-files",
          "bash",
          "ca-certificates",
          "coreutils",
          "diffutils",
          "findutils",
          "gawk",
          "gcc",
          "grep",
          "gzip",
          "libaio-dev",
          "libbpf-dev",
          "libc6-dev",
          "libcacard-dev",
          "libcap-ng-dev",
          "libfdt-dev",
          "libglib2.0-dev",
          "libgnutls28-dev",
          "libjpeg-dev",
          "libnuma-dev",
          "libpixman-1-dev",
          "libpmem-dev",
          "libpng-dev",
          "libsasl2-dev",
          "libseccomp-dev",
          "libslirp-dev",
          "liburing-dev",
          "libusb-1.0-0-dev",
          "libusbredirparser-dev",
          "libzstd-dev",
          "meson",
          "nettle-dev",
          "ninja-build",
          "patch",
          "pkgconf",
          "python3",
          "python3-venv",
          "sed",
          "tar",
          "util-linux",
          "xz-utils",
          "zlib1g-dev");

  /// Seven minutes on two cores that do nothing else.
  private static final Duration LIMIT = Duration.ofHours(6);

  private static final String STEP = "step: ";

  /// What ninja says of each of its steps.
  private static final Pattern DONE = Pattern.compile("\\[([0-9]{1,6})/([0-9]{1,6})] .*");

  /// A line of progress for each part of so many percent.
  private static final int PART = 10;

  /// Builds the emulator.
  ///
  /// @param log gets what was said
  /// @return the program
  /// @throws IOException when it cannot be built, with what was said of that
  /// @throws DebianPackages.PackagesException when packages cannot be had, or it takes too long
  Path program(TunedQemu qemu, Path log) throws IOException {
    BuildRoom room = new BuildRoom(work);
    var _ = packages.unpack(TunedQemu.SUITE, TOOLS, true, room.root(), progress);
    Path inside = Files.createDirectories(room.root().resolve("build"));
    packages.source(TunedQemu.SUITE, "qemu", qemu.packaged(), inside, progress);
    TunedQemu.RECIPE.copyTo(inside.resolve("recipe"));
    int jobs = Runtime.getRuntime().availableProcessors();
    room.run(
        List.of("/usr/bin/bash", "/build/recipe/build.sh", qemu.packager(), Integer.toString(jobs)),
        log,
        LIMIT,
        new Steps(progress));
    return inside.resolve("qemu-system-x86_64");
  }

  /// Hears what a build says, and tells of its steps.
  static final class Steps implements Consumer<String> {
    private final Consumer<String> progress;
    private long told;

    Steps(Consumer<String> progress) {
      this.progress = progress;
    }

    @Override
    public void accept(String line) {
      if (line.startsWith(STEP)) {
        progress.accept(line.substring(STEP.length()));
        return;
      }
      Matcher done = DONE.matcher(line);
      if (done.matches()) {
        long all = Math.max(1, Long.parseLong(done.group(2)));
        long percent = Long.parseLong(done.group(1)) * 100 / all;
        if (percent >= told + PART) {
          told = percent - percent % PART;
          progress.accept("compiled " + told + " %");
        }
      }
    }
  }
}
