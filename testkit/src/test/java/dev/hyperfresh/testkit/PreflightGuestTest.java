package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Check.Verdict;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.ControlWatcher;
import dev.hyperfresh.qemu.Qemu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// What a guest has, its disks, its ports and its own hypervisor, is looked at before it is
/// replaced.
@Tag("slow")
class PreflightGuestTest extends PreflightScene {
  @Test
  void anImageThatWasReplacedIsFound() throws IOException {
    Path image = withDisk();
    assertPass(plan(newer));
    Path aside = workspace.state().resolve("aside.raw");
    Files.move(image, aside);
    assertFails(plan(newer), "disk disk.raw", "is not there any more");
    Files.copy(aside, image);
    assertFails(plan(newer), "disk disk.raw", "is another file");
    Files.move(aside, image, StandardCopyOption.REPLACE_EXISTING);
    assertPass(plan(newer));
    neverPaused();
  }

  @Test
  void anImageThatAnotherProcessHasLockedIsFound() throws Exception {
    Path image = withDisk();
    // The way QEMU locks: a byte that says "nobody else may write".
    Process other =
        new ProcessBuilder(
                "python3",
                "-c",
                "import fcntl,sys;f=open(sys.argv[1],'r+b');fcntl.lockf(f,fcntl.LOCK_SH,1,201);"
                    + "print('held',flush=True);sys.stdin.read()",
                image.toString())
            .start();
    try {
      assertThat(other.inputReader().readLine()).isEqualTo("held");
      assertFails(plan(newer), "disk disk.raw", "Another process has locked");
    } finally {
      other.destroy();
      other.waitFor();
    }
    assertPass(plan(newer));
  }

  @Test
  void aGuestThatStandsIsFound() throws Exception {
    end();
    // One that does not answer is waited for.
    Qemu hasty = new Qemu(ControlWatcher.NONE, Duration.ofSeconds(5));
    hyperplexor =
        new Hyperplexor(
            workspace.state(), new Kinds(hasty), Workshop.KVM, _ -> {}, Workshop.BRIEFLY);
    create(Workshop.tick(GUEST, 64, AcceleratorWish.TCG));
    int pid = hyperplexor.show(GUEST).pid();
    try (PidFd source = PidFd.open(pid)) {
      source.signal(Signals.STOP);
      List<Check> checks = plan(newer);
      source.signal(Signals.CONT);
      assertFails(checks, "running release", "does not answer");
    }
    assertPass(plan(newer));
  }

  @Test
  void aPortThatIsGoneIsFoundAndCardsAreRehearsedOnTapsOfTheirOwn() {
    end();
    try (TestNetwork network = TestNetwork.create()) {
      hyperplexor = Workshop.hyperplexor(workspace.state());
      GuestSpec spec =
          with(List.of(), List.of(new Nic("hflooked0", Optional.empty(), "52:54:00:00:00:31")));
      network.within(() -> {
        create(spec);
        return true;
      });
      List<Check> checks = plan(newer);
      assertPass(checks);
      assertThat(named(checks, "rehearsal").finding()).doesNotContain("connected to nothing");
      assertThat(named(checks, "port hflooked0").verdict()).isEqualTo(Verdict.PASS);
      assertThat(network.interfaces()).containsExactlyInAnyOrder("lo", "hflooked0");
      untouched();
      network.ip("link", "del", "hflooked0");
      assertFails(plan(newer), "port hflooked0", "is no device any more");
    }
  }
}
