package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.GuestSpec;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// A volume in a container. Immutable.
///
/// @param volume its name: 1 to 32 letters, digits or `-`, starting with a letter
/// @param path where the container has it, absolute
/// @param readOnly whether the container may not write there
public record VolumeMount(String volume, String path, boolean readOnly) {
  private static final Pattern TEXT = Pattern.compile("([^:]*):([^:]*)(:ro|:rw)?");

  /// What the command line of CRIU and a line of mountinfo can say as it is.
  private static final Pattern PATH =
      Pattern.compile("(?:/\\.?[A-Za-z0-9_][A-Za-z0-9_.-]{0,253}+)++");

  private static final int LONGEST_PATH = 1024;

  /// In one container.
  private static final int MOST = 32;

  /// Each OS has its own there.
  private static final Set<String> KERNEL = Set.of("proc", "sys", "dev");

  /// Reads `NAME:PATH` or `NAME:PATH:ro`; empty when it is neither. What is in it is not looked at.
  public static Optional<VolumeMount> parse(String text) {
    Matcher parts = TEXT.matcher(text);
    return parts.matches()
        ? Optional.of(new VolumeMount(parts.group(1), parts.group(2), ":ro".equals(parts.group(3))))
        : Optional.empty();
  }

  /// As [#parse] reads it.
  public String text() {
    return volume + ":" + path + (readOnly ? ":ro" : "");
  }

  /// What is wrong with the volumes of one container, each by itself and beside the others.
  static List<String> faults(List<VolumeMount> volumes) {
    List<String> faults = new ArrayList<>();
    if (volumes.size() > MOST) {
      return List.of("volume: there are more than " + MOST);
    }
    for (int i = 0; i < volumes.size(); i++) {
      VolumeMount mount = volumes.get(i);
      mount.addFaults(faults);
      volumes.subList(0, i).forEach(other -> mount.addFaultsBeside(other, faults));
    }
    return faults;
  }

  private void addFaults(List<String> faults) {
    if (!GuestSpec.isName(volume)) {
      faults.add(
          "volume: '"
              + ConfigFields.shown(volume)
              + "' is not 1 to 32 letters, digits or '-', starting with a letter");
    }
    if (path.length() > LONGEST_PATH || !PATH.matcher(path).matches()) {
      faults.add(
          "volume: '"
              + ConfigFields.shown(path)
              + "' is not an absolute path of letters, digits, '_', '.' and '-'");
    } else if (KERNEL.contains(path.split("/", 3)[1])) {
      faults.add("volume: " + path + " belongs to the kernel");
    }
  }

  private void addFaultsBeside(VolumeMount other, List<String> faults) {
    if (volume.equals(other.volume)) {
      faults.add("volume: " + volume + " is given twice");
    }
    if (hides(other.path) || other.hides(path)) {
      faults.add("volume: " + path + " and " + other.path + " overlap");
    }
  }

  /// Whether what is at `there` would not be seen.
  boolean hides(String there) {
    return there.equals(path) || there.startsWith(path + "/");
  }
}
