package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout.Audience;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.libvirt.LibvirtBatch.Candidate;
import dev.hyperfresh.libvirt.LibvirtBatch.Ended;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;

/// Two domains of a libvirt, with files and processes that are real, a systemd that is a script,
/// and a hyperplexor that only does as if.
@Timeout(60)
abstract class BatchScene {
  final Domains domains;
  final LibvirtHost host;
  final DriverSeat seat;
  final List<Process> processes = new ArrayList<>();
  final Kept kept = new Kept();
  final Hyperplexors hyperplexor = new Hyperplexors();

  /// Whether the daemon ends.
  boolean ending;

  /// Told of everything.
  Audience audience = Audience.NONE;

  Units units = new Units(LibvirtHost.THIS);
  Candidate web1 = candidate("web1", Domains.WEB1);
  Candidate db2 = candidate("db2", Domains.DB2);

  BatchScene(Path folder) {
    domains = new Domains(folder);
    host = domains.quiet();
    seat = new DriverSeat(host);
  }

  private static Candidate candidate(String name, String xml) {
    return new Candidate(StatusReader.read(xml, name), name, "qemu-7.2.22");
  }

  /// What a daemon has written down, all that it ever wrote too.
  static final class Kept implements Down.Store {
    private final List<String> all = new ArrayList<>();
    private Optional<Down> now = Optional.empty();

    /// Whether there is no room for what libvirt has to know of a process.
    boolean full;

    @Override
    public Optional<Down> read() {
      return now;
    }

    @Override
    public void keep(Down down) {
      if (full && down.between().stream().anyMatch(between -> between.back().isPresent())) {
        throw Problem.DAEMON_STATE.because("No space is left.");
      }
      now = Optional.of(down);
      all.add(String.join(" ", down.between().stream().map(Down.Between::domain).toList()));
    }

    @Override
    public void forget() {
      now = Optional.empty();
      all.add("forgotten");
    }

    List<String> all() {
      return all;
    }
  }

  /// Moves a guest by having another process in the place of the first.
  final class Hyperplexors implements Borrower {
    private final Map<String, Integer> borrowed = new HashMap<>();
    final List<String> did = new ArrayList<>();
    Optional<HyperFreshException> untaken = Optional.empty();
    Optional<HyperFreshException> refusal = Optional.empty();
    Optional<RuntimeException> kept = Optional.empty();
    Borrower.Standing here = Borrower.Standing.HERE;
    boolean rollsBack;

    /// What happens when a guest was taken, and when it was moved.
    Runnable whenTaken = () -> {};

    Runnable whenMoved = () -> {};

    @Override
    public ReplacementRecord move(LibvirtDomain domain, String guest, Progress progress) {
      did.add("move " + guest);
      untaken.ifPresent(e -> {
        throw e;
      });
      borrowed.put(guest, domain.pid());
      refusal.ifPresent(e -> {
        throw e;
      });
      whenTaken.run();
      progress.requireWanted();
      if (!rollsBack) {
        borrowed.put(guest, process());
        end(domain.pid());
      }
      whenMoved.run();
      return record(
          guest,
          rollsBack ? ReplacementRecord.Outcome.ROLLED_BACK : ReplacementRecord.Outcome.COMMITTED);
    }

    @Override
    public Borrower.Standing standing(String guest) {
      return borrowed.containsKey(guest) ? here : Borrower.Standing.ABSENT;
    }

    /// What it says is kept before anybody else could not find it out any more.
    @Override
    public void handBack(String guest, Optional<Path> emulator, Consumer<HandedBack> before) {
      kept.ifPresent(e -> {
        throw e;
      });
      int pid = Objects.requireNonNull(borrowed.get(guest));
      HandedBack back = Domains.back(pid, Map.of(0, pid));
      before.accept(back);
      assertThat(BatchScene.this.kept.read().orElseThrow().between())
          .flatExtracting(between -> between.back().stream().toList())
          .containsOnlyOnce(back);
      did.add("hand back " + guest);
      borrowed.remove(guest);
    }
  }

  private static ReplacementRecord record(String guest, ReplacementRecord.Outcome outcome) {
    return new ReplacementRecord(
        "1",
        guest,
        "process",
        "qemu-7.2.22",
        "qemu-10.0.2",
        "tcg",
        Instant.EPOCH,
        OptionalDouble.of(3),
        OptionalDouble.empty(),
        OptionalDouble.empty(),
        false,
        new ReplacementRecord.Aftermath(OptionalDouble.empty(), OptionalLong.empty()),
        OptionalLong.of(0),
        1,
        new ReplacementRecord.Phases(
            0, 0, 0, OptionalDouble.empty(), OptionalDouble.empty(), OptionalDouble.empty(), 0),
        1,
        outcome,
        outcome == ReplacementRecord.Outcome.COMMITTED ? "" : "HF-REPLACE-002",
        outcome == ReplacementRecord.Outcome.COMMITTED ? "" : "It did not start.",
        new ReplacementRecord.Parts(Map.of(), Map.of()),
        new ReplacementRecord.Clocks(OptionalDouble.empty(), OptionalDouble.empty(), ""));
  }

  @BeforeEach
  void startDomains() throws IOException {
    units = Units.of(domains);
    units.set("libvirtd.service", "active");
    web1 = started("web1", Domains.WEB1);
    db2 = started("db2", Domains.DB2);
  }

  private Candidate started(String name, String xml) throws IOException {
    domains.put(name, xml.replaceFirst(" pid='[0-9]+'>", " pid='" + process() + "'>"));
    return new Candidate(LibvirtDomain.read(host, name), name, "qemu-7.2.22");
  }

  int process() {
    try {
      Process process = new ProcessBuilder("/usr/bin/sleep", "600").start();
      processes.add(process);
      return Math.toIntExact(process.pid());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  void end(int pid) {
    for (Process process : processes) {
      if (process.pid() == pid) {
        process.destroyForcibly();
        try {
          process.waitFor();
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
        }
      }
    }
  }

  @AfterEach
  void endAll() {
    processes.forEach(Process::destroyForcibly);
    seat.leave();
  }

  Ended run() {
    return run(List.of(List.of(web1, db2)));
  }

  Ended run(List<List<Candidate>> groups) {
    return LibvirtBatch.run(
        seat,
        () -> LibvirtService.find(host, domains.folder()),
        hyperplexor,
        kept,
        audience,
        () -> ending,
        groups);
  }

  void finish() {
    LibvirtBatch.finish(seat, hyperplexor, kept, domains.folder());
  }

  int pid(String name) {
    return LibvirtDomain.read(host, name).pid();
  }

  Path status(String name) {
    return host.statusFile(name);
  }

  /// libvirt runs, has both domains in their first processes, and nothing is left of what was
  /// begun.
  void assertAsBefore() throws IOException {
    assertThat(pid("web1")).isEqualTo(web1.domain().pid());
    assertThat(pid("db2")).isEqualTo(db2.domain().pid());
    assertThat(LibvirtDomain.read(host, "web1")).isEqualTo(web1.domain());
    assertIsUp();
  }

  void assertIsUp() throws IOException {
    assertThat(units.isActive("libvirtd.service")).isTrue();
    assertThat(units.conditions()).isEmpty();
    assertThat(host.domains().resolve("driver.pid")).doesNotExist();
    assertThat(kept.read()).isEmpty();
  }
}
