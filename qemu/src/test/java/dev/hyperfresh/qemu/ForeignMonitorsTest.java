package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.FILES;
import static dev.hyperfresh.qemu.ForeignLines.FOLDER;
import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Lines of guests that a manager takes back, and what it finds again with later instances.
class ForeignMonitorsTest {
  private static final Map<Integer, Path> PASSED =
      Map.of(23, Path.of("/run/m/mon.sock"), 24, Path.of("/run/m/agent.sock"));

  private static ForeignCommandLine borrowed(List<String> line, Set<String> devices) {
    return new ForeignCommandLine(
        line,
        new ForeignFolders(FOLDER, FILES, Map.of(), Optional.of(PASSED)),
        "web1",
        live(devices, 0, List.of()),
        false,
        true);
  }

  private static ForeignCommandLine borrowed(String... more) {
    List<String> line = new ArrayList<>(BASE);
    line.addAll(List.of(more));
    return borrowed(line, Set.of());
  }

  /// As libvirt writes them.
  private static final List<String> MANAGED =
      List.of(
          "-name",
          "guest=shop,debug-threads=on",
          "-S",
          "-object",
          "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\","
              + "\"file\":\"/var/m/key.aes\"}",
          "-chardev",
          "socket,id=charmonitor,fd=23,server=on,wait=off",
          "-mon",
          "chardev=charmonitor,id=monitor,mode=control",
          "-chardev",
          "pty,id=charserial0",
          "-device",
          "{\"driver\":\"isa-serial\",\"chardev\":\"charserial0\",\"id\":\"serial0\",\"index\":0}",
          "-device",
          "{\"driver\":\"virtio-serial-pci\",\"id\":\"ports\"}",
          "-chardev",
          "socket,id=charchannel0,fd=24,server=on,wait=off",
          "-device",
          "{\"driver\":\"virtserialport\",\"bus\":\"ports.0\",\"nr\":1,"
              + "\"chardev\":\"charchannel0\",\"id\":\"channel0\",\"name\":\"org.x.0\"}",
          "-sandbox",
          "on,obsolete=deny",
          "-msg",
          "timestamp=on");

  private static ForeignCommandLine managed() {
    List<String> line = new ArrayList<>(BASE);
    line.addAll(MANAGED);
    return borrowed(line, Set.of("serial0", "ports", "channel0"));
  }

  @Test
  void itsManagerFindsEverythingAgain() {
    ForeignCommandLine line = managed();
    assertThat(joined(line))
        .contains("-name guest=shop,debug-threads=on ")
        .contains("\"id\":\"masterKey0\"")
        .contains("-chardev socket,id=charmonitor,path=/run/m/mon.sock,server=on,wait=off ")
        .contains("-mon chardev=charmonitor,id=monitor,mode=control ")
        .contains("-chardev pty,id=charserial0 ")
        .contains("-chardev socket,id=charchannel0,path=/run/m/agent.sock,server=on,wait=off ")
        .contains("-msg timestamp=on")
        .endsWith(
            "-monitor none -chardev socket,id=hf-qmp,fd=11,server=on,wait=off"
                + " -mon chardev=hf-qmp,mode=control")
        .doesNotContain("guest=web1", "fd=12", "console.log", "-S ");
    assertThat(line.console()).isEmpty();
    assertThat(line.secrets()).containsExactly(Path.of("/var/m/key.aes"));
    assertThat(line.words()).containsOnlyOnce("-sandbox");
  }

  @Test
  void aMonitorIsPassedAndAChannelIsTakenLater() throws Exception {
    AdoptedWords words = new AdoptedWords(managed().words());
    assertThat(words.monitors()).singleElement().returns("charmonitor", SocketChardev::id);
    for (List<String> started : List.of(words.silent(), words.booting())) {
      assertThat(String.join(" ", started))
          .contains("-chardev socket,id=charmonitor,server=on,wait=off,fd=600 ")
          .contains("-chardev null,id=charchannel0 ")
          .contains("-chardev socket,id=hf-qmp,fd=11,");
    }
    assertThat(words.takenLater(dev.hyperfresh.linux.FileUser.SELF)).hasSize(1);
    assertThat(words.standIns("web1", List.of()))
        .containsSubsequence("-chardev", "null,id=charmonitor")
        .containsSubsequence("-chardev", "null,id=charserial0")
        .contains("guest=web1-rehearsal,debug-threads=on");
  }

  /// A QEMU that was handed back is borrowed again.
  @Test
  void whatWasTakenOverIsTakenOverAgain() {
    ForeignCommandLine first = managed();

    ForeignCommandLine second =
        borrowed(new AdoptedWords(first.words()).given(), Set.of("serial0", "ports", "channel0"));

    assertThat(joined(second).split(" ")).containsExactlyInAnyOrder(joined(first).split(" "));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          -qmp|unix:q,server=on,wait=off|/srv/vm/q|control
          -qmp-pretty|unix:/q,server,nowait|/q|control,pretty=on
          -monitor|unix:/q,server=on,wait=off|/q|readline
          """)
  void aMonitorOfAShortOptionKeepsTheNameThatQemuGivesIt(
      String option, String value, String path, String mode) {
    assertThat(joined(borrowed("-monitor", "none", option, value)))
        .contains("-chardev socket,id=compat_monitor0,path=" + path + ",server=on,wait=off ")
        .contains("-mon chardev=compat_monitor0,id=compat_monitor0,mode=" + mode + " ");
  }

  @Test
  void aMonitorByTheNameOfItsDeviceIsCountedAndCalledByThat() {
    assertThat(
            joined(
                borrowed(
                    "-chardev",
                    "socket,id=a,path=/a,server=on,wait=off",
                    "-qmp",
                    "chardev:a",
                    "-monitor",
                    "unix:/b,server=on,wait=off")))
        .contains("-mon chardev=a,id=a,mode=control ")
        .contains("-mon chardev=compat_monitor1,id=compat_monitor1,mode=readline ");
  }

  @Test
  void aMonitorElsewhereIsLeftOut() {
    ForeignCommandLine line =
        borrowed(
            "-qmp",
            "tcp:127.0.0.1:4444,server=on,wait=off",
            "-chardev",
            "socket,id=c,path=/c",
            "-mon",
            "chardev=c,mode=control");
    assertThat(joined(line)).doesNotContain("4444", "id=c,");
    assertThat(line.remarks()).hasSize(2).allMatch(it -> it.contains("do without a monitor"));
  }

  @Test
  void aMonitorThatCannotBeFoundAgainIsAReason() {
    assertThat(
            borrowed(
                    "-chardev",
                    "socket,id=m,fd=25,server=on,wait=off",
                    "-mon",
                    "chardev=m,mode=control")
                .reasons())
        .singleElement()
        .asString()
        .contains("it was passed no unix socket that listens at a path");
    String path = "/" + "x".repeat(100);
    assertThat(borrowed("-qmp", "unix:" + path + ",server=on,wait=off").reasons())
        .singleElement()
        .asString()
        .contains("too long for another socket beside it");
  }

  @Test
  void aSerialPortStaysWhatItWas() {
    assertThat(
            joined(
                borrowed("-serial", "unix:/s0,server=on,wait=off", "-serial", "file:/var/log/s1")))
        .contains("-chardev socket,id=serial0,path=/s0,server=on,wait=off -serial chardev:serial0")
        .contains("-chardev file,id=serial1,path=/var/log/s1,append=on -serial chardev:serial1");
    assertThat(joined(borrowed("-serial", "pty"))).contains("-serial pty");
    assertThat(borrowed("-serial", "stdio").reasons())
        .singleElement()
        .asString()
        .contains("two processes cannot hold its other end");
  }

  /// Another program may look for its threads by their names.
  @Test
  void aNameWithoutThreadsGetsThem() {
    assertThat(joined(borrowed("-name", "shop"))).contains("-name guest=shop,debug-threads=on");
    assertThat(joined(borrowed())).contains("-name guest=web1,debug-threads=on");
  }

  @Test
  void aSecretThatNeedsAnotherOneIsAReason() {
    assertThat(
            borrowed("-object", "secret,id=s,keyid=masterKey0,iv=x,data=y,format=base64").reasons())
        .singleElement()
        .asString()
        .contains("a secret that is encrypted");
  }

  /// For one that is adopted for good nothing changes.
  @Test
  void withoutAManagerMonitorsAreLeftOut() {
    List<String> line = new ArrayList<>(BASE);
    line.addAll(MANAGED);
    ForeignCommandLine read =
        new ForeignCommandLine(
            line,
            new ForeignFolders(FOLDER, FILES, Map.of(), Optional.of(PASSED)),
            "web1",
            live(Set.of("serial0", "ports", "channel0"), 0, List.of()));
    assertThat(joined(read)).doesNotContain("charmonitor", "masterKey0", "guest=shop");
  }
}
