package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Rollout.Outcome;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.libvirt.LibvirtBatch.Ended;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Something else starts libvirt while its domains are being moved, or tries to, or the daemon
/// ends.
class LibvirtStartedTest extends BatchScene {
  /// No process of this host has this number.
  private static final int OTHER = 99_999_999;

  LibvirtStartedTest(@TempDir Path folder) {
    super(folder);
  }

  @Test
  void nobodyElseCanStartItMeanwhile() throws IOException {
    List<Boolean> started = new ArrayList<>();
    hyperplexor.whenTaken = () -> started.add(starts());
    hyperplexor.whenMoved = () -> started.add(starts());

    Ended ended = run();

    assertThat(started).containsExactly(false, false, false, false);
    assertThat(ended.stopped()).isEmpty();
    assertThat(ended.entries()).allMatch(entry -> entry.outcome() == Outcome.COMMITTED);
    assertIsUp();
  }

  private boolean starts() {
    try {
      assertThat(host.domains().resolve("driver.pid")).exists();
      return units.canStart("libvirtd.service");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void othersAreKeptOffAsLongAsADomainWaits() throws Exception {
    hyperplexor.kept = Optional.of(Problem.GUEST_STATE.because("It does not answer."));
    var _ = run();
    assertThat(starts()).isFalse();

    assertThatThrownBy(this::finish).isInstanceOf(HyperFreshException.class);
    assertThat(starts()).isFalse();

    hyperplexor.kept = Optional.empty();
    finish();
    assertIsUp();
  }

  @Test
  void aGuestIsNotSwitchedWhenItRuns() throws IOException {
    hyperplexor.whenTaken = () -> domains.runLibvirt(OTHER);

    Ended ended = run();

    assertThat(ended.entries())
        .extracting(entry -> entry.outcome())
        .containsExactly(Outcome.ROLLED_BACK, Outcome.NOT_STARTED);
    assertThat(ended.entries().getFirst().problem()).isEqualTo(Problem.LIBVIRT_STARTED.code());
    assertThat(ended.stopped())
        .hasValue("Domain 'web1': Something else has started libvirt, which is process 99999999.");
    assertThat(ended.awayMs()).isPresent();
    assertAsBefore();
  }

  /// It has read what its file said before, and writes that again.
  @Test
  void whatItHasWrittenOfADomainThatWasMovedIsBroughtUpToDateAgain() throws IOException {
    String before = Files.readString(status("web1"));
    hyperplexor.whenMoved = () -> domains.runLibvirt(OTHER);
    List<String> told = new ArrayList<>();
    audience =
        (_, _, text) -> {
          if (text.startsWith("ending it again")) {
            told.add(text);
            write(status("web1"), before);
          }
          return true;
        };

    Ended ended = run();

    assertThat(told).singleElement().asString().contains("process 99999999");
    assertThat(ended.entries())
        .extracting(entry -> entry.outcome())
        .containsExactly(Outcome.COMMITTED, Outcome.NOT_STARTED);
    assertThat(ended.stopped().orElse("")).contains("process 99999999");
    assertThat(pid("web1")).isEqualTo(processes.get(2).pid());
    assertThat(Files.readString(status("web1"))).contains("/dev/pts/9", "hf-web1");
    assertIsUp();
  }

  private static void write(Path file, String text) {
    try {
      Files.writeString(file, text);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// It was started by hand, so that nobody can end it.
  @Test
  void aDomainStaysBetweenWhileItRuns() throws IOException {
    units.set("by-hand", "");
    hyperplexor.whenMoved = () -> domains.runLibvirt(OTHER);

    Ended ended = run();

    assertThat(ended.stopped().orElse("")).contains("process 99999999");
    assertThat(ended.awayMs()).isEmpty();
    assertThat(kept.read().orElseThrow().between()).hasSize(1);
    assertThatThrownBy(this::finish)
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.LIBVIRT_BETWEEN))
        .hasMessageContaining(Problem.LIBVIRT_STARTED.code());

    units.unset("by-hand");
    finish();
    assertThat(pid("web1")).isEqualTo(processes.get(2).pid());
    assertIsUp();
  }

  @Test
  void aDomainThatItHasForgottenIsToldOf() throws IOException {
    hyperplexor.whenMoved =
        () -> {
          try {
            Files.delete(status("web1"));
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        };

    Ended ended = run();

    assertThat(ended.entries())
        .extracting(entry -> entry.outcome())
        .containsExactly(Outcome.FAILED, Outcome.NOT_STARTED);
    assertThat(ended.entries().getFirst().problem()).isEqualTo(Problem.LIBVIRT_STARTED.code());
    assertThat(ended.stopped().orElse(""))
        .contains("libvirt has forgotten domain 'web1'", "Process " + processes.get(2).pid());
    assertThat(status("web1")).doesNotExist();
    assertIsUp();
  }

  /// Its memory may be copied for minutes.
  @Test
  void aDaemonThatEndsGivesUpWhatIsNotSwitchedYet() throws IOException {
    hyperplexor.whenTaken = () -> ending = true;

    Ended ended = run();

    assertThat(ended.stopped()).hasValue("Domain 'web1': The daemon ends.");
    assertThat(ended.entries())
        .extracting(entry -> entry.outcome())
        .containsExactly(Outcome.ROLLED_BACK, Outcome.NOT_STARTED);
    assertAsBefore();
  }
}
