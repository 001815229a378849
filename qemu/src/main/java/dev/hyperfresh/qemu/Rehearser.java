package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Release;
import java.util.function.Consumer;

/// How a replacement of one instance is tried out; see
/// [dev.hyperfresh.hypervisor.Instance#rehearse].
interface Rehearser {
  /// Tries nothing out.
  Rehearser NONE =
      (_, to, _, _) -> Rehearsals.unknown("a move to " + to.name() + " cannot be rehearsed");

  Check rehearse(QemuInstance source, Release to, boolean anew, Consumer<String> begins);
}
