package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hypervisor.HyperFreshException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What libvirt has written is brought up to date, and nothing else of it changes.
class StatusFileTest {
  private static final Set<PosixFilePermission> MODE = PosixFilePermissions.fromString("rw-r-----");

  private final Domains domains;

  StatusFileTest(@TempDir Path folder) {
    this.domains = new Domains(folder);
  }

  @BeforeEach
  void write() throws IOException {
    domains.put("web1", Domains.WEB1);
    domains.put("db2", Domains.DB2);
  }

  private StatusFile file(String name) {
    return new StatusFile(domains.host(), LibvirtDomain.read(domains.host(), name));
  }

  private static String emulator(String xml) {
    return xml.replace(
        "<emulator>/usr/bin/qemu-system-x86_64</emulator>",
        "<emulator>" + Domains.OTHER_QEMU + "</emulator>");
  }

  @Test
  void whatRunsADomainNowStandsThere() {
    String now =
        emulator(Domains.WEB1)
            .replace("reason='booted' pid='4711'", "reason='booted' pid='812345'")
            .replace("    <vcpu id='0' pid='4720'/>\n", "    <vcpu id='0' pid='812346'/>\n")
            .replace("    <vcpu id='1' pid='4721'/>\n", "    <vcpu id='1' pid='812347'/>\n")
            .replace("<source path='/dev/pts/3'/>", "<source path='/dev/pts/9'/>")
            .replace("tty='/dev/pts/3'", "tty='/dev/pts/9'")
            .replace("<target dev='vnet4'/>", "<target dev='hf-web1'/>");

    assertThat(
            file("web1")
                .edited(Domains.WEB1, Domains.back(812345, Map.of(0, 812346, 1, 812347)), false))
        .isEqualTo(now);
  }

  /// What a user has put into the title or the metadata looks like it and is not.
  @Test
  void whatLooksAlikeStays() {
    String edited =
        file("web1").edited(Domains.WEB1, Domains.back(5000, Map.of(0, 5001, 1, 5002)), false);

    assertThat(edited)
        .contains("<title>pid='4711' &lt;emulator&gt; /dev/pts/3</title>")
        .contains("<![CDATA[<vcpu id='0' pid='4720'/> path='/dev/pts/3']]>");
  }

  /// libvirt would make and remove devices in the folder of the host.
  @Test
  void aMountNamespaceThatIsNoMoreIsNotNamed() {
    HandedBack back = Domains.back(5000, Map.of());
    String kept = file("web1").edited(Domains.WEB1, back, false);

    assertThat(file("web1").edited(Domains.WEB1, back, true))
        .isEqualTo(kept.replace("  <namespaces>\n    <mount/>\n  </namespaces>\n", ""))
        .isNotEqualTo(kept);
  }

  @Test
  void everyTerminalGetsItsOwn() {
    HandedBack back =
        new HandedBack(
            "db2",
            10,
            Map.of(0, 11),
            Map.of("charserial0", "/dev/pts/70", "charconsole1", "/dev/pts/7"),
            Map.of(),
            Path.of("/usr/bin/qemu-system-x86_64"));

    assertThat(file("db2").edited(Domains.DB2, back, true))
        .isEqualTo(
            Domains.DB2
                .replace("pid='9001'", "pid='10'")
                .replace("pid='9010'", "pid='11'")
                .replace("/dev/pts/70'", "/dev/pts/X'")
                .replace("/dev/pts/7'", "/dev/pts/70'")
                .replace("/dev/pts/X'", "/dev/pts/7'"));
  }

  @Test
  void whatIsNotKnownStays() {
    HandedBack back = new HandedBack("web1", 99, Map.of(), Map.of(), Map.of(), Domains.OTHER_QEMU);

    assertThat(file("web1").edited(Domains.WEB1, back, false))
        .isEqualTo(emulator(Domains.WEB1).replace("booted' pid='4711'", "booted' pid='99'"));
  }

  @Test
  void aPathIsEscaped() {
    Path odd = Path.of("/opt/a&b<'c'>/qemu");
    HandedBack back = new HandedBack("web1", 99, Map.of(), Map.of(), Map.of(), odd);
    String edited = file("web1").edited(Domains.WEB1, back, false);

    assertThat(edited).contains("<emulator>/opt/a&amp;b&lt;&apos;c&apos;&gt;/qemu</emulator>");
  }

  @Test
  void theFilesAreWrittenWholeAndKeepTheirModes() throws IOException {
    Path status = domains.host().statusFile("web1");
    Path pid = domains.host().pidFile("web1");
    Files.writeString(pid, "4711");
    Files.setPosixFilePermissions(status, MODE);
    Files.setPosixFilePermissions(pid, MODE);
    Object owner = Files.getOwner(status);
    Object before = Files.getAttribute(status, "unix:ino");
    // The domain lives on in this very process, as far as the file is concerned.
    int self = Math.toIntExact(ProcessHandle.current().pid());

    file("web1").write(Domains.back(self, Map.of(0, self, 1, self)));

    assertThat(LibvirtDomain.read(domains.host(), "web1").pid()).isEqualTo(self);
    assertThat(LibvirtDomain.read(domains.host(), "web1").ownMounts()).isFalse();
    assertThat(pid).hasContent(Integer.toString(self));
    assertThat(Files.getPosixFilePermissions(status)).isEqualTo(MODE);
    assertThat(Files.getPosixFilePermissions(pid)).isEqualTo(MODE);
    assertThat(Files.getOwner(status)).isEqualTo(owner);
    // Another file has taken its place.
    assertThat(Files.getAttribute(status, "unix:ino")).isNotEqualTo(before);
    try (var files = Files.list(domains.host().domains())) {
      assertThat(files).hasSize(4);
    }
  }

  @Test
  void whatStandsBehindTheNumberStays() throws IOException {
    Files.writeString(domains.host().pidFile("web1"), "4711\n");

    file("web1").write(Domains.back(77, Map.of()));

    assertThat(Files.readString(domains.host().pidFile("web1"))).isEqualTo("77\n");
  }

  /// What the one says shows whether both are written.
  @Test
  void theNumberIsWrittenFirst() throws IOException {
    Path status = domains.host().statusFile("web1");
    Path draft = Files.createDirectories(domains.host().domains().resolve("web1.xml.hyperfresh/x"));

    assertThatThrownBy(() -> file("web1").write(Domains.back(77, Map.of())))
        .isInstanceOf(HyperFreshException.class);

    assertThat(domains.host().pidFile("web1")).hasContent("77");
    assertThat(status).hasContent(Domains.WEB1);
    Files.delete(draft);
    file("web1").write(Domains.back(77, Map.of()));
    assertThat(LibvirtDomain.read(domains.host(), "web1").pid()).isEqualTo(77);
  }

  @Test
  void aLinkIsNotFollowed() throws IOException {
    Path other = Files.writeString(domains.folder().resolve("other"), "4711");
    Files.delete(domains.host().pidFile("web1"));
    Files.createSymbolicLink(domains.host().pidFile("web1"), other);

    assertThatThrownBy(() -> file("web1").write(Domains.back(77, Map.of())))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("is not a file");
    assertThat(other).hasContent("4711");
  }

  @Test
  void whatADraftLeftBehindIsNoObstacle() throws IOException {
    Files.writeString(domains.host().domains().resolve("web1.xml.hyperfresh"), "half");

    file("web1").write(Domains.back(77, Map.of()));

    assertThat(LibvirtDomain.read(domains.host(), "web1").pid()).isEqualTo(77);
  }
}
