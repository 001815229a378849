package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.Instance;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/// What survives a daemon: the guest's file, and the journal.
final class SimulatedDisk {
  static final AcceleratorChoice TCG = new AcceleratorChoice(Accelerator.TCG, "simulated");
  static final GuestSpec SPEC =
      new GuestSpec(
          "sim",
          1,
          16 << 20,
          "pc-q35-7.2",
          "qemu64",
          AcceleratorWish.TCG,
          Optional.of(new GuestSpec.KernelBoot(Path.of("/kernel"), Optional.empty(), "")),
          List.of(),
          List.of());

  private final SimulatedWorld world;
  private final List<String> journal = new ArrayList<>();

  /// Null when nothing is left of the guest.
  private @Nullable GuestFile file;

  SimulatedDisk(SimulatedWorld world) {
    this.world = world;
  }

  @Nullable GuestFile file() {
    return file;
  }

  void forget() {
    file = null;
  }

  void write(Instance running, Optional<Instance> waiting, Optional<String> doubt) {
    world.faults.failWrite();
    file =
        new GuestFile(
            SPEC,
            TCG,
            Instant.EPOCH,
            OptionalInt.empty(),
            tenant(running),
            waiting.map(SimulatedDisk::tenant),
            world.defect == SimulatedWorld.Defect.DOUBT_FORGOTTEN ? Optional.empty() : doubt,
            Optional.empty(),
            ClockLoss.NONE,
            world.generation);
  }

  private static GuestFile.Tenant tenant(Instance instance) {
    return new GuestFile.Tenant(
        instance.pid(),
        1,
        "",
        instance.generation(),
        instance.release().name(),
        SimulatedHypervisor.KIND);
  }

  void write(Journal.Entry entry) {
    world.faults.failWrite();
    journal.add(entry.state());
  }

  /// The state that the journal has of the last replacement.
  String lastState() {
    return journal.isEmpty() ? "Planned" : journal.getLast();
  }
}
