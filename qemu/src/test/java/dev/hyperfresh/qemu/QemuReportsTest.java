package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.InstanceEvent;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class QemuReportsTest {
  /// The last two are those of a QEMU with `-no-reboot`.
  @ParameterizedTest
  @CsvSource({
    "true, guest-shutdown, PoweredOff",
    "true, guest-panic, PoweredOff",
    "false, host-qmp-quit, ''",
    "false, host-signal, ''",
    "true, guest-reset, Reset PoweredOff",
    "false, host-qmp-system-reset, Reset"
  })
  void anEndSaysWhatTheGuestDid(boolean guest, String reason, String told) {
    List<InstanceEvent> events = new ArrayList<>();
    QemuReports reports = new QemuReports(1, events::add, nowhere());

    reports.heard(
        new QmpMessage.Event(
            "SHUTDOWN", 0, QmpMessage.JSON.valueToTree(Map.of("guest", guest, "reason", reason))));

    assertThat(events.stream().map(event -> event.getClass().getSimpleName()).toList())
        .isEqualTo(told.isEmpty() ? List.of() : List.of(told.split(" ")));
  }

  /// A process of which nothing is asked.
  private static QemuProcess nowhere() {
    return (QemuProcess)
        Proxy.newProxyInstance(
            QemuReportsTest.class.getClassLoader(),
            new Class<?>[] {QemuProcess.class},
            (_, method, _) -> {
              throw new AssertionError(method);
            });
  }
}
