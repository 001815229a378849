package dev.hyperfresh.qemu;

import dev.hyperfresh.release.DebianVersion;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Which build of QEMU a program file is, by what it says of itself without being run. Immutable.
///
/// @param version such as `7.2.22`; empty when it is not known
/// @param packaging what its packager called it, such as `Debian 1:7.2+dfsg-7+deb12u18`; may be
///   empty
/// @param buildId of the linker, in hexadecimal digits; may be empty
public record QemuBuild(String version, String packaging, String buildId) {
  /// With this begins the text that `--version` prints, which is in the read-only data of every
  /// emulator (`system/vl.c`).
  public static final String MARK = "QEMU emulator version ";

  /// One that nothing is known of.
  public static final QemuBuild UNKNOWN = new QemuBuild("", "", "");

  private static final int SHORT_ID = 12;

  // The upstream and distributions put the packager's version in brackets behind their own.
  private static final Pattern TEXT =
      Pattern.compile(
          Pattern.quote(MARK)
              + "([0-9][\\w.+~:-]{0,39})(?: \\(([\\x20-\\x27\\x2a-\\x7e]{1,80})\\))?(?s:.*)");

  /// A system emulator: `qemu-system-x86_64`, and the names that distributions give one.
  private static final Pattern PROGRAM = Pattern.compile("qemu-system-\\w{1,32}|kvm|qemu-kvm");

  private static final Pattern PACKAGE = Pattern.compile("[\\w.+-]*(qemu|kvm)[\\w.+:-]*");

  /// Whether a file of this name is a system emulator.
  public static boolean isProgram(String name) {
    return PROGRAM.matcher(name).matches();
  }

  /// Whether a package of this name may have brought one.
  public static boolean mayBeIn(String packageName) {
    return PACKAGE.matcher(packageName).lookingAt();
  }

  /// The build of a program.
  ///
  /// @param text which begins with [#MARK], or is another one, which says nothing
  public static QemuBuild of(String text, String buildId) {
    Matcher said = TEXT.matcher(text);
    if (!said.matches()) {
      return new QemuBuild("", "", buildId);
    }
    String packaging = said.group(2);
    return new QemuBuild(said.group(1), packaging == null ? "" : packaging, buildId);
  }

  /// Whether its version is known.
  public boolean isKnown() {
    return !version.isEmpty();
  }

  /// Major and minor version, such as `7.2`; empty when the version is not known.
  public String series() {
    String[] numbers = version.split("\\.", 3);
    return numbers.length < 2 ? "" : numbers[0] + "." + numbers[1];
  }

  /// The version of the Debian package that it names, if it does.
  Optional<DebianVersion> packaged() {
    return DebianVersion.parse(packaging.replaceFirst(".* ", ""));
  }

  /// For people, such as `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`.
  public String label() {
    if (!isKnown()) {
      return buildId.isEmpty() ? "unknown" : "build " + shortId();
    }
    return packaging.isEmpty() ? version : version + " (" + packaging + ")";
  }

  /// As short as tells one build from the next: the version of its package, or its own.
  public String shortLabel() {
    return packaging.isEmpty() ? label() : packaging.replaceFirst(".* ", "");
  }

  private String shortId() {
    return buildId.substring(0, Math.min(SHORT_ID, buildId.length()));
  }
}
