package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.Adopter;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.KvmProbe;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;

/// A kind of hypervisor that is all that a kind has to be: its instances are objects of this
/// process, and its guests count. They end with the daemon, so that the next one finds none.
/// Thread-safe.
class ToyHypervisor implements Hypervisor {
  static final String KIND = "toy";

  private final List<ToyInstance> instances = new CopyOnWriteArrayList<>();

  /// The instance that runs the guest of that name.
  ///
  /// @throws java.util.NoSuchElementException when none does
  ToyInstance running(String guest) {
    return instances.stream().filter(instance -> instance.runs(guest)).findFirst().orElseThrow();
  }

  /// Whether an instance of the release of that name is there.
  boolean uses(String release) {
    return instances.stream()
        .anyMatch(instance -> !instance.ended() && instance.release().name().equals(release));
  }

  @Override
  public String kind() {
    return KIND;
  }

  @Override
  public Optional<Adopter> adopter() {
    return Optional.empty();
  }

  @Override
  public AcceleratorChoice accelerator(
      GuestSpec.AcceleratorWish wish, Release release, KvmProbe.Result host) {
    if (wish == GuestSpec.AcceleratorWish.KVM) {
      throw Problem.HOST_MISSING.because("Nothing counts on KVM.");
    }
    return new AcceleratorChoice(Accelerator.TCG, "what counts needs no processor");
  }

  @Override
  public List<Check> checks(GuestSpec spec, Release release, Accelerator accelerator) {
    return List.of(
        release.machines().contains(spec.machine())
            ? Check.pass("machine type", release.name() + " knows " + spec.machine() + ".")
            : Check.fail(
                "machine type",
                release.name() + " does not know " + spec.machine() + ".",
                "Choose " + ToyRelease.MACHINE + "."));
  }

  /// It names nothing of the host.
  @Override
  public void remember(GuestSpec spec, Path files) {}

  /// Whatever counts is the same machine on every release.
  @Override
  public void pin(Launch launch) {}

  @Override
  public Instance start(Launch launch) {
    return added(ToyInstance.booted(launch));
  }

  @Override
  public Instance startWaiting(Launch launch) {
    return added(ToyInstance.waiting(launch));
  }

  private ToyInstance added(ToyInstance instance) {
    instances.add(instance);
    return instance;
  }

  @Override
  public Holdings holdings(Release release, GuestSpec guest, int pid, int memories, int nics) {
    throw gone();
  }

  @Override
  public Instance attach(Launch launch, int pid) {
    throw gone();
  }

  /// Nothing is left of an instance that could tell.
  @Override
  public Optional<Boolean> hasRun(Path files, int generation) {
    return Optional.empty();
  }

  @Override
  public List<Survivor> survivors(Path guests) {
    return List.of();
  }

  @Override
  public void endRehearsals(Path guests) {}

  @Override
  public boolean lives(Survivor instance) {
    return false;
  }

  @Override
  public boolean hasOwnProcess(Survivor instance) {
    return false;
  }

  @Override
  public void goOn(Survivor instance) {
    throw gone();
  }

  @Override
  public void end(Survivor instance) {
    throw gone();
  }

  private static HyperFreshException gone() {
    return Problem.GUEST_STATE.because("It has ended with the daemon that started it.");
  }
}
