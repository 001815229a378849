package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// The place that one process at a time has, this daemon or a libvirt.
@Timeout(60)
class DriverSeatTest {
  private final Domains domains;
  private final LibvirtHost host;
  private final DriverSeat seat;
  private final Path file;

  DriverSeatTest(@TempDir Path folder) {
    domains = new Domains(folder);
    host = domains.quiet();
    seat = new DriverSeat(host);
    file = host.domains().resolve("driver.pid");
  }

  @AfterEach
  void leave() {
    seat.leave();
  }

  /// Whether another process gets it now.
  private boolean isFree() throws Exception {
    Process other = OtherLibvirt.begin(file);
    try {
      return OtherLibvirt.locked(other);
    } finally {
      other.destroyForcibly().waitFor();
    }
  }

  @Test
  void nobodyElseGetsItUntilItIsLeft() throws Exception {
    assertThat(seat.intruder()).isPresent();

    seat.take();
    seat.take();
    assertThat(seat.intruder()).isEmpty();
    assertThat(isFree()).isFalse();
    seat.leave();
    seat.leave();

    assertThat(file).doesNotExist();
    assertThat(isFree()).isTrue();
    // The other one was killed and has left its file.
    assertThat(file).exists();
    seat.take();
    assertThat(seat.intruder()).isEmpty();
  }

  @Test
  void oneThatALibvirtHasIsNotTaken() throws Exception {
    Files.createDirectories(host.domains());
    Process other = OtherLibvirt.begin(file);
    try {
      assertThat(OtherLibvirt.locked(other)).isTrue();

      assertThatThrownBy(seat::take)
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.LIBVIRT_SERVICE))
          .hasMessageContaining("A libvirt runs");
      assertThat(seat.intruder()).isPresent();
      seat.leave();
      assertThat(file).as("is the other one's").exists();
    } finally {
      other.destroyForcibly().waitFor();
    }
    seat.take();
  }

  /// One that does not know the place.
  @Test
  void aProcessOfLibvirtIsSeen() {
    seat.take();
    domains.runLibvirt(4711);

    assertThat(seat.intruder())
        .hasValue("Something else has started libvirt, which is process 4711.");
  }

  /// Whoever locks the new file has the place as well.
  @Test
  void aFileThatWasRemovedIsSeenAndLockedAnew() throws IOException {
    seat.take();
    Files.delete(file);
    assertThat(seat.intruder().orElse("")).contains("has not locked");
    Path moved = Files.writeString(file.resolveSibling("other"), "1");
    Files.move(moved, file);
    assertThat(seat.intruder()).isPresent();

    seat.take();

    assertThat(seat.intruder()).isEmpty();
    seat.leave();
    assertThat(file).doesNotExist();
  }
}
