package dev.hyperfresh.testkit;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.testkit.FaultInjector.Drill;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import tools.jackson.databind.json.JsonMapper;

/// One soak, on a daemon that belongs to it. Several threads replace, each under guests that no
/// other thread touches.
final class SoakRun {
  private static final Duration MAX_BLACKOUT = Duration.ofSeconds(1);
  private static final Duration GOES_ON = Duration.ofSeconds(30);
  private static final String OLDER = "qemu-7.2";
  private static final String NEWER = "qemu-10.0";

  /// What is to be done.
  ///
  /// @param faults percent of the replacements that are broken
  /// @param parallel how many threads, at most as many as guests
  record Order(int replacements, int guests, int faults, int parallel, long seed) {}

  /// What became of the replacements that had one kind of fault, or none.
  private static final class Tally {
    private int committed;
    private int rolledBack;
    private int failed;
    private int early;

    Map<String, Object> json() {
      Map<String, Object> json = new LinkedHashMap<>();
      json.put("committed", committed);
      json.put("rolled_back", rolledBack);
      json.put("failed", failed);
      json.put("ended_before_the_fault", early);
      return json;
    }

    private void add(ReplacementRecord record) {
      switch (record.outcome()) {
        case COMMITTED -> committed++;
        case ROLLED_BACK -> rolledBack++;
        case FAILED -> failed++;
      }
    }
  }

  private final Daemon daemon;
  private final FaultInjector injector;
  private final Cache cache;
  private final Order order;
  private final PrintStream out;
  private final String networkObstacle;
  private final long start = System.nanoTime();
  private final AtomicInteger begun = new AtomicInteger();
  private final List<SoakGuest> guests = new ArrayList<>();
  private final Map<String, Tally> tallies = new TreeMap<>();
  private final Tally total = new Tally();
  private final Sample blackouts = new Sample("blackout");
  private final Sample gaps = new Sample("heartbeat gap");
  private final Sample floors = new Sample("noise floor");
  private final List<String> wrong = new ArrayList<>();

  /// @param out where people read
  /// @param networkObstacle why there is no network, or empty
  SoakRun(
      Daemon daemon,
      FaultInjector injector,
      Cache cache,
      Order order,
      PrintStream out,
      String networkObstacle) {
    this.daemon = daemon;
    this.injector = injector;
    this.cache = cache;
    this.order = order;
    this.out = out;
    this.networkObstacle = networkObstacle;
  }

  void run(boolean json) {
    out.println(
        "Soak: "
            + order.replacements()
            + " replacements under "
            + order.guests()
            + " guests, "
            + order.faults()
            + " % with a fault, --seed "
            + order.seed()
            + (networkObstacle.isEmpty() ? "" : " (no network: " + networkObstacle + ")"));
    try (Losses losses = Losses.of(daemon)) {
      boot();
      replaceAll();
      losses.keep();
      // What follows ends the guests on purpose.
      losses.stop();
      for (SoakGuest guest : guests) {
        guest.finish();
        wrong.addAll(guest.wrong());
      }
      wrong.addAll(losses.all());
      summary();
      if (json) {
        System.out.println(JsonMapper.shared().writeValueAsString(json()));
      }
    } catch (IOException e) {
      throw SoakGuest.cannotStart(e);
    } finally {
      guests.forEach(SoakGuest::close);
    }
    require();
  }

  private void boot() throws IOException {
    GuestImages images = cache.images(this::say);
    QemuRelease older = daemon.releases().get(OLDER);
    Path disks = Files.createDirectories(daemon.config().state().resolve("soak-disks"));
    if (networkObstacle.isEmpty()) {
      DemoRun.ip("link", "set", "lo", "up");
    }
    for (int i = 0; i < order.guests(); i++) {
      SoakGuest guest = new SoakGuest(daemon, i, disks, networkObstacle.isEmpty(), order.seed());
      guests.add(guest);
      guest.start(images, older);
    }
    for (SoakGuest guest : guests) {
      guest.awaitBoot();
    }
    say(guests.size() + " guests have booted");
  }

  private void say(String line) {
    out.println("  " + line);
  }

  private void replaceAll() {
    List<Thread> workers =
        IntStream.range(0, order.parallel())
            .mapToObj(i -> Thread.ofPlatform().name("soak-" + i).daemon().start(() -> work(i)))
            .toList();
    try {
      for (Thread worker : workers) {
        worker.join();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void work(int worker) {
    List<SoakGuest> mine =
        IntStream.range(0, guests.size())
            .filter(i -> i % order.parallel() == worker)
            .mapToObj(guests::get)
            .toList();
    try {
      for (int turn = 0; mine.stream().anyMatch(guest -> !guest.lost()); turn++) {
        SoakGuest guest = mine.get(turn % mine.size());
        if (guest.lost()) {
          continue;
        }
        int number = begun.incrementAndGet();
        if (number > order.replacements()) {
          return;
        }
        replace(guest, number);
      }
    } catch (RuntimeException e) {
      note("a replacement ended with an error: " + e.getMessage());
    }
  }

  private synchronized void note(String fault) {
    wrong.add(fault);
    say(fault);
  }

  private void replace(SoakGuest guest, int number) {
    String to = guest.view().release().startsWith(OLDER) ? NEWER : OLDER;
    // One that stands because its hypervisor was silent goes on by itself when that answers.
    var _ = Await.holdsWithin(GOES_ON, () -> guest.view().detail().isEmpty());
    boolean broken = guest.random().nextInt(100) < order.faults();
    Optional<FaultPlan> plan =
        broken ? Optional.of(FaultMatrix.random(guest.random())) : Optional.empty();
    Drill drill =
        plan.isPresent()
            ? injector.drill(
                plan.get(), guest.view(), progress -> replace(guest.name(), to, progress))
            : new Drill(replace(guest.name(), to, Progress.NONE), true);
    guest.check(drill.record());
    count(number, plan, drill);
  }

  private ReplacementRecord replace(String guest, String to, Progress progress) {
    return daemon.guests().replace(guest, to, MAX_BLACKOUT, progress);
  }

  private synchronized void count(int number, Optional<FaultPlan> plan, Drill drill) {
    ReplacementRecord record = drill.record();
    Tally tally =
        tallies.computeIfAbsent(
            plan.map(planned -> planned.fault().toString()).orElse("none"), _ -> new Tally());
    total.add(record);
    tally.add(record);
    if (!drill.wentOff()) {
      tally.early++;
      total.early++;
    }
    // What a fault lengthened says nothing of a blackout.
    if (plan.isEmpty() && record.blackoutMs().isPresent()) {
      blackouts.add(record.blackoutMs().getAsDouble());
      record.guestGapMs().ifPresent(gaps::add);
      record.noiseFloorMs().ifPresent(floors::add);
    }
    String figures =
        record.committed()
            ? String.format(Locale.ROOT, "%.2f ms", record.blackoutMs().orElse(Double.NaN))
            : record.problem();
    out.printf(
        Locale.ROOT,
        "  %d/%d %s to %s: %s, %s%s%n",
        number,
        order.replacements(),
        record.guest(),
        record.to(),
        record.outcome().label(),
        figures,
        plan.map(planned -> "  [" + planned + (drill.wentOff() ? "]" : ", not reached]"))
            .orElse(""));
  }

  private long bytesLost() {
    return guests.stream().mapToLong(SoakGuest::bytesLost).sum();
  }

  private long bytesSent() {
    return guests.stream().mapToLong(SoakGuest::bytesSent).sum();
  }

  private long guestsLost() {
    return guests.stream().filter(SoakGuest::lost).count();
  }

  private int done() {
    return total.committed + total.rolledBack + total.failed;
  }

  private void summary() {
    out.println();
    say(
        String.format(
            Locale.ROOT,
            "%d replacements in %.0f s: %d committed, %d rolled back, %d failed",
            done(),
            (System.nanoTime() - start) / 1e9,
            total.committed,
            total.rolledBack,
            total.failed));
    tallies.forEach((fault, tally) ->
        say(
            String.format(
                Locale.ROOT,
                "  %-22s %4d committed, %4d rolled back%s",
                fault,
                tally.committed,
                tally.rolledBack,
                tally.early == 0 ? "" : ", " + tally.early + " over before the fault")));
    say("guests lost: " + guestsLost() + "; wrong: " + wrong.size());
    wrong.forEach(sentence -> say("  " + sentence));
    say(
        "records acknowledged by disks: "
            + guests.stream().mapToLong(SoakGuest::diskRecords).sum()
            + ", all present unless listed above");
    if (networkObstacle.isEmpty()) {
      say("TCP: " + bytesSent() + " bytes sent, " + bytesLost() + " lost, 0 reconnects");
    }
    for (Sample sample : List.of(blackouts, gaps, floors)) {
      if (sample.size() > 0) {
        say("without a fault, " + sample);
      }
    }
  }

  private Map<String, Object> json() {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("seed", order.seed());
    json.put("guests", order.guests());
    json.put("replacements", done());
    json.putAll(total.json());
    Map<String, Object> byFault = new LinkedHashMap<>();
    tallies.forEach((fault, tally) -> byFault.put(fault, tally.json()));
    json.put("faults", byFault);
    json.put("guests_lost", guestsLost());
    json.put("wrong", wrong);
    json.put("tcp_bytes_sent", bytesSent());
    json.put("tcp_bytes_lost", bytesLost());
    json.put("blackout_ms", percentiles(blackouts));
    json.put("guest_gap_ms", percentiles(gaps));
    json.put("noise_floor_ms", percentiles(floors));
    json.put("seconds", (System.nanoTime() - start) / 1_000_000_000);
    return json;
  }

  /// The middle and the upper end of a sample, as an object of JSON.
  static Map<String, Object> percentiles(Sample sample) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("n", sample.size());
    if (sample.size() > 0) {
      json.put("p50", sample.quantile(0.5));
      json.put("p90", sample.quantile(0.9));
      json.put("p99", sample.quantile(0.99));
      json.put("max", sample.quantile(1));
    }
    return json;
  }

  private void require() {
    List<String> faults = new ArrayList<>(wrong);
    guests.stream().map(SoakGuest::streamFault).filter(f -> !f.isEmpty()).forEach(faults::add);
    if (bytesLost() != 0) {
      faults.add(bytesLost() + " of " + bytesSent() + " bytes of TCP did not come back.");
    }
    if (done() < order.replacements()) {
      faults.add(done() + " of " + order.replacements() + " replacements were done.");
    }
    if (total.failed > 0) {
      faults.add(total.failed + " replacements lost their guest.");
    }
    if (!faults.isEmpty()) {
      throw Problem.RUN_LOST.because(String.join("\n  ", faults));
    }
  }
}
