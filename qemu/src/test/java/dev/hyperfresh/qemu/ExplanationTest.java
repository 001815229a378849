package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.Explanation.Verdict.CANNOT;
import static dev.hyperfresh.qemu.Explanation.Verdict.MOVES;
import static dev.hyperfresh.qemu.Explanation.Verdict.REMARK;
import static dev.hyperfresh.qemu.Explanation.Verdict.UNKNOWN;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.Explanation.Piece;
import dev.hyperfresh.qemu.Explanation.Verdict;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Command lines that are explained without a running QEMU.
class ExplanationTest {
  /// A line of which every piece moves.
  private static final List<String> MOVING =
      List.of(
          "-name",
          "guest=db1",
          "-machine",
          "pc-q35-7.2,memory-backend=m",
          "-accel",
          "kvm",
          "-cpu",
          "EPYC",
          "-m",
          "256",
          "-object",
          "memory-backend-file,id=m,size=256M,mem-path=/dev/shm/db1,share=on",
          "-nodefaults",
          "-display",
          "none",
          "-device",
          "virtio-rng-pci",
          "-device",
          "virtio-rng-pci",
          "-drive",
          "file=/img/db1.raw,if=virtio,format=raw");

  private static final QemuModels TARGET =
      new QemuModels(
          "qemu-10.0.2",
          Set.of("pc", "q35", "pc-q35-7.2", "pc-q35-10.0"),
          Set.of("virtio-rng-pci", "virtio-balloon-pci"),
          false);

  @TempDir Path folder = Path.of("");

  @Test
  void aLineMovesPieceByPiece() {
    Explanation explanation = explain();

    assertThat(explanation.verdict()).isEqualTo(MOVES);
    assertThat(explanation.copyNeeded()).isFalse();
    assertThat(explanation.pieces())
        .hasSize(11)
        .allMatch(piece -> piece.verdict() == MOVES && piece.reason().isEmpty());
    assertThat(explanation.pieces().getFirst().what()).isEqualTo("-name guest=db1");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          -chardev pty,id=term                            | remark  | another name
          -chardev ringbuf,id=log                         | remark  | starts empty
          -netdev tap,id=n,ifname=tap7,script=no          | remark  | same bridge
          -netdev {"type":"tap","fd":"31","id":"host0"}   | remark  | same bridge
          -hda disk.img                                   | unknown | format it guessed
          -cdrom /iso/install.iso                         | unknown | format it guessed
          -drive file=/img/data,if=virtio                 | unknown | format it guessed
          -machine ubuntu                                 | unknown | has a version
          -M q35                                          | moves   |
          -machine pc+pve0,hpet=off                       | moves   |
          -machine pc-i440fx-9.1                          | moves   |
          -machine microvm                                | cannot  | has no version
          -device vmgenid,guid=auto                       | moves   |
          -device virtio-net-pci,netdev=n                 | moves   |
          -netdev tap,id=n,ifname=tap7,vhost=on           | remark  | scripts are not run
          -netdev tap,id=n,fds=4:5,vhostfds=6:7           | remark  | queues of a macvtap
          -netdev user,id=n,hostfwd=tcp::2222-:22         | remark  | when the old one has ended
          -netdev l2tpv3,id=n                             | cannot  | one end of a tunnel
          -spice unix=on,addr=/s,disable-ticketing=on     | remark  | have to connect again
          -spice port=5900,disable-ticketing=on           | remark  | the daemon listens at 0.0.0.0:5900
          -spice port=0,gl=on                             | cannot  | OpenGL
          -device qxl-vga,vgamem_mb=16                    | moves   |
          -device vfio-pci,host=01:00.0                   | cannot  | a device of the host
          -device vhost-vsock-pci,guest-cid=42            | cannot  | guest-cid to one process
          -device {"driver":"vhost-vsock-pci-non-transitional","guest-cid":42,"vhostfd":"4"} | cannot | guest-cid to one process
          -device vhost-user-fs-pci,chardev=c,tag=t       | cannot  | its virtiofsd serves one QEMU
          -device vhost-user-blk-pci,chardev=c            | cannot  | serves one QEMU at a time
          -device vhost-scsi-pci,wwpn=naa.5               | cannot  | disks are in the kernel
          -device virtio-mem-pci,memdev=m1                | cannot  | memory that is a device
          -device nvme,drive=d                            | cannot  | not one that is known to move
          -frobnicate                                     | cannot  | not known here
          -snapshot                                       | cannot  | no name
          """)
  void eachPieceHasItsVerdict(String words, String verdict, String reason) {
    Explanation explanation = explain(words.strip().split(" ", 2));

    assertThat(explanation.pieces())
        .filteredOn(piece -> piece.what().equals(words.strip()))
        .singleElement()
        .satisfies(piece -> {
          assertThat(piece.verdict().word()).isEqualTo(verdict.strip());
          assertThat(piece.reason()).contains(reason == null ? "" : reason.strip());
        });
    assertThat(explanation.verdict().word()).isEqualTo(verdict.strip());
    assertThat(explanation.pieces())
        .filteredOn(piece -> piece.verdict() != MOVES)
        .hasSizeLessThan(2);
  }

  /// Whoever has one wants to know what to do.
  @ParameterizedTest
  @ValueSource(strings = {"vhost-vsock-pci", "vhost-user-fs-pci", "vhost-user-net-pci", "vfio-pci"})
  void aDeviceWithAnotherHalfElsewhereCanBeUnplugged(String driver) {
    assertThat(explain("-device", driver + ",id=d").pieces())
        .filteredOn(piece -> piece.verdict() == CANNOT)
        .singleElement()
        .extracting(Piece::action)
        .asString()
        .contains("unplug it (device_del)");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          path=/run/vm/1.qga,server=on,wait=off | unix:/run/vm/1.qga (qga)
          fd=19,server=on,wait=off              | descriptor 19 (qga)
          host=127.0.0.1,port=4444,server=on    | tcp:127.0.0.1:4444 (qga)
          path=/run/vm/agentd,reconnect-ms=500  | unix:/run/vm/agentd (qga)
          """)
  void aChannelMovesWithARemark(String address, String named) {
    Explanation explanation =
        explain(
            "-chardev",
            "socket,id=qga," + address.strip(),
            "-device",
            "{\"driver\":\"virtserialport\",\"chardev\":\"qga\",\"id\":\"channel0\"}");

    assertThat(explanation.verdict()).isEqualTo(REMARK);
    assertThat(explanation.pieces())
        .filteredOn(piece -> piece.verdict() != MOVES)
        .singleElement()
        .satisfies(piece -> {
          assertThat(piece.what()).isEqualTo("-chardev socket,id=qga," + address.strip());
          assertThat(piece.reason()).contains(named.strip(), "is lost");
        });
  }

  @Test
  void piecesAreInTheOrderOfTheLineAndThenComesTheLine() {
    Explanation explanation =
        Explanation.of(
            List.of("-zero", "-usb", "-one", "x", "-snapshot", "-m"), "", Optional.empty());

    assertThat(explanation.pieces())
        .extracting(Piece::what)
        .containsExactly(
            "-zero", "-usb", "-one", "-snapshot", "-m", "memory", "display", "network");
    assertThat(explanation.pieces())
        .filteredOn(piece -> piece.what().equals("memory"))
        .singleElement()
        .isEqualTo(
            new Piece(
                "memory",
                REMARK,
                "Its memory is private to the process, so no other one can map it; it is copied"
                    + " once: `guest adopt --copy`",
                ""));
    assertThat(explanation.verdict()).isEqualTo(CANNOT);
  }

  /// Whoever reads it is to mend each cause once.
  @ParameterizedTest
  @ValueSource(
      strings = {
        "-chardev socket,id=c,path=/s -device vhost-user-fs-pci,chardev=c,tag=t",
        "-fsdev local,id=f,path=/d,security_model=none -device virtio-9p-pci,fsdev=f,mount_tag=t",
        "-spice tls-port=5900 -chardev spicevmc,id=c,name=vdagent -device virtserialport,chardev=c",
        "-chardev socket,id=c,path=/tpm -tpmdev emulator,id=t,chardev=c -device tpm-crb,tpmdev=t",
        "-object memory-backend-file,id=p,size=1G,mem-path=/p -device nvdimm,memdev=p",
        "-device {\"driver -device virtio-rng-pci",
        "-netdev vde,id=n -device virtio-net-pci,netdev=n",
        "-chardev socket,id=c,path=/v -netdev vhost-user,id=n,chardev=c"
      })
  void oneCauseIsOnePiece(String words) {
    assertThat(explain(words.split(" ")).pieces())
        .filteredOn(piece -> piece.verdict() != MOVES)
        .hasSize(1);
  }

  @Test
  void aDisplayAndAMemoryThatAreNamedAreNotRefusedOnceMore() {
    List<String> line =
        List.of("-nic", "none", "-display", "sdl", "-mem-path", "/dev/hugepages", "-m", "64");
    Explanation explanation = Explanation.of(line, "", Optional.empty());

    assertThat(explanation.pieces())
        .filteredOn(piece -> piece.verdict() != MOVES)
        .extracting(Piece::what)
        .containsExactly("-display sdl", "-mem-path /dev/hugepages");
    assertThat(explanation.copyNeeded()).isTrue();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "-object memory-backend-ram,id=m,size=256M",
        "-object memory-backend-file,id=m,size=256M,mem-path=/x",
        "-object {\"qom-type\":\"memory-backend-memfd\",\"id\":\"m\",\"share\":false}"
      })
  void privateMemoryNeedsACopy(String words) {
    List<String> line = new ArrayList<>(MOVING);
    line.subList(10, 12).clear();
    if (words.isEmpty()) {
      line.set(3, "pc-q35-7.2");
    } else {
      line.addAll(List.of(words.split(" ")));
    }
    Explanation explanation = Explanation.of(line, "7.2.22", Optional.empty());

    assertThat(explanation.copyNeeded()).isTrue();
    assertThat(explanation.verdict()).isEqualTo(REMARK);
    assertThat(explanation.pieces())
        .filteredOn(piece -> piece.verdict() != MOVES)
        .singleElement()
        .extracting(Piece::reason)
        .asString()
        .contains("it is copied once: `guest adopt --copy`");
  }

  @Test
  void memoryBySizeOfANodeIsNotEvenCopied() {
    List<String> line = new ArrayList<>(MOVING);
    line.subList(10, 12).clear();
    line.addAll(List.of("-numa", "node,mem=256"));
    Explanation explanation = Explanation.of(line, "7.2.22", Optional.empty());

    assertThat(explanation.copyNeeded()).isTrue();
    assertThat(explanation.pieces())
        .filteredOn(piece -> piece.verdict() == CANNOT)
        .singleElement()
        .extracting(Piece::reason)
        .asString()
        .contains("private to the process");
  }

  @Test
  void memoriesOfNodesOnHugePagesMove() {
    String file = "memory-backend-file,id=%s,size=128M,mem-path=/run/hugepages/vm,share=on";
    List<String> line = new ArrayList<>(MOVING);
    line.set(3, "pc-q35-7.2");
    line.set(11, file.formatted("m0"));
    line.addAll(List.of("-object", file.formatted("m1")));
    line.addAll(List.of("-numa", "node,nodeid=0,cpus=0,memdev=m0"));
    line.addAll(List.of("-numa", "node,nodeid=1,memdev=m1", "-numa", "dist,src=0,dst=1,val=20"));
    Explanation explanation = Explanation.of(line, "", Optional.empty());

    assertThat(explanation.pieces())
        .allMatch(piece -> piece.verdict() == MOVES && piece.reason().isEmpty());
    assertThat(explanation.copyNeeded()).isFalse();
  }

  @ParameterizedTest
  @CsvSource({
    "pc-q35-7.2, '', UNKNOWN, false",
    "q35, '', UNKNOWN, false",
    "q35, odd, UNKNOWN, false",
    "pc-q35-7.2, 7.2.22, MOVES, false",
    "pc-q35-7.2, 8.0.5, MOVES, false",
    "pc-q35-7.2, 8.1.0, REMARK, true",
    "pc-q35-7.2, 10.0.2, REMARK, true",
    "pc-q35-9.2, '', REMARK, true",
    "pc-i440fx-8.1, '', REMARK, true",
    "pc-q35-8.0, '', UNKNOWN, false"
  })
  void aMemFdMovesByItsVersion(String machine, String version, Verdict verdict, boolean copy) {
    List<String> line = new ArrayList<>(MOVING);
    line.set(3, machine + ",memory-backend=m");
    line.set(11, "memory-backend-memfd,id=m,size=256M");
    Explanation explanation = Explanation.of(line, version, Optional.empty());

    assertThat(explanation.verdict()).isEqualTo(verdict);
    assertThat(explanation.copyNeeded()).isEqualTo(copy);
  }

  @ParameterizedTest
  @CsvSource({
    "-machine, pc-q35-10.0, MOVES",
    "-machine, pc-q35-9.0, CANNOT",
    "-M, type=pc-q35-9.0, CANNOT",
    "-machine, pc-q35-odd, CANNOT",
    "-machine, q35, UNKNOWN",
    "-machine, ubuntu, UNKNOWN",
    "-device, virtio-balloon-pci, MOVES",
    "-device, pvpanic, CANNOT",
    "-vga, qxl, CANNOT",
    "-vga, std, MOVES",
    "-spice, port=0, CANNOT"
  })
  void whatTheTargetDoesNotKnowCannotMove(String option, String value, Verdict verdict) {
    List<String> line = new ArrayList<>(MOVING);
    line.addAll(List.of(option, value));
    Explanation explanation = Explanation.of(line, "", Optional.of(TARGET));

    assertThat(explanation.verdict()).isEqualTo(verdict);
    assertThat(explanation.pieces())
        .filteredOn(piece -> piece.verdict() != MOVES)
        .hasSize(verdict == MOVES ? 0 : 1)
        .allMatch(piece -> piece.what().equals(option + " " + value));
  }

  @Test
  void aDeviceThatCannotMoveIsNotLookedForAndAMachineThatIsNotNamedIsUnknown() {
    List<String> line = new ArrayList<>(MOVING);
    line.subList(2, 4).clear();
    line.addAll(List.of("-machine", "memory-backend=m", "-device", "vfio-pci,host=01:00.0"));

    assertThat(Explanation.of(line, "", Optional.of(TARGET)).pieces())
        .filteredOn(piece -> piece.verdict() != MOVES)
        .satisfiesExactly(
            device -> assertThat(device.reason()).doesNotContain("qemu-10.0.2"),
            machine -> {
              assertThat(machine.what()).isEqualTo("machine type");
              assertThat(machine.verdict()).isEqualTo(UNKNOWN);
            });
  }

  @Test
  void whatIsKnownOfTheProcessCounts() {
    Piece user = new Piece("user", REMARK, "It is another one.", "");

    assertThat(explain().with(List.of(user)).verdict()).isEqualTo(REMARK);
    assertThat(explain().with(List.of(user)).pieces()).endsWith(user);
    assertThat(new Explanation(List.of(), false).verdict()).isEqualTo(MOVES);
  }

  @Test
  void aReleaseSaysWhatItKnows() throws Exception {
    QemuModels models =
        QemuModels.ask(
            program(
                "case $1 in",
                "-machine) echo 'Supported machines are:'",
                "echo 'pc                   Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-7.2)'",
                "echo 'pc-i440fx-7.2        Standard PC (i440FX + PIIX, 1996) (default)';;",
                "-device) echo 'Storage devices:'",
                "echo 'name \"virtio-blk-pci\", bus PCI, alias \"virtio-blk\"'",
                "echo 'name \"scsi-hd\", bus SCSI, desc \"virtual SCSI disk\"';;",
                "-spice) echo 'spice options:'; echo '  addr=<str>';;",
                "esac"));

    assertThat(models.machines()).containsExactlyInAnyOrder("pc", "pc-i440fx-7.2");
    assertThat(models.devices())
        .containsExactlyInAnyOrder("virtio-blk-pci", "virtio-blk", "scsi-hd");
    assertThat(models.spice()).isTrue();
  }

  @Test
  void aReleaseThatSaysNothingIsDamaged() throws Exception {
    QemuRelease silent = program("exit 1");
    QemuRelease missing = QemuRelease.nameless(folder.resolve("missing"));

    for (QemuRelease release : List.of(silent, missing)) {
      assertThatThrownBy(() -> QemuModels.ask(release))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.RELEASE_DAMAGED));
    }
  }

  private QemuRelease program(String... lines) throws Exception {
    Path script = folder.resolve("qemu");
    Files.writeString(script, "#!/bin/sh\n" + String.join("\n", lines) + "\n");
    assertThat(script.toFile().setExecutable(true)).isTrue();
    return QemuRelease.nameless(script);
  }

  private static Explanation explain(String... more) {
    List<String> line = new ArrayList<>(MOVING);
    line.addAll(Arrays.asList(more));
    return Explanation.of(line, "", Optional.empty());
  }
}
