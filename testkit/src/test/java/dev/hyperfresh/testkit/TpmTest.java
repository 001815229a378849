package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.adopt;
import static dev.hyperfresh.testkit.Adopted.at;
import static dev.hyperfresh.testkit.Adopted.moved;
import static dev.hyperfresh.testkit.Adopted.takeBack;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hyperplexor.StartReason;
import dev.hyperfresh.hypervisor.Firmware;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.linux.Unprivileged;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A guest that extends a register of its TPM all the time: each value is the digest of the one
/// before, so none is lost, none comes twice, and the state is the guest's own after every move.
@Tag("slow")
@Timeout(600)
class TpmTest {
  private static final int USER = 1_999_900_004;
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Pattern LINE = Pattern.compile("TPM ([0-9a-f]{64}) ([0-9a-f]{16})");
  private static final String PROMPT = "Press any key to enter the Boot Manager Menu";
  private static final String LOG = "own.log";

  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private String log = LOG;

  /// How many lines were looked at.
  private int seen;

  private String register = "00".repeat(32);
  private String index = "";

  @Test
  void whatItHoldsIsTheGuestsAfterEveryMove() throws Exception {
    try (OwnSwtpm first = swtpm();
        OwnQemu own = start("tpm-tis", "-kernel", Workshop.images().tpm().toString())) {
      goesOn();
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        adopt(hyperplexor, own);
        ReplacementRecord back =
            hyperplexor.replace(
                "mine", NEW, Duration.ofSeconds(2), at("Prepared", this::freezeTarget));
        assertThat(back.outcome()).as(back.detail()).isEqualTo(Outcome.ROLLED_BACK);
        own.assertRunning();
        assertThat(first.process().isAlive()).isTrue();
        assertOneTpm(0);
        goesOn();

        moved(hyperplexor, NEW, Progress.NONE, "");
        assertThat(own.isAlive()).isFalse();
        assertOneTpm(1);
        Workshop.await(
            "the end of the first swtpm", PATIENCE, () -> !Workspace.runs(first.process().pid()));
        goesOn();
        moved(hyperplexor, OLD, Progress.NONE, "");
        assertOneTpm(1);
        goesOn();
        hyperplexor.letGo();
      }
      try (Hyperplexor next = Workshop.hyperplexor(workspace.state())) {
        assertThat(takeBack(next)).singleElement().asString().contains("reattached");
        goesOn();
        startsAgain(next);
        moved(next, NEW, Progress.NONE, "");
        assertOneTpm(1);
        goesOn();
        next.delete("mine", true);
      }
      assertOneTpm(0);
      assertThat(tpm().resolve("tpm2-00.permall")).isNotEmptyFile();
    }
  }

  /// Firmware that boots only what is signed finds nothing to boot, and waits for a key.
  @Test
  void secureBootMovesWithItsVariables() throws Exception {
    Uefi uefi = Uefi.get();
    Path variables = Files.copy(uefi.variables(), file("variables.fd"));
    try (OwnSwtpm _ = swtpm();
        OwnQemu own =
            start(
                "tpm-crb",
                "-machine",
                "smm=on,pflash0=code,pflash1=variables",
                "-global",
                "driver=cfi.pflash01,property=secure,value=on",
                "-blockdev",
                "{\"driver\":\"raw\",\"node-name\":\"code\",\"read-only\":true,\"file\":"
                    + "{\"driver\":\"file\",\"filename\":\""
                    + uefi.code()
                    + "\"}}",
                "-blockdev",
                "driver=file,node-name=file0,filename=" + variables,
                "-blockdev",
                "driver=raw,node-name=variables,file=file0")) {
      Workshop.await("firmware", PATIENCE, () -> Workshop.contains(file(LOG), PROMPT));
      assertThat(Files.mismatch(variables, uefi.variables())).isNotEqualTo(-1);
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        adopt(hyperplexor, own);
        moved(hyperplexor, NEW, Progress.NONE, "");
        moved(hyperplexor, OLD, Progress.NONE, "");
        takesAKey(hyperplexor);
        hyperplexor.delete("mine", true);
      }
    }
  }

  /// A menu is drawn.
  private void takesAKey(Hyperplexor hyperplexor) throws IOException {
    try (UnixSocket console =
        UnixSocket.connect(hyperplexor.show("mine").console().orElseThrow())) {
      console.send(new byte[] {'\r'});
      console.receiveTimeout(PATIENCE);
      // Read, since a console stands still while nobody reads.
      for (int drawn = 0; drawn <= 200; ) {
        int got = console.receive(new byte[4096], new ArrayList<>());
        assertThat(got).isPositive();
        drawn += got;
      }
    }
  }

  /// The same of a spec: with firmware of the host, and as a user of its own.
  @Test
  void aSpecHasFirmwareAndATpm() throws Exception {
    Path program = OwnSwtpm.find();
    Uefi uefi = Uefi.get();
    Files.createSymbolicLink(file("swtpm"), program);
    uefi.describe(Files.createDirectory(file("firmware")));
    GuestSpec spec = Workshop.tick("mine", 64, GuestSpec.AcceleratorWish.TCG);
    GuestSpec own =
        new GuestSpec(
            spec.name(),
            1,
            spec.memoryBytes(),
            spec.machine(),
            spec.cpu(),
            spec.accelerator(),
            Optional.of(new GuestSpec.KernelBoot(Workshop.images().tpm(), Optional.empty(), "")),
            List.of(),
            List.of());
    log = "guests/mine/console.log";
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      hyperplexor.create(own.booting(new Firmware(Firmware.Kind.BIOS, true)), OLD, Progress.NONE);
      goesOn();
      moved(hyperplexor, NEW, Progress.NONE, "");
      goesOn();
      hyperplexor.stop("mine", Duration.ZERO);
      awaitTpms(0);
      seen = lines().size();
      register = "00".repeat(32);
      hyperplexor.start("mine", OLD, StartReason.REQUEST, Progress.NONE);
      goesOn();
      hyperplexor.delete("mine", true);
      awaitTpms(0);

      Path disk = Files.write(file("empty.img"), new byte[1 << 20]);
      GuestSpec secure =
          new GuestSpec(
                  "mine",
                  1,
                  128 << 20,
                  spec.machine(),
                  spec.cpu(),
                  spec.accelerator(),
                  Optional.empty(),
                  List.of(new GuestSpec.Disk(disk, GuestSpec.Disk.Format.RAW, false)),
                  List.of())
              .booting(new Firmware(Firmware.Kind.UEFI_SECURE, true));
      hyperplexor.create(secure, OLD, Progress.NONE);
      moved(hyperplexor, NEW, Progress.NONE, "");
      Workshop.await("firmware", PATIENCE, () -> Workshop.contains(file(log), PROMPT));
      moved(hyperplexor, OLD, Progress.NONE, "");
      takesAKey(hyperplexor);
      hyperplexor.delete("mine", true);
    } finally {
      OwnSwtpm.forget(program);
    }
  }

  /// Its registers are as after every start, and its memory is as it was.
  private void startsAgain(Hyperplexor hyperplexor) throws IOException {
    hyperplexor.stop("mine", Duration.ZERO);
    assertOneTpm(0);
    seen = lines().size();
    register = "00".repeat(32);
    hyperplexor.start("mine", OLD, StartReason.REQUEST, Progress.NONE);
    assertOneTpm(1);
    goesOn();
  }

  /// What the guest has printed since is whole, and it prints more.
  private void goesOn() throws IOException {
    int before = lines().size();
    Workshop.await("the guest's TPM", PATIENCE, () -> lines().size() > before + 2);
    List<Matcher> lines = lines();
    for (Matcher line : lines.subList(seen, lines.size())) {
      register = extended(register);
      assertThat(line.group(1)).as("line %d", seen).isEqualTo(register);
      index = index.isEmpty() ? line.group(2) : index;
      assertThat(line.group(2)).as("line %d", seen).isEqualTo(index);
      seen++;
    }
  }

  private List<Matcher> lines() {
    return Workshop.wholeLines(file(log)).stream()
        .map(LINE::matcher)
        .filter(Matcher::find)
        .toList();
  }

  private static String extended(String register) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      digest.update(HexFormat.of().parseHex(register));
      byte[] more = new byte[32];
      Arrays.fill(more, (byte) 0x5a);
      return HexFormat.of().formatHex(digest.digest(more));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-256", e);
    }
  }

  /// One whose hypervisor has ended ends by itself, a moment later.
  private void awaitTpms(int later) {
    Workshop.await(
        later + " swtpm", PATIENCE, () -> workspace.processes("--tpmstate").size() == later);
  }

  /// One folder has the state, and no more processes than these serve it, as its user.
  private void assertOneTpm(int later) {
    awaitTpms(later);
    assertThat(Workspace.names(tpm().resolveSibling("")))
        .filteredOn(name -> name.startsWith("tpm2"))
        .containsExactly("tpm2");
    assertThat(workspace.processes("--tpmstate"))
        .allMatch(process -> ProcFs.HOST.uid((int) process.pid()).orElseThrow() == USER);
  }

  /// Everything is sent to it, and it does not take the guest.
  private void freezeTarget() {
    workspace.freezeBeforeTheSwitch(workspace.hypervisors().getLast());
  }

  private OwnSwtpm swtpm() throws IOException {
    Workshop.require(
        Unprivileged.obstacle().isEmpty(), Unprivileged.obstacle().orElse("no obstacle"));
    Path program = OwnSwtpm.find();
    Files.setPosixFilePermissions(workspace.state(), PosixFilePermissions.fromString("rwx--x--x"));
    for (Path folder : List.of(file("own"), tpm())) {
      Files.createDirectory(folder);
      Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwx------"));
      Files.setAttribute(folder, "unix:gid", USER);
      Files.setAttribute(folder, "unix:uid", USER);
    }
    List<String> asUser =
        List.of("setpriv", "--reuid", "" + USER, "--regid", "" + USER, "--clear-groups", "--");
    return OwnSwtpm.start(program, tpm(), socket(), asUser);
  }

  private OwnQemu start(String device, String... more) throws IOException {
    List<String> line = new ArrayList<>();
    line.addAll(List.of("-machine", "pc-q35-7.2,accel=tcg,memory-backend=m", "-cpu", "qemu64"));
    line.addAll(List.of("-m", "128", "-object"));
    line.add("memory-backend-file,id=m,size=128M,share=on,mem-path=" + file("ram"));
    line.addAll(List.of("-chardev", "socket,id=chrtpm,path=" + socket()));
    line.addAll(List.of("-tpmdev", "emulator,id=tpm0,chardev=chrtpm"));
    line.addAll(List.of("-device", device + ",tpmdev=tpm0", "-serial", "file:" + LOG));
    line.addAll(List.of(more));
    return OwnQemu.start(OLD, workspace.state(), List.of(), line.toArray(String[]::new));
  }

  private Path tpm() {
    return file("own").resolve("tpm2");
  }

  private Path socket() {
    return file("own").resolve("tpm.sock");
  }

  private Path file(String name) {
    return workspace.state().resolve(name);
  }
}
