package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hyperplexor.Rollout.Outcome;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.libvirt.LibvirtBatch.Candidate;
import dev.hyperfresh.libvirt.LibvirtBatch.Ended;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The order in which domains are taken from libvirt and given back.
class LibvirtBatchTest extends BatchScene {
  LibvirtBatchTest(@TempDir Path folder) {
    super(folder);
  }

  @Test
  void domainsAreMovedWhileLibvirtIsDown() throws IOException {
    Ended ended = run();

    assertThat(ended.stopped()).isEmpty();
    assertThat(ended.awayMs()).isPresent();
    assertThat(ended.entries()).allMatch(entry -> entry.outcome() == Outcome.COMMITTED);
    assertThat(hyperplexor.did)
        .containsExactly("move web1", "hand back web1", "move db2", "hand back db2");
    assertThat(pid("web1")).isEqualTo(processes.get(2).pid()).isNotEqualTo(web1.domain().pid());
    assertThat(Files.readString(host.pidFile("db2")).strip())
        .isEqualTo(Long.toString(processes.get(3).pid()));
    assertThat(units.calls())
        .containsExactly(
            "systemctl daemon-reload",
            "systemctl stop libvirtd.service",
            "systemctl start libvirtd.service",
            "systemctl daemon-reload",
            "virsh list --uuid",
            "virsh dommemstat " + web1.domain().uuid(),
            "virsh domstate " + web1.domain().uuid(),
            "virsh dommemstat " + db2.domain().uuid(),
            "virsh domstate " + db2.domain().uuid());
    // Each is written down before it is taken, and again with its new process.
    assertThat(kept.all()).containsExactly("", "web1", "web1", "", "db2", "db2", "", "forgotten");
  }

  @Test
  void libvirtHasTheFirstAgainBeforeTheOthersAreBegun() throws IOException {
    Ended ended = run(List.of(List.of(web1), List.of(db2)));

    assertThat(ended.stopped()).isEmpty();
    assertThat(ended.awayMs()).isPresent();
    assertThat(ended.entries()).hasSize(2);
    assertThat(ended.entries()).allMatch(entry -> entry.outcome() == Outcome.COMMITTED);
    assertThat(units.calls())
        .containsSubsequence(
            "systemctl stop libvirtd.service",
            "systemctl start libvirtd.service",
            "virsh domstate " + web1.domain().uuid(),
            "systemctl stop libvirtd.service",
            "systemctl start libvirtd.service",
            "virsh domstate " + db2.domain().uuid());
    assertIsUp();
  }

  @Test
  void whereTheFirstDoNotRunTheOthersAreNotBegun() throws IOException {
    units.set("state", "shut off");

    Ended ended = run(List.of(List.of(web1), List.of(db2)));

    assertThat(ended.entries())
        .extracting(entry -> entry.outcome())
        .containsExactly(Outcome.FAILED, Outcome.NOT_STARTED);
    assertThat(ended.stopped().orElse("")).contains("Domain 'web1'", "'shut off'");
    assertThat(ended.awayMs()).isPresent();
    assertThat(units.calls()).containsOnlyOnce("systemctl stop libvirtd.service");
  }

  /// What came of the first is told all the same.
  @Test
  void aLibvirtThatDoesNotEndAgainKeepsTheOthers() throws IOException {
    audience =
        (_, _, text) -> {
          if (text.endsWith("answers again")) {
            stayOn();
          }
          return true;
        };

    Ended ended = run(List.of(List.of(web1), List.of(db2)));

    assertThat(ended.entries())
        .extracting(entry -> entry.outcome())
        .containsExactly(Outcome.COMMITTED, Outcome.NOT_STARTED);
    assertThat(ended.stopped().orElse("")).startsWith(Problem.LIBVIRT_SERVICE.code());
    assertThat(pid("db2")).isEqualTo(db2.domain().pid());
    assertIsUp();
  }

  private void stayOn() {
    try {
      units.set("refuses-stop", "");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void theFirstThatFailsStopsTheOthers() throws IOException {
    hyperplexor.rollsBack = true;
    Ended ended = run();

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
    assertThat(run().entries().getFirst().outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(hyperplexor.did).containsExactly("move web1");
    assertAsBefore();

    hyperplexor.untaken = Optional.empty();
    hyperplexor.refusal = Optional.of(Problem.REPLACE_OBSTACLES.because("No."));
    assertThat(run().entries().getFirst().problem()).isEqualTo("HF-REPLACE-001");
    assertThat(hyperplexor.did).endsWith("move web1", "hand back web1");
    assertAsBefore();
  }

  @Test
  void aJobThatBeganMeanwhileKeepsADomainAlone() throws IOException {
    Path file = host.statusFile("web1");
    Files.writeString(file, Files.readString(file).replace("async='none'", "async='save'"));
    Ended ended = run();

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
    Ended ended = run();

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
    assertThat(run().stopped().orElse("")).contains(Problem.LIBVIRT_BETWEEN.code(), "An odd one.");
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
    var _ = run();
    int anew = process();
    Path file = host.statusFile("web1");
    Files.writeString(
        file,
        Files.readString(file)
            .replaceFirst(" pid='" + web1.domain().pid() + "'>", " pid='" + anew + "'>"));

    hyperplexor.kept = Optional.empty();
    finish();
    assertThat(pid("web1")).isEqualTo(anew);
    assertThat(units.isActive("libvirtd.service")).isTrue();
  }

  /// It was handed back, and its daemon was killed before it could write that down.
  @Test
  void theNextDaemonFinishesWhatIsLeft() throws IOException {
    // As that daemon has left systemd.
    LibvirtService.find(host, domains.folder()).stop();
    int now = process();
    end(web1.domain().pid());
    HandedBack back = Domains.back(now, Map.of(0, now, 1, now));
    kept.keep(left(begun(web1).in(back), begun(db2)));
    finish();

    assertThat(pid("web1")).isEqualTo(now);
    LibvirtDomain domain = LibvirtDomain.read(host, "web1");
    assertThat(domain.vcpus()).isEqualTo(back.vcpus());
    assertThat(domain.emulator()).isEqualTo(back.program());
    assertThat(domain.cards()).extracting(LibvirtDomain.Card::tap).contains("hf-web1");
    assertThat(domain.terminals())
        .extracting(LibvirtDomain.Terminal::path)
        .containsOnly("/dev/pts/9");
    assertThat(pid("db2")).isEqualTo(db2.domain().pid());
    assertIsUp();
  }

  private static Down left(Down.Between... between) {
    return new Down(
        Instant.now().toString(),
        Host.bootId(),
        Down.How.of(List.of("libvirtd.service")),
        List.of(between));
  }

  private static Down.Between begun(Candidate candidate) {
    return Down.Between.begun(candidate.domain(), candidate.guest());
  }

  /// Nobody could find out later what libvirt has to know.
  @Test
  void whatCannotBeWrittenDownIsNotHandedBack() throws IOException {
    kept.full = true;
    Ended ended = run();

    assertThat(ended.entries().getFirst().detail()).contains("No space is left.");
    assertThat(ended.stopped().orElse("")).contains(Problem.LIBVIRT_BETWEEN.code());
    assertThat(hyperplexor.did).containsExactly("move web1");
    assertThat(units.isActive("libvirtd.service")).isFalse();

    kept.full = false;
    finish();
    assertThat(hyperplexor.did).containsExactly("move web1", "hand back web1");
    assertThat(pid("web1")).isEqualTo(processes.get(2).pid());
    assertIsUp();
  }

  @Test
  void aFileThatCannotBeWrittenNowIsWrittenLater() throws IOException {
    Path obstacle = status("web1").resolveSibling("web1.xml.hyperfresh").resolve("x");
    Files.createDirectories(obstacle);
    Ended ended = run();

    assertThat(ended.stopped().orElse("")).contains(Problem.LIBVIRT_BETWEEN.code());
    assertThat(hyperplexor.did).containsExactly("move web1", "hand back web1");
    assertThat(pid("web1")).isEqualTo(web1.domain().pid());
    assertThat(units.isActive("libvirtd.service")).isFalse();

    Files.delete(obstacle);
    finish();
    assertThat(Files.readString(status("web1"))).contains("/dev/pts/9", "hf-web1");
    assertThat(pid("web1")).isEqualTo(processes.get(2).pid());
    assertIsUp();
  }

  @Test
  void aGuestThatHasNotComeBackYetIsWaitedFor() throws IOException {
    hyperplexor.kept = Optional.of(Problem.GUEST_STATE.because("It does not answer."));
    var _ = run();
    hyperplexor.kept = Optional.empty();
    hyperplexor.here = Borrower.Standing.COMING;

    assertThatThrownBy(this::finish).hasMessageContaining("has not yet said");
    assertThat(units.isActive("libvirtd.service")).isFalse();
    hyperplexor.here = Borrower.Standing.HERE;
    finish();
    assertThat(pid("web1")).isEqualTo(processes.get(2).pid());
    assertThat(units.isActive("libvirtd.service")).isTrue();
  }

  @Test
  void aGuestThatWasLostKeepsNobody() throws IOException {
    hyperplexor.here = Borrower.Standing.ENDED;
    Ended ended = run();

    assertThat(ended.awayMs()).isPresent();
    assertThat(hyperplexor.did).containsExactly("move web1", "move db2");
    assertThat(pid("web1")).isEqualTo(web1.domain().pid());
    assertThat(units.isActive("libvirtd.service")).isTrue();
  }

  @Test
  void aDomainThatLibvirtHasForgottenKeepsNobody() throws IOException {
    hyperplexor.kept = Optional.of(Problem.GUEST_STATE.because("It does not answer."));
    var _ = run();
    hyperplexor.kept = Optional.empty();
    Files.delete(host.statusFile("web1"));

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
            List.of(begun(web1))));

    finish();
    assertThat(kept.read()).isEmpty();
    assertThat(units.isActive("libvirtd.service")).isFalse();
  }

  @Test
  void aLibvirtThatDoesNotEndKeepsItsDomains() throws IOException {
    units.set("refuses-stop", "");

    assertThatThrownBy(() -> run())
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.LIBVIRT_SERVICE));
    assertThat(hyperplexor.did).isEmpty();
    assertAsBefore();
  }

  @Test
  void aDaemonThatEndsBeginsNothing() throws IOException {
    ending = true;
    Ended ended = run();

    assertThat(ended.stopped()).hasValue("The daemon ends.");
    assertThat(ended.entries()).allMatch(entry -> entry.outcome() == Outcome.NOT_STARTED);
    assertThat(hyperplexor.did).isEmpty();
    assertAsBefore();
  }

  @Test
  void aLibvirtThatDoesNotAnswerIsTriedAgain() throws IOException {
    units.set("mute", "");
    Ended ended = run();
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
    Ended ended = run();

    assertThat(ended.entries()).allMatch(entry -> entry.outcome() == Outcome.FAILED);
    assertThat(ended.stopped().orElse("")).contains("Domain 'web1'", "'shut off'");
  }
}
