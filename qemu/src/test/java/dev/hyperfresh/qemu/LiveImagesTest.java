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

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/// Disks, media and images that are others than at the start, in the shapes in which QEMU 7.2 tells
/// of them.
class LiveImagesTest {
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
    assertThat(wordsOf("-object", changes))
        .containsExactly("qom-type=iothread,id=io0,poll-max-ns=1000");
    assertThat(wordsOf("-device", changes))
        .containsExactly(
            PORT,
            "driver=virtio-blk-pci,id=late,bus=rp0,addr=00.0,discard_granularity=512,drive=f1,"
                + "iothread=io0,logical_block_size=512,num-queues=2,serial=LATE,vectors=3,"
                + "write-cache=on");
    assertThat(wordsOf("-blockdev", changes))
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
    assertThat(wordsOf("-blockdev", changes).getLast()).as("above all others").contains("\"f1\"");
    assertThat(changes.remarks())
        .anyMatch(remark -> remark.contains("the device late (virtio-blk-pci)"))
        .anyMatch(remark -> remark.contains("/dev/vg/base, /img/late.qcow2"));
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
    assertThat(wordsOf("-drive", changes))
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
    assertThat(wordsOf("-drive", asked(qemu, "-hda", disk, "-cdrom", "/iso/a.iso")))
        .containsExactly("index=2,media=cdrom,file=/iso/b.iso,format=raw");
    assertThat(asked(qemu, "-hda", disk, "-cdrom", "/iso/b.iso").arguments())
        .containsExactly("-hda", disk, "-cdrom", "/iso/b.iso");
    assertThat(wordsOf("-drive", asked(qemu, "-hda", disk)))
        .containsExactly("index=2,media=cdrom,file=/iso/b.iso,format=raw");
    qemu.says("query-block", nodes(drive("ide1-cd0", "")));
    assertThat(asked(qemu, "-cdrom", "/iso/a.iso").arguments()).isEmpty();
    assertThat(wordsOf("-drive", asked(qemu, "-drive", "media=cdrom,file=/iso/a.iso,index=3")))
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
    assertThat(wordsOf("-device", changes))
        .containsExactly(
            "driver=scsi-cd,id=cd,drive=hf-block4",
            "{\"driver\":\"scsi-cd\",\"id\":\"none\",\"lun\":1}");
    assertThat(wordsOf("-blockdev", changes))
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
    List<String> nodes = wordsOf("-blockdev", changes);
    assertThat(nodes).hasSize(4).noneMatch(node -> node.contains("gone"));
    assertThat(nodes.get(0)).as("below all others").contains("\"node-name\":\"below\"");
    assertThat(nodes.get(1)).contains("\"node-name\":\"base\"", "\"backing\":\"below\"");
    assertThat(nodes.get(3)).contains("\"node-name\":\"top\"", "\"backing\":\"base\"");
    assertThat(wordsOf("-device", changes))
        .containsExactly("driver=virtio-blk-pci,id=blk,drive=top");
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
    assertThat(wordsOf("-blockdev", changes))
        .contains(
            "driver=file,node-name=a,filename=/img/root.raw",
            "{\"driver\":\"raw\",\"node-name\":\"b\",\"file\":{\"driver\":\"file\","
                + "\"filename\":\"/img/root.raw\"}}",
            "driver=file,node-name=c,filename=/dev/fdset/3");
    assertThat(wordsOf("-blockdev", changes).getLast()).contains("\"filename\":\"/img/root.raw\"");
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
    assertThat(wordsOf("-drive", changes))
        .containsExactly(
            "if=none,id=drive-late,file=/dev/pve/late,format=raw,cache.direct=on,"
                + "detect-zeroes=unmap,discard=unmap,throttling.iops-total=100,throttling.iops-total-max=200,"
                + "throttling.iops-total-max-length=1");
  }
}
