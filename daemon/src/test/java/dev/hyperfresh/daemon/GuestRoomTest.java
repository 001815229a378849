package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Adopter;
import dev.hyperfresh.hypervisor.Adoption;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.qemu.QemuRelease;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Releases come with guests that something else started. The process stands in for a QEMU, and is
/// left alone when all is known of it.
@Timeout(30)
class GuestRoomTest {
  private static final QemuRelease FOREIGN = Installed.qemu("8.2.1");

  private final Daemon daemon;
  private final GuestRoom guests;
  private final List<String> told = Collections.synchronizedList(new ArrayList<>());

  /// Finds that a process can be adopted, and cannot take it over.
  private record Foreign() implements Hypervisor, Adopter {
    @Override
    public String kind() {
      return "process";
    }

    @Override
    public Optional<Adopter> adopter() {
      return Optional.of(this);
    }

    @Override
    public Adoption adopt(AdoptRequest request) {
      AdoptedMachine machine =
          new AdoptedMachine(List.of(), request.control(), request.console(), 3, List.of());
      return new Adoption(
          ContractTest.guest(GuestView.State.RUNNING).spec(),
          new AcceleratorChoice(Accelerator.TCG, "a test"),
          machine,
          holdings(request.pid(), machine),
          List.of(),
          List.of());
    }

    @Override
    public Holdings holdings(int pid, AdoptedMachine machine) {
      return new Holdings(MemFd.create("foreign", 16 << 20).fd(), List.of());
    }

    @Override
    public Instance attach(Launch launch, int pid) {
      throw Problem.GUEST_STATE.because("It does not answer.");
    }

    @Override
    public Holdings holdings(Release release, GuestSpec guest, int pid, int nics) {
      throw notOurs();
    }

    @Override
    public AcceleratorChoice accelerator(
        GuestSpec.AcceleratorWish wish, Release release, KvmProbe.Result host) {
      return AcceleratorChoice.choose(wish, host);
    }

    @Override
    public List<Check> checks(GuestSpec spec, Release release, Accelerator accelerator) {
      return List.of();
    }

    @Override
    public void pin(Launch launch) {}

    @Override
    public Instance start(Launch launch) {
      throw notOurs();
    }

    @Override
    public Instance startWaiting(Launch launch) {
      throw notOurs();
    }

    @Override
    public Optional<Boolean> hasRun(Path files, int generation) {
      return Optional.empty();
    }

    @Override
    public List<Survivor> survivors(Path guests) {
      return List.of();
    }

    @Override
    public void endRehearsals(Path guests) {}

    @Override
    public boolean lives(Survivor instance) {
      return true;
    }

    @Override
    public boolean hasOwnProcess(Survivor instance) {
      return true;
    }

    @Override
    public void goOn(Survivor instance) {
      throw notOurs();
    }

    @Override
    public void end(Survivor instance) {
      throw notOurs();
    }

    private static UnsupportedOperationException notOurs() {
      return new UnsupportedOperationException("nothing is started in this test");
    }
  }

  GuestRoomTest(@TempDir Path folder) {
    daemon = Daemon.start(DaemonConfig.under(folder.resolve("state")), new Kinds(new Foreign()));
    guests =
        new GuestRoom(
            daemon.hyperplexor(),
            new GuestRoom.Processes(List::of, (_, _) -> installed()),
            new Destinations(List::of, daemon.releaseKinds()),
            daemon.events());
    daemon.events().add(event -> told.add(event.type() + " " + event.subject()));
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  private QemuRelease installed() {
    Installed.add(daemon.config().releases(), FOREIGN);
    return FOREIGN;
  }

  private void adopt() {
    assertThatThrownBy(
            () -> guests.adopt("web1", 4711, Path.of("/qmp"), Optional.empty(), Progress.NONE))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("It does not answer.");
  }

  @Test
  void aReleaseThatAdoptionAddsIsAnnounced() {
    adopt();

    assertThat(told).containsExactly("release.added qemu-8.2.1");
    assertThat(daemon.releases().get("qemu-8.2").name()).isEqualTo("qemu-8.2.1");
  }

  @Test
  void oneThatWasHereIsNot() {
    var _ = installed();

    adopt();

    assertThat(told).isEmpty();
  }

  @Test
  void whatIsRemovedIsAnnouncedOnce() throws Exception {
    var _ = installed();
    RawHttp api = new RawHttp(daemon.config().socket());

    assertThat(api.delete("/v1/releases/qemu-8.2").status()).isEqualTo(200);
    assertThat(api.delete("/v1/releases/qemu-8.2").json().path("code").asString())
        .isEqualTo(Problem.RELEASE_UNKNOWN.code());

    assertThat(told).containsExactly("release.removed qemu-8.2.1");
  }
}
