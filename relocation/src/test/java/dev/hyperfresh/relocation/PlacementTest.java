package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What one daemon writes down of operating systems and containers, the next one reads.
class PlacementTest {
  @TempDir Path folder;

  private static Placement placement(Optional<Placement.Move> move) {
    return new Placement(
        new ContainerSpec(
            "c1",
            Path.of("/srv/c1"),
            Optional.of(
                new ContainerSpec.Network("10.0.0.5/24", Optional.empty(), Optional.of("br0"))),
            List.of(new VolumeMount("data", "/data", true)),
            Optional.of(
                new HealthCheck(
                    List.of("/bin/true", ""),
                    Duration.ofMillis(1500),
                    HealthCheck.TIMEOUT,
                    HealthCheck.RETRIES,
                    Duration.ZERO))),
        "older",
        77,
        move);
  }

  @Test
  void whatIsWrittenIsRead() throws IOException {
    Placement moved =
        placement(
            Optional.of(
                new Placement.Move(
                    "older",
                    "newer",
                    Transport.COPIED_LAZILY,
                    "w3",
                    Optional.of(Placement.Phase.SWITCHING),
                    Optional.empty())));
    moved.write(folder);
    assertThat(Placement.read(folder, "c1")).isEqualTo(moved);
    placement(Optional.empty()).write(folder);
    assertThat(Placement.read(folder, "c1")).isEqualTo(placement(Optional.empty()));
    assertThat(Placement.names(folder)).containsExactly("c1");
    assertThat(Files.getPosixFilePermissions(folder.resolve("c1.json")))
        .isEqualTo(PosixFilePermissions.fromString("rw-------"));
    Placement.remove(folder, "c1");
    assertThat(Placement.names(folder)).isEmpty();
    assertThat(Placement.names(folder.resolve("none"))).isEmpty();
  }

  /// Of one that an older daemon has written down nobody asks whether it works.
  @Test
  void whatAnOlderDaemonDidNotWriteDownIsNotThere() throws IOException {
    String old =
        "{\"spec\":{\"name\":\"c1\",\"bundle\":\"/srv/c1\",\"network\":null},"
            + "\"os\":\"older\",\"pid\":7,\"move\":null}\n";
    Files.writeString(folder.resolve("c1.json"), old);
    ContainerSpec read = Placement.read(folder, "c1").spec();
    assertThat(read.volumes()).isEmpty();
    assertThat(read.health()).isEmpty();
    assertThat(Placement.read(folder, "c1").ended()).isEmpty();
  }

  /// A job that has done its work must not be started again.
  @Test
  void howAContainerEndedInAMoveIsKnownToTheNextDaemon() {
    Placement.Move move = Placement.Move.begun("older", "newer", Transport.MAPPED, "w3");
    ContainerState.Ended how = ContainerState.Ended.parse("code 0 oom 0 ago_ms 5", Instant.now());
    placement(Optional.of(move))
        .of(new MoveState.Clearing(new MoveState.Ended("it ended", how)))
        .write(folder);
    assertThat(Placement.read(folder, "c1").state())
        .isInstanceOfSatisfying(
            MoveState.Clearing.class,
            clearing ->
                assertThat(clearing.end())
                    .isInstanceOfSatisfying(
                        MoveState.Ended.class, end -> assertThat(end.how()).isEqualTo(how)));
  }

  @Test
  void howAContainerEndedIsKnownUntilNothingIsLeftOfIt() throws IOException {
    ContainerState.Ended how = ContainerState.Ended.parse("code 0 oom 0 ago_ms 5", Instant.now());
    Placement ended = placement(Optional.empty()).asEnded(how);
    ended.write(folder);
    assertThat(Placement.read(folder, "c1")).isEqualTo(ended);
    Placement moved =
        placement(Optional.of(Placement.Move.begun("older", "newer", Transport.MAPPED, "w3")));
    assertThat(moved.of(new MoveState.Ended("it ended", how)).ended()).contains(how);
    assertThat(moved.of(new MoveState.Lost("a page is lost")).ended().orElseThrow().words())
        .contains("a page is lost");
    assertThat(moved.of(new MoveState.RolledBack("refused")).ended()).isEmpty();
  }

  @Test
  void anOlderDaemonKnewNoIpv6() throws IOException {
    placement(Optional.empty()).write(folder);
    Path file = folder.resolve("c1.json");
    Files.writeString(
        file,
        Files.readAllLines(file)
            .getFirst()
            .replaceFirst(
                "\"network\":\\{[^}]*\\}",
                "\"network\":{\"address\":\"10.0.0.5/24\",\"gateway\":null,\"bridge\":\"br0\"}"));
    assertThat(Placement.read(folder, "c1")).isEqualTo(placement(Optional.empty()));
  }

  @Test
  void whatIsDamagedOrOfSomebodyElseIsRefused() throws IOException {
    placement(Optional.empty()).write(folder);
    Files.copy(folder.resolve("c1.json"), folder.resolve("c2.json"));
    assertThatThrownBy(() -> Placement.read(folder, "c2"))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("c2");
    Files.writeString(folder.resolve("c1.json"), "{\"spec\":");
    assertThatThrownBy(() -> Placement.read(folder, "c1")).isInstanceOf(HyperFreshException.class);
  }
}
