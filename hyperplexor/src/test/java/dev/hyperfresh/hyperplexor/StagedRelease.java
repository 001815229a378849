package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Release;
import java.util.Set;

/// A release of a [Stage].
record StagedRelease(String name, String kind) implements Release {
  @Override
  public String version() {
    return name.substring(name.indexOf('-') + 1);
  }

  @Override
  public Set<String> machines() {
    return Set.of("pc-q35-7.2");
  }

  /// The problem of a failure, for assertions.
  static String code(Throwable failure) {
    return failure instanceof HyperFreshException known ? known.problem().code() : "none";
  }
}
