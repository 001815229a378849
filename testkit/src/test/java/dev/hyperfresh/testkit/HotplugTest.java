package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.adopt;
import static dev.hyperfresh.testkit.Adopted.moved;
import static dev.hyperfresh.testkit.Adopted.takeBack;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A machine that was changed over its monitor since its start moves as it is by now, as its guest
/// itself sees it.
@Tag("slow")
@Timeout(600)
class HotplugTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final int DISK_BYTES = 1 << 20;

  /// Where the guest writes, behind what is summed up.
  private static final int WRITTEN_AT = DISK_BYTES - 4096;

  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  @Test
  void aMachineMovesAsItIsByNow() throws Exception {
    String sum = image("late.img", DISK_BYTES);
    image("gone.img", DISK_BYTES);
    image("a.iso", 1 << 16);
    image("b.iso", 1 << 16);
    int port = Workshop.freePort();
    try (OwnQemu own = start()) {
      Workshop.awaitReady(workspace.state(), "own-console.log");
      plug(own, port);
      Path console = workspace.state().resolve("own.con");
      // What the kernel says of a disk that is gone would stand between what is asked for.
      shell(console, "dmesg -n 1");
      String disk = newDisk(console);
      awaitCard(console);
      assertThat(shell(console, useCard())).contains("up");
      String machine = shell(console, look(disk));
      assertThat(machine).startsWith(sum).hasSize(2 * sum.length());
      assertEchoes(port);
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        assertThat(adopt(hyperplexor, own).detail())
            .contains("the device late", "the device card", "device gone was unplugged", "b.iso");
        for (QemuRelease to : List.of(NEW, OLD)) {
          moved(hyperplexor, to, Progress.NONE, "");
          console = hyperplexor.show("mine").console().orElseThrow();
          assertThat(shell(console, look(disk))).as(to.name()).isEqualTo(machine);
          assertEchoes(port);
          assertThat(shell(console, write(disk, to.name()))).contains("written");
          assertThat(written()).isEqualTo(to.name());
        }
        hyperplexor.letGo();
      }
      try (Hyperplexor next = Workshop.hyperplexor(workspace.state())) {
        assertThat(takeBack(next)).hasSize(1);
        GuestView view = next.show("mine");
        next.letGo();
        assertUnplugs(view, disk);
      }
      try (Hyperplexor next = Workshop.hyperplexor(workspace.state())) {
        takeBack(next);
        next.delete("mine");
      }
    }
  }

  private void plug(OwnQemu own, int port) throws IOException {
    own.say(
        "blockdev-add",
        "{\"driver\":\"raw\",\"node-name\":\"late0\",\"file\":{\"driver\":\"file\",\"filename\":\""
            + workspace.state().resolve("late.img")
            + "\"}}");
    own.say(
        "device_add",
        "{\"driver\":\"virtio-blk-pci\",\"id\":\"late\",\"bus\":\"rp1\",\"drive\":\"late0\","
            + "\"serial\":\"LATE\"}");
    own.say(
        "netdev_add",
        "{\"type\":\"user\",\"id\":\"n1\",\"hostfwd\":[{\"str\":\"tcp:127.0.0.1:"
            + port
            + "-:7\"}]}");
    own.say(
        "device_add",
        "{\"driver\":\"virtio-net-pci\",\"id\":\"card\",\"bus\":\"rp2\",\"netdev\":\"n1\","
            + "\"mac\":\"52:54:00:00:00:07\"}");
    own.say("device_del", "{\"id\":\"gone\"}");
    own.say(
        "blockdev-change-medium",
        "{\"id\":\"cd\",\"format\":\"raw\",\"filename\":\""
            + workspace.state().resolve("b.iso")
            + "\"}");
    Workshop.await(
        "the end of the unplugged disk", PATIENCE, () -> own.reported("DEVICE_DELETED", "gone"));
  }

  /// The name that the guest gave to the disk that was plugged.
  private String newDisk(Path console) {
    Workshop.await(
        "the plugged disk",
        PATIENCE,
        () -> shell(console, "grep -l LATE /sys/block/vd*/serial").contains("serial"));
    return shell(console, "grep -l LATE /sys/block/vd*/serial").split("/")[3];
  }

  private static void awaitCard(Path console) {
    Workshop.await(
        "the plugged card",
        PATIENCE,
        () -> shell(console, "cat /sys/class/net/*/address").contains("52:54:00:00:00:07"));
  }

  private static String useCard() {
    return "c=$(ls /sys/class/net | grep -v lo); ip addr add 10.0.2.15/24 dev $c;"
        + " ip link set $c up && guest echo 7 && echo up";
  }

  /// What is on the disk, and its devices with the address of its card, as two sums.
  private static String look(String disk) {
    return "echo 3 > /proc/sys/vm/drop_caches; (head -c "
        + WRITTEN_AT
        + " /dev/"
        + disk
        + " | md5sum; (ls /sys/bus/pci/devices; cat /sys/class/net/*/address) | md5sum) | tr -d ' \\n-'";
  }

  private static String write(String disk, String word) {
    return "printf %-64s "
        + word
        + " | dd of=/dev/"
        + disk
        + " bs=4096 seek="
        + WRITTEN_AT / 4096
        + " conv=notrunc,fsync 2>/dev/null && echo written";
  }

  private String written() throws IOException {
    byte[] image = Files.readAllBytes(workspace.state().resolve("late.img"));
    return new String(image, WRITTEN_AT, 64, StandardCharsets.US_ASCII).strip();
  }

  private static void assertEchoes(int port) throws IOException {
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
      socket.setSoTimeout((int) PATIENCE.toMillis());
      byte[] word = {1, 2, 3, 4};
      socket.getOutputStream().write(word);
      assertThat(socket.getInputStream().readNBytes(word.length)).isEqualTo(word);
    }
  }

  /// Its owner can unplug it by its name, as on the first process.
  private void assertUnplugs(GuestView view, String disk) throws IOException {
    Path console = view.console().orElseThrow();
    Path qmp = console.resolveSibling(console.getFileName().toString().replace(".con", ".qmp"));
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(UnixDomainSocketAddress.of(qmp));
      BufferedReader answers =
          new BufferedReader(Channels.newReader(channel, StandardCharsets.UTF_8));
      for (String command :
          List.of(
              "{\"execute\":\"qmp_capabilities\"}",
              "{\"execute\":\"query-block\"}",
              "{\"execute\":\"device_del\",\"arguments\":{\"id\":\"late\"}}")) {
        channel.write(StandardCharsets.UTF_8.encode(command + "\n"));
      }
      StringBuilder all = new StringBuilder();
      for (String line = answers.readLine();
          line != null && !line.contains("DEVICE_DELETED");
          line = answers.readLine()) {
        all.append(line).append('\n');
        assertThat(line).doesNotContain("\"error\"");
      }
      assertThat(all.toString()).contains("b.iso").doesNotContain("a.iso", "gone.img");
    }
    assertThat(shell(console, "ls /sys/block")).doesNotContain(disk);
  }

  private static String shell(Path console, String command) {
    return GuestShell.said(console, command, PATIENCE);
  }

  /// One of each kind that can be plugged and has a state. A guest that does nothing is enough for
  /// that: the target refuses what it has no place for.
  @Test
  void whateverIsPluggedFindsItsPlace() throws Exception {
    image("a.iso", 1 << 16);
    image("b.iso", 1 << 16);
    for (String disk : List.of("base.img", "gone.img", "late.img", "more.img")) {
      image(disk, 1 << 20);
    }
    try (TestNetwork network = TestNetwork.create();
        OwnQemu own = small(network.prefix());
        TestGuest guest = TestGuest.beatingIn(own.memory("memory-backend-memfd"), PATIENCE)) {
      plugAll(own);
      network.ip("link", "set", "many1", "up");
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        assertThat(network.within(() -> adopt(hyperplexor, own)).detail())
            .contains("the device cpu1", "top.qcow2", "The medium or image of the device cd");
        assertThat(own.wasStopped()).isFalse();
        for (QemuRelease to : List.of(NEW, OLD)) {
          assertThat(
                  hyperplexor.plan("mine", to, true, false, Progress.NONE).stream()
                      .filter(check -> check.name().equals("rehearsal"))
                      .map(Check::sentences))
              .as(to.name())
              .singleElement()
              .asString()
              .contains("took the state");
          moved(hyperplexor, to, Progress.NONE, "");
          guest.awaitBeat(PATIENCE);
        }
        assertThat(hyperplexor.show("mine").spec().vcpus()).isEqualTo(2);
        hyperplexor.delete("mine");
      }
    }
  }

  private void plugAll(OwnQemu own) throws IOException {
    own.say(
        "blockdev-snapshot-sync",
        "{\"node-name\":\"base\",\"snapshot-node-name\":\"top\",\"format\":\"qcow2\","
            + "\"snapshot-file\":\""
            + workspace.state().resolve("top.qcow2")
            + "\"}");
    own.say("device_del", "{\"id\":\"gone\"}");
    own.say(
        "blockdev-change-medium",
        "{\"id\":\"cd\",\"format\":\"raw\",\"filename\":\""
            + workspace.state().resolve("b.iso")
            + "\"}");
    own.say(
        "human-monitor-command",
        "{\"command-line\":\"drive_add auto \\\"file="
            + workspace.state().resolve("more.img")
            + ",if=none,id=more,format=raw,cache=none,aio=threads,iops=1000\\\"\"}");
    own.say("chardev-add", "{\"id\":\"c1\",\"backend\":{\"type\":\"null\",\"data\":{}}}");
    own.say("object-add", "{\"qom-type\":\"iothread\",\"id\":\"io0\"}");
    own.say("object-add", "{\"qom-type\":\"rng-builtin\",\"id\":\"rng0\"}");
    own.say(
        "blockdev-add",
        "{\"driver\":\"file\",\"node-name\":\"late0\",\"filename\":\"/dev/fdset/2\"}");
    own.say(
        "netdev_add",
        "{\"type\":\"tap\",\"id\":\"n1\",\"ifname\":\"many1\",\"queues\":2,"
            + "\"script\":\"no\",\"downscript\":\"no\"}");
    for (String device :
        List.of(
            "scsi-hd\",\"id\":\"hd2\",\"bus\":\"scsi0.0\",\"drive\":\"more",
            "virtserialport\",\"id\":\"port1\",\"bus\":\"vs0.0\",\"chardev\":\"c1",
            "usb-tablet\",\"id\":\"tab",
            "virtio-blk-pci\",\"id\":\"blk1\",\"bus\":\"rp0\",\"iothread\":\"io0\",\"drive\":\"late0",
            "virtio-rng-pci\",\"id\":\"rng1\",\"bus\":\"rp1\",\"rng\":\"rng0",
            "virtio-balloon-pci\",\"id\":\"bal1\",\"bus\":\"rp2",
            "virtio-net-pci\",\"id\":\"card1\",\"bus\":\"rp3\",\"mq\":true,\"netdev\":\"n1",
            "virtio-scsi-pci\",\"id\":\"scsi1\",\"bus\":\"rp4",
            "scsi-cd\",\"id\":\"cd1\",\"bus\":\"scsi1.0",
            "qemu64-x86_64-cpu\",\"id\":\"cpu1\",\"socket-id\":0,\"core-id\":1,\"thread-id\":0}")) {
      boolean isWhole = device.endsWith("}");
      own.say("device_add", "{\"driver\":\"" + device + (isWhole ? "" : "\"}"));
    }
  }

  private OwnQemu small(List<String> prefix) throws IOException {
    List<String> line =
        new ArrayList<>(
            List.of(
                "-machine",
                "pc-q35-7.2,accel=tcg,memory-backend=m",
                "-cpu",
                "qemu64",
                "-smp",
                "1,sockets=1,cores=2,maxcpus=2",
                "-m",
                "64",
                "-object",
                "memory-backend-memfd,id=m,size=64M,share=on",
                "-kernel",
                Workshop.images().tick().toString(),
                "-device",
                "virtio-scsi-pci,id=scsi0",
                "-device",
                "virtio-serial-pci,id=vs0",
                "-device",
                "qemu-xhci,id=xhci"));
    for (int i = 0; i < 5; i++) {
      line.addAll(List.of("-device", "pcie-root-port,id=rp" + i + ",chassis=" + (i + 1)));
    }
    line.addAll(
        List.of(
            "-add-fd",
            "fd=9,set=2",
            "-blockdev",
            "driver=raw,node-name=gone0,file.driver=file,file.filename=gone.img",
            "-device",
            "scsi-hd,id=gone,drive=gone0",
            "-blockdev",
            "driver=raw,node-name=base,file.driver=file,file.filename="
                + workspace.state().resolve("base.img"),
            "-device",
            "scsi-hd,id=hd1,drive=base",
            "-blockdev",
            "driver=file,node-name=iso,filename=a.iso,read-only=on",
            "-device",
            "scsi-cd,id=cd,drive=iso"));
    List<String> passing = new ArrayList<>(prefix);
    passing.addAll(List.of("/bin/sh", "-c", "exec 9<>late.img; exec \"$@\"", "sh"));
    return OwnQemu.start(OLD, workspace.state(), passing, line.toArray(String[]::new));
  }

  private OwnQemu start() throws IOException {
    GuestImages images = Workshop.images();
    return OwnQemu.start(
        OLD,
        workspace.state(),
        List.of(),
        "-machine",
        "pc-q35-7.2,accel=tcg,memory-backend=m",
        "-cpu",
        "qemu64",
        "-m",
        "256",
        "-object",
        "memory-backend-memfd,id=m,size=256M,share=on",
        "-kernel",
        images.kernel().toString(),
        "-initrd",
        images.initrd().toString(),
        "-append",
        "console=ttyS0 quiet panic=-1 cryptomgr.notests hf.period=2000",
        "-chardev",
        "socket,id=ser0,path=own.con,server=on,wait=off,logfile=own-console.log",
        "-serial",
        "chardev:ser0",
        "-device",
        "pcie-root-port,id=rp0,chassis=1",
        "-device",
        "pcie-root-port,id=rp1,chassis=2",
        "-device",
        "pcie-root-port,id=rp2,chassis=3",
        "-drive",
        "file=gone.img,if=none,id=d0,format=raw",
        "-device",
        "virtio-blk-pci,id=gone,drive=d0,bus=rp0",
        "-drive",
        "file=a.iso,if=none,id=d1,format=raw,media=cdrom",
        "-device",
        "ide-cd,id=cd,drive=d1");
  }

  /// An image of noise.
  ///
  /// @return the sum of what the guest does not write to
  private String image(String name, int bytes) throws Exception {
    byte[] content = new byte[bytes];
    new Random(name.hashCode()).nextBytes(content);
    Files.write(workspace.state().resolve(name), content);
    MessageDigest sum = MessageDigest.getInstance("MD5");
    sum.update(content, 0, Math.max(0, bytes - 4096));
    return HexFormat.of().formatHex(sum.digest());
  }
}
