package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Refusals.assertRefused;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Check.Verdict;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A guest on a real QEMU, and what is looked at before it is replaced; also that nothing of a
/// rehearsal is left behind.
@Timeout(600)
abstract class PreflightScene {
  static final String GUEST = "looked-at";
  static final Duration BUDGET = Duration.ofSeconds(5);
  static final Duration SOON = Duration.ofMinutes(1);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  final QemuRelease older = Workshop.release("qemu-7.2");
  final QemuRelease newer = Workshop.release("qemu-10.0");
  final List<String> steps = new ArrayList<>();
  TestReleases releases;
  Hyperplexor hyperplexor;
  TestGuest guest;
  private Footprint before;

  /// What a rehearsal could leave behind.
  private record Footprint(
      List<Long> processes, List<String> files, List<String> taps, OpenDescriptors descriptors) {
    static Footprint of(Workspace workspace) {
      return new Footprint(
          workspace.processes("").stream().map(ProcessHandle::pid).toList(),
          below(workspace.state()),
          Workspace.names(Path.of("/sys/class/net")).stream()
              .filter(name -> name.startsWith("hfwait"))
              .toList(),
          OpenDescriptors.now());
    }

    /// What is here and was not, or the other way round. Taps and descriptors can also be others':
    /// there are tests in another process, and what an earlier one has left is closed at some time.
    List<String> beside(Footprint before) {
      List<String> other = new ArrayList<>();
      if (!processes.equals(before.processes)) {
        other.add("processes " + processes + " instead of " + before.processes);
      }
      other.addAll(beyond(files, before.files));
      beyond(before.files, files).forEach(file -> other.add("no " + file));
      other.addAll(beyond(taps, before.taps));
      other.addAll(descriptors.openedSince(before.descriptors));
      return other;
    }

    private static List<String> beyond(List<String> some, List<String> others) {
      List<String> more = new ArrayList<>(some);
      more.removeAll(others);
      return more;
    }

    private static List<String> below(Path folder) {
      try (Stream<Path> files = Files.walk(folder)) {
        return files
            .map(Path::toString)
            .filter(file -> !file.contains("/releases/"))
            .sorted()
            .toList();
      } catch (IOException | UncheckedIOException e) {
        return List.of("what changes in this moment: " + e.getMessage());
      }
    }
  }

  @BeforeEach
  void start() throws IOException {
    releases = new TestReleases(workspace.state().resolve("releases"));
    hyperplexor = Workshop.hyperplexor(workspace.state());
    create(Workshop.tick(GUEST, 64, AcceleratorWish.TCG));
  }

  final void create(GuestSpec spec) {
    GuestView view = hyperplexor.create(spec, older, Progress.NONE);
    guest = TestGuest.beatingIn(view.pid(), Workshop.BOOT);
    // The first use of a part opens files that stay open.
    plan(newer);
    steps.clear();
    before = Footprint.of(workspace);
  }

  /// Starts over with a guest that has a disk; gives its image.
  Path withDisk() {
    end();
    hyperplexor = Workshop.hyperplexor(workspace.state());
    Path image = workspace.state().resolve("disk.raw");
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.setLength(16 << 20);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    create(with(List.of(new Disk(image, Disk.Format.RAW, false)), List.of()));
    return image;
  }

  static GuestSpec with(List<Disk> disks, List<Nic> nics) {
    GuestSpec plain = Workshop.tick(GUEST, 64, AcceleratorWish.TCG);
    return new GuestSpec(
        plain.name(),
        plain.vcpus(),
        plain.memoryBytes(),
        plain.machine(),
        plain.cpu(),
        plain.accelerator(),
        plain.boot(),
        disks,
        nics);
  }

  @AfterEach
  void end() {
    guest.close();
    hyperplexor.close();
  }

  List<Check> plan(QemuRelease to) {
    return hyperplexor.plan(GUEST, to, true, false, this::step);
  }

  void step(String state, String text) {
    steps.add(state + " " + text);
  }

  long rehearsals() {
    return steps.stream().filter(step -> step.contains("rehearsing")).count();
  }

  void refused(QemuRelease to, String finding) {
    assertRefused(
        Problem.REPLACE_OBSTACLES,
        finding,
        () -> hyperplexor.replace(GUEST, to, BUDGET, Progress.NONE));
  }

  /// Nothing of the attempt is there any more, and the guest beats.
  void untouched() {
    guest.awaitBeat(SOON);
    assertThat(Await.emptyWithin(SOON, () -> Footprint.of(workspace).beside(before)))
        .as("what is left")
        .isEmpty();
    assertThat(hyperplexor.show(GUEST).generation()).isEqualTo(1);
  }

  /// What the source was told and reported lies in its transcript, once it has ended.
  void neverPaused() {
    hyperplexor.stop(GUEST, Duration.ZERO);
    Path transcript = workspace.files(GUEST).resolve("qmp.log");
    assertThat(transcript).content().contains("query-migrate").doesNotContain("\"STOP\"");
  }

  static void assertPass(List<Check> checks) {
    assertThat(checks).isNotEmpty().allMatch(check -> check.verdict() == Verdict.PASS);
  }

  static void assertFails(List<Check> checks, String name, String finding) {
    Check check = named(checks, name);
    assertThat(check.verdict()).as(checks.toString()).isEqualTo(Verdict.FAIL);
    assertThat(check.finding()).contains(finding);
    assertThat(check.remedy()).isNotEmpty();
  }

  static Check named(List<Check> checks, String name) {
    return checks.stream()
        .filter(check -> check.name().equals(name))
        .findFirst()
        .orElseThrow(() -> new AssertionError("no check " + name + " in " + checks));
  }
}
