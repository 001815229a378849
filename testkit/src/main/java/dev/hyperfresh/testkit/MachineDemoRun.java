package dev.hyperfresh.testkit;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.Replaced;
import dev.hyperfresh.daemon.Views;
import dev.hyperfresh.hyperplexor.GuestRollout;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.vm.VmReleases;
import dev.hyperfresh.vm.VmSettings;
import java.io.IOException;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import tools.jackson.databind.json.JsonMapper;

/// One demonstration of machines, on a daemon that belongs to it.
final class MachineDemoRun {
  private static final String HARDWARE = "qemu-10.0";
  private static final String QEMU = "10.0";
  private static final String OLDER = "6.1";
  private static final String NEWER = "6.12";
  private static final String TAP = "hf-demo";
  private static final String HOST_ADDRESS = "10.77.0.1/24";
  private static final String GUEST_ADDRESS = "10.77.0.2";
  private static final int ECHO_PORT = 7;
  private static final int GUESTS = 2;
  private static final int VCPUS = 2;

  /// Guests in translated machines are translated twice: on a busy host they have needed more than
  /// three minutes.
  private static final Duration PATIENCE = Duration.ofMinutes(10);

  private static final Duration MAX_BLACKOUT = Duration.ofSeconds(20);

  /// How long the last bytes of the stream may take to come back.
  private static final Duration LAST_BYTES = Duration.ofSeconds(30);

  /// About what the state of such a guest has.
  private static final int STATE_BYTES = 400_000;

  private static final Duration SAMPLE = Duration.ofSeconds(3);

  private final Daemon daemon;
  private final MeasuredWay way;
  private final Cache cache;
  private final PrintStream out;
  private final String networkObstacle;
  private final Injection injection;
  private final Timeline timeline;
  private final List<Map<String, Object>> moves = new ArrayList<>();
  private final List<ReplacementRecord> records = new ArrayList<>();
  private final Map<String, Object> tcp = new LinkedHashMap<>();
  private final Map<String, Object> exits = new LinkedHashMap<>();
  private volatile OptionalDouble whilePreparing = OptionalDouble.empty();

  /// @param way where the daemon's guests are moved
  /// @param out where people read
  /// @param networkObstacle why there is no network, or empty
  /// @param injection what is broken on purpose
  MachineDemoRun(
      Daemon daemon,
      MeasuredWay way,
      Cache cache,
      PrintStream out,
      String networkObstacle,
      Injection injection) {
    this.daemon = daemon;
    this.way = way;
    this.cache = cache;
    this.out = out;
    this.networkObstacle = networkObstacle;
    this.injection = injection;
    this.timeline = new Timeline(out);
  }

  /// Brings everything that a demonstration needs and this machine lacks.
  static void fetch(Cache cache, PrintStream out) {
    Consumer<String> say = line -> out.println("  " + line);
    cache.releases().fetch(HARDWARE, say);
    VmReleases<MachineRelease> machines = cache.machineReleases();
    for (String kernel : List.of(OLDER, NEWER)) {
      var _ = machines.find(release(kernel)).orElseGet(() -> machines.build(kernel, QEMU, say));
    }
    cache.images(say);
  }

  /// The release of machines with a kernel.
  static String release(String kernel) {
    return "machine-" + kernel + "+qemu-" + QEMU;
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RUN_LOST] when anything that it
  ///   shows was lost
  void run(boolean json) {
    out.println("The brackets below say whether machines are translated (tcg) here, and why.");
    try (Losses losses = Losses.of(daemon)) {
      losses.during(() -> demonstrate(losses));
      summary(losses.all());
      if (json) {
        System.out.println(
            JsonMapper.shared()
                .writeValueAsString(
                    Map.of(
                        "replacements", moves, "tcp", tcp, "exits", exits, "lost", losses.all())));
      }
      losses.require();
    }
    daemon.hyperplexor().delete("web1");
    daemon.hyperplexor().delete("web2");
  }

  private void demonstrate(Losses losses) {
    Machine older = machine("m1", OLDER);
    boolean networked = networkObstacle.isEmpty();
    out.println(
        "Two Linux guests in m1, one of which serves TCP"
            + (networked ? "" : " (no network: " + networkObstacle + ")"));
    // A guest that has booted takes its part of the machine from one that boots.
    long web1 = start("web1", older, networked);
    long web2 = start("web2", older, false);
    awaitBoot("web1", web1, losses);
    awaitBoot("web2", web2, losses);
    out.println("The new machine boots beside the old one while the guests keep running");
    Machine newer = machine("m2", NEWER);
    if (networked) {
      withStream(older, newer, losses);
    } else {
      move(older, newer, Optional.empty(), losses);
    }
  }

  private void say(String line) {
    out.println("  " + line);
  }

  private Machine machine(String name, String kernel) {
    return daemon
        .machines()
        .create(
            name, release(kernel), VCPUS, VmSettings.DEFAULT_MEMORY_BYTES, (_, text) -> say(text));
  }

  /// Makes a guest that boots.
  ///
  /// @return when, by [Clock#monotonicNanos]
  private long start(String name, Machine on, boolean networked) {
    GuestImages images = cache.images(this::say);
    GuestSpec spec =
        new GuestSpec(
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
                    "console=ttyS0 quiet cryptomgr.notests hf.period=2000 hf.ip="
                        + GUEST_ADDRESS
                        + "/24")),
            List.of(),
            networked ? List.of(new Nic(TAP, Optional.empty(), "52:54:00:77:00:02")) : List.of());
    long begin = Clock.monotonicNanos();
    daemon.hyperplexor().create(spec, on, Progress.NONE);
    return begin;
  }

  private void awaitBoot(String name, long begin, Losses losses) {
    Path console = daemon.hyperplexor().show(name).files().resolve("console.log");
    await(
        name + " did not boot within " + PATIENCE.toMinutes() + " minutes.",
        losses,
        () -> contains(console, "HF-GUEST READY"));
    say(
        String.format(
            Locale.ROOT, "%s has booted, in %.0f s", name, (Clock.monotonicNanos() - begin) / 1e9));
  }

  /// Whether a file is there and has a text in it.
  static boolean contains(Path file, String text) {
    try {
      return Files.exists(file) && Files.readString(file).contains(text);
    } catch (IOException e) {
      return false;
    }
  }

  private static void await(String failure, Losses losses, BooleanSupplier condition) {
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadline
          || Thread.currentThread().isInterrupted()
          || !losses.all().isEmpty()) {
        throw Problem.GUEST_START.because(failure);
      }
      LockSupport.parkNanos(50_000_000);
    }
  }

  private void withStream(Machine older, Machine newer, Losses losses) {
    DemoRun.ip("link", "set", "lo", "up");
    DemoRun.ip("addr", "add", HOST_ADDRESS, "dev", TAP);
    exits.put("idle_per_second", Math.round(exitsPerSecond(older)));
    try (EchoStream stream = EchoStream.open(new InetSocketAddress(GUEST_ADDRESS, ECHO_PORT))) {
      losses.during(() -> move(older, newer, Optional.of(stream), losses));
      // Nothing more comes from a guest that is gone.
      stream.finish(losses.all().isEmpty() ? LAST_BYTES : Duration.ofSeconds(1));
      tcp.putAll(stream.json());
      losses.check("web1", stream);
    } catch (IOException e) {
      throw Problem.INTERNAL.because("The guest's echo server: " + e.getMessage(), e);
    }
  }

  private void move(Machine older, Machine newer, Optional<EchoStream> stream, Losses losses) {
    exits.put("before_per_second", Math.round(exitsPerSecond(older)));
    stream.ifPresent(EchoStream::takeLongestStallMs);
    double relayMs = older.relayMs(newer, STATE_BYTES);
    Replaced<ReplacementRecord> replaced = replace(older);
    OptionalDouble stall =
        stream.isPresent()
            ? OptionalDouble.of(stream.get().takeLongestStallMs())
            : OptionalDouble.empty();
    for (Rollout.Entry<ReplacementRecord> entry : replaced.rollout().entries()) {
      entry
          .record()
          .ifPresentOrElse(
              record -> {
                losses.check(record);
                show(
                    record,
                    relayMs,
                    record.guest().equals("web1") ? stall : OptionalDouble.empty());
              },
              () -> losses.add(entry.name() + " did not move: " + entry.detail()));
    }
    out.printf(
        Locale.ROOT,
        "%n  Without a QEMU at either end, %d bytes take %.1f ms between the machines.%n",
        STATE_BYTES,
        relayMs);
    if (injection == Injection.KILL_TARGET_AFTER_COMMIT) {
      Injection.kill(newer.pid());
      Await.until("the end of " + newer.name(), PATIENCE, newer::ended);
    }
    exits.put("after_per_second", Math.round(exitsPerSecond(newer)));
  }

  private Replaced<ReplacementRecord> replace(Machine older) {
    long begin = Clock.monotonicNanos();
    long counted = exits(older);
    Replaced<ReplacementRecord> replaced =
        daemon.replaceMachine(
            "m1",
            "m2",
            target ->
                new GuestRollout.Order(
                    target.guests(),
                    target.machine(),
                    Optional.empty(),
                    new Rollout.Pace(2, 0, Duration.ZERO),
                    MAX_BLACKOUT,
                    true,
                    false),
            (_, state, text) -> {
              if (state.equals("Prepared") && whilePreparing.isEmpty()) {
                // Later the guests leave, and KVM forgets what it counted of them.
                double seconds = (Clock.monotonicNanos() - begin) / 1e9;
                whilePreparing = OptionalDouble.of((exits(older) - counted) / seconds);
              } else if (state.equals("retire")) {
                say(text);
              }
              return true;
            });
    whilePreparing.ifPresent(rate -> exits.put("while_preparing_per_second", Math.round(rate)));
    return replaced;
  }

  private void show(ReplacementRecord record, double relayMs, OptionalDouble stall) {
    timeline.draw(record, stall);
    Map<String, Object> move = new LinkedHashMap<>(Views.replacement(record));
    move.put("relay_ms", Math.round(relayMs * 1000) / 1000.0);
    way.phases(record.guest())
        .ifPresent(phases -> {
          move.put("phases_ms", phases.json());
          show(phases);
        });
    moves.add(move);
    records.add(record);
  }

  private void show(MeasuredWay.Phases phases) {
    out.printf(
        Locale.ROOT,
        "    of the blackout, the source took %.1f ms, the way %.1f ms, the target %.1f ms%n",
        phases.saveMs(),
        phases.wayMs(),
        phases.loadMs());
  }

  private static double exitsPerSecond(Machine machine) {
    long begin = Clock.monotonicNanos();
    long before = exits(machine);
    LockSupport.parkNanos(SAMPLE.toNanos());
    return (exits(machine) - before) * 1e9 / (Clock.monotonicNanos() - begin);
  }

  /// What the machine's own KVM counted: each time a processor of a guest in it left the guest.
  private static long exits(Machine machine) {
    return machine.agent().kvm().getOrDefault("exits", 0L);
  }

  private void summary(List<String> lost) {
    out.println();
    say(
        records.stream().filter(ReplacementRecord::committed).count()
            + " of "
            + GUESTS
            + " guests moved from Linux "
            + OLDER
            + " to Linux "
            + NEWER
            + "; RAM bytes copied: "
            + DemoRun.copied(records));
    if (tcp.containsKey("bytes_sent")) {
      say(EchoStream.sentence(tcp));
    }
    say("VM exits counted by the machines' KVM: " + exits);
    if (!lost.isEmpty()) {
      say("LOST: " + lost.size() + ", listed below");
    }
  }
}
