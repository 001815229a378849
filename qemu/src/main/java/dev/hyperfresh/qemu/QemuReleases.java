package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.DebianPackages.Unpacked;
import dev.hyperfresh.release.ReleaseFolders;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import tools.jackson.core.JacksonException;

/// The releases under one folder, each in a folder of its own beside a description.
///
/// Thread-safe: every change is one rename, and readers see a release whole or not at all.
public final class QemuReleases {
  private static final String DESCRIPTION = "release.json";
  private static final Pattern SERIES = Pattern.compile("qemu-[0-9]+\\.[0-9]+(\\.[0-9]+)?");
  private static final List<String> PACKAGES = List.of("qemu-system-x86");

  private final ReleaseFolders folders;
  private final DebianPackages packages;

  /// Uses `directory` for releases and `packages` to fetch them.
  public QemuReleases(Path directory, DebianPackages packages) {
    this.folders = new ReleaseFolders(directory, DESCRIPTION);
    this.packages = packages;
  }

  /// All releases, oldest version first.
  public List<QemuRelease> list() {
    return folders.descriptions().stream()
        .map(QemuReleases::read)
        .sorted(QemuRelease.BY_VERSION)
        .toList();
  }

  /// The release called `name`, or the newest one whose name starts with `name` and a dot:
  /// `qemu-10.0` finds `qemu-10.0.2`.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_UNKNOWN]
  public QemuRelease get(String name) {
    List<QemuRelease> all = list();
    return find(all, name)
        .orElseThrow(() ->
            Problem.RELEASE_UNKNOWN.because(
                "'"
                    + name
                    + "' is not installed; installed: "
                    + (all.isEmpty()
                        ? "none"
                        : String.join(", ", all.stream().map(QemuRelease::name).toList()))
                    + "."));
  }

  /// As [#get], or empty when there is none.
  public Optional<QemuRelease> find(String name) {
    return find(list(), name);
  }

  private static Optional<QemuRelease> find(List<QemuRelease> all, String name) {
    return all.reversed().stream().filter(release -> meets(name, release.name())).findFirst();
  }

  private static boolean meets(String wanted, String name) {
    return name.equals(wanted) || name.startsWith(wanted + ".");
  }

  /// Brings the release `name` (`qemu-7.2` or `qemu-7.2.22`) from Debian's packages, unless it is
  /// here already.
  ///
  /// @param progress gets one line for each step
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_KIND],
  ///   [Problem#RELEASE_FETCH]
  public QemuRelease fetch(String name, Consumer<String> progress) {
    if (!SERIES.matcher(name).matches()) {
      throw Problem.RELEASE_KIND.because(
          "'" + name + "' is not of the form qemu-10.0 or qemu-10.0.2.");
    }
    Optional<QemuRelease> present = find(list(), name);
    if (present.isPresent()) {
      return present.get();
    }
    StringBuilder seen = new StringBuilder();
    for (Suite suite : List.of(Suite.STABLE, Suite.BACKPORTS)) {
      Path staging = folders.stage();
      try {
        Unpacked unpacked =
            packages.unpack(suite, PACKAGES, true, staging.resolve("root"), progress);
        String version = String.valueOf(unpacked.versions().get(PACKAGES.getFirst()));
        if (mayBe(name, version)) {
          progress.accept("asking QEMU " + upstream(version) + " what it supports");
          QemuRelease release = identified(staging, debianRelease(staging, version));
          if (meets(name, release.name())) {
            return installFetched(staging, release);
          }
          version = release.version();
        }
        seen.append(seen.isEmpty() ? "" : ", ").append(version);
      } catch (PackagesException e) {
        if (e.kind() != PackagesException.Kind.UNKNOWN_PACKAGE) {
          throw Problem.RELEASE_FETCH.because(String.valueOf(e.getMessage()), e);
        }
      } finally {
        ReleaseFolders.delete(staging);
      }
    }
    throw Problem.RELEASE_FETCH.because(
        "This host's package archives offer " + seen + ", none of which is " + name + ".");
  }

  /// Registers a binary that is on this host already. The binary is not copied: when the host's
  /// package manager replaces it, the release counts as damaged.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_DAMAGED] when it does
  ///   not run, [Problem#RELEASE_NAME] when its version is here already
  public QemuRelease add(Path binary) {
    if (!Files.isRegularFile(binary) || !Files.isExecutable(binary)) {
      throw Problem.RELEASE_DAMAGED.because(binary + " is not an executable file.");
    }
    Path staging = folders.stage();
    try {
      QemuRelease candidate =
          new QemuRelease(
              "candidate",
              "",
              binary.toAbsolutePath().normalize(),
              List.of(),
              List.of(),
              sha256(binary),
              Set.of(),
              Set.of(),
              Set.of(),
              binary.toString());
      return install(staging, identified(staging, candidate));
    } finally {
      ReleaseFolders.delete(staging);
    }
  }

  /// The release of a process that something else started: an installed one with the same binary,
  /// or the binary itself, registered now. A binary that the host's package manager has replaced
  /// meanwhile is copied out of the process, so that there is a way back.
  ///
  /// @param arguments what a start of it needs, such as where its firmware lies
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#RELEASE_DAMAGED] when it does
  ///   not run
  public QemuRelease ofProcess(int pid, List<String> arguments) {
    Path image = Path.of("/proc", Integer.toString(pid), "exe");
    String sha256 = sha256(image);
    Optional<QemuRelease> present =
        list().stream().filter(release -> release.sha256().equals(sha256)).findFirst();
    return present.orElseGet(() -> register(pid, image, sha256, arguments));
  }

  private QemuRelease register(int pid, Path image, String sha256, List<String> arguments) {
    Path staging = folders.stage();
    try {
      Path named = Files.readSymbolicLink(image);
      boolean unchanged = Files.isExecutable(named) && sha256(named).equals(sha256);
      Path binary = unchanged ? named : staging.resolve("qemu-system-x86_64");
      if (!unchanged) {
        Files.copy(image, binary);
      }
      QemuRelease known =
          identified(
              staging,
              new QemuRelease(
                  "candidate",
                  "",
                  binary,
                  arguments,
                  new ForeignProcess(pid).libraries(),
                  sha256,
                  Set.of(),
                  Set.of(),
                  Set.of(),
                  named + " of process " + pid));
      // Another build of the same version is another release.
      boolean taken = Files.exists(folders.home(known.name()));
      return install(
          staging, taken ? named(known, known.name() + "-" + sha256.substring(0, 8)) : known);
    } catch (IOException e) {
      throw Problem.RELEASE_DAMAGED.because(image + " cannot be read: " + e.getMessage(), e);
    } finally {
      ReleaseFolders.delete(staging);
    }
  }

  private static QemuRelease named(QemuRelease release, String name) {
    return new QemuRelease(
        name,
        release.version(),
        release.binary(),
        release.arguments(),
        release.libraries(),
        release.sha256(),
        release.machines(),
        release.cpus(),
        release.capabilities(),
        release.source());
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
    if (!sha256(release.binary()).equals(release.sha256())) {
      throw Problem.RELEASE_DAMAGED.because(
          release.binary() + " is not the file that was added as " + release.name() + ".");
    }
    boolean compared = folders.verify(release.name());
    QemuProbe.Answer answer = ask(release, folders.home(release.name()));
    if (!answer.version().equals(release.version())) {
      throw Problem.RELEASE_DAMAGED.because(
          release.binary() + " says that it is version " + answer.version() + ".");
    }
    return new Verified(release, compared);
  }

  /// Removes the release; the caller has made sure that no guest runs on it.
  public void remove(String name) {
    ReleaseFolders.delete(folders.home(get(name).name()));
  }

  private static QemuRelease debianRelease(Path staging, String version) {
    Path root = staging.resolve("root");
    return new QemuRelease(
        "candidate",
        "",
        root.resolve("usr/bin/qemu-system-x86_64"),
        List.of(
            "-L", root.resolve("usr/share/qemu").toString(),
            "-L", root.resolve("usr/share/seabios").toString()),
        List.of(root.resolve("usr/lib/x86_64-linux-gnu"), root.resolve("lib/x86_64-linux-gnu")),
        sha256(root.resolve("usr/bin/qemu-system-x86_64")),
        Set.of(),
        Set.of(),
        Set.of(),
        "Debian package qemu-system-x86 " + version);
  }

  /// Whether the package can hold the release: `1:7.2+dfsg-7+deb12u18` is 7.2.22, which only the
  /// binary itself tells.
  private static boolean mayBe(String name, String debianVersion) {
    String packaged = "qemu-" + upstream(debianVersion) + ".";
    return packaged.startsWith(name + ".") || (name + ".").startsWith(packaged);
  }

  private static String upstream(String debianVersion) {
    return debianVersion.replaceFirst("^[0-9]+:", "").replaceFirst("[^0-9.].*", "");
  }

  /// The candidate with what it says of itself, still in its staging folder.
  private static QemuRelease identified(Path staging, QemuRelease candidate) {
    QemuProbe.Answer answer = ask(candidate, staging);
    return new QemuRelease(
        "qemu-" + answer.version(),
        answer.version(),
        candidate.binary(),
        candidate.arguments(),
        candidate.libraries(),
        candidate.sha256(),
        answer.machines(),
        answer.cpus(),
        answer.capabilities(),
        candidate.source());
  }

  /// Somebody else may have been quicker, and theirs is as good.
  private QemuRelease installFetched(Path staging, QemuRelease release) {
    try {
      return install(staging, release);
    } catch (HyperFreshException e) {
      return list().stream()
          .filter(there -> there.name().equals(release.name()))
          .filter(there -> there.sha256().equals(release.sha256()))
          .findFirst()
          .orElseThrow(() -> e);
    }
  }

  private QemuRelease install(Path staging, QemuRelease staged) {
    String name = staged.name();
    QemuRelease release =
        new QemuRelease(
            name,
            staged.version(),
            folders.installed(staged.binary(), staging, name),
            staged.arguments().stream()
                .map(
                    argument -> argument.replace(staging.toString(), folders.home(name).toString()))
                .toList(),
            staged.libraries().stream()
                .map(path -> folders.installed(path, staging, name))
                .toList(),
            staged.sha256(),
            staged.machines(),
            staged.cpus(),
            staged.capabilities(),
            staged.source());
    folders.install(staging, name, QmpMessage.JSON.writeValueAsBytes(release));
    return release;
  }

  private static QemuProbe.Answer ask(QemuRelease release, Path folder) {
    try {
      return QemuProbe.ask(release, folder.resolve("probe.log"));
    } catch (Qmp.QmpException e) {
      throw Problem.RELEASE_DAMAGED.because(String.valueOf(e.getMessage()), e);
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

  static String sha256(Path file) {
    return ReleaseFolders.sha256(file);
  }
}
