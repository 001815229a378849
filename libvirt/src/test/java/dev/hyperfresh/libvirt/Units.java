package dev.hyperfresh.libvirt;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/// A host with units of systemd and with libvirt's own command, as scripts that write down what
/// they were told. As in systemd, conditions of units hold from when they were read.
///
/// @param host whose programs they are
record Units(LibvirtHost host) {
  private static final String SYSTEMCTL =
      """
      here=$(dirname "$0")
      echo "systemctl $*" >> "$here/calls"
      units=$here/units
      verb=$2
      shift 2
      test ! -e "$units/refuses-$verb" || { echo "Job for $1 failed."; exit 1; }
      case $verb in
        show)
          shift
          for unit; do
            echo "Id=$unit"
            echo "ActiveState=$(cat "$units/$unit" 2>/dev/null || echo inactive)"
            echo "KillMode=$(cat "$units/kill-mode" 2>/dev/null || echo process)"
            echo "RequiredBy=$(cat "$units/$unit.bound" 2>/dev/null)"
            echo "BoundBy="
            echo "ConsistsOf="
            echo
          done ;;
        stop)
          for unit; do echo inactive > "$units/$unit"; done
          test -e "$units/by-hand" || rm -f "$here"/proc/*/exe ;;
        daemon-reload) rm -rf "$here/read"; cp -r "$here/systemd" "$here/read" ;;
        start)
          for unit; do
            unless=$(sed -n 's/^ConditionPathExists=!//p' "$here/read/$unit.d"/*.conf 2>/dev/null)
            test -n "$unless" && test -e "$unless" || echo active > "$units/$unit"
          done ;;
      esac
      """;

  private static final String VIRSH =
      """
      here=$(dirname "$0")
      echo "virsh $*" >> "$here/calls"
      test ! -e "$here/units/mute" || { echo "error: failed to connect"; exit 1; }
      case $4 in
        domstate) cat "$here/units/state" ;;
      esac
      """;

  static Units of(Domains domains) throws IOException {
    Units units = new Units(domains.host());
    Files.createDirectories(units.folder());
    Files.createDirectories(domains.host().systemd());
    Domains.script(domains.host().systemctl(), SYSTEMCTL);
    Domains.script(domains.host().virsh(), VIRSH);
    units.set("state", "running");
    return units;
  }

  private Path folder() {
    return host.virsh().resolveSibling("units");
  }

  void set(String file, String text) throws IOException {
    Files.writeString(folder().resolve(file), text + "\n");
  }

  void unset(String file) throws IOException {
    Files.delete(folder().resolve(file));
  }

  boolean isActive(String unit) throws IOException {
    Path file = folder().resolve(unit);
    return Files.exists(file) && Files.readString(file).strip().equals("active");
  }

  /// Whether somebody else can have a unit started.
  boolean canStart(String unit) throws IOException, InterruptedException {
    assertThat(
            new ProcessBuilder(host.systemctl().toString(), "--no-ask-password", "start", unit)
                .start()
                .waitFor())
        .isZero();
    return isActive(unit);
  }

  /// The files by which systemd is kept from starting units.
  List<Path> conditions() throws IOException {
    try (Stream<Path> files = Files.walk(host.systemd())) {
      return files.filter(Files::isRegularFile).toList();
    }
  }

  /// All that the scripts were told, without questions of how it stands.
  List<String> calls() throws IOException {
    return Files.readAllLines(host.virsh().resolveSibling("calls")).stream()
        .filter(line -> !line.contains(" show "))
        .map(line -> line.replace(" --no-ask-password", "").replace(" -q -c qemu:///system", ""))
        .toList();
  }
}
