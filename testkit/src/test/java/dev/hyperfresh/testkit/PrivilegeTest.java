package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Cgroup;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.Unprivileged;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Two real guests side by side, and what the hypervisor of one may do to everything else: what the
/// kernel says of its process, and what a process with the same rights gets when it tries.
@Tag("slow")
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class PrivilegeTest {
  private static final Duration BUDGET = Duration.ofSeconds(5);

  @RegisterExtension static final Workspace WORKSPACE = Workspace.ofClass();

  private TestReleases releases;
  private QemuRelease older;
  private QemuRelease newer;
  private Daemon daemon;
  private GuestView alpha;
  private GuestView beta;

  @BeforeAll
  void start() throws Exception {
    Workshop.require(
        Unprivileged.obstacle().isEmpty(), Unprivileged.obstacle().orElse("no obstacle"));
    releases = new TestReleases(WORKSPACE.state().resolve("releases"));
    older = releases.reachable(Workshop.release("qemu-7.2"));
    newer = releases.reachable(Workshop.release("qemu-10.0"));
    daemon =
        Daemon.start(
            new DaemonConfig(WORKSPACE.state(), releases.folder(), Workshop.CACHE.resolve("apt")));
    alpha = daemon.hyperplexor().create(guest("alpha"), older, Progress.NONE);
    beta = daemon.hyperplexor().create(guest("beta"), older, Progress.NONE);
  }

  @AfterAll
  void stop() {
    if (daemon != null) {
      daemon.close();
    }
  }

  /// A raw disk, one that may only be read, and a qcow2 image that stands on a raw one.
  private static GuestSpec guest(String name) throws IOException {
    Path folder = Files.createDirectory(WORKSPACE.state().resolve("disks-" + name));
    Path raw = folder.resolve("disk.raw");
    Path base = folder.resolve("base.raw");
    Path fixed = folder.resolve("fixed.raw");
    for (Path image : List.of(raw, base, fixed)) {
      try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
        file.setLength(16 << 20);
      }
    }
    Path overlay = folder.resolve("overlay.qcow2");
    Files.write(overlay, qcow2(16 << 20, "base.raw", "raw"));
    try (Stream<Path> all = Files.list(folder)) {
      for (Path image : all.toList()) {
        Files.setPosixFilePermissions(image, PosixFilePermissions.fromString("rw-------"));
      }
    }
    GuestSpec plain = Workshop.tick(name, 64, AcceleratorWish.TCG);
    return new GuestSpec(
        plain.name(),
        plain.vcpus(),
        plain.memoryBytes(),
        plain.machine(),
        plain.cpu(),
        plain.accelerator(),
        plain.boot(),
        List.of(
            new Disk(raw, Disk.Format.RAW, false),
            new Disk(overlay, Disk.Format.QCOW2, false),
            new Disk(fixed, Disk.Format.RAW, true)),
        List.of());
  }

  /// A whole, empty image of version 3 with clusters of 64 KiB: header, table of reference counts,
  /// one block of them, and a first-level table. Source: QEMU's `docs/interop/qcow2.txt`.
  static byte[] qcow2(long bytes, String backing, String format) {
    int cluster = 1 << 16;
    ByteBuffer image = ByteBuffer.allocate(4 * cluster);
    byte[] name = backing.getBytes(StandardCharsets.US_ASCII);
    byte[] kind = format.getBytes(StandardCharsets.US_ASCII);
    image.putInt(0x514649fb).putInt(3).putLong(512).putInt(name.length).putInt(16);
    image.putLong(bytes).putInt(0).putInt(1).putLong(3L * cluster);
    image.putLong(cluster).putInt(1).putInt(0).putLong(0);
    image.putLong(0).putLong(0).putLong(0).putInt(4).putInt(104);
    image.putInt(0xe2792aca).putInt(kind.length).put(kind);
    image.put(512, name);
    image.putLong(cluster, 2L * cluster);
    for (int i = 0; i < 4; i++) {
      image.putShort(2 * cluster + 2 * i, (short) 1);
    }
    return image.array();
  }

  @Test
  void theyMoveThereAndBackAndHaveNothingButTheirOwn() throws Exception {
    int user = check(alpha);
    assertThat(check(beta)).isNotEqualTo(user);
    try (TestGuest guest = TestGuest.beatingIn(alpha.pid(), Workshop.BOOT)) {
      for (QemuRelease to : List.of(newer, older, newer)) {
        ReplacementRecord record =
            daemon.guests().replace("alpha", to.name(), BUDGET, Progress.NONE);
        System.out.println("  to " + to.name() + " blackout " + record.blackoutMs());
        assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
        guest.awaitBeat(Workshop.BOOT);
        alpha = daemon.hyperplexor().show("alpha");
        assertThat(check(alpha)).isEqualTo(user);
      }
    }
  }

  /// What the kernel says of a hypervisor.
  private static int check(GuestView view) throws IOException {
    String name = view.spec().name();
    Map<String, String> status = status(view.pid());
    int user = Host.processUid(view.pid()).orElseThrow();
    assertThat(user).isBetween(2_000_000_000, 2_000_065_535);
    String four = (user + "\t").repeat(4).strip();
    assertThat(status.get("Uid")).isEqualTo(four);
    assertThat(status.get("Gid")).isEqualTo(four);
    assertThat(status.get("Groups")).isEmpty();
    for (String set : List.of("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")) {
      assertThat(status.get(set)).as(set).isEqualTo("0000000000000000");
    }
    assertThat(status.get("NoNewPrivs")).isEqualTo("1");
    assertThat(status.get("Seccomp")).isEqualTo("2");
    assertThat(view.confinement()).contains("user " + user + ", its own");
    if (Cgroup.at(Cgroup.MOUNTED, Path.of("hyperfresh")).isPresent()) {
      assertThat(view.confinement()).contains("cgroup hyperfresh/" + name + "." + user);
      assertThat(Files.readString(Path.of("/proc/" + view.pid() + "/cgroup")))
          .containsPattern("(pids|:):/hyperfresh/" + name + "\\." + user + "\n");
    }
    checkDescriptors(view);
    return user;
  }

  private static Map<String, String> status(int pid) throws IOException {
    Map<String, String> fields = new TreeMap<>();
    for (String line : Files.readAllLines(Path.of("/proc/" + pid + "/status"))) {
      String[] parts = line.split(":", 2);
      fields.put(parts[0], parts[1].strip());
    }
    return fields;
  }

  /// Each descriptor is one that it was given, or one of the kinds that it makes for itself.
  private static void checkDescriptors(GuestView view) throws IOException {
    String name = view.spec().name();
    Path files = view.files();
    Path disks = WORKSPACE.state().resolve("disks-" + name);
    List<String> given =
        List.of(
            "/dev/null",
            files.resolve("hypervisor-" + view.generation() + ".log").toString(),
            files.resolve("console.log").toString(),
            files.resolve("kernel").toString(),
            "/memfd:hf-" + name + " (deleted)",
            disks.resolve("disk.raw").toString(),
            disks.resolve("overlay.qcow2").toString(),
            disks.resolve("base.raw").toString(),
            disks.resolve("fixed.raw").toString());
    List<String> open = new ArrayList<>();
    try (Stream<Path> fds = Files.list(Path.of("/proc/" + view.pid() + "/fd"))) {
      for (Path fd : fds.toList()) {
        open(fd).ifPresent(open::add);
      }
    }
    assertThat(open).as("descriptors of " + name).containsAll(given);
    assertThat(open)
        .as("descriptors of " + name)
        .allMatch(target ->
            given.contains(target)
                || target.matches(
                    "socket:.*|anon_inode:\\[(eventfd|eventpoll|signalfd|io_uring)\\]"));
  }

  private static Optional<String> open(Path descriptor) throws IOException {
    try {
      return Optional.of(Files.readSymbolicLink(descriptor).toString());
    } catch (NoSuchFileException e) {
      // Closed since it was listed.
      return Optional.empty();
    }
  }

  @Test
  void aSecondWriterOfADiskIsRefused() throws Exception {
    for (Disk disk : alpha.spec().disks().subList(0, 2)) {
      GuestSpec plain = Workshop.tick("thief", 64, AcceleratorWish.TCG);
      GuestSpec thief =
          new GuestSpec(
              "thief",
              1,
              plain.memoryBytes(),
              plain.machine(),
              plain.cpu(),
              plain.accelerator(),
              plain.boot(),
              List.of(disk),
              List.of());
      assertThatThrownBy(() -> daemon.hyperplexor().create(thief, older, Progress.NONE))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.GUEST_START))
          .hasMessageContaining("lock");
    }
  }

  @Test
  void theHypervisorOfOneGuestGetsNothingOfAnotherOrOfTheDaemon() throws Exception {
    int user = Host.processUid(alpha.pid()).orElseThrow();
    // What a user who owns nothing may read, so that the failures below mean something.
    assertThat(attempt(user, "cat < " + newer.binary() + " > /dev/null")).isEmpty();
    Path state = WORKSPACE.state();
    List<String> tries = new ArrayList<>();
    for (String entry : List.of("fd/10", "fd/22", "mem", "maps", "environ", "cwd/x", "root/x")) {
      tries.add("cat < /proc/" + beta.pid() + "/" + entry);
    }
    tries.add("kill -9 " + beta.pid());
    tries.add("kill -9 " + ProcessHandle.current().pid());
    for (String file :
        List.of(
            "journal.log",
            "history.db",
            "daemon.lock",
            "guests/beta/kernel",
            "guests/beta/console.log",
            "guests/beta/guest.properties",
            "guests/beta/disks.json",
            "guests/alpha/guest.properties",
            "guests/alpha/disks.json",
            "disks-beta/disk.raw",
            "disks-beta/overlay.qcow2",
            "disks-alpha/disk.raw")) {
      assertThat(state.resolve(file)).exists();
      tries.add("cat < " + state.resolve(file));
      tries.add("echo x >> " + state.resolve(file));
    }
    for (String folder : List.of("", "guests", "guests/alpha", "guests/beta", "run")) {
      tries.add("ls " + state.resolve(folder));
      tries.add("echo x > " + state.resolve(folder).resolve("new"));
    }
    tries.add("echo x > " + newer.binary());
    tries.add("echo 1 > /sys/fs/cgroup/memory/cgroup.procs");
    tries.add("cat /run/hyperfresh/users/" + user);
    for (String each : tries) {
      assertThat(attempt(user, each)).as(each).containsPattern("ermission denied|not permitted");
    }
    assertThat(daemon.hyperplexor().show("beta").state()).isEqualTo(GuestView.State.RUNNING);
  }

  @Test
  void itConnectsToNoSocketOfTheDaemonOrOfAnotherGuest() throws Exception {
    int user = Host.processUid(alpha.pid()).orElseThrow();
    List<Path> sockets = new ArrayList<>();
    sockets.add(daemon.config().socket());
    try (Stream<Path> run = Files.list(WORKSPACE.state().resolve("run"))) {
      sockets.addAll(run.toList());
    }
    assertThat(sockets).hasSizeGreaterThan(4);
    for (Path socket : sockets) {
      String peer = "IO::Socket::UNIX->new(Peer => \"" + socket + "\")";
      assertThat(attempt(user, "perl -MIO::Socket::UNIX -e '" + peer + " or die \"$!\\n\"'"))
          .as(socket.toString())
          .contains("Permission denied");
    }
  }

  @Test
  void whatIsStoppedGivesBackItsUserAndItsGroup() throws Exception {
    GuestView gone =
        daemon
            .hyperplexor()
            .create(Workshop.tick("gone", 64, AcceleratorWish.TCG), newer, Progress.NONE);
    int user = Host.processUid(gone.pid()).orElseThrow();
    Path taken = Path.of("/run/hyperfresh/users", Integer.toString(user));
    Optional<Cgroup> cgroup = Cgroup.at(Cgroup.MOUNTED, Path.of("hyperfresh", "gone." + user));
    assertThat(taken).hasContent(gone.files().toString());

    daemon.hyperplexor().stop("gone", Duration.ZERO);

    // Somebody else on this host may have it by now.
    assertThat(Files.exists(taken) ? Files.readString(taken) : "")
        .isNotEqualTo(gone.files().toString());
    cgroup.ifPresent(group ->
        assertThat(
                Stream.of("", "memory", "pids", "unified")
                    .map(Cgroup.MOUNTED::resolve)
                    .map(root -> root.resolve(group.name())))
            .noneMatch(Files::exists));
    daemon.hyperplexor().delete("gone");
    assertThat(gone.files()).doesNotExist();
  }

  @Test
  void aReleaseBehindAClosedFolderRunsAsTheDaemonsUserAndSaysSo() throws Exception {
    QemuRelease hidden = releases.script("qemu-95.0.0", newer, "exec REAL \"$@\"");
    Path folder = Optional.ofNullable(hidden.binary().getParent()).orElseThrow();
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwx------"));
    GuestView view =
        daemon
            .hyperplexor()
            .create(Workshop.tick("hidden", 64, AcceleratorWish.TCG), hidden, Progress.NONE);
    try {
      assertThat(Host.processUid(view.pid())).hasValue(Host.effectiveUid());
      assertThat(view.confinement()).contains("the daemon's user", folder + " is closed");
    } finally {
      daemon.hyperplexor().delete("hidden");
    }
  }

  /// Runs a line of shell with exactly a hypervisor's rights, and gives what it complains about.
  private static String attempt(int user, String line) throws Exception {
    Process process =
        new ProcessBuilder(
                Unprivileged.command(
                    List.of("sh", "-c", line), Map.of(), user, OptionalInt.empty()))
            .directory(Path.of("/").toFile())
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      return new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } finally {
      process.waitFor();
    }
  }
}
