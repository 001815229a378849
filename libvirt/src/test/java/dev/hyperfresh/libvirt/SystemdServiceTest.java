package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// libvirt as units of systemd, which a script stands for.
class SystemdServiceTest {
  private final Domains domains;
  private Units units = new Units(LibvirtHost.THIS);

  SystemdServiceTest(@TempDir Path folder) {
    this.domains = new Domains(folder);
  }

  @BeforeEach
  void makeUnits() throws IOException {
    units = Units.of(domains);
  }

  private LibvirtService find() {
    return LibvirtService.find(domains.host(), domains.folder().resolve("log"));
  }

  private static void assertRefused(ThrowingCallable call, String detail) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.LIBVIRT_SERVICE))
        .hasMessageContaining(detail);
  }

  @Test
  void socketsAreStoppedWithTheServiceAndStartedBeforeIt() throws IOException {
    for (String unit : List.of("libvirtd.service", "libvirtd.socket", "libvirtd-ro.socket")) {
      units.set(unit, "active");
    }
    LibvirtService service = find();
    assertThat(service.words()).isEqualTo("libvirtd.service");
    assertThat(service.how().units())
        .containsExactly("libvirtd-ro.socket", "libvirtd.socket", "libvirtd.service");

    service.stop();
    assertThat(units.isActive("libvirtd.service")).isFalse();
    assertThat(units.isActive("libvirtd.socket")).isFalse();
    // As the next daemon would.
    LibvirtService.of(domains.host(), service.how(), domains.folder()).start();

    assertThat(units.isActive("libvirtd.service")).isTrue();
    assertThat(units.calls())
        .containsExactly(
            "systemctl daemon-reload",
            "systemctl stop libvirtd-ro.socket libvirtd.socket libvirtd.service",
            "systemctl start libvirtd-ro.socket libvirtd.socket",
            "systemctl start libvirtd.service",
            "systemctl daemon-reload");
  }

  /// A package, a client or a timer may ask for it.
  @Test
  void nobodyElseCanStartItMeanwhile() throws Exception {
    units.set("libvirtd.service", "active");
    Path others = Files.createDirectories(domains.host().systemd().resolve("libvirtd.service.d"));
    Path other = Files.writeString(others.resolve("limits.conf"), "[Service]\n");
    LibvirtService service = find();

    service.stop();
    for (String unit : List.of("libvirtd.service", "libvirtd.socket", "virtqemud.socket")) {
      assertThat(units.canStart(unit)).as(unit).isFalse();
    }
    service.stop();
    assertThat(units.canStart("libvirtd.service")).isFalse();
    // As the next daemon would.
    LibvirtService.of(domains.host(), service.how(), domains.folder()).start();

    assertThat(units.isActive("libvirtd.service")).isTrue();
    assertThat(units.conditions()).containsExactly(other);
    assertThat(units.canStart("virtqemud.socket")).isTrue();
  }

  /// What is left of it has no effect, so libvirt is not kept down by what is to be removed.
  @Test
  void itIsStartedWhereUnitsCannotBeReadAnew() throws IOException {
    units.set("libvirtd.service", "active");
    LibvirtService service = find();
    service.stop();
    units.set("refuses-daemon-reload", "");

    service.start();

    assertThat(units.isActive("libvirtd.service")).isTrue();
    assertThat(units.conditions()).isEmpty();
  }

  @Test
  void whereOthersCannotBeKeptOffNothingIsEnded() throws IOException {
    units.set("libvirtd.service", "active");
    LibvirtService service = find();
    units.set("refuses-daemon-reload", "");

    assertRefused(service::stop, "systemd does not daemon-reload: Job for");

    assertThat(units.isActive("libvirtd.service")).isTrue();
    units.unset("refuses-daemon-reload");
    service.start();
    assertThat(units.conditions()).isEmpty();
  }

  /// A request has come to its socket since it was looked for.
  @Test
  void aServiceThatWasStartedMeanwhileIsStopped() throws IOException {
    units.set("virtqemud.socket", "active");
    LibvirtService service = find();
    units.set("virtqemud.service", "active");

    service.stop();

    assertThat(units.isActive("virtqemud.service")).isFalse();
    service.start();
    assertThat(units.isActive("virtqemud.socket")).isTrue();
    assertThat(units.isActive("virtqemud.service")).isFalse();
  }

  @Test
  void aServiceThatWasIdleStaysIdle() throws IOException {
    units.set("virtqemud.socket", "active");
    LibvirtService service = find();

    service.stop();
    service.start();
    service.start();

    assertThat(units.calls())
        .containsExactly(
            "systemctl daemon-reload",
            "systemctl stop virtqemud.socket",
            "systemctl start virtqemud.socket",
            "systemctl daemon-reload");
  }

  @Test
  void whatWouldEndGuestsIsLeftAlone() throws IOException {
    assertRefused(this::find, "Neither libvirtd nor virtqemud is active");
    units.set("libvirtd.service", "active");
    units.set("virtqemud.socket", "active");
    assertRefused(this::find, "Both libvirtd and virtqemud");
    units.unset("virtqemud.socket");
    units.set("kill-mode", "control-group");
    assertRefused(this::find, "KillMode=control-group");
    units.unset("kill-mode");
    units.set("libvirtd.service.bound", "libvirtd.socket libvirt-guests.service");
    assertRefused(this::find, "would end libvirt-guests.service together with libvirtd.service");
    assertThat(units.calls()).isEmpty();
  }

  @Test
  void whatSystemdRefusesIsSaid() throws IOException {
    units.set("libvirtd.service", "active");
    LibvirtService service = find();
    units.set("refuses-stop", "");

    assertRefused(service::stop, "systemd does not stop libvirtd.service: Job for");
  }
}
