package dev.hyperfresh.hyperplexor;

import java.util.List;
import java.util.function.Supplier;

/// Steps whose failure must not change what happens next: it is logged, and that is all. Errors of
/// the virtual machine are such failures too: a class that cannot be loaded must not keep a guest
/// from being continued.
final class Contained {
  private static final System.Logger LOG = System.getLogger(Contained.class.getName());

  private Contained() {}

  /// Runs `step`.
  ///
  /// @param what the step in the log, such as `closing web1`
  /// @return whether it succeeded
  static boolean run(String what, Runnable step) {
    return get(
        what,
        () -> {
          step.run();
          return true;
        },
        false);
  }

  /// What `step` gives, or `otherwise`.
  static <T> T get(String what, Supplier<T> step, T otherwise) {
    try {
      return step.get();
    } catch (RuntimeException | VirtualMachineError | LinkageError | AssertionError e) {
      LOG.log(System.Logger.Level.WARNING, what + " failed", e);
      return otherwise;
    }
  }

  /// Runs `step`, which closes something.
  ///
  /// @param failures gets what failed, in a sentence
  static void close(List<String> failures, String what, Runnable step) {
    try {
      step.run();
    } catch (RuntimeException e) {
      failures.add(what + " could not be closed: " + e.getMessage());
    }
  }

  /// A listener that cannot hurt the work it is told of. It may only say that nobody wants that any
  /// more.
  static Progress progress(Progress listener) {
    return new Progress() {
      @Override
      public void step(String state, String text) {
        run("reporting " + state, () -> listener.step(state, text));
      }

      @Override
      public void requireWanted() {
        listener.requireWanted();
      }
    };
  }
}
