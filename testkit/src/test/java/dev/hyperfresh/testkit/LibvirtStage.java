package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/// A libvirt of this host's Debian that is not installed: its packages lie over the host's files in
/// a mount namespace of their own, in which libvirt, a daemon and all commands of a test run. The
/// host sees none of it but their processes, and it ends with them.
final class LibvirtStage implements AutoCloseable {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final String EMULATOR = "/usr/bin/qemu-system-x86_64";

  private static final List<String> PACKAGES =
      List.of("libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "libvirt0");

  private static final String NAMESPACE =
      """
      set -eu
      work=$1 packages=$2
      mount -t tmpfs -o mode=755 tmpfs "$work"
      for top in usr etc var; do
        mkdir "$work/$top" "$work/$top.work"
        mount -t overlay overlay -o \
          "lowerdir=$packages/$top:/$top,upperdir=$work/$top,workdir=$work/$top.work" "/$top"
      done
      mount -t tmpfs -o mode=755 tmpfs /run
      mkdir -p /run/lock /run/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt
      # Its driver wants this user, whoever the guests are to run as.
      echo "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin" >> /etc/passwd
      echo "libvirt-qemu:x:64055:" >> /etc/group
      # Its groups would be the host's.
      mount -t tmpfs tmpfs /sys/fs/cgroup
      echo ready
      exec sleep 3600
      """;

  private static final String QEMU_CONF =
      """
      user = "root"
      group = "root"
      dynamic_ownership = 0
      remember_owner = 0
      security_driver = "none"
      cgroup_controllers = [ ]
      stdio_handler = "file"
      """;

  private static final String LIBVIRTD_CONF =
      """
      unix_sock_group = "root"
      unix_sock_rw_perms = "0700"
      auth_unix_rw = "none"
      """;

  private final Path state;
  private final Process holder;

  private LibvirtStage(Path state, Process holder) {
    this.state = state;
    this.holder = holder;
  }

  /// Opens one, with `emulator` as the host's QEMU, or leaves the test out and says why.
  static LibvirtStage open(Path state, QemuRelease emulator) throws Exception {
    Workshop.require(Host.effectiveUid() == 0, "mounting needs root");
    Workshop.require(
        Files.readString(Path.of("/proc/filesystems")).contains("\toverlay"),
        "this kernel has no overlay file system");
    Path packages = packages();
    Path work = Files.createDirectory(state.resolve("namespace"));
    Process holder =
        new ProcessBuilder(
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "bash",
                "-c",
                NAMESPACE,
                "namespace",
                work.toString(),
                packages.toString())
            .redirectErrorStream(true)
            .start();
    LibvirtStage stage = new LibvirtStage(state, holder);
    String said = holder.inputReader().readLine();
    if (said == null || !said.equals("ready")) {
      stage.close();
      Workshop.require(false, "no namespace with libvirt in it: " + said);
    }
    stage.write("/etc/libvirt/qemu.conf", QEMU_CONF);
    stage.write("/etc/libvirt/libvirtd.conf", LIBVIRTD_CONF);
    stage.write(EMULATOR, wrapper(emulator));
    assertThat(stage.path(EMULATOR).toFile().setExecutable(true)).isTrue();
    return stage;
  }

  /// libvirt starts the emulator with nothing in its environment.
  private static String wrapper(QemuRelease release) {
    String environment =
        release.environment().entrySet().stream()
            .map(variable -> "export " + variable.getKey() + "='" + variable.getValue() + "'\n")
            .collect(Collectors.joining());
    List<String> program = new ArrayList<>(release.program());
    program.addAll(release.arguments());
    return "#!/bin/sh\n" + environment + "exec " + String.join(" ", program) + " \"$@\"\n";
  }

  /// What was fetched once serves all tests.
  private static Path packages() throws IOException, InterruptedException {
    Path home = Workshop.CACHE.resolve("libvirt");
    if (Files.isDirectory(home)) {
      return home;
    }
    Path draft = Files.createTempDirectory(Workshop.CACHE, ".libvirt-");
    try {
      Workshop.PACKAGES.unpack(Suite.STABLE, PACKAGES, true, draft, Workshop::say);
      // Where packages are from before /lib became a link.
      String merge =
          "cd \"$1\"; mkdir -p usr etc var; for d in lib bin sbin; do"
              + " if [ -d $d ] && [ ! -h $d ]; then mkdir -p usr/$d; cp -a $d/. usr/$d/; rm -r $d; fi;"
              + " done; chmod 755 .";
      assertThat(
              new ProcessBuilder("sh", "-c", merge, "merge", draft.toString())
                  .inheritIO()
                  .start()
                  .waitFor())
          .isZero();
      GuestImages.keep(draft, home);
    } catch (PackagesException e) {
      Workshop.require(false, String.valueOf(e.getMessage()));
    } finally {
      Workspace.delete(draft);
    }
    return home;
  }

  /// A file of the namespace as this process sees it.
  Path path(String inside) {
    return Path.of("/proc", Long.toString(holder.pid()), "root" + inside);
  }

  private void write(String inside, String text) throws IOException {
    Files.createDirectories(path(inside).resolveSibling(""));
    Files.deleteIfExists(path(inside));
    Files.writeString(path(inside), text);
  }

  private ProcessBuilder inside(List<String> command) {
    List<String> line =
        new ArrayList<>(
            List.of("nsenter", "--mount=/proc/" + holder.pid() + "/ns/mnt", "--wd=/tmp", "--"));
    line.addAll(command);
    return new ProcessBuilder(line).redirectInput(Path.of("/dev/null").toFile());
  }

  /// Runs a command to its end.
  CommandRun run(List<String> command) throws IOException, InterruptedException {
    Path out = Files.createTempFile(state, "out", ".txt");
    Path err = Files.createTempFile(state, "err", ".txt");
    Process process =
        inside(command).redirectOutput(out.toFile()).redirectError(err.toFile()).start();
    if (!process.waitFor(300, TimeUnit.SECONDS)) {
      process.destroyForcibly();
      throw new AssertionError(command + " does not end");
    }
    return new CommandRun(
        command, process.exitValue(), Files.readString(out), Files.readString(err));
  }

  /// Starts libvirt as a host without systemd does, or a user by hand.
  void startLibvirt() throws Exception {
    run(List.of(
            "libvirtd",
            "--daemon",
            "--config",
            "/etc/libvirt/libvirtd.conf",
            "--pid-file",
            "/run/libvirt/libvirtd.pid"))
        .succeeds();
  }

  /// Starts another one, as somebody might by hand, and comes when it has ended.
  CommandRun startAnotherLibvirt() throws Exception {
    return run(
        List.of(
            "libvirtd",
            "--config",
            "/etc/libvirt/libvirtd.conf",
            "--pid-file",
            "/run/libvirt/other.pid"));
  }

  /// The number of its process; 0 when it does not run.
  int libvirt() {
    return ProcFs.HOST.pids().stream()
        .filter(pid -> isInside(pid) && isProgram(pid, "libvirtd"))
        .findFirst()
        .orElse(0);
  }

  /// All that run in the namespace, but for what holds it.
  private List<ProcessHandle> inside() {
    return ProcFs.HOST.pids().stream()
        .filter(this::isInside)
        .flatMap(pid -> ProcessHandle.of(pid).stream())
        .filter(process -> process.pid() != holder.pid())
        .toList();
  }

  private boolean isInside(int pid) {
    return ProcFs.HOST
        .namespace(pid, "mnt")
        .filter(its -> Optional.of(its).equals(ProcFs.HOST.namespace((int) holder.pid(), "mnt")))
        .isPresent();
  }

  private static boolean isProgram(int pid, String name) {
    try {
      return Files.readSymbolicLink(ProcFs.HOST.of(pid, "exe")).endsWith(name);
    } catch (IOException ended) {
      return false;
    }
  }

  /// What libvirt's own command says.
  String virsh(String... words) throws Exception {
    return asked(words).succeeds().out().strip();
  }

  CommandRun asked(String... words) throws Exception {
    List<String> command = new ArrayList<>(List.of("virsh", "-q", "-c", "qemu:///system"));
    command.addAll(List.of(words));
    return run(command);
  }

  /// Defines a domain as virt-install does, and starts it.
  ///
  /// @param memory what its `memoryBacking` has; empty for libvirt's default, which is private
  void start(String name, String memory) throws Exception {
    Path disk = state.resolve(name + ".img");
    try (RandomAccessFile image = new RandomAccessFile(disk.toFile(), "rw")) {
      image.setLength(16 << 20);
    }
    Path file =
        Files.writeString(
            state.resolve(name + ".xml"),
            """
            <domain type='qemu'>
              <name>%s</name>
              <memory unit='MiB'>64</memory>
              <memoryBacking>%s</memoryBacking>
              <vcpu>1</vcpu>
              <os>
                <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
                <kernel>%s</kernel>
              </os>
              <features><acpi/><apic/></features>
              <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>
              <clock offset='utc'>
                <timer name='rtc' tickpolicy='catchup'/>
                <timer name='pit' tickpolicy='delay'/>
                <timer name='hpet' present='no'/>
              </clock>
              <on_reboot>restart</on_reboot>
              <pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>
              <devices>
                <emulator>%s</emulator>
                <disk type='file' device='disk'>
                  <driver name='qemu' type='raw' discard='unmap'/>
                  <source file='%s'/>
                  <target dev='vda' bus='virtio'/>
                </disk>
                <controller type='usb' model='qemu-xhci' ports='15'/>
                <serial type='pty'/>
                <console type='pty'/>
                <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
                <input type='tablet' bus='usb'/>
                <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>
                <video><model type='vga'/></video>
                <memballoon model='virtio'/>
                <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
              </devices>
            </domain>
            """
                .formatted(name, memory, Workshop.images().tick(), EMULATOR, disk));
    virsh("define", file.toString());
    virsh("start", name);
  }

  /// The process of a domain, as libvirt has written it down.
  int pid(String domain) {
    try {
      return Integer.parseInt(
          Files.readString(path("/run/libvirt/qemu/" + domain + ".pid")).strip());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The `hyperfresh` command.
  CommandRun hyperfresh(String... words) throws Exception {
    return run(command(words));
  }

  private List<String> command(String... words) {
    List<String> command = CommandRun.command(words);
    command.addAll(List.of("--state", state.toString()));
    return command;
  }

  /// The same, which goes on.
  Process begin(String... words) throws IOException {
    return inside(command(words))
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.appendTo(state.resolve(words[0] + ".log").toFile()))
        .start();
  }

  /// A daemon that answers.
  Process startDaemon() throws IOException {
    // One that was killed has left its socket.
    Files.deleteIfExists(state.resolve("daemon.sock"));
    Process daemon = begin("daemon");
    Path log = state.resolve("daemon.log");
    Workshop.await(
        "a daemon",
        PATIENCE,
        () -> !daemon.isAlive() || Files.isWritable(state.resolve("daemon.sock")));
    assertThat(daemon.isAlive()).as(Files.readString(log)).isTrue();
    return daemon;
  }

  /// All that libvirt has written about a domain's emulator.
  String log(String domain) throws IOException {
    Path file = path("/var/log/libvirt/qemu/" + domain + ".log");
    return Files.exists(file)
        ? new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1)
        : "";
  }

  @Override
  public void close() {
    // The namespace ends with the last process in it, which may write files until then.
    inside().forEach(ProcessHandle::destroyForcibly);
    Workshop.await("the end of all in the namespace", PATIENCE, () -> inside().isEmpty());
    holder.destroyForcibly();
    try {
      holder.waitFor();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
