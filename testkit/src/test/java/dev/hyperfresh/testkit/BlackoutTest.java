package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Holds the blackout to what the specification promises. Every figure is printed with what the
/// measurement itself cannot tell.
@Tag("slow")
class BlackoutTest {
  /// The promise for a guest on real KVM, median of many.
  private static final double MAX_KVM_MEDIAN_MS = 6.0;

  /// How much longer than two QEMUs driven by hand a replacement may take.
  private static final double MAX_RATIO = 1.05;

  /// The noise, as a part of the baseline, above which more pairs are worth their time.
  private static final double MAX_NOISE = 0.15;

  /// How often more pairs are taken when the noise leaves the verdict open; a real difference only
  /// shows more clearly with more pairs.
  private static final int LOOKS = 4;

  private static final Duration BUDGET = Duration.ofSeconds(5);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final List<QemuRelease> releases =
      List.of(Workshop.release("qemu-10.0"), Workshop.release("qemu-7.2"));

  @Test
  void onKvmTheMedianIsWithinThePromise() {
    Workshop.requireKvm();
    Sample blackout = new Sample("blackout on KVM");
    Sample gap = new Sample("heartbeat gap");
    Sample floor = new Sample("noise floor");
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      start(hyperplexor, Workshop.ring3("kvm", 64, AcceleratorWish.KVM));
      int[] next = {0};
      Runnable once =
          () -> {
            int i = next[0]++;
            ReplacementRecord record = replace(hyperplexor, "kvm", i);
            if (i >= 5) {
              blackout.add(record.blackoutMs().orElseThrow());
              gap.add(record.guestGapMs().orElseThrow());
              floor.add(record.noiseFloorMs().orElseThrow());
            }
          };
      repeat(once, 5, () -> true);
      repeat(once, 20, () -> blackout.median() <= MAX_KVM_MEDIAN_MS);
      hyperplexor.delete("kvm");
    }
    print(blackout, gap, floor);
    assertThat(blackout.median()).as(blackout.toString()).isLessThanOrEqualTo(MAX_KVM_MEDIAN_MS);
  }

  @Test
  void onKvmItIsNoSlowerThanByHand() throws IOException {
    Workshop.requireKvm();
    compareWithHand(Workshop.ring3("ours", 64, AcceleratorWish.KVM), 15);
  }

  @Test
  void onTcgItIsNoSlowerThanByHand() throws IOException {
    GuestSpec linux = Workshop.linux("ours", 256, List.of(), List.of());
    compareWithHand(Workshop.withAccelerator(linux, AcceleratorWish.TCG), 10);
  }

  /// Alternates between the two ways, so that whatever else the host does meets both alike. The
  /// guest that is not being replaced is frozen, so that each has the host to itself.
  private void compareWithHand(GuestSpec spec, int pairs) throws IOException {
    Sample ours = new Sample("HyperFresh");
    Sample theirs = new Sample("by hand");
    Path folder = Files.createDirectory(workspace.state().resolve("by-hand"));
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      GuestView view = start(hyperplexor, spec);
      QemuRelease first = releases.getLast();
      try (RivalQemu hand =
          new RivalQemu(
              folder,
              spec.memoryBytes(),
              new RivalQemu.Model(view.pid(), first),
              first,
              RivalWay.BY_HAND)) {
        TestGuest.beatingIn(hand.pid(), Workshop.BOOT).close();
        int[] next = {0};
        Runnable pair =
            () -> {
              int i = next[0]++;
              double own =
                  alone(hand.pid(), () -> replace(hyperplexor, "ours", i))
                      .blackoutMs()
                      .orElseThrow();
              int pid = hyperplexor.show("ours").pid();
              double other =
                  alone(
                      pid,
                      () ->
                          hand.replace(releases.get(i % 2), Workshop.BRIEFLY.before(), BUDGET)
                              .orElseThrow()
                              .blackoutMs());
              // The first pairs warm both up.
              if (i >= 3) {
                ours.add(own);
                theirs.add(other);
              }
            };
        repeat(pair, 3, () -> true);
        // Equal medians would differ by chance as far as their standard error, and no more is
        // allowed beside the ratio. Where that error is large the verdict says little, so that more
        // pairs are taken then, too.
        repeat(
            pair,
            pairs,
            () -> {
              double noise = Sample.errorOfDifference(ours, theirs);
              return ours.median() <= MAX_RATIO * theirs.median() + noise
                  && noise <= MAX_NOISE * theirs.median();
            });
      }
      hyperplexor.delete("ours");
    }
    print(ours, theirs);
    double allowance = Sample.errorOfDifference(ours, theirs);
    System.out.printf(
        Locale.ROOT,
        "  ratio of the medians %.3f; allowed %.2f and the noise of %.2f ms%n",
        ours.median() / theirs.median(),
        MAX_RATIO,
        allowance);
    assertThat(ours.median())
        .as("%s; %s", ours, theirs)
        .isLessThanOrEqualTo(MAX_RATIO * theirs.median() + allowance);
  }

  @Test
  void theSizeOfTheMemoryDoesNotMatter() {
    Workshop.requireKvm();
    long available = Host.availableMemoryBytes() >> 20;
    Workshop.require(available > 9 * 1024, available + " MiB are too few for a guest of 8 GiB");
    Sample small = new Sample("512 MiB");
    Sample large = new Sample("8 GiB");
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      start(hyperplexor, Workshop.ring3("small", 512, AcceleratorWish.KVM));
      start(hyperplexor, Workshop.ring3("large", 8192, AcceleratorWish.KVM));
      int[] next = {0};
      Runnable pair =
          () -> {
            int i = next[0]++;
            double one = blackoutWhileFrozen(hyperplexor, "small", "large", i);
            double other = blackoutWhileFrozen(hyperplexor, "large", "small", i);
            if (i >= 2) {
              small.add(one);
              large.add(other);
            }
          };
      repeat(pair, 2, () -> true);
      repeat(
          pair,
          10,
          () ->
              equal(small, large)
                  && Sample.errorOfDifference(small, large) <= MAX_NOISE * small.median());
      hyperplexor.delete("small");
      hyperplexor.delete("large");
    }
    print(small, large);
    assertThat(equal(small, large))
        .as("%s; %s; the medians may differ by %.2f ms", small, large, allowed(small, large))
        .isTrue();
  }

  /// Medians of the same thing differ by less than two standard errors of their difference in 95 of
  /// 100 runs: that is the noise floor of the comparison. Alone it would fail more often the more
  /// is measured, since no two things take quite the same time; hence the ratio beside it.
  private static double allowed(Sample one, Sample other) {
    double ratio = (MAX_RATIO - 1) * Math.min(one.median(), other.median());
    return ratio + 2 * Sample.errorOfDifference(one, other);
  }

  private static boolean equal(Sample one, Sample other) {
    return Math.abs(one.median() - other.median()) <= allowed(one, other);
  }

  private double blackoutWhileFrozen(
      Hyperplexor hyperplexor, String guest, String frozen, int index) {
    int pid = hyperplexor.show(frozen).pid();
    ReplacementRecord record = alone(pid, () -> replace(hyperplexor, guest, index));
    return record.blackoutMs().orElseThrow();
  }

  private static void repeat(Runnable pair, int pairs, BooleanSupplier decided) {
    for (int look = 0; look < LOOKS; look++) {
      for (int i = 0; i < pairs; i++) {
        pair.run();
      }
      if (decided.getAsBoolean()) {
        return;
      }
    }
  }

  private static <T> T alone(int frozenPid, Supplier<T> work) {
    try (PidFd frozen = PidFd.open(frozenPid)) {
      frozen.signal(Signals.STOP);
      try {
        return work.get();
      } finally {
        frozen.signal(Signals.CONT);
      }
    }
  }

  private GuestView start(Hyperplexor hyperplexor, GuestSpec spec) {
    GuestView view = hyperplexor.create(spec, releases.getLast(), Progress.NONE);
    TestGuest.beatingIn(view.pid(), Workshop.BOOT).close();
    return view;
  }

  private ReplacementRecord replace(Hyperplexor hyperplexor, String guest, int index) {
    ReplacementRecord record =
        hyperplexor.replace(guest, releases.get(index % 2), BUDGET, Progress.NONE);
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.ramBytesCopied()).hasValue(0);
    return record;
  }

  private static void print(Sample... samples) {
    for (Sample sample : samples) {
      System.out.println("  " + sample);
    }
  }
}
