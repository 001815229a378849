package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// The machine types and devices that a release has, as its program lists them. Immutable.
///
/// @param release its name
/// @param machines with aliases
/// @param devices with aliases
/// @param spice whether it has a SPICE server, which distributions package as a module
public record QemuModels(String release, Set<String> machines, Set<String> devices, boolean spice) {
  private static final Duration LIMIT = Duration.ofSeconds(20);
  private static final int MAX_ANSWER = 1 << 20;

  /// A name and what it means; the heading begins with a capital letter and ends in a colon.
  private static final Pattern MACHINE =
      Pattern.compile("(?m)^([A-Za-z0-9][\\w.+-]{0,99}) {1,100}\\S.*[^:]$");

  private static final Pattern DEVICE =
      Pattern.compile("\\b(?:name|alias) \"([A-Za-z0-9][\\w.,+-]{0,99})\"");

  private static final Pattern SPICE = Pattern.compile("(?m)^spice options:$");

  private static final String ELSEWHERE = "name a release that does with --to";

  public QemuModels {
    machines = Set.copyOf(machines);
    devices = Set.copyOf(devices);
  }

  /// Asks the program of a release; [QemuReleases#INSTALLED] is this host's own QEMU also when it
  /// is no release yet.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN], [Problem#RELEASE_DAMAGED] when it does
  ///   not run or lists nothing
  public static QemuModels of(QemuReleases releases, String name) {
    return ask(
        releases
            .find(name)
            .or(() ->
                HostQemu.OF_THIS_HOST
                    .binary()
                    .filter(_ -> name.equals(QemuReleases.INSTALLED))
                    .map(QemuRelease::nameless))
            .orElseGet(() -> releases.get(name)));
  }

  static QemuModels ask(QemuRelease release) {
    try {
      Path folder = Files.createTempDirectory("hyperfresh-explain");
      try {
        Path log = folder.resolve("help.log");
        return new QemuModels(
            release.name(),
            listed(release, "-machine", MACHINE, log),
            listed(release, "-device", DEVICE, log),
            SPICE.matcher(said(release, SpiceServer.OPTION, log)).find());
      } finally {
        Files.deleteIfExists(folder);
      }
    } catch (IOException e) {
      throw Problem.RELEASE_DAMAGED.because(release.binary() + ": " + e.getMessage() + ".", e);
    }
  }

  private static String said(QemuRelease release, String option, Path log) throws IOException {
    List<String> command = new ArrayList<>(release.program());
    command.addAll(release.arguments());
    command.addAll(List.of(option, "help"));
    return new QemuHelp(command, release.environment()).text(log, LIMIT, MAX_ANSWER);
  }

  private static Set<String> listed(QemuRelease release, String option, Pattern name, Path log)
      throws IOException {
    Set<String> names =
        name.matcher(said(release, option, log))
            .results()
            .map(found -> found.group(1))
            .collect(Collectors.toSet());
    if (names.isEmpty()) {
      throw new IOException("it lists nothing for " + option + " help");
    }
    return names;
  }

  /// Adds to the verdicts of a line what this release does not know of it.
  ///
  /// @return what can be said only of the line as a whole
  ForeignVerdict hold(ForeignCommandLine line) {
    boolean typed = false;
    for (ForeignVerdict verdict : line.verdicts()) {
      typed |= verdict.piece().map(piece -> hold(piece, verdict)).orElse(false);
    }
    ForeignVerdict whole = ForeignVerdict.ofLine();
    if (!typed) {
      whole.staysOpen(
          "machine type",
          "It names none, and which one the guest has, only the running QEMU can tell",
          "");
    }
    return whole;
  }

  /// @return whether it names a machine type
  private boolean hold(ForeignPiece piece, ForeignVerdict verdict) {
    return switch (piece.option()) {
      case MACHINE, M_MACHINE ->
          piece.pairs("type").get("type").map(type -> machine(type, verdict)).orElse(false);
      case DEVICE -> device(piece.pairs("driver").get("driver", ""), verdict);
      case VGA -> piece.value().equals("qxl") && device("qxl-vga", verdict);
      case SPICE -> spice(verdict);
      default -> false;
    };
  }

  private boolean spice(ForeignVerdict verdict) {
    if (verdict.verdict() != Explanation.Verdict.CANNOT && !spice) {
      verdict.refuse(
          release + " has no SPICE, which Debian packages as " + QemuArchive.SPICE,
          "remove it and fetch it again, or name another one with --to");
    }
    return false;
  }

  private boolean machine(String type, ForeignVerdict verdict) {
    // Proxmox VE counts its own changes behind the type, and no QEMU lists them.
    String plain = type.replaceFirst("\\+pve[0-9]{1,4}$", "");
    if (ForeignMachine.isAlias(type)) {
      verdict.unknown(versionUnknown(), "");
    } else if (ForeignMachine.isExact(plain) && !machines.contains(plain)) {
      verdict.refuse(release + " does not know this machine type", ELSEWHERE);
    }
    return true;
  }

  private String versionUnknown() {
    return "which version of it the guest has, only the running QEMU can tell, and so whether "
        + release
        + " knows that";
  }

  /// One that cannot move is not looked for.
  private boolean device(String driver, ForeignVerdict verdict) {
    if (verdict.verdict() != Explanation.Verdict.CANNOT && !devices.contains(driver)) {
      verdict.refuse(release + " does not know this device", ELSEWHERE);
    }
    return false;
  }
}
