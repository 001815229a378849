package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hyperplexor.StartReason;
import dev.hyperfresh.linux.Cgroup;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.ProcessRights;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.linux.Unprivileged;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A guest of another user, in a network of its own, with a disk, a kernel and a tap that are the
/// user's: all its later hypervisors are what the first one was.
@Tag("slow")
@Timeout(600)
class AdoptUserTest {
  private static final int USER = 1_999_900_001;
  private static final int GROUP = 1_999_900_002;
  private static final int ONE_MORE = 1_999_900_003;
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);

  /// Opens a queue of a tap as descriptor 30 and becomes what follows: managers pass taps so.
  private static final String WITH_TAP =
      """
      $^F = 99;
      sysopen(my $tap, "/dev/net/tun", 2) or die "tun: $!";
      my $request = pack("a16Sx22", "own0", 0x5102);
      ioctl($tap, 0x400454ca, $request) or die "tap: $!";
      POSIX::dup2(fileno($tap), 30) or die $!;
      close($tap);
      exec @ARGV or die $!;
      """;

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private QemuReleases releases = Workshop.RELEASES;
  private QemuRelease older = Workshop.release("qemu-7.2");
  private QemuRelease newer = Workshop.release("qemu-10.0");

  @Test
  void everyLaterProcessIsWhatTheFirstWas() throws Exception {
    Workshop.require(
        Unprivileged.obstacle().isEmpty(), Unprivileged.obstacle().orElse("no obstacle"));
    Path own = files();
    try (Bounds bounds = new Bounds();
        TestNetwork network = TestNetwork.create();
        OwnQemu first = start(network, own);
        TestGuest guest = TestGuest.beatingIn(first.memory("memory-backend-memfd"), PATIENCE)) {
      String before = facts(first.pid());
      assertThat(before).contains("Uid:\t" + USER, "NoNewPrivs:\t1", "Groups:\t" + ONE_MORE);
      bounds.add(first.pid());
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        GuestView view = adopt(hyperplexor, first);
        assertThat(view.confinement()).contains("user " + USER, "in its network namespace");
        moved(hyperplexor, newer, guest, before);
        assertThat(first.isAlive()).isFalse();
        bounds.assertHolds(hyperplexor.show("mine").pid());
        hyperplexor.letGo();
      }
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        assertThat(takeBack(hyperplexor, PATIENCE)).anyMatch(it -> it.contains("was reattached"));
        moved(hyperplexor, older, guest, before);
        bounds.assertHolds(hyperplexor.show("mine").pid());
        assertThat(network.interfaces()).contains("own0");
        Path log = workspace.files("mine").resolve("console.log");
        assertThat(Files.getAttribute(log, "unix:uid")).isEqualTo(USER);
        // Its network has a name and outlives its processes.
        hyperplexor.stop("mine", Duration.ZERO);
        hyperplexor.start("mine", newer, StartReason.REQUEST, Progress.NONE);
        assertThat(facts(hyperplexor.show("mine").pid())).isEqualTo(before);
        assertThat(network.interfaces()).contains("own0");
        hyperplexor.delete("mine", true);
      }
    }
    assertThat(workspace.files("mine")).doesNotExist();
  }

  /// A control group of the guest's own, where this host has them.
  private static final class Bounds implements AutoCloseable {
    private final Optional<Cgroup> group =
        Cgroup.at(
            Cgroup.MOUNTED, Path.of("hyperfresh-test", "user" + ProcessHandle.current().pid()));

    void add(int pid) {
      group.ifPresent(bounds -> {
        bounds.create(4L << 30, 1000);
        bounds.add(pid);
      });
    }

    void assertHolds(int pid) {
      group.ifPresent(bounds -> assertThat(bounds.holds(pid)).isTrue());
    }

    @Override
    public void close() {
      group.ifPresent(Cgroup::remove);
    }
  }

  /// A daemon that starts connects to the first process once more.
  @Test
  void theUserCannotSendTheDaemonToAnotherSocket() throws Exception {
    Workshop.require(
        Unprivileged.obstacle().isEmpty(), Unprivileged.obstacle().orElse("no obstacle"));
    Path own = files();
    try (TestNetwork network = TestNetwork.create();
        OwnQemu first = start(network, own)) {
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        adopt(hyperplexor, first);
        hyperplexor.letGo();
      }
      Path aside = own.resolve("aside.qmp");
      Files.move(first.qmp(), aside);
      Path roots = workspace.state().resolve("root.sock");
      Files.createSymbolicLink(first.qmp(), roots);
      try (UnixSocket listener = UnixSocket.listen(roots, 0600);
          Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        List<String> told = takeBack(hyperplexor, Duration.ofSeconds(2));
        assertThat(told).anyMatch(it -> it.contains("not reattached yet") && it.contains("EACCES"));
        assertThat(listener.fd().pollReadable(Duration.ofMillis(200))).isFalse();

        Files.move(aside, first.qmp(), StandardCopyOption.REPLACE_EXISTING);
        Workshop.await(
            "the guest",
            PATIENCE,
            () -> hyperplexor.show("mine").state() == GuestView.State.RUNNING);
        first.assertRunning();
        hyperplexor.delete("mine", true);
      }
    }
  }

  /// What is the user's, and releases that every user can read.
  private Path files() throws Exception {
    Files.setPosixFilePermissions(workspace.state(), PosixFilePermissions.fromString("rwx--x--x"));
    TestReleases reachable = new TestReleases(workspace.state().resolve("releases"));
    older = reachable.reachable(older);
    newer = reachable.reachable(newer);
    releases = new QemuReleases(reachable.folder(), Workshop.PACKAGES);
    Path own = Files.createDirectory(workspace.state().resolve("own"));
    Files.copy(Workshop.images().tick(), own.resolve("tick"));
    try (RandomAccessFile disk = new RandomAccessFile(own.resolve("own.img").toFile(), "rw")) {
      disk.setLength(1 << 20);
    }
    try (Stream<Path> all = Files.walk(own)) {
      for (Path file : all.toList()) {
        Files.setAttribute(file, "unix:uid", USER);
        Files.setAttribute(file, "unix:gid", GROUP);
        Files.setPosixFilePermissions(
            file,
            PosixFilePermissions.fromString(Files.isDirectory(file) ? "rwx------" : "rw-------"));
      }
    }
    return own;
  }

  private OwnQemu start(TestNetwork network, Path own) throws IOException {
    List<String> prefix = new ArrayList<>(network.prefix());
    prefix.addAll(List.of("perl", "-MPOSIX", "-e", WITH_TAP));
    prefix.addAll(List.of("setpriv", "--reuid", "" + USER, "--regid", "" + GROUP));
    prefix.addAll(List.of("--groups", "" + ONE_MORE, "--no-new-privs"));
    prefix.addAll(List.of("--inh-caps=-all,+net_bind_service"));
    prefix.addAll(List.of("--ambient-caps=-all,+net_bind_service"));
    prefix.addAll(List.of("--bounding-set=-all,+net_bind_service,+chown", "--"));
    return OwnQemu.start(
        older,
        own,
        prefix,
        "-machine",
        "pc-q35-7.2,accel=tcg,memory-backend=m",
        "-cpu",
        "qemu64",
        "-m",
        "64",
        "-object",
        "memory-backend-memfd,id=m,size=64M,share=on",
        "-kernel",
        own.resolve("tick").toString(),
        "-drive",
        "file=own.img,if=none,id=d0,format=raw",
        "-device",
        "virtio-blk-pci,drive=d0",
        "-netdev",
        "tap,id=n0,fd=30",
        "-device",
        "virtio-net-pci,netdev=n0,mac=52:54:00:77:00:03",
        "-chardev",
        "socket,id=ser0,path=own.con,server=on,wait=off",
        "-serial",
        "chardev:ser0");
  }

  /// As whom it runs, and where.
  private static String facts(int pid) throws IOException {
    ProcessRights rights = ProcessRights.of(ProcFs.HOST, pid);
    String status = Files.readString(Path.of("/proc", Integer.toString(pid), "status"));
    return status
            .lines()
            .filter(line -> line.matches("(Uid|Gid|Groups|Cap...|NoNewPrivs):.*"))
            .reduce("", (all, line) -> all + line + "\n")
        + rights.limits()
        + rights.oomScore()
        + ProcFs.HOST.namespace(pid, "net").orElseThrow();
  }

  private GuestView adopt(Hyperplexor hyperplexor, OwnQemu first) {
    return hyperplexor.adopt(
        "mine", first.pid(), first.qmp(), Optional.empty(), releases::ofProcess, Progress.NONE);
  }

  private List<String> takeBack(Hyperplexor hyperplexor, Duration patience) {
    List<String> told = new CopyOnWriteArrayList<>();
    hyperplexor.takeBack(releases::get, Map.of(), patience, told::add, _ -> {});
    return told;
  }

  private static void moved(Hyperplexor hyperplexor, QemuRelease to, TestGuest guest, String before)
      throws IOException {
    ReplacementRecord record = hyperplexor.replace("mine", to, BLACKOUT, Progress.NONE);
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    guest.awaitBeat(PATIENCE);
    GuestView view = hyperplexor.show("mine");
    assertThat(facts(view.pid())).isEqualTo(before);
    System.out.printf("  to %s: %s%n", to.name(), view.confinement());
  }
}
