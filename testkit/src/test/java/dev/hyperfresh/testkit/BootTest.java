package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.Agent.Exited;
import dev.hyperfresh.vm.Agent.Mode;
import dev.hyperfresh.vm.Agent.Opening;
import dev.hyperfresh.vm.Agent.Program;
import dev.hyperfresh.vm.AgentException;
import dev.hyperfresh.vm.VirtualMachine;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Machines of both ends of what is supported, booted under TCG: their KVM runs a guest whose
/// memory is a window that was added to the running machine, and that window can be taken away
/// again.
@Tag("slow")
@Timeout(600)
class BootTest {
  private static final Duration BOOT = Duration.ofMinutes(2);
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final long WINDOW_AT = 1L << 32;
  private static final long WINDOW_BYTES = 64L << 20;

  @TempDir Path folder;
  private final BlockingQueue<Exited> ends = new LinkedBlockingQueue<>();

  @ParameterizedTest
  @CsvSource({"6.12, 10.0", "6.1, 7.2"})
  void aMachineRunsAGuestInAWindow(String kernel, String qemu) throws Exception {
    MachineRelease release =
        MachineRecipe.releases(Workshop.CACHE.resolve("releases"), Workshop.PACKAGES)
            .build(kernel, qemu, Workshop::say);
    QemuRelease outer = Workshop.RELEASES.fetch("qemu-10.0", Workshop::say);
    Path window = Files.createTempFile(Path.of("/dev/shm"), "hf-window-", "");
    long start = System.nanoTime();
    try (OwnQemu machine = OwnQemu.start(outer, folder, List.of(), arguments(release))) {
      try (Agent agent = agent()) {
        Agent.Hello hello = agent.awaitHello(BOOT);
        Workshop.say(
            "%s: hello after %d ms, %d of %d MiB free, initrd %d MiB"
                .formatted(
                    release.name(),
                    (System.nanoTime() - start) / 1_000_000,
                    hello.memoryFreeKib() >> 10,
                    hello.memoryTotalKib() >> 10,
                    Files.size(release.initrd()) >> 20));
        assertThat(hello.kernelRelease()).isEqualTo(release.kernelRelease());
        assertThat(hello.memoryFreeKib()).isGreaterThan(600 << 10);
        assertThat(agent.parameters()).containsKey("halt_poll_ns");
        agent.haltPoll(0);
        assertThat(agent.parameters()).containsEntry("halt_poll_ns", "0");
        assertThat(agent.kvm()).containsEntry("exits", 0L);
        speaksThroughPorts(agent);
        bridges(agent);

        addWindow(machine, window);
        refusesASmallerWindow(agent, release);
        int pid = agent.start(guest(release, WINDOW_BYTES));
        Workshop.await("a guest's write", PATIENCE, () -> isWritten(window) || !ends.isEmpty());
        assertThat(ends).isEmpty();
        assertThat(agent.kvm().get("exits")).isPositive();
        assertThat(agent.state(pid)).hasSizeGreaterThan(2);
        agent.signal(pid, 9);
        assertThat(end().signal()).contains(9);
      }
      // Another host takes over.
      try (Agent agent = agent()) {
        agent.awaitHello(PATIENCE);
        agent.eject(0);
        Workshop.await(
            "DEVICE_DELETED", PATIENCE, () -> machine.reported("DEVICE_DELETED", "dimm0"));
        assertThatThrownBy(() -> agent.eject(0))
            .isInstanceOf(AgentException.class)
            .hasMessageContaining("holds no memory");
        agent.poweroff();
      }
      Workshop.await("the machine's end", PATIENCE, () -> !machine.isAlive());
    } finally {
      Files.delete(window);
    }
  }

  private String[] arguments(MachineRelease release) {
    List<String> arguments =
        new ArrayList<>(List.of("-accel", "tcg", "-cpu", "EPYC,+svm,+npt", "-M", "q35"));
    arguments.addAll(List.of("-m", "1024M,slots=4,maxmem=16G", "-no-reboot"));
    arguments.addAll(List.of("-kernel", release.kernel().toString()));
    arguments.addAll(List.of("-initrd", release.initrd().toString()));
    arguments.addAll(List.of("-append", "acpi_no_memhotplug panic=-1 quiet console=ttyS0"));
    arguments.addAll(List.of("-serial", "file:" + folder.resolve("console.log")));
    arguments.addAll(List.of("-device", "virtio-serial-pci"));
    for (String port : List.of(VirtualMachine.AGENT_PORT, "hf.out")) {
      String path = folder.resolve(port).toString();
      arguments.addAll(
          List.of("-chardev", "socket,id=" + port + ",path=" + path + ",server=on,wait=off"));
      arguments.addAll(List.of("-device", "virtserialport,chardev=" + port + ",name=" + port));
    }
    arguments.addAll(List.of("-drive", "if=none,id=d,driver=null-co,size=1048576"));
    arguments.addAll(List.of("-device", "virtio-blk-pci,drive=d,serial=web1-0"));
    arguments.addAll(List.of("-netdev", "socket,id=n,udp=127.0.0.1:9,localaddr=127.0.0.1:0"));
    arguments.addAll(List.of("-device", "virtio-net-pci,netdev=n,mac=52:54:00:00:00:77,romfile="));
    return arguments.toArray(String[]::new);
  }

  private Agent agent() {
    return Agent.over(UnixSocket.connect(folder.resolve(VirtualMachine.AGENT_PORT)), ends::add);
  }

  /// A QEMU without a machine greets whoever its control channel is connected to: here the outlet.
  private void speaksThroughPorts(Agent agent) {
    String device = agent.port("hf.out", PATIENCE);
    String path = VirtualMachine.RUN_FOLDER + "/out";
    agent.outlet(device, path);
    try (UnixSocket out = UnixSocket.connect(folder.resolve("hf.out"))) {
      out.receiveTimeout(PATIENCE);
      int pid =
          agent.start(
              new Program(
                  List.of(
                      MachineRelease.QEMU,
                      "-nodefaults",
                      "-display",
                      "none",
                      "-accel",
                      "kvm",
                      "-M",
                      "none",
                      "-chardev",
                      "socket,id=c,path=" + path,
                      "-mon",
                      "chardev=c,mode=control"),
                  Map.of(),
                  List.of()));
      byte[] greeting = new byte[4096];
      int length = out.receive(greeting, new ArrayList<>());
      assertThat(new String(greeting, 0, length, StandardCharsets.UTF_8)).startsWith("{\"QMP\"");
      agent.signal(pid, 9);
      assertThat(end().signal()).contains(9);
    }
    agent.outletClose(path);
    assertThat(agent.disk("web1-0", PATIENCE)).isEqualTo("/dev/vda");
  }

  private void bridges(Agent agent) {
    agent.link("52:54:00:00:00:77", "web1", PATIENCE);
    agent.start(
        new Program(
            List.of(MachineRelease.QEMU, "-version"),
            Map.of(),
            List.of(new Opening(5, Mode.TAP, "web1"), new Opening(6, Mode.R, "/dev/vda"))));
    assertThat(end().code()).contains(0);
    agent.unlink("web1");
  }

  private void addWindow(OwnQemu machine, Path window) throws IOException {
    machine.say(
        "object-add",
        "{\"qom-type\":\"memory-backend-file\",\"id\":\"w0\",\"size\":%d,\"share\":true,\"mem-path\":\"%s\"}"
            .formatted(WINDOW_BYTES, window));
    machine.say(
        "device_add",
        "{\"driver\":\"pc-dimm\",\"id\":\"dimm0\",\"memdev\":\"w0\",\"addr\":%d}"
            .formatted(WINDOW_AT));
    assertThat(isWritten(window)).isFalse();
  }

  /// Boots nothing: the firmware that it starts is what writes to the memory.
  private static Program guest(MachineRelease release, long windowBytes) {
    boolean offset = !release.qemuVersion().startsWith("7.");
    String memory = "memory-backend-file,id=m,share=on,mem-path=/dev/mem,size=" + WINDOW_BYTES;
    return new Program(
        List.of(
            MachineRelease.QEMU,
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            (WINDOW_BYTES >> 20) + "M",
            "-object",
            offset ? memory + ",offset=" + WINDOW_AT : memory,
            "-M",
            "pc-q35-7.2,memory-backend=m"),
        offset
            ? Map.of()
            : Map.of(
                "LD_PRELOAD",
                MachineRelease.WINDOW_LIBRARY,
                MachineRelease.WINDOW_VARIABLE,
                WINDOW_AT + ":" + windowBytes),
        List.of());
  }

  private void refusesASmallerWindow(Agent agent, MachineRelease release) {
    if (release.qemuVersion().startsWith("7.")) {
      agent.start(guest(release, WINDOW_BYTES / 2));
      Exited end = end();
      assertThat(end.code()).contains(1);
      assertThat(end.tail()).contains("Invalid argument");
    }
  }

  private Exited end() {
    try {
      Exited end = ends.poll(PATIENCE.toSeconds(), TimeUnit.SECONDS);
      if (end == null) {
        throw new AssertionError("no program has ended");
      }
      return end;
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  /// Whether anything stands in the guest's first MiB.
  private static boolean isWritten(Path window) {
    try (RandomAccessFile file = new RandomAccessFile(window.toFile(), "r")) {
      byte[] first = new byte[(int) Math.min(1 << 20, file.length())];
      file.readFully(first);
      for (byte b : first) {
        if (b != 0) {
          return true;
        }
      }
      return false;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
