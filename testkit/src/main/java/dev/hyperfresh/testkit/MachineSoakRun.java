package dev.hyperfresh.testkit;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.vm.VmSettings;
import java.io.PrintStream;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import tools.jackson.databind.json.JsonMapper;

/// One soak of machines, on a daemon that belongs to it. Several threads boot, each machines and
/// guests of its own.
final class MachineSoakRun {
  private static final List<String> KERNELS = List.of("6.1", "6.12");
  private static final int VCPUS = 2;
  private static final int GUESTS = 2;
  private static final Duration BOOT = Duration.ofMinutes(5);

  /// A guest sums its known memory this often while it is watched.
  private static final int PASSES = 3;

  private static final Duration WATCH = Duration.ofMinutes(2);

  private final Daemon daemon;
  private final Cache cache;
  private final int boots;
  private final int parallel;
  private final PrintStream out;
  private final long start = Clock.monotonicNanos();
  private final AtomicInteger begun = new AtomicInteger();
  private final AtomicInteger survived = new AtomicInteger();
  private final Sample machineBoots = new Sample("boot of a machine");
  private final Sample rounds = new Sample("a machine with its guests, until all have ended");
  private final List<String> failed = new ArrayList<>();
  private volatile boolean stopping;
  private volatile String accelerator = "";
  private volatile int vcpus;

  /// @param parallel how many machines at a time
  /// @param out where people read
  MachineSoakRun(Daemon daemon, Cache cache, int boots, int parallel, PrintStream out) {
    this.daemon = daemon;
    this.cache = cache;
    this.boots = boots;
    this.parallel = Math.min(parallel, boots);
    this.out = out;
  }

  /// @throws HyperFreshException [Problem#RUN_LOST] when anything died
  void run(boolean json) {
    out.printf(
        "Soak: %d machines with %d guests each, %d at a time; %s%n",
        boots, GUESTS, parallel, daemon.machines().acceleratorReason());
    GuestImages images = cache.images(this::say);
    List<Thread> workers =
        IntStream.range(0, parallel)
            .mapToObj(i -> Thread.ofPlatform().name("soak-" + i).daemon().start(() -> work(images)))
            .toList();
    Thread exit = new Thread(() -> leave(workers), "hf-soak-exit");
    Runtime.getRuntime().addShutdownHook(exit);
    join(workers);
    if (stopping) {
      return;
    }
    Runtime.getRuntime().removeShutdownHook(exit);
    summary();
    if (json) {
      System.out.println(JsonMapper.shared().writeValueAsString(json()));
    }
    if (!failed.isEmpty() || survived.get() < boots) {
      throw Problem.RUN_LOST.because(
          survived.get() + " of " + boots + " boots succeeded.\n  " + String.join("\n  ", failed));
    }
  }

  /// After Ctrl-C: a machine that is being booted is waited for, so that it is ended too.
  private void leave(List<Thread> workers) {
    stopping = true;
    join(workers);
  }

  private static void join(List<Thread> workers) {
    try {
      for (Thread worker : workers) {
        worker.join();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void say(String line) {
    out.println("  " + line);
  }

  private void work(GuestImages images) {
    for (int number = begun.incrementAndGet();
        number <= boots && !stopping;
        number = begun.incrementAndGet()) {
      long begin = Clock.monotonicNanos();
      Optional<String> loss = round(number, images);
      if (!stopping) {
        tell(number, (Clock.monotonicNanos() - begin) / 1e6, loss);
      }
    }
  }

  private synchronized void tell(int number, double millis, Optional<String> loss) {
    String result = "well";
    if (loss.isPresent()) {
      failed.add("Boot " + number + ": " + loss.get());
      result = "FAILED: " + loss.get();
    } else {
      survived.incrementAndGet();
      rounds.add(millis);
    }
    out.printf(
        Locale.ROOT,
        "  %d/%d Linux %s, %.0f s: %s%n",
        number,
        boots,
        kernel(number),
        millis / 1000,
        result);
  }

  private static String kernel(int number) {
    return KERNELS.get(number % KERNELS.size());
  }

  /// One machine with its guests, from beginning to end.
  ///
  /// @return what was lost, or empty
  private Optional<String> round(int number, GuestImages images) {
    String name = "m" + number;
    List<String> guests =
        IntStream.range(0, GUESTS).mapToObj(i -> name + "-" + (char) ('a' + i)).toList();
    List<TestGuest> inside = new ArrayList<>();
    long begin = Clock.monotonicNanos();
    try {
      Machine machine =
          daemon
              .machines()
              .create(
                  name,
                  MachineDemoRun.release(kernel(number)),
                  VCPUS,
                  VmSettings.DEFAULT_MEMORY_BYTES,
                  Progress.NONE);
      booted(machine);
      for (String guest : guests) {
        daemon.hyperplexor().create(spec(guest, images), machine, Progress.NONE);
        Path console = daemon.hyperplexor().show(guest).files().resolve("console.log");
        await(
            machine,
            guests,
            guest + " to boot",
            BOOT,
            () -> MachineDemoRun.contains(console, "HF-GUEST READY"));
        inside.add(TestGuest.beatingInMachine(machine.pid(), guest, WATCH));
      }
      watch(machine, guests, inside);
      return Optional.empty();
    } catch (HyperFreshException e) {
      return Optional.of(
          String.format(
              Locale.ROOT, "%s after %.1f s", e.detail(), (Clock.monotonicNanos() - begin) / 1e9));
    } catch (RuntimeException e) {
      return Optional.of(String.valueOf(e));
    } finally {
      inside.forEach(TestGuest::close);
      end(name, guests);
    }
  }

  private synchronized void booted(Machine machine) {
    machineBoots.add(machine.bootMs());
    accelerator = machine.settings().accelerator().label();
    vcpus = machine.settings().vcpus();
  }

  private static GuestSpec spec(String name, GuestImages images) {
    return new GuestSpec(
        name,
        1,
        256L << 20,
        "pc-q35-7.2",
        "qemu64",
        AcceleratorWish.AUTO,
        Optional.of(
            new KernelBoot(
                images.kernel(),
                Optional.of(images.initrd()),
                "console=ttyS0 quiet cryptomgr.notests")),
        List.of(),
        List.of());
  }

  private interface Condition {
    boolean holds();
  }

  /// Waits, unless something dies before.
  private void await(
      Machine machine, List<String> guests, String what, Duration patience, Condition condition) {
    Optional<String> dead =
        Await.firstWithin(
            patience,
            () -> {
              Optional<String> found = dead(machine, guests);
              return found.isPresent()
                  ? found
                  : condition.holds() ? Optional.of("") : Optional.empty();
            });
    if (dead.isEmpty()) {
      throw Problem.RUN_LOST.because("There was no sign of " + what + ".");
    }
    if (!dead.get().isEmpty()) {
      throw Problem.RUN_LOST.because(dead.get() + " (waiting for " + what + ")");
    }
  }

  private Optional<String> dead(Machine machine, List<String> guests) {
    if (machine.ended()) {
      return Optional.of(Losses.ended(machine));
    }
    return daemon.hyperplexor().list().stream()
        .filter(guest -> guests.contains(guest.spec().name()))
        .filter(guest -> guest.state() == GuestView.State.STOPPED)
        .findFirst()
        .map(Losses::ended);
  }

  private void watch(Machine machine, List<String> guests, List<TestGuest> inside) {
    for (TestGuest guest : inside) {
      long beats = guest.counter();
      long passes = guest.passes();
      await(
          machine,
          guests,
          "the work of its guests",
          WATCH,
          () -> guest.counter() > beats && guest.passes() >= passes + PASSES);
      if (guest.mismatches() > 0) {
        throw Problem.RUN_LOST.because(
            guest.mismatches() + " mismatches in the memory of a guest of " + machine.name());
      }
    }
  }

  private void end(String machine, List<String> guests) {
    try {
      daemon.hyperplexor().list().stream()
          .map(guest -> guest.spec().name())
          .filter(guests::contains)
          .forEach(daemon.hyperplexor()::delete);
      if (daemon.machines().list().stream().anyMatch(m -> m.name().equals(machine))) {
        daemon.machines().delete(machine);
      }
    } catch (RuntimeException e) {
      synchronized (this) {
        failed.add(machine + " could not be ended: " + e.getMessage());
      }
    }
  }

  private synchronized void summary() {
    out.println();
    say(
        String.format(
            Locale.ROOT,
            "%d of %d machines lived until they were ended, with %d guests each, in %.0f s%s",
            survived.get(),
            boots,
            GUESTS,
            (Clock.monotonicNanos() - start) / 1e9,
            accelerator.isEmpty() ? "" : " (" + accelerator + ", " + vcpus + " vCPU)"));
    for (Sample sample : List.of(machineBoots, rounds)) {
      if (sample.size() > 0) {
        say(sample.toString());
      }
    }
    failed.forEach(sentence -> say("FAILED: " + sentence));
  }

  private synchronized Map<String, Object> json() {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("boots", boots);
    json.put("survived", survived.get());
    json.put("guests_each", GUESTS);
    json.put("parallel", parallel);
    json.put("accelerator", accelerator);
    json.put("vcpus", vcpus);
    json.put("failed", failed);
    json.put("machine_boot_ms", SoakRun.percentiles(machineBoots));
    json.put("round_ms", SoakRun.percentiles(rounds));
    json.put("seconds", (Clock.monotonicNanos() - start) / 1_000_000_000);
    return json;
  }
}
