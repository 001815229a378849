package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Reattacher;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.FolderNames;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.ProcessIdentity;
import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Properties;

/// What a daemon writes down of a guest, so that the next one can take it back: who runs it, and
/// while it is being replaced, who is about to. Always whole: a new file takes the old one's place.
///
/// @param user of the guest's own, if it has one
/// @param running the process that runs the guest
/// @param waiting the process that a replacement has prepared; it stays until the guest is known to
///   run where it runs
/// @param doubt why the guest must not be continued but by an explicit resume: somebody may have
///   run it since its process stopped it
/// @param adopted how to build the machine again, when something else built it at first
/// @param clockLoss how far the guest's clocks have fallen behind
/// @param generations the highest generation that any instance of it has had: none is used again,
///   since what an instance leaves behind is known by its generation
/// @param stopped since when no process runs it, if none does; [#running] is the last one then, or
///   one that is being started
/// @param upkeep what its later starts need
record GuestFile(
    GuestSpec spec,
    AcceleratorChoice accelerator,
    Instant createdAt,
    OptionalInt user,
    Tenant running,
    Optional<Tenant> waiting,
    Optional<String> doubt,
    Optional<AdoptedMachine> adopted,
    ClockLoss clockLoss,
    int generations,
    Optional<Stopped> stopped,
    Upkeep upkeep) {
  private static final String NAME = "guest.properties";

  /// What begins the names of what its next start makes of a guest.
  private static final String NEXT = "next.";

  /// In which boot of the host starts were counted.
  private static final String RESTARTS_BOOT = "restarts.boot";

  /// Of a guest that a process runs or is about to, and that nobody is to start.
  GuestFile(
      GuestSpec spec,
      AcceleratorChoice accelerator,
      Instant createdAt,
      OptionalInt user,
      Tenant running,
      Optional<Tenant> waiting,
      Optional<String> doubt,
      Optional<AdoptedMachine> adopted,
      ClockLoss clockLoss,
      int generations) {
    this(
        spec,
        accelerator,
        createdAt,
        user,
        running,
        waiting,
        doubt,
        adopted,
        clockLoss,
        generations,
        Optional.empty(),
        Upkeep.begun(Optional.empty()));
  }

  /// Of what its memory is made.
  List<MemoryPart> memory() {
    return GuestIdentity.memory(spec, adopted);
  }

  /// The same guest when its last process is gone.
  GuestFile stopped(Stopped end) {
    return new GuestFile(
        spec,
        accelerator,
        createdAt,
        user,
        running,
        Optional.empty(),
        Optional.empty(),
        adopted,
        clockLoss,
        generations,
        Optional.of(end),
        upkeep);
  }

  /// The same guest on the only process that is left of it.
  GuestFile running(Tenant process) {
    return new GuestFile(
        spec,
        accelerator,
        createdAt,
        user,
        process,
        Optional.empty(),
        Optional.empty(),
        adopted,
        clockLoss,
        generations,
        Optional.empty(),
        upkeep);
  }

  /// The same guest with other later starts.
  GuestFile keeping(Upkeep changed) {
    return new GuestFile(
        spec,
        accelerator,
        createdAt,
        user,
        running,
        waiting,
        doubt,
        adopted,
        clockLoss,
        generations,
        stopped,
        changed);
  }

  /// How a guest came to its end.
  ///
  /// @param at when that was noticed
  /// @param why as half a sentence
  record Stopped(Instant at, String why, GuestEnd end) {
    /// The same, taken for another end.
    Stopped as(GuestEnd other) {
      return new Stopped(at, why, other);
    }
  }

  /// A process of a hypervisor, which cannot be mistaken for another one that got its number later.
  ///
  /// @param pid may be that of a process which serves other guests as well
  /// @param start as [Host#processStart] has it
  /// @param boot as [Host#bootId] has it: process numbers and start times begin anew with each
  /// @param kind of the release; empty in files that an older daemon wrote
  record Tenant(int pid, long start, String boot, int generation, String release, String kind) {

    /// The process of `instance`.
    static Tenant of(Instance instance) {
      return new Tenant(
          instance.pid(),
          Host.processStart(instance.pid()).orElse(0),
          Host.bootId(),
          instance.generation(),
          instance.release().name(),
          instance.release().kind());
    }

    /// A process that is about to be started: nobody knows its number yet.
    static Tenant expected(int generation, Release release) {
      return new Tenant(0, 0, Host.bootId(), generation, release.name(), release.kind());
    }

    /// The one that was expected, now that its process is known.
    Tenant found(int number) {
      return new Tenant(
          number, Host.processStart(number).orElse(0), Host.bootId(), generation, release, kind);
    }

    /// The instance that it is, of the guest whose folder is `files`.
    Reattacher.Survivor in(Path files) {
      return new Reattacher.Survivor(kind, pid, files, generation, start);
    }

    boolean isExpected() {
      return pid == 0;
    }

    /// Whether that very process still runs; one that waits to be reaped does not.
    boolean processLives() {
      return new ProcessIdentity(pid, start, boot).lives();
    }

    /// Whether the instance is there, of the guest whose folder is `files`.
    ///
    /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#GUEST_STATE] when that cannot
    ///   be told now
    boolean lives(Kinds kinds, Path files) {
      Reattacher.Survivor instance = in(files);
      return processLives() && kinds.of(instance).lives(instance);
    }
  }

  /// Puts this file into the folder `files` and returns when it is on disk, with its name. The
  /// first one of a guest has the folder's name written to disk, too.
  void write(Path files) {
    boolean first = !isIn(files);
    Path draft = files.resolve(NAME + ".new");
    try (FileChannel file =
        FileChannel.open(
            draft,
            StandardOpenOption.CREATE,
            StandardOpenOption.TRUNCATE_EXISTING,
            StandardOpenOption.WRITE)) {
      StringWriter text = new StringWriter();
      properties().store(text, null);
      ByteBuffer bytes = StandardCharsets.UTF_8.encode(text.toString());
      // A disk that is almost full takes a part of them without an error.
      while (bytes.hasRemaining()) {
        file.write(bytes);
      }
      file.force(true);
      Files.move(
          draft,
          files.resolve(NAME),
          StandardCopyOption.ATOMIC_MOVE,
          StandardCopyOption.REPLACE_EXISTING);
      FolderNames.force(files.resolve(NAME));
      if (first) {
        FolderNames.force(files);
      }
    } catch (IOException e) {
      Contained.run("removing " + draft, () -> delete(draft));
      throw Problem.DAEMON_STATE.because(draft + " cannot be written: " + e.getMessage(), e);
    }
  }

  /// Forgets what stands in the folder `files`: no process runs the guest any more.
  static void remove(Path files) {
    delete(files.resolve(NAME));
  }

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be removed: " + e.getMessage(), e);
    }
  }

  /// Whether there is one in the folder `files`, whatever stands in it.
  static boolean isIn(Path files) {
    return Files.exists(files.resolve(NAME));
  }

  /// Reads the file of the folder `files`, if there is one.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE] when it cannot be
  ///   understood
  static Optional<GuestFile> read(Path files) {
    Path path = files.resolve(NAME);
    if (!isIn(files)) {
      return Optional.empty();
    }
    Properties p = new Properties();
    try {
      byte[] bytes = BoundedFile.read(path, BoundedFile.STATE_BYTES);
      p.load(new StringReader(new String(bytes, StandardCharsets.UTF_8)));
      GuestSpec spec = SpecProperties.read(p, "");
      Accelerator accelerator = Accelerator.valueOf(get(p, "accelerator"));
      return Optional.of(
          new GuestFile(
              spec,
              new AcceleratorChoice(accelerator, get(p, "accelerator.reason")),
              Instant.parse(get(p, "created")),
              find(p, "user")
                  .map(Integer::parseInt)
                  .map(OptionalInt::of)
                  .orElse(OptionalInt.empty()),
              process(p, "running", path),
              find(p, "waiting.pid").map(_ -> process(p, "waiting", path)),
              find(p, "doubt"),
              AdoptedProperties.read(p, spec),
              // Files that an older daemon wrote have none.
              new ClockLoss(
                  Long.parseLong(find(p, "clock.lost.micros").orElse("0")),
                  Integer.parseInt(find(p, "clock.unmeasured").orElse("0"))),
              Integer.parseInt(find(p, "generations").orElse("0")),
              find(p, "stopped.at").map(at -> stopped(p, Instant.parse(at))),
              upkeep(p, path)));
    } catch (IOException | RuntimeException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// A guest that an older daemon left stopped is not to be started by itself.
  private static Stopped stopped(Properties p, Instant at) {
    return new Stopped(
        at,
        get(p, "stopped.why"),
        GuestEnd.valueOf(find(p, "stopped.end").orElse(GuestEnd.REQUEST.name())));
  }

  private static Upkeep upkeep(Properties p, Path file) {
    return new Upkeep(
        Boolean.parseBoolean(find(p, "autostart").orElse("false")),
        restarts(p),
        find(p, "boot").orElseGet(() -> process(p, "running", file).boot()),
        find(p, NEXT + "name")
            .map(_ -> new Upkeep.Next(SpecProperties.read(p, NEXT), find(p, NEXT + "release"))));
  }

  /// Every boot of the host counts anew: what ended with the last one has not failed.
  private static int restarts(Properties p) {
    return find(p, RESTARTS_BOOT)
        .filter(Host.bootId()::equals)
        .flatMap(_ -> find(p, "restarts"))
        .map(Integer::parseInt)
        .orElse(0);
  }

  private static void put(Properties p, Upkeep upkeep) {
    p.setProperty("autostart", Boolean.toString(upkeep.autostart()));
    p.setProperty("restarts", Integer.toString(upkeep.restarts()));
    p.setProperty(RESTARTS_BOOT, Host.bootId());
    p.setProperty("boot", upkeep.boot());
    upkeep
        .next()
        .ifPresent(next -> {
          SpecProperties.put(p, NEXT, next.spec());
          next.release().ifPresent(release -> p.setProperty(NEXT + "release", release));
        });
  }

  /// The same, when the guest may have stood still for a time that nobody measured.
  GuestFile afterUnseenStop() {
    return new GuestFile(
        spec,
        accelerator,
        createdAt,
        user,
        running,
        waiting,
        doubt,
        adopted,
        clockLoss.plusUnmeasured(),
        generations,
        stopped,
        upkeep);
  }

  private Properties properties() {
    Properties p = new Properties();
    SpecProperties.put(p, "", spec);
    p.setProperty("accelerator", accelerator.accelerator().name());
    p.setProperty("accelerator.reason", accelerator.reason());
    p.setProperty("created", createdAt.toString());
    user.ifPresent(number -> p.setProperty("user", Integer.toString(number)));
    put(p, "running", running);
    waiting.ifPresent(process -> put(p, "waiting", process));
    doubt.ifPresent(why -> p.setProperty("doubt", why));
    adopted.ifPresent(machine -> AdoptedProperties.put(p, machine));
    p.setProperty("clock.lost.micros", Long.toString(clockLoss.micros()));
    p.setProperty("generations", Integer.toString(generations));
    p.setProperty("clock.unmeasured", Integer.toString(clockLoss.unmeasured()));
    stopped.ifPresent(end -> {
      p.setProperty("stopped.at", end.at().toString());
      p.setProperty("stopped.why", end.why());
      p.setProperty("stopped.end", end.end().name());
    });
    put(p, upkeep);
    return p;
  }

  private static void put(Properties p, String key, Tenant process) {
    p.setProperty(key + ".pid", Integer.toString(process.pid()));
    p.setProperty(key + ".start", Long.toString(process.start()));
    p.setProperty(key + ".boot", process.boot());
    p.setProperty(key + ".generation", Integer.toString(process.generation()));
    p.setProperty(key + ".release", process.release());
    p.setProperty(key + ".kind", process.kind());
  }

  /// An older daemon did not write the boot down.
  private static Tenant process(Properties p, String key, Path file) {
    return new Tenant(
        Integer.parseInt(get(p, key + ".pid")),
        Long.parseLong(get(p, key + ".start")),
        find(p, key + ".boot").or(() -> Host.bootOf(file)).orElse(""),
        Integer.parseInt(get(p, key + ".generation")),
        get(p, key + ".release"),
        find(p, key + ".kind").orElse(""));
  }

  private static String get(Properties p, String key) {
    return find(p, key)
        .orElseThrow(() -> new IllegalArgumentException("the property " + key + " is missing"));
  }

  private static Optional<String> find(Properties p, String key) {
    return Optional.ofNullable(p.getProperty(key));
  }
}
