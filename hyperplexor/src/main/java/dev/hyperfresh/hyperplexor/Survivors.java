package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvents;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Release;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;

/// The processes that an earlier daemon left of one guest, and what they hold of it. [Verdict] says
/// which of them has the guest.
record Survivors(
    Kinds kinds,
    GuestFile file,
    Path files,
    Path sockets,
    Confinement confinement,
    Function<String, Release> releases)
    implements Verdict.Remains {

  /// As [Verdict#of], once nobody is favoured any more.
  Verdict decide() {
    giveBackPriority(file.running());
    file.waiting().ifPresent(this::giveBackPriority);
    return Verdict.of(file, this);
  }

  /// A daemon that is killed inside a switch leaves its priority behind.
  private void giveBackPriority(GuestFile.Tenant process) {
    if (kind(process).hasOwnProcess(process.in(files)) && lives(process)) {
      SwitchPriority.giveBack(process.pid());
    }
  }

  private Hypervisor kind(GuestFile.Tenant process) {
    return kinds.of(process.in(files));
  }

  @Override
  public boolean lives(GuestFile.Tenant process) {
    return process.lives(kinds, files);
  }

  @Override
  public void goOn(GuestFile.Tenant process) {
    kind(process).goOn(process.in(files));
  }

  @Override
  public void end(GuestFile.Tenant process) {
    kind(process).end(process.in(files));
  }

  @Override
  public Optional<Boolean> hasRun(int generation) {
    return kinds.hasRun(files, generation);
  }

  @Override
  public Instance attach(GuestFile.Tenant process, InstanceEvents events) {
    Release release = releases.apply(process.release());
    try (GuestMemory memory = memory(later(process, release, 0))) {
      return kinds.of(release).attach(launch(process, release, memory, events), process.pid());
    }
  }

  @Override
  public void await(Verdict.Heard heard, Duration limit) {
    long deadline = System.nanoTime() + limit.toNanos();
    try {
      synchronized (heard) {
        for (long left = limit.toNanos(); !heard.over() && left > 0; ) {
          TimeUnit.NANOSECONDS.timedWait(heard, left);
          left = deadline - System.nanoTime();
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private Launch launch(
      GuestFile.Tenant process, Release release, GuestMemory memory, InstanceEvents events) {
    return new Launch(
        file.spec(),
        release,
        file.accelerator().accelerator(),
        memory,
        List.of(),
        files,
        sockets,
        process.generation(),
        confinement,
        events,
        file.adopted());
  }

  /// What the process that is called running holds, which something else may have started.
  private Holdings holdings(GuestFile.Tenant process, Release release, int queues) {
    Optional<AdoptedMachine> first = first(process);
    return first.isPresent()
        ? kinds.adopter().holdings(file.spec(), process.pid(), first.get())
        : later(process, release, queues);
  }

  /// The same of a process that HyperFresh started.
  private Holdings later(GuestFile.Tenant process, Release release, int queues) {
    int memories = file.memory().size();
    return kinds.of(release).holdings(release, file.spec(), process.pid(), memories, queues);
  }

  private List<Integer> queues() {
    return AdoptedMachine.queues(file.spec(), file.adopted());
  }

  private Optional<AdoptedMachine> first(GuestFile.Tenant process) {
    return file.adopted().filter(_ -> AdoptedMachine.isFirst(process.generation()));
  }

  /// Whether the guest's memory was still to be copied, or was being copied, when the earlier
  /// daemon ended: then nobody has adopted the guest, which runs where it was started, unless it
  /// stands there in doubt.
  boolean isBeingAdopted(Verdict.Kept kept) {
    return first(kept.authority()).filter(AdoptedMachine::hasPrivateMemory).isPresent();
  }

  /// Memory that came with an adopted guest may be a file that cannot be sealed.
  private GuestMemory memory(Holdings held) {
    return file.adopted().isPresent()
        ? GuestMemory.adoptForeign(held.memories())
        : GuestMemory.adopt(held.memories());
  }

  /// A guest from what process `authority` holds. No other process of the guest may be left.
  Guest assemble(GuestFile.Tenant authority, Release release, Consumer<Guest> changed) {
    int queues = queues().stream().mapToInt(Integer::intValue).sum();
    return assemble(authority, holdings(authority, release, queues), changed);
  }

  /// A guest from what another daemon handed over.
  Guest assemble(GuestFile.Tenant authority, Holdings held, Consumer<Guest> changed) {
    try {
      return guest(authority, held, changed);
    } catch (RuntimeException | Error e) {
      // It is tried again, with other copies.
      held.close();
      throw e;
    }
  }

  private Guest guest(GuestFile.Tenant authority, Holdings held, Consumer<Guest> changed) {
    Confinement own =
        file.adopted()
            .map(machine -> Adopting.asRunning(machine, authority.pid()))
            .orElse(confinement);
    try {
      GuestBody body = GuestBody.of(memory(held), () -> endpoints(authority, held), own);
      return new Guest(
          GuestFacts.of(file, GuestIdentity.of(file, files, sockets), kinds),
          kinds,
          Optional.of(body),
          changed);
    } catch (RuntimeException | Error e) {
      own.letGo();
      throw e;
    }
  }

  private Endpoints endpoints(GuestFile.Tenant authority, Holdings held) {
    return first(authority)
        .map(machine -> Adopting.endpoints(file.spec(), machine, held.nicQueues(), authority.pid()))
        .orElseGet(() -> later(held));
  }

  private Endpoints later(Holdings held) {
    Endpoints ports = Endpoints.adopt(held.nicQueues(), file.spec(), file.adopted());
    file.adopted().ifPresent(machine -> ports.joinLate(machine.ports()));
    return ports;
  }

  /// The same, when the guest may have stood still while no daemon was there to measure it.
  Survivors afterUnseenStop() {
    return new Survivors(kinds, file.afterUnseenStop(), files, sockets, confinement, releases);
  }

  int lastGeneration() {
    int written = Math.max(file.generations(), file.running().generation());
    return Math.max(written, file.waiting().map(GuestFile.Tenant::generation).orElse(0));
  }
}
