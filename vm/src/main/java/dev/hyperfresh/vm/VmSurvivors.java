package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.HostProcess;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/// Takes back the virtual machines of one kind that an earlier daemon left, and finds out which of
/// them are gone. Thread-safe.
///
/// @param <V> a virtual machine of the kind
/// @param <R> what it boots
final class VmSurvivors<V extends VmKind.Member<R>, R extends VmRelease> implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(VmSurvivors.class.getName());

  /// How long it may take until it is seen that one has been killed.
  private static final Duration FORGETTING = Duration.ofSeconds(30);

  private final VmKind<V, R> kind;
  private final Path directory;
  private final Path sockets;
  private final VmRegistry.Parts<R> parts;
  private final VmDefinitions definitions;
  private final Taker<V> taker;
  private final TakingBack takingBack;

  /// Each of which something is written: empty when it is gone.
  private final Map<String, CompletableFuture<Optional<V>>> answers = new ConcurrentHashMap<>();

  /// Those that ended because the host has booted, whether they have been started since or not.
  private final Set<String> endedWithHost = ConcurrentHashMap.newKeySet();

  /// Those that do not run and of which what is written is damaged.
  private final Set<String> damaged = ConcurrentHashMap.newKeySet();

  /// Whose all this becomes.
  ///
  /// @param <V> a virtual machine of the kind
  interface Taker<V> {
    /// A name is in use.
    void claim(String name);

    /// Nothing is known any more of the one of that name.
    void free(String name);

    /// One has been taken back. Nobody can end it before it is noted.
    ///
    /// @param noted notes what it is made of, when it is here
    /// @throws CancellationException when the daemon ends
    void take(V vm, Runnable noted);
  }

  VmSurvivors(
      VmKind<V, R> kind,
      Path directory,
      Path sockets,
      VmRegistry.Parts<R> parts,
      VmDefinitions definitions,
      Taker<V> taker,
      TakingBack takingBack) {
    this.kind = kind;
    this.directory = directory;
    this.sockets = sockets;
    this.parts = parts;
    this.definitions = definitions;
    this.taker = taker;
    this.takingBack = takingBack;
  }

  private String called(String name) {
    return kind.about().title() + " " + name;
  }

  /// Begins to take back the one whose folder this is, if there is one.
  void begin(Path folder) {
    String name = String.valueOf(folder.getFileName());
    try {
      if (VmFile.read(folder).isPresent()) {
        taker.claim(name);
        answers.put(name, new CompletableFuture<>());
        takingBack.begin(called(name), "hf-recover-" + name, () -> attempt(name, folder));
      } else if (isDefined(name, folder)) {
        taker.claim(name);
        gone(name, Optional.empty());
      } else if (!isDamaged(name)) {
        beginEarlier(name, folder.resolve(kind.about().earlierFile()));
      }
    } catch (HyperFreshException e) {
      leave(name, e.detail());
    }
  }

  /// Of one that does not run.
  private boolean isDefined(String name, Path folder) {
    try {
      return VmDefinition.read(folder).isPresent();
    } catch (HyperFreshException e) {
      damaged.add(name);
      String command = kind.about().delete().replace("NAME", name);
      leave(name, e.detail() + " `hyperfresh " + command + "` removes it.");
      return false;
    }
  }

  /// Whether the one called `name` does not run, and nothing else is known of it.
  boolean isDamaged(String name) {
    return damaged.contains(name);
  }

  /// There is none of that name any more.
  void forget(String name) {
    if (damaged.remove(name)) {
      takingBack.taken(called(name));
      answer(name, Optional.empty());
    }
  }

  private void beginEarlier(String name, Path file) {
    if (!Files.exists(file)) {
      return;
    }
    if (EarlierFile.read(file).mayLive()) {
      leave(
          name,
          "an earlier version of HyperFresh started it, and only that version can reattach it; "
              + file
              + " says which process it is.");
      return;
    }
    try {
      EarlierFile.remove(file);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be removed: " + e.getMessage(), e);
    }
    takingBack.say(
        called(name)
            + " ended while no daemon ran; its logs are in "
            + directory.resolve(name)
            + ".");
  }

  private void leave(String name, String why) {
    taker.claim(name);
    answers.put(name, new CompletableFuture<>());
    takingBack.leave(called(name), why);
  }

  private void attempt(String name, Path folder) {
    Optional<VmFile> file = VmFile.read(folder);
    if (file.filter(found -> survived(name, found, folder)).isEmpty()) {
      gone(name, file);
      answer(name, Optional.empty());
      return;
    }
    V vm = kind.again(settings(name, file.get()), file.get(), folder, sockets);
    taker.take(vm, () -> definitions.taken(name, file.get(), takingBack::say));
    takingBack.taken(called(name));
    takingBack.say(called(name) + " was reattached.");
    answer(name, Optional.of(vm));
  }

  private void gone(String name, Optional<VmFile> file) {
    if (file.filter(left -> left.process().endedWithHost()).isPresent()) {
      endedWithHost.add(name);
    }
    // Whoever is told that it is to be started finds nothing that waits.
    takingBack.taken(called(name));
    if (!definitions.gone(name, file, takingBack::say)) {
      taker.free(name);
    } else if (definitions.isDue(name)) {
      takingBack.say(called(name) + " is to be started, since the host has booted.");
    }
  }

  /// See [VmRegistry#endedWithHost].
  boolean endedWithHost(String name) {
    return endedWithHost.contains(name);
  }

  /// Whether there is something to take back. One that never came up has nobody.
  private boolean survived(String name, VmFile file, Path folder) {
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
    takingBack.say(
        called(name)
            + (lives
                ? " had not started yet and was ended."
                : (file.process().endedWithHost()
                        ? " ended with the host"
                        : " ended while no daemon ran")
                    + "; its logs are in "
                    + folder
                    + "."));
    return false;
  }

  private VmSettings<R> settings(String name, VmFile file) {
    return new VmSettings<>(
        name,
        parts.releases().apply(file.release()),
        parts.hardware().apply(file.hardware()),
        file.accelerator(),
        file.vcpus(),
        file.memoryBytes());
  }

  private void answer(String name, Optional<V> vm) {
    var _ = answers.computeIfAbsent(name, _ -> new CompletableFuture<>()).complete(vm);
  }

  /// See [VmRegistry#awaitAnswer].
  Optional<V> awaitAnswer(String name) {
    CompletableFuture<Optional<V>> answer = answers.get(name);
    return answer == null ? Optional.empty() : answer.join();
  }

  /// Why the one called `name` is not taken back yet; empty when it is, or there is none.
  String why(String name) {
    return takingBack.why(called(name));
  }

  /// Whoever takes it back sees that it is gone.
  void awaitForgotten(String name) {
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

  /// What has not answered is left as it is.
  @Override
  public void close() {
    takingBack.close();
    answers.values().forEach(answer -> answer.cancel(false));
  }
}
