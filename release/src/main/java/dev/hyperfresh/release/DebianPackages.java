package dev.hyperfresh.release;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.Objects.requireNonNull;

import dev.hyperfresh.linux.Scheduling;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// Debian packages unpacked beside the system: downloaded by this machine's apt from the mirror it
/// is configured with, checked by apt against the distribution's keys, and unpacked into a folder.
/// Nothing is installed, upgraded or removed, and any user may do it.
///
/// Instances may be used from any thread; downloads into the same directory wait for each other,
/// also across processes.
public final class DebianPackages {

  /// Where packages come from.
  public enum Suite {
    /// The machine's own release with its updates and security fixes.
    STABLE,
    /// Newer versions rebuilt for the machine's own release, `<codename>-backports`.
    BACKPORTS,
    /// Debian 13, whatever the machine itself runs: for what runs in a virtual machine, on
    /// libraries of its own.
    TRIXIE;

    String of(String codename) {
      return switch (this) {
        case STABLE -> codename;
        case BACKPORTS -> codename + "-backports";
        case TRIXIE -> "trixie";
      };
    }
  }

  /// What was unpacked.
  ///
  /// @param root the folder given to [#unpack]
  /// @param versions the Debian version of every package unpacked, by package name
  public record Unpacked(Path root, Map<String, String> versions) {
    /// Copies the map; iteration is by name.
    public Unpacked {
      requireNonNull(root, "root");
      versions = Collections.unmodifiableMap(new TreeMap<>(versions));
    }
  }

  /// Why packages could not be had. The message is one sentence that names what was wanted and what
  /// to do.
  public static final class PackagesException extends RuntimeException {

    /// What kind of obstacle it was.
    public enum Kind {
      /// `apt-get` or `dpkg-deb` is not on this machine, or apt is configured without Debian.
      NO_APT,
      /// No mirror could be reached and the cache does not hold what is wanted.
      UNREACHABLE,
      /// The archive's signature does not check against the machine's keys.
      UNTRUSTED,
      /// The suite has no such package.
      UNKNOWN_PACKAGE,
      /// Anything else, such as a full disk; the message quotes it.
      FAILED
    }

    private final Kind kind;

    PackagesException(Kind kind, String message) {
      super(message);
      this.kind = kind;
    }

    PackagesException(Kind kind, String message, Throwable cause) {
      super(message, cause);
      this.kind = kind;
    }

    /// Returns what kind of obstacle it was.
    public Kind kind() {
      return kind;
    }
  }

  private record Choice(String name, String version) {
    String prefix() {
      return name.replaceFirst(":.*", "") + "_" + version.replace(":", "%3a") + "_";
    }

    String argument() {
      return name + "=" + version;
    }
  }

  private record Result(int status, String output) {}

  private static final Path HOST_STATUS = Path.of("/var/lib/dpkg/status");
  private static final Pattern NAME = Pattern.compile("[a-z0-9][a-z0-9+.-]+");
  private static final Pattern INSTALL =
      Pattern.compile("^Inst (\\S+)(?: \\[[^]]*])? \\((\\S+) .*", Pattern.MULTILINE);
  private static final Set<String> STATUS_FIELDS =
      Set.of("Package", "Version", "Architecture", "Multi-Arch", "Provides", "Essential");

  private static final Duration INDEX_AGE = Duration.ofDays(1);
  private static final Duration UPDATE_LIMIT = Duration.ofMinutes(10);
  private static final Duration DOWNLOAD_LIMIT = Duration.ofMinutes(30);
  private static final Duration LOCAL_LIMIT = Duration.ofMinutes(5);
  private static final int OUTPUT_LIMIT = 1 << 20;

  // A file lock excludes other processes only; this one excludes the rest of this process.
  private static final ReentrantLock IN_PROCESS = new ReentrantLock();

  private final Path directory;

  /// Names the directory for apt's private state and its cache of downloaded packages.
  ///
  /// @param directory made with mode 0700 at the first use; its path may not contain `"` or control
  ///   characters, which apt's configuration cannot express
  /// @throws IllegalArgumentException for such a path
  public DebianPackages(Path directory) {
    this.directory = directory.toAbsolutePath().normalize();
    if (this.directory.toString().chars().anyMatch(c -> c == '"' || c < ' ')) {
      throw new IllegalArgumentException(
          "apt cannot work in '%s': choose a path without quotes and control characters"
              .formatted(this.directory));
    }
  }

  /// Downloads packages where the cache does not have them and unpacks them.
  ///
  /// The package index is fetched when it is older than a day or lacks a package; otherwise, and
  /// with the packages in the cache, no network is used. A meta-package of the form
  /// `linux-image-<flavour>` brings the kernel package that it stands for.
  ///
  /// @param suite where the named packages come from
  /// @param packages Debian package names
  /// @param withMissingLibraries whether to bring along what they depend on, at any depth, apart
  ///   from shared libraries and required packages that are installed on this machine. Data and
  ///   firmware packages are always brought, so that `into` does not rest on the machine's. From
  ///   [Suite#TRIXIE] everything is brought.
  /// @param into the folder to unpack into; created when absent, and left incomplete on an error
  /// @param progress gets one line for every step
  /// @return the folder and the versions in it
  /// @throws PackagesException with one sentence, when apt, the network, the signature or a package
  ///   is missing
  /// @throws IllegalArgumentException when a name is not a package name
  public Unpacked unpack(
      Suite suite,
      List<String> packages,
      boolean withMissingLibraries,
      Path into,
      Consumer<String> progress) {
    for (String name : packages) {
      if (!NAME.matcher(name).matches()) {
        throw new IllegalArgumentException("'%s' is not a Debian package name".formatted(name));
      }
    }
    IN_PROCESS.lock();
    try {
      Files.createDirectories(
          directory,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      try (FileChannel file =
              FileChannel.open(
                  directory.resolve("lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
          FileLock held = file.lock()) {
        requireNonNull(held, "lock");
        return new Session(suite, packages, withMissingLibraries, progress).unpack(into);
      }
    } catch (IOException e) {
      throw new PackagesException(
          PackagesException.Kind.FAILED,
          "packages %s could not be unpacked into %s: %s".formatted(packages, into, e),
          e);
    } finally {
      IN_PROCESS.unlock();
    }
  }

  /// One call of [#unpack], alone in the directory.
  private final class Session {
    private final Suite suite;
    private final List<String> packages;
    private final boolean withMissingLibraries;
    private final Consumer<String> progress;
    private final String codename = codename();
    private final Path configuration;
    private final Path sources;
    private final Path refreshed;

    Session(
        Suite suite,
        List<String> packages,
        boolean withMissingLibraries,
        Consumer<String> progress) {
      this.suite = suite;
      this.packages = packages;
      this.withMissingLibraries = withMissingLibraries;
      this.progress = progress;
      this.configuration = directory.resolve(suiteName() + ".conf");
      this.sources = directory.resolve(suiteName() + ".sources");
      this.refreshed = directory.resolve(suiteName() + ".refreshed");
    }

    Unpacked unpack(Path into) throws IOException {
      boolean moved = prepare();
      boolean tried = false;
      if (moved || !Files.exists(refreshed)) {
        refresh();
        tried = true;
      } else if (age(refreshed).compareTo(INDEX_AGE) > 0) {
        tried = true;
        try {
          refresh();
        } catch (PackagesException e) {
          if (e.kind() != PackagesException.Kind.UNREACHABLE) {
            throw e;
          }
          progress.accept("no mirror answers; using the package index of " + stamp(refreshed));
        }
      }
      List<Choice> chosen = tried ? fetch() : fetchOrRefresh();
      Files.createDirectories(into);
      progress.accept("unpacking %d packages into %s".formatted(chosen.size(), into));
      Map<String, String> versions = new TreeMap<>();
      for (Choice choice : chosen) {
        extract(archive(choice).orElseThrow(), into);
        versions.put(choice.name(), choice.version());
      }
      return new Unpacked(into, versions);
    }

    private String suiteName() {
      return suite.of(codename);
    }

    /// Writes the private configuration; returns whether the sources changed.
    private boolean prepare() throws IOException {
      for (String name : List.of("lists/partial", "archives/partial", "state")) {
        Files.createDirectories(directory.resolve(name));
      }
      Files.writeString(directory.resolve("state/status"), hostLibraries());
      Files.writeString(configuration, aptConfiguration());
      String base = suite == Suite.BACKPORTS ? codename : suiteName();
      List<String> suites = suite == Suite.BACKPORTS ? List.of(base, suiteName()) : List.of(base);
      String list = sourcesOfThisMachine().list(suites, base);
      boolean changed = !Files.exists(sources) || !Files.readString(sources).equals(list);
      Files.writeString(sources, list);
      return changed;
    }

    // The machine's own settings (proxies, certificates) are read first; this replaces the rest.
    // Hooks are cleared because they act on the system, and unsigned archives are refused whatever
    // the machine allows itself. With the cache in a private folder apt's own download user could
    // not write there.
    private String aptConfiguration() {
      return """
      #clear APT::Update::Pre-Invoke;
      #clear APT::Update::Post-Invoke;
      #clear APT::Update::Post-Invoke-Success;
      #clear Acquire::Languages;
      Acquire::Languages "none";
      Acquire::Retries "2";
      Acquire::http::Timeout "30";
      Acquire::https::Timeout "30";
      Acquire::AllowInsecureRepositories "false";
      Acquire::AllowWeakRepositories "false";
      Acquire::AllowDowngradeToInsecureRepositories "false";
      APT::Get::AllowUnauthenticated "false";
      APT::Get::List-Cleanup "false";
      APT::Install-Recommends "false";
      APT::Sandbox::User "root";
      APT::Update::Error-Mode "any";
      Dir::Etc::sourcelist "%2$s";
      Dir::Etc::sourceparts "/dev/null";
      Dir::Etc::preferences "/dev/null";
      Dir::Etc::preferencesparts "/dev/null";
      Dir::State::lists "%1$s/lists/";
      Dir::State::status "%1$s/state/status";
      Dir::State::extended_states "%1$s/state/extended_states";
      Dir::Cache::archives "%1$s/archives/";
      Dir::Cache::pkgcache "%1$s/%3$s.pkgcache.bin";
      Dir::Cache::srcpkgcache "%1$s/%3$s.srcpkgcache.bin";
      """
          .formatted(directory, sources, suiteName());
    }

    // What counts as present on this machine, for apt to leave out. Dependencies are left out of
    // it: with them, a half-configured or held package of the machine would stop apt here too.
    private String hostLibraries() throws IOException {
      if (!withMissingLibraries || suite == Suite.TRIXIE || !Files.exists(HOST_STATUS)) {
        return "";
      }
      return Stream.of(Files.readString(HOST_STATUS).split("\\n\\n", -1))
          .filter(stanza -> stanza.contains(" ok installed\n"))
          .filter(stanza ->
              stanza.contains("\nMulti-Arch: same")
                  || stanza.contains("\nEssential: yes")
                  || stanza.contains("\nPriority: required"))
          .filter(stanza -> !packages.contains(stanza.replaceFirst("(?s)Package: (\\S+).*", "$1")))
          .map(stanza ->
              stanza
                  .lines()
                  .filter(line -> STATUS_FIELDS.contains(line.replaceFirst(":.*", "")))
                  .collect(Collectors.joining("\n", "", "\nStatus: install ok installed\n\n")))
          .collect(Collectors.joining());
    }

    // The first question is answered for archives whose index the machine has fetched, with what
    // they say of themselves; the second for the others too, without it.
    private AptSources sourcesOfThisMachine() {
      String targets = targets(List.of()) + targets(List.of("--no-release-info"));
      return AptSources.parse(targets, codename, DebianPackages::readSources)
          .orElseThrow(() ->
              new PackagesException(
                  PackagesException.Kind.NO_APT,
                  "apt on this machine has no source for Debian %s; add the distribution's own to /etc/apt/sources.list.d"
                      .formatted(codename)));
    }

    private String targets(List<String> options) {
      List<String> command = new ArrayList<>(List.of("apt-get", "indextargets"));
      command.addAll(options);
      command.addAll(
          List.of("--format", AptSources.FORMAT, "Created-By: Packages", "Component: main"));
      return run(command, directory, LOCAL_LIMIT).output();
    }

    private void refresh() throws IOException {
      progress.accept("fetching the package index of " + suiteName());
      Result result = apt("fetching the package index", UPDATE_LIMIT, List.of("-q", "update"));
      Files.writeString(refreshed, result.output());
    }

    private List<Choice> fetchOrRefresh() throws IOException {
      try {
        return fetch();
      } catch (PackagesException first) {
        try {
          refresh();
          return fetch();
        } catch (PackagesException second) {
          second.addSuppressed(first);
          throw second;
        }
      }
    }

    private List<Choice> fetch() throws IOException {
      List<Choice> chosen = choose();
      List<Choice> absent = new ArrayList<>();
      for (Choice choice : chosen) {
        if (archive(choice).isEmpty()) {
          absent.add(choice);
        }
      }
      if (!absent.isEmpty()) {
        download(absent);
      }
      return chosen;
    }

    private List<Choice> choose() {
      List<String> arguments = new ArrayList<>(List.of("-qq", "--simulate", "install"));
      if (suite == Suite.BACKPORTS) {
        arguments.addAll(List.of("-t", suiteName()));
      }
      String release = suite == Suite.BACKPORTS ? "/" + suiteName() : "";
      packages.forEach(name -> arguments.add(name + release));
      String plan = apt("choosing " + packages, LOCAL_LIMIT, arguments).output();
      Set<String> wanted = new HashSet<>(packages);
      return INSTALL
          .matcher(plan)
          .results()
          .map(found -> new Choice(found.group(1), found.group(2)))
          .filter(c -> withMissingLibraries || wanted.contains(c.name()) || isKernelOf(wanted, c))
          .toList();
    }

    private static boolean isKernelOf(Set<String> wanted, Choice choice) {
      String image = "linux-image-";
      return choice.name().startsWith(image)
          && wanted.stream()
              .anyMatch(meta ->
                  meta.startsWith(image)
                      && choice.name().endsWith("-" + meta.substring(image.length())));
    }

    private void download(List<Choice> absent) {
      progress.accept(
          absent.size() == 1
              ? "downloading %s %s".formatted(absent.getFirst().name(), absent.getFirst().version())
              : "downloading %d packages for %s"
                  .formatted(absent.size(), String.join(", ", packages)));
      List<String> arguments = new ArrayList<>(List.of("-q", "download"));
      absent.forEach(choice -> arguments.add(choice.argument()));
      apt("downloading " + packages, DOWNLOAD_LIMIT, arguments);
      for (Choice choice : absent) {
        if (archive(choice).isEmpty()) {
          throw new PackagesException(
              PackagesException.Kind.FAILED,
              "apt-get reported success but left no archive of %s in %s"
                  .formatted(choice.argument(), directory));
        }
      }
    }

    private Optional<Path> archive(Choice choice) {
      try (Stream<Path> files = Files.list(directory.resolve("archives"))) {
        return files
            .filter(f -> f.getFileName().toString().startsWith(choice.prefix()))
            .filter(f -> f.getFileName().toString().endsWith(".deb"))
            .findFirst();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private void extract(Path archive, Path into) throws IOException {
      Result result =
          run(
              List.of("dpkg-deb", "-x", archive.toString(), into.toString()),
              directory,
              LOCAL_LIMIT);
      if (result.status() != 0) {
        // Whatever is wrong with it, the next attempt must not find it in the cache.
        Files.delete(archive);
        throw new PackagesException(
            PackagesException.Kind.FAILED,
            "%s could not be unpacked into %s: %s"
                .formatted(archive.getFileName(), into, lastLine(result.output())));
      }
    }

    private Result apt(String doing, Duration limit, List<String> arguments) {
      List<String> command = new ArrayList<>(List.of("apt-get", "-c", configuration.toString()));
      command.addAll(arguments);
      Result result = run(command, directory.resolve("archives"), limit);
      if (result.status() != 0) {
        throw explained(doing, result.output());
      }
      return result;
    }

    private PackagesException explained(String doing, String output) {
      List<String> lines =
          output.lines().filter(l -> l.startsWith("E: ") || l.startsWith("W: ")).toList();
      String said = lines.isEmpty() ? lastLine(output) : lines.getFirst().substring(3);
      if (output.contains("is not signed")
          || output.contains("NO_PUBKEY")
          || output.contains("BADSIG")
          || output.contains("EXPKEYSIG")) {
        return new PackagesException(
            PackagesException.Kind.UNTRUSTED,
            "%s from %s stopped because its signature does not check against this machine's keys (%s); install the current debian-archive-keyring"
                .formatted(doing, suiteName(), said));
      }
      if (output.contains("Unable to locate package") || output.contains("was not found")) {
        return new PackagesException(
            PackagesException.Kind.UNKNOWN_PACKAGE,
            "%s failed because %s does not have it (%s); check the name"
                .formatted(doing, suiteName(), said));
      }
      if (output.contains("Could not resolve")
          || output.contains("Failed to fetch")
          || output.contains("Could not connect")
          || output.contains("Unable to connect")
          || output.contains("Temporary failure")) {
        return new PackagesException(
            PackagesException.Kind.UNREACHABLE,
            "%s from %s failed because the mirror did not answer (%s); check the network and run it again"
                .formatted(doing, suiteName(), said));
      }
      return new PackagesException(
          PackagesException.Kind.FAILED,
          "%s from %s failed: %s".formatted(doing, suiteName(), said));
    }
  }

  private static Result run(List<String> command, Path workingDirectory, Duration limit) {
    String name = command.getFirst();
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(workingDirectory.toFile())
            .redirectErrorStream(true)
            .redirectInput(Path.of("/dev/null").toFile());
    builder.environment().put("LC_ALL", "C");
    Process process;
    try {
      process = builder.start();
      Scheduling.nice((int) process.pid(), Scheduling.BEHIND_GUESTS);
    } catch (IOException e) {
      throw new PackagesException(
          PackagesException.Kind.NO_APT,
          "%s cannot be started (%s); packages come through Debian's apt and dpkg, so use a Debian machine"
              .formatted(name, e.getMessage()),
          e);
    }
    CompletableFuture<Boolean> expired =
        process
            .onExit()
            .orTimeout(limit.toMillis(), TimeUnit.MILLISECONDS)
            .handle((ended, late) -> late != null && kill(process));
    String output = drain(process);
    if (expired.join()) {
      throw new PackagesException(
          PackagesException.Kind.FAILED,
          "%s %s was stopped after %d minutes without an end; run it again"
              .formatted(name, command.getLast(), limit.toMinutes()));
    }
    return new Result(process.exitValue(), output);
  }

  private static boolean kill(Process process) {
    // apt's download methods hold the output pipe, so they have to go as well.
    process.descendants().forEach(ProcessHandle::destroyForcibly);
    process.destroyForcibly();
    return true;
  }

  private static String drain(Process process) {
    try (InputStream output = process.getInputStream()) {
      byte[] kept = output.readNBytes(OUTPUT_LIMIT);
      output.transferTo(OutputStream.nullOutputStream());
      return new String(kept, UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String codename() {
    try (Stream<String> lines = Files.lines(Path.of("/etc/os-release"))) {
      return lines
          .filter(line -> line.startsWith("VERSION_CODENAME="))
          .map(line -> line.substring("VERSION_CODENAME=".length()).replace("\"", ""))
          .filter(name -> NAME.matcher(name).matches())
          .findFirst()
          .orElseThrow(() ->
              new PackagesException(
                  PackagesException.Kind.NO_APT,
                  "/etc/os-release names no release (VERSION_CODENAME); packages come from Debian's"
                      + " releases, so use a Debian stable machine"));
    } catch (IOException e) {
      throw new PackagesException(
          PackagesException.Kind.NO_APT, "/etc/os-release cannot be read: " + e.getMessage(), e);
    }
  }

  private static String readSources(String file) {
    try {
      return Files.readString(Path.of(file));
    } catch (IOException e) {
      throw new PackagesException(
          PackagesException.Kind.NO_APT,
          "apt's source list %s cannot be read: %s".formatted(file, e.getMessage()),
          e);
    }
  }

  private static Duration age(Path file) throws IOException {
    return Duration.between(Files.getLastModifiedTime(file).toInstant(), Instant.now());
  }

  private static String stamp(Path file) throws IOException {
    return Files.getLastModifiedTime(file).toString();
  }

  private static String lastLine(String text) {
    return text.lines().filter(line -> !line.isBlank()).reduce("no output", (a, b) -> b);
  }
}
