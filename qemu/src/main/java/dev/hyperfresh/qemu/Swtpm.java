package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.ProcessRights;
import dev.hyperfresh.linux.Siblings;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.linux.Unprivileged;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/// A process of swtpm that serves one QEMU, of which it gets its socket; it finds the folder for
/// its state by a descriptor. It ends with the QEMU: QEMU tells it to, and where QEMU was killed it
/// loses its connection. So nobody has to watch it, and the next daemon need not know it.
///
/// @param process the swtpm
/// @param control the QEMU's end of its control channel
record Swtpm(ChildProcess process, Fd control) implements AutoCloseable {
  private static final int CONTROL = 3;
  private static final int FOLDER = 4;
  private static final String REHEARSED = "tpm-";

  /// The folders of one guest's TPM, if it has one.
  static Optional<TpmFolders> folders(Launch launch) {
    return GuestTpm.of(launch).map(tpm -> folders(tpm, launch));
  }

  private static TpmFolders folders(GuestTpm tpm, Launch launch) {
    return new TpmFolders(
        tpm,
        launch.confinement().user(),
        generation -> RunStates.ofLog(Qemu.log(launch.files(), generation)));
  }

  /// Starts one for an instance, if the guest has a TPM.
  ///
  /// @param waiting whether the instance gets the guest's state from another one
  /// @throws IOException when its folder cannot be made or found
  /// @throws LinuxException when it cannot be started
  static Optional<Swtpm> start(Launch launch, boolean waiting) throws IOException {
    Optional<GuestTpm> tpm = GuestTpm.of(launch);
    if (tpm.isEmpty()) {
      return Optional.empty();
    }
    requireProgram(tpm.get());
    TpmFolders folders = folders(tpm.get(), launch);
    try (Fd folder = waiting ? folders.ofTarget(launch.generation()) : folders.ofFirst()) {
      Path log = log(launch.files(), launch.generation());
      Files.deleteIfExists(log);
      return Optional.of(start(tpm.get(), launch, folder, log));
    }
  }

  /// Starts one with an empty TPM for a process of a rehearsal, if the guest has a TPM.
  ///
  /// @param log of that process; the swtpm's folder is beside it and has a name like it
  /// @throws IOException when its folder cannot be made
  /// @throws LinuxException when it cannot be started
  static Optional<Swtpm> rehearse(Launch launch, Path log) throws IOException {
    Optional<GuestTpm> tpm = GuestTpm.of(launch);
    if (tpm.isEmpty()) {
      return Optional.empty();
    }
    requireProgram(tpm.get());
    try (Siblings files = Siblings.in(log.resolveSibling(""));
        Fd folder = folders(tpm.get(), launch).owned(files.make(scratch(log)))) {
      return Optional.of(start(tpm.get(), launch, folder, log));
    }
  }

  /// Ends one of [#rehearse] and removes its folder.
  void forget(Path log) {
    end();
    try (Siblings files = Siblings.in(log.resolveSibling(""))) {
      files.remove(scratch(log));
    } catch (IOException | LinuxException e) {
      throw new IllegalStateException(scratch(log) + " cannot be removed", e);
    }
  }

  private static String scratch(Path log) {
    return GuestProcesses.REHEARSAL + REHEARSED + log.getFileName();
  }

  /// What an instance's swtpm printed.
  static Path log(Path files, int generation) {
    return files.resolve("tpm-" + generation + ".log");
  }

  /// Why an instance did not start, with what its swtpm said of that.
  static String explained(Launch launch, String why) {
    String said =
        why.contains("tpm") ? Qemu.lastLines(log(launch.files(), launch.generation()), "") : "";
    return why + (said.isEmpty() ? "" : " / " + said);
  }

  private static void requireProgram(GuestTpm tpm) throws IOException {
    if (!Files.isExecutable(tpm.program())) {
      throw new IOException(tpm.program() + ", which emulates its TPM, is not installed any more");
    }
  }

  private static Swtpm start(GuestTpm tpm, Launch launch, Fd folder, Path log) {
    UnixSocket.Pair control = UnixSocket.pair();
    try {
      ChildProcess.Request request =
          new ChildProcess.Request(
              withRights(command(tpm), tpm, launch),
              Map.of("LC_ALL", "C", "PATH", "/usr/bin:/bin"),
              Map.of(CONTROL, control.right().fd(), FOLDER, folder),
              log,
              true);
      ChildProcess process = launch.confinement().within(() -> ChildProcess.spawn(request));
      return new Swtpm(process, control.left().fd());
    } catch (RuntimeException e) {
      control.left().close();
      throw e;
    } finally {
      // One that dies must end the connection.
      control.right().close();
    }
  }

  static List<String> command(GuestTpm tpm) {
    List<String> command = new ArrayList<>(List.of(tpm.program().toString(), "socket"));
    if (tpm.isTwo()) {
      command.add("--tpm2");
    }
    command.addAll(List.of("--ctrl", "type=unixio,clientfd=" + CONTROL));
    command.addAll(List.of("--tpmstate", "dir=" + Descriptors.own(FOLDER) + ",mode=0600"));
    command.add("--terminate");
    return command;
  }

  private static List<String> withRights(List<String> command, GuestTpm tpm, Launch launch) {
    if (tpm.rights().isPresent()) {
      ProcessRights rights = tpm.rights().get();
      ProcessRights mine = QemuUser.rightsOfThisProcess();
      return rights.differFrom(mine)
          ? Unprivileged.command(Unprivileged.labelled(command, rights), Map.of(), rights, mine)
          : command;
    }
    OptionalInt user = launch.confinement().user();
    return user.isPresent()
        ? Unprivileged.command(command, Map.of(), user.getAsInt(), OptionalInt.empty())
        : command;
  }

  /// Where QEMU did not come to be its client: nothing ends it then.
  void end() {
    process.kill();
    var _ = process.waitFor();
    process.close();
  }

  /// Lets go of QEMU's end, which QEMU has by now.
  @Override
  public void close() {
    control.close();
  }
}
