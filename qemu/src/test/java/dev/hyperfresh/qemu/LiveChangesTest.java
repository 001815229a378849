package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/// What was changed over a monitor since the start comes out as the command line that would make
/// the same machine, in the shapes in which QEMU 7.2 tells of it.
class LiveChangesTest {
  private static final String PORT = "pcie-root-port,id=rp0,chassis=1,slot=1";

  private static final String[] DISK = {
    "addr int32 -1",
    "bootindex int32",
    "class uint32 0",
    "discard_granularity size 4294967295",
    "drive str",
    "iothread link<iothread>",
    "logical_block_size size 0",
    "num-queues uint16 65535",
    "queue_reset bool true",
    "romfile str",
    "serial str",
    "share-rw bool false",
    "vectors uint32 4294967295",
    "virtio-backend child<virtio-blk-device>",
    "write-cache OnOffAuto \"auto\"",
    "x-disable-pcie bool false"
  };

  private static final String[] CARD = {
    "mac str",
    "mq bool false",
    "netdev str",
    "romfile str",
    "romsize uint32 4294967295",
    "vectors uint32 4294967295"
  };

  private static AnsweringQemu qemu() {
    return new AnsweringQemu().device("rp0", "pcie-root-port", "/machine/q35/pcie.0", "addr=16");
  }

  private static LiveChanges asked(AnsweringQemu qemu, String... line) {
    return asked(qemu, Map.of(), line);
  }

  private static LiveChanges asked(AnsweringQemu qemu, Map<String, Path> sets, String... line) {
    return LiveChanges.ask(List.of(line), sets, qemu);
  }

  /// The values of an option.
  private static List<String> of(String option, LiveChanges changes) {
    List<String> values = new ArrayList<>();
    List<String> words = changes.arguments();
    for (int i = 0; i + 1 < words.size(); i++) {
      if (words.get(i).equals(option)) {
        values.add(words.get(i + 1));
      }
    }
    return values;
  }

  /// What `query-named-block-nodes` tells of a node.
  private static String node(String name, String driver, String file) {
    return "{\"node-name\":\"%s\",\"drv\":\"%s\",\"file\":\"%s\",\"ro\":false,\"detect_zeroes\":\"off\","
            .formatted(name, driver, file)
        + "\"cache\":{\"writeback\":true,\"direct\":true,\"no-flush\":false}}";
  }

  private static String nodes(String... nodes) {
    return "[" + String.join(",", nodes) + "]";
  }

  /// Who is below whom: `PARENT ROLE CHILD`.
  private static String graph(String... edges) {
    List<String> names =
        Arrays.stream(edges)
            .flatMap(edge -> Arrays.stream(edge.split(" ")).filter(w -> !w.matches("file|backing")))
            .distinct()
            .toList();
    List<String> points = new ArrayList<>();
    names.forEach(name ->
        points.add(
            "{\"id\":%d,\"type\":\"block-driver\",\"name\":\"%s\"}"
                .formatted(names.indexOf(name) + 1, name)));
    List<String> lines = new ArrayList<>();
    for (String edge : edges) {
      String[] parts = edge.split(" ");
      lines.add(
          "{\"parent\":%d,\"child\":%d,\"name\":\"%s\",\"perm\":[],\"shared-perm\":[]}"
              .formatted(names.indexOf(parts[0]) + 1, names.indexOf(parts[2]) + 1, parts[1]));
    }
    return "{\"nodes\":" + points + ",\"edges\":" + lines + "}";
  }

  private static String drive(String device, String inserted) {
    return "{\"device\":\"%s\",\"removable\":true%s}"
        .formatted(device, inserted.isEmpty() ? "" : ",\"inserted\":" + inserted);
  }

  private static String inserted(String file, String format, boolean readOnly) {
    return "{\"file\":\"%s\",\"drv\":\"%s\",\"ro\":%s,\"node-name\":\"#block1\",\"bps\":0,\"iops\":0}"
        .formatted(file, format, readOnly);
  }

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
  void aPluggedDiskIsMadeOfItsNodes() {
    AnsweringQemu qemu =
        qemu()
            .device(
                "late",
                "virtio-blk-pci",
                "/machine/peripheral/rp0/rp0",
                "addr=0",
                "bootindex=-1",
                "class=0",
                "discard_granularity=512",
                "drive=\"f1\"",
                "iothread=\"/objects/io0\"",
                "logical_block_size=512",
                "num-queues=2",
                "queue_reset=false",
                "romfile=\"\"",
                "serial=\"LATE\"",
                "share-rw=false",
                "vectors=3",
                "write-cache=\"on\"",
                "x-disable-pcie=true")
            .settable("virtio-blk-pci", DISK)
            .has("/objects", "io0", "iothread")
            .set("/objects/io0", "poll-max-ns=1000", "poll-grow=0")
            .says(
                "query-named-block-nodes",
                nodes(
                    node("f1", "qcow2", "json:{...}"),
                    node("#block7", "file", "/img/late.qcow2"),
                    node("b1", "raw", "/img/base.raw"),
                    node("#block8", "host_device", "/dev/vg/base")))
            .says(
                "x-debug-query-block-graph",
                graph("f1 file #block7", "f1 backing b1", "b1 file #block8"))
            .says(
                "query-blockstats",
                "[{\"node-name\":\"#block7\",\"driver-specific\":{\"discard-nb-ok\":3}}]");
    LiveChanges changes = asked(qemu, "-device", PORT);
    assertThat(changes.reasons()).isEmpty();
    assertThat(of("-object", changes)).containsExactly("qom-type=iothread,id=io0,poll-max-ns=1000");
    assertThat(of("-device", changes))
        .containsExactly(
            PORT,
            "driver=virtio-blk-pci,id=late,bus=rp0,addr=00.0,discard_granularity=512,drive=f1,"
                + "iothread=io0,logical_block_size=512,num-queues=2,serial=LATE,vectors=3,"
                + "write-cache=on");
    assertThat(of("-blockdev", changes))
        .containsExactlyInAnyOrder(
            "{\"driver\":\"file\",\"node-name\":\"hf-block7\",\"filename\":\"/img/late.qcow2\","
                + "\"read-only\":false,\"cache\":{\"direct\":true},\"discard\":\"unmap\"}",
            "{\"driver\":\"host_device\",\"node-name\":\"hf-block8\",\"filename\":\"/dev/vg/base\","
                + "\"read-only\":false,\"cache\":{\"direct\":true}}",
            "{\"driver\":\"raw\",\"node-name\":\"b1\",\"read-only\":false,"
                + "\"cache\":{\"direct\":true},\"file\":\"hf-block8\"}",
            "{\"driver\":\"qcow2\",\"node-name\":\"f1\",\"read-only\":false,"
                + "\"cache\":{\"direct\":true},\"discard\":\"unmap\",\"backing\":\"b1\","
                + "\"file\":\"hf-block7\"}");
    assertThat(of("-blockdev", changes).getLast()).as("above all others").contains("\"f1\"");
    assertThat(changes.remarks())
        .anyMatch(remark -> remark.contains("the device late (virtio-blk-pci)"))
        .anyMatch(remark -> remark.contains("/dev/vg/base, /img/late.qcow2"));
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
    assertThat(of("-netdev", changes)).containsExactly("type=tap,id=hostnet1,fds=33:35,vhost=on");
    assertThat(of("-device", changes).getLast())
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
    assertThat(of("-netdev", changes))
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
    assertThat(of("-device", changes))
        .containsExactly(
            json,
            "{\"driver\":\"virtio-serial-pci\",\"id\":\"vs\",\"bus\":\"rp0\",\"addr\":\"00.0\"}",
            "{\"driver\":\"virtserialport\",\"id\":\"aport\",\"bus\":\"vs.0\",\"nr\":1,"
                + "\"chardev\":\"agent\",\"name\":\"org.example\"}");
    assertThat(of("-chardev", changes))
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
    assertThat(of("-device", changes))
        .containsExactly(
            "driver=pcie-root-port,id=rp0,chassis=1,slot=1,bus=pcie.0,addr=02.0",
            "driver=virtio-rng-pci,id=stays,bus=pcie.0,addr=03.0",
            "driver=scsi-hd,id=s0,drive=d1,lun=0,bus=scsi.0,channel=0,scsi-id=3",
            "intel-iommu,id=iommu");
    assertThat(of("-drive", changes)).containsExactly("if=none,id=d1,file=/img/b.raw");
    assertThat(of("-netdev", changes)).isEmpty();
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
      assertThat(of("-device", changes)).as(before).hasSize(2);
      assertThat(of("-device", changes).getLast())
          .as(before)
          .isEqualTo(
              "driver=virtio-net-pci,id=card,bus=rp0,addr=00.0,mac=52:54:00:00:00:09,romfile=");
    }
    String same = "virtio-net-pci,id=card,bus=rp0,mac=52:54:00:00:00:09";
    assertThat(of("-device", asked(qemu, "-device", PORT, "-device", same)))
        .containsExactly(PORT, same);
  }

  @Test
  void aDriveHasTheMediumThatIsInItByNow() {
    String[] line = {
      "-drive",
      "if=none,id=cd0,media=cdrom,file=/iso/a.iso,format=raw",
      "-drive",
      "if=none,id=cd1,media=cdrom,readonly=on,file=/iso/a.iso,format=raw",
      "-drive",
      "if=none,id=cd2,media=cdrom",
      "-drive",
      "if=none,id=d0,file=/img/a.raw,format=raw,cache=none",
      "-drive",
      "if=none,id=d1,file=json:{},format=raw"
    };
    AnsweringQemu qemu =
        new AnsweringQemu()
            .says(
                "query-block",
                nodes(
                    drive("cd0", inserted("/iso/b.iso", "raw", true)),
                    drive("cd1", ""),
                    drive("cd2", inserted("/iso/c.iso", "raw", true)),
                    drive("d0", inserted("/img/overlay.qcow2", "qcow2", false)),
                    drive("d1", inserted("/img/x", "raw", false))));
    LiveChanges changes = asked(qemu, line);
    assertThat(of("-drive", changes))
        .containsExactly(
            "if=none,id=cd0,media=cdrom,file=/iso/b.iso,format=raw",
            "if=none,id=cd1,media=cdrom,readonly=on",
            "if=none,id=cd2,media=cdrom,file=/iso/c.iso,format=raw",
            "if=none,id=d0,cache=none,file=/img/overlay.qcow2,format=qcow2",
            "if=none,id=d1,file=json:{},format=raw");
    assertThat(changes.remarks()).hasSize(4);
  }

  @Test
  void theDriveForCdsThatHasNoNameIsFound() {
    AnsweringQemu qemu =
        new AnsweringQemu()
            .says(
                "query-block",
                nodes(
                    drive("ide0-hd0", inserted("/img/a.raw", "raw", false)),
                    drive("ide1-cd0", inserted("/iso/b.iso", "raw", true))));
    String disk = "/img/a.raw";
    assertThat(of("-drive", asked(qemu, "-hda", disk, "-cdrom", "/iso/a.iso")))
        .containsExactly("index=2,media=cdrom,file=/iso/b.iso,format=raw");
    assertThat(asked(qemu, "-hda", disk, "-cdrom", "/iso/b.iso").arguments())
        .containsExactly("-hda", disk, "-cdrom", "/iso/b.iso");
    assertThat(of("-drive", asked(qemu, "-hda", disk)))
        .containsExactly("index=2,media=cdrom,file=/iso/b.iso,format=raw");
    qemu.says("query-block", nodes(drive("ide1-cd0", "")));
    assertThat(asked(qemu, "-cdrom", "/iso/a.iso").arguments()).isEmpty();
    assertThat(of("-drive", asked(qemu, "-drive", "media=cdrom,file=/iso/a.iso,index=3")))
        .containsExactly("media=cdrom,index=3");
  }

  @Test
  void aMediumOnABlockNodeIsFollowed() {
    AnsweringQemu qemu =
        new AnsweringQemu()
            .device(
                "cd", "scsi-cd", "/machine/peripheral/s/virtio-backend/s.0", "drive=\"#block4\"")
            .device("none", "scsi-cd", "/machine/peripheral/s/virtio-backend/s.0", "drive=\"\"")
            .says(
                "query-named-block-nodes",
                nodes(node("#block4", "raw", "/iso/b.iso"), node("#block3", "file", "/iso/b.iso")))
            .says("x-debug-query-block-graph", graph("#block4 file #block3"));
    LiveChanges changes =
        asked(
            qemu,
            "-blockdev",
            "driver=file,filename=/iso/a.iso,node-name=iso",
            "-device",
            "scsi-cd,id=cd,drive=iso",
            "-device",
            "{\"driver\":\"scsi-cd\",\"id\":\"none\",\"drive\":\"iso\",\"lun\":1}");
    assertThat(of("-device", changes))
        .containsExactly(
            "driver=scsi-cd,id=cd,drive=hf-block4",
            "{\"driver\":\"scsi-cd\",\"id\":\"none\",\"lun\":1}");
    assertThat(of("-blockdev", changes))
        .hasSize(2)
        .noneMatch(node -> node.contains("a.iso"))
        .allMatch(node -> node.contains("hf-block"));
  }

  @Test
  void aSnapshotIsTheTopOfItsChain() {
    AnsweringQemu qemu =
        new AnsweringQemu()
            .device("blk", "virtio-blk-pci", "/machine/q35/pcie.0", "drive=\"top\"")
            .says(
                "query-named-block-nodes",
                nodes(
                    node("top", "qcow2", "/img/top.qcow2"),
                    node("top-file", "file", "/img/top.qcow2"),
                    node("base", "qcow2", "/img/base.qcow2"),
                    node("below", "file", "/img/other.raw")))
            .says(
                "x-debug-query-block-graph",
                graph(
                    "top file top-file", "top backing base", "base file #b", "base backing below"));
    LiveChanges changes =
        asked(
            qemu,
            "-blockdev",
            "{\"driver\":\"file\",\"node-name\":\"gone\",\"filename\":\"/img/gone.raw\"}",
            "-blockdev",
            "{\"driver\":\"qcow2\",\"node-name\":\"base\",\"backing\":\"gone\",\"file\":"
                + "{\"driver\":\"file\",\"filename\":\"/img/base.qcow2\"}}",
            "-device",
            "virtio-blk-pci,id=blk,drive=base");
    assertThat(changes.reasons()).isEmpty();
    List<String> nodes = of("-blockdev", changes);
    assertThat(nodes).hasSize(4).noneMatch(node -> node.contains("gone"));
    assertThat(nodes.get(0)).as("below all others").contains("\"node-name\":\"below\"");
    assertThat(nodes.get(1)).contains("\"node-name\":\"base\"", "\"backing\":\"below\"");
    assertThat(nodes.get(3)).contains("\"node-name\":\"top\"", "\"backing\":\"base\"");
    assertThat(of("-device", changes)).containsExactly("driver=virtio-blk-pci,id=blk,drive=top");
  }

  @Test
  void imagesBehindDescriptorsAreOpenedByTheirPaths() {
    Map<String, Path> sets = Map.of("/dev/fdset/2", Path.of("/img/root.raw"));
    AnsweringQemu qemu =
        new AnsweringQemu()
            .says(
                "query-named-block-nodes",
                nodes(
                    node("a", "file", "/dev/fdset/2"),
                    node("b", "raw", "/dev/fdset/2"),
                    node("c", "file", "/dev/fdset/3"),
                    node("d", "file", "/dev/fdset/2")))
            .device("blk", "virtio-blk-pci", "/machine/q35/pcie.0", "drive=\"d\"")
            .settable("virtio-blk-pci", DISK);
    LiveChanges changes =
        asked(
            qemu,
            sets,
            "-blockdev",
            "driver=file,node-name=a,filename=/dev/fdset/2",
            "-blockdev",
            "{\"driver\":\"raw\",\"node-name\":\"b\",\"file\":{\"driver\":\"file\","
                + "\"filename\":\"/dev/fdset/2\"}}",
            "-blockdev",
            "driver=file,node-name=c,filename=/dev/fdset/3");
    assertThat(of("-blockdev", changes))
        .contains(
            "driver=file,node-name=a,filename=/img/root.raw",
            "{\"driver\":\"raw\",\"node-name\":\"b\",\"file\":{\"driver\":\"file\","
                + "\"filename\":\"/img/root.raw\"}}",
            "driver=file,node-name=c,filename=/dev/fdset/3");
    assertThat(of("-blockdev", changes).getLast()).contains("\"filename\":\"/img/root.raw\"");
  }

  @Test
  void aDriveThatAMonitorAddedIsAnOptionOfTheLaterLine() {
    AnsweringQemu qemu =
        qemu()
            .device("late", "virtio-blk-pci", "/machine/peripheral/rp0/rp0", "drive=\"drive-late\"")
            .settable("virtio-blk-pci", DISK)
            .says(
                "query-block",
                nodes(
                    drive(
                        "drive-late",
                        "{\"file\":\"/dev/pve/late\",\"drv\":\"raw\",\"ro\":false,\"iops\":100,"
                            + "\"iops_max\":200,\"iops_max_length\":1,\"detect_zeroes\":\"unmap\","
                            + "\"cache\":{\"direct\":true},\"node-name\":\"#block1\"}")))
            .says("query-named-block-nodes", nodes(node("#block1", "raw", "/dev/pve/late")));
    LiveChanges changes = asked(qemu, "-device", PORT);
    assertThat(of("-drive", changes))
        .containsExactly(
            "if=none,id=drive-late,file=/dev/pve/late,format=raw,cache.direct=on,"
                + "detect-zeroes=unmap,discard=unmap,throttling.iops-total=100,throttling.iops-total-max=200,"
                + "throttling.iops-total-max-length=1");
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
    assertThat(of("-device", asked(qemu, "-device", "e1000")))
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
    assertThat(of("-device", changes)).containsExactly(processor);
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
    assertThat(of("-device", asked(qemu)))
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
}
