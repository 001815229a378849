package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.FoundProcess;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.DebianVersion;
import dev.hyperfresh.release.Offers;
import dev.hyperfresh.release.Offers.Offer;
import dev.hyperfresh.release.ReleaseFolders;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import tools.jackson.core.JacksonException;

/// The releases under one folder, each in a folder of its own beside a description.
///
/// Thread-safe: every change is one rename, and readers see a release whole or not at all.
public final class QemuReleases {
  /// The name of the newest installed build of all.
  public static final String LATEST = "latest";

  /// The name of the build that is this host's own QEMU now.
  public static final String INSTALLED = "installed";

  private static final String DESCRIPTION = "release.json";

  private final ReleaseFolders folders;
  private final QemuArchive archive;
  private final HostQemu host;

  /// Uses `directory` for releases and `packages` to fetch them.
  public QemuReleases(Path directory, DebianPackages packages) {
    this(directory, QemuArchive.of(packages), HostQemu.OF_THIS_HOST);
  }

  QemuReleases(Path directory, QemuArchive archive, HostQemu host) {
    this.folders = new ReleaseFolders(directory, DESCRIPTION);
    this.archive = archive;
    this.host = host;
  }

  /// Where this host's own QEMU is looked for; the first that is there counts.
  public static List<Path> places() {
    return HostQemu.OF_THIS_HOST.places();
  }

  /// All releases, oldest version first, and of each version the oldest build.
  public List<QemuRelease> list() {
    return folders.descriptions().stream()
        .map(QemuReleases::read)
        .sorted(
            QemuRelease.BY_VERSION
                .thenComparing(release -> folders.installedAt(release.name()))
                .thenComparing(QemuRelease::name))
        .toList();
  }

  /// All releases that a name means, oldest first. A full name means that release alone, and what
  /// is neither [#LATEST] nor [#INSTALLED] is a series: `qemu-10.0` and `qemu-10.0.2` mean every
  /// build of that version.
  public List<QemuRelease> all(String name) {
    List<QemuRelease> all = list();
    if (name.equals(LATEST)) {
      List<QemuRelease> plain = plain(all);
      return plain.isEmpty() ? plain : List.of(plain.getLast());
    }
    if (name.equals(INSTALLED)) {
      return ofHost(all).stream().toList();
    }
    Optional<QemuRelease> full = named(all, name);
    return full.isPresent()
        ? List.of(full.get())
        : all.stream().filter(release -> BuildName.meets(release.name(), name)).toList();
  }

  /// Those of them that somebody who names none can get: no build with our patches, oldest first.
  public static List<QemuRelease> plain(List<QemuRelease> all) {
    return all.stream().filter(release -> !release.isTuned()).toList();
  }

  private static Optional<QemuRelease> named(List<QemuRelease> all, String name) {
    return all.stream().filter(release -> release.name().equals(name)).findFirst();
  }

  /// The newest release of [#all].
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_UNKNOWN]
  public QemuRelease get(String name) {
    return find(name).orElseThrow(() -> unknown(name));
  }

  /// The release with exactly that name, which is in use: another build is no substitute.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_UNKNOWN]
  public QemuRelease recorded(String full) {
    return named(list(), full)
        .orElseThrow(
            () -> Problem.RELEASE_UNKNOWN.because("'" + full + "' is no longer installed."));
  }

  private HyperFreshException unknown(String name) {
    if (name.equals(INSTALLED)) {
      return Problem.RELEASE_UNKNOWN.because(
          host.binary()
              .map(binary ->
                  "This host's own QEMU, "
                      + binary
                      + ", is not a release yet; `hyperfresh release fetch installed` copies it.")
              .orElseGet(this::noHost));
    }
    List<String> names = list().stream().map(QemuRelease::name).toList();
    return Problem.RELEASE_UNKNOWN.because(
        "'%s' is not installed; installed: %s."
            .formatted(name, names.isEmpty() ? "none" : String.join(", ", names)));
  }

  private String noHost() {
    return "This host has no QEMU of its own; it would be "
        + String.join(" or ", host.places().stream().map(Path::toString).toList())
        + ".";
  }

  /// As [#get], or empty when there is none.
  public Optional<QemuRelease> find(String name) {
    List<QemuRelease> all = all(name);
    return all.isEmpty() ? Optional.empty() : Optional.of(all.getLast());
  }

  /// Brings the release `name` (`qemu-7.2` or `qemu-7.2.22`) from Debian's packages, unless some
  /// build of it is here already.
  ///
  /// @param progress gets one line for each step
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_KIND],
  ///   [Problem#RELEASE_FETCH]
  public QemuRelease fetch(String name, Consumer<String> progress) {
    requireSeries(name);
    return find(name)
        .orElseGet(() -> {
          try {
            return brought(name, progress);
          } catch (PackagesException e) {
            throw Problem.RELEASE_FETCH.because(String.valueOf(e.getMessage()), e);
          }
        });
  }

  /// Brings the newest build of `name` that this host's package archives offer, beside those that
  /// are here; [#INSTALLED] is copied from the host itself.
  ///
  /// @param progress gets one line for each step
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_KIND],
  ///   [Problem#RELEASE_FETCH], [Problem#RELEASE_UNKNOWN] when the host has no QEMU of its own
  public FetchedQemu fetchNewest(String name, Consumer<String> progress) {
    if (name.equals(INSTALLED)) {
      return ofHost(list())
          .map(release -> new FetchedQemu(release, FetchedQemu.News.NEWEST))
          .orElseGet(() -> new FetchedQemu(ofHost(), FetchedQemu.News.FETCHED));
    }
    requireSeries(name);
    Optional<QemuRelease> present = find(name);
    try {
      if (present.isEmpty()) {
        return new FetchedQemu(brought(name, progress), FetchedQemu.News.FETCHED);
      }
      return bring(name, present, new ArrayList<>(), progress)
          .map(release -> new FetchedQemu(release, FetchedQemu.News.FETCHED))
          .orElseGet(() -> new FetchedQemu(present.get(), FetchedQemu.News.NEWEST));
    } catch (PackagesException e) {
      if (present.isPresent()) {
        progress.accept("whether there is a newer build is not known: " + e.getMessage());
        return new FetchedQemu(present.get(), FetchedQemu.News.UNASKED);
      }
      throw Problem.RELEASE_FETCH.because(String.valueOf(e.getMessage()), e);
    }
  }

  /// Builds Debian's QEMU with patches of ours, beside Debian's own builds, unless it is here.
  ///
  /// @param from such as `debian-10.0`
  /// @param progress gets one line for each step
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_KIND],
  ///   [Problem#RELEASE_FETCH], [Problem#HOST_MISSING] when it cannot be built
  public FetchedQemu build(String from, Consumer<String> progress) {
    try {
      TunedQemu wanted = TunedQemu.of(from, archive, progress);
      Optional<QemuRelease> present =
          list().stream().filter(here -> here.source().equals(wanted.source())).findFirst();
      return present.isPresent()
          ? new FetchedQemu(present.get(), FetchedQemu.News.NEWEST)
          : new FetchedQemu(built(wanted, progress), FetchedQemu.News.FETCHED);
    } catch (PackagesException e) {
      throw Problem.RELEASE_FETCH.because(String.valueOf(e.getMessage()), e);
    }
  }

  private QemuRelease built(TunedQemu wanted, Consumer<String> progress) {
    Path staging = folders.stage();
    try {
      return installedOrThere(wanted.staged(archive, staging, progress));
    } finally {
      ReleaseFolders.delete(staging);
    }
  }

  private static void requireSeries(String name) {
    if (!BuildName.isAskedFor(name)) {
      throw Problem.RELEASE_KIND.because(
          "'" + name + "' is not of the form qemu-10.0 or qemu-10.0.2.");
    }
  }

  private QemuRelease brought(String name, Consumer<String> progress) {
    List<String> seen = new ArrayList<>();
    return bring(name, Optional.empty(), seen, progress)
        .orElseThrow(() ->
            Problem.RELEASE_FETCH.because(
                "This host's package archives offer "
                    + String.join(", ", seen)
                    + ", none of which is "
                    + name
                    + "."));
  }

  /// What this host's own suites have of `name` comes first. Other suites are asked when those have
  /// nothing, or when a build that is here is newer than all that they have. What a series means
  /// depends on all of the host's own suites, so then each of them must have answered.
  ///
  /// @param present the newest that is here; what is not newer is not brought
  /// @param seen gets what is offered and is not `name`
  private Optional<QemuRelease> bring(
      String name, Optional<QemuRelease> present, List<String> seen, Consumer<String> progress) {
    Offers own = Offers.ofOwn(archive.suites(), ask(progress), progress);
    Optional<QemuRelease> brought = bring(own, name, present, seen, progress);
    if (brought.isPresent()) {
      return brought;
    }
    if (isUpToDate(own, name, present)) {
      own.requireAll();
      return brought;
    }
    if (!BuildName.hasVersion(name)) {
      own.requireAll();
    }
    Offers others = Offers.ofOthers(archive.suites(), ask(progress), progress);
    brought = bring(others, name, present, seen, progress);
    if (brought.isEmpty()) {
      own.requireAll();
      others.requireAll();
    }
    return brought;
  }

  private Function<Suite, DebianVersion> ask(Consumer<String> progress) {
    return suite -> archive.offered(suite, progress);
  }

  private static boolean isUpToDate(Offers own, String name, Optional<QemuRelease> present) {
    return present
        .flatMap(QemuRelease::packaged)
        .filter(here ->
            own.newestFirst(version -> BuildName.mayBe(name, version)).stream()
                .anyMatch(offer -> offer.version().compareTo(here) >= 0))
        .isPresent();
  }

  private Optional<QemuRelease> bring(
      Offers offers,
      String name,
      Optional<QemuRelease> present,
      List<String> seen,
      Consumer<String> progress) {
    for (Offer offer : offers.newestFirst(version -> BuildName.mayBe(name, version))) {
      if (present.isEmpty() || isNews(offer.version(), present.get())) {
        Optional<QemuRelease> brought = unpacked(offer.suite(), name, present, seen, progress);
        if (brought.isPresent()) {
          return brought;
        }
      }
    }
    offers.versions().stream()
        .filter(version -> !BuildName.mayBe(name, version))
        .forEach(version -> seen.add(version.text()));
    return Optional.empty();
  }

  private boolean isNews(DebianVersion offered, QemuRelease present) {
    return present.packaged().map(here -> offered.compareTo(here) > 0).orElse(true)
        && list().stream().noneMatch(here -> here.packaged().equals(Optional.of(offered)));
  }

  private Optional<QemuRelease> unpacked(
      Suite suite,
      String name,
      Optional<QemuRelease> present,
      List<String> seen,
      Consumer<String> progress) {
    Path staging = folders.stage();
    try {
      DebianVersion packaged = archive.unpack(suite, staging.resolve("root"), progress);
      progress.accept("asking QEMU " + packaged.version() + " what it supports");
      StagedQemu staged = StagedQemu.unpacked(staging, QemuRelease.sourceOf(packaged));
      boolean isNewest =
          present.stream()
              .allMatch(here -> QemuRelease.BY_VERSION.compare(staged.release(), here) > 0);
      if (isNewest && staged.names().stream().anyMatch(one -> BuildName.meets(one, name))) {
        return Optional.of(installedOrThere(staged));
      }
      seen.add(staged.release().version());
      return Optional.empty();
    } finally {
      ReleaseFolders.delete(staging);
    }
  }

  /// Copies a QEMU that is on this host already, with its firmware and modules, so that it stays
  /// what it is when the host's package manager replaces the original. One that lies where it was
  /// built is used there.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_DAMAGED] when it does
  ///   not run, [Problem#RELEASE_NAME] when this build is here already
  public QemuRelease add(Path binary) {
    return added(binary, this::install);
  }

  private QemuRelease added(Path binary, Function<StagedQemu, QemuRelease> installation) {
    if (!Files.isRegularFile(binary) || !Files.isExecutable(binary)) {
      throw Problem.RELEASE_DAMAGED.because(binary + " is not an executable file.");
    }
    Path staging = folders.stage();
    try {
      Path real = binary.toRealPath();
      QemuCopy copy = QemuCopy.of(real, staging);
      String source =
          host.packaged(real, copy.binary())
              .map(QemuRelease::sourceOf)
              .orElseGet(() -> binary.toString());
      return installation.apply(
          StagedQemu.of(
              staging, copy.binary(), copy.sha256(), copy.arguments(), List.of(), source));
    } catch (IOException e) {
      throw Problem.RELEASE_DAMAGED.because(binary + " cannot be read: " + e.getMessage(), e);
    } finally {
      ReleaseFolders.delete(staging);
    }
  }

  /// The release that is this host's own QEMU now, copied first unless it is here.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_UNKNOWN] when the host
  ///   has none, [Problem#RELEASE_DAMAGED] when it does not run, or its packages are being changed
  public QemuRelease ofHost() {
    Path binary = host.binary().orElseThrow(() -> Problem.RELEASE_UNKNOWN.because(noHost()));
    return ofHost(list())
        .orElseGet(() -> added(host.whole(binary), staged -> installedOrThere(host.whole(staged))));
  }

  /// A copy of it; one that is used where the package manager replaces it will be another one.
  private Optional<QemuRelease> ofHost(List<QemuRelease> all) {
    return host.binary()
        .map(ReleaseFolders::sha256)
        .flatMap(sha256 ->
            all.reversed().stream()
                .filter(release -> release.sha256().equals(sha256))
                .filter(release -> release.binary().startsWith(folders.home(release.name())))
                .findFirst());
  }

  /// The release of a process that something else started: an installed one with the same binary.
  /// Of a process with all rights of the daemon, the binary itself is registered otherwise. One
  /// that the host's package manager has replaced meanwhile is copied out of the process, so that
  /// there is a way back. What another user has put together is not run to learn what it is.
  ///
  /// @param arguments what a start of it needs, such as where its firmware lies
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_DAMAGED] when it does
  ///   not run, [Problem#ADOPT_REFUSED] when it is another user's and not installed, or too long,
  ///   [Problem#ADOPT_UNFIT] when the process is not the same any more
  public QemuRelease ofProcess(FoundProcess process, List<String> arguments) {
    Path staging = folders.stage();
    try (RunningProgram program = RunningProgram.of(process)) {
      String sha256 = program.sha256();
      Optional<QemuRelease> installed =
          list().stream().filter(release -> release.sha256().equals(sha256)).findFirst();
      if (installed.isPresent()) {
        return installed.get();
      }
      if (!process.ours()) {
        throw Problem.ADOPT_REFUSED.because(
            "Its program is no installed release, and nothing of another user is run to learn what"
                + " it is. Install the build first: hyperfresh release add PATH.");
      }
      return install(program.staged(sha256, arguments, staging));
    } catch (IOException | LinuxException e) {
      throw Problem.RELEASE_DAMAGED.because(
          "The program of process " + process.pid() + " cannot be read: " + e.getMessage(), e);
    } finally {
      ReleaseFolders.delete(staging);
    }
  }

  /// A release that was found to be what it was.
  ///
  /// @param compared whether that is known of all its files, and not of the binary alone: the files
  ///   of a release that an earlier version of HyperFresh added are written down at the first look
  public record Verified(QemuRelease release, boolean compared) {}

  /// Checks that the binary of a release and all files in its folder, its firmware and libraries
  /// among them, are what they were when it was added, and that it still runs. Firmware of the host
  /// that a binary of the host uses is none of its files.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_DAMAGED]
  public Verified verify(String name) {
    QemuRelease release = get(name);
    if (!Files.isExecutable(release.binary())) {
      throw Problem.RELEASE_DAMAGED.because(release.binary() + " is missing.");
    }
    if (!ReleaseFolders.sha256(release.binary()).equals(release.sha256())) {
      throw Problem.RELEASE_DAMAGED.because(
          release.binary() + " is not the file that was added as " + release.name() + ".");
    }
    boolean compared = folders.verify(release.name());
    QemuProbe.Answer answer = StagedQemu.ask(release, folders.home(release.name()));
    if (!answer.version().equals(release.version())) {
      throw Problem.RELEASE_DAMAGED.because(
          release.binary() + " says that it is version " + answer.version() + ".");
    }
    return new Verified(release, compared);
  }

  /// Removes the release; the caller has made sure that no guest runs on it.
  public void remove(String name) {
    folders.remove(get(name).name());
  }

  /// What `release prune` would do. Who runs a release is not known here.
  ///
  /// @param days how long one is kept whatever it is
  public List<PruneRule.Verdict> prunable(int days) {
    List<QemuRelease> all = list();
    Optional<String> hosts = ofHost(all).map(QemuRelease::name);
    return new PruneRule(Instant.now().minus(Duration.ofDays(days)), days)
        .of(
            all.stream()
                .map(release ->
                    new PruneRule.Candidate(
                        release,
                        folders.installedAt(release.name()),
                        hosts.equals(Optional.of(release.name()))))
                .toList());
  }

  /// Installs it under the first of its names that no other build has.
  private QemuRelease install(StagedQemu staged) {
    List<QemuRelease> all = list();
    List<String> names = staged.names();
    String name =
        names.stream()
            .filter(one -> named(all, one).map(staged::isSame).orElse(true))
            .findFirst()
            .orElse(names.getLast());
    QemuRelease release = staged.named(name, folders);
    folders.install(staged.folder(), name, QmpMessage.JSON.writeValueAsBytes(release));
    return release;
  }

  /// Somebody else may have been quicker, and theirs is as good.
  private QemuRelease installedOrThere(StagedQemu staged) {
    try {
      return install(staged);
    } catch (HyperFreshException e) {
      return list().stream().filter(staged::isSame).findFirst().orElseThrow(() -> e);
    }
  }

  /// Opens the folders of releases to all: hypervisors of guests that have users of their own start
  /// from them, and nothing in them is a secret. Does nothing where they belong to somebody else.
  public void letOthersRead() {
    folders.letOthersRead();
  }

  private static QemuRelease read(Path description) {
    try {
      return QmpMessage.JSON.readValue(
          BoundedFile.read(description, BoundedFile.STATE_BYTES), QemuRelease.class);
    } catch (IOException | JacksonException e) {
      throw Problem.DAEMON_STATE.because(description + " cannot be read: " + e.getMessage(), e);
    }
  }
}
