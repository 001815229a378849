package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.FoundProcess;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.linux.Unprivileged;
import dev.hyperfresh.release.DebianPackages;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// A process of another user that names what is not the user's.
@Timeout(60)
class ForeignFilesTest {
  private static final int USER = 1_999_000_001;
  private static final Duration PATIENCE = Duration.ofSeconds(2);

  /// As many as take a second or more to compare.
  private static final long MANY_BYTES = 768L << 20;

  @TempDir Path folder;

  @BeforeEach
  void needsRoot() throws Exception {
    if (Unprivileged.obstacle().isPresent()) {
      System.out.println("skipped: " + Unprivileged.obstacle().get());
      Assumptions.abort();
    }
    mode(folder, "rwxrwxrwx");
  }

  private interface Attempt {
    void on(ForeignProcess process, ForeignFiles files) throws Exception;
  }

  /// Does something with a process of the user, which was started when all files were there.
  private void attempt(Attempt attempt, String... command) throws Exception {
    Process process =
        new ProcessBuilder(
                Unprivileged.command(List.of(command), Map.of(), USER, OptionalInt.empty()))
            .directory(folder.toFile())
            .start();
    try {
      ForeignProcess foreign = new ForeignProcess((int) process.pid());
      // While one program takes another's place there are no words.
      Path words = Path.of("/proc/" + foreign.pid() + "/cmdline");
      while (Host.processUid(foreign.pid()).orElse(0) != USER
          || !Files.readString(words).equals(String.join("\0", command) + "\0")) {
        Thread.sleep(20);
      }
      attempt.on(foreign, new ForeignFiles(foreign, new FileUser(USER, USER, List.of())));
    } finally {
      process.destroyForcibly().waitFor();
    }
  }

  @Test
  void whatTheUserMayNotReadIsNotCopied() throws Exception {
    Path own = Files.writeString(folder.resolve("own"), "[machine]\n");
    Path secret = mode(Files.writeString(folder.resolve("secret"), "root's"), "rw-------");
    Files.createSymbolicLink(folder.resolve("kernel"), secret);
    Files.createSymbolicLink(folder.resolve("machine.cfg"), secret);
    Path copies = Files.createDirectory(folder.resolve("copies"));

    attempt(
        (process, files) -> {
          long length = Files.size(own);
          assertThat(files.copy(own, copies, copies.resolve("read-files/0/own"), length))
              .isEqualTo(length);
          assertThat(copies.resolve("read-files/0/own")).hasSameTextualContentAs(own);
          assertThat(files.length(own)).hasValue(Files.size(own));
          assertThat(files.configuration("own")).isEqualTo("[machine]\n");

          Path kernel = folder.resolve("kernel");
          assertThat(process.sees(kernel)).isTrue();
          assertThatThrownBy(() -> files.copy(kernel, copies, copies.resolve("kernel"), 99))
              .isInstanceOf(IOException.class)
              .hasMessage("its user may not read it");
          assertThatThrownBy(() -> files.configuration("machine.cfg"))
              .hasMessage("its user may not read it");
          assertThat(files.length(kernel)).isEmpty();
          assertThatThrownBy(() -> files.copy(own, copies, copies.resolve("kernel"), length - 1))
              .hasMessageContaining("there is room for " + (length - 1) + " bytes more");
          assertThat(copies.resolve("kernel")).doesNotExist();
        },
        "sleep",
        "60");
  }

  /// Everybody may open the memory of a guest who comes to it, and root comes to all descriptors.
  @Test
  void theMemoryOfAnotherGuestIsNoKernel() throws Exception {
    try (MemFd memory = MemFd.create("another", 4096)) {
      Path descriptor =
          Path.of("/proc", ProcessHandle.current().pid() + "", "fd", memory.fd().number() + "");
      Path kernel = Files.createSymbolicLink(folder.resolve("kernel"), descriptor);

      attempt(
          (process, files) -> {
            assertThat(process.sees(kernel)).isTrue();
            assertThatThrownBy(() -> files.copy(kernel, folder, folder.resolve("copy"), 1 << 20))
                .isInstanceOf(IOException.class);
            assertThat(folder.resolve("copy")).doesNotExist();
          },
          "sleep",
          "60");
    }
  }

  @Test
  void nobodyElsesSocketIsConnected() throws Exception {
    Path closed = folder.resolve("root.sock");
    Path own = Files.createSymbolicLink(folder.resolve("own.sock"), closed);
    try (UnixSocket listener = UnixSocket.listen(closed, 0600)) {
      attempt(
          (process, files) -> {
            assertThatThrownBy(() -> process.connect(own, files.user(), PATIENCE))
                .isInstanceOf(LinuxException.class)
                .hasMessageContaining("EACCES");
            assertThat(listener.fd().pollReadable(Duration.ofMillis(200))).isFalse();
            // One that the user may use is another process's all the same.
            mode(closed, "rw-rw-rw-");
            assertThatThrownBy(() -> process.connect(own, files.user(), PATIENCE))
                .isInstanceOf(QemuProcess.TroubleException.class)
                .hasMessageContaining("belongs to process " + ProcessHandle.current().pid());
          },
          "sleep",
          "60");
    }
  }

  @Test
  void whatLaterProcessesCouldNotOpenIsNamed() throws Exception {
    Path open = mode(Files.writeString(folder.resolve("open.img"), "x"), "rw-rw-rw-");
    Path read = mode(Files.writeString(folder.resolve("read.img"), "x"), "rw-r--r--");
    Path closed = mode(Files.writeString(folder.resolve("closed.img"), "x"), "rw-------");
    ForeignCommandLine line =
        ForeignLines.read(
            ForeignLines.live(
                Set.of(), 0, List.of(open.toString(), read.toString(), closed.toString())),
            "-drive",
            "file=" + open + ",format=qcow2",
            "-drive",
            "file=" + read + ",format=qcow2",
            "-drive",
            "file=" + closed + ",format=qcow2,readonly=on");

    attempt(
        (_, files) ->
            assertThat(files.closed(line, Accelerator.TCG))
                .containsExactlyInAnyOrder(
                    "Its user may not open "
                        + read
                        + " to write, so later processes could not; permit it.",
                    "Its user may not open "
                        + closed
                        + " to read, so later processes could not; permit it."),
        "sleep",
        "60");
  }

  @Test
  void whatLaterProcessesCouldNotMakeIsNamed() throws Exception {
    Path open = mode(Files.createDirectory(folder.resolve("open")), "rwxrwxrwx");
    Path closed = mode(Files.createDirectory(folder.resolve("closed")), "rwxr-xr-x");
    Path secret = mode(Files.createDirectory(folder.resolve("secret")), "rwx------");
    Path shared = Files.createDirectory(folder.resolve("shared"));
    Files.setAttribute(shared, "unix:mode", 01777);
    Files.createFile(shared.resolve("roots"));
    ForeignCommandLine line =
        ForeignLines.read(
            "-chardev",
            "file,id=a,path=" + open.resolve("log"),
            "-device",
            "isa-serial,chardev=a",
            "-chardev",
            "file,id=b,path=" + closed.resolve("log"),
            "-device",
            "isa-serial,chardev=b",
            "-netdev",
            "user,id=n,tftp=" + secret);
    AdoptedWords words =
        new AdoptedWords(
            List.of(
                "-vnc",
                "vnc=unix:" + closed.resolve("v") + ",vnc=:1",
                "-spice",
                "unix=on,addr=" + closed.resolve("s"),
                "-chardev",
                "socket,id=c,server=on,path=" + open.resolve("c"),
                "-chardev",
                "socket,id=d,server=on,path=" + shared.resolve("roots"),
                "-chardev",
                "socket,id=e,server=on,host=,port=23",
                "-chardev",
                "socket,id=f,host=,port=24,reconnect-ms=1000",
                "-netdev",
                "type=user,id=n,hostfwd=tcp::80-:80,hostfwd=tcp::8080-:80"));

    attempt(
        (_, files) -> {
          assertThat(files.closed(line, Accelerator.TCG))
              .containsExactlyInAnyOrder(
                  "Its user may not make the log "
                      + closed.resolve("log")
                      + ", so later processes could not; permit it.",
                  "Its user may not open "
                      + secret
                      + " to read, so later processes could not; permit it.");
          assertThat(new ForeignAddresses(files, 1024).closed(words))
              .satisfiesExactly(
                  vnc -> assertThat(vnc).contains("may not make the socket " + closed),
                  spice -> assertThat(spice).contains("socket " + closed.resolve("s")),
                  socket -> assertThat(socket).contains("may not make the socket " + shared),
                  port -> assertThat(port).contains("may not listen at port 23 ", "1024 on"),
                  port -> assertThat(port).contains("may not listen at port 80 "));
          assertThat(open).isEmptyDirectory();
        },
        "sleep",
        "60");
  }

  /// A daemon that is root runs a new release to learn what it is.
  @Test
  void noProgramOfAnotherUsersProcessIsRun() throws Exception {
    Path seen = folder.resolve("seen");
    Path installed = Files.createDirectory(folder.resolve("releases"));
    QemuReleases releases = new QemuReleases(installed, new DebianPackages(folder.resolve("apt")));
    attempt(
        (process, _) ->
            // Not one of root's either: what it is told by its environment is the user's.
            assertThatThrownBy(
                    () -> {
                      try (PidFd held = PidFd.open(process.pid())) {
                        var _ = releases.ofProcess(found(held), List.of("-L", seen.toString()));
                      }
                    })
                .isInstanceOfSatisfying(
                    HyperFreshException.class,
                    e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_REFUSED))
                .hasMessageContaining("Install the build first: hyperfresh release add PATH."),
        "/bin/sleep",
        "60");
    assertThat(releases.list()).isEmpty();
  }

  private static FoundProcess found(PidFd held) throws IOException {
    ForeignUser who = ForeignUser.of(held.pid());
    return new FoundProcess(held, Host.processStart(held.pid()), who.rights(), who.ours());
  }

  private QemuReleases releases() throws IOException {
    return new QemuReleases(
        Files.createDirectories(folder.resolve("releases")),
        new DebianPackages(folder.resolve("apt")));
  }

  /// A program of that length, most of which is a hole.
  private Path padded(long bytes) throws IOException {
    Path program =
        Files.copy(Path.of("/bin/sleep").toRealPath(), folder.resolve("padded-" + bytes));
    try (RandomAccessFile file = new RandomAccessFile(program.toFile(), "rw")) {
      file.setLength(bytes);
    }
    return mode(program, "rwxr-xr-x");
  }

  private static Process running(Path program, List<String> command) throws Exception {
    Process process = new ProcessBuilder(command).start();
    Path exe = Path.of("/proc/" + process.pid() + "/exe");
    while (!Files.isSameFile(exe, program)) {
      Thread.sleep(20);
    }
    return process;
  }

  /// Has another process of root get the number of one that is gone.
  private ChildProcess reborn(int pid) {
    for (int attempt = 0; attempt < 300; attempt++) {
      try {
        Files.writeString(Path.of("/proc/sys/kernel/ns_last_pid"), Integer.toString(pid - 1));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      ChildProcess next =
          ChildProcess.spawn(
              new ChildProcess.Request(
                  List.of("sleep", "60"), Map.of(), Map.of(), folder.resolve("out"), true));
      if (next.pid() == pid) {
        return next;
      }
      end(next);
    }
    throw new IllegalStateException("number " + pid + " was taken by another process");
  }

  private static void end(ChildProcess process) {
    process.kill();
    process.waitFor();
    process.close();
  }

  /// Comparing a program takes as long as its owner likes. Meanwhile the process can end, and its
  /// number mean one of root, by which the program would be run with root's rights.
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aNumberThatMeansAnotherProcessByThenChangesNothing(boolean ours) throws Exception {
    Path program = padded(MANY_BYTES);
    List<String> command = List.of(program.toString(), "60");
    Process process =
        running(
            program,
            ours ? command : Unprivileged.command(command, Map.of(), USER, OptionalInt.empty()));
    int pid = (int) process.pid();
    QemuReleases releases = releases();
    try (PidFd held = PidFd.open(pid)) {
      FoundProcess found = found(held);
      assertThat(found.ours()).isEqualTo(ours);
      long[] rebornAt = {Long.MAX_VALUE};
      CompletableFuture<ChildProcess> other =
          CompletableFuture.supplyAsync(() -> {
            LockSupport.parkNanos(Duration.ofMillis(100).toNanos());
            process.destroyForcibly().onExit().join();
            ChildProcess next = reborn(pid);
            rebornAt[0] = System.nanoTime();
            return next;
          });
      assertThatThrownBy(() -> releases.ofProcess(found, List.of()))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e ->
                  assertThat(e.problem())
                      .isEqualTo(ours ? Problem.ADOPT_UNFIT : Problem.ADOPT_REFUSED));
      long refusedAt = System.nanoTime();
      end(other.join());
      assertThat(rebornAt[0]).as("when the number was another's").isLessThan(refusedAt);
      assertThat(releases.list()).isEmpty();
    } finally {
      process.destroyForcibly();
    }
  }

  @Test
  void aProgramThatIsLongerThanAnyQemuIsNotRead() throws Exception {
    Path program = padded(RunningProgram.MOST_BYTES + 1);
    Process process = running(program, List.of(program.toString(), "60"));
    QemuReleases releases = releases();
    try (PidFd held = PidFd.open((int) process.pid())) {
      FoundProcess found = found(held);
      assertThatThrownBy(() -> releases.ofProcess(found, List.of()))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_REFUSED))
          .hasMessageContaining("more than 1024 MiB");
    } finally {
      process.destroyForcibly();
    }
  }

  @Test
  void theProgramIsAskedAsTheUserWithNothingMoreAndLeavesNothingBehind() throws Exception {
    Path program = folder.resolve("asked");
    Files.writeString(
        program,
        """
        #!/bin/sh
        sleep 61 &
        echo $! > %1$s/left
        grep -E '^(Uid|NoNewPrivs)' /proc/self/status > %1$s/seen
        echo /usr
        """
            .formatted(folder));
    mode(program, "rwxr-xr-x");
    List<String> command =
        Unprivileged.command(List.of(program.toString()), Map.of(), USER, OptionalInt.empty());
    Path log = folder.resolve("log");
    String said = new QemuHelp(command, Map.of("PATH", "/usr/bin:/bin")).text(log, PATIENCE, 4096);

    assertThat(said).isEqualTo("/usr\n");
    assertThat(folder.resolve("seen")).content().contains("Uid:\t" + USER, "NoNewPrivs:\t1");
    int left = Integer.parseInt(Files.readString(folder.resolve("left")).strip());
    Instant limit = Instant.now().plus(PATIENCE);
    while (Files.exists(Path.of("/proc", Integer.toString(left), "exe"))) {
      assertThat(Instant.now()).isBefore(limit);
      Thread.sleep(20);
    }
  }

  private static Path mode(Path path, String mode) throws IOException {
    return Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(mode));
  }
}
