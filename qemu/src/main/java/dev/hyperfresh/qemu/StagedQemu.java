package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.release.ReleaseFolders;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;

/// A QEMU that is to be a release, with what it says of itself. It has no name yet.
///
/// @param folder the staging folder
/// @param release whose paths lead into that folder
record StagedQemu(Path folder, QemuRelease release) {
  private static final String NAMELESS = "candidate";

  /// Asks a QEMU what it is.
  ///
  /// @param source where it came from, for people
  /// @throws HyperFreshException [Problem#RELEASE_DAMAGED] when it does not run
  static StagedQemu of(
      Path folder,
      Path binary,
      String sha256,
      List<String> arguments,
      List<Path> libraries,
      String source) {
    Set<String> unknown = Set.of();
    QemuRelease silent =
        new QemuRelease(
            NAMELESS, "", binary, arguments, libraries, sha256, unknown, unknown, unknown, source);
    QemuProbe.Answer answer = ask(silent, folder);
    return new StagedQemu(
        folder,
        new QemuRelease(
            NAMELESS,
            answer.version(),
            binary,
            arguments,
            libraries,
            sha256,
            answer.machines(),
            answer.cpus(),
            answer.capabilities(),
            answer.deprecated(),
            source));
  }

  /// Where packages have the emulator that were unpacked below `root` in a folder.
  static Path binary(Path folder) {
    return folder.resolve("root/usr/bin/qemu-system-x86_64");
  }

  /// The same of packages that were unpacked below `root` in the folder.
  static StagedQemu unpacked(Path folder, String source) {
    Path root = folder.resolve("root");
    Path binary = binary(folder);
    return of(
        folder,
        binary,
        ReleaseFolders.sha256(binary),
        List.of(
            "-L", root.resolve("usr/share/qemu").toString(),
            "-L", root.resolve("usr/share/seabios").toString()),
        List.of(root.resolve("usr/lib/x86_64-linux-gnu"), root.resolve("lib/x86_64-linux-gnu")),
        source);
  }

  /// What a release says of itself now.
  ///
  /// @param folder gets its log
  /// @throws HyperFreshException [Problem#RELEASE_DAMAGED] when it does not run
  static QemuProbe.Answer ask(QemuRelease release, Path folder) {
    try {
      return QemuProbe.ask(release, folder.resolve("probe.log"));
    } catch (Qmp.QmpException e) {
      throw Problem.RELEASE_DAMAGED.because(String.valueOf(e.getMessage()), e);
    }
  }

  /// The names that it may have, the best first.
  List<String> names() {
    return release
        .tunedName()
        .map(name -> List.of(name))
        .or(() ->
            release.packaged().map(packaged -> BuildName.ofPackage(release.version(), packaged)))
        .orElseGet(() -> BuildName.ofContents(release.version(), contents()));
  }

  private String contents() {
    return release.binary().startsWith(folder) ? ReleaseFolders.contents(folder) : release.sha256();
  }

  /// Whether it is the same build as an installed one.
  boolean isSame(QemuRelease other) {
    return release.sha256().equals(other.sha256()) && release.packaged().equals(other.packaged());
  }

  /// The same as the release `name`, with the paths that it will have.
  QemuRelease named(String name, ReleaseFolders folders) {
    return new QemuRelease(
        name,
        release.version(),
        folders.installed(release.binary(), folder, name),
        release.arguments().stream()
            .map(argument -> argument.replace(folder.toString(), folders.home(name).toString()))
            .toList(),
        release.libraries().stream().map(path -> folders.installed(path, folder, name)).toList(),
        release.sha256(),
        release.machines(),
        release.cpus(),
        release.capabilities(),
        release.deprecated(),
        release.source());
  }
}
