package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;
import tools.jackson.databind.JsonNode;

/// What `hyperfresh explain` says of files, and of a host whose processes are files.
class ExplainCommandTest {
  private static final List<String> MOVING =
      List.of(
          "-nodefaults",
          "-display",
          "none",
          "-machine",
          "pc-q35-7.2,memory-backend=ram",
          "-object",
          "memory-backend-file,id=ram,size=512M,mem-path=/dev/shm/web1,share=on");

  @TempDir Path root;
  @TempDir Path state;
  private QemuHost host;

  @BeforeEach
  void makeAHost() throws IOException {
    host = new QemuHost(root, state);
  }

  @Test
  void aLineThatMovesEndsWithZero() throws Exception {
    Said text = run(file(MOVING));

    assertThat(text.exit()).isZero();
    assertThat(text.err()).isEmpty();
    assertThat(text.out().lines())
        .containsExactly(
            "It moves: all of its 4 pieces do.",
            "Its machine type and devices are taken as known; --to RELEASE looks whether they"
                + " are.");
    assertThat(run(file(MOVING), "--all").out())
        .contains("moves    -nodefaults", "moves    -display none");
  }

  @Test
  void remarksAreNoObstacle() throws Exception {
    Said text = run(file(with("-chardev", "pty,id=c")));

    assertThat(text.exit()).isZero();
    assertThat(text.out().lines())
        .startsWith(
            "remark   -chardev pty,id=c: With each replacement, its terminal c (pty) gets another"
                + " name; then open it again.",
            "It moves, with remarks on 1 of its pieces; 4 of 5 simply move.");
  }

  @Test
  void aLineThatCannotMoveSaysAllReasonsAndWhatToDo() throws Exception {
    String file =
        file(List.of("qemu-system-x86_64", "-m", "64", "-display", "gtk", "-nic", "none"));
    Said text = run(file);

    assertThat(text.exit()).isEqualTo(ExplainCommand.CANNOT);
    assertThat(text.out().lines().limit(3))
        .satisfiesExactly(
            display ->
                assertThat(display)
                    .startsWith("cannot   -display gtk: ")
                    .endsWith("; use -display none or -vnc"),
            memory ->
                assertThat(memory)
                    .startsWith("remark   memory: Its memory is private to the")
                    .endsWith("it is copied once: `guest adopt --copy`"),
            sentence ->
                assertThat(sentence)
                    .isEqualTo(
                        "It cannot be adopted as it is, for 1 of its pieces; 2 of 4 simply move."));
    assertThat(text.out()).contains("`guest adopt --copy` copies it once.");
    JsonNode answer = Output.JSON.readTree(run(file, "--json").out());
    assertThat(answer.path("verdict").asString()).isEqualTo("cannot");
    assertThat(answer.path("copy_needed").asBoolean()).isTrue();
    assertThat(answer.path("to").asString()).isEmpty();
    assertThat(answer.path("pieces").path(1).propertyNames())
        .containsExactly("what", "verdict", "reason", "action");
    assertThat(answer.path("pieces").path(1).path("action").asString())
        .isEqualTo("use -display none or -vnc");
  }

  @Test
  void whatOnlyTheRunningOneCanTellIsAnotherCode() throws Exception {
    Said text = run(file(with("-hda", "/img/a")));

    assertThat(text.exit()).isEqualTo(ExplainCommand.UNKNOWN);
    assertThat(text.out())
        .contains("unknown  -hda /img/a: only the running QEMU", "Of 1 of its pieces only the");
  }

  @Test
  void aProcessIsReadFromItsHost() throws Exception {
    QemuHost.copy(QemuHost.OLD, host.binary);
    host.process(4711, host.binary, MOVING.toArray(String[]::new));
    host.file("proc/4711/status", "Uid:\t0\t" + uid() + "\t0\t0\n");

    Said text = run("4711");
    assertThat(text.exit()).isZero();
    assertThat(text.out()).contains("remark   since its start: ", "It moves, with remarks on 1 of");
    JsonNode answer = Output.JSON.readTree(run("4711", "--json").out());
    assertThat(answer.path("verdict").asString()).isEqualTo("remark");
    assertThat(answer.path("copy_needed").asBoolean()).isFalse();
  }

  @Test
  void anotherUsersAndAManagedOneSaySo() throws Exception {
    QemuHost.copy(QemuHost.OLD, host.binary);
    host.process(4711, host.binary, MOVING.toArray(String[]::new));
    host.file("proc/4711/status", "Uid:\t0\t4242\t0\t0\n");
    host.file("proc/4711/cgroup", "0::/machine.slice/machine-qemu\\x2d1\\x2dweb3.scope\n");

    Said text = run("4711");
    assertThat(text.exit()).isEqualTo(uid() == 0 ? 0 : ExplainCommand.UNKNOWN);
    assertThat(text.out())
        .contains(
            (uid() == 0 ? "remark " : "unknown") + "  user: It runs as user 4242",
            "a daemon that is root",
            "remark   manager: ",
            "libvirt");
  }

  @Test
  void aContainersProcessCannot() throws Exception {
    QemuHost.copy(QemuHost.OLD, host.binary);
    host.process(4711, host.binary, MOVING.toArray(String[]::new));
    host.file("proc/4711/status", "Uid:\t0\t" + uid() + "\t0\t0\n");
    long self = ProcessHandle.current().pid();
    host.link("proc/4711/ns/pid", "pid:[4026532001]");
    host.link("proc/" + self + "/ns/pid", "pid:[4026531836]");

    Said text = run("4711");
    assertThat(text.exit()).isEqualTo(5);
    assertThat(text.out()).contains("cannot   namespace: It runs in another pid namespace");
  }

  @Test
  void aGuestOfOursNeedsNoAdoption() throws Exception {
    QemuHost.copy(QemuHost.OLD, host.binary);
    host.process(4711, host.binary, "-name", "guest=web1", "-chardev", "null,id=hf-qmp");
    host.file("proc/4711/cgroup", "0::/hyperfresh/web1.60000\n");

    Said text = run("4711");
    assertThat(text.exit()).isZero();
    assertThat(text.out().lines())
        .startsWith(
            "remark   manager: It looks like a guest of HyperFresh, which is replaced without an"
                + " adoption.");
  }

  /// The version of a program says whether it would copy a memfd.
  @Test
  void theProgramOfAProcessSaysItsVersion() throws Exception {
    List<String> line = new ArrayList<>(MOVING);
    line.set(6, "memory-backend-memfd,id=ram,size=512M");
    assertThat(run(file(line)).exit()).isEqualTo(3);

    host.program("10.0.2 (Debian 1:10.0.2+ds-2+deb13u1)");
    host.process(4711, host.binary, line.toArray(String[]::new));
    host.file("proc/4711/status", "Uid:\t0\t" + uid() + "\t0\t0\n");
    Said text = run("4711");
    assertThat(text.exit()).isZero();
    assertThat(text.out()).contains("8.1", "copied once");
  }

  @Test
  void aReleaseIsAskedWhatItKnows() throws Exception {
    Path script = root.resolve("qemu");
    Files.writeString(
        script,
        """
        #!/bin/sh
        echo 'pc-q35-7.2     Standard PC'
        echo 'name "virtio-rng-pci", bus PCI'
        """);
    assertThat(script.toFile().setExecutable(true)).isTrue();
    host.release("10.0.2", script);

    Said known = run(file(with("-device", "virtio-rng-pci")), "--to", "qemu-10.0.2");
    assertThat(known.exit()).isZero();
    assertThat(known.out()).doesNotContain("--to");
    Said unknown = run(file(with("-device", "pvpanic")), "--to", "qemu-10.0.2", "--json");
    assertThat(unknown.exit()).isEqualTo(5);
    assertThat(unknown.out()).contains("qemu-10.0.2 does not know this device");
    assertThat(Output.JSON.readTree(unknown.out()).path("to").asString()).isEqualTo("qemu-10.0.2");
    fails(Problem.RELEASE_UNKNOWN, file(MOVING), "--to", "qemu-9.9");
  }

  @Test
  void whatIsNoCommandLineIsOneErrorAndAHint() throws Exception {
    fails(Problem.EXPLAIN_INPUT, "4711");
    host.process(4712, Path.of("/bin/true"), MOVING.toArray(String[]::new));
    fails(Problem.EXPLAIN_INPUT, "4712");
    QemuHost.copy(QemuHost.OLD, host.binary);
    host.process(4713, host.binary, "-append", "x".repeat(128 << 10));
    fails(Problem.EXPLAIN_INPUT, "4713");
    fails(Problem.EXPLAIN_INPUT, root.resolve("none").toString());
    fails(Problem.EXPLAIN_INPUT, root.toString());
    fails(Problem.EXPLAIN_INPUT, "99999999999");
    for (List<String> lines :
        List.of(
            List.<String>of(),
            List.of("qemu-system-x86_64 -m 64"),
            List.of("-append", "x".repeat(128 << 10)),
            new ArrayList<>(java.util.Collections.nCopies(1001, "-usb")))) {
      fails(Problem.EXPLAIN_INPUT, file(lines));
    }
  }

  @Test
  void aHostileLineStaysOnItsLine() throws Exception {
    String out =
        run(file(with("-\u001b[2J", "-drive", "file=a\u001b[1m,if=virtio,a=\u0007"))).out();

    assertThat(out).doesNotContain("\u001b", "\u0007");
    assertThat(out.lines()).hasSize(4);
  }

  private void fails(Problem problem, String... arguments) {
    Said said = run(arguments);

    assertThat(said.exit()).as("%s", Arrays.toString(arguments)).isEqualTo(problem.exitCode());
    assertThat(said.out()).isEmpty();
    assertThat(said.err().lines())
        .hasSize(2)
        .first()
        .asString()
        .startsWith("hyperfresh: " + problem.code());
  }

  private String file(List<String> lines) throws IOException {
    return Files.writeString(root.resolve("line.args"), String.join("\n", lines) + "\n").toString();
  }

  private static List<String> with(String... more) {
    List<String> all = new ArrayList<>(MOVING);
    all.addAll(Arrays.asList(more));
    return all;
  }

  private Said run(String... arguments) {
    List<String> all = new ArrayList<>(List.of("--state", state.toString()));
    all.addAll(Arrays.asList(arguments));
    CommandLine line = new CommandLine(new ExplainCommand(root));
    line.setExecutionExceptionHandler(Main::report);
    return Said.of(() -> line.execute(all.toArray(String[]::new)));
  }

  private static int uid() throws IOException {
    return (int) Files.getAttribute(Path.of("/proc/self"), "unix:uid");
  }
}
