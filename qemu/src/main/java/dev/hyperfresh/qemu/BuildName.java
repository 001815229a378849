package dev.hyperfresh.qemu;

import dev.hyperfresh.release.DebianVersion;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The names of builds: `qemu-`, the version that the build itself says, `+`, and what tells the
/// build from others of its version. A name is a folder's and a word of the command line and of
/// URLs.
///
/// There is a short name, and a long one for the case that another build has the short one. No two
/// builds have the same long name, and a name that a build has is never given to another one.
final class BuildName {
  private static final String KIND = "qemu-";

  /// A revision of a stable update: Debian counts these anew for each version that it packages.
  private static final Pattern UPDATE = Pattern.compile("[0-9.]+\\+(deb[0-9]+u[0-9]+.*)");

  private static final Pattern ASKED_FOR =
      Pattern.compile("qemu-[0-9]+\\.[0-9]+(\\.[0-9]+)?(\\+[0-9A-Za-z.+~_-]+)?");

  private static final Pattern WITH_VERSION = Pattern.compile("qemu-[0-9]+\\.[0-9]+\\.[0-9].*");

  /// In the names of builds with patches of HyperFresh.
  private static final String TUNED = "+tuned";

  /// Of a SHA-256, in a short name.
  private static final int DIGITS = 8;

  private BuildName() {}

  /// Of a build from a Debian package.
  ///
  /// The short name has the packaging revision, of a stable update only from `deb` on:
  /// `1:10.0.2+ds-2+deb13u1` is `qemu-10.0.2+deb13u1`, and `1:8.2.2+ds-0ubuntu1.10` is
  /// `qemu-8.2.2+0ubuntu1.10`. The long one has the package's whole version, with `_` for `:`.
  ///
  /// @param version as the build itself says it: `1:7.2+dfsg-7+deb12u18` is 7.2.22
  /// @return the short name, when the package has a revision, and the long one
  static List<String> ofPackage(String version, DebianVersion packaged) {
    List<String> names = new ArrayList<>();
    String revision = packaged.revision();
    if (!revision.isEmpty()) {
      Matcher update = UPDATE.matcher(revision);
      names.add(KIND + version + "+" + (update.matches() ? update.group(1) : revision));
    }
    names.add(KIND + version + "+" + packaged.text().replace(':', '_'));
    return names;
  }

  /// Of a build from elsewhere: 8 digits of the SHA-256 of its contents, or all.
  static List<String> ofContents(String version, String sha256) {
    return List.of(KIND + version + "+" + shortened(sha256), KIND + version + "+" + sha256);
  }

  /// Of a build of a package's source with patches of HyperFresh: `1:10.0.13+ds-0+deb13u1` is
  /// `qemu-10.0.13+tuned.deb13u1.0a1b2c3d`.
  ///
  /// @param version as for [#ofPackage]
  /// @param patches 8 digits that tell them from others
  static String ofTuned(String version, DebianVersion packaged, String patches) {
    String build = ofPackage(version, packaged).getFirst().substring((KIND + version).length());
    return KIND + version + TUNED + build.replaceFirst("\\+", ".") + "." + patches;
  }

  /// The digits of a SHA-256 that a short name has.
  static String shortened(String sha256) {
    return sha256.substring(0, DIGITS);
  }

  /// Whether `wanted` is `name` or a series that it is of: a beginning of it that ends where a part
  /// does. `qemu-10`, `qemu-10.0` and `qemu-10.0.2` are series of `qemu-10.0.2+deb13u1`. Nobody
  /// gets a QEMU with our patches without saying so: it is of `qemu-10.0.13+tuned`, and of no
  /// shorter series.
  static boolean meets(String name, String wanted) {
    return name.equals(wanted)
        || (wanted.startsWith(KIND)
            && name.contains(TUNED) == wanted.contains(TUNED)
            && name.startsWith(wanted)
            && ".+~-".indexOf(name.charAt(wanted.length())) >= 0);
  }

  /// Whether there can be a build of that name or series in an archive of packages.
  static boolean isAskedFor(String wanted) {
    return ASKED_FOR.matcher(wanted).matches();
  }

  /// Whether a name that [#isAskedFor] takes says the whole version, and not a series of versions.
  static boolean hasVersion(String wanted) {
    return WITH_VERSION.matcher(wanted).matches();
  }

  /// Whether a package can hold what is wanted: `1:7.2+dfsg-7+deb12u18` is 7.2.22, which only the
  /// binary itself tells.
  static boolean mayBe(String wanted, DebianVersion packaged) {
    String version = wanted.replaceFirst("\\+.*", "") + ".";
    String offered = KIND + packaged.version() + ".";
    return offered.startsWith(version) || version.startsWith(offered);
  }
}
