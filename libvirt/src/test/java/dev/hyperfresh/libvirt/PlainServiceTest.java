package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// libvirt as a process that nothing supervises, for which another program stands under its name.
@Timeout(60)
class PlainServiceTest {
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
