package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.Qemu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/// The life of a guest as its user sees it: a daemon with guests that count, spoken to over its
/// socket.
@Timeout(60)
class GuestLifeRoutesTest {
  private static final String COUNTER =
      """
      name: counter
      memory: 16M
      machine: counter
      kernel: program
      """;

  /// One for each guest that was booted, before the guest's daemon knows it.
  private final Semaphore boots = new Semaphore(0);

  private final ToyHypervisor toys =
      new ToyHypervisor() {
        @Override
        public Instance start(Launch launch) {
          boots.release();
          return super.start(launch);
        }
      };
  private final List<String> told = Collections.synchronizedList(new ArrayList<>());
  private final Semaphore starts = new Semaphore(0);
  private final Path folder;
  private Daemon daemon;

  GuestLifeRoutesTest(@TempDir Path folder) throws IOException {
    this.folder = folder;
    Files.writeString(folder.resolve("program"), "Count.");
    daemon = start();
  }

  private Daemon start() {
    Daemon started =
        Daemon.start(
            DaemonConfig.under(folder.resolve("state")).starting(1),
            new Kinds(new Qemu(), toys),
            List.of(new ToyReleases(toys, "1.0", "2.0")));
    started
        .events()
        .add(event -> {
          if (event instanceof Event.GuestStarted(var guest, var why)) {
            told.add(guest.spec().name() + " " + why.label());
            starts.release();
          }
        });
    return started;
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  private RawHttp api() {
    return new RawHttp(daemon.config().socket());
  }

  private JsonNode ask(String path, Map<String, ?> body) throws IOException {
    return api().post("/v1/guests" + path, Api.JSON.writeValueAsString(body)).lastLine();
  }

  private JsonNode done(String path, Map<String, ?> body) throws IOException {
    JsonNode line = ask(path, body);
    assertThat(line.has("result")).as(line.toString()).isTrue();
    return line.path("result");
  }

  private String refused(String path, Map<String, ?> body) throws IOException {
    return ask(path, body).path("problem").path("code").asString();
  }

  private Map<String, Object> spec(String more, Map<String, ?> rest) {
    Map<String, Object> body = new TreeMap<>(rest);
    body.put("document", COUNTER + more);
    body.put("base", folder.toString());
    return body;
  }

  private JsonNode show() throws IOException {
    return api().get("/v1/guests/counter").json();
  }

  @Test
  void aGuestIsMadeStartedStoppedAndStartedElsewhere() throws Exception {
    JsonNode made = done("", spec("release: toy-1.0\n", Map.of("start", false)));
    assertThat(made.path("state").asString()).isEqualTo("stopped");
    assertThat(made.path("next_release").asString()).isEqualTo("toy-1.0");
    assertThat(made.path("edited").asBoolean()).as("never started").isTrue();
    assertThat(toys.uses("toy-1.0")).isFalse();

    JsonNode first = done("/counter/start", Map.of());
    assertThat(first.path("release").asString()).isEqualTo("toy-1.0");
    assertThat(toys.running("counter").count()).isEqualTo(1);
    assertThat(done("/counter/start", Map.of("release", "toy-2.0")).path("release").asString())
        .as("it runs")
        .isEqualTo("toy-1.0");
    assertThat(done("/counter/stop", Map.of()).path("state").asString()).isEqualTo("stopped");
    JsonNode second = done("/counter/start", Map.of("release", "toy-2.0"));
    assertThat(second.path("release").asString()).isEqualTo("toy-2.0");
    assertThat(second.path("generation").asInt()).isEqualTo(2);
    assertThat(toys.running("counter").count()).isEqualTo(1);
    JsonNode third = done("/counter/restart", Map.of("patience_s", 5));
    assertThat(third.path("release").asString()).isEqualTo("toy-2.0");
    assertThat(third.path("generation").asInt()).isEqualTo(3);

    assertThat(told).hasSize(3).containsOnly("counter request");
    assertThat(refused("/counter/start", Map.of("release", "toy-3.0")))
        .isEqualTo(Problem.RELEASE_UNKNOWN.code());
    assertThat(refused("/nobody/start", Map.of())).isEqualTo(Problem.GUEST_UNKNOWN.code());
  }

  @Test
  void anEditIsCheckedAndMadeAtTheNextStart() throws Exception {
    var _ = done("", spec("release: toy-1.0\n", Map.of()));

    assertThat(refused("/counter/edit", spec("machine: abacus\n", Map.of())))
        .isEqualTo(Problem.SPEC_MALFORMED.code());
    assertThat(refused("/counter/edit", spec("accelerator: kvm\n", Map.of())))
        .isEqualTo(Problem.HOST_MISSING.code());
    JsonNode edited =
        done("/counter/edit", spec("vcpus: 2\non-crash: restart\nrelease: toy-2.0\n", Map.of()));
    assertThat(edited.path("vcpus").asInt()).isEqualTo(1);
    assertThat(edited.path("edited").asBoolean()).isTrue();
    assertThat(edited.path("next_release").asString()).isEqualTo("toy-2.0");

    JsonNode again = done("/counter/restart", Map.of());

    assertThat(again.path("vcpus").asInt()).isEqualTo(2);
    assertThat(again.path("on_crash").asString()).isEqualTo("restart");
    assertThat(again.path("release").asString()).isEqualTo("toy-2.0");
    assertThat(again.path("edited").asBoolean()).isFalse();
  }

  @Test
  void aGuestWhoseHypervisorEndsIsStartedByItsPolicy() throws Exception {
    var _ = done("", spec("on-crash: restart\nrelease: toy-1.0\n", Map.of()));

    toys.running("counter").kill();

    assertThat(starts.tryAcquire(2, 10, TimeUnit.SECONDS)).isTrue();
    assertThat(told).containsExactly("counter request", "counter on-crash");
    assertThat(show().path("restarts").asInt()).isEqualTo(1);
    assertThat(toys.running("counter").generation()).isEqualTo(2);
  }

  @Test
  void aBootOfTheHostBringsBackWhatIsToComeBack() throws Exception {
    var _ = done("", spec("release: toy-1.0\n", Map.of()));
    assertThat(done("/counter/autostart", Map.of("on", true)).path("autostart").asBoolean())
        .isTrue();
    assertThat(refused("/counter/autostart", Map.of())).isEqualTo(Problem.API_REQUEST.code());
    daemon.letGo();
    daemon = start();
    assertThat(show().path("state").asString()).isEqualTo("stopped");
    assertThat(show().path("detail").asString()).isEqualTo("ended while no daemon ran");
    daemon.letGo();
    Path file = folder.resolve("state/guests/counter/guest.properties");
    Files.write(
        file,
        Files.readAllLines(file).stream()
            .map(line -> line.replaceFirst("^((running\\.)?boot)=.*", "$1=an-earlier-one"))
            .toList());
    var _ = boots.drainPermits();

    daemon = start();

    assertThat(boots.tryAcquire(10, TimeUnit.SECONDS)).isTrue();
    // The guest's thread does this after the start.
    var _ = done("/counter/autostart", Map.of("on", true));
    assertThat(show().path("state").asString()).isEqualTo("running");
    assertThat(show().path("generation").asInt()).isEqualTo(2);
  }
}
