package dev.hyperfresh.testkit;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.MachineRoom;
import dev.hyperfresh.daemon.Views;
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
import dev.hyperfresh.machine.MachineReleases;
import dev.hyperfresh.machine.MachineSettings;
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
  private static final int VCPUS = 2;
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration MAX_BLACKOUT = Duration.ofSeconds(20);

  /// About what the state of such a guest has.
  private static final int STATE_BYTES = 400_000;

  private static final Duration SAMPLE = Duration.ofSeconds(3);

  private final Daemon daemon;
  private final MeasuredWay way;
  private final Cache cache;
  private final PrintStream out;
  private final String networkObstacle;
  private final Timeline timeline;
  private final Map<String, Object> tcp = new LinkedHashMap<>();
  private final Map<String, Object> exits = new LinkedHashMap<>();
  private volatile OptionalDouble whilePreparing = OptionalDouble.empty();

  /// @param way where the daemon's guests are moved
  /// @param out where people read
  /// @param networkObstacle why there is no network, or empty
  MachineDemoRun(
      Daemon daemon, MeasuredWay way, Cache cache, PrintStream out, String networkObstacle) {
    this.daemon = daemon;
    this.way = way;
    this.cache = cache;
    this.out = out;
    this.networkObstacle = networkObstacle;
    this.timeline = new Timeline(out);
  }

  /// Brings everything that a demonstration needs and this machine lacks.
  static void fetch(Cache cache, PrintStream out) {
    Consumer<String> say = line -> out.println("  " + line);
    cache.releases().fetch(HARDWARE, say);
    MachineReleases machines = cache.machineReleases();
    for (String kernel : List.of(OLDER, NEWER)) {
      var _ = machines.find(name(kernel)).orElseGet(() -> machines.build(kernel, QEMU, say));
    }
    cache.images(say);
  }

  private static String name(String kernel) {
    return "machine-" + kernel + "+qemu-" + QEMU;
  }

  void run(boolean json) {
    out.println("Whether machines are translated (tcg) here, and why, stands in brackets below.");
    Machine older = machine("m1", OLDER);
    boolean networked = networkObstacle.isEmpty();
    out.println(
        "Two Linux guests in m1, one of which serves TCP"
            + (networked ? "" : " (no network: " + networkObstacle + ")"));
    create("web1", older, networked);
    create("web2", older, false);
    out.println("The new machine boots beside the old one, and the guests run on");
    Machine newer = machine("m2", NEWER);
    List<Map<String, Object>> moves =
        networked ? withStream(older, newer) : move(older, newer, Optional.empty());
    summary(moves);
    if (json) {
      System.out.println(
          JsonMapper.shared()
              .writeValueAsString(Map.of("replacements", moves, "tcp", tcp, "exits", exits)));
    }
    if (moves.stream().anyMatch(move -> !"committed".equals(move.get("outcome")))) {
      throw Problem.REPLACE_SWITCH.because("Not every guest of the demonstration moved.");
    }
    daemon.hyperplexor().delete("web1");
    daemon.hyperplexor().delete("web2");
  }

  private void say(String line) {
    out.println("  " + line);
  }

  private Machine machine(String name, String kernel) {
    return daemon
        .machines()
        .create(
            name,
            name(kernel),
            VCPUS,
            MachineSettings.DEFAULT_MEMORY_BYTES,
            (_, text) -> say(text));
  }

  private void create(String name, Machine on, boolean networked) {
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
                    "console=ttyS0 quiet cryptomgr.notests hf.ip=" + GUEST_ADDRESS + "/24")),
            List.of(),
            networked ? List.of(new Nic(TAP, Optional.empty(), "52:54:00:77:00:02")) : List.of());
    long begin = Clock.monotonicNanos();
    daemon.hyperplexor().create(spec, on, Progress.NONE);
    Path console = daemon.hyperplexor().show(name).files().resolve("console.log");
    await(
        name + " did not boot within " + PATIENCE.toMinutes() + " minutes.",
        () -> contains(console, "HF-GUEST READY"));
    say(
        String.format(
            Locale.ROOT, "%s has booted, in %.0f s", name, (Clock.monotonicNanos() - begin) / 1e9));
  }

  private static boolean contains(Path file, String text) {
    try {
      return Files.exists(file) && Files.readString(file).contains(text);
    } catch (IOException e) {
      return false;
    }
  }

  private static void await(String failure, BooleanSupplier condition) {
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadline) {
        throw Problem.GUEST_START.because(failure);
      }
      LockSupport.parkNanos(50_000_000);
    }
  }

  private List<Map<String, Object>> withStream(Machine older, Machine newer) {
    DemoRun.ip("link", "set", "lo", "up");
    DemoRun.ip("addr", "add", HOST_ADDRESS, "dev", TAP);
    exits.put("idle_per_second", Math.round(exitsPerSecond(older)));
    try (EchoStream stream = EchoStream.open(new InetSocketAddress(GUEST_ADDRESS, ECHO_PORT))) {
      List<Map<String, Object>> moves = move(older, newer, Optional.of(stream));
      stream.finish(Duration.ofSeconds(30));
      tcp.put("bytes_sent", stream.bytesSent());
      tcp.put("bytes_lost", stream.bytesLost());
      tcp.put("reconnects", 0);
      if (!stream.fault().isEmpty()) {
        tcp.put("fault", stream.fault());
      }
      return moves;
    } catch (IOException e) {
      throw Problem.INTERNAL.because("The guest's echo server: " + e.getMessage(), e);
    }
  }

  private List<Map<String, Object>> move(
      Machine older, Machine newer, Optional<EchoStream> stream) {
    exits.put("before_per_second", Math.round(exitsPerSecond(older)));
    stream.ifPresent(EchoStream::takeLongestStallMs);
    double relayMs = older.relayMs(newer, STATE_BYTES);
    long begin = Clock.monotonicNanos();
    long counted = exits(older);
    MachineRoom.Replaced replaced =
        daemon.replaceMachine(
            "m1",
            "m2",
            target ->
                new Rollout.Order(
                    target.guests(),
                    target.machine(),
                    Optional.empty(),
                    2,
                    0,
                    Duration.ZERO,
                    MAX_BLACKOUT,
                    true),
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
    OptionalDouble stall =
        stream.isPresent()
            ? OptionalDouble.of(stream.get().takeLongestStallMs())
            : OptionalDouble.empty();
    exits.put("after_per_second", Math.round(exitsPerSecond(newer)));
    List<Map<String, Object>> moves = new ArrayList<>();
    for (Rollout.Entry entry : replaced.rollout().guests()) {
      ReplacementRecord record = entry.record().orElse(null);
      if (record == null) {
        throw Problem.REPLACE_SWITCH.because(entry.guest() + ": " + entry.detail());
      }
      timeline.draw(record, record.guest().equals("web1") ? stall : OptionalDouble.empty());
      Map<String, Object> move = new LinkedHashMap<>(Views.replacement(record));
      move.put("relay_ms", Math.round(relayMs * 1000) / 1000.0);
      way.phases(record.guest())
          .ifPresent(phases -> {
            move.put("phases_ms", phases.json());
            show(phases);
          });
      moves.add(move);
    }
    out.printf(
        Locale.ROOT,
        "%n  The way of %d bytes between the machines, with nobody at its ends, takes %.1f ms.%n",
        STATE_BYTES,
        relayMs);
    return moves;
  }

  private void show(MeasuredWay.Phases phases) {
    out.printf(
        Locale.ROOT,
        "    of the blackout, the old QEMU took %.1f ms, the way %.1f ms, the new QEMU %.1f ms%n",
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

  private void summary(List<Map<String, Object>> moves) {
    out.println();
    say(
        moves.stream().filter(move -> "committed".equals(move.get("outcome"))).count()
            + " of "
            + moves.size()
            + " guests moved from Linux "
            + OLDER
            + " to Linux "
            + NEWER
            + "; RAM bytes copied: "
            + moves.stream()
                .mapToLong(move -> move.get("ram_bytes_copied") instanceof Long bytes ? bytes : 0)
                .sum());
    if (tcp.containsKey("bytes_sent")) {
      say(
          "TCP: "
              + tcp.get("bytes_sent")
              + " bytes sent and echoed, "
              + tcp.get("bytes_lost")
              + " lost, 0 reconnects");
    }
    say("VM exits counted by the machines' KVM: " + exits);
  }
}
