package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.Adopter;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.KvmProbe;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;

/// A hypervisor for tests in which no daemon finds what another one left: it is asked for nothing
/// of that.
abstract class PartialHypervisor implements Hypervisor {
  /// Of which guests it was noted what their specs name.
  final List<String> remembered = new CopyOnWriteArrayList<>();

  /// Why what a spec names is not what it was.
  volatile Optional<HyperFreshException> otherDisk = Optional.empty();

  @Override
  public AcceleratorChoice accelerator(
      GuestSpec.AcceleratorWish wish, Release release, KvmProbe.Result host) {
    return AcceleratorChoice.choose(wish, host);
  }

  @Override
  public Optional<Adopter> adopter() {
    return Optional.empty();
  }

  @Override
  public void remember(GuestSpec spec, Path files) {
    otherDisk.ifPresent(refusal -> {
      throw refusal;
    });
    remembered.add(String.valueOf(files.getFileName()));
  }

  @Override
  public Holdings holdings(Release release, GuestSpec guest, int pid, int memories, int nics) {
    throw nothingLeft();
  }

  @Override
  public Instance attach(Launch launch, int pid) {
    throw nothingLeft();
  }

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
    return true;
  }

  @Override
  public boolean hasOwnProcess(Survivor instance) {
    return true;
  }

  @Override
  public void goOn(Survivor instance) {
    throw nothingLeft();
  }

  @Override
  public void end(Survivor instance) {
    throw nothingLeft();
  }

  private static UnsupportedOperationException nothingLeft() {
    return new UnsupportedOperationException("no daemon left anything in this test");
  }
}
