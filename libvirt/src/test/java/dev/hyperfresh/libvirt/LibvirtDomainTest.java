package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.libvirt.LibvirtDomain.Card;
import dev.hyperfresh.libvirt.LibvirtDomain.Terminal;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Domains as libvirt writes them into files, and files that are something else.
class LibvirtDomainTest {
  private final Domains domains;

  LibvirtDomainTest(@TempDir Path folder) {
    this.domains = new Domains(folder);
  }

  @BeforeEach
  void write() throws IOException {
    domains.put("web1", Domains.WEB1);
    domains.put("db2", Domains.DB2);
  }

  static int pid(String xml) {
    Matcher found = Pattern.compile("<domstatus[^>]* pid='([0-9]+)'").matcher(xml);
    return found.find() ? Integer.parseInt(found.group(1)) : 0;
  }

  private LibvirtDomain read(String name) {
    return LibvirtDomain.read(domains.host(), name);
  }

  private static void assertProblem(ThrowingCallable call, Problem problem, String detail) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).as(e.getMessage()).isEqualTo(problem))
        .hasMessageContaining(detail);
  }

  @Test
  void aDomainOfLibvirt9IsRead() {
    LibvirtDomain web1 = read("web1");

    assertThat(web1.pid()).isEqualTo(4711);
    assertThat(web1.uuid()).isEqualTo("0d7c5f2e-61f1-4f4c-9d2b-0f6c2a4d9e11");
    assertThat(web1.monitor())
        .isEqualTo(Path.of("/var/lib/libvirt/qemu/domain-3-web1/monitor.sock"));
    assertThat(web1.emulator()).isEqualTo(Path.of("/usr/bin/qemu-system-x86_64"));
    assertThat(web1.vcpus()).isEqualTo(Map.of(0, 4720, 1, 4721));
    assertThat(web1.terminals())
        .containsExactly(
            new Terminal("serial0", "/dev/pts/3"), new Terminal("serial0", "/dev/pts/3"));
    assertThat(web1.cards()).containsExactly(new Card("net0", "vnet4"));
    assertThat(web1.ownMounts()).isTrue();
    assertThat(web1.obstacles()).isEmpty();
  }

  @Test
  void aDomainOfLibvirt11IsRead() {
    LibvirtDomain db2 = read("db2");

    assertThat(db2.pid()).isEqualTo(9001);
    assertThat(db2.vcpus()).isEqualTo(Map.of(0, 9010));
    assertThat(db2.terminals()).contains(new Terminal("console1", "/dev/pts/70"));
    assertThat(db2.cards()).isEmpty();
    assertThat(db2.ownMounts()).isFalse();
    assertThat(db2.obstacles()).isEmpty();
  }

  @Test
  void allThatRunAreListed() throws IOException {
    Files.createDirectories(domains.host().domains().resolve("swtpm"));
    Files.writeString(domains.host().domains().resolve("autostarted"), "");

    assertThat(LibvirtDomain.names(domains.host())).containsExactly("db2", "web1");
    assertThat(LibvirtDomain.names(new Domains(domains.folder().resolve("none")).host())).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      quoteCharacter = '"',
      value = {
        "none' async='none, none' async='save, doing something to it: save",
        "none' async='none, modify' async='none, doing something to it: modify",
        "none' async='none, none' async='snapshot, doing something to it: snapshot",
        "none' async='none, migration operation' async='migration out, migration out",
        "blockjobs active='no, blockjobs active='yes, A block job",
        "state='running' reason='booted, state='paused' reason='user, resume it first",
        "state='running' reason='booted, state='paused' reason='migration, for an operation (migration)",
        "state='running' reason='booted, state='running' reason='postcopy, A migration",
        "state='running' reason='booted, state='shutdown' reason='user, does not run",
        "state='running' reason='booted, state='pmsuspended' reason='unknown, It sleeps",
      })
  void whatIsUnderWayIsAnObstacle(String before, String after, String reason) throws IOException {
    assertThat(Domains.WEB1).contains(before);
    domains.put("web1", Domains.WEB1.replace(before, after));

    assertThat(read("web1").obstacles()).hasSize(1).first().asString().contains(reason);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "<hostdev mode='subsystem' type='pci'><alias name='hostdev0'/></hostdev>|passed through",
        "<interface type='hostdev'><alias name='net1'/></interface>|passed through",
        "<interface type='vhostuser'><alias name='net1'/></interface>|type vhostuser",
        "<interface type='bridge'><filterref filter='clean-traffic'/></interface>|<filterref>",
        "<interface type='bridge'><bandwidth/></interface>|<bandwidth>",
        "<disk type='file'><mirror type='file' job='copy'/></disk>|A block job",
      })
  void aDeviceThatCannotMoveIsAnObstacle(String device, String reason) throws IOException {
    domains.put("web1", Domains.WEB1.replace("<graphics ", device + "<graphics "));

    assertThat(read("web1").obstacles()).hasSize(1).first().asString().contains(reason);
  }

  @Test
  void severalObstaclesAreToldTogether() throws IOException {
    String xml =
        Domains.WEB1
            .replace(
                "  <blockjobs active='no'/>",
                "  <blockjobs active='yes'><blockjob/></blockjobs><lockstate>x</lockstate>")
            .replace("  <rememberOwner/>", "<domainbackup mode='push'/>");
    domains.put("web1", xml);

    assertThat(read("web1").obstacles())
        .containsExactlyInAnyOrder(
            "A block job of it is under way.",
            "A backup of it is under way.",
            "A lock manager of libvirt holds its images for the process that it has now.");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", " ", "..", ".web1", "../web1", "a/b", "a\nb", "none"})
  void aNameOfNoDomainIsUnknown(String name) {
    assertProblem(() -> read(name), Problem.LIBVIRT_UNKNOWN, "");
  }

  @Test
  void aLinkIsNoFileOfLibvirt() throws IOException {
    Files.createSymbolicLink(domains.host().statusFile("link"), domains.host().statusFile("web1"));

    assertProblem(() -> read("link"), Problem.LIBVIRT_REFUSED, "is not a file of this user");
  }

  @Test
  void aFileOfAnotherDomainIsRefused() throws IOException {
    domains.put("other", Domains.WEB1);

    assertProblem(() -> read("other"), Problem.LIBVIRT_REFUSED, "of another domain, 'web1'");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "<domstatus state='running' reason='booted' pid='4711'>|<domstatus state='running' pid='1'>",
        "pid='4711'|pid='x'",
        "<uuid>0d7c5f2e-61f1-4f4c|<uuid>../0d7c5f2e-61f1-4f4c",
        "type='unix'/>|type='pty'/>",
        "<emulator>/usr|<emulator>usr",
        "</domstatus>|",
        "<domain type='kvm'|<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><domain type='kvm'",
        "<name>web1|<name>&b;",
      })
  void whatCannotBeUnderstoodIsRefused(String before, String after) throws IOException {
    assertThat(Domains.WEB1).contains(before);
    domains.put("web1", Domains.WEB1.replace(before, after == null ? "" : after));

    assertProblem(() -> read("web1"), Problem.LIBVIRT_REFUSED, "cannot be understood");
  }

  @Test
  void aDocumentTypeOpensNothing() throws IOException {
    Path secret = Files.writeString(domains.folder().resolve("secret"), "web1");
    String type = "<!DOCTYPE domstatus [<!ENTITY n SYSTEM 'file://" + secret + "'>]>";
    domains.put(
        "web1",
        Domains.WEB1
            .replace("<domstatus ", type + "<domstatus ")
            .replace("<name>web1</name>", "<name>&n;</name>"));

    assertProblem(() -> read("web1"), Problem.LIBVIRT_REFUSED, "");
  }

  @Test
  void sizesAreBounded() throws IOException {
    domains.put(
        "web1",
        Domains.WEB1.replace("<metadata>", "<metadata>" + "<a>".repeat(200) + "</a>".repeat(200)));
    assertProblem(() -> read("web1"), Problem.LIBVIRT_REFUSED, "too deep");
    domains.put("web1", Domains.WEB1.replace("<metadata>", "<metadata>" + "<a/>".repeat(400_000)));
    assertProblem(() -> read("web1"), Problem.LIBVIRT_REFUSED, "too many parts");
    domains.put("web1", Domains.WEB1 + " ".repeat(5 << 20));
    assertProblem(() -> read("web1"), Problem.LIBVIRT_REFUSED, "more than");
    Files.write(domains.host().statusFile("web1"), new byte[] {'<', (byte) 0xc3, '(', '>'});
    assertProblem(() -> read("web1"), Problem.LIBVIRT_REFUSED, "cannot be read");
  }

  @Test
  void theListIsBounded() throws IOException {
    List<Path> all = new ArrayList<>();
    for (int i = 0; i <= LibvirtDomain.MOST; i++) {
      all.add(Files.createFile(domains.host().statusFile("d" + i)));
    }
    assertThat(all).isNotEmpty();
    assertProblem(
        () -> LibvirtDomain.names(domains.host()), Problem.LIBVIRT_UNKNOWN, "More than 1024");
  }
}
