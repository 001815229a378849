package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.ProcessIdentity;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuProcess;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import java.util.stream.Stream;

/// The virtual machines of one kind in a state directory. Thread-safe.
///
/// They go on without this process. [#letGo] leaves them to the next one, which takes them back
/// with [#recover], as it does after this one was killed.
///
/// @param <V> a virtual machine of the kind
/// @param <R> what it boots
public final class VmRegistry<V extends VmKind.Member<R>, R extends VmRelease>
    implements VmStock<V, R>, AutoCloseable {
  private static final System.Logger LOG = System.getLogger(VmRegistry.class.getName());

  /// How long it may take until it is seen that one has been killed.
  private static final Duration FORGETTING = Duration.ofSeconds(30);

  private final VmKind<V, R> kind;
  private final Path directory;
  private final Path sockets;
  private final VmWatch<V> watch;
  private final Map<String, V> here = new ConcurrentHashMap<>();

  /// Names in use, from before one boots until it is removed.
  private final Set<String> names = ConcurrentHashMap.newKeySet();

  /// Names of those that are being ended.
  private final Set<String> ending = ConcurrentHashMap.newKeySet();

  /// Each of which something is written: empty when it is gone.
  private final Map<String, CompletableFuture<Optional<V>>> answers = new ConcurrentHashMap<>();

  private volatile Optional<TakingBack> recovery = Optional.empty();
  private volatile boolean closed;

  /// @param directory where each has a folder with its logs
  /// @param sockets the folder for their control sockets, mode 0700
  /// @param watch told of each that comes and goes
  public VmRegistry(VmKind<V, R> kind, Path directory, Path sockets, VmWatch<V> watch) {
    this.kind = kind;
    this.directory = directory;
    this.sockets = sockets;
    this.watch = watch;
  }

  /// What finds the parts of a virtual machine by their names.
  ///
  /// @param releases what runs in it
  /// @param hardware what it runs on
  /// @param <R> what it boots
  public record Parts<R extends VmRelease>(
      Function<String, R> releases, Function<String, QemuRelease> hardware) {}

  /// What one is called in a sentence.
  public String called(String name) {
    return kind.about().title() + " " + name;
  }

  @Override
  public V create(VmSettings<R> settings) {
    settings.check(kind.about().leastMemoryBytes());
    String name = settings.name();
    if (!names.add(name)) {
      throw kind.about().exists().because(called(name) + " exists already.");
    }
    boolean made = false;
    try {
      Path folder = StateFile.folder(files(name));
      VmFile.read(folder)
          .filter(left -> left.process().lives())
          .ifPresent(left -> {
            throw kind.about()
                .exists()
                .because(
                    called(name)
                        + " of an earlier daemon still runs, process "
                        + left.process().pid()
                        + ".");
          });
      V vm = kind.boot(settings.dependable(kind.about().mostTranslatedVcpus()), folder, sockets);
      keep(name, vm);
      made = true;
      tellOf(vm);
      return vm;
    } finally {
      if (!made) {
        names.remove(name);
      }
    }
  }

  private void tellOf(V vm) {
    watch.came(vm);
    vm.onEnd(() -> watch.went(vm));
  }

  /// Nobody would end one that comes up when all others have been ended.
  private synchronized void keep(String name, V vm) {
    if (closed) {
      vm.close();
      throw kind.about().start().because(name + " started after the daemon had ended.");
    }
    here.put(name, vm);
  }

  /// The folder with the logs of one, which may be gone.
  public Path files(String name) {
    return directory.resolve(name);
  }

  @Override
  public List<V> list() {
    return here.values().stream()
        .sorted(Comparator.comparing((V vm) -> vm.settings().name()))
        .toList();
  }

  private List<String> sortedNames() {
    return here.keySet().stream().sorted().toList();
  }

  @Override
  public Optional<V> find(String name) {
    return Optional.ofNullable(here.get(name));
  }

  @Override
  public V get(String name) {
    return find(name)
        .orElseThrow(() -> {
          String why = why(name);
          return kind.about()
              .unknown()
              .because(
                  why.isEmpty()
                      ? "'"
                          + name
                          + "' is not one of: "
                          + (here.isEmpty() ? "none" : String.join(", ", sortedNames()))
                          + "."
                      : called(name) + " is not reattached: " + why);
        });
  }

  /// Why the one called `name` is not taken back yet; empty when it is, or there is none.
  public String why(String name) {
    return recovery.map(begun -> begun.why(called(name))).orElse("");
  }

  /// What is written of those that are not taken back yet and whose hardware runs, by their names.
  /// What cannot be read is left out.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when the directory cannot be read
  public Map<String, VmFile> waiting() {
    Map<String, VmFile> waiting = new ConcurrentHashMap<>();
    for (Path folder : folders()) {
      String name = String.valueOf(folder.getFileName());
      if (!here.containsKey(name) && !why(name).isEmpty()) {
        legible(folder)
            .filter(file -> file.process().lives())
            .ifPresent(file -> waiting.put(name, file));
      }
    }
    return waiting;
  }

  private static Optional<VmFile> legible(Path folder) {
    try {
      return VmFile.read(folder);
    } catch (HyperFreshException damaged) {
      return Optional.empty();
    }
  }

  @Override
  public List<String> on(String release) {
    return folders().stream()
        .filter(folder -> mayUse(folder, release))
        .map(folder -> String.valueOf(folder.getFileName()))
        .toList();
  }

  /// What cannot be read counts: its release must not be removed under it.
  private boolean mayUse(Path folder, String release) {
    try {
      Optional<VmFile> file = VmFile.read(folder);
      if (file.isPresent()) {
        VmFile vm = file.get();
        return (vm.release().equals(release) || vm.hardware().equals(release))
            && vm.process().lives();
      }
      Path earlier = folder.resolve(kind.about().earlierFile());
      return Files.exists(earlier) && EarlierFile.read(earlier).mayUse(release);
    } catch (HyperFreshException damaged) {
      return true;
    }
  }

  private List<Path> folders() {
    if (!Files.isDirectory(directory)) {
      return List.of();
    }
    try (Stream<Path> folders = Files.list(directory)) {
      return folders.filter(Files::isDirectory).sorted().toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(directory + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// Begins to take back those that an earlier process on this directory left, all at once. One
  /// whose hardware is gone is forgotten, and one that had never come up is ended; their logs stay.
  /// One that does not answer is left as it is, and taken back when it answers. One of which what
  /// is written is damaged is left alone.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when the directory cannot be read
  public void recover(Parts<R> parts, TakingBack begun) {
    recovery = Optional.of(begun);
    for (Path folder : folders()) {
      String name = String.valueOf(folder.getFileName());
      try {
        if (VmFile.read(folder).isPresent()) {
          names.add(name);
          answers.put(name, new CompletableFuture<>());
          begun.begin(
              called(name), "hf-recover-" + name, () -> attempt(name, folder, parts, begun));
        } else {
          recoverEarlier(name, folder.resolve(kind.about().earlierFile()), begun);
        }
      } catch (HyperFreshException e) {
        leave(name, e.detail(), begun);
      }
    }
  }

  private void recoverEarlier(String name, Path file, TakingBack begun) {
    if (!Files.exists(file)) {
      return;
    }
    if (EarlierFile.read(file).mayLive()) {
      leave(
          name,
          "an earlier version of HyperFresh started it, and only that version can reattach it; "
              + file
              + " says which process it is.",
          begun);
      return;
    }
    try {
      EarlierFile.remove(file);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be removed: " + e.getMessage(), e);
    }
    begun.say(called(name) + " ended while no daemon ran; its logs are in " + files(name) + ".");
  }

  private void leave(String name, String why, TakingBack begun) {
    names.add(name);
    answers.put(name, new CompletableFuture<>());
    begun.leave(called(name), why);
  }

  private void attempt(String name, Path folder, Parts<R> parts, TakingBack begun) {
    Optional<VmFile> file = VmFile.read(folder);
    if (file.filter(found -> survived(name, found, folder, begun)).isEmpty()) {
      names.remove(name);
      answer(name, Optional.empty());
      return;
    }
    V vm = kind.again(settings(name, file.get(), parts), file.get(), folder, sockets);
    take(name, vm);
    tellOf(vm);
    begun.taken(called(name));
    begun.say(called(name) + " was reattached.");
    answer(name, Optional.of(vm));
  }

  /// Whether there is something to take back. One that never came up has nobody.
  private boolean survived(String name, VmFile file, Path folder, TakingBack begun) {
    boolean lives = file.process().lives();
    if (lives && file.booted()) {
      return true;
    }
    if (lives) {
      try (HostProcess left = HostProcess.survivor(file.process().pid())) {
        left.kill();
      }
    }
    kind.forget(name, folder, sockets);
    begun.say(
        called(name)
            + (lives
                ? " had not started yet and was ended."
                : " ended while no daemon ran; its logs are in " + folder + "."));
    return false;
  }

  private VmSettings<R> settings(String name, VmFile file, Parts<R> parts) {
    return new VmSettings<>(
        name,
        parts.releases().apply(file.release()),
        parts.hardware().apply(file.hardware()),
        file.accelerator(),
        file.vcpus(),
        file.memoryBytes());
  }

  private synchronized void take(String name, V vm) {
    if (closed) {
      vm.letGo();
      throw new CancellationException("the daemon ends");
    }
    here.put(name, vm);
  }

  private void answer(String name, Optional<V> vm) {
    var _ = answers.computeIfAbsent(name, _ -> new CompletableFuture<>()).complete(vm);
  }

  /// Waits until the one called `name` has been taken back or is known to be gone.
  ///
  /// @return nothing when it is gone, or never was
  /// @throws CancellationException when this registry is let go of meanwhile
  public Optional<V> awaitAnswer(String name) {
    CompletableFuture<Optional<V>> answer = answers.get(name);
    return answer == null ? Optional.empty() : answer.join();
  }

  @Override
  public void delete(String name) {
    end(name);
    deleteFolder(files(name));
    names.remove(name);
  }

  /// Ends one. Only one caller does; its name stays in use.
  private void end(String name) {
    V vm = get(name);
    if (!ending.add(name)) {
      throw kind.about().unknown().because(called(name) + " is being ended.");
    }
    try {
      vm.close();
      here.remove(name, vm);
    } finally {
      ending.remove(name);
    }
  }

  /// As [#delete], of one in which somebody may be, and that may not answer: also one that is not
  /// taken back. Its logs stay.
  ///
  /// @throws HyperFreshException [VmKind.About#unknown], [Problem#INTERNAL]
  public void kill(String name) {
    if (here.containsKey(name)) {
      end(name);
      names.remove(name);
      return;
    }
    ProcessIdentity process =
        legible(files(name))
            .map(VmFile::process)
            .filter(ProcessIdentity::lives)
            .orElseThrow(() -> kind.about().unknown().because(called(name) + " does not run."));
    try (HostProcess left = HostProcess.survivor(process.pid())) {
      left.kill();
    } catch (LinuxException | QemuProcess.TroubleException e) {
      if (process.lives()) {
        throw Problem.INTERNAL.because(called(name) + " does not end: " + e.getMessage(), e);
      }
    }
    awaitForgotten(name);
  }

  /// Whoever takes it back sees that it is gone.
  private void awaitForgotten(String name) {
    CompletableFuture<Optional<V>> answer = answers.get(name);
    try {
      if (answer != null) {
        var _ = answer.get(FORGETTING.toSeconds(), TimeUnit.SECONDS);
      }
    } catch (TimeoutException | ExecutionException | CancellationException e) {
      LOG.log(System.Logger.Level.DEBUG, called(name) + " is not forgotten yet", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void deleteFolder(Path folder) {
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException | UncheckedIOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be removed: " + e.getMessage(), e);
    }
  }

  /// Lets go of all of them, which go on with all that runs in them; the next process on this
  /// directory takes them back.
  public synchronized void letGo() {
    closed = true;
    stopTakingBack();
    here.values().forEach(VmKind.Member::letGo);
    here.clear();
    names.clear();
  }

  /// Ends all of them, except those that have not been taken back.
  @Override
  public synchronized void close() {
    closed = true;
    stopTakingBack();
    here.values().forEach(VmKind.Member::close);
    here.clear();
    names.clear();
  }

  private void stopTakingBack() {
    recovery.ifPresent(TakingBack::close);
    answers.values().forEach(answer -> answer.cancel(false));
  }
}
