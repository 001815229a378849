package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.ProcessRights.Label;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ProcessRightsTest {
  private static final String STATUS =
      """
      Name:\tqemu-system-x86
      Uid:\t64055\t64055\t64055\t64055
      Gid:\t106\t106\t106\t106
      Groups:\t106 64055\s
      CapInh:\t0000000000001000
      CapPrm:\t0000000000003000
      CapEff:\t0000000000003000
      CapBnd:\t000001ffffffffff
      CapAmb:\t0000000000001000
      NoNewPrivs:\t1
      """;

  private static final String LIMITS =
      """
      Limit                     Soft Limit           Hard Limit           Units
      Max cpu time              unlimited            unlimited            seconds
      Max core file size        0                    unlimited            bytes
      Max open files            1024                 524288               files
      Max locked memory         8388608              8388608              bytes
      """;

  private static final ProcessRights LIBVIRT =
      new ProcessRights(
          64055,
          106,
          List.of(106, 64055),
          0x3000,
          0x1000,
          0x1000,
          0x1ffffffffffL,
          Map.of("core", "0:unlimited", "nofile", "1024:524288", "memlock", "8388608:8388608"),
          -900,
          Optional.of(new Label("apparmor", "libvirt-57d0")));

  @TempDir Path root;

  private ProcFs process(String status) throws IOException {
    Files.createDirectories(root.resolve("12/attr/apparmor"));
    Files.writeString(root.resolve("12/status"), status);
    Files.writeString(root.resolve("12/limits"), LIMITS);
    Files.writeString(root.resolve("12/oom_score_adj"), "-900\n");
    Files.writeString(root.resolve("12/attr/apparmor/current"), "libvirt-57d0 (enforce)\n");
    return new ProcFs(root);
  }

  @Test
  void theyAreWhatTheKernelSays() throws Exception {
    assertThat(ProcessRights.of(process(STATUS), 12)).isEqualTo(LIBVIRT);
  }

  @Test
  void thoseOfThisProcessAreThere() throws Exception {
    int self = (int) ProcessHandle.current().pid();
    ProcessRights mine = ProcessRights.of(ProcFs.HOST, self);

    assertThat(mine.uid()).isEqualTo(Host.effectiveUid());
    assertThat(mine.limits()).containsKeys("core", "nofile", "memlock");
    assertThat(mine.differFrom(mine)).isFalse();
    assertThat(LIBVIRT.differFrom(mine)).isTrue();
    assertThat(ProcessRights.parse(mine.text())).isEqualTo(mine);
  }

  @ParameterizedTest
  @CsvSource({
    "'Uid:\t64055\t64055\t64055\t64055', 'Uid:\t0\t64055\t64055\t64055', several users",
    "'Gid:\t106\t106\t106\t106', 'Gid:\t106\t106\t0\t106', several users",
    "'CapBnd:', 'CapXyz:', no line CapBnd",
    "'0000000000003000', 'x', cannot be understood",
  })
  void whatIsNotClearIsAFault(String from, String to, String fault) throws Exception {
    ProcFs proc = process(STATUS.replace(from, to));

    assertThatThrownBy(() -> ProcessRights.of(proc, 12))
        .isInstanceOf(IOException.class)
        .hasMessageContaining(fault);
    assertThatThrownBy(() -> ProcessRights.of(proc, 13)).isInstanceOf(IOException.class);
  }

  @Test
  void oneLineHasThemAll() {
    ProcessRights bare =
        new ProcessRights(1, 2, List.of(), 0, 0, 0, 0, Map.of(), 0, Optional.empty());
    ProcessRights labelled =
        new ProcessRights(
            1,
            2,
            List.of(),
            -1,
            0,
            0,
            -1,
            Map.of(),
            0,
            Optional.of(new Label("selinux", "system_u:system_r:svirt_t:s0:c1,c2")));

    for (ProcessRights rights : List.of(LIBVIRT, bare, labelled)) {
      assertThat(ProcessRights.parse(rights.text())).isEqualTo(rights);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "1 2 3", "1 2 - 0 0 0 0 x 0 -", "a 2 - 0 0 0 0 - 0 -"})
  void anotherLineIsRefused(String text) {
    assertThatThrownBy(() -> ProcessRights.parse(text))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @ParameterizedTest
  @CsvSource(
      nullValues = "-",
      value = {
        "unconfined, -, -",
        "'', -, -",
        "kernel, -, -",
        "'libvirt-57d0 (enforce)\n', apparmor, libvirt-57d0",
        "'snap.lxd.daemon (complain)', apparmor, snap.lxd.daemon",
        "'system_u:system_r:svirt_t:s0:c1,c2\u0000', selinux, 'system_u:system_r:svirt_t:s0:c1,c2'",
      })
  void aLabelIsOfOneModule(String text, String module, String name) throws Exception {
    assertThat(Label.parse(text))
        .isEqualTo(Optional.ofNullable(module).map(known -> new Label(known, name)));
  }

  /// One that is taken for none would have later processes run without it.
  @ParameterizedTest
  @ValueSource(strings = {"my qemu (enforce)", "_", "a (b) (c)", "unconfined unconfined"})
  void aLabelThatIsNotUnderstoodIsNotNone(String text) throws Exception {
    assertThatThrownBy(() -> Label.parse(text))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("security label '" + text + "'");
    ProcFs proc = process(STATUS);
    Files.writeString(root.resolve("12/attr/apparmor/current"), text);
    assertThatThrownBy(() -> ProcessRights.of(proc, 12)).isInstanceOf(IOException.class);
  }

  @Test
  void aProgramOfRootGetsNoMoreThanTheProcessHad() {
    ProcessRights few =
        new ProcessRights(0, 0, List.of(), 0x3, 0, 0, 0xf, Map.of(), 0, Optional.empty());

    assertThat(Unprivileged.command(List.of("qemu"), Map.of("A", "b"), few, few))
        .containsExactly(
            "/usr/bin/setpriv",
            "--reuid",
            "0",
            "--regid",
            "0",
            "--clear-groups",
            "--no-new-privs",
            "--inh-caps=-all",
            "--ambient-caps=-all",
            "--bounding-set=-all,+cap_0,+cap_1",
            "--",
            "/usr/bin/env",
            "A=b",
            "qemu");
  }

  @Test
  void aLabelIsForTheProgramAlone() {
    assertThat(Unprivileged.labelled(List.of("qemu", "-S"), LIBVIRT))
        .containsExactly(
            "/usr/bin/setpriv", "--apparmor-profile", "libvirt-57d0", "--", "qemu", "-S");
    ProcessRights selinux =
        new ProcessRights(
            1,
            1,
            List.of(),
            0,
            0,
            0,
            0,
            Map.of(),
            0,
            Optional.of(new Label("selinux", "a:b:c:s0")));
    assertThat(Unprivileged.labelled(List.of("qemu"), selinux))
        .startsWith("/usr/bin/setpriv", "--selinux-label", "a:b:c:s0");
    assertThat(Unprivileged.command(List.of("qemu"), Map.of(), selinux, selinux))
        .doesNotContain("--no-new-privs");
  }

  @Test
  void aRealProgramHasThem() throws Exception {
    Here.require(Unprivileged.obstacle().isEmpty(), Unprivileged.obstacle().orElse("no obstacle"));
    ProcessRights mine =
        ProcessRights.of(ProcFs.HOST, Math.toIntExact(ProcessHandle.current().pid()));
    ProcessRights wanted =
        new ProcessRights(
            1_999_000_001,
            1_999_000_002,
            List.of(1_999_000_003),
            0x400,
            0x400,
            0x400,
            0xc00,
            Map.of("core", "0:0", "nofile", "100:200", "memlock", "65536:65536"),
            mine.oomScore() + 1,
            mine.label());
    Process process =
        new ProcessBuilder(
                Unprivileged.command(
                    List.of("sh", "-c", "read go; cat"), Map.of("A", "b"), wanted, mine))
            .start();
    try {
      ProcessRights its = mine;
      for (int look = 0; !its.equals(wanted) && look < 100; look++) {
        Thread.sleep(50);
        its = ProcessRights.of(ProcFs.HOST, (int) process.pid());
      }
      assertThat(its).isEqualTo(wanted);
      assertThat(
              new String(
                  Files.readAllBytes(Path.of("/proc/" + process.pid() + "/status")),
                  StandardCharsets.US_ASCII))
          .contains("NoNewPrivs:\t1\n");
    } finally {
      process.destroyForcibly().waitFor();
    }
  }
}
