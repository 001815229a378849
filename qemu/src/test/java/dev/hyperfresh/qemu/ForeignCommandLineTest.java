package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.FILES;
import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static dev.hyperfresh.qemu.ForeignLines.whole;
import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Command lines as people and programs write them, as a whole.
class ForeignCommandLineTest {
  @Test
  void theMachineIsPinnedAndTheMemoryIsOurs() {
    String words = joined(read());
    assertThat(words)
        .contains("-machine type=pc-q35-7.2,memory-backend=ram")
        .contains("-accel tcg")
        .contains(
            "-object memory-backend-file,id=ram,size=536870912,mem-path=/proc/self/fd/10,share=on")
        .contains("-name guest=web1,debug-threads=on")
        .contains("-chardev socket,id=hf-qmp,fd=11,server=on,wait=off -mon chardev=hf-qmp")
        .doesNotContain("memfd", "kvm", "-incoming");
  }

  @Test
  void aLineWrittenByHandIsTakenOver() {
    ForeignCommandLine line =
        read(
            live(Set.of("blk0"), 2, List.of("disk.qcow2", "/srv/vm/data.qcow2")),
            "-enable-kvm",
            "-cpu",
            "EPYC,+svm",
            "-smp",
            "2,sockets=1",
            "-kernel",
            "vmlinuz",
            "-initrd",
            "/boot/initrd",
            "-append",
            "console=ttyS0 -accel",
            "-drive",
            "file=disk.qcow2,if=virtio",
            "-drive",
            "file=/srv/vm/data.qcow2,if=none,id=d,format=qcow2,cache=none,aio=native",
            "-device",
            "virtio-blk-pci,drive=d,id=blk0",
            "-device",
            "virtio-rng-pci",
            "-serial",
            "unix:/run/web1.con,server,nowait",
            "-monitor",
            "unix:/run/web1.mon,server,nowait",
            "-qmp",
            "unix:/run/web1.qmp,server=on,wait=off",
            "--pidfile",
            "/run/web1.pid",
            "-daemonize",
            "-L",
            "/opt/qemu/share");
    assertThat(joined(line))
        .contains("-kernel " + FILES + "/kernel -initrd " + FILES + "/initrd")
        .contains("-drive file=/srv/vm/disk.qcow2,if=virtio,format=qcow2")
        .contains("-drive file=/srv/vm/data.qcow2,if=none,id=d,format=qcow2,cache=none,aio=native")
        .contains("-chardev socket,id=hf-console,fd=12,server=on,wait=off,logfile=" + FILES)
        .contains("-serial chardev:hf-console")
        .contains("-append console=ttyS0 -accel")
        .doesNotContain("/run/", "pidfile", "daemonize", "/opt/qemu");
    assertThat(line.console()).contains(Path.of("/run/web1.con"));
    assertThat(line.cpu()).isEqualTo("EPYC,+svm");
    assertThat(line.firmware()).containsExactly("/opt/qemu/share");
    assertThat(line.pinned())
        .containsEntry(Path.of("/srv/vm/vmlinuz"), FILES.resolve("kernel"))
        .containsEntry(Path.of("/boot/initrd"), FILES.resolve("initrd"));
    assertThat(line.disks()).hasSize(2);
  }

  @Test
  void aLineOfLibvirtIsTakenOver() {
    List<String> line =
        List.of(
            "-name",
            "guest=web1,debug-threads=on",
            "-S",
            "-object",
            "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\",\"file\":\"/k\"}",
            "-machine",
            "pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram",
            "-accel",
            "kvm",
            "-cpu",
            "Skylake-Client-IBRS,ss=on,vmx=on",
            "-m",
            "512",
            "-object",
            "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"share\":true,"
                + "\"x-use-canonical-path-for-ramblock-id\":false,\"size\":536870912}",
            "-overcommit",
            "mem-lock=off",
            "-smp",
            "1,sockets=1,cores=1,threads=1",
            "-uuid",
            "57f1d2a2-1a2b-4c3d-8e4f-5a6b7c8d9e0f",
            "-display",
            "none",
            "-no-user-config",
            "-nodefaults",
            "-chardev",
            "socket,id=charmonitor,fd=28,server=on,wait=off",
            "-mon",
            "chardev=charmonitor,id=monitor,mode=control",
            "-rtc",
            "base=utc,driftfix=slew",
            "-global",
            "kvm-pit.lost_tick_policy=delay",
            "-no-shutdown",
            "-boot",
            "strict=on",
            "-device",
            "{\"driver\":\"pcie-root-port\",\"port\":16,\"chassis\":1,\"id\":\"pci.1\","
                + "\"bus\":\"pcie.0\",\"multifunction\":true,\"addr\":\"0x2\"}",
            "-blockdev",
            "{\"driver\":\"file\",\"filename\":\"/img/web1.qcow2\",\"node-name\":\"s1\","
                + "\"auto-read-only\":true,\"discard\":\"unmap\"}",
            "-blockdev",
            "{\"node-name\":\"f1\",\"read-only\":false,\"driver\":\"qcow2\",\"file\":\"s1\","
                + "\"backing\":null}",
            "-device",
            "{\"driver\":\"virtio-blk-pci\",\"bus\":\"pci.1\",\"drive\":\"f1\",\"id\":\"disk0\"}",
            "-netdev",
            "{\"type\":\"tap\",\"fd\":\"30\",\"vhost\":false,\"id\":\"hostnet0\"}",
            "-device",
            "{\"driver\":\"virtio-net-pci\",\"netdev\":\"hostnet0\",\"id\":\"net0\","
                + "\"mac\":\"52:54:00:AA:BB:01\",\"bus\":\"pci.1\"}",
            "-chardev",
            "pty,id=charserial0",
            "-device",
            "{\"driver\":\"isa-serial\",\"chardev\":\"charserial0\",\"id\":\"serial0\"}",
            "-sandbox",
            "on,obsolete=deny",
            "-msg",
            "timestamp=on");
    LiveMachine live =
        live(Set.of("pci.1", "disk0", "net0", "serial0"), 0, List.of("/img/web1.qcow2"));
    ForeignCommandLine read = whole(line, live);
    assertThat(joined(read))
        .contains("-netdev tap,id=hostnet0,fd=13")
        .contains(
            "memory-backend-file,id=pc.ram,size=536870912,mem-path=/proc/self/fd/10,share=on,"
                + "x-use-canonical-path-for-ramblock-id=off")
        .contains("-chardev pty,id=charserial0")
        .contains("\"filename\":\"/img/web1.qcow2\"")
        .doesNotContain("masterKey0", "charmonitor", " -S ");
    assertThat(read.cards())
        .singleElement()
        .satisfies(card -> {
          assertThat(card.mac()).isEqualTo("52:54:00:aa:bb:01");
          assertThat(card.descriptors()).containsExactly(30);
        });
    assertThat(read.disks()).hasSize(1);
  }

  @Test
  void aLineOfProxmoxIsRefusedWithAllReasonsTogether() {
    List<String> line =
        List.of(
            "-id",
            "100",
            "-name",
            "web1,debug-threads=on",
            "-chardev",
            "socket,id=qmp,path=/var/run/qemu-server/100.qmp,server=on,wait=off",
            "-mon",
            "chardev=qmp,mode=control",
            "-chardev",
            "socket,id=qga0,path=/var/run/qemu-server/100.qga,server=on,wait=off",
            "-device",
            "virtio-serial,id=qga",
            "-vnc",
            "unix:/var/run/qemu-server/100.vnc,password=on",
            "-cpu",
            "host",
            "-m",
            "512",
            "-drive",
            "file=rbd:pool/vm-100-disk-0,if=none,id=drive-scsi0",
            "-netdev",
            "type=tap,id=net0,ifname=tap100i0,script=/x,downscript=/y,vhost=on",
            "-machine",
            "type=pc");
    ForeignCommandLine read = whole(line, live(Set.of(), 0, List.of()));
    assertThat(String.join("\n", read.reasons()))
        .contains("-chardev socket,id=qga0")
        .contains("-cpu host")
        .contains("rbd:pool")
        .contains("private")
        .doesNotContain("id=qmp", "-id", "virtio-serial", "-vnc");
  }

  /// Whoever started it as root had it become another user.
  @ParameterizedTest
  @ValueSource(
      strings = {"-runas lxd", "-runas 64055:106", "-run-with user=qemu,async-teardown=on"})
  void theUserThatItBecameIsNoWordOfLaterInstances(String option) {
    ForeignCommandLine line = read(option.split(" "));

    assertThat(joined(line)).doesNotContain("-run", "lxd", "64055");
    assertThat(line.remarks()).singleElement().asString().contains("a daemon that runs as root");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          -readconfig /etc/vm.cfg                          | counts when the guest is adopted
          -usbdevice host:1.2                              | only keyboard, mouse, tablet
          -run-with exit-with-parent=on                    | not known here: exit-with-parent
          -run-with chroot=/srv,async-teardown=on          | other files there
          -audiodev none                                   | has no id
          -boot splash=a\\u0000/b.jpg                       | path cannot be understood
          -snapshot                                        | no name
          -mem-path /dev/shm                               | private
          -display gtk                                     | -display none
          -device vfio-pci,host=01:00.0                    | which one process has at a time
          -device nvme,drive=x                             | not one that is known to move
          -device virtio-net-pci,netdev=n,failover=on      | standby
          -netdev vde,id=n                                 | use a tap in a bridge
          -drive file=a,snapshot=on                        | snapshot
          -drive file=nbd:host:1                           | local files
          -drive file=/dev/fdset/1                         | passed as a descriptor
          -drive file=/dev/fd/3                            | path cannot be understood
          -drive file=../../proc/self/fd/3                 | path cannot be understood
          -kernel /dev/stdin                               | path cannot be understood
          -drive file=json:{}                              | local files
          -drive if=none,driver=nbd,host=x                 | not known here: host
          -blockdev driver=nbd,node-name=n                 | block driver
          -blockdev {"driver":"throttle","node-name":"t","file":{"driver":"nbd","host":"x"}} | block driver
          -chardev file,id=c,path=a\\u0000b                 | path cannot be understood
          -blockdev {"driver":"qcow2","file":{"driver":"https","url":"x"}} | block driver
          -object memory-backend-file,id=r2,share=on,mem-path=/x,discard-data=on | empty the memory
          -object memory-backend-ram,id=r3,size=1G         | private
          -object tls-creds-x509,id=t                      | objects of this type
          -chardev socket,id=c,path=/x,server=on           | nothing is at it
          -chardev udp,id=c,host=h,port=1                  | other end
          -chardev null,id=hf-qmp                          | HyperFresh's own
          -fsdev local,id=f                                | shared folders
          -machine confidential-guest-support=x            | not known here
          -hdz x                                           | not known here
          -append                                          | value is missing
          -netdev tap,id=n,fd=99999999999                  | not a number
          -device {"driver                                 | not JSON
          """)
  void whatIsNotKnownToMoveIsRefusedByName(String words, String reason) {
    ForeignCommandLine read = read(words.strip().replace("\\u0000", "\0").split(" ", 2));
    assertThat(String.join("\n", read.reasons())).contains(reason.strip());
  }

  /// Whoever reads the reasons is to mend each once.
  @Test
  void oneCauseIsOneReason() {
    Map<String, String> causes =
        Map.of(
            "-device nvme,id=n0,serial=1",
            "not one that is known to move",
            "-device nvme,serial=1",
            "not one that is known to move",
            "-tpmdev passthrough,id=t,path=/dev/tpm0 -device tpm-tis,tpmdev=t,id=tpm0",
            "the TPM of the host cannot be in two QEMUs");
    causes.forEach((words, reason) -> {
      boolean named = words.matches(".*-device.*,id=.*");
      LiveMachine live =
          live(
              named ? Set.of(words.replaceFirst(".*,id=(\\w+).*", "$1")) : Set.of(),
              named ? 0 : 1,
              List.of());
      assertThat(read(live, words.split(" ")).reasons())
          .as(words)
          .singleElement()
          .asString()
          .contains(reason);
    });
    List<String> line = new ArrayList<>(BASE);
    line.remove("-nodefaults");
    line.addAll(List.of("-serial", "none", "-monitor", "none", "-parallel", "none"));
    line.addAll(List.of("-vga", "none", "-netdev", "vde,id=n"));
    assertThat(whole(line, live(Set.of(), 0, List.of())).reasons())
        .filteredOn(reason -> reason.contains("net") || reason.contains("card"))
        .singleElement()
        .asString()
        .contains("its switch");
  }

  @Test
  void longLinesAreBounded() {
    List<String> many = new ArrayList<>();
    for (int i = 0; i <= ForeignCommandLine.MAX_ARGUMENTS; i++) {
      many.add("-usb");
    }
    assertThat(whole(many, live(Set.of(), 0, List.of())).reasons())
        .singleElement()
        .asString()
        .contains("more than");
    String keys = "a=b,".repeat(300);
    StringBuilder distinct = new StringBuilder("virtio-rng-pci");
    for (int i = 0; i < 300; i++) {
      distinct.append(",k").append(i).append("=v");
    }
    assertThat(read("-device", "virtio-rng-pci," + keys).reasons()).isNotEmpty();
    assertThat(String.join("\n", read("-device", distinct.toString()).reasons()))
        .contains("more than 200 keys");
  }
}
