package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Memory;
import dev.hyperfresh.hypervisor.Adopter;
import dev.hyperfresh.hypervisor.Adoption;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.ProcessFacts;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.ProcessRights;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/// Takes every process for a guest of a stage that can be adopted.
record StagedAdopter(Stage stage) implements Adopter {
  @Override
  public Adoption adopt(AdoptRequest request) {
    GuestSpec spec = stage.spec(request.name());
    stage.requests.add(request);
    AdoptedMachine staged = machine(request.copy() && stage.privateMemory);
    AdoptedMachine machine =
        new AdoptedMachine(
            staged.words(),
            staged.control(),
            staged.console(),
            staged.memories(),
            staged.ports(),
            staged.runAs(),
            request.borrowed() ? OptionalInt.of(request.pid()) : OptionalInt.empty());
    return new Adoption(
        spec,
        new AcceleratorChoice(Accelerator.TCG, "a test"),
        machine,
        holdings(spec, request.pid(), machine),
        rights(request.pid()),
        true,
        List.of(),
        List.of());
  }

  private static ProcessRights rights(int pid) {
    try {
      return ProcessRights.of(ProcFs.HOST, pid);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public Holdings holdings(GuestSpec guest, int pid, AdoptedMachine machine) {
    return held(machine.parts());
  }

  static Holdings held(List<MemoryPart> memory) {
    return new Holdings(GuestMemory.create("test", memory).descriptors(), List.of());
  }

  /// What an instance says of itself when it is handed back.
  static ProcessFacts facts(int generation) {
    return new ProcessFacts(
        Map.of(0, 4711), Map.of("ser", "/dev/pts/9"), Path.of("/p" + generation));
  }

  /// A machine of which nothing is known.
  static AdoptedMachine machine(boolean privateMemory) {
    MemoryPart memory = MemoryPart.ordinary(Stage.MEMORY_BYTES);
    return new AdoptedMachine(
        List.of(),
        Path.of("/control"),
        Optional.empty(),
        List.of(new Memory(privateMemory ? Memory.PRIVATE : 3, memory)),
        List.of());
  }
}
