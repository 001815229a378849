package dev.hyperfresh.vm;

import java.util.function.Consumer;

/// Which virtual machines of one kind are to be started, as the host has booted: those with
/// autostart that the boot has ended, until they run or nobody tries any more. Thread-safe.
public interface VmDue {
  /// Has `starter` told of each of them, in the order of their names, and of each that is found
  /// later. It must not wait.
  void begin(Consumer<String> starter);

  /// Whether one is to be started and does not run yet.
  boolean isDue(String name);

  /// Whether somebody starts or ends it just now.
  boolean isBusy(String name);

  /// It is not started by itself any more in the time of this daemon.
  void giveUp(String name);
}
