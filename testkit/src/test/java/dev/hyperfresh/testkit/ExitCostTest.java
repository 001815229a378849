package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.machine.MachineKind;
import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.machine.Machines;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.vm.VmReleases;
import dev.hyperfresh.vm.VmSettings;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// What nesting costs in something that does not depend on the speed of a host: how often a guest
/// in a machine leaves its processor for the machine's KVM, by what it does, before and after its
/// hypervisor was replaced.
///
/// On hardware each of these exits makes the host's KVM exit a few times more. That second level
/// cannot be counted where machines are translated, and the test says so.
///
/// A measurement of minutes, which `./verify` leaves out: `-DexcludedGroups= -Dgroups=measure`.
@Tag("slow")
@Tag("measure")
class ExitCostTest {
  private static final Duration BOOT = Duration.ofMinutes(4);
  private static final Duration SAMPLE = Duration.ofSeconds(3);
  private static final VmReleases<MachineRelease> RELEASES =
      MachineRecipe.releases(Workshop.CACHE.resolve("releases"), Workshop.PACKAGES);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final Map<String, Double> table = new LinkedHashMap<>();
  private Machines machines;
  private Hyperplexor hyperplexor;

  @BeforeEach
  void open() {
    Qemu processes = new Qemu();
    hyperplexor =
        new Hyperplexor(
            workspace.state(),
            new Kinds(processes, new MachineKind(processes)),
            Workshop.KVM,
            _ -> {});
    machines =
        new Machines(workspace.state().resolve("machines"), workspace.state().resolve("run"));
  }

  @AfterEach
  void close() {
    hyperplexor.close();
    machines.close();
  }

  private Machine machine(String name, String kernel) {
    return machines.create(
        new VmSettings<>(
            name,
            RELEASES
                .find("machine-" + kernel + "+qemu-10.0")
                .orElseGet(() -> RELEASES.build(kernel, "10.0", Workshop::say)),
            Workshop.release("qemu-10.0"),
            Accelerator.TCG,
            1,
            VmSettings.DEFAULT_MEMORY_BYTES));
  }

  @Test
  void exitsAreCountedByWhatAGuestDoes() throws Exception {
    try (TestNetwork network = TestNetwork.create()) {
      Machine older = machine("older", "6.1");
      Path image = workspace.state().resolve("disk.raw");
      try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
        file.setLength(16 << 20);
      }
      hyperplexor.create(Workshop.linux("idle", 256, List.of(), List.of()), older, Progress.NONE);
      TestGuest.beatingInMachine(older.pid(), "idle", BOOT).close();
      Workshop.awaitReady(workspace.files("idle"));
      computing("before", older);
      Machine newer = machine("newer", "6.12");
      move("idle", newer);
      computing("after", newer);
      hyperplexor.delete("idle");
      try (TestGuest guest =
          serving(
              "writes",
              older,
              network,
              List.of(new Disk(image, Disk.Format.RAW, false)),
              List.of())) {
        writing("before", older, guest);
        move("writes", newer);
        writing("after", newer, guest);
      }
      hyperplexor.delete("writes");
      try (TestGuest guest =
          serving(
              "echoes",
              older,
              network,
              List.of(),
              List.of(new Nic("hf-exit0", Optional.empty(), "52:54:00:77:00:02")))) {
        network.ip("link", "set", "lo", "up");
        network.ip("addr", "add", "10.77.0.1/24", "dev", "hf-exit0");
        echoing("before", older, network);
        move("echoes", newer);
        echoing("after", newer, network);
        assertThat(guest.echoConnections()).isEqualTo(2);
      }
      hyperplexor.delete("echoes");
    }
    table.forEach(
        (what, count) -> Workshop.say(String.format(Locale.ROOT, "%-46s %10.1f", what, count)));
    Workshop.say(
        "counted by the machines' KVM; the exits of the host's KVM are not to be counted where"
            + " machines are translated");
    // A guest that idles leaves its processor for its timer; a write is at least one kick of the
    // device and one interrupt. Of several echoes that are under way one interrupt may tell.
    for (String when : List.of("before", "after")) {
      assertThat(per("idle, exits/s", when)).isPositive();
      assertThat(per("disk write with flush, exits each", when)).isBetween(1.0, 1000.0);
      assertThat(per("echo of 256 bytes, exits each", when)).isLessThan(1000);
    }
  }

  private double per(String operation, String when) {
    return Optional.ofNullable(table.get(operation + ", " + when)).orElseThrow();
  }

  private void computing(String when, Machine machine) throws IOException {
    table.put("idle, exits/s, " + when, rate(machine));
    shell("while :; do :; done &");
    table.put("CPU loop, exits/s, " + when, rate(machine));
    shell("kill $!");
    double begin = exits(machine);
    shell(
        "dd if=/dev/zero of=/tmp/touched bs=1M count=64 2>/dev/null; echo touched-$((1+1)); rm /tmp/touched");
    Path console = workspace.files("idle").resolve("console.log");
    Workshop.await(
        "the touched memory",
        Duration.ofSeconds(60),
        () -> Workshop.contains(console, "touched-2"));
    table.put("memory touched, exits/MiB, " + when, (exits(machine) - begin) / 64);
  }

  private void shell(String line) throws IOException {
    try (UnixSocket console =
        UnixSocket.connect(hyperplexor.show("idle").console().orElseThrow())) {
      console.send((line + "\n").getBytes(StandardCharsets.US_ASCII));
      // What was typed is passed on before the client is let go.
      Workshop.pause(Duration.ofMillis(300));
    }
  }

  private TestGuest serving(
      String name, Machine machine, TestNetwork network, List<Disk> disks, List<Nic> nics) {
    network.within(
        () -> hyperplexor.create(Workshop.linux(name, 256, disks, nics), machine, Progress.NONE));
    TestGuest guest = TestGuest.beatingInMachine(machine.pid(), name, BOOT);
    Workshop.awaitReady(workspace.files(name));
    return guest;
  }

  private void move(String guest, Machine to) {
    assertThat(hyperplexor.replace(guest, to, Duration.ofSeconds(20), Progress.NONE).outcome())
        .isEqualTo(Outcome.COMMITTED);
  }

  private void writing(String when, Machine machine, TestGuest guest) {
    long records = guest.diskSequence();
    double exits = rate(machine) - per("idle, exits/s", when);
    double written = (guest.diskSequence() - records) / (SAMPLE.toMillis() / 1e3);
    table.put("disk write with flush, exits each, " + when, exits / written);
  }

  private void echoing(String when, Machine machine, TestNetwork network) {
    try (EchoStream stream =
        network.within(() -> EchoStream.reach(new InetSocketAddress("10.77.0.2", 7)))) {
      long back = stream.bytesBack();
      double exits = rate(machine) - per("idle, exits/s", when);
      double echoed = (stream.bytesBack() - back) / 256.0 / (SAMPLE.toMillis() / 1e3);
      table.put("echo of 256 bytes, exits each, " + when, exits / echoed);
    }
  }

  private static double rate(Machine machine) {
    double begin = exits(machine);
    long start = System.nanoTime();
    Workshop.pause(SAMPLE);
    return (exits(machine) - begin) * 1e9 / (System.nanoTime() - start);
  }

  private static double exits(Machine machine) {
    return machine.agent().kvm().getOrDefault("exits", 0L);
  }
}
