package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.KvmProbe;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Several kinds of hypervisor as one: every call goes to the kind of the release that it names.
public final class Kinds implements Hypervisor {
  private final Hypervisor first;
  private final Map<String, Hypervisor> kinds = new LinkedHashMap<>();

  /// @param first the kind of processes that are adopted
  public Kinds(Hypervisor first, Hypervisor... others) {
    this.first = first;
    kinds.put(first.kind(), first);
    for (Hypervisor other : others) {
      kinds.put(other.kind(), other);
    }
  }

  private Hypervisor of(Release release) {
    Hypervisor kind = kinds.get(release.kind());
    if (kind == null) {
      throw Problem.RELEASE_UNKNOWN.because(
          release.name() + " is of kind " + release.kind() + ", which does not exist here.");
    }
    return kind;
  }

  @Override
  public String kind() {
    return first.kind();
  }

  @Override
  public boolean runs(Release release) {
    return kinds.containsKey(release.kind());
  }

  @Override
  public AcceleratorChoice accelerator(
      GuestSpec.AcceleratorWish wish, Release release, KvmProbe.Result host) {
    return of(release).accelerator(wish, release, host);
  }

  @Override
  public List<Check> checks(GuestSpec spec, Release release, Accelerator accelerator) {
    return of(release).checks(spec, release, accelerator);
  }

  @Override
  public void pin(Launch launch) {
    of(launch.release()).pin(launch);
  }

  @Override
  public Instance start(Launch launch) {
    return of(launch.release()).start(launch);
  }

  @Override
  public Instance startWaiting(Launch launch) {
    return of(launch.release()).startWaiting(launch);
  }

  @Override
  public Holdings holdings(Release release, GuestSpec guest, int pid, int nics) {
    return of(release).holdings(release, guest, pid, nics);
  }

  @Override
  public Instance attach(Launch launch, int pid) {
    return of(launch.release()).attach(launch, pid);
  }

  @Override
  public Optional<Boolean> hasRun(Path files, int generation) {
    return kinds.values().stream()
        .flatMap(kind -> kind.hasRun(files, generation).stream())
        .findFirst();
  }

  @Override
  public List<Survivor> survivors(Path guests) {
    return kinds.values().stream().flatMap(kind -> kind.survivors(guests).stream()).toList();
  }

  @Override
  public void endRehearsals(Path guests) {
    kinds.values().forEach(kind -> kind.endRehearsals(guests));
  }

  private Hypervisor of(Survivor instance) {
    return kinds.getOrDefault(instance.kind(), first);
  }

  @Override
  public boolean lives(Survivor instance) {
    return of(instance).lives(instance);
  }

  @Override
  public boolean hasOwnProcess(Survivor instance) {
    return of(instance).hasOwnProcess(instance);
  }

  @Override
  public void goOn(Survivor instance) {
    of(instance).goOn(instance);
  }

  @Override
  public void end(Survivor instance) {
    of(instance).end(instance);
  }

  @Override
  public Adoption adopt(AdoptRequest request) {
    return first.adopt(request);
  }

  @Override
  public Holdings holdings(int pid, AdoptedMachine machine) {
    return first.holdings(pid, machine);
  }
}
