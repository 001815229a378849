package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.Predicate;

/// What the virtual machines of one kind are made of, also those that are stopped, and which are to
/// be started because the host has booted. Thread-safe.
public final class VmDefinitions implements VmDue {
  private static final System.Logger LOG = System.getLogger(VmDefinitions.class.getName());

  private final Path directory;
  private final Predicate<String> here;
  private final Predicate<String> busy;
  private final Consumer<String> altered;
  private final Map<String, VmDefinition> all = new ConcurrentHashMap<>();

  private final Set<String> due = ConcurrentHashMap.newKeySet();

  private Optional<Consumer<String>> starter = Optional.empty();

  /// @param directory where each has a folder
  /// @param here whether there is one of a name, also one that has ended
  /// @param busy whether somebody starts or ends the one of a name just now
  /// @param altered told when somebody decides whether one is to be started, and when it is given
  ///   up
  VmDefinitions(
      Path directory, Predicate<String> here, Predicate<String> busy, Consumer<String> altered) {
    this.directory = directory;
    this.here = here;
    this.busy = busy;
    this.altered = altered;
  }

  private Path folder(String name) {
    return directory.resolve(name);
  }

  /// What the one called `name` is made of; empty when there is none, or it is not taken back yet.
  public Optional<VmDefinition> find(String name) {
    return Optional.ofNullable(all.get(name));
  }

  /// The names of those that are stopped, sorted.
  public List<String> stopped() {
    return all.keySet().stream().filter(this::isStopped).sorted().toList();
  }

  /// Whether there is one of that name that is stopped.
  public boolean isStopped(String name) {
    return all.containsKey(name) && !here.test(name);
  }

  /// Decides whether one is started when the host has booted. Does nothing when there is none.
  ///
  /// @throws HyperFreshException [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE]
  public void autostart(String name, boolean on) {
    if (!on) {
      due.remove(name);
    }
    all.computeIfPresent(
        name, (_, known) -> written(name, (isDue(name) ? known : known.here()).autostart(on)));
    altered.accept(name);
  }

  // What is to come after a boot of the host.

  @Override
  public synchronized void begin(Consumer<String> told) {
    starter = Optional.of(told);
    due.stream().sorted().forEach(told);
  }

  @Override
  public boolean isDue(String name) {
    return due.contains(name);
  }

  @Override
  public boolean isBusy(String name) {
    return busy.test(name);
  }

  @Override
  public void giveUp(String name) {
    if (due.remove(name)) {
      altered.accept(name);
    }
  }

  // What becomes of each.

  /// It is made, or runs again.
  ///
  /// @param settings what it is made of, unless that is known: somebody may have changed it while
  ///   it came up
  /// @throws HyperFreshException [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE]
  void runs(String name, VmSettings<?> settings) {
    VmDefinition made = VmDefinition.of(settings);
    all.compute(
        name,
        (_, known) ->
            written(
                name,
                Optional.ofNullable(known).orElse(made).on(settings.hardware().name()).here()));
    due.remove(name);
  }

  /// It was taken back, whether that can be written down or not.
  void taken(String name, VmFile file, Consumer<String> told) {
    VmDefinition known = read(name, file, told).orElseGet(() -> VmDefinition.of(file));
    all.put(name, noted(name, known.here().on(file.hardware())));
  }

  /// It is gone.
  ///
  /// @param file what was written down of it when it ran
  /// @return whether it is known on
  /// @throws HyperFreshException [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE] when all that is
  ///   written is damaged
  boolean gone(String name, Optional<VmFile> file, Consumer<String> told) {
    Optional<VmDefinition> known =
        file.isPresent() ? read(name, file.get(), told) : VmDefinition.read(folder(name));
    Optional<VmDefinition> kept =
        known.isPresent()
            ? known
            : file.filter(left -> left.booted() && left.process().endedWithHost())
                .map(left -> noted(name, VmDefinition.of(left)));
    kept.ifPresent(definition -> stopped(name, definition));
    return kept.isPresent();
  }

  private synchronized void stopped(String name, VmDefinition definition) {
    all.put(name, definition);
    if (definition.isDue()) {
      due.add(name);
      starter.ifPresent(with -> with.accept(name));
    }
  }

  /// It was ended because somebody asked for it.
  void stop(String name) {
    due.remove(name);
    all.computeIfPresent(name, (_, known) -> noted(name, known.here()));
  }

  /// There is none of that name any more.
  ///
  /// @throws HyperFreshException [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE]
  void remove(String name) {
    all.compute(
        name,
        (_, _) -> {
          VmDefinition.remove(folder(name));
          return null;
        });
    due.remove(name);
  }

  /// Whether one that is written down boots a release. What cannot be read counts.
  boolean mayBoot(String name, String release) {
    try {
      return VmDefinition.read(folder(name))
          .filter(known -> known.release().equals(release))
          .isPresent();
    } catch (HyperFreshException damaged) {
      return true;
    }
  }

  /// One that is damaged is made anew from what is written of its hardware. Nobody knows whether it
  /// had autostart, so it has none.
  private Optional<VmDefinition> read(String name, VmFile file, Consumer<String> told) {
    try {
      return VmDefinition.read(folder(name));
    } catch (HyperFreshException damaged) {
      told.accept(damaged.detail() + " It is written anew, with autostart off.");
      return Optional.of(noted(name, VmDefinition.of(file).autostart(false)));
    }
  }

  private VmDefinition written(String name, VmDefinition definition) {
    definition.write(folder(name));
    return definition;
  }

  private VmDefinition noted(String name, VmDefinition definition) {
    try {
      return written(name, definition);
    } catch (HyperFreshException e) {
      LOG.log(System.Logger.Level.WARNING, name + " is still recorded as it was", e);
      return definition;
    }
  }
}
