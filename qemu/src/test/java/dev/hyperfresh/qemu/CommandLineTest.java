package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.Firmware;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.MemoryLayout;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.linux.MemFd;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

class CommandLineTest {
  private static final String BINARY = "/opt/a/bin/qemu-system-x86_64";

  @TempDir Path folder;
  private final MemFd memory = MemFd.create("command-line-test", 64L << 20);
  private Path files;

  @BeforeEach
  void pin() throws Exception {
    files = Files.createDirectory(folder.resolve("web,1"));
    Files.writeString(files.resolve(Qemu.PINNED_KERNEL), "k");
    Files.writeString(files.resolve(Qemu.PINNED_INITRD), "i");
    TestImages.qcow2(folder.resolve("a,b \"c\".qcow2"), "base", "qcow2");
    TestImages.qcow2(folder.resolve("base"), "", "");
    Files.writeString(folder.resolve("data,driver=nbd"), "d");
    Files.writeString(folder.resolve("d"), "d");
  }

  @AfterEach
  void close() {
    memory.close();
  }

  @Test
  void aRichSpecIsExactlyThis() {
    List<String> line = CommandLine.of(launch(rich(), 1), release("7.2.22", BINARY), false);

    List<String> disks = line.stream().filter(argument -> argument.startsWith("{")).toList();
    assertThat(replaced(line, disks))
        .containsExactly(
            BINARY,
            "-L",
            "/opt/a/share",
            "-name",
            "guest=web1,debug-threads=on",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-sandbox",
            "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
            "-msg",
            "timestamp=on",
            "-trace",
            "enable=runstate_set",
            "-trace",
            "enable=qio_channel_socket_new",
            "-machine",
            "pc-q35-7.2,memory-backend=ram",
            "-accel",
            "tcg",
            "-cpu",
            "qemu64,+svm",
            "-smp",
            "4",
            "-m",
            "64M",
            "-object",
            "memory-backend-file,id=ram,size=64M,mem-path=/proc/self/fd/10,share=on",
            "-chardev",
            "socket,id=qmp,fd=11,server=on,wait=off",
            "-mon",
            "chardev=qmp,mode=control",
            "-add-fd",
            "fd=21,set=21",
            "-chardev",
            "socket,id=console,fd=12,server=on,wait=off,logfile=/dev/fdset/21,logappend=on",
            "-serial",
            "chardev:console",
            "-kernel",
            "/proc/self/fd/22",
            "-initrd",
            "/proc/self/fd/23",
            "-append",
            "console=ttyS0 root=/dev/vda,ro",
            "-add-fd",
            "fd=24,set=24",
            "-add-fd",
            "fd=25,set=25",
            "-blockdev",
            "DISK",
            "-device",
            "virtio-blk-pci,id=blk0,drive=disk0",
            "-add-fd",
            "fd=26,set=26",
            "-blockdev",
            "DISK",
            "-device",
            "virtio-blk-pci,id=blk1,drive=disk1",
            "-netdev",
            "tap,fd=13,id=net0",
            "-device",
            "virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:00:00:01,romfile=",
            "-netdev",
            "tap,fd=14,id=net1",
            "-device",
            "virtio-net-pci,id=nic1,netdev=net1,mac=52:54:00:00:00:02,romfile=");
    JsonNode upper = QmpMessage.JSON.readTree(disks.get(0));
    assertDisk(upper, "qcow2", "disk0", false, "/dev/fdset/24");
    assertDisk(upper.path("backing"), "qcow2", "", true, "/dev/fdset/25");
    // An image that stands on nothing is not asked whether it has come to think otherwise.
    assertThat(upper.path("backing").path("backing").isNull()).isTrue();
    assertDisk(QmpMessage.JSON.readTree(disks.get(1)), "raw", "disk1", true, "/dev/fdset/26");
  }

  @Test
  void aWaitingInstanceDiffersInOneOption() {
    QemuRelease release = release("7.2.22", BINARY);
    List<String> expected = new ArrayList<>(CommandLine.of(launch(rich(), 1), release, false));
    expected.addAll(List.of("-incoming", "defer"));

    assertThat(withoutDisks(CommandLine.of(launch(rich(), 1), release, true)))
        .isEqualTo(withoutDisks(expected));
  }

  @Test
  void aRehearsalHasTheSameDevicesAndNothingOfTheGuestsBehindThem() {
    QemuRelease release = release("7.2.22", BINARY);
    var backends = new Backends.OfRehearsal(List.of(1L << 30, 512L), Optional.empty(), true);
    List<String> real = CommandLine.of(launch(rich(), 1), release, true);
    List<String> line = CommandLine.ofRehearsal(launch(rich(), 0), release, true, backends);

    assertThat(devices(line)).isEqualTo(devices(real));
    assertThat(line).contains("-S", "guest=web1-rehearsal,debug-threads=on");
    assertThat(String.join(" ", line))
        .doesNotContain("/images", "console.log", "server=on", "\"file\"");
    List<String> disks = line.stream().filter(argument -> argument.startsWith("{")).toList();
    assertStandIn(disks.get(0), "disk0", false, 1L << 30);
    assertStandIn(disks.get(1), "disk1", true, 512);
    assertThat(line).contains("tap,fd=13,id=net0", "tap,fd=14,id=net1");
  }

  @Test
  void aRehearsalWithoutTapsHasEachCardOnAHubOfItsOwn() {
    var backends = new Backends.OfRehearsal(List.of(1L, 1L), Optional.empty(), false);

    assertThat(
            CommandLine.ofRehearsal(launch(rich(), 0), release("7.2.22", BINARY), false, backends))
        .contains("hubport,hubid=13,id=net0", "hubport,hubid=14,id=net1")
        .noneMatch(argument -> argument.startsWith("tap"));
  }

  @Test
  void anAgentHasAPortInTheTwinToo() {
    GuestSpec spec =
        new GuestSpec(
            "web1",
            1,
            64L << 20,
            "pc-q35-7.2",
            "qemu64",
            AcceleratorWish.TCG,
            rich().boot(),
            List.of(),
            List.of(),
            true,
            GuestSpec.ClockPolicy.KEEP);
    QemuRelease release = release("7.2.22", BINARY);
    List<String> real = CommandLine.of(launch(spec, 1), release, true);
    List<String> twin =
        CommandLine.ofRehearsal(
            launch(spec, 0),
            release,
            true,
            new Backends.OfRehearsal(List.of(), Optional.empty(), false));

    assertThat(devices(twin)).isEqualTo(devices(real));
    assertThat(real)
        .contains(
            "socket,id=agent,fd=9,server=on,wait=off",
            "virtserialport,bus=ports.0,nr=1,chardev=agent,name=org.qemu.guest_agent.0");
    assertThat(twin).contains("null,id=agent");
  }

  @Test
  void aGuestThatIsToEndAtAResetIsNotResetByAnyInstance() {
    QemuRelease release = release("7.2.22", BINARY);
    GuestSpec spec = rich().ending(new EndPolicy(Then.STOP, Then.STOP, Then.STOP));

    assertThat(CommandLine.of(launch(rich(), 2), release, false)).doesNotContain("-no-reboot");
    for (boolean waiting : new boolean[] {false, true}) {
      assertThat(CommandLine.of(launch(spec, 2), release, waiting)).contains("-no-reboot");
    }
  }

  /// All that decides what the guest's machine is.
  private static List<String> devices(List<String> line) {
    List<String> devices = new ArrayList<>();
    for (int i = 0; i < line.size(); i++) {
      if (List.of("-machine", "-accel", "-cpu", "-smp", "-m", "-object", "-device", "-serial")
          .contains(line.get(i))) {
        devices.addAll(line.subList(i, i + 2));
      }
    }
    return devices;
  }

  private static void assertStandIn(String json, String node, boolean readOnly, long bytes) {
    JsonNode disk = QmpMessage.JSON.readTree(json);
    assertThat(disk.path("driver").asString()).isEqualTo("null-co");
    assertThat(disk.path("node-name").asString()).isEqualTo(node);
    assertThat(disk.path("read-only").asBoolean()).isEqualTo(readOnly);
    assertThat(disk.path("size").asLong()).isEqualTo(bytes);
    assertThat(disk.size()).isEqualTo(4);
  }

  @Test
  void releasesAndGenerationsDifferInTheBinaryAndItsOwnArgumentsOnly() {
    QemuRelease old = release("7.2.22", BINARY);
    QemuRelease next = release("10.0.2", "/opt/b/bin/qemu-system-x86_64");
    List<String> first = CommandLine.of(launch(rich(), 1), old, true);
    List<String> second = CommandLine.of(launch(rich(), 2), next, true);

    assertThat(second).startsWith(next.binary().toString(), "-L", "/opt/b/share");
    assertThat(withoutDisks(second.subList(3, second.size())))
        .isEqualTo(withoutDisks(first.subList(3, first.size())));
  }

  @Test
  void aGuestWithoutKernelAndCardsHasNoneOfTheirOptions() {
    GuestSpec spec =
        spec(
            Optional.empty(),
            List.of(new Disk(folder.resolve("d"), Disk.Format.RAW, false)),
            List.of());

    List<String> line = CommandLine.of(launch(spec, 1), release("7.2.22", BINARY), false);

    assertThat(line).doesNotContain("-kernel", "-initrd", "-append", "-netdev", "-incoming");
    assertThat(line).contains("-blockdev");
  }

  @Test
  void aKernelWithoutAnInitrdGetsNoneEvenWhenAnEarlierGuestLeftOneBehind() {
    GuestSpec spec =
        spec(
            Optional.of(new KernelBoot(Path.of("/boot/k"), Optional.empty(), "quiet")),
            List.of(),
            List.of());

    assertThat(CommandLine.of(launch(spec, 1), release("7.2.22", BINARY), false))
        .contains("-kernel")
        .doesNotContain("-initrd");
  }

  private static void assertDisk(
      JsonNode disk, String driver, String node, boolean readOnly, String path) {
    assertThat(disk.path("driver").asString()).isEqualTo(driver);
    assertThat(disk.path("node-name").asString("")).isEqualTo(node);
    assertThat(disk.path("read-only").asBoolean()).isEqualTo(readOnly);
    assertThat(disk.path("file").path("driver").asString()).isEqualTo("file");
    assertThat(disk.path("file").path("filename").asString()).isEqualTo(path);
    assertThat(disk.path("file").path("locking").asString()).isEqualTo("on");
  }

  private static List<String> replaced(List<String> line, List<String> disks) {
    return line.stream().map(argument -> disks.contains(argument) ? "DISK" : argument).toList();
  }

  /// The members of a JSON object have no order, so disks are compared as trees.
  private static List<Object> withoutDisks(List<String> line) {
    return line.stream()
        .map(argument ->
            argument.startsWith("{") ? (Object) QmpMessage.JSON.readTree(argument) : argument)
        .toList();
  }

  private GuestSpec rich() {
    return spec(
        Optional.of(
            new KernelBoot(
                Path.of("/boot/k"),
                Optional.of(Path.of("/boot/i")),
                "console=ttyS0 root=/dev/vda,ro")),
        List.of(
            new Disk(folder.resolve("a,b \"c\".qcow2"), Disk.Format.QCOW2, false),
            new Disk(folder.resolve("data,driver=nbd"), Disk.Format.RAW, true)),
        List.of(
            new Nic("tap0", Optional.empty(), "52:54:00:00:00:01"),
            new Nic("tap1", Optional.of("br0"), "52:54:00:00:00:02")));
  }

  private static GuestSpec spec(Optional<KernelBoot> boot, List<Disk> disks, List<Nic> nics) {
    return new GuestSpec(
        "web1", 4, 64L << 20, "pc-q35-7.2", "qemu64,+svm", AcceleratorWish.AUTO, boot, disks, nics);
  }

  @Test
  void uefiIsFlashMemoryOfTheGuestsOwn() throws Exception {
    GuestSpec spec = rich().booting(new Firmware(Firmware.Kind.UEFI_SECURE, true));
    Files.writeString(files.resolve("uefi-secure-code.fd"), "code");
    Files.writeString(files.resolve("uefi-secure-variables.fd"), "variables");
    QemuRelease release = release("7.2.22", BINARY);
    List<String> line = CommandLine.of(launch(spec, 1), release, false);

    assertThat(line)
        .containsSequence(
            "-machine",
            "pc-q35-7.2,memory-backend=ram,pflash0=firmware-code,pflash1=firmware-variables,smm=on",
            "-add-fd",
            "fd=5,set=5",
            "-blockdev")
        .containsSequence("-global", "driver=cfi.pflash01,property=secure,value=on")
        .containsSequence(
            "-chardev",
            "socket,id=tpm,fd=8",
            "-tpmdev",
            "emulator,id=tpm0,chardev=tpm",
            "-device",
            "tpm-tis,tpmdev=tpm0");
    List<String> flash = line.stream().filter(a -> a.contains("\"firmware-")).toList();
    assertDisk(
        QmpMessage.JSON.readTree(flash.get(0)), "raw", "firmware-code", true, "/dev/fdset/5");
    assertDisk(
        QmpMessage.JSON.readTree(flash.get(1)), "raw", "firmware-variables", false, "/dev/fdset/6");

    Launch twin = launch(spec, 0);
    var backends = new Backends.OfRehearsal(List.of(1L, 1L), UefiFiles.of(twin), false);
    List<String> rehearsal = CommandLine.ofRehearsal(twin, release, true, backends);
    assertThat(devices(rehearsal)).isEqualTo(devices(line));
    List<String> standIns = rehearsal.stream().filter(a -> a.contains("\"firmware-")).toList();
    assertStandIn(standIns.get(0), "firmware-code", true, 4);
    assertStandIn(standIns.get(1), "firmware-variables", false, 9);
  }

  @Test
  void eachNodeHasAMemoryOfItsOwn() {
    GuestSpec spec =
        rich()
            .madeOf(
                new MemoryLayout(
                    OptionalLong.of(2L << 20),
                    List.of(
                        new MemoryLayout.Node(48L << 20, List.of(0, 1, 3), List.of(0, 1)),
                        new MemoryLayout.Node(16L << 20, List.of(2), List.of()))));
    List<String> line = CommandLine.of(launch(spec, 1), release("7.2.22", BINARY), false);

    assertThat(spec.faults()).isEmpty();
    assertThat(line)
        .containsSequence("-machine", "pc-q35-7.2", "-accel")
        .containsSequence(
            "-m",
            "64M",
            "-object",
            "memory-backend-file,id=ram0,size=48M,mem-path=/proc/self/fd/10,share=on,policy=bind,"
                + "host-nodes=0,host-nodes=1,prealloc=on,prealloc-threads=4",
            "-numa",
            "node,nodeid=0,memdev=ram0,cpus=0,cpus=1,cpus=3",
            "-object",
            "memory-backend-file,id=ram1,size=16M,mem-path=/proc/self/fd/500,share=on",
            "-numa",
            "node,nodeid=1,memdev=ram1,cpus=2",
            "-chardev");
    assertThat(CommandLine.of(launch(spec, 2), release("7.2.22", BINARY), true))
        .as("its memory is there already")
        .noneMatch(word -> word.contains("prealloc"));
  }

  /// They would be missing where it is bound to when the guest touches them.
  @Test
  void hugePagesOfAnAdoptedGuestAreThereWhenItBoots() {
    String first = "memory-backend-file,id=a,mem-path=/proc/self/fd/10,share=on";
    String bound = "memory-backend-file,id=b,mem-path=/proc/self/fd/500,share=on,policy=bind";
    MemoryPart huge = new MemoryPart(4L << 20, OptionalLong.of(2L << 20));
    AdoptedWords words =
        new AdoptedWords(List.of("-object", first, "-object", bound, "-m", "8", "-S"));

    assertThat(words.filled(List.of(huge, huge), 2).words())
        .containsExactly(
            "-object",
            first,
            "-object",
            bound + ",prealloc=on,prealloc-threads=2",
            "-m",
            "8",
            "-S");
    assertThat(words.filled(List.of(huge, MemoryPart.ordinary(4L << 20)), 2)).isEqualTo(words);
    AdoptedWords unreserved = new AdoptedWords(List.of("-object", bound + ",reserve=off"));
    assertThat(unreserved.filled(List.of(huge, huge), 2)).isEqualTo(unreserved);
  }

  /// Its addresses may be another process's by now, whichever way it starts.
  @Test
  void noInstanceOfAnAdoptedGuestStartsWithAddresses() {
    Launch plain = launch(rich(), 2);
    AdoptedMachine machine =
        new AdoptedMachine(
            List.of("-vnc", "vnc=:7", "-cpu", "base,avx2=on,enforce=on"),
            folder.resolve("q"),
            Optional.empty(),
            List.of(new AdoptedMachine.Memory(3, MemoryPart.ordinary(64L << 20))),
            List.of());
    Launch launch =
        new Launch(
            plain.spec(),
            plain.release(),
            plain.accelerator(),
            plain.memory(),
            List.of(),
            files,
            folder,
            2,
            Confinement.NONE,
            _ -> {},
            Optional.of(machine));
    QemuRelease release = release("7.2.22", BINARY);
    assertThat(CommandLine.of(launch, release, false))
        .containsSequence("-vnc", "vnc=none", "-cpu", "base,avx2=on");
    assertThat(CommandLine.of(launch, release, true))
        .containsSequence("-vnc", "vnc=none", "-cpu", "base,avx2=on,enforce=on");
  }

  private Launch launch(GuestSpec spec, int generation) {
    return new Launch(
        spec,
        release("7.2.22", BINARY),
        Accelerator.TCG,
        memory,
        List.of(),
        files,
        folder,
        generation,
        _ -> {});
  }

  private static QemuRelease release(String version, String binary) {
    Path home = Path.of(binary).getRoot().resolve(Path.of(binary).subpath(0, 2));
    return new QemuRelease(
        "qemu-" + version,
        version,
        Path.of(binary),
        List.of("-L", home + "/share"),
        List.of(),
        "0",
        Set.of("pc-q35-7.2"),
        Set.of("qemu64"),
        Set.of(),
        "a test");
  }
}
