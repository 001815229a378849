package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.qemu.ForeignGuest.Owner;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ForeignGuestTest {
  private static final String SCOPE =
      "0::/machine.slice/machine-qemu\\x2d1\\x2dweb1.scope/libvirt/emulator\n";

  /// As libvirt 9 starts a guest, shortened.
  private static final List<String> LIBVIRT =
      List.of(
          "/usr/bin/qemu-system-x86_64",
          "-name",
          "guest=web1,debug-threads=on",
          "-S",
          "-object",
          "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\","
              + "\"file\":\"/var/lib/libvirt/qemu/domain-1-web1/master-key.aes\"}",
          "-machine",
          "pc-q35-7.2,usb=off,memory-backend=pc.ram",
          "-chardev",
          "socket,id=charmonitor,fd=31,server=on,wait=off");

  /// As Proxmox VE 8 starts one, shortened.
  private static final List<String> PROXMOX =
      List.of(
          "/usr/bin/kvm",
          "-id",
          "100",
          "-name",
          "web1,debug-threads=on",
          "-no-shutdown",
          "-chardev",
          "socket,id=qmp,path=/var/run/qemu-server/100.qmp,server=on,wait=off");

  private static final List<String> OURS =
      List.of(
          "/var/lib/hyperfresh/releases/qemu-7.2.22/root/usr/bin/qemu-system-x86_64",
          "-name",
          "guest=web1,debug-threads=on",
          "-sandbox",
          CommandLine.SANDBOX,
          "-chardev",
          "socket,id=qmp,fd=11,server=on,wait=off");

  @Test
  void aGuestOfLibvirtIsKnownByItsGroupsAndByItsLine() {
    assertThat(of(LIBVIRT).manager()).isEqualTo(Owner.LIBVIRT);
    assertThat(of(LIBVIRT).name()).isEqualTo("web1");
    for (String groups :
        List.of(SCOPE, "9:cpu:/machine/qemu-1-web1.libvirt-qemu/emulator\n1:name=systemd:/\n")) {
      ForeignGuest guest = ForeignGuest.of(List.of("qemu", "-name", "web1"), true, groups, "");
      assertThat(guest.manager()).isEqualTo(Owner.LIBVIRT);
      assertThat(guest.name()).isEqualTo("web1");
    }
  }

  @Test
  void aGuestOfProxmoxHasANumber() {
    ForeignGuest guest = of(PROXMOX);

    assertThat(guest.manager()).isEqualTo(Owner.PROXMOX);
    assertThat(guest.number()).isEqualTo("100");
    assertThat(guest.name()).isEqualTo("web1");
    assertThat(of(List.of("kvm", "-id", "x\n1")).manager()).isEqualTo(Owner.OTHER);
  }

  @Test
  void aGuestOfOursIsKnownByItsGroupOrByItsChannel() {
    assertThat(of(OURS).manager()).isEqualTo(Owner.HYPERFRESH);
    assertThat(ForeignGuest.of(List.of("qemu"), true, "0::/hyperfresh/web1.60001\n", "").manager())
        .isEqualTo(Owner.HYPERFRESH);
    assertThat(of(OURS.subList(0, 5)).manager()).isEqualTo(Owner.OTHER);
  }

  @Test
  void theChannelsIntoTheGuestAreNamed() {
    List<String> line =
        List.of(
            "qemu",
            "-device",
            "virtserialport,bus=ports.0,nr=1,chardev=agent,name=dev.hyperfresh.agent",
            "-device",
            "virtio-rng-pci,id=name");

    assertThat(of(line).ports()).containsExactly("dev.hyperfresh.agent");
  }

  /// Whoever starts a process chooses its command line.
  @ParameterizedTest
  @CsvSource({
    "'guest=a\u001b[2Jb', 'a[2Jb'",
    "'a\nb\tc\r', abc",
    "'a\u202eb\u2028c', abc",
    "'guest=größe', größe",
    "'guest=a,,b,debug-threads=on', 'a,b'",
    "'debug-threads=on', ''",
    "'=', ''",
    "'{\"guest\":', ''",
  })
  void aNameIsFitForATerminal(String value, String name) {
    assertThat(of(List.of("qemu", "-name", value)).name()).isEqualTo(name);
  }

  @Test
  void aNameIsBounded() {
    String name = of(List.of("qemu", "-name", "x".repeat(1 << 20))).name();

    assertThat(name).hasSize(64).endsWith("...");
    assertThat(of(List.of("qemu", "-name")).name()).isEmpty();
    assertThat(of(List.of()).name()).isEmpty();
  }

  @Test
  void whatCanBeAdoptedHasNoObstacle() {
    List<String> line = new ArrayList<>(List.of("qemu"));
    line.addAll(ForeignLines.BASE);

    assertThat(of(line).obstacles()).isEmpty();
    assertThat(of(line).obstacle()).isEmpty();
  }

  @Test
  void obstaclesAreThoseOfAnAdoption() {
    List<String> line = new ArrayList<>(List.of("qemu"));
    line.addAll(ForeignLines.BASE);
    line.addAll(List.of("-snapshot", "-netdev", "socket,id=n", "-frobnicate", "\u001b[2J"));

    assertThat(of(line).obstacles())
        .containsExactly(
            "-snapshot: writes go to a file that has no name.",
            "-netdev socket,id=n: its other end is a process that knows only this one; use a tap in a"
                + " bridge.",
            "-frobnicate: this option is not known here.");
    assertThat(of(line).obstacle())
        .contains("-snapshot: writes go to a file that has no name (and 2 more).");
  }

  @Test
  void privateMemoryIsNoObstacleToACopy() {
    ForeignGuest guest = of(List.of("qemu", "-m", "512", "-nodefaults", "-display", "none"));

    assertThat(guest.obstacles()).isEmpty();
    assertThat(guest.copyNeeded()).isTrue();
  }

  /// What only the running QEMU can tell is no obstacle yet.
  @Test
  void theVersionSaysWhetherAMemFdIsCopied() {
    List<String> line = new ArrayList<>(List.of("qemu"));
    line.addAll(ForeignLines.BASE);

    for (String version : List.of("", "7.2.22", "8.0.50")) {
      assertThat(ForeignGuest.of(line, true, "", version).obstacles()).as(version).isEmpty();
    }
    assertThat(ForeignGuest.of(line, true, "", "8.0.50").copyNeeded()).isFalse();
    assertThat(ForeignGuest.of(line, true, "", "8.1.0").copyNeeded()).isTrue();
  }

  @Test
  void aLineThatIsNotWholeSaysNothing() {
    List<String> line = new ArrayList<>(List.of("qemu"));
    line.addAll(ForeignLines.BASE);
    List<String> many = new ArrayList<>(line);
    while (many.size() <= 1001) {
      many.add("-usb");
    }

    assertThat(ForeignGuest.of(line, false, "", "").obstacles()).hasSize(1);
    assertThat(of(many).obstacles()).containsExactly("Its command line is too long to be read.");
  }

  private static ForeignGuest of(List<String> line) {
    return ForeignGuest.of(line, true, "0::/\n", "");
  }
}
