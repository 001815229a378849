package dev.hyperfresh.hypervisor;

import org.jspecify.annotations.Nullable;

/// A failure that a user meets: an entry of the catalogue and what happened this time.
public final class HyperFreshException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final Problem problem;

  HyperFreshException(Problem problem, String detail, @Nullable Throwable cause) {
    super(Printable.lines(detail), cause);
    this.problem = problem;
  }

  /// The entry of the catalogue.
  public Problem problem() {
    return problem;
  }

  /// What happened this time, one or more sentences.
  public String detail() {
    return String.valueOf(getMessage());
  }
}
