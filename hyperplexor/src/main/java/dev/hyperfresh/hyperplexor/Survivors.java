package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.linux.Tap;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;

/// The processes that an earlier daemon left of one guest: which of them is its authority, and what
/// they hold of it.
record Survivors(
    Hypervisor hypervisor, GuestFile file, Path files, Path sockets, Confinement confinement) {
  private static final Duration KILL_LIMIT = Duration.ofSeconds(10);

  /// Decides by asking the hypervisors: a target that runs the guest has committed, whatever was
  /// written down, and its source is ended; a target that does not is ended and never will.
  GuestFile.Tenant decide(Function<String, Release> releases) {
    if (file.waiting().isEmpty() || !file.waiting().get().lives()) {
      return file.running();
    }
    GuestFile.Tenant waiting = file.waiting().get();
    boolean committed = runsGuest(waiting, releases.apply(waiting.release()));
    kill(committed ? file.running() : waiting);
    return committed ? waiting : file.running();
  }

  private boolean runsGuest(GuestFile.Tenant process, Release release) {
    Hypervisor.Holdings held = hypervisor.holdings(process.pid(), 0);
    try (MemFd memory = MemFd.adopt(held.memory());
        Instance instance = hypervisor.attach(launch(process, release, memory), process.pid())) {
      return instance.runsGuest();
    }
  }

  private Launch launch(GuestFile.Tenant process, Release release, MemFd memory) {
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
        _ -> {});
  }

  private static void kill(GuestFile.Tenant process) {
    if (!process.lives()) {
      return;
    }
    try (PidFd pidFd = PidFd.open(process.pid())) {
      pidFd.signal(Signals.KILL);
      pidFd.awaitExit(KILL_LIMIT);
    }
  }

  /// A guest from what process `authority` holds. No other process of the guest may be left.
  Guest assemble(GuestFile.Tenant authority, Consumer<Guest> changed) {
    Hypervisor.Holdings held = hypervisor.holdings(authority.pid(), file.spec().nics().size());
    List<Tap> taps = held.nicQueues().stream().map(Tap::adopt).toList();
    return new Guest(
        file.spec(),
        hypervisor,
        file.accelerator(),
        MemFd.adopt(held.memory()),
        taps,
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
