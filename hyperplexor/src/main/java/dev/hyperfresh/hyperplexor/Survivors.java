package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.InstanceEvents;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.Tap;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;

/// The processes that an earlier daemon left of one guest: which of them is its authority, and what
/// they hold of it.
///
/// What was written down says who there is; only the hypervisors themselves say who runs the guest.
/// A target that waits may resume the guest at any moment, also between a question and its answer.
/// So it is listened to first, then asked, then frozen, and what it reported until then counts: the
/// same care as [Replacement] has when it gives up.
record Survivors(
    Hypervisor hypervisor, GuestFile file, Path files, Path sockets, Confinement confinement) {
  /// As [Replacement] waits for a target that alone can still run the guest.
  private static final Duration ONLY_HOPE = Duration.ofSeconds(60);

  /// How it stands with the guest. Where there is an authority, no other process of the guest is
  /// left.
  sealed interface Verdict {
    /// No replacement was under way, as far as the processes tell.
    record Kept(GuestFile.Tenant authority) implements Verdict {}

    /// The source is the authority, and may stand or be about to send.
    record Undone(GuestFile.Tenant authority) implements Verdict {}

    /// The target runs the guest.
    record Finished(GuestFile.Tenant authority) implements Verdict {}

    /// The source has sent everything, and the target is gone and has run the guest, or nobody
    /// knows: the memory that the source would go on with may have changed since.
    record Doubtful(GuestFile.Tenant authority) implements Verdict {}

    /// No process is left that could run the guest.
    record Ended() implements Verdict {}
  }

  /// Decides, and ends the process that is not the authority.
  ///
  /// @throws HyperFreshException when a hypervisor that may be the authority does not answer;
  ///   nothing was ended then, and it may be tried again
  Verdict decide(Function<String, Release> releases) {
    GuestFile.Tenant source = file.running();
    Optional<GuestFile.Tenant> waiting = file.waiting();
    giveBackPriority(source);
    waiting.ifPresent(this::giveBackPriority);
    if (waiting.isPresent() && lives(waiting.get())) {
      return decide(source, waiting.get(), releases);
    }
    if (!lives(source)) {
      return new Verdict.Ended();
    }
    if (waiting.isEmpty()) {
      return new Verdict.Kept(source);
    }
    return isDoubtful(source, waiting.get().generation(), releases)
        ? new Verdict.Doubtful(source)
        : new Verdict.Undone(source);
  }

  /// A daemon that is killed inside a switch leaves its priority behind.
  private void giveBackPriority(GuestFile.Tenant process) {
    if (hypervisor.hasOwnProcess(process.in(files)) && lives(process)) {
      SwitchPriority.giveBack(process.pid());
    }
  }

  private Verdict decide(
      GuestFile.Tenant source, GuestFile.Tenant target, Function<String, Release> releases) {
    Listener heard = new Listener(target.generation());
    // A daemon that was killed while it gave a switch up may have left the target stopped. What it
    // had decided is not known, so that all is decided anew.
    hypervisor.goOn(target.in(files));
    Release release = releases.apply(target.release());
    Hypervisor.Holdings held = hypervisor.holdings(release, file.spec(), target.pid(), 0);
    try (MemFd memory = memory(held);
        Instance instance =
            hypervisor.attach(launch(target, release, memory, heard), target.pid())) {
      if (instance.runsGuest() || hasResumed(source, instance, heard)) {
        end(source);
        return new Verdict.Finished(target);
      }
      instance.kill();
    }
    return lives(source) ? new Verdict.Undone(source) : new Verdict.Ended();
  }

  /// Asked of a target that did not run the guest a moment ago. It is stopped when this is false.
  private boolean hasResumed(GuestFile.Tenant source, Instance target, Listener heard) {
    if (!lives(source)) {
      // What the source sent is on its way; there is nobody else to go on.
      return heard.awaitResumeOrEnd(ONLY_HOPE);
    }
    target.freeze();
    if (heard.resumed()) {
      target.thaw();
      return true;
    }
    return false;
  }

  private boolean isDoubtful(
      GuestFile.Tenant source, int targetGeneration, Function<String, Release> releases) {
    Optional<Boolean> ran = hypervisor.hasRun(files, targetGeneration);
    if (ran.isPresent() && !ran.get()) {
      return false;
    }
    Release release = releases.apply(source.release());
    Hypervisor.Holdings held = holdings(source, release, 0);
    try (MemFd memory = memory(held);
        Instance instance =
            hypervisor.attach(launch(source, release, memory, _ -> {}), source.pid())) {
      return !instance.runsGuest() && instance.hasSentState();
    }
  }

  /// What a target reports while it is decided about.
  private static final class Listener implements InstanceEvents {
    private final int generation;
    private final CountDownLatch over = new CountDownLatch(1);
    private volatile boolean resumed;

    Listener(int generation) {
      this.generation = generation;
    }

    @Override
    public void on(InstanceEvent event) {
      if (event.generation() != generation) {
        return;
      }
      if (event instanceof InstanceEvent.Resumed) {
        resumed = true;
        over.countDown();
      } else if (event instanceof InstanceEvent.Ended) {
        over.countDown();
      }
    }

    boolean resumed() {
      return resumed;
    }

    boolean awaitResumeOrEnd(Duration limit) {
      try {
        var _ = over.await(limit.toNanos(), TimeUnit.NANOSECONDS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      return resumed;
    }
  }

  private Launch launch(
      GuestFile.Tenant process, Release release, MemFd memory, InstanceEvents events) {
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
  private Hypervisor.Holdings holdings(GuestFile.Tenant process, Release release, int nics) {
    Optional<AdoptedMachine> first = first(process);
    return first.isPresent()
        ? hypervisor.holdings(process.pid(), first.get())
        : hypervisor.holdings(release, file.spec(), process.pid(), nics);
  }

  private Optional<AdoptedMachine> first(GuestFile.Tenant process) {
    return file.adopted().filter(_ -> AdoptedMachine.isFirst(process.generation()));
  }

  /// Memory that came with an adopted guest may be a file that cannot be sealed.
  private MemFd memory(Hypervisor.Holdings held) {
    return file.adopted().isPresent()
        ? MemFd.adoptForeign(held.memory())
        : MemFd.adopt(held.memory());
  }

  /// Ends a process that can never be the authority any more.
  private void end(GuestFile.Tenant process) {
    if (lives(process)) {
      hypervisor.end(process.in(files));
    }
  }

  private boolean lives(GuestFile.Tenant process) {
    return process.lives(hypervisor, files);
  }

  /// A guest from what process `authority` holds. No other process of the guest may be left.
  Guest assemble(GuestFile.Tenant authority, Release release, Consumer<Guest> changed) {
    return assemble(authority, holdings(authority, release, file.spec().nics().size()), changed);
  }

  /// A guest from what another daemon handed over.
  Guest assemble(GuestFile.Tenant authority, Hypervisor.Holdings held, Consumer<Guest> changed) {
    Optional<AdoptedMachine> first = first(authority);
    return new Guest(
        file.spec(),
        hypervisor,
        file.accelerator(),
        memory(held),
        first
            .map(machine ->
                Adopting.endpoints(file.spec(), machine, held.nicQueues(), authority.pid()))
            .orElseGet(() -> Endpoints.of(held.nicQueues().stream().map(Tap::adopt).toList())),
        file.adopted(),
        files,
        sockets,
        file.createdAt(),
        confinement,
        changed);
  }

  int lastGeneration() {
    return Math.max(
        file.running().generation(), file.waiting().map(GuestFile.Tenant::generation).orElse(0));
  }
}
