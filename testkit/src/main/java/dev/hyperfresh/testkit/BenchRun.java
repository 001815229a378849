package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.testkit.BenchResult.Measured;
import dev.hyperfresh.testkit.BenchTurns.Lane;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;

/// One run of the benchmark. [#close] may be called by another thread, and ends all its guests.
final class BenchRun implements AutoCloseable {
  /// How long a quick run may take, with some time to spare for what is under way then.
  private static final Duration QUICK = Duration.ofSeconds(250);

  /// The same of a whole run.
  private static final Duration WHOLE = Duration.ofMinutes(55);

  /// For a guest's boot, as far as there is time.
  private static final Duration BOOT = Duration.ofMinutes(5);

  private static final Duration LEAST_BOOT = Duration.ofSeconds(30);

  private static final String READY = "HF-GUEST READY";

  private final Path state;
  private final boolean quick;
  private final PrintStream out;
  private final String loadBefore = BenchHost.load();
  private final KvmProbe.Result kvm = KvmProbe.probe(Path.of("/dev/kvm"));
  private final GuestImages images;
  private final QemuRelease older;
  private final QemuRelease newer;
  private final BenchPace pace;
  private final Hyperplexor hyperplexor;
  private final Deque<Contender> running = new ArrayDeque<>();
  private final List<String> leftOut = new ArrayList<>();
  private long bootedBy;
  private boolean closed;

  /// Its time begins now.
  ///
  /// @param state an empty folder
  /// @param out where people read
  BenchRun(Path state, Cache cache, boolean quick, PrintStream out) {
    this.state = state;
    this.quick = quick;
    this.out = out;
    this.images = cache.images(line -> out.println("  " + line));
    this.older = cache.releases().get("qemu-7.2");
    this.newer = cache.releases().get("qemu-10.0");
    this.pace = new BenchPace(quick ? QUICK : WHOLE, System::nanoTime);
    this.hyperplexor = new Hyperplexor(state, new Kinds(new Qemu()), kvm, _ -> {});
  }

  private boolean hasKvm() {
    return kvm.verdict() == KvmProbe.Verdict.USABLE || kvm.verdict() == KvmProbe.Verdict.SLOW_RING0;
  }

  /// Takes minutes.
  BenchResult measure(Set<BenchSuite> suites) {
    List<BenchScene> scenes =
        suites.contains(BenchSuite.RIVALS) ? BenchScene.all(images, hasKvm(), quick) : List.of();
    List<BenchScene.Series> series =
        suites.contains(BenchSuite.MEMORY)
            ? BenchScene.memory(images, hasKvm(), Host.availableMemoryBytes(), quick)
            : List.of();
    scenes.forEach(scene -> pace.plan(scene.expected()));
    if (!series.isEmpty()) {
      pace.plan(expected(series));
    }
    announce();
    List<BenchResult.Scene> measured = new ArrayList<>();
    for (BenchScene scene : scenes) {
      if (isPossible(scene)) {
        measured.add(measure(scene));
      }
    }
    List<BenchResult.Series> memory = series.isEmpty() ? List.of() : memory(series);
    return new BenchResult(
        BenchHost.here(kvm, loadBefore), older.name(), newer.name(), measured, memory, leftOut);
  }

  private void announce() {
    out.println(
        "moving between "
            + older.name()
            + " and "
            + newer.name()
            + ": about "
            + BenchPace.words(pace.toGo())
            + ", at most "
            + BenchPace.words(pace.left())
            + " and what is under way then");
    if (!hasKvm()) {
      out.println("no guests on KVM: " + kvm.reason());
    }
  }

  private boolean isPossible(BenchScene scene) {
    if (!pace.hasTimeFor(scene.expected())) {
      pace.skip(scene.expected());
      leftOut.add(scene.name() + ": there was no time left for it");
      return false;
    }
    long available = Host.availableMemoryBytes();
    if (scene.needs() > available) {
      pace.skip(scene.expected());
      leftOut.add(
          scene.name()
              + ": needs "
              + (scene.needs() >> 20)
              + " MiB of memory, "
              + (available >> 20)
              + " are available");
      return false;
    }
    return true;
  }

  /// Measures one scene.
  BenchResult.Scene measure(BenchScene scene) {
    BenchPace.Stint stint = pace.begin(scene.expected());
    out.println(scene.name() + ": booting " + (1 + scene.ways().size()) + " guests");
    List<Measured> measured = new ArrayList<>();
    try {
      BenchTurns turns = new BenchTurns(booted(scene, measured), out, this::leave);
      turns.take(scene.turns(), scene.limit(), stint);
    } finally {
      end();
    }
    stint.end();
    return new BenchResult.Scene(scene.name(), scene.spec().memoryBytes(), measured);
  }

  /// All boot at once, and take turns when all have.
  private List<Lane> booted(BenchScene scene, List<Measured> measured) {
    List<Lane> lanes = new ArrayList<>();
    measured.add(new Measured(Contender.Ours.LABEL));
    Contender ours = ours(scene.spec());
    lanes.add(new Lane(ours, measured.getFirst()));
    for (RivalWay way : scene.ways()) {
      Measured its = new Measured(way.label());
      measured.add(its);
      attempt(its, () -> lanes.add(new Lane(rival(scene.spec(), way, ours.pid()), its)));
    }
    return waited(lanes, this::awaitBeat);
  }

  private Contender ours(GuestSpec spec) {
    hyperplexor.create(spec, older, Progress.NONE);
    return register(new Contender.Ours(hyperplexor, spec.name(), List.of(newer, older)));
  }

  private Contender rival(GuestSpec spec, RivalWay way, int model) {
    List<QemuRelease> releases = way.needsNewer() ? List.of(newer) : List.of(newer, older);
    RivalQemu rival =
        new RivalQemu(
            folder(spec.name() + "-" + way),
            spec.memoryBytes(),
            new RivalQemu.Model(model, older),
            releases.getLast(),
            way);
    return register(new Contender.Rival(way, rival, releases));
  }

  private Path folder(String name) {
    try {
      return Files.createDirectories(state.resolve("rivals").resolve(name));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The product's blackouts of guests of several sizes, which take turns, too.
  private List<BenchResult.Series> memory(List<BenchScene.Series> series) {
    if (!pace.hasTimeFor(expected(series))) {
      leftOut.add("blackouts by the size of memory: there was no time left for them");
      return List.of();
    }
    BenchPace.Stint stint = pace.begin(expected(series));
    List<BenchResult.Series> results = new ArrayList<>();
    List<Lane> lanes = new ArrayList<>();
    try {
      for (BenchScene.Series one : series) {
        out.println(one.name() + ": booting " + one.guests().size() + " guests");
        results.add(new BenchResult.Series(one.name(), booted(one, lanes)));
      }
      List<Lane> ready = waited(lanes, this::awaitReady);
      new BenchTurns(ready, out, this::leave)
          .take(BenchScene.turns(quick), Duration.ofMinutes(1), stint);
    } finally {
      end();
    }
    stint.end();
    return results;
  }

  /// The largest first: what it writes is not there for the others, of which each may have no more
  /// than the host has left.
  private List<BenchResult.Size> booted(BenchScene.Series series, List<Lane> lanes) {
    List<BenchResult.Size> sizes = new ArrayList<>();
    for (GuestSpec spec : series.guests().reversed()) {
      Measured its = new Measured(Contender.Ours.LABEL);
      sizes.add(new BenchResult.Size(spec.memoryBytes(), its));
      attempt(its, () -> lanes.add(new Lane(ours(spec), its)));
    }
    return sizes.reversed();
  }

  private Duration expected(List<BenchScene.Series> series) {
    int guests = series.stream().mapToInt(one -> one.guests().size()).sum();
    return BenchScene.expected(guests, BenchScene.turns(quick));
  }

  /// Waits for all that have begun to boot. Those that do not come are ended.
  private List<Lane> waited(List<Lane> lanes, Consumer<Lane> waiting) {
    bootedBy = System.nanoTime() + patience().toNanos();
    List<Lane> ready = new ArrayList<>();
    for (Lane lane : lanes) {
      attempt(
          lane.measured(),
          () -> {
            waiting.accept(lane);
            ready.add(lane);
          });
    }
    lanes.stream().filter(lane -> !ready.contains(lane)).map(Lane::contender).forEach(this::leave);
    return ready;
  }

  /// Notes why a contender has no guest, if that is so.
  private void attempt(Measured its, Runnable boot) {
    try {
      boot.run();
    } catch (RuntimeException e) {
      requireOpen();
      its.failed(String.valueOf(e.getMessage()));
      out.println("  " + its.label() + ": " + its.trouble());
    }
  }

  /// Of all guests of a scene together.
  private Duration patience() {
    Duration most = pace.left().compareTo(BOOT) < 0 ? pace.left() : BOOT;
    return most.compareTo(LEAST_BOOT) < 0 ? LEAST_BOOT : most;
  }

  private Duration untilBooted() {
    return Duration.ofNanos(Math.max(0, bootedBy - System.nanoTime()));
  }

  private void awaitBeat(Lane lane) {
    TestGuest.beatingIn(lane.contender().pid(), untilBooted()).close();
  }

  /// Waits until a guest has all that it is to have, and not only a heartbeat.
  private void awaitReady(Lane lane) {
    Path files = state.resolve("guests").resolve(((Contender.Ours) lane.contender()).guest());
    if (!Files.exists(files.resolve("initrd"))) {
      awaitBeat(lane);
      return;
    }
    String said =
        Await.firstWithin(untilBooted(), () -> verdict(files.resolve("console.log")))
            .orElseThrow(() -> new IllegalStateException("the guest was not ready in time"));
    if (!said.contains(READY)) {
      throw new IllegalStateException("the guest says: " + said);
    }
  }

  /// What a Linux guest says of itself when it is up.
  private static Optional<String> verdict(Path console) {
    try {
      return Files.readAllLines(console, StandardCharsets.ISO_8859_1).stream()
          .filter(line -> line.contains("HF-GUEST "))
          .findFirst();
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private synchronized Contender register(Contender contender) {
    running.addLast(contender);
    if (closed) {
      end();
    }
    requireOpen();
    return contender;
  }

  private synchronized void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the run was ended");
    }
  }

  /// Ends one contender, unless the whole run was ended: then that goes on.
  private synchronized void leave(Contender contender) {
    requireOpen();
    if (running.remove(contender)) {
      end(contender);
    }
  }

  private synchronized void end() {
    while (!running.isEmpty()) {
      end(running.removeLast());
    }
  }

  /// One whose end fails does not keep the others from theirs.
  private void end(Contender contender) {
    try {
      contender.close();
    } catch (RuntimeException e) {
      out.println("  " + contender.label() + " did not end well: " + e.getMessage());
    }
  }

  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      end();
      hyperplexor.close();
    }
  }
}
