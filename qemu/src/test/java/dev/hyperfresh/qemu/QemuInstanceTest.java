package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/// What an instance makes of what its channel says, and of its end.
class QemuInstanceTest extends InstanceScene {
  @Test
  void aHandOverIsPreparedAndThenOneWrite() throws Exception {
    try (QemuInstance source = instance()) {
      source.connect(memory.fd());
      assertThat(first.commands)
          .containsExactly(
              "qmp_capabilities", "getfd", "migrate-set-capabilities", "migrate-set-parameters");

      first.answer(
          "migrate",
          (id, peer) -> {
            peer.send(QmpConversation.success(id, "{}") + QmpConversation.event("STOP", 7));
            peer.send(migration("completed"));
          });
      source.handOver();

      assertThat(next()).isEqualTo(new InstanceEvent.Stopped(GENERATION, 1_000_007));
      assertThat(next()).isInstanceOf(InstanceEvent.HandOverSent.class);
      assertThat(first.commands).endsWith("migrate").hasSize(5);
    }
  }

  @Test
  void aSourceIsSetUpForACopyAndSetBack() {
    setUpOtherwise();
    first.answer("query-status", (id, peer) -> peer.send(status(id, "paused")));
    try (QemuInstance source = instance()) {
      source.connectWithMemory(memory.fd(), Duration.ofMillis(250));
      assertThat(capabilities())
          .isEqualTo(
              Map.of(
                  "events",
                  true,
                  "auto-converge",
                  true,
                  "multifd",
                  false,
                  "x-ignore-shared",
                  false));
      assertThat(last("migrate-set-parameters").path("downtime-limit").asLong()).isEqualTo(250);
      assertThat(last("migrate-set-parameters").path("max-bandwidth").asLong())
          .isEqualTo(Migration.MAX_BANDWIDTH);

      source.withdraw();
      assertThat(capabilities())
          .isEqualTo(
              Map.of(
                  "events",
                  false,
                  "auto-converge",
                  false,
                  "multifd",
                  true,
                  "x-ignore-shared",
                  true));
      assertThat(last("migrate-set-parameters").path("downtime-limit").asLong()).isEqualTo(300);
      assertThat(last("migrate-set-parameters").path("max-bandwidth").asLong()).isEqualTo(1 << 27);

      int commands = first.commands.size();
      source.withdraw();
      assertThat(first.commands.subList(commands, first.commands.size()))
          .as("set back already, and the guest stays as it is")
          .doesNotContain("cont", "migrate-set-capabilities", "migrate-set-parameters");
    }
  }

  /// The next start could take the other one's for the newest, and would remove this one's.
  @Test
  void aGuestDoesNotGoOnWhileAnotherInstanceHasAStateOfItsTpm() {
    first.answer("query-status", (id, peer) -> peer.send(status(id, "running")));
    process.otherTpm = Optional.of("It cannot be removed.");
    try (QemuInstance source = instance()) {
      assertThatThrownBy(source::resume)
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.REPLACE_STANDS))
          .hasMessageContaining("It cannot be removed.");
      assertThat(first.commands).doesNotContain("cont");

      process.otherTpm = Optional.empty();
      source.resume();
    }
  }

  @Test
  void aTargetOfACopyIsSetUpForItAlone() {
    setUpOtherwise();
    try (QemuInstance target = instance()) {
      target.expectWithMemory(memory.fd());
      assertThat(capabilities())
          .isEqualTo(Map.of("events", true, "multifd", false, "x-ignore-shared", false));
      assertThat(first.commands).endsWith("migrate-incoming");
    }
  }

  @Test
  void aSourceSaysHowFarACopyIs() {
    first.answer(
        "query-migrate",
        (id, peer) ->
            peer.send(
                QmpConversation.success(
                    id,
                    "{\"status\":\"active\",\"expected-downtime\":70,"
                        + "\"cpu-throttle-percentage\":20,\"ram\":{\"total\":9000000,"
                        + "\"transferred\":5000000,\"remaining\":4000000,"
                        + "\"dirty-pages-rate\":100,\"page-size\":4096,"
                        + "\"dirty-sync-count\":3}}")));
    try (QemuInstance source = instance()) {
      assertThat(source.copied())
          .isEqualTo(new MemoryCopy.Status(9_000_000, 5_000_000, 4_000_000, 409_600, 3, 70, 20));
    }
  }

  /// Whoever started it has used some of it for a migration of its own.
  private void setUpOtherwise() {
    first.answer(
        "query-migrate-capabilities",
        (id, peer) ->
            peer.send(
                QmpConversation.success(
                    id,
                    "[{\"capability\":\"events\",\"state\":false},"
                        + "{\"capability\":\"multifd\",\"state\":true},"
                        + "{\"capability\":\"xbzrle\",\"state\":false},"
                        + "{\"capability\":\"auto-converge\",\"state\":false},"
                        + "{\"capability\":\"x-ignore-shared\",\"state\":true}]")));
    first.answer(
        "query-migrate-parameters",
        (id, peer) ->
            peer.send(
                QmpConversation.success(
                    id,
                    "{\"max-bandwidth\":134217728,\"downtime-limit\":300,\"tls-creds\":\"\"}")));
  }

  /// What came with a command when it came last.
  private JsonNode last(String command) {
    return first.arguments.get(first.commands.lastIndexOf(command));
  }

  /// As they were set last.
  private Map<String, Boolean> capabilities() {
    return last("migrate-set-capabilities")
        .path("capabilities")
        .valueStream()
        .collect(
            Collectors.toMap(
                item -> item.path("capability").asString(),
                item -> item.path("state").asBoolean()));
  }

  @Test
  void aHandOverThatIsRefusedHasFailed() throws Exception {
    first.answer(
        "migrate",
        (id, peer) -> peer.send("{\"id\":\"" + id + "\",\"error\":{\"desc\":\"no\"}}\r\n"));
    try (QemuInstance source = instance()) {
      source.connect(memory.fd());
      source.handOver();

      assertThat(next()).isEqualTo(new InstanceEvent.HandOverFailed(GENERATION, "no"));
    }
  }

  @Test
  void aTargetThatRanWhileNobodyHeardItHasResumed() throws Exception {
    second.answer("query-status", (id, peer) -> peer.send(status(id, "running")));
    second.answer("query-migrate", (id, peer) -> peer.send(status(id, "completed")));
    try (QemuInstance target = instance()) {
      target.expect(memory.fd());
      process.next = second;
      first.hangUp();

      assertThat(next()).isEqualTo(new InstanceEvent.Resumed(GENERATION, OptionalLong.empty()));
      assertThat(next()).isEqualTo(new InstanceEvent.Answering(GENERATION));
      assertThat(events).isEmpty();
    }
  }

  @Test
  void aSourceWhoseHandOverFailedUnheardTellsSo() throws Exception {
    second.answer("query-status", (id, peer) -> peer.send(status(id, "running")));
    second.answer("query-migrate", (id, peer) -> peer.send(status(id, "failed")));
    try (QemuInstance source = instance()) {
      source.connect(memory.fd());
      process.next = second;
      first.hangUp();

      assertThat(next())
          .isEqualTo(new InstanceEvent.HandOverFailed(GENERATION, "the migration is failed"));
      assertThat(next()).isEqualTo(new InstanceEvent.Answering(GENERATION));
    }
  }

  @Test
  void theEndOfTheProcessIsTheEndOfTheInstance() throws Exception {
    try (QemuInstance source = instance()) {
      process.over = true;
      first.hangUp();

      assertThat(next())
          .isEqualTo(
              new InstanceEvent.Ended(GENERATION, "the hypervisor closed its control channel"));
      assertThatThrownBy(source::takeBack)
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.REPLACE_LOST));
    }
    assertThat(files.resolve("qmp.log")).isNotEmptyFile();
  }

  @Test
  void aGuestThatStandsAfterAHandOverGoesOn() {
    first.answer(
        "query-status",
        (id, peer) ->
            peer.send(status(id, first.commands.contains("cont") ? "running" : "postmigrate")));
    try (QemuInstance source = instance()) {
      source.takeBack();
    }
    assertThat(first.commands)
        .containsSubsequence("query-migrate", "query-status", "cont", "query-status", "closefd");
  }

  @Test
  void anInstanceOfAnAdoptedGuestTakesItsSockets() {
    first.answer(
        "query-chardev",
        (id, peer) ->
            peer.send(
                QmpConversation.success(
                    id,
                    "[{\"label\":\"a\",\"filename\":\"null\"},"
                        + "{\"label\":\"b\",\"filename\":\"disconnected:tcp:h:2,server=on\"}]")));
    first.answer(
        "chardev-change",
        (id, peer) -> peer.send("{\"id\":\"" + id + "\",\"error\":{\"desc\":\"in use\"}}\r\n"));
    try (QemuInstance target = adopted(GENERATION, Duration.ofSeconds(10))) {
      assertThat(target.takeAddresses())
          .contains(
              "It does not listen at its socket tcp:h:1 (a): chardev-change: in use. The next replacement and the"
                  + " next start of the daemon try again. It is not connected to tcp:h:3 (c): it has"
                  + " no character device tcp:h:3 (c). The next replacement and the next start of the"
                  + " daemon try again.");
    }
    assertThat(first.commands)
        .containsExactly(
            "qmp_capabilities",
            "query-chardev",
            "chardev-change",
            "query-chardev",
            "query-chardev");
  }

  @Test
  void theProcessThatWasAdoptedHasThemAlready() {
    try (QemuInstance own = adopted(1, Duration.ofSeconds(10))) {
      assertThat(own.takeAddresses()).isEmpty();
    }
    assertThat(first.commands).containsExactly("qmp_capabilities");
  }

  /// Each of many would be waited for as long.
  @Test
  void oneThatDoesNotAnswerIsAskedOnce() {
    first.answer("query-chardev", (_, _) -> {});
    try (QemuInstance target = adopted(GENERATION, Duration.ofMillis(200))) {
      assertThatThrownBy(target::takeAddresses)
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.GUEST_STATE));
    }
    assertThat(first.commands).containsExactly("qmp_capabilities", "query-chardev");
  }

  /// They wait from the order to hand over until the guest is back.
  @Test
  void clientsOfSpiceArePassedOnToOneThatHasTheGuest() throws Exception {
    InetSocketAddress port;
    try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = new InetSocketAddress(free.getInetAddress(), free.getLocalPort());
    }
    String address = "addr=" + port.getAddress().getHostAddress() + ",port=" + port.getPort();
    first.answer("query-status", (id, peer) -> peer.send(status(id, "running")));
    try (QemuInstance own = adopted(GENERATION, Duration.ofSeconds(10), "-spice", address)) {
      assertThat(own.takeAddresses()).isEmpty();
      own.connect(memory.fd());
      own.handOver();
      try (Socket _ = new Socket(port.getAddress(), port.getPort())) {
        assertThat(awaited("add_client", Duration.ofMillis(200))).isFalse();
        own.takeBack();
        assertThat(awaited("add_client", Duration.ofSeconds(10))).isTrue();
      }
      assertThat(own.takeAddresses()).isEmpty();
    }
    assertThatThrownBy(() -> new Socket(port.getAddress(), port.getPort()))
        .isInstanceOf(ConnectException.class);
  }

  private boolean awaited(String command, Duration limit) throws InterruptedException {
    long deadline = System.nanoTime() + limit.toNanos();
    while (!List.copyOf(first.commands).contains(command) && System.nanoTime() < deadline) {
      Thread.sleep(5);
    }
    return List.copyOf(first.commands).contains(command);
  }

  private QemuInstance adopted(int generation, Duration patience) {
    return adopted(
        generation,
        patience,
        "-chardev",
        "socket,id=a,host=h,port=1,server=on,wait=off",
        "-chardev",
        "socket,id=b,host=h,port=2,server=on,wait=off",
        "-chardev",
        "socket,id=c,host=h,port=3,reconnect-ms=1000");
  }

  private QemuInstance adopted(int generation, Duration patience, String... line) {
    List<String> words = List.of(line);
    AdoptedMachine machine =
        new AdoptedMachine(words, Path.of("/run/qmp"), Optional.empty(), List.of(), List.of());
    return instance(generation, Optional.of(machine), patience);
  }

  /// Two hypervisors had no room in a control group that bounds both.
  @Test
  void whatHadNoRoomIsPutWhereItBelongsWhenTheOldOneHasEnded() {
    process.room = false;
    try (QemuInstance target = instance()) {
      assertThat(target.settle()).isPresent();
      assertThat(target.takeAddresses())
          .contains(
              "It is not in the control groups that the guest was in: there is no room. The next"
                  + " replacement and the next start of the daemon try again.");
      assertThat(target.confinement()).isEqualTo("outside");
      process.room = true;
      assertThat(target.takeAddresses()).isEmpty();
      assertThat(target.confinement()).isEqualTo("in its cgroups");
    }
  }

  private static String migration(String status) {
    return "{\"timestamp\":{\"seconds\":1,\"microseconds\":9},\"event\":\"MIGRATION\","
        + "\"data\":{\"status\":\""
        + status
        + "\"}}\r\n";
  }
}
