package dev.hyperfresh.release;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/// This machine's apt with a configuration, a package index and a cache of its own, which acts on a
/// directory and not on the system, for one suite. Whoever calls it is alone in the directory.
final class PrivateApt {
  private static final Duration UPDATE_LIMIT = Duration.ofMinutes(10);

  private final Path directory;
  private final Suite suite;
  private final DebianHost host;
  private final AptSources.Contents contents;
  private final Path configuration;
  private final Path sources;
  private final Path refreshed;

  PrivateApt(Path directory, Suite suite, DebianHost host, AptSources.Contents contents) {
    this.directory = directory;
    this.suite = suite;
    this.host = host;
    this.contents = contents;
    this.configuration = directory.resolve(fileName() + ".conf");
    this.sources = directory.resolve(fileName() + ".sources");
    this.refreshed = directory.resolve(fileName() + ".refreshed");
  }

  private String fileName() {
    return suiteName() + contents.suffix();
  }

  Path directory() {
    return directory;
  }

  /// As Debian calls the suite.
  String suiteName() {
    return suite.of(host.codename());
  }

  /// Where downloaded packages are kept.
  Path archives() {
    return directory.resolve("archives");
  }

  /// Writes the private configuration.
  ///
  /// @param present what counts as installed, as dpkg's status file has it
  /// @return whether the sources changed
  /// @throws PackagesException when this machine's apt is configured without Debian
  boolean configure(String present) throws IOException {
    for (String name : List.of("lists/partial", "archives/partial", "state")) {
      Files.createDirectories(directory.resolve(name));
    }
    Files.writeString(directory.resolve("state/status"), present);
    Files.writeString(configuration, text());
    String base = suite.base(host.codename());
    List<String> suites = suite.isBackports() ? List.of(base, suiteName()) : List.of(base);
    String list = host.sources(directory).list(suites, base, contents);
    boolean changed = !Files.exists(sources) || !Files.readString(sources).equals(list);
    Files.writeString(sources, list);
    return changed;
  }

  // The machine's own settings (proxies, certificates) are read first; this replaces the rest.
  // Hooks are cleared because they act on the system, and unsigned archives are refused whatever
  // the machine allows itself. With the cache in a private folder apt's own download user could
  // not write there.
  private String text() {
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
        .formatted(directory, sources, fileName());
  }

  /// Whether the package index was ever fetched.
  boolean hasIndex() {
    return Files.exists(refreshed);
  }

  /// How long ago the package index was fetched.
  Duration indexAge() throws IOException {
    return Duration.between(Files.getLastModifiedTime(refreshed).toInstant(), Instant.now());
  }

  /// When it was, for people.
  String indexDate() throws IOException {
    return Files.getLastModifiedTime(refreshed).toString();
  }

  /// Fetches the package index.
  ///
  /// @throws PackagesException when it cannot be fetched
  void refresh() throws IOException {
    AptRun run = run("fetching the package index", UPDATE_LIMIT, List.of("-q", "update"));
    Files.writeString(refreshed, run.output());
  }

  /// Runs `apt-get` with this configuration, in the folder of [#archives].
  ///
  /// @param doing what for, for people
  /// @throws PackagesException when it fails
  AptRun run(String doing, Duration limit, List<String> arguments) {
    return run(doing, limit, arguments, archives(), _ -> {});
  }

  /// As [#run(String, Duration, List)], in another folder, with each line of its output as it
  /// comes.
  AptRun run(
      String doing, Duration limit, List<String> arguments, Path folder, Consumer<String> heard) {
    List<String> command = new ArrayList<>(List.of("apt-get", "-c", configuration.toString()));
    command.addAll(arguments);
    AptRun run = AptRun.of(command, folder, limit, heard);
    if (run.failed()) {
      throw run.explained(doing, suiteName());
    }
    return run;
  }
}
