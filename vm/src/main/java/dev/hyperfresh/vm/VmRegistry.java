package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.ProcessIdentity;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuProcess;
import dev.hyperfresh.qemu.QemuRelease;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.Supplier;

/// The virtual machines of one kind in a state directory. Thread-safe.
///
/// They go on without this process. [#letGo] leaves them to the next one, which takes them back
/// with [#recover], as it does after this one was killed.
///
/// @param <V> a virtual machine of the kind
/// @param <R> what it boots
public final class VmRegistry<V extends VmKind.Member<R>, R extends VmRelease>
    implements VmStock<V, R>, AutoCloseable {
  private final VmKind<V, R> kind;
  private final VmDirectory directory;
  private final Path sockets;
  private final VmWatch<V> watch;
  private final Map<String, V> here = new ConcurrentHashMap<>();

  /// Names in use, from before one boots until it is removed.
  private final Set<String> names = ConcurrentHashMap.newKeySet();

  /// Names of those that are being started again or ended.
  private final Set<String> busy = ConcurrentHashMap.newKeySet();

  private final VmDefinitions definitions;

  private volatile Optional<VmSurvivors<V, R>> recovery = Optional.empty();
  private volatile boolean closed;

  /// @param directory where each has a folder with its logs
  /// @param sockets the folder for their control sockets, mode 0700
  /// @param watch told of each that comes and goes
  public VmRegistry(VmKind<V, R> kind, Path directory, Path sockets, VmWatch<V> watch) {
    this.kind = kind;
    this.sockets = sockets;
    this.watch = watch;
    this.definitions =
        new VmDefinitions(directory, here::containsKey, busy::contains, watch::altered);
    this.directory = new VmDirectory(directory, kind.about().earlierFile(), definitions);
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
  public VmDefinitions definitions() {
    return definitions;
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
      V vm = boot(settings);
      made = true;
      return vm;
    } finally {
      if (!made) {
        names.remove(name);
      }
    }
  }

  @Override
  public V start(VmSettings<R> settings) {
    return start(settings, _ -> true);
  }

  @Override
  public V startDue(VmSettings<R> settings) {
    return start(settings, definitions::isDue);
  }

  /// @param wanted whether one of a name is still to be started
  private V start(VmSettings<R> settings, Predicate<String> wanted) {
    String name = settings.name();
    return claimed(
        name,
        () -> {
          requireHere(name);
          Optional<V> runs = find(name).filter(vm -> !vm.ended());
          if (runs.isPresent()) {
            return runs.get();
          }
          if (!wanted.test(name)) {
            throw kind.about().unknown().because(called(name) + " is stopped.");
          }
          settings.check(kind.about().leastMemoryBytes());
          close(name);
          try {
            return boot(settings);
          } finally {
            // Killed meanwhile.
            if (!here.containsKey(name) && definitions.find(name).isEmpty()) {
              names.remove(name);
            }
          }
        });
  }

  private V boot(VmSettings<R> settings) {
    String name = settings.name();
    Path folder = StateFile.folder(files(name));
    requireGone(name, kind.about().exists());
    V vm = kind.boot(settings.dependable(kind.about().mostTranslatedVcpus()), folder, sockets);
    keep(name, vm);
    try {
      definitions.runs(name, settings);
    } catch (HyperFreshException e) {
      close(name);
      throw e;
    }
    tellOf(vm);
    return vm;
  }

  /// Whatever is known of one that is not here, a process of it that lives counts.
  ///
  /// @throws HyperFreshException `problem`; [Problem#DAEMON_STATE] when that cannot be told
  private void requireGone(String name, Problem problem) {
    directory
        .living(name)
        .ifPresent(process -> {
          throw problem.because(
              called(name) + " of an earlier daemon still runs, process " + process.pid() + ".");
        });
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
    return directory.files(name);
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
          if (!why.isEmpty()) {
            return kind.about().unknown().because(called(name) + " is not reattached: " + why);
          }
          return kind.about().unknown().because(absence(name));
        });
  }

  private String absence(String name) {
    if (definitions.isStopped(name)) {
      return called(name)
          + (definitions.isDue(name) || busy.contains(name)
              ? " is being started."
              : " is stopped.");
    }
    return "'"
        + name
        + "' is not one of: "
        + (here.isEmpty() ? "none" : String.join(", ", sortedNames()))
        + ".";
  }

  /// @throws HyperFreshException [VmKind.About#unknown] when there is none, not even a stopped one
  private void requireHere(String name) {
    if (!definitions.isStopped(name)) {
      var _ = get(name);
    }
  }

  /// Does something to one that nobody else does anything to meanwhile.
  private <T> T claimed(String name, Supplier<T> work) {
    if (!busy.add(name)) {
      throw kind.about().unknown().because(called(name) + " is being started or ended.");
    }
    try {
      return work.get();
    } finally {
      busy.remove(name);
    }
  }

  /// Why the one called `name` is not taken back yet; empty when it is, or there is none.
  public String why(String name) {
    return recovery.map(begun -> begun.why(name)).orElse("");
  }

  /// What is written of those that are not taken back yet and whose hardware runs, by their names.
  /// What cannot be read is left out.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when the directory cannot be read
  public Map<String, VmFile> waiting() {
    Map<String, VmFile> waiting = new ConcurrentHashMap<>();
    for (Path folder : directory.folders()) {
      String name = String.valueOf(folder.getFileName());
      if (!here.containsKey(name) && !why(name).isEmpty()) {
        VmDirectory.legible(folder)
            .filter(file -> file.process().lives())
            .ifPresent(file -> waiting.put(name, file));
      }
    }
    return waiting;
  }

  @Override
  public List<String> on(String release) {
    return directory.on(release);
  }

  /// Begins to take back those that an earlier process on this directory left, all at once. One
  /// whose hardware is gone is stopped, and one that had never come up is ended; their logs stay.
  /// One that does not answer is left as it is, and taken back when it answers. One of which what
  /// is written is damaged is left alone.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when the directory cannot be read
  public void recover(Parts<R> parts, TakingBack begun) {
    VmSurvivors<V, R> survivors =
        new VmSurvivors<>(kind, directory.path(), sockets, parts, definitions, new Taking(), begun);
    recovery = Optional.of(survivors);
    directory.folders().forEach(survivors::begin);
  }

  /// What is found becomes this object's, unless that has been closed.
  private final class Taking implements VmSurvivors.Taker<V> {
    @Override
    public void claim(String name) {
      names.add(name);
    }

    @Override
    public void free(String name) {
      names.remove(name);
    }

    @Override
    public void take(V vm, Runnable noted) {
      try {
        var _ =
            claimed(
                vm.settings().name(),
                () -> {
                  VmRegistry.this.take(vm);
                  noted.run();
                  return vm;
                });
      } catch (HyperFreshException e) {
        vm.letGo();
        throw e;
      }
      tellOf(vm);
    }
  }

  private synchronized void take(V vm) {
    if (closed) {
      vm.letGo();
      throw new CancellationException("the daemon ends");
    }
    here.put(vm.settings().name(), vm);
  }

  /// Whether the one called `name` of an earlier daemon ended because the host has booted.
  public boolean endedWithHost(String name) {
    return recovery.filter(begun -> begun.endedWithHost(name)).isPresent();
  }

  /// Waits until the one called `name` has been taken back or is known to be gone.
  ///
  /// @return nothing when it is gone, or never was
  /// @throws CancellationException when this registry is let go of meanwhile
  public Optional<V> awaitAnswer(String name) {
    return recovery.flatMap(begun -> begun.awaitAnswer(name));
  }

  @Override
  public void stop(String name) {
    stop(name, _ -> {});
  }

  /// As the other one.
  ///
  /// @param free throws when somebody is in it, which is asked when nobody else can begin to end it
  public void stop(String name, Consumer<V> free) {
    requireHere(name);
    end(
        name,
        free,
        () -> {
          definitions.stop(name);
          close(name);
        });
  }

  @Override
  public void delete(String name) {
    delete(name, _ -> {});
  }

  /// As the other one. Also one of which what is written is damaged, when it does not run.
  ///
  /// @param free see [#stop(String, Consumer)]
  public void delete(String name, Consumer<V> free) {
    if (!isDamaged(name)) {
      requireHere(name);
    }
    end(
        name,
        free,
        () -> {
          forget(name);
          directory.delete(name);
        });
  }

  private boolean isDamaged(String name) {
    return recovery.filter(begun -> begun.isDamaged(name)).isPresent();
  }

  /// Only one caller ends one; its name stays in use meanwhile.
  private void end(String name, Consumer<V> free, Runnable work) {
    var _ =
        claimed(
            name,
            () -> {
              find(name).ifPresentOrElse(free, () -> requireGone(name, kind.about().unknown()));
              work.run();
              return name;
            });
    watch.altered(name);
  }

  private void forget(String name) {
    close(name);
    definitions.remove(name);
    recovery.ifPresent(begun -> begun.forget(name));
    names.remove(name);
  }

  private void close(String name) {
    find(name)
        .ifPresent(vm -> {
          vm.close();
          here.remove(name, vm);
        });
  }

  /// As [#delete], of one in which somebody may be, and that may not answer: also one that is not
  /// taken back. Its logs stay.
  ///
  /// @throws HyperFreshException [VmKind.About#unknown], [Problem#INTERNAL]; [Problem#DAEMON_STATE]
  ///   when it cannot be told whether it runs
  public void kill(String name) {
    Optional<ProcessIdentity> left =
        here.containsKey(name) ? Optional.empty() : directory.living(name);
    if (left.isPresent()) {
      kill(name, left.get());
    } else if (here.containsKey(name) || definitions.isStopped(name) || isDamaged(name)) {
      end(name, _ -> {}, () -> forget(name));
    } else {
      throw kind.about().unknown().because(called(name) + " does not run.");
    }
  }

  private void kill(String name, ProcessIdentity process) {
    // Whoever takes it back is not to keep it as one that is stopped.
    definitions.remove(name);
    try (HostProcess left = HostProcess.survivor(process.pid())) {
      left.kill();
    } catch (LinuxException | QemuProcess.TroubleException e) {
      if (process.lives()) {
        throw Problem.INTERNAL.because(called(name) + " does not end: " + e.getMessage(), e);
      }
    }
    recovery.ifPresent(begun -> begun.awaitForgotten(name));
    watch.altered(name);
  }

  /// Lets go of all of them, which go on with all that runs in them; the next process on this
  /// directory takes them back.
  public synchronized void letGo() {
    closed = true;
    recovery.ifPresent(VmSurvivors::close);
    here.values().forEach(VmKind.Member::letGo);
    here.clear();
    names.clear();
  }

  /// Ends all of them, except those that have not been taken back.
  @Override
  public synchronized void close() {
    closed = true;
    recovery.ifPresent(VmSurvivors::close);
    here.values().forEach(VmKind.Member::close);
    here.clear();
    names.clear();
  }
}
