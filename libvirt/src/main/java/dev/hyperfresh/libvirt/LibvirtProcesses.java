package dev.hyperfresh.libvirt;

import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.ProcFs;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// The daemons of libvirt that look after QEMU, as the host's list of processes shows them: those
/// of this user and in the namespaces of this process.
///
/// @param proc that list
record LibvirtProcesses(ProcFs proc) {
  private static final List<String> NAMES = List.of("libvirtd", "virtqemud");
  private static final String DELETED = " (deleted)";

  /// Where there is another one of these, a process started by this one would not be as it was.
  private static final List<String> NAMESPACES = List.of("mnt", "net", "pid", "uts", "ipc");

  /// The numbers of those that run, but for children that have not become something else yet.
  List<Integer> running() {
    List<Integer> all = proc.pids().stream().filter(this::isOne).toList();
    return all.stream().filter(pid -> parent(pid).filter(all::contains).isEmpty()).toList();
  }

  private static Optional<Integer> parent(int pid) {
    return ProcessHandle.of(pid)
        .flatMap(ProcessHandle::parent)
        .map(parent -> Math.toIntExact(parent.pid()));
  }

  private boolean isOne(int pid) {
    return program(pid)
            .filter(file -> NAMES.contains(String.valueOf(file.getFileName())))
            .isPresent()
        && proc.uid(pid).orElse(-1) == Host.effectiveUid()
        && NAMESPACES.stream().allMatch(kind -> isShared(pid, kind));
  }

  private boolean isShared(int pid, String kind) {
    Optional<String> its = proc.namespace(pid, kind);
    int self = Math.toIntExact(ProcessHandle.current().pid());
    return its.isPresent() && its.equals(proc.namespace(self, kind));
  }

  /// The file from which one was started; another build may be there by now.
  Optional<Path> program(int pid) {
    try {
      String file = Files.readSymbolicLink(proc.of(pid, "exe")).toString();
      return Optional.of(
          Path.of(
              file.endsWith(DELETED) ? file.substring(0, file.length() - DELETED.length()) : file));
    } catch (IOException closed) {
      return Optional.empty();
    }
  }
}
