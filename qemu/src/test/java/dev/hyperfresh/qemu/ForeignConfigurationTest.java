package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.whole;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.FileUser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/// Configuration files of a command line, and other files of its process.
@Timeout(60)
class ForeignConfigurationTest {
  private static final String FILE =
      """
      # USB and memory of a desktop.
      [device "usb"]
        driver = "ich9-usb-ehci1"
        multifunction = "on"
        addr = "1d.7"

      [device]
        driver = "usb-tablet"
      [machine]
        type = "q35"
        accel = "tcg"
      [memory]
        size = "512M"
      [smp-opts]
        cpus = "1"
      [object "ram"]
        qom-type = "memory-backend-file"
        mem-path = "/srv/a,b"
        share = "on"
        size = "512M"
      [machine]
        memory-backend = "ram"
      [chardev "con"]
        backend = "socket"
        path = "/run/con"
        server = "on"
      [global]
        driver = "e1000"
        property = "romfile"
        value = ""
      """;

  @TempDir Path folder;

  private static ForeignConfiguration of(String text, String... line) {
    return ForeignConfiguration.of(List.of(line), _ -> text);
  }

  @Test
  void sectionsAreTheOptionsThatTheyStandFor() {
    ForeignConfiguration read =
        of(FILE, "-append", "-readconfig", "-readconfig", "/etc/a.cfg", "-serial", "chardev:con");
    assertThat(read.faults()).isEmpty();
    assertThat(read.arguments())
        .startsWith("-append", "-readconfig", "-device")
        .contains("id=usb,driver=ich9-usb-ehci1,multifunction=on,addr=1d.7", "driver=usb-tablet")
        .contains("-m", "size=512M", "-smp", "cpus=1", "driver=e1000,property=romfile,value=")
        .contains("id=ram,qom-type=memory-backend-file,mem-path=/srv/a,,b,share=on,size=512M")
        .endsWith("-serial", "chardev:con");
    List<String> line =
        new ArrayList<>(List.of("-nodefaults", "-display", "none", "-serial", "chardev:con"));
    line.addAll(of(FILE, "-readconfig", "/etc/a.cfg").arguments());
    ForeignCommandLine guest = whole(line, live(Set.of("usb"), 1, List.of()));
    assertThat(joined(guest))
        .contains("-device id=usb,driver=ich9-usb-ehci1,multifunction=on,addr=1d.7")
        .contains("-machine type=pc-q35-7.2 ")
        .contains("memory-backend-file,id=ram,size=536870912,mem-path=/proc/self/fd/10")
        .contains("-chardev socket,id=con,fd=12")
        .doesNotContain("a.cfg", "/run/con");
    assertThat(guest.console()).contains(Path.of("/run/con"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "driver = \"x\"",
        "[device]\ndriver = x",
        "[device]\ndriver=\"x\"",
        "[device]\n a,b = \"x\"",
        "[nonsense]",
        "[usb]",
        "[readconfig]",
        "[]",
        "[device \"x]\n[",
        " "
      })
  void whatQemuWouldNotHaveTakenIsAFault(String text) {
    ForeignConfiguration read = of(text, "-readconfig", "/etc/a.cfg");
    assertThat(read.arguments()).isEmpty();
    assertThat(read.faults())
        .singleElement()
        .asString()
        .startsWith("-readconfig /etc/a.cfg: its line ");
  }

  /// The file may be its owner's alone, and a command line is everybody's.
  @Test
  void theDataOfASecretIsNotPutOnCommandLines() {
    String secret = "[object \"s\"]\n  qom-type = \"secret\"\n  ";
    ForeignConfiguration read =
        of(secret + "data = \"hush\"\n[device]\n  driver = \"x\"\n", "-readconfig", "/etc/a.cfg");
    assertThat(read.arguments()).isEmpty();
    assertThat(read.faults())
        .singleElement()
        .asString()
        .contains("data of its secret", "use file=")
        .doesNotContain("hush");
    assertThat(of(secret + "file = \"/etc/key\"\n", "-readconfig", "/etc/a.cfg").arguments())
        .containsExactly("-object", "id=s,qom-type=secret,file=/etc/key");
  }

  @Test
  void moreThanAnyLineHasIsNotReadOn() {
    String many = "[device]\n".repeat(2 * ForeignCommandLine.MAX_ARGUMENTS);
    List<String> files = new ArrayList<>();
    ForeignConfiguration read =
        ForeignConfiguration.of(
            List.of("-readconfig", "a", "-readconfig", "b", "-usb"),
            file -> {
              files.add(file);
              return many;
            });
    assertThat(files).containsExactly("a");
    assertThat(whole(read.arguments(), live(Set.of(), 0, List.of())).reasons())
        .singleElement()
        .asString()
        .contains("more than 1000");
  }

  @Test
  void anythingIsReadToAnEnd() {
    Random random = new Random(7);
    String[] pieces = {"[", "]", "\"", "device", " ", "\n", "=", " = ", "id", "#", "\0", "é", ","};
    for (int i = 0; i < 3000; i++) {
      StringBuilder text = new StringBuilder(random.nextBoolean() ? FILE : "");
      for (int j = random.nextInt(30); j >= 0; j--) {
        text.insert(random.nextInt(text.length() + 1), pieces[random.nextInt(pieces.length)]);
      }
      ForeignConfiguration read = of(text.toString(), "-readconfig", "x");
      List<String> line = new ArrayList<>(BASE);
      line.addAll(read.arguments());
      assertThat(whole(line, live(Set.of(), 0, List.of())).words()).doesNotContain("-readconfig");
    }
  }

  @Test
  void aFileThatIsNotWhatTheProcessHasReadIsAFault() {
    ForeignConfiguration read =
        ForeignConfiguration.of(
            List.of("-usb", "-readconfig", "a.cfg"),
            _ -> {
              throw new IOException("it was changed");
            });
    assertThat(read.arguments()).containsExactly("-usb");
    assertThat(read.faults()).containsExactly("-readconfig a.cfg: it was changed.");
  }

  @Test
  void theFileIsReadIfItIsOlderThanTheProcess() throws Exception {
    Path old = Files.writeString(folder.resolve("old.cfg"), FILE);
    Path log = Files.writeString(folder.resolve("log"), "");
    Process process =
        new ProcessBuilder("/bin/sh", "-c", "exec 7>>log 8>other 9>>gone; rm gone; exec sleep 60")
            .directory(folder.toFile())
            .start();
    try {
      ForeignProcess foreign = new ForeignProcess(Math.toIntExact(process.pid()));
      while (!foreign.arguments().contains("60")) {
        Thread.sleep(20);
      }
      ForeignFiles files = new ForeignFiles(foreign, FileUser.SELF);
      assertThat(files.configuration("old.cfg")).isEqualTo(FILE);
      assertThat(fault(files, "none.cfg")).contains("missing");
      assertThat(fault(files, "/dev/null")).contains("missing");
      assertThat(fault(files, "a\0b")).contains("path");
      // The time of boot, and so of the process, is known to a second.
      Thread.sleep(2_500);
      Files.setLastModifiedTime(old, FileTime.fromMillis(0));
      assertThat(fault(files, "old.cfg")).contains("changed since");

      // QEMU gives what it was passed other numbers, which it reports.
      JsonNode sets =
          QmpMessage.JSON.readTree(
              "[{\"fdset-id\":1,\"fds\":[{\"fd\":8},{\"fd\":7,\"opaque\":\"log\"}]},"
                  + "{\"fdset-id\":2,\"fds\":[{\"fd\":8}]},{\"fdset-id\":3,\"fds\":[{\"fd\":9}]},"
                  + "{\"fdset-id\":4,\"fds\":[{\"fd\":99},{}]},{\"fdset-id\":5}]");
      assertThat(foreign.logs(LiveMachine.sets(sets))).isEqualTo(Map.of("/dev/fdset/1", log));
      Path other = folder.resolve("other");
      assertThat(foreign.images(LiveMachine.sets(sets)))
          .isEqualTo(Map.of("/dev/fdset/1", other, "/dev/fdset/2", other));
    } finally {
      process.destroyForcibly().waitFor();
    }
  }

  private static String fault(ForeignFiles files, String file) {
    try {
      return "read: " + files.configuration(file);
    } catch (IOException e) {
      return String.valueOf(e.getMessage());
    }
  }
}
