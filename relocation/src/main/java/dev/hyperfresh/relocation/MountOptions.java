package dev.hyperfresh.relocation;

import dev.hyperfresh.relocation.ContainerConfig.Mount;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Mounts that every OS makes alike, of a kernel's own file systems, and what may be said of each.
final class MountOptions {
  private static final int MOST_OPTIONS = 32;

  /// More memory than an OS has.
  private static final long MOST_BYTES = 1L << 40;

  private static final Set<String> FLAGS =
      Set.of(
          "atime",
          "defaults",
          "dev",
          "diratime",
          "exec",
          "noatime",
          "nodev",
          "nodiratime",
          "noexec",
          "norelatime",
          "nostrictatime",
          "nosuid",
          "private",
          "relatime",
          "ro",
          "rprivate",
          "rw",
          "strictatime",
          "suid");

  private static final Pattern TMPFS =
      Pattern.compile("mode=0?[0-7]{1,4}|[ug]id=[0-9]{1,9}|nr_inodes=[1-9][0-9]{0,9}");
  private static final Pattern SIZE = Pattern.compile("size=([1-9][0-9]{0,14})([kKmMgG%]?)");
  private static final Pattern DEVPTS =
      Pattern.compile("newinstance|(ptmx)?mode=0?[0-7]{1,4}|[ug]id=[0-9]{1,9}");

  /// What an option of the file system itself may be, for each type.
  private static final Map<String, Predicate<String>> TYPES =
      Map.of(
          "proc", _ -> false,
          "sysfs", _ -> false,
          "mqueue", _ -> false,
          "cgroup", _ -> false,
          "cgroup2", _ -> false,
          "tmpfs", option -> TMPFS.matcher(option).matches() || isSize(option),
          "devpts", DEVPTS.asMatchPredicate());

  /// Not of the container alone: who writes there changes the OS, or the container's own limits.
  private static final Set<String> READ_ONLY = Set.of("sysfs", "cgroup", "cgroup2");

  private static final Set<String> FROM_ELSEWHERE = Set.of("bind", "rbind");

  private MountOptions() {}

  private static boolean isSize(String option) {
    Matcher size = SIZE.matcher(option);
    if (!size.matches()) {
      return false;
    }
    long number = Long.parseLong(size.group(1));
    return switch (size.group(2)) {
      case "%" -> number <= 100;
      case "k", "K" -> number <= MOST_BYTES >> 10;
      case "m", "M" -> number <= MOST_BYTES >> 20;
      case "g", "G" -> number <= MOST_BYTES >> 30;
      default -> number <= MOST_BYTES;
    };
  }

  /// Reads one mount; empty when it is refused.
  static Optional<Mount> read(ConfigFields mount) {
    Optional<String> destination = mount.text("destination", MountOptions::isPlace, "mount point");
    String where = ConfigFields.shown(destination.orElse(""));
    String type = mount.text("type", _ -> true, "file system type").orElse("");
    // Of these file systems it is a name that nobody reads.
    var _ = mount.text("source", _ -> true, "source");
    List<String> options = mount.texts("options", MOST_OPTIONS, _ -> true, "option");
    mount.refuse(List.of("uidMappings", "gidMappings"), "a user namespace cannot move.");
    mount.end();
    if (destination.isEmpty()) {
      mount.fault("destination", "a mount needs one.");
      return Optional.empty();
    }
    Predicate<String> own = TYPES.get(type);
    if (own == null || options.stream().anyMatch(FROM_ELSEWHERE::contains)) {
      mount.fault(
          "type",
          where
              + " is "
              + (own == null ? "of type '" + ConfigFields.shown(type) + "'" : "bound")
              + ", which not every OS has; copy it into the root file system.");
      return Optional.empty();
    }
    for (String option : options) {
      if (!FLAGS.contains(option) && !own.test(option)) {
        mount.fault(
            "options",
            where
                + " has '"
                + ConfigFields.shown(option)
                + "', which a "
                + type
                + " here cannot have.");
      }
    }
    return Optional.of(new Mount(destination.get(), type, type, kept(mount, where, type, options)));
  }

  private static boolean isPlace(String path) {
    return ConfigReader.isPath(path) && !path.matches("[/.]*");
  }

  private static List<String> kept(
      ConfigFields mount, String where, String type, List<String> options) {
    if (!READ_ONLY.contains(type) || (options.contains("ro") && !options.contains("rw"))) {
      return options;
    }
    mount.remark("options", where + " is read-only.");
    List<String> kept = new ArrayList<>(options);
    kept.removeAll(List.of("ro", "rw"));
    kept.add("ro");
    return kept;
  }
}
