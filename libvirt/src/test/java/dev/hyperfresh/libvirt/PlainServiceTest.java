package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// libvirt as a process that nothing supervises, for which another program stands under its name.
@Timeout(60)
class PlainServiceTest {
  /// Nothing was taken.
  private static final Borrower NOBODY =
      new Borrower() {
        @Override
        public ReplacementRecord move(LibvirtDomain domain, String guest, Progress progress) {
          throw new AssertionError(guest);
        }

        @Override
        public Standing standing(String guest) {
          throw new AssertionError(guest);
        }

        @Override
        public void handBack(String guest, Optional<Path> emulator, Consumer<HandedBack> before) {
          throw new AssertionError(guest);
        }
      };

  private final Domains domains;
  private final Path program;
  private Optional<UnixSocket> socket = Optional.empty();

  PlainServiceTest(@TempDir Path folder) {
    this.domains = new Domains(folder);
    this.program = folder.resolve("libvirtd");
  }

  @BeforeEach
  void makeProgram() throws IOException {
    Files.copy(Path.of("/usr/bin/sleep").toRealPath(), program);
    assertThat(program.toFile().setExecutable(true)).isTrue();
    Files.createDirectories(domains.host().run());
    socket = Optional.of(UnixSocket.listen(domains.host().run().resolve("libvirt-sock"), 0600));
    // One of the host's would be ended by these tests.
    if (!running().isEmpty()) {
      System.out.println("skipped: a libvirtd runs on this host");
      Assumptions.abort();
    }
  }

  @AfterEach
  void end() {
    ours().forEach(ProcessHandle::destroyForcibly);
    socket.ifPresent(UnixSocket::close);
  }

  private static List<ProcessHandle> running() {
    return ProcessHandle.allProcesses()
        .filter(process ->
            process.info().command().filter(path -> path.endsWith("/libvirtd")).isPresent())
        .toList();
  }

  private List<ProcessHandle> ours() {
    return ProcessHandle.allProcesses()
        .filter(process -> process.info().command().filter(program.toString()::equals).isPresent())
        .toList();
  }

  private Process begin(String... words) throws IOException {
    ProcessBuilder builder = new ProcessBuilder(words).directory(domains.folder().toFile());
    builder.environment().clear();
    builder.environment().putAll(Map.of("LANG", "C", "OF_TEST", "a b", "NOTIFY_SOCKET", "/x"));
    return builder.start();
  }

  private LibvirtService find() {
    return LibvirtService.find(domains.host(), domains.folder().resolve("log"));
  }

  private static String file(ProcessHandle process, String entry) throws IOException {
    return new String(
        Files.readAllBytes(Path.of("/proc", Long.toString(process.pid()), entry)),
        StandardCharsets.UTF_8);
  }

  @Test
  void itIsStartedAgainAsItWas() throws Exception {
    Process first = begin(program.toString(), "300", "0.5");
    LibvirtService service = find();
    assertThat(service.words()).isEqualTo("libvirtd (process " + first.pid() + ")");

    service.stop();
    assertThat(first.waitFor()).isEqualTo(128 + 15);
    assertThat(ours()).isEmpty();
    service.stop();
    // As the next daemon would.
    LibvirtService next =
        LibvirtService.of(domains.host(), service.how(), domains.folder().resolve("log"));
    next.start();
    next.start();

    assertThat(ours()).hasSize(1);
    ProcessHandle again = ours().getFirst();
    assertThat(file(again, "cmdline")).isEqualTo(program + "\0" + "300\0" + "0.5\0");
    assertThat(file(again, "environ").split("\0"))
        .containsExactlyInAnyOrder("LANG=C", "OF_TEST=a b");
    assertThat(Files.readSymbolicLink(Path.of("/proc", Long.toString(again.pid()), "cwd")))
        .isEqualTo(domains.folder().toRealPath());
    assertThat(file(again, "cgroup")).isEqualTo(file(ProcessHandle.current(), "cgroup"));
    // It leads a session of its own, so that no terminal ends it.
    assertThat(file(again, "stat").replaceFirst(".*\\) ", "").split(" ")[3])
        .isEqualTo(Long.toString(again.pid()));
  }

  @Test
  void oneThatDoesNotComeBackIsSaid() throws Exception {
    Process first = begin(program.toString(), "300");
    LibvirtService service = find();
    service.stop();
    first.waitFor();
    Files.delete(program);
    Files.copy(Path.of("/usr/bin/false").toRealPath(), program);
    assertThat(program.toFile().setExecutable(true)).isTrue();

    assertThatThrownBy(service::start)
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("ended when it was started again");
  }

  @Test
  void noneAndSeveralAreRefused() throws IOException {
    assertThatThrownBy(this::find)
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("Neither libvirtd nor virtqemud runs here");
    begin(program.toString(), "300");
    begin(program.toString(), "300");

    assertThatThrownBy(this::find)
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("Several of libvirtd and virtqemud");
  }

  /// It may end at any time, and nobody knows what happens to it then: whoever orders all that is
  /// done with libvirt starts it.
  @Test
  void oneThatEndsLateIsStartedByWhoeverAsksForIt() throws Exception {
    // What is ignored stays so.
    Process first = begin("/bin/sh", "-c", "trap '' TERM; exec '" + program + "' 300");
    while (ours().isEmpty()) {
      Thread.sleep(10);
    }
    PlainService service = (PlainService) find();
    int pid = Math.toIntExact(first.pid());

    assertThatThrownBy(() -> service.stop(Duration.ofMillis(300)))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("process " + pid + ") was asked to end and has not");
    assertThat(service.isStillThere()).isTrue();
    assertThatThrownBy(service::start)
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("has not yet");
    first.destroyForcibly().waitFor();
    Thread.sleep(1000);

    assertThat(ours()).as("it is nobody's turn").isEmpty();
    assertThat(service.isStillThere()).isFalse();
    service.start();
    assertThat(ours()).hasSize(1);
  }

  /// A daemon that is killed right before, or while it waits.
  @Test
  void oneThatNobodyCameToEndIsEndedAndStartedByTheNextDaemon() throws Exception {
    Domains.script(domains.host().virsh(), "exit 0");
    Process first = begin(program.toString(), "300");
    BatchScene.Kept kept = new BatchScene.Kept();
    kept.keep(new Down(Instant.now().toString(), Host.bootId(), find().how(), List.of()));

    LibvirtBatch.finish(
        new DriverSeat(domains.host()), NOBODY, kept, domains.folder().resolve("log"));

    assertThat(first.waitFor()).isEqualTo(128 + 15);
    assertThat(ours()).hasSize(1);
    assertThat(kept.read()).isEmpty();
  }

  /// Its program may have been upgraded while it ran.
  @Test
  void anotherBuildAtItsPathIsStarted() throws Exception {
    Process first = begin(program.toString(), "300");
    Files.delete(program);
    Files.copy(Path.of("/usr/bin/sleep").toRealPath(), program);
    assertThat(program.toFile().setExecutable(true)).isTrue();
    LibvirtService service = find();

    service.stop();
    first.waitFor();
    service.start();

    assertThat(ours()).hasSize(1);
  }
}
