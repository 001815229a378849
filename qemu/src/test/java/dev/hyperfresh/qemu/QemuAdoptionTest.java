package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.Unprivileged;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Processes that are refused by what they are, or by how they answer.
@Timeout(60)
class QemuAdoptionTest {
  private static final GuestSpec SPEC =
      new GuestSpec(
          "web1",
          1,
          1 << 20,
          "pc-q35-7.2",
          "qemu64",
          GuestSpec.AcceleratorWish.TCG,
          Optional.empty(),
          List.of(),
          List.of());

  @TempDir Path folder;

  private AbstractThrowableAssert<?, ? extends Throwable> assertRefused(
      Problem problem, String... command) throws Exception {
    Process process = new ProcessBuilder(command).start();
    try {
      AdoptRequest request =
          new AdoptRequest(
              "web1",
              Math.toIntExact(process.pid()),
              folder.resolve("none.sock"),
              Optional.empty(),
              folder,
              false,
              Optional.empty(),
              false);
      return assertThatThrownBy(() -> new QemuAdoption(request).adopt())
          .isInstanceOfSatisfying(
              HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem));
    } finally {
      process.destroyForcibly().waitFor();
    }
  }

  /// What lies behind it in its file is not the guest's.
  @Test
  void aPartOfAFileIsTakenAgain() {
    int self = Math.toIntExact(ProcessHandle.current().pid());
    try (MemFd file = MemFd.create("whole", 1 << 20)) {
      int number = file.fd().number();
      Holdings held = new Qemu().holdings(SPEC, self, machine(number, 4096 + (1 << 19)));
      held.close();
      assertThat(held.memories()).hasSize(1);

      assertThatThrownBy(() -> new Qemu().holdings(SPEC, self, machine(number, (1 << 20) + 4096)))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.GUEST_STATE))
          .hasMessageContaining("has 1048576 bytes and was memory of 1052672");
    }
  }

  private static AdoptedMachine machine(int descriptor, long bytes) {
    return new AdoptedMachine(
        List.of(),
        Path.of("/run/qmp"),
        Optional.empty(),
        List.of(new AdoptedMachine.Memory(descriptor, MemoryPart.ordinary(bytes))),
        List.of());
  }

  /// Listens like the control socket of a QEMU, and says what one says of a machine with as many
  /// devices as it is told, each answer after so many seconds.
  private static final String STUB =
      """
      use IO::Socket::UNIX;
      $| = 1;
      $SIG{PIPE} = "IGNORE";
      my ($path, $delay, $devices) = @ARGV;
      my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 1) or die "$path: $!";
      my $version = '{"qemu":{"major":7,"minor":2,"micro":0},"package":""}';
      my $children = join ',', map { qq({"name":"device[$_]","type":"child<x>"}) } 1 .. $devices;
      my %answers = (
        'qmp_capabilities' => '{}',
        'query-version' => $version,
        'query-status' => '{"status":"running"}',
        'query-kvm' => '{"enabled":false}',
        'query-migrate' => '{}',
        'query-memory-size-summary' => '{"base-memory":67108864}',
        'human-monitor-command' => '"m 4 KiB 0x0 0x0000000004000000 0x0000000004000000"',
        'qom-list' => "[$children]",
      );
      print "ready\n";
      my $client = $listener->accept or die $!;
      print $client qq({"QMP":{"version":$version,"capabilities":[]}}\n);
      while (my $line = <$client>) {
        my ($command) = $line =~ /"execute":"([^"]+)"/;
        my ($id) = $line =~ /"id":"([^"]+)"/;
        my $text = $line =~ /"type"/ ? '"pc-q35-7.2-machine"' : '""';
        my $answer = $answers{$command} // ($command eq 'qom-get' ? $text : '[]');
        select(undef, undef, undef, $delay);
        print $client qq({"return":$answer,"id":"$id"}\n);
      }
      sleep 60;
      """;

  private static final String PERL = "/usr/bin/perl";

  private Path control() {
    return folder.resolve("qmp");
  }

  private List<String> stub(String program, String delay, int devices) {
    return List.of(program, "-e", STUB, control().toString(), delay, Integer.toString(devices));
  }

  private AdoptRequest request(int pid) {
    return new AdoptRequest(
        "web1", pid, control(), Optional.empty(), folder, false, Optional.empty(), false);
  }

  private static Process started(List<String> command) throws Exception {
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    assertThat(process.inputReader().readLine()).isEqualTo("ready");
    return process;
  }

  /// What a container calls its program is another file on the host.
  @ParameterizedTest
  @ValueSource(strings = {"--pid --fork --kill-child", "--cgroup"})
  void whatAContainerCallsItsProgramIsNotRunHere(String kinds) throws Exception {
    if (Unprivileged.obstacle().isPresent()) {
      System.out.println("skipped: " + Unprivileged.obstacle().get());
      Assumptions.abort();
    }
    Path touched = folder.resolve("touched");
    Path program = Files.writeString(folder.resolve("program"), "#!/bin/sh\n: >" + touched + "\n");
    Files.setPosixFilePermissions(program, PosixFilePermissions.fromString("rwxr-xr-x"));
    List<String> command = new ArrayList<>(List.of("unshare", "--mount"));
    command.addAll(List.of(kinds.split(" ")));
    command.addAll(List.of("sh", "-c", "mount --bind \"$0\" \"$1\" && exec \"$@\"", PERL));
    command.addAll(stub(program.toString(), "0", 0));
    Process process = started(command);
    try {
      int pid =
          Math.toIntExact(
              process.children().findFirst().map(ProcessHandle::pid).orElse(process.pid()));
      assertThat(Files.readSymbolicLink(Path.of("/proc/" + pid + "/exe"))).isEqualTo(program);

      assertThatThrownBy(() -> new QemuAdoption(request(pid)).adopt())
          .hasMessageContaining(kinds.contains("pid") ? "as in a container" : "-e")
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_REFUSED));
      assertThat(touched).doesNotExist();
    } finally {
      process.destroyForcibly().waitFor();
    }
  }

  /// Each answer may come in time, and there may be as many questions as it says.
  @Test
  void oneThatTakesItsTimeForEachAnswerIsGivenUp() throws Exception {
    Process process = started(stub(PERL, "0.3", 2000));
    try {
      AdoptRequest request = request((int) process.pid());
      long begin = System.nanoTime();
      assertThatThrownBy(() -> new QemuAdoption(request, Duration.ofSeconds(2)).adopt())
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_UNFIT))
          .hasMessageContaining("more than 2 s to answer");
      assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(10));
    } finally {
      process.destroyForcibly().waitFor();
    }
  }

  /// The program of the process is the loader, and a copy of that is no QEMU.
  @Test
  void aProgramThatADynamicLoaderRunsIsRefused() throws Exception {
    assertRefused(Problem.ADOPT_REFUSED, "/lib64/ld-linux-x86-64.so.2", "/bin/sleep", "60")
        .hasMessageContaining("started through the dynamic loader")
        .hasMessageContaining("start the QEMU itself");
  }

  @Test
  void oneThatWasStartedItselfIsLookedAtFurther() throws Exception {
    assertRefused(Problem.ADOPT_UNFIT, "/bin/sleep", "60").hasMessageContaining("none.sock");
  }
}
