package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.testkit.BenchResult.Measured;
import dev.hyperfresh.testkit.RivalQemu.Move;
import dev.hyperfresh.testkit.RivalQemu.Way;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;

/// One run of the benchmark. [#close] may be called by another thread, and ends all its guests.
final class BenchRun implements AutoCloseable {
  private static final Duration BOOT = Duration.ofMinutes(5);

  /// Moves that are made first and not counted: compilers, caches and page tables are cold.
  private static final int WARM_UP = 2;

  private final Path state;
  private final boolean quick;
  private final PrintStream out;
  private final KvmProbe.Result kvm = KvmProbe.probe(Path.of("/dev/kvm"));
  private final GuestImages images;
  private final QemuRelease older;
  private final QemuRelease newer;
  private final Hyperplexor hyperplexor;
  private final Deque<Contender> running = new ArrayDeque<>();
  private boolean closed;

  /// @param state an empty folder
  /// @param out where people read
  BenchRun(Path state, Cache cache, boolean quick, PrintStream out) {
    this.state = state;
    this.quick = quick;
    this.out = out;
    this.images = cache.images(line -> out.println("  " + line));
    this.older = cache.releases().get("qemu-7.2");
    this.newer = cache.releases().get("qemu-10.0");
    this.hyperplexor = new Hyperplexor(state, new Kinds(new Qemu()), kvm, _ -> {});
  }

  private boolean hasKvm() {
    return kvm.verdict() == KvmProbe.Verdict.USABLE || kvm.verdict() == KvmProbe.Verdict.SLOW_RING0;
  }

  /// Takes minutes.
  BenchResult measure() {
    out.println("moving between " + older.name() + " and " + newer.name());
    if (!hasKvm()) {
      out.println("no guests on KVM: " + kvm.reason());
    }
    List<BenchResult.Scene> scenes = new ArrayList<>();
    for (BenchScene scene : BenchScene.all(images, hasKvm(), quick)) {
      scenes.add(measure(scene));
    }
    List<BenchResult.Scene> sizes = new ArrayList<>();
    if (hasKvm()) {
      for (BenchScene scene : BenchScene.sizes(images, Host.availableMemoryBytes(), quick)) {
        sizes.add(measure(scene));
      }
    }
    return new BenchResult(BenchHost.here(kvm), older.name(), newer.name(), scenes, sizes);
  }

  /// Measures one scene.
  BenchResult.Scene measure(BenchScene scene) {
    out.println(scene.name() + ": booting " + (1 + scene.ways().size()) + " guests");
    List<Measured> measured = new ArrayList<>();
    try {
      boot(scene).forEach(contender -> measured.add(new Measured(contender.label())));
      List<Contender> contenders = List.copyOf(running);
      for (int turn = 0; turn < WARM_UP + scene.turns(); turn++) {
        for (int i = 0; i < contenders.size(); i++) {
          Optional<Move> move = alone(contenders, i, turn, scene.limit());
          if (turn >= WARM_UP) {
            measured.get(i).add(move);
          }
        }
        out.println("  turn " + (turn + 1) + " of " + (WARM_UP + scene.turns()));
      }
    } finally {
      end();
    }
    return new BenchResult.Scene(scene.name(), scene.spec().memoryBytes(), measured);
  }

  private List<Contender> boot(BenchScene scene) {
    String name = scene.spec().name();
    GuestView view = hyperplexor.create(scene.spec(), older, Progress.NONE);
    register(new Contender.Ours(hyperplexor, name, List.of(newer, older)));
    for (Way way : scene.ways()) {
      // The older release does not have that way.
      List<QemuRelease> releases = way == Way.CPR_REBOOT ? List.of(newer) : List.of(newer, older);
      RivalQemu rival =
          new RivalQemu(
              folder(name + "-" + way),
              scene.spec().memoryBytes(),
              new RivalQemu.Model(view.pid(), older),
              releases.getLast(),
              way);
      register(new Contender.Rival(way, rival, releases));
      TestGuest.beatingIn(rival.pid(), BOOT).close();
    }
    TestGuest.beatingIn(view.pid(), BOOT).close();
    return List.copyOf(running);
  }

  private Path folder(String name) {
    try {
      return Files.createDirectories(state.resolve("rivals").resolve(name));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The guests of the others stand still meanwhile.
  private static Optional<Move> alone(
      List<Contender> contenders, int mover, int turn, Duration limit) {
    Deque<PidFd> frozen = new ArrayDeque<>();
    try {
      for (int i = 0; i < contenders.size(); i++) {
        if (i != mover) {
          PidFd other = PidFd.open(contenders.get(i).pid());
          frozen.push(other);
          other.signal(Signals.STOP);
        }
      }
      return contenders.get(mover).move(turn, limit);
    } finally {
      frozen.forEach(other -> {
        other.signal(Signals.CONT);
        other.close();
      });
    }
  }

  private synchronized void register(Contender contender) {
    running.addLast(contender);
    if (closed) {
      end();
      throw new IllegalStateException("the run was ended");
    }
  }

  private synchronized void end() {
    while (!running.isEmpty()) {
      running.removeLast().close();
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
