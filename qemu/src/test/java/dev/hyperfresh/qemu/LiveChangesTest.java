package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.AnsweringQemu.PORT;
import static dev.hyperfresh.qemu.AnsweringQemu.asked;
import static dev.hyperfresh.qemu.AnsweringQemu.drive;
import static dev.hyperfresh.qemu.AnsweringQemu.graph;
import static dev.hyperfresh.qemu.AnsweringQemu.inserted;
import static dev.hyperfresh.qemu.AnsweringQemu.node;
import static dev.hyperfresh.qemu.AnsweringQemu.nodes;
import static dev.hyperfresh.qemu.AnsweringQemu.qemu;
import static dev.hyperfresh.qemu.AnsweringQemu.wordsOf;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/// What was changed over a monitor since the start comes out as the command line that would make
/// the same machine, in the shapes in which QEMU 7.2 tells of it.
class LiveChangesTest {
  private static final String[] CARD = {
    "mac str",
    "mq bool false",
    "netdev str",
    "romfile str",
    "romsize uint32 4294967295",
    "vectors uint32 4294967295"
  };

  @Test
  void aMachineThatWasNotChangedKeepsItsLine() {
    String[] line = {
      "-nodefaults",
      "-device",
      PORT,
      "-device",
      "virtio-blk-pci,drive=d0,serial=AB,bus=rp0",
      "-drive",
      "file=own.img,if=none,id=d0,format=raw",
      "-chardev",
      "null,id=c0",
      "-object",
      "rng-builtin,id=rng0",
      "-netdev",
      "tap,id=n0,fd=33",
      "-no-such-option",
      "x",
      "-smp",
      "2",
      "-append"
    };
    AnsweringQemu qemu =
        qemu()
            .nameless(
                0, "virtio-blk-pci", "/machine/peripheral/rp0/rp0", "drive=\"d0\"", "serial=\"AB\"")
            .says("query-block", nodes(drive("d0", inserted("own.img", "raw", false))))
            .says("query-chardev", "[{\"label\":\"c0\",\"filename\":\"null\"}]")
            .has("/objects", "rng0", "rng-builtin")
            .tells("info network", "n0: index=0,type=tap,fd=33");
    LiveChanges changes = asked(qemu, line);
    assertThat(changes.arguments()).containsExactly(line);
    assertThat(changes.remarks()).isEmpty();
    assertThat(changes.reasons()).isEmpty();
  }

  @Test
  void aPluggedCardHasTheTapOfItsDescriptors() {
    AnsweringQemu qemu =
        qemu()
            .device(
                "net1",
                "virtio-net-pci",
                "/machine/peripheral/rp0/rp0",
                "addr=0",
                "mac=\"52:54:00:00:00:07\"",
                "mq=true",
                "netdev=\"hostnet1\"",
                "romfile=\"efi-virtio.rom\"",
                "romsize=262144",
                "vectors=6")
            .settable("virtio-net-pci", CARD)
            .tells(
                "info network",
                "net1: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:07",
                " \\ hostnet1: index=0,type=tap,fd=33",
                "net1: index=1,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:07",
                " \\ hostnet1: index=1,type=tap,fd=35")
            .says(
                "x-query-virtio-status /machine/peripheral/net1/virtio-backend",
                "{\"vhost-started\":true}");
    LiveChanges changes = asked(qemu, "-device", PORT);
    assertThat(changes.reasons()).isEmpty();
    assertThat(wordsOf("-netdev", changes))
        .containsExactly("type=tap,id=hostnet1,fds=33:35,vhost=on");
    assertThat(wordsOf("-device", changes).getLast())
        .isEqualTo(
            "driver=virtio-net-pci,id=net1,bus=rp0,addr=00.0,mac=52:54:00:00:00:07,mq=on,"
                + "netdev=hostnet1,romsize=262144,vectors=6");
  }

  @Test
  void aPluggedUserModeNetworkKeepsItsPorts() {
    AnsweringQemu qemu =
        qemu()
            .device("net1", "virtio-net-pci", "/machine/peripheral/rp0/rp0", "netdev=\"n1\"")
            .settable("virtio-net-pci", CARD)
            .tells(
                "info network",
                "net1: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:07",
                " \\ n1: index=0,type=user,net=10.0.2.0,restrict=off")
            .tells(
                "info usernet",
                "Hub -1 (n0):",
                "  TCP[HOST_FORWARD]  12       127.0.0.1  2222       10.0.2.15    22     0     0",
                "Hub -1 (n1):",
                "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ",
                "  TCP[HOST_FORWARD]  13       127.0.0.1  2223       10.0.2.15    22     0     0",
                "  UDP[HOST_FORWARD]  14               *    53       10.0.2.15    53     0     0");
    LiveChanges changes = asked(qemu, "-device", PORT);
    assertThat(wordsOf("-netdev", changes))
        .containsExactly(
            "type=user,id=n1,hostfwd=tcp:127.0.0.1:2223-10.0.2.15:22,hostfwd=udp::53-10.0.2.15:53");
    assertThat(changes.remarks()).anyMatch(remark -> remark.contains("user-mode network n1"));
    assertThat(changes.reasons()).isEmpty();
    qemu.tells("info network", " \\ n1: index=0,type=user,net=10.7.0.0,restrict=on");
    assertThat(asked(qemu, "-device", PORT).reasons()).singleElement().asString().contains("n1");
    qemu.tells("info network", "hub 0", " \\ hub0port0: n1: index=0,type=user,net=10.0.2.0");
    assertThat(asked(qemu, "-device", PORT).reasons()).singleElement().asString().contains("n1");
  }

  @Test
  void pluggedChannelsComeAfterTheirBus() {
    AnsweringQemu qemu =
        qemu()
            .device(
                "aport",
                "virtserialport",
                "/machine/peripheral/vs/virtio-backend/vs.0",
                "chardev=\"agent\"",
                "name=\"org.example\"",
                "nr=1")
            .device("vs", "virtio-serial-pci", "/machine/peripheral/rp0/rp0", "addr=0")
            .settable("virtserialport", "chardev str", "name str", "nr uint32 4294967295")
            .settable("virtio-serial-pci", "max_ports uint32 31")
            .says(
                "query-chardev",
                "[{\"label\":\"agent\",\"filename\":\"disconnected:unix:/run/a,b.sock,server=on\"},"
                    + "{\"label\":\"compat_monitor0\",\"filename\":\"unix:/run/m,server=on\"}]");
    // A JSON device of the line is made after all pairs.
    String json = "{\"driver\":\"pcie-root-port\",\"id\":\"rp0\"}";
    LiveChanges changes = asked(qemu, "-device", json);
    assertThat(changes.reasons()).isEmpty();
    assertThat(wordsOf("-device", changes))
        .containsExactly(
            json,
            "{\"driver\":\"virtio-serial-pci\",\"id\":\"vs\",\"bus\":\"rp0\",\"addr\":\"00.0\"}",
            "{\"driver\":\"virtserialport\",\"id\":\"aport\",\"bus\":\"vs.0\",\"nr\":1,"
                + "\"chardev\":\"agent\",\"name\":\"org.example\"}");
    assertThat(wordsOf("-chardev", changes))
        .containsExactly("socket,id=agent,path=/run/a,,b.sock,server=on,wait=off");
    qemu.says("query-chardev", "[{\"label\":\"agent\",\"filename\":\"file\"}]");
    assertThat(asked(qemu, "-device", json).reasons())
        .singleElement()
        .asString()
        .contains("does not say enough of the character device agent");
  }

  @Test
  void whatWasUnpluggedIsGoneAndLeavesAHole() {
    AnsweringQemu qemu =
        qemu()
            .device("stays", "virtio-rng-pci", "/machine/q35/pcie.0", "addr=24")
            .device(
                "s0",
                "scsi-hd",
                "/machine/peripheral/scsi/virtio-backend/scsi.0",
                "channel=0",
                "scsi-id=3",
                "lun=0",
                "drive=\"d1\"")
            .device("iommu", "intel-iommu", "/machine/unattached/sysbus")
            .says("query-block", nodes(drive("d1", inserted("/img/b.raw", "raw", false))))
            .tells("info network");
    LiveChanges changes =
        asked(
            qemu,
            "-device",
            PORT,
            "-device",
            "virtio-blk-pci,id=gone,drive=d0",
            "-drive",
            "if=none,id=d0,file=/img/a.raw",
            "-device",
            "virtio-rng-pci,id=stays",
            "-drive",
            "if=none,id=d1,file=/img/b.raw",
            "-device",
            "scsi-hd,id=s0,drive=d1,lun=0",
            "-device",
            "intel-iommu,id=iommu",
            "-netdev",
            "user,id=n0",
            "-device",
            "e1000,id=card,netdev=n0");
    assertThat(changes.reasons()).isEmpty();
    assertThat(wordsOf("-device", changes))
        .containsExactly(
            "driver=pcie-root-port,id=rp0,chassis=1,slot=1,bus=pcie.0,addr=02.0",
            "driver=virtio-rng-pci,id=stays,bus=pcie.0,addr=03.0",
            "driver=scsi-hd,id=s0,drive=d1,lun=0,bus=scsi.0,channel=0,scsi-id=3",
            "intel-iommu,id=iommu");
    assertThat(wordsOf("-drive", changes)).containsExactly("if=none,id=d1,file=/img/b.raw");
    assertThat(wordsOf("-netdev", changes)).isEmpty();
    assertThat(changes.remarks())
        .containsExactly(
            "Its device gone was unplugged since its start, and later processes do without it.",
            "Its device card was unplugged since its start, and later processes do without it.");
    assertThat(
            asked(qemu, "-device", PORT, "-device", "e1000,id=card", "-drive", "if=virtio,file=x")
                .reasons())
        .anyMatch(reason -> reason.contains("if=virtio"));
  }

  @Test
  void anotherDeviceOfTheSameNameIsTheOneThatIsThere() {
    AnsweringQemu qemu =
        qemu()
            .device(
                "card",
                "virtio-net-pci",
                "/machine/peripheral/rp0/rp0",
                "addr=0",
                "mac=\"52:54:00:00:00:09\"",
                "romfile=\"\"")
            .settable("virtio-net-pci", CARD);
    for (String before :
        List.of(
            "e1000,id=card",
            "virtio-net-pci,id=card,mac=52:54:00:00:00:08",
            "virtio-net-pci,id=card,bus=rp1")) {
      LiveChanges changes = asked(qemu, "-device", PORT, "-device", before);
      assertThat(wordsOf("-device", changes)).as(before).hasSize(2);
      assertThat(wordsOf("-device", changes).getLast())
          .as(before)
          .isEqualTo(
              "driver=virtio-net-pci,id=card,bus=rp0,addr=00.0,mac=52:54:00:00:00:09,romfile=");
    }
    String same = "virtio-net-pci,id=card,bus=rp0,mac=52:54:00:00:00:09";
    assertThat(wordsOf("-device", asked(qemu, "-device", PORT, "-device", same)))
        .containsExactly(PORT, same);
  }

  @Test
  void devicesWithoutNamesAreToldByTheirOrder() {
    AnsweringQemu qemu =
        new AnsweringQemu()
            .nameless(0, "e1000", "/machine/i440fx/pci.0", "addr=24", "mac=\"52:54:00:00:00:01\"")
            .nameless(
                12,
                "virtio-rng-pci",
                "/machine/i440fx/pci.0",
                "addr=40",
                "rng=\"/machine/peripheral-anon/device[12]/virtio-backend/own\"")
            .settable("virtio-rng-pci", "rng link<rng-backend>", "vectors uint32 4294967295");
    assertThat(wordsOf("-device", asked(qemu, "-device", "e1000")))
        .containsExactly("e1000", "driver=virtio-rng-pci,bus=pci.0,addr=05.0");
    // Which of them was unplugged is not known.
    assertThat(asked(qemu, "-device", "rtl8139").arguments()).containsExactly("-device", "rtl8139");
  }

  @Test
  void pluggedProcessorsAreLikeTheOthers() {
    AnsweringQemu qemu =
        new AnsweringQemu()
            .device("cpu1", "qemu64-x86_64-cpu", "")
            .says(
                "query-hotpluggable-cpus",
                "[{\"type\":\"qemu64-x86_64-cpu\",\"vcpus-count\":1,"
                    + "\"qom-path\":\"/machine/peripheral/cpu1\","
                    + "\"props\":{\"core-id\":0,\"thread-id\":0,\"socket-id\":1}},"
                    + "{\"type\":\"qemu64-x86_64-cpu\",\"vcpus-count\":1,"
                    + "\"qom-path\":\"/machine/unattached/device[0]\","
                    + "\"props\":{\"core-id\":0,\"thread-id\":0,\"socket-id\":0}}]");
    LiveChanges changes = asked(qemu, "-smp", "1,maxcpus=2");
    assertThat(changes.reasons()).isEmpty();
    String processor = "driver=qemu64-x86_64-cpu,id=cpu1,core-id=0,thread-id=0,socket-id=1";
    assertThat(wordsOf("-device", changes)).containsExactly(processor);
    assertThat(asked(qemu, "-smp", "2").reasons())
        .singleElement()
        .asString()
        .contains("Of its 2 processors 1 are left");

    LiveMachine live = ForeignLines.live(Set.of("cpu1"), 0, List.of());
    assertThat(ForeignLines.joined(ForeignLines.read(live, "-device", processor)))
        .contains("-device " + processor);
    assertThat(ForeignLines.read(live, "-device", processor.replace("qemu64", "max")).reasons())
        .singleElement()
        .asString()
        .contains("another one than the first");
  }

  @Test
  void aPlacedUsbDeviceKeepsItsPort() {
    AnsweringQemu qemu =
        new AnsweringQemu()
            .device("tab", "usb-tablet", "/machine/peripheral/xhci/xhci.0", "port=\"\"")
            .settable("usb-tablet", "port str", "usb_version uint32 2")
            .tells(
                "info usb",
                "  Device 0.2, Port 3, Speed 480 Mb/s, Product QEMU USB Tablet, ID: tab");
    assertThat(wordsOf("-device", asked(qemu)))
        .containsExactly("driver=usb-tablet,id=tab,bus=xhci.0,port=3");
    assertThat(asked(qemu.tells("info usb", "")).reasons())
        .singleElement()
        .asString()
        .contains("at which port the device tab");
  }

  /// What was plugged is read by the same tables as what stands on a line.
  @Test
  void whatCannotBeTakenFromALineCannotEitherWhenItWasPlugged() {
    AnsweringQemu qemu =
        qemu()
            .device("late", "nvme", "/machine/peripheral/rp0/rp0", "serial=\"x\"")
            .settable("nvme", "serial str");
    LiveChanges changes = asked(qemu, "-device", PORT);
    LiveMachine live = ForeignLines.live(Set.of("rp0", "late"), 0, List.of());
    List<String> line = new ArrayList<>(ForeignLines.BASE);
    line.addAll(changes.arguments());
    assertThat(ForeignLines.whole(line, live).reasons())
        .singleElement()
        .asString()
        .contains("nvme", "not one that is known to move");
  }

  /// A filter that is put between two nodes of the line limits what the line does not limit.
  @Test
  void aNodeBelowAnotherOneThatTheLineDoesNotHaveThereIsRefused() {
    String[] line = {
      "-blockdev",
      "driver=file,filename=/img/a.raw,node-name=f0",
      "-blockdev",
      "driver=raw,node-name=top,file=f0"
    };
    AnsweringQemu qemu =
        new AnsweringQemu()
            .says(
                "query-named-block-nodes",
                nodes(
                    node("top", "raw", "/img/a.raw"),
                    node("filter", "throttle", "/img/a.raw"),
                    node("f0", "file", "/img/a.raw")))
            .says("x-debug-query-block-graph", graph("top file filter", "filter file f0"));
    assertThat(asked(qemu, line).reasons())
        .singleElement()
        .asString()
        .contains("block node top has the node filter below it", "at its start it had f0");
    qemu.says("x-debug-query-block-graph", graph("top file f0"));
    assertThat(asked(qemu, line).reasons()).isEmpty();
    assertThat(asked(qemu, line).arguments()).containsExactly(line);
  }
}
