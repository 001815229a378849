package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout.Audience;
import dev.hyperfresh.hyperplexor.Rollout.Outcome;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.libvirt.LibvirtBatch.Candidate;
import dev.hyperfresh.libvirt.LibvirtBatch.Ended;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.ProcessIdentity;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
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
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// The order in which domains are taken from libvirt and given back, with files and processes that
/// are real, a systemd that is a script, and a hyperplexor that only does as if.
@Timeout(60)
class LibvirtBatchTest {
  private final Domains domains;
  private final List<Process> processes = new ArrayList<>();
  private final Kept kept = new Kept();
  private final Hyperplexors hyperplexor = new Hyperplexors();
  private Units units = new Units(LibvirtHost.THIS);
  private Candidate web1 = candidate("web1", Domains.WEB1);
  private Candidate db2 = candidate("db2", Domains.DB2);

  LibvirtBatchTest(@TempDir Path folder) {
    this.domains = new Domains(folder);
  }

  private static Candidate candidate(String name, String xml) {
    return new Candidate(StatusReader.read(xml, name), name, "qemu-7.2.22");
  }

  /// What a daemon has written down, all that it ever wrote too.
  private static final class Kept implements Down.Store {
    private Optional<Down> now = Optional.empty();
    private final List<String> all = new ArrayList<>();

    @Override
    public Optional<Down> read() {
      return now;
    }

    @Override
    public void keep(Down down) {
      now = Optional.of(down);
      all.add(String.join(" ", down.between().stream().map(Down.Between::domain).toList()));
    }

    @Override
    public void forget() {
      now = Optional.empty();
      all.add("forgotten");
    }
  }

  /// Moves a guest by having another process in the place of the first.
  private final class Hyperplexors implements LibvirtBatch.Borrower {
    private final Map<String, Integer> borrowed = new HashMap<>();
    private final List<String> did = new ArrayList<>();
    private Optional<HyperFreshException> untaken = Optional.empty();
    private Optional<HyperFreshException> refusal = Optional.empty();
    private Optional<RuntimeException> kept = Optional.empty();
    private LibvirtBatch.Standing here = LibvirtBatch.Standing.HERE;
    private boolean rollsBack;

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
      if (!rollsBack) {
        borrowed.put(guest, process());
        end(domain.pid());
      }
      return record(
          guest,
          rollsBack ? ReplacementRecord.Outcome.ROLLED_BACK : ReplacementRecord.Outcome.COMMITTED);
    }

    @Override
    public LibvirtBatch.Standing standing(String guest) {
      return borrowed.containsKey(guest) ? here : LibvirtBatch.Standing.ABSENT;
    }

    @Override
    public int pid(String guest) {
      return borrowed.getOrDefault(guest, 0);
    }

    @Override
    public HandedBack handBack(String guest, Optional<Path> emulator) {
      kept.ifPresent(e -> {
        throw e;
      });
      did.add("hand back " + guest);
      int pid = Objects.requireNonNull(borrowed.remove(guest));
      return Domains.back(pid, Map.of(0, pid));
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
    return new Candidate(LibvirtDomain.read(domains.host(), name), name, "qemu-7.2.22");
  }

  private int process() {
    try {
      Process process = new ProcessBuilder("/usr/bin/sleep", "600").start();
      processes.add(process);
      return Math.toIntExact(process.pid());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void end(int pid) {
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
  }

  private Ended run(boolean ending) {
    LibvirtService service = LibvirtService.find(domains.host(), domains.folder());
    return LibvirtBatch.run(
        domains.host(),
        service,
        hyperplexor,
        kept,
        Audience.NONE,
        () -> ending,
        List.of(web1, db2));
  }

  private void finish() {
    LibvirtBatch.finish(domains.host(), hyperplexor, kept, domains.folder());
  }

  private int pid(String name) {
    return LibvirtDomain.read(domains.host(), name).pid();
  }

  @Test
  void domainsAreMovedWhileLibvirtIsDown() throws IOException {
    Ended ended = run(false);

    assertThat(ended.stopped()).isEmpty();
    assertThat(ended.awayMs()).isPresent();
    assertThat(ended.entries()).allMatch(entry -> entry.outcome() == Outcome.COMMITTED);
    assertThat(hyperplexor.did)
        .containsExactly("move web1", "hand back web1", "move db2", "hand back db2");
    assertThat(pid("web1")).isEqualTo(processes.get(2).pid()).isNotEqualTo(web1.domain().pid());
    assertThat(Files.readString(domains.host().pidFile("db2")).strip())
        .isEqualTo(Long.toString(processes.get(3).pid()));
    assertThat(units.calls())
        .containsExactly(
            "systemctl stop libvirtd.service",
            "systemctl start libvirtd.service",
            "virsh list --uuid",
            "virsh dommemstat " + web1.domain().uuid(),
            "virsh domstate " + web1.domain().uuid(),
            "virsh dommemstat " + db2.domain().uuid(),
            "virsh domstate " + db2.domain().uuid());
    // Each is written down before it is taken, and again with its new process.
    assertThat(kept.all).containsExactly("", "web1", "web1", "", "db2", "db2", "", "forgotten");
  }

  @Test
  void theFirstThatFailsStopsTheOthers() throws IOException {
    hyperplexor.rollsBack = true;
    Ended ended = run(false);

    assertThat(ended.stopped()).hasValue("Domain 'web1': It did not start.");
    assertThat(ended.entries())
        .extracting(entry -> entry.outcome())
        .containsExactly(Outcome.ROLLED_BACK, Outcome.NOT_STARTED);
    assertThat(hyperplexor.did).containsExactly("move web1", "hand back web1");
    assertAsBefore();
  }

  @Test
  void whatCouldNotBeTakenIsLibvirts() throws IOException {
    hyperplexor.untaken = Optional.of(Problem.ADOPT_REFUSED.because("No."));
    assertThat(run(false).entries().getFirst().outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(hyperplexor.did).containsExactly("move web1");
    assertAsBefore();

    hyperplexor.untaken = Optional.empty();
    hyperplexor.refusal = Optional.of(Problem.REPLACE_OBSTACLES.because("No."));
    assertThat(run(false).entries().getFirst().problem()).isEqualTo("HF-REPLACE-001");
    assertThat(hyperplexor.did).endsWith("move web1", "hand back web1");
    assertAsBefore();
  }

  private void assertAsBefore() throws IOException {
    assertThat(pid("web1")).isEqualTo(web1.domain().pid());
    assertThat(pid("db2")).isEqualTo(db2.domain().pid());
    assertThat(LibvirtDomain.read(domains.host(), "web1")).isEqualTo(web1.domain());
    assertThat(units.isActive("libvirtd.service")).isTrue();
    assertThat(kept.read()).isEmpty();
  }

  @Test
  void aJobThatBeganMeanwhileKeepsADomainAlone() throws IOException {
    Path file = domains.host().statusFile("web1");
    Files.writeString(file, Files.readString(file).replace("async='none'", "async='save'"));
    Ended ended = run(false);

    assertThat(ended.stopped()).isEmpty();
    assertThat(ended.entries())
        .extracting(entry -> entry.outcome())
        .containsExactly(Outcome.LEFT_ALONE, Outcome.COMMITTED);
    assertThat(ended.entries().getFirst().problem()).isEqualTo(Problem.LIBVIRT_REFUSED.code());
    assertThat(hyperplexor.did).containsExactly("move db2", "hand back db2");
  }

  /// libvirt would take the old process for the domain, and give its disks and taps away.
  @Test
  void libvirtStaysDownWhileADomainIsBetween() throws IOException {
    hyperplexor.kept = Optional.of(Problem.GUEST_STATE.because("It does not answer."));
    Ended ended = run(false);

    assertThat(ended.stopped().orElse(""))
        .contains(
            Problem.LIBVIRT_BETWEEN.code(), "Domain 'web1' is still guest", "It does not answer.");
    assertThat(ended.awayMs()).isEmpty();
    assertThat(ended.entries())
        .extracting(entry -> entry.outcome())
        .containsExactly(Outcome.FAILED, Outcome.NOT_STARTED);
    assertThat(units.isActive("libvirtd.service")).isFalse();
    assertThatThrownBy(this::finish)
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.LIBVIRT_BETWEEN));
    assertThat(units.isActive("libvirtd.service")).isFalse();

    hyperplexor.kept = Optional.empty();
    finish();
    assertThat(units.isActive("libvirtd.service")).isTrue();
    assertThat(pid("web1")).isEqualTo(processes.get(2).pid());
    assertThat(kept.read()).isEmpty();
    finish();
  }

  @Test
  void whateverGoesWrongIsTriedAgain() throws IOException {
    hyperplexor.kept = Optional.of(new IllegalStateException("An odd one."));
    assertThat(run(false).stopped().orElse(""))
        .contains(Problem.LIBVIRT_BETWEEN.code(), "An odd one.");
    assertThatThrownBy(this::finish).isInstanceOf(HyperFreshException.class);
    assertThat(units.isActive("libvirtd.service")).isFalse();

    hyperplexor.kept = Optional.empty();
    finish();
    assertThat(units.isActive("libvirtd.service")).isTrue();
    assertThat(pid("web1")).isEqualTo(processes.get(2).pid());
  }

  /// Somebody has started libvirt, which has forgotten the domain and started it anew.
  @Test
  void aDomainThatWasStartedMeanwhileStaysLibvirts() throws IOException {
    hyperplexor.kept = Optional.of(Problem.GUEST_STATE.because("It does not answer."));
    var _ = run(false);
    int anew = process();
    Path file = domains.host().statusFile("web1");
    Files.writeString(
        file,
        Files.readString(file)
            .replaceFirst(" pid='" + web1.domain().pid() + "'>", " pid='" + anew + "'>"));

    hyperplexor.kept = Optional.empty();
    finish();
    assertThat(pid("web1")).isEqualTo(anew);
    assertThat(units.isActive("libvirtd.service")).isTrue();
  }

  @Test
  void theNextDaemonFinishesWhatIsLeft() throws IOException {
    units.set("libvirtd.service", "inactive");
    int now = process();
    end(web1.domain().pid());
    kept.keep(
        new Down(
            Instant.now().toString(),
            Host.bootId(),
            Down.How.of(List.of("libvirtd.service")),
            List.of(between(web1, ProcessIdentity.of(now)), between(db2, ProcessIdentity.NONE))));
    // It was handed back, and its daemon was killed before it could write that down.
    finish();

    assertThat(pid("web1")).isEqualTo(now);
    assertThat(LibvirtDomain.read(domains.host(), "web1").emulator())
        .isEqualTo(web1.domain().emulator());
    assertThat(pid("db2")).isEqualTo(db2.domain().pid());
    assertThat(units.isActive("libvirtd.service")).isTrue();
    assertThat(kept.read()).isEmpty();
  }

  private static Down.Between between(Candidate candidate, ProcessIdentity now) {
    LibvirtDomain domain = candidate.domain();
    return new Down.Between(
        domain.name(), domain.uuid(), candidate.guest(), ProcessIdentity.of(domain.pid()), now);
  }

  @Test
  void aGuestThatHasNotComeBackYetIsWaitedFor() throws IOException {
    hyperplexor.kept = Optional.of(Problem.GUEST_STATE.because("It does not answer."));
    var _ = run(false);
    hyperplexor.kept = Optional.empty();
    hyperplexor.here = LibvirtBatch.Standing.COMING;

    assertThatThrownBy(this::finish).hasMessageContaining("has not yet said");
    assertThat(units.isActive("libvirtd.service")).isFalse();
    hyperplexor.here = LibvirtBatch.Standing.HERE;
    finish();
    assertThat(pid("web1")).isEqualTo(processes.get(2).pid());
    assertThat(units.isActive("libvirtd.service")).isTrue();
  }

  @Test
  void aGuestThatWasLostKeepsNobody() throws IOException {
    hyperplexor.here = LibvirtBatch.Standing.ENDED;
    Ended ended = run(false);

    assertThat(ended.awayMs()).isPresent();
    assertThat(hyperplexor.did).containsExactly("move web1", "move db2");
    assertThat(pid("web1")).isEqualTo(web1.domain().pid());
    assertThat(units.isActive("libvirtd.service")).isTrue();
  }

  @Test
  void aDomainThatLibvirtHasForgottenKeepsNobody() throws IOException {
    hyperplexor.kept = Optional.of(Problem.GUEST_STATE.because("It does not answer."));
    var _ = run(false);
    hyperplexor.kept = Optional.empty();
    Files.delete(domains.host().statusFile("web1"));

    finish();
    assertThat(units.isActive("libvirtd.service")).isTrue();
    assertThat(hyperplexor.did).endsWith("hand back web1");
  }

  @Test
  void whatWasLeftInAnotherBootIsOver() throws IOException {
    units.set("libvirtd.service", "inactive");
    kept.keep(
        new Down(
            Instant.EPOCH.toString(),
            "another",
            Down.How.of(List.of("libvirtd.service")),
            List.of(between(web1, ProcessIdentity.NONE))));

    finish();
    assertThat(kept.read()).isEmpty();
    assertThat(units.isActive("libvirtd.service")).isFalse();
  }

  @Test
  void aLibvirtThatDoesNotEndKeepsItsDomains() throws IOException {
    units.set("refuses-stop", "");

    assertThatThrownBy(() -> run(false))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.LIBVIRT_SERVICE));
    assertThat(hyperplexor.did).isEmpty();
    assertAsBefore();
  }

  @Test
  void aDaemonThatEndsBeginsNothing() throws IOException {
    Ended ended = run(true);

    assertThat(ended.stopped()).hasValue("The daemon ends.");
    assertThat(ended.entries()).allMatch(entry -> entry.outcome() == Outcome.NOT_STARTED);
    assertThat(hyperplexor.did).isEmpty();
    assertAsBefore();
  }

  @Test
  void aLibvirtThatDoesNotAnswerIsTriedAgain() throws IOException {
    units.set("mute", "");
    Ended ended = run(false);
    assertThat(ended.stopped().orElse("")).contains("was started and does not answer");
    assertThat(ended.awayMs()).isEmpty();
    assertThat(kept.read()).isPresent();

    units.unset("mute");
    finish();
    assertThat(kept.read()).isEmpty();
    assertThat(pid("db2")).isEqualTo(processes.get(3).pid());
  }

  @Test
  void aDomainThatLibvirtDoesNotTakeBackIsToldOf() throws IOException {
    units.set("state", "shut off");
    Ended ended = run(false);

    assertThat(ended.entries()).allMatch(entry -> entry.outcome() == Outcome.FAILED);
    assertThat(ended.stopped().orElse("")).contains("Domain 'web1'", "'shut off'");
  }
}
