package dev.hyperfresh.testkit;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.Views;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import tools.jackson.databind.json.JsonMapper;

/// One demonstration, on a daemon that belongs to it.
final class DemoRun {
  private static final Duration MAX_BLACKOUT = Duration.ofSeconds(5);
  private static final Duration BOOT_PATIENCE = Duration.ofMinutes(5);
  private static final String OLDER = "qemu-7.2";
  private static final String NEWER = "qemu-10.0";
  private static final String TAP = "hf-demo";
  private static final String HOST_ADDRESS = "10.77.0.1/24";
  private static final String GUEST_ADDRESS = "10.77.0.2";
  private static final int ECHO_PORT = 7;

  private final Daemon daemon;
  private final Cache cache;
  private final PrintStream out;
  private final String networkObstacle;
  private final Injection injection;
  private final Timeline timeline;
  private final List<ReplacementRecord> records = new ArrayList<>();
  private final Map<String, Object> tcp = new LinkedHashMap<>();

  /// @param out where people read
  /// @param networkObstacle why there is no network, or empty
  /// @param injection what is broken on purpose
  DemoRun(
      Daemon daemon, Cache cache, PrintStream out, String networkObstacle, Injection injection) {
    this.daemon = daemon;
    this.cache = cache;
    this.out = out;
    this.networkObstacle = networkObstacle;
    this.injection = injection;
    this.timeline = new Timeline(out);
  }

  /// Brings everything that a demonstration needs and this machine lacks.
  static void fetch(Cache cache, PrintStream out) {
    Consumer<String> say = line -> out.println("  " + line);
    cache.releases().fetch(OLDER, say);
    cache.releases().fetch(NEWER, say);
    cache.images(say);
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RUN_LOST] when anything that it
  ///   shows was lost
  void run(boolean json) {
    QemuRelease older = daemon.releases().get(OLDER);
    QemuRelease newer = daemon.releases().get(NEWER);
    GuestImages images = cache.images(this::say);
    try (Losses losses = Losses.of(daemon)) {
      losses.during(() -> linux(images, older, newer, losses));
      losses.during(() -> ring3(images, older, newer, losses));
      summary(losses.all());
      if (json) {
        System.out.println(
            JsonMapper.shared()
                .writeValueAsString(
                    Map.of(
                        "replacements",
                        records.stream().map(Views::replacement).toList(),
                        "tcp",
                        tcp,
                        "lost",
                        losses.all())));
      }
      losses.require();
    }
  }

  private void say(String line) {
    out.println("  " + line);
  }

  private void linux(GuestImages images, QemuRelease older, QemuRelease newer, Losses losses) {
    boolean networked = networkObstacle.isEmpty();
    out.println(
        "A Linux guest that serves TCP"
            + (networked ? "" : " (no network: " + networkObstacle + ")"));
    GuestSpec spec =
        spec(
            "web1",
            512,
            AcceleratorWish.AUTO,
            new KernelBoot(
                images.kernel(),
                Optional.of(images.initrd()),
                "console=ttyS0 quiet cryptomgr.notests hf.ip=" + GUEST_ADDRESS + "/24"),
            networked ? List.of(new Nic(TAP, Optional.empty(), "52:54:00:77:00:02")) : List.of());
    daemon.hyperplexor().create(spec, older, (_, text) -> say(text));
    awaitReady("web1");
    if (networked) {
      withStream(older, newer, losses);
    } else {
      tcp.put("skipped", networkObstacle);
      replace("web1", newer, Optional.empty(), losses);
      replace("web1", older, Optional.empty(), losses);
    }
    losses.keep();
    daemon.hyperplexor().delete("web1");
  }

  private void withStream(QemuRelease older, QemuRelease newer, Losses losses) {
    ip("link", "set", "lo", "up");
    ip("addr", "add", HOST_ADDRESS, "dev", TAP);
    try (EchoStream stream = EchoStream.open(new InetSocketAddress(GUEST_ADDRESS, ECHO_PORT))) {
      losses.during(() -> {
        replace("web1", newer, Optional.of(stream), losses);
        replace("web1", older, Optional.of(stream), losses);
      });
      stream.finish(Duration.ofSeconds(10));
      tcp.putAll(stream.json());
      losses.check("web1", stream);
    } catch (IOException e) {
      throw Problem.INTERNAL.because("The guest's echo server: " + e.getMessage(), e);
    }
  }

  private void ring3(GuestImages images, QemuRelease older, QemuRelease newer, Losses losses) {
    out.println();
    KvmProbe.Result kvm = KvmProbe.probe(Path.of("/dev/kvm"));
    if (kvm.verdict() != KvmProbe.Verdict.USABLE && kvm.verdict() != KvmProbe.Verdict.SLOW_RING0) {
      out.println("No guest on real KVM: " + kvm.reason());
      return;
    }
    out.println("A guest on real KVM that counts in ring 3");
    daemon
        .hyperplexor()
        .create(
            spec(
                "ring3",
                512,
                AcceleratorWish.KVM,
                new KernelBoot(images.ring3(), Optional.empty(), ""),
                List.of()),
            older,
            (_, text) -> say(text));
    awaitHeartbeat("ring3");
    replace("ring3", newer, Optional.empty(), losses);
    replace("ring3", older, Optional.empty(), losses);
    losses.keep();
    daemon.hyperplexor().delete("ring3");
  }

  private static GuestSpec spec(
      String name, long mebibytes, AcceleratorWish accelerator, KernelBoot boot, List<Nic> nics) {
    return new GuestSpec(
        name,
        1,
        mebibytes << 20,
        "pc-q35-7.2",
        "qemu64",
        accelerator,
        Optional.of(boot),
        List.of(),
        nics);
  }

  private void replace(String guest, QemuRelease to, Optional<EchoStream> stream, Losses losses) {
    stream.ifPresent(EchoStream::takeLongestStallMs);
    ReplacementRecord record =
        daemon.guests().replace(guest, to.name(), MAX_BLACKOUT, Progress.NONE);
    records.add(record);
    losses.check(record);
    timeline.draw(
        record,
        stream.isPresent()
            ? OptionalDouble.of(stream.get().takeLongestStallMs())
            : OptionalDouble.empty());
    if (injection == Injection.KILL_TARGET_AFTER_COMMIT && record.committed()) {
      Injection.kill(daemon.hyperplexor().show(guest).pid());
      Await.until(
          "the end of " + guest,
          BOOT_PATIENCE,
          () -> daemon.hyperplexor().show(guest).state() == GuestView.State.STOPPED);
    }
  }

  private void awaitReady(String guest) {
    Path console = daemon.hyperplexor().show(guest).files().resolve("console.log");
    await(
        "The guest did not boot within " + BOOT_PATIENCE.toMinutes() + " minutes.",
        () -> {
          try {
            return Files.exists(console) && Files.readString(console).contains("HF-GUEST READY");
          } catch (IOException e) {
            return false;
          }
        });
    say("the guest has booted");
  }

  private void awaitHeartbeat(String guest) {
    await(
        "The guest did not start counting within " + BOOT_PATIENCE.toMinutes() + " minutes.",
        () -> daemon.hyperplexor().hasHeartbeat(guest));
    say("the guest counts");
  }

  private static void await(String failure, java.util.function.BooleanSupplier condition) {
    long deadline = System.nanoTime() + BOOT_PATIENCE.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadline || Thread.currentThread().isInterrupted()) {
        throw Problem.GUEST_START.because(failure);
      }
      LockSupport.parkNanos(50_000_000);
    }
  }

  /// iproute2, because netlink has no binding that is better kept than that.
  static void ip(String... arguments) {
    List<String> command = new ArrayList<>(List.of("ip"));
    command.addAll(List.of(arguments));
    try {
      Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
      String said =
          new String(
              process.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
      if (process.waitFor() != 0) {
        throw Problem.HOST_MISSING.because(String.join(" ", command) + ": " + said.strip());
      }
    } catch (IOException e) {
      throw Problem.HOST_MISSING.because("iproute2: " + e.getMessage(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw Problem.HOST_MISSING.because(String.join(" ", command) + ": interrupted", e);
    }
  }

  private void summary(List<String> lost) {
    long committed = records.stream().filter(ReplacementRecord::committed).count();
    out.println();
    say(
        committed
            + " of "
            + records.size()
            + " replacements committed; RAM bytes copied: "
            + copied(records));
    if (tcp.containsKey("bytes_sent")) {
      say(EchoStream.sentence(tcp));
    }
    if (!lost.isEmpty()) {
      say("LOST: " + lost.size() + ", listed below");
    }
  }

  /// The sum, unless that of one is not known.
  static String copied(List<ReplacementRecord> records) {
    return records.stream().anyMatch(record -> record.ramBytesCopied().isEmpty())
        ? "unknown"
        : Long.toString(
            records.stream().mapToLong(record -> record.ramBytesCopied().getAsLong()).sum());
  }
}
