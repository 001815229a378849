package dev.hyperfresh.vm;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiConsumer;
import tools.jackson.databind.JsonNode;

/// Descriptors of ours that the hardware of a virtual machine has: lent for a moment, kept for the
/// next daemon, or in use, and copied back from it. Thread-safe.
public final class VmDescriptors {
  private final VmControl control;
  private final VmProcess process;

  VmDescriptors(VmControl control, VmProcess process) {
    this.control = control;
    this.process = process;
  }

  /// Gives the hardware a copy of a descriptor, has it used, and takes the copy back.
  ///
  /// @param use gets the number of the set and of the descriptor
  public void lend(Fd descriptor, BiConsumer<Integer, Integer> use) {
    JsonNode lent = control.execute("add-fd", Map.of(), descriptor);
    int set = lent.path("fdset-id").asInt();
    try {
      use.accept(set, lent.path("fd").asInt());
    } finally {
      forget(set);
    }
  }

  /// Gives the hardware a copy of a descriptor to keep for the next daemon.
  public void keep(String name, Fd descriptor) {
    control.execute("add-fd", Map.of("opaque", name), descriptor);
  }

  /// Has the hardware close what it keeps under that name.
  public void forget(String name) {
    sets()
        .forEach(set -> {
          if (names(set).contains(name)) {
            forget(set.path("fdset-id").asInt());
          }
        });
  }

  /// What was only lent, by a daemon that did not live to take it back. It would keep pipes open.
  public void forgetUnnamed() {
    sets()
        .forEach(set -> {
          if (names(set).stream().allMatch(String::isEmpty)) {
            control.contained(() -> forget(set.path("fdset-id").asInt()));
          }
        });
  }

  private JsonNode sets() {
    return control.execute("query-fdsets", Map.of());
  }

  private static List<String> names(JsonNode set) {
    List<String> names = new ArrayList<>();
    set.path("fds").forEach(fd -> names.add(fd.path("opaque").asString("")));
    return names;
  }

  private void forget(int set) {
    control.execute("remove-fd", Map.of("fdset-id", set));
  }

  /// A copy of what the hardware keeps under that name, if it does.
  ///
  /// @throws TroubleException when it may not be copied
  public Optional<Fd> kept(String name) {
    for (JsonNode set : sets()) {
      for (JsonNode fd : set.path("fds")) {
        if (fd.path("opaque").asString("").equals(name)) {
          return Optional.of(copy(fd.path("fd").asInt()));
        }
      }
    }
    return Optional.empty();
  }

  /// Whether the hardware has a queue of the tap called `name`.
  public boolean hasQueue(String name) {
    return HardwareFiles.hasQueue(process.pid(), name);
  }

  /// A copy of the queue that the hardware has of the tap called `name`.
  ///
  /// @throws TroubleException when it has none, or it may not be copied
  public Fd copyQueue(String name) {
    return copy(HardwareFiles.queue(process.pid(), name));
  }

  /// A copy of a descriptor of the hardware.
  ///
  /// @throws TroubleException when it may not be copied
  public Fd copy(int number) {
    try {
      return process.pidFd().takeFd(number);
    } catch (LinuxException e) {
      throw new TroubleException(control.label() + ": " + e.getMessage(), e);
    }
  }
}
