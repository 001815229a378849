package dev.hyperfresh.machine;

import dev.hyperfresh.vm.VirtualMachine;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Map;

/// What is plugged into a machine for one [Place], and how each thing is taken out again: the last
/// that was plugged in is the first to go. For one thread at a time, but for [#attempt].
final class Fittings {
  private final VirtualMachine vm;
  private final String id;

  /// Whether some of it may not be there.
  private final boolean partial;

  private final Deque<Runnable> undo = new ArrayDeque<>();

  /// @param id of the place, from which the names of everything follow
  /// @param partial whether some of what is to be taken out may not be there
  Fittings(VirtualMachine vm, String id, boolean partial) {
    this.vm = vm;
    this.id = id;
    this.partial = partial;
  }

  VirtualMachine vm() {
    return vm;
  }

  String id() {
    return id;
  }

  /// Something is there, which `step` takes out.
  void undoneBy(Runnable step) {
    undo.push(step);
  }

  /// A channel between this host and the machine, whose end inside is a [#port] of the same name.
  void channel(String name, String type, Map<String, ?> data) {
    vm.channels().add(name, type, data);
    undo.push(() -> vm.channels().remove(name));
  }

  /// @return the port's path inside
  String port(String channel) {
    String path = vm.channels().addPort(channel);
    undo.push(() -> vm.channels().removePort(channel));
    return path;
  }

  /// A channel and its port that an earlier daemon has made.
  void foundChannel(String name) {
    undo.push(() -> vm.channels().remove(name));
    undo.push(() -> vm.channels().removePort(name));
  }

  /// Does a step that takes something out; what goes wrong is told, unless that is no wonder. By
  /// any thread.
  void attempt(Runnable step) {
    if (partial) {
      vm.attempted(step);
    } else {
      vm.contained(step);
    }
  }

  /// Takes everything out, as long as the machine is there.
  void takeOut() {
    while (!undo.isEmpty()) {
      Runnable step = undo.pop();
      if (!vm.exited()) {
        attempt(step);
      }
    }
  }
}
