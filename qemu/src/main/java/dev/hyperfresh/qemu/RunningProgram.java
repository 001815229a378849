package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.FoundProcess;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.release.ReleaseFolders;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/// The program that a process runs which something else started: one file, whatever becomes of the
/// process and of its number.
///
/// @param process which runs it
/// @param named where the process found it
/// @param file the program itself, which this object owns
record RunningProgram(FoundProcess process, Path named, Fd file) implements AutoCloseable {
  /// More than any emulator has. A file of another user may have any length.
  static final long MOST_BYTES = 1L << 30;

  /// @throws IOException when it cannot be opened
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#ADOPT_UNFIT] when the process
  ///   is not the same any more, [Problem#ADOPT_REFUSED] when the program is too long
  static RunningProgram of(FoundProcess process) throws IOException {
    Path image = ProcFs.HOST.of(process.pid(), "exe");
    RunningProgram program =
        new RunningProgram(
            process, Files.readSymbolicLink(image), Fd.open(image, OpenFlags.READ_ONLY));
    try {
      process.requireSame();
      if (Files.size(program.held()) > MOST_BYTES) {
        throw Problem.ADOPT_REFUSED.because(
            "Its program has more than " + (MOST_BYTES >> 20) + " MiB, as no QEMU has.");
      }
      return program;
    } catch (IOException | RuntimeException e) {
      program.close();
      throw e;
    }
  }

  private Path held() {
    return Path.of(Descriptors.own(file.number()));
  }

  String sha256() {
    return ReleaseFolders.sha256(held());
  }

  /// As a release: of a process with all rights of this one alone, since it is run.
  ///
  /// @param sha256 of it
  /// @param arguments what a start of it needs
  /// @throws IOException when it cannot be copied
  StagedQemu staged(String sha256, List<String> arguments, Path staging) throws IOException {
    process.requireSame();
    Path binary = QemuCopy.ofProcess(named, held(), sha256, staging);
    List<Path> libraries = new ForeignProcess(process.pid()).libraries();
    // What was read by its number is its own, and it has not been another user's meanwhile.
    process.requireSame();
    return StagedQemu.of(
        staging, binary, sha256, arguments, libraries, named + " of process " + process.pid());
  }

  @Override
  public void close() {
    file.close();
  }
}
