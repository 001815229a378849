package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;

/// What is done about a container that has ended, in this order. The same is done by the daemon
/// that has seen it end, and by one that finds it ended. Stateless.
///
/// Its life ends when nothing of it is left, so one whose life has ended can be started anywhere,
/// or removed, at once. How it ended is known only as long as its OS has it, and is written down
/// before: a daemon may die at any moment, and a job that has done its work is not started again.
final class ContainerEnd {
  private static final System.Logger LOG = System.getLogger(ContainerEnd.class.getName());

  private ContainerEnd() {}

  /// Has it give up all that it has but its files.
  ///
  /// @throws TroubleException, LinuxException when its OS does not let go of it yet; its life goes
  ///   on then, and this is to be done again
  /// @throws HyperFreshException [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE] when it has ended
  ///   and is still written down as if it were somewhere
  static void settle(ContainerState how, EndSteps steps) {
    try {
      steps.write(how);
    } catch (HyperFreshException e) {
      // This daemon knows all the same; where the disk is full, noting its end says so.
      LOG.log(System.Logger.Level.DEBUG, "how a container ended is not recorded yet", e);
    }
    steps.clear();
    steps.note(how);
    steps.forget();
  }
}
