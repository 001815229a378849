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
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.ProcessRights;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Releases come with guests that something else started. The process stands in for a QEMU, and is
/// left alone when all is known of it.
@Timeout(30)
class GuestRoomTest {
  private static final QemuRelease FOREIGN = Installed.qemu("8.2.1");

  private final Daemon daemon;
  private final GuestRoom guests;
  private final List<String> told = Collections.synchronizedList(new ArrayList<>());

  /// Finds that a process can be adopted, and cannot take it over.
  private static final class Foreign extends ToyHypervisor implements Adopter {
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
          new AdoptedMachine(
              List.of(),
              request.control(),
              request.console(),
              List.of(new AdoptedMachine.Memory(3, MemoryPart.ordinary(16 << 20))),
              List.of());
      GuestSpec spec = ContractTest.guest(GuestView.State.RUNNING).spec();
      return new Adoption(
          spec,
          new AcceleratorChoice(Accelerator.TCG, "a test"),
          machine,
          holdings(spec, request.pid(), machine),
          rights(request.pid()),
          true,
          List.of(),
          List.of());
    }

    private static ProcessRights rights(int pid) {
      try {
        return ProcessRights.of(ProcFs.HOST, pid);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public Holdings holdings(GuestSpec guest, int pid, AdoptedMachine machine) {
      return new Holdings(List.of(MemFd.create("foreign", 16 << 20).fd()), List.of());
    }

    @Override
    public Instance attach(Launch launch, int pid) {
      throw Problem.GUEST_STATE.because("It does not answer.");
    }
  }

  GuestRoomTest(@TempDir Path folder) {
    daemon = Daemon.start(DaemonConfig.under(folder.resolve("state")), new Kinds(new Foreign()));
    guests =
        new GuestRoom(
            daemon.hyperplexor(),
            new GuestRoom.Processes(List::of, (_, _) -> installed()),
            new Destinations(List::of, _ -> false, _ -> false, daemon.releaseKinds()),
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
    assertThatThrownBy(() ->
            guests.adopt(
                "web1",
                (int) ProcessHandle.current().pid(),
                Path.of("/qmp"),
                Optional.empty(),
                Optional.empty(),
                Progress.NONE))
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
  void theTargetOfACopyIsKnownBeforeAnythingIsDone() {
    MemoryCopy limits = new MemoryCopy(Duration.ofMinutes(1), Duration.ofMillis(300));
    Optional<GuestRoom.CopyWish> copy =
        Optional.of(new GuestRoom.CopyWish(Optional.of("qemu-99"), limits));

    assertThatThrownBy(() ->
            guests.adopt("web1", 4711, Path.of("/qmp"), Optional.empty(), copy, Progress.NONE))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.RELEASE_UNKNOWN));

    assertThat(told).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "'to': 'qemu-10.0'",
        "'timeout_s': 60",
        "'copy': false, 'max_downtime_ms': 300",
        "'copy': true, 'max_downtime_ms': 0",
        "'copy': true, 'timeout_s': 86401",
        "'copy': 'yes'"
      })
  void whatSaysHowToCopyIsForACopyAndInItsBounds(String more) throws Exception {
    RawHttp api = new RawHttp(daemon.config().socket());
    String body = "{'pid': 4711, 'qmp': '/qmp', " + more + "}";

    assertThat(
            api.post("/v1/guests/web1/adopt", body.replace('\'', '"'))
                .lastLine()
                .path("problem")
                .path("code")
                .asString())
        .isEqualTo(Problem.API_REQUEST.code());
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
