package dev.hyperfresh.release;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.SequencedSet;
import java.util.Set;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Where this machine's own apt configuration says that the archive of its distribution, Debian or
/// Ubuntu, is: the mirror and the keys a private source list is written from, so that no mirror is
/// built in and none is trusted that the machine does not trust already.
///
/// @param main the distribution's main archive
/// @param updates whether the machine also takes `<codename>-updates` from it
/// @param security the security archive, when the machine has one
record AptSources(Site main, boolean updates, Optional<Site> security) {

  /// One archive.
  ///
  /// @param uri what apt calls the site, in any form apt understands (`http:`, `mirror+file:` …)
  /// @param signedBy the lines of the `Signed-By` field that vouches for it, or empty when apt's
  ///   general keyring does
  record Site(String uri, String signedBy) {}

  /// What is taken from an archive: packages, or the sources that they are built from.
  enum Contents {
    PACKAGES("deb", "Packages", ""),
    SOURCES("deb-src", "Sources", "-source");

    private final String type;
    private final String target;
    private final String suffix;

    Contents(String type, String target, String suffix) {
      this.type = type;
      this.target = target;
      this.suffix = suffix;
    }

    /// What the names of files about them end with.
    String suffix() {
      return suffix;
    }
  }

  /// The `--format` of `apt-get indextargets` that [#parse] reads.
  static final String FORMAT = "$(SITE)|$(RELEASE)|$(SOURCESENTRY)|$(CODENAME)|$(ORIGIN)";

  private static final Pattern LIST_SIGNED_BY = Pattern.compile("\\[.*signed-by=([^\\s\\]]+).*]");

  /// Whose archives are those of the distribution itself, as they say it.
  private static final Set<String> VENDORS = Set.of("Debian", "Ubuntu");

  private static final Pattern VENDORS_KEYS = Pattern.compile("(debian|ubuntu)-archive");
  private static final Pattern VENDORS_PATH = Pattern.compile("/(debian|ubuntu)");

  private record Target(String site, String release, String file, String codename, String origin) {

    static Optional<Target> parse(String line) {
      String[] field = line.split("\\|", -1);
      if (field.length != 5 || field[0].isBlank() || field[0].startsWith("cdrom:")) {
        return Optional.empty();
      }
      String file = field[2].replaceFirst(":[0-9]+$", "");
      return Optional.of(new Target(field[0], field[1], file, field[3], field[4]));
    }

    /// Ubuntu's updates have the codename of what they update; their place is another one.
    boolean is(String wanted, String suffix) {
      boolean same = release.contains("-") == suffix.contains("-");
      return release.equals(wanted + suffix)
          || (codename.equals(wanted + suffix) && !release.isBlank() && same)
          || release.equals("stable" + suffix)
          || release.equals("oldstable" + suffix);
    }
  }

  /// Finds the distribution's archives among what apt is configured with.
  ///
  /// @param targets the output of `apt-get indextargets`, with and without `--no-release-info`, in
  ///   [#FORMAT]
  /// @param codename the distribution's release, such as `bookworm`
  /// @param read gives the text of a source list by its path
  /// @return empty when no configured source serves that release
  static Optional<AptSources> parse(
      String targets, String codename, Function<String, String> read) {
    SequencedSet<Target> all = new LinkedHashSet<>();
    targets.lines().map(Target::parse).flatMap(Optional::stream).forEach(all::add);
    Optional<Target> main = best(all, codename, "", read);
    return main.map(chosen ->
        new AptSources(
            site(chosen, read),
            all.stream()
                .anyMatch(t -> t.site().equals(chosen.site()) && t.is(codename, "-updates")),
            best(all, codename, "-security", read).map(t -> site(t, read))));
  }

  /// Writes a source list in apt's deb822 form.
  ///
  /// @param suites the suites to take from the main archive
  /// @param codename the release whose security archive is added
  String list(List<String> suites, String codename, Contents contents) {
    List<String> wanted = new ArrayList<>(suites);
    if (updates) {
      wanted.add(1, codename + "-updates");
    }
    String text = stanza(main, String.join(" ", wanted), contents);
    return security
        .map(s -> text + "\n" + stanza(s, codename + "-security", contents))
        .orElse(text);
  }

  // Other vendors' archives name their suites after the distribution's releases too: what the
  // archive says of
  // itself counts most, then whose keys vouch for it, then its path.
  private static Optional<Target> best(
      SequencedSet<Target> all, String codename, String suffix, Function<String, String> read) {
    return all.reversed().stream()
        .filter(t -> t.is(codename, suffix))
        .max(
            Comparator.comparingInt(t ->
                (VENDORS.contains(t.origin()) ? 4 : 0)
                    + (VENDORS_KEYS.matcher(site(t, read).signedBy()).find() ? 2 : 0)
                    + (VENDORS_PATH.matcher(t.site()).find() ? 1 : 0)));
  }

  private static Site site(Target target, Function<String, String> read) {
    String text = read.apply(target.file());
    String signedBy =
        target.file().endsWith(".sources")
            ? stanzaSignedBy(text, target.site())
            : lineSignedBy(text, target.site());
    return new Site(target.site(), signedBy);
  }

  private static String stanzaSignedBy(String text, String site) {
    for (String stanza : text.split("\\n[ \\t]*\\n", -1)) {
      StringBuilder field = new StringBuilder();
      boolean inside = false;
      boolean ours = false;
      for (String line : stanza.lines().filter(l -> !l.startsWith("#")).toList()) {
        boolean continued = line.startsWith(" ") || line.startsWith("\t");
        inside = continued ? inside : line.regionMatches(true, 0, "Signed-By:", 0, 10);
        ours |= line.contains(site) && (continued || line.regionMatches(true, 0, "URIs:", 0, 5));
        if (inside) {
          field.append(line).append('\n');
        }
      }
      if (ours) {
        return field.toString();
      }
    }
    return "";
  }

  private static String lineSignedBy(String text, String site) {
    return text.lines()
        .filter(line -> !line.stripLeading().startsWith("#") && line.contains(site))
        .map(LIST_SIGNED_BY::matcher)
        .filter(Matcher::find)
        .map(found -> "Signed-By: " + found.group(1).replace(',', ' ') + "\n")
        .findFirst()
        .orElse("");
  }

  // Only one kind of index: what else the machine's apt may fetch (file contents, icons) is left
  // out.
  private static String stanza(Site site, String suites, Contents contents) {
    return """
    Types: %s
    URIs: %s
    Suites: %s
    Components: main
    Architectures: amd64
    Targets: %s
    """
            .formatted(contents.type, site.uri(), suites, contents.target)
        + site.signedBy();
  }
}
