package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
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
            "systemctl stop libvirtd-ro.socket libvirtd.socket libvirtd.service",
            "systemctl start libvirtd-ro.socket libvirtd.socket",
            "systemctl start libvirtd.service");
  }

  @Test
  void aServiceThatWasIdleStaysIdle() throws IOException {
    units.set("virtqemud.socket", "active");
    LibvirtService service = find();

    service.stop();
    service.start();
    service.start();

    assertThat(units.calls())
        .containsExactly("systemctl stop virtqemud.socket", "systemctl start virtqemud.socket");
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
