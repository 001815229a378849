package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.RunAs;
import dev.hyperfresh.hypervisor.Bounds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Cgroup;
import dev.hyperfresh.linux.CgroupPlace;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;

/// In which control groups a process of a guest is: the guest's own, or those of the process that
/// was adopted. One that the latter do not take, since one of them is gone or has too little left,
/// is in a bounded group of HyperFresh's, of its own: whoever may change those groups gets nothing
/// out of all bounds by that.
record GuestGroups(Launch launch, int pid) {
  private static final System.Logger LOG = System.getLogger(GuestGroups.class.getName());

  private static final Path OURS = Path.of("hyperfresh");

  /// Of a process that was just started. Without a group it runs all the same; that it is not in it
  /// is seen and said.
  ///
  /// @param waiting whether it is to take over from another one
  void enter(boolean waiting) {
    contained(() -> launch.confinement().cgroup().ifPresent(group -> group.add(pid)));
    launch
        .adopted()
        .flatMap(AdoptedMachine::runAs)
        .map(RunAs::cgroups)
        .ifPresent(groups -> {
          if (QemuUser.groups(launch, waiting).isPresent()) {
            var _ = enter(groups);
          } else {
            enterOwn(pid);
          }
        });
  }

  /// Puts a process that serves this one alone where this one is.
  void add(int servant) {
    contained(() -> launch.confinement().cgroup().ifPresent(group -> group.add(servant)));
    launch
        .adopted()
        .flatMap(AdoptedMachine::runAs)
        .map(RunAs::cgroups)
        .filter(groups -> !groups.holds(pid) || groups.take(servant).isPresent())
        .ifPresent(_ -> enterOwn(servant));
  }

  private Optional<String> enter(CgroupPlace groups) {
    Optional<String> why = groups.take(pid);
    if (why.isPresent()) {
      LOG.log(System.Logger.Level.WARNING, "process " + pid + ": " + why.get());
      enterOwn(pid);
    } else {
      contained(() ->
          own().stream()
              .flatMap(group -> group.processes().stream())
              .forEach(servant -> {
                var _ = groups.take(servant);
              }));
      removeOwn();
    }
    return why;
  }

  /// Puts it where the first process was, if it is not there, or else into a group of its own.
  ///
  /// @return why it is not there, as half a sentence; empty when it is, or belongs nowhere
  Optional<String> settle() {
    return launch
        .adopted()
        .filter(_ -> !AdoptedMachine.isFirst(launch.generation()))
        .flatMap(AdoptedMachine::runAs)
        .map(RunAs::cgroups)
        .filter(place -> !place.holds(pid))
        .flatMap(this::enter);
  }

  private void enterOwn(int process) {
    contained(() ->
        own()
            .filter(group -> !group.holds(process))
            .ifPresent(group -> {
              Bounds.of(launch.spec()).make(group);
              group.add(process);
            }));
  }

  /// Where a group of its own is, or would be; empty when this host has none.
  Optional<Cgroup> own() {
    Path name = OURS.resolve(launch.spec().name() + ".p" + pid);
    return Stream.of(Cgroup.DELEGATED, Cgroup.MOUNTED)
        .flatMap(root -> Cgroup.at(root, name).stream())
        .findFirst();
  }

  /// Nothing is in the group of its own any more.
  void removeOwn() {
    if (launch.adopted().flatMap(AdoptedMachine::runAs).isPresent()) {
      contained(() -> own().filter(Cgroup::exists).ifPresent(Cgroup::remove));
    }
  }

  private void contained(Runnable step) {
    try {
      step.run();
    } catch (UncheckedIOException e) {
      LOG.log(System.Logger.Level.WARNING, "the control group of process " + pid, e);
    }
  }

  /// Where it is, for people, of a guest that was adopted from another user.
  String describe(CgroupPlace groups) {
    if (groups.holds(pid)) {
      return "in its cgroups";
    }
    return "not in all of its cgroups"
        + own().filter(group -> group.holds(pid)).map(group -> ", but in " + group).orElse("");
  }
}
