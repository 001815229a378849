package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;

/// What a configuration file says; see [Setting]. What it does not say has a default, which may
/// follow from another setting.
///
/// @param file where it was read
/// @param present whether there is such a file
public record Settings(
    Path file,
    boolean present,
    Optional<Path> state,
    Optional<Path> releases,
    Optional<Path> packages,
    Optional<Integer> starts,
    Optional<Verbosity> log) {

  private static final Set<String> KEYS =
      Arrays.stream(Setting.values()).map(Setting::key).collect(Collectors.toSet());

  /// The least grave entries that are logged.
  public enum Verbosity {
    /// Everything.
    DEBUG,
    /// What happened.
    INFO,
    /// What somebody should look at.
    WARNING;

    /// As people write it.
    public String word() {
      return name().toLowerCase(Locale.ROOT);
    }

    /// The one that is written like that.
    public static Optional<Verbosity> of(String word) {
      return Arrays.stream(values()).filter(level -> level.word().equals(word)).findFirst();
    }
  }

  /// The file that is read when none is named: `/etc/hyperfresh/hyperfresh.yaml` for root, else
  /// `$XDG_CONFIG_HOME/hyperfresh/hyperfresh.yaml`.
  public static Path ordinaryFile() {
    if (Host.effectiveUid() == 0) {
      return Path.of("/etc/hyperfresh/hyperfresh.yaml");
    }
    String configured = System.getenv("XDG_CONFIG_HOME");
    Path base =
        configured != null && configured.startsWith("/")
            ? Path.of(configured)
            : Path.of(System.getProperty("user.home"), ".config");
    return base.resolve("hyperfresh").resolve("hyperfresh.yaml");
  }

  /// What [#ordinaryFile] says; nothing when it is not there.
  ///
  /// @throws HyperFreshException [Problem#CONFIG_INVALID]
  public static Settings ordinary() {
    Path file = ordinaryFile();
    try {
      return parse(Files.readString(file), file);
    } catch (NoSuchFileException absent) {
      return new Settings(
          file,
          false,
          Optional.empty(),
          Optional.empty(),
          Optional.empty(),
          Optional.empty(),
          Optional.empty());
    } catch (IOException e) {
      throw unreadable(file, e);
    }
  }

  /// What `file` says, which must be there.
  ///
  /// @throws HyperFreshException [Problem#CONFIG_INVALID]
  public static Settings read(Path file) {
    try {
      return parse(Files.readString(file), file);
    } catch (IOException e) {
      throw unreadable(file, e);
    }
  }

  /// A directory that the file names may be on a file system of its own. One that was made because
  /// that is not mounted yet would be empty, and no guest known.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when the directory that the file names is
  ///   not there
  public void requireStateDirectory() {
    state
        .filter(directory -> !Files.isDirectory(directory))
        .ifPresent(directory -> {
          throw Problem.DAEMON_STATE.because(
              directory
                  + ", which "
                  + file
                  + " names, is not there. Make it, or see that its file system is mounted before"
                  + " the daemon starts.");
        });
  }

  private static HyperFreshException unreadable(Path file, IOException e) {
    return Problem.CONFIG_INVALID.because(file + " cannot be read: " + e.getMessage(), e);
  }

  /// Reads a document as a whole.
  ///
  /// @param file where it stands
  /// @throws HyperFreshException [Problem#CONFIG_INVALID] with every fault
  public static Settings parse(String text, Path file) {
    try {
      JsonNode root = YamlReader.tree(text, Problem.CONFIG_INVALID);
      if (!root.isObject() && !root.isMissingNode() && !root.isNull()) {
        throw Problem.CONFIG_INVALID.because("It is not a mapping of settings to values.");
      }
      return new Reader(root, file).read();
    } catch (HyperFreshException e) {
      throw Problem.CONFIG_INVALID.because(file + ": " + e.detail(), e);
    }
  }

  /// One reading of one document.
  private static final class Reader extends YamlReader {
    private final Path file;

    Reader(JsonNode root, Path file) {
      super(root, Path.of(""));
      this.file = file;
    }

    Settings read() {
      unknownKeys(root, KEYS, "");
      Settings settings =
          new Settings(
              file,
              true,
              folder(Setting.STATE),
              folder(Setting.RELEASES),
              folder(Setting.PACKAGES),
              starts(),
              optionalText(root, Setting.LOG.key())
                  .map(_ -> choice(Verbosity.values(), root, Setting.LOG.key(), Verbosity.INFO)));
      if (!faults.isEmpty()) {
        throw Problem.CONFIG_INVALID.because(String.join("; ", faults) + ".");
      }
      return settings;
    }

    private Optional<Integer> starts() {
      JsonNode value = root.path(Setting.STARTS.key());
      if (value.isMissingNode() || value.isNull()) {
        return Optional.empty();
      }
      if (!value.isInt() || value.asInt() < 1 || value.asInt() > DaemonConfig.MOST_STARTS) {
        faults.add(
            Setting.STARTS.key() + ": is not a number from 1 to " + DaemonConfig.MOST_STARTS);
        return Optional.empty();
      }
      return Optional.of(value.asInt());
    }

    /// A daemon's working directory is nobody's business, so nothing starts there.
    private Optional<Path> folder(Setting setting) {
      Optional<Path> folder = path(root, setting.key());
      if (folder.isPresent() && !folder.get().isAbsolute()) {
        faults.add(setting.key() + ": '" + folder.get() + "' is not an absolute path");
      }
      return folder;
    }
  }

  /// The daemon's directory.
  public Path stateDirectory() {
    return state.orElseGet(DaemonConfig::defaultState);
  }

  /// The level that holds.
  public Verbosity verbosity() {
    return log.orElse(Verbosity.INFO);
  }

  /// The same with another state directory, as a command line may name one.
  public Settings withState(Path other) {
    return new Settings(file, present, Optional.of(other), releases, packages, starts, log);
  }

  /// What a daemon is started with.
  ///
  /// @throws HyperFreshException [Problem#HOST_SOCKET_PATH]
  public DaemonConfig config() {
    DaemonConfig together = DaemonConfig.under(stateDirectory());
    return new DaemonConfig(
            together.state(),
            releases.orElse(together.releases()),
            packages.orElse(together.packages()))
        .starting(starts.orElse(together.startsAtOnce()));
  }
}
