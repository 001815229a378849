package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.ProcFs;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/// The swtpm of a QEMU that something else started: with which rights it runs and where it keeps
/// the state of the TPM, so that those of later instances do likewise. It is asked nothing: it
/// serves its QEMU alone.
final class ForeignSwtpm {
  private static final String NAME = "swtpm";

  /// In the link to a program whose file is gone.
  private static final String DELETED = " (deleted)";

  private final ForeignProcess process;
  private final List<String> reasons = new ArrayList<>();
  private final List<String> remarks = new ArrayList<>();
  private Optional<GuestTpm> tpm = Optional.empty();

  private ForeignSwtpm(int pid) {
    this.process = new ForeignProcess(pid);
  }

  /// Why it cannot be followed, one sentence each.
  List<String> reasons() {
    return reasons;
  }

  /// What its owner should know.
  List<String> remarks() {
    return remarks;
  }

  /// What later ones are started with; empty when there are reasons against it.
  Optional<GuestTpm> tpm() {
    return reasons.isEmpty() ? tpm : Optional.empty();
  }

  /// The one that listens at `socket`.
  ///
  /// @param files the guest's folder
  /// @param borrowed whether the guest has a manager that takes it back
  static ForeignSwtpm at(Path socket, Path files, boolean borrowed) {
    Optional<Integer> pid =
        ProcFs.HOST.pids().stream().filter(one -> listensAt(one, socket)).findFirst();
    ForeignSwtpm swtpm = new ForeignSwtpm(pid.orElse(0));
    if (pid.isEmpty()) {
      swtpm.reasons.add(
          "No swtpm that can be looked at listens at "
              + socket
              + ", to which its TPM is connected; run the daemon as root if it is another user's.");
      return swtpm;
    }
    try {
      swtpm.read(files, borrowed);
    } catch (IOException | UncheckedIOException e) {
      swtpm.against("cannot be looked at: " + e.getMessage());
    }
    return swtpm;
  }

  private static boolean listensAt(int pid, Path socket) {
    ForeignProcess process = new ForeignProcess(pid);
    try {
      if (!String.valueOf(program(process).getFileName()).equals(NAME)) {
        return false;
      }
      try (PidFd held = PidFd.open(pid)) {
        return process.sockets(held).values().stream()
            .anyMatch(place -> place.equals(socket) || process.isSame(socket, place));
      }
    } catch (IOException | LinuxException gone) {
      return false;
    }
  }

  private static Path program(ForeignProcess process) throws IOException {
    String program = Files.readSymbolicLink(process.program()).toString();
    return Path.of(
        program.endsWith(DELETED)
            ? program.substring(0, program.length() - DELETED.length())
            : program);
  }

  private void against(String clause) {
    reasons.add("Its swtpm, process " + process.pid() + ", " + clause + ".");
  }

  private void read(Path files, boolean borrowed) throws IOException {
    Optional<GuestTpm.First> first = GuestTpm.First.of(process.pid());
    ForeignUser who = ForeignUser.of(process.pid());
    who.reasons()
        .forEach(reason -> reasons.add("Of its swtpm, process " + process.pid() + ": " + reason));
    SwtpmOptions options = SwtpmOptions.parse(process.arguments(), process.folder());
    options.faults().forEach(this::against);
    Path program = program(process);
    if (!Files.isExecutable(program)) {
      against("was started from " + program + ", which is not there any more");
    } else if (!List.of(0, who.rights().uid())
        .contains((int) Files.getAttribute(program, "unix:uid"))) {
      against("was started from " + program + ", which belongs to another user");
    }
    if (!reasons.isEmpty()) {
      return;
    }
    Path folder = options.state().orElse(files.resolve(GuestTpm.FOLDER));
    tpm =
        Optional.of(
            new GuestTpm(program, folder, options.isTwo(), Optional.of(who.rights()), first));
    if (options.state().isPresent()) {
      checkFolder(tpm.get());
    } else if (borrowed) {
      against("keeps the state in a file or on a device, where its manager would find an old one");
    } else {
      remarks.add(
          "With its first replacement, the state of its TPM leaves the file in which its swtpm keeps"
              + " it, for the folder "
              + folder
              + ". A guest that is stopped before is not started here.");
    }
  }

  private void checkFolder(GuestTpm one) {
    if (!process.sees(one.state())) {
      against("keeps the state in " + one.state() + ", which is missing or another folder here");
      return;
    }
    new TpmFolders(one, OptionalInt.empty(), _ -> Optional.empty())
        .obstacle()
        .ifPresent(reasons::add);
  }
}
