package dev.hyperfresh.vm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.ProcessIdentity;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// A daemon with virtual machines whose hardware is a process that does nothing, and a host that
/// can boot.
@Timeout(60)
abstract class IdleHost {
  static final Duration PATIENCE = Duration.ofSeconds(20);
  static final VmKind.About ABOUT =
      new VmKind.About(
          "OS",
          "An OS",
          "os",
          "earlier",
          1 << 20,
          1,
          Problem.OS_EXISTS,
          Problem.OS_UNKNOWN,
          Problem.OS_START,
          "os delete NAME --force");

  static final QemuRelease QEMU = qemu("qemu-10.0.2");

  static QemuRelease qemu(String name) {
    return new QemuRelease(
        name,
        name.substring("qemu-".length()),
        Path.of("/none"),
        List.of(),
        List.of(),
        "",
        Set.of(),
        Set.of(),
        Set.of(),
        "a test");
  }

  @TempDir Path folder;

  final List<Process> processes = new ArrayList<>();
  final List<String> booted = new CopyOnWriteArrayList<>();
  final List<String> starting = new CopyOnWriteArrayList<>();
  final List<String> told = new CopyOnWriteArrayList<>();
  final List<String> altered = new CopyOnWriteArrayList<>();
  Optional<Problem> failure = Optional.empty();
  Runnable meanwhile = () -> {};
  Runnable whenAsked = () -> {};
  VmRegistry<Idle, Plain> registry = registry(Path.of(""));

  /// A release of plain values.
  record Plain(String name) implements VmRelease {
    @Override
    public String kernelVersion() {
      return "6.12.95";
    }

    @Override
    public String kernelRelease() {
      return "6.12.95";
    }

    @Override
    public Path kernel() {
      return Path.of("/none");
    }

    @Override
    public Path initrd() {
      return Path.of("/none");
    }

    @Override
    public String kernelSha256() {
      return "";
    }

    @Override
    public String sha256() {
      return "";
    }

    @Override
    public String sourcesSha256() {
      return "";
    }

    @Override
    public boolean meets(String wanted) {
      return name.equals(wanted);
    }
  }

  /// One whose hardware is a process that does nothing.
  ///
  /// @param asked is told when somebody asks what it is made of
  record Idle(VmSettings<Plain> settings, ProcessHandle process, Path folder, Runnable asked)
      implements VmKind.Member<Plain> {
    @Override
    public VmSettings<Plain> settings() {
      asked.run();
      return settings;
    }

    @Override
    public boolean ended() {
      return !process.isAlive();
    }

    @Override
    public int pid() {
      return (int) process.pid();
    }

    @Override
    public double bootMs() {
      return 1;
    }

    @Override
    public Agent.Hello hello() {
      return new Agent.Hello("1", "6.12.95", Duration.ofSeconds(1), 1, 2);
    }

    @Override
    public void onEnd(Runnable told) {}

    @Override
    public void letGo() {}

    @Override
    public void close() {
      process.destroyForcibly();
      var _ = process.onExit().join();
      VmFile.remove(folder);
    }
  }

  /// Boots and reattaches them.
  final class IdleKind implements VmKind<Idle, Plain> {
    @Override
    public About about() {
      return ABOUT;
    }

    @Override
    public Idle boot(VmSettings<Plain> settings, Path files, Path sockets) {
      booted.add(settings.name());
      meanwhile.run();
      failure.ifPresent(problem -> {
        throw problem.because("It says no.");
      });
      try {
        Process process = new ProcessBuilder("sleep", "600").start();
        processes.add(process);
        VmFile.of(settings).on(ProcessIdentity.of((int) process.pid())).asBooted(1).write(files);
        return new Idle(settings, process.toHandle(), files, () -> {});
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public Idle again(VmSettings<Plain> settings, VmFile file, Path files, Path sockets) {
      return new Idle(
          settings, ProcessHandle.of(file.process().pid()).orElseThrow(), files, whenAsked);
    }

    @Override
    public void forget(String name, Path files, Path sockets) {
      VmFile.remove(files);
    }
  }

  @BeforeEach
  void open() {
    registry = registry(folder);
  }

  @AfterEach
  void end() throws Exception {
    registry.letGo();
    for (Process process : processes) {
      process.destroyForcibly().waitFor();
    }
  }

  VmRegistry<Idle, Plain> registry(Path directory) {
    return new VmRegistry<>(new IdleKind(), directory, directory, new Altered());
  }

  /// Keeps whose state is another one, and whether it was there then.
  final class Altered implements VmWatch<Idle> {
    @Override
    public void came(Idle vm) {}

    @Override
    public void went(Idle vm) {}

    @Override
    public void altered(String name) {
      altered.add(name + (registry.find(name).isPresent() ? " here" : " gone"));
    }
  }

  static VmSettings<Plain> settings(String name) {
    return new VmSettings<>(name, new Plain("os-6.12"), QEMU, Accelerator.TCG, 1, 1 << 20);
  }

  Idle create(String name) {
    return registry.create(settings(name));
  }

  /// The daemon ends, and the next one takes back what there is.
  void nextDaemon() {
    registry.letGo();
    comesBack();
  }

  void comesBack() {
    registry = registry(folder);
    TakingBack begun = new TakingBack(told::add);
    registry.recover(new VmRegistry.Parts<>(Plain::new, _ -> QEMU), begun);
    begun.await(PATIENCE);
    registry.definitions().begin(starting::add);
  }

  /// All that runs ends with the host, and whatever is written down is of an earlier boot.
  void reboot() throws Exception {
    registry.letGo();
    for (Process process : processes) {
      process.destroyForcibly().waitFor();
    }
    try (var folders = Files.list(folder)) {
      folders.forEach(IdleHost::ofEarlierBoot);
    }
    comesBack();
  }

  static void ofEarlierBoot(Path files) {
    VmFile.read(files)
        .ifPresent(file ->
            file.on(
                    new ProcessIdentity(
                        file.process().pid(), file.process().start(), "an-earlier-one"))
                .write(files));
    VmDefinition.read(files)
        .ifPresent(made ->
            new VmDefinition(
                    made.release(),
                    made.vcpus(),
                    made.memoryBytes(),
                    made.autostart(),
                    "an-earlier-one",
                    made.hardware())
                .write(files));
  }

  static void assertProblem(Problem problem, Runnable action, String words) {
    assertThatThrownBy(action::run)
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem))
        .hasMessageContaining(words);
  }
}
