package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Accelerator;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Command lines as people and programs write them, and as nobody should.
class ForeignCommandLineTest {
  private static final Path FOLDER = Path.of("/srv/vm");
  private static final Path FILES = Path.of("/var/lib/hyperfresh/guests/web1");
  private static final long SEED = 20_260_101;
  private static final int RANDOM_LINES = 5000;

  private static final List<String> BASE =
      List.of(
          "-nodefaults",
          "-display",
          "none",
          "-machine",
          "q35,accel=kvm:tcg,memory-backend=ram",
          "-m",
          "512",
          "-object",
          "memory-backend-memfd,id=ram,size=512M,share=on");

  private static final MachineIdentity IDENTITY =
      new MachineIdentity(Map.of(), List.of(), List.of(), "", Map.of());

  private static LiveMachine live(Set<String> devices, int nameless, List<String> files) {
    return live("7.2.22", devices, nameless, files);
  }

  private static LiveMachine live(
      String version, Set<String> devices, int nameless, List<String> files) {
    return new LiveMachine(
        version,
        "pc-q35-7.2",
        "qemu64",
        Accelerator.TCG,
        1,
        512L << 20,
        files.stream().map(file -> new LiveMachine.Image(file, "qcow2", false)).toList(),
        new TreeSet<>(files),
        devices,
        nameless,
        IDENTITY,
        List.of(),
        List.of());
  }

  private static ForeignCommandLine read(LiveMachine live, String... more) {
    List<String> arguments = new ArrayList<>(BASE);
    arguments.addAll(List.of(more));
    return new ForeignCommandLine(arguments, FOLDER, FILES, "web1", live);
  }

  private static ForeignCommandLine read(String... more) {
    return read(live(Set.of(), 0, List.of()), more);
  }

  private static String joined(ForeignCommandLine line) {
    assertThat(line.reasons()).isEmpty();
    return String.join(" ", line.words());
  }

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
    ForeignCommandLine read = new ForeignCommandLine(line, FOLDER, FILES, "web1", live);
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
          assertThat(card.descriptor()).contains(30);
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
    ForeignCommandLine read =
        new ForeignCommandLine(line, FOLDER, FILES, "web1", live(Set.of(), 0, List.of()));
    assertThat(String.join("\n", read.reasons()))
        .contains("-id: this option is not known")
        .contains("-chardev socket,id=qga0")
        .contains("-device virtio-serial")
        .contains("-vnc")
        .contains("-cpu host")
        .contains("rbd:pool")
        .contains("vhost=off")
        .contains("private")
        .doesNotContain("id=qmp");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          -readconfig /etc/vm.cfg                          | may have changed
          -snapshot                                        | no name
          -mem-path /dev/shm                               | private
          -vnc :1                                          | listen
          -display gtk                                     | -display none
          -device vfio-pci,host=01:00.0                    | not one that is known to move
          -device nvme,drive=x                             | not one that is known to move
          -device virtio-net-pci,netdev=n,failover=on      | stand-by
          -netdev user,id=n                                | only taps
          -netdev tap,id=n,fds=3:4                         | fds
          -netdev tap,id=n,fd=3,queues=2                   | several queues
          -drive file=a,snapshot=on                        | snapshot
          -drive file=nbd:host:1                           | local files
          -drive file=/dev/fdset/1                         | local files
          -drive file=json:{}                              | local files
          -drive if=none,driver=nbd,host=x                 | not known here: host
          -blockdev driver=nbd,node-name=n                 | block driver
          -blockdev {"driver":"qcow2","file":{"driver":"https","url":"x"}} | block driver
          -object memory-backend-file,id=r2,share=on,mem-path=/x,discard-data=on | empty the memory
          -object memory-backend-ram,id=r3,size=1G         | private
          -object tls-creds-x509,id=t                      | objects of this type
          -chardev socket,id=c,path=/x,server=on           | other end
          -chardev socket,id=c,host=h,port=1               | other end
          -chardev null,id=hf-qmp                          | HyperFresh's own
          -fsdev local,id=f                                | shared folders
          -machine confidential-guest-support=x            | not known here
          -hdz x                                           | not known here
          -append                                          | value is missing
          -netdev tap,id=n,fd=99999999999                  | not a number
          -device {"driver                                 | not JSON
          """)
  void whatIsNotKnownToMoveIsRefusedByName(String words, String reason) {
    ForeignCommandLine read = read(words.strip().split(" ", 2));
    assertThat(String.join("\n", read.reasons())).contains(reason.strip());
  }

  @Test
  void privateMemoryInEveryShapeIsRefused() {
    for (String memory :
        List.of(
            "memory-backend-file,id=ram,size=512M,mem-path=/x",
            "memory-backend-file,id=ram,size=512M,mem-path=/x,share=on,share=off",
            "memory-backend-memfd,id=ram,size=512M,share=off",
            "memory-backend-ram,id=ram,size=512M,share=on",
            "{\"qom-type\":\"memory-backend-file\",\"id\":\"ram\",\"share\":false}")) {
      List<String> line = new ArrayList<>(BASE);
      line.set(BASE.size() - 1, memory);
      ForeignCommandLine read =
          new ForeignCommandLine(line, FOLDER, FILES, "web1", live(Set.of(), 0, List.of()));
      assertThat(String.join("\n", read.reasons())).as(memory).contains("private");
    }
  }

  @Test
  void aMemFdMovesOnlyBelowQemu81() {
    for (String old : List.of("7.2.22", "8.0.5")) {
      assertThat(read(live(old, Set.of(), 0, List.of())).reasons()).as(old).isEmpty();
    }
    for (String late : List.of("8.1.0", "9.2.4", "10.0.2")) {
      assertThat(read(live(late, Set.of(), 0, List.of())).reasons())
          .as(late)
          .singleElement()
          .asString()
          .contains("8.1");
    }
  }

  @Test
  void imagesAndDevicesMustStillBeThoseOfTheLine() {
    LiveMachine snapshot = live(Set.of(), 1, List.of("/img/overlay.qcow2", "/img/base.qcow2"));
    assertThat(read(snapshot, "-drive", "file=/img/base.qcow2,if=virtio").reasons())
        .singleElement()
        .asString()
        .contains("/img/overlay.qcow2");
    LiveMachine ejected = live(Set.of(), 0, List.of());
    assertThat(read(ejected, "-cdrom", "/img/a.iso").reasons())
        .anyMatch(reason -> reason.contains("does not use /img/a.iso"));
    assertThat(read(live(Set.of("late"), 0, List.of())).reasons())
        .singleElement()
        .asString()
        .contains("plugged since: late");
  }

  @Test
  void nographicBecomesOurConsole() {
    List<String> line = new ArrayList<>(BASE.subList(3, BASE.size()));
    line.addAll(List.of("-nographic", "-nic", "none"));
    ForeignCommandLine read =
        new ForeignCommandLine(line, FOLDER, FILES, "web1", live(Set.of(), 0, List.of()));
    assertThat(joined(read)).contains("-display none", "-serial chardev:hf-console");
  }

  @Test
  void aFileIsAppendedToAndAFirstSerialInAFileStaysThere() {
    assertThat(joined(read("-chardev", "file,id=log,path=dbg.log")))
        .contains("-chardev file,id=log,path=/srv/vm/dbg.log,append=on");
    assertThat(joined(read("-serial", "file:con.log")))
        .contains("fd=12,server=on,wait=off,logfile=/srv/vm/con.log,logappend=on");
  }

  /// Whatever comes, the answer is a list of reasons or arguments that hold nothing of what must
  /// not be there twice.
  @Test
  void randomLinesNeverBreakItAndNeverSlipThrough() {
    Random random = new Random(SEED);
    List<String> pool = pool();
    int accepted = 0;
    for (int i = 0; i < RANDOM_LINES; i++) {
      List<String> line = new ArrayList<>(random.nextBoolean() ? BASE : List.of());
      int count = random.nextInt(6);
      for (int j = 0; j < count; j++) {
        String word = pool.get(random.nextInt(pool.size()));
        line.add(random.nextInt(3) == 0 ? mutated(word, random) : word);
      }
      ForeignCommandLine read =
          new ForeignCommandLine(line, FOLDER, FILES, "web1", live(Set.of(), 0, List.of()));
      if (read.reasons().isEmpty()) {
        accepted++;
        List<String> words = read.words();
        List<String> options = options(words);
        assertThat(options).as("%s", line).doesNotContain("-incoming", "-S", "-daemonize", "-qmp");
        assertThat(options.stream().filter("-sandbox"::equals)).hasSize(1);
        assertThat(values("-object", words).filter(w -> w.contains("mem-path=")))
            .as("%s", line)
            .singleElement()
            .asString()
            .contains("mem-path=/proc/self/fd/10,share=on");
        assertThat(values("-chardev", words).filter(w -> w.contains("fd=11"))).hasSize(1);
      }
    }
    System.out.println("  " + accepted + " of " + RANDOM_LINES + " random lines were accepted");
    assertThat(accepted).isBetween(1, RANDOM_LINES / 2);
  }

  /// The words that QEMU takes as options, and not as the values of such.
  private static List<String> options(List<String> words) {
    List<String> options = new ArrayList<>();
    for (int i = 0; i < words.size(); i++) {
      ForeignOption option = Objects.requireNonNull(ForeignOption.of(words.get(i)), words.get(i));
      options.add(words.get(i));
      i += option.hasValue() ? 1 : 0;
    }
    return options;
  }

  private static Stream<String> values(String option, List<String> words) {
    List<String> values = new ArrayList<>();
    for (int i = 0; i + 1 < words.size(); i++) {
      if (words.get(i).equals(option)) {
        values.add(words.get(i + 1));
      }
    }
    return values.stream();
  }

  private static List<String> pool() {
    List<String> pool = new ArrayList<>();
    for (ForeignOption option : ForeignOption.values()) {
      pool.add(option.word());
    }
    pool.addAll(
        List.of(
            "none",
            "null",
            "stdio",
            "mon:stdio",
            "chardev:c",
            "socket,id=c,path=/x,server=on",
            "tap,id=n,fd=5",
            "virtio-net-pci,netdev=n",
            "qom-type=iothread,id=i",
            "file=/x,if=virtio",
            "{\"driver\":\"file\",\"filename\":\"/x\",\"node-name\":\"a\"}",
            "memory-backend-memfd,id=ram,size=1G",
            "q35",
            "share=on",
            "",
            ",",
            ",,",
            "=",
            "{}",
            "[]",
            "{\"a\":",
            "a=b,,c=d"));
    return pool;
  }

  private static String mutated(String word, Random random) {
    StringBuilder text = new StringBuilder(word);
    for (int i = random.nextInt(4); i >= 0; i--) {
      int at = random.nextInt(text.length() + 1);
      text.insert(
          at,
          (char)
              (random.nextBoolean()
                  ? ",={}\"\0\n-".charAt(random.nextInt(8))
                  : random.nextInt(0x3000)));
    }
    return text.toString();
  }

  @Test
  void longLinesAreBounded() {
    List<String> many = new ArrayList<>();
    for (int i = 0; i <= ForeignCommandLine.MAX_ARGUMENTS; i++) {
      many.add("-usb");
    }
    assertThat(
            new ForeignCommandLine(many, FOLDER, FILES, "web1", live(Set.of(), 0, List.of()))
                .reasons())
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

  @Test
  void whatIsNotAsBeforeIsSaid() {
    ForeignCommandLine line =
        read("-chardev", "ringbuf,id=log", "-chardev", "pty,id=term", "-serial", "pty");
    assertThat(line.reasons()).isEmpty();
    assertThat(line.remarks())
        .satisfiesExactly(
            log -> assertThat(log).contains("ring buffer log (ringbuf) begins empty"),
            term -> assertThat(term).contains("terminal term (pty) gets another name"),
            serial -> assertThat(serial).contains("serial terminal (pty)"));
    assertThat(read("-chardev", "null,id=n").remarks()).isEmpty();
  }

  private static LiveMachine with(MachineIdentity.Device... nameless) {
    LiveMachine live = live(Set.of(), nameless.length, List.of());
    return new LiveMachine(
        live.version(),
        live.machine(),
        live.defaultCpu(),
        live.accelerator(),
        live.vcpus(),
        live.memoryBytes(),
        live.images(),
        live.files(),
        live.devices(),
        live.namelessDevices(),
        new MachineIdentity(Map.of(), List.of(nameless), List.of(), "", Map.of()),
        List.of(),
        List.of());
  }

  @Test
  void whatQemuMadeUpIsWrittenDown() {
    var generation = new MachineIdentity.Device("vmgenid", Map.of("guid", "a11e"));
    var card = new MachineIdentity.Device("e1000", Map.of("mac", "52:54:00:12:34:56"));
    assertThat(
            joined(
                read(
                    with(generation, card),
                    "-device",
                    "{\"driver\":\"e1000\",\"addr\":\"4\",\"x\":{\"y\":1}}",
                    "-device",
                    "vmgenid,guid=auto")))
        .contains("-device driver=vmgenid,guid=a11e")
        .contains("{\"driver\":\"e1000\",\"addr\":\"4\",\"x\":{\"y\":1},")
        .contains("\"mac\":\"52:54:00:12:34:56\"}");
    // What it was told is kept as it was written.
    assertThat(joined(read(with(card), "-device", "e1000,mac=52:54:00:12:34:56,addr=4")))
        .contains("-device e1000,mac=52:54:00:12:34:56,addr=4");
    for (String device : List.of("vmgenid", "vmgenid,guid=auto", "e1000")) {
      assertThat(read(live(Set.of(), 1, List.of()), "-device", device).reasons())
          .as(device)
          .singleElement()
          .asString()
          .contains("QEMU made up its");
    }
  }

  @Test
  void theFileOfABootRomIsRefusedWhereverItIsGiven() {
    for (String global :
        List.of("e1000.romfile=/x.rom", "driver=e1000,property=romfile,value=/x.rom")) {
      assertThat(read("-global", global).reasons())
          .as(global)
          .singleElement()
          .asString()
          .contains("boot ROM");
    }
    assertThat(
            joined(read("-global", "e1000.romfile=", "-global", "kvm-pit.lost_tick_policy=slew")))
        .contains("-global e1000.romfile= -global kvm-pit");
  }

  /// The page lists what the code does; with `-Dhyperfresh.docs.write=true` it is written.
  @Test
  void thePageIsTheTable() throws IOException {
    StringBuilder table = new StringBuilder("| Option | Becomes | |\n|---|---|---|\n");
    Stream.of(ForeignOption.values())
        .forEach(option ->
            table
                .append("| `")
                .append(option.word())
                .append("` | ")
                .append(option.fate().name().toLowerCase(java.util.Locale.ROOT))
                .append(" | ")
                .append(option.remark())
                .append(" |\n"));
    table.append("\nDevices: ");
    table.append(
        String.join(
            ", ",
            new TreeSet<>(ForeignDevices.DEVICES).stream().map(d -> "`" + d + "`").toList()));
    table.append(".\n");
    Path page = Path.of("..", "docs", "ADOPT.md");
    String text = Files.readString(page);
    String mark = "<!-- the table -->\n";
    String wanted = text.substring(0, text.indexOf(mark) + mark.length()) + table;
    if (Boolean.getBoolean("hyperfresh.docs.write")) {
      Files.writeString(page, wanted);
    }
    assertThat(Files.readString(page)).isEqualTo(wanted);
  }
}
