package dev.hyperfresh.relocation;

import dev.hyperfresh.vm.VmRelease;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.regex.Pattern;

/// A kernel and an initramfs with runc, CRIU and the agent in it: an operating system for
/// containers. Immutable.
///
/// @param name such as `os-6.12.95+trixie`
/// @param kernelVersion the kernel's own version, such as `6.12.95`
/// @param kernelRelease as `uname -r` says it inside
/// @param userland Debian's name of the release that runc and CRIU are from
/// @param criuVersion Debian's version of CRIU
/// @param runcVersion Debian's version of runc
/// @param kernel the kernel's image
/// @param initrd the whole user space, an uncompressed initramfs
/// @param fileServer the program on this host that serves folders to the OS, and its fixed
///   arguments
/// @param kernelSha256 of the image when it was built
/// @param sha256 of the initramfs when it was built
/// @param sourcesSha256 of what the initramfs was built from, packages left out
/// @param source where the parts came from, for people
public record OsRelease(
    String name,
    String kernelVersion,
    String kernelRelease,
    String userland,
    String criuVersion,
    String runcVersion,
    Path kernel,
    Path initrd,
    FileServer fileServer,
    String kernelSha256,
    String sha256,
    String sourcesSha256,
    String source)
    implements VmRelease {

  /// With what names begin.
  public static final String KIND = "os";

  /// virtiofsd, of which there are two: QEMU's own in C, up to QEMU 7.2, and its successor in Rust.
  ///
  /// @param program the binary
  /// @param libraries folders with libraries that this host lacks
  /// @param isSuccessor whether it is the one in Rust, whose options differ
  public record FileServer(Path program, List<Path> libraries, boolean isSuccessor) {
    /// Copies the list.
    public FileServer {
      libraries = List.copyOf(libraries);
    }
  }

  /// Oldest kernel first.
  static final Comparator<OsRelease> BY_VERSION =
      Comparator.comparing(release -> numbers(release.kernelVersion()), Arrays::compare);

  private static final Pattern NUMBER = Pattern.compile("[0-9]{1,9}");

  private static int[] numbers(String version) {
    return NUMBER.matcher(version).results().mapToInt(n -> Integer.parseInt(n.group())).toArray();
  }

  /// Whether this is the release that `wanted` names, or one of the series: `os-6.12`,
  /// `os-6.12+trixie` and the full name all fit `os-6.12.95+trixie`.
  @Override
  public boolean meets(String wanted) {
    String[] part = wanted.split("\\+", 2);
    String kernel = KIND + "-" + kernelVersion;
    return (part[0].equals(kernel) || kernel.startsWith(part[0] + "."))
        && (part.length == 1 || part[1].equals(userland));
  }
}
