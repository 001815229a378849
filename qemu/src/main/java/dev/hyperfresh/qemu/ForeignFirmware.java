package dev.hyperfresh.qemu;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// The firmware of a QEMU that something else started: what it has loaded, and in which files that
/// is found. It belongs to the guest, whose memory holds its content and whose next machine must
/// have room for exactly that.
///
/// @param working its working folder, where it looks first
/// @param folders where it looks then, in that order
record ForeignFirmware(Path working, List<Path> folders) {
  private static final Duration LIMIT = Duration.ofSeconds(10);
  private static final int MAX_ANSWER = 1 << 16;
  private static final String FILE = "[A-Za-z0-9][A-Za-z0-9._,+-]{0,127}";

  /// HMP `info roms`: what was made and not read from a file begins with a slash.
  private static final Pattern LOADED =
      Pattern.compile(
          ".*\\bsize=0x([0-9a-f]{1,15}) .*name=\"(" + FILE + "\\.(?:bin|rom|fd|img))\"");

  private static final Pattern ROM_FILE = Pattern.compile(FILE);

  /// Firmware that was read from a file.
  ///
  /// @param name of the file, without a folder
  /// @param bytes how much room it has in the machine; empty when QEMU does not say
  /// @param option whether it is the ROM of a PCI card, whose room is a power of two
  record Rom(String name, OptionalLong bytes, boolean option) {
    /// Whether a file of `length` bytes has that room.
    boolean takes(long length) {
      long room = option ? Math.max(1, Long.highestOneBit(length - 1) << 1) : length;
      return length > 0 && bytes.orElse(room) == room;
    }
  }

  /// Whether a file is named without a folder, so that it is looked for where firmware is.
  static boolean isName(String file) {
    return ROM_FILE.matcher(file).matches();
  }

  /// Asks a running QEMU what it has loaded.
  static List<Rom> loaded(MachineIdentity.Respondent qemu) {
    Map<String, Rom> roms = new LinkedHashMap<>();
    MachineIdentity.monitor(qemu, "info roms")
        .lines()
        .map(LOADED::matcher)
        .filter(Matcher::matches)
        .map(rom -> new Rom(rom.group(2), OptionalLong.of(Long.parseLong(rom.group(1), 16)), false))
        .forEach(rom -> roms.putIfAbsent(rom.name(), rom));
    for (String folder :
        List.of("/machine/peripheral", "/machine/peripheral-anon", "/machine/unattached")) {
      for (MachineIdentity.Child child : MachineIdentity.children(qemu, folder)) {
        String device = folder + "/" + child.name();
        MachineIdentity.property(qemu, device, "romfile")
            .filter(ForeignFirmware::isName)
            .ifPresent(name -> roms.putIfAbsent(name, new Rom(name, size(qemu, device), true)));
      }
    }
    return List.copyOf(roms.values());
  }

  /// QEMU before 6.0 does not say; 2^32 - 1 stands for none.
  private static OptionalLong size(MachineIdentity.Respondent qemu, String device) {
    return MachineIdentity.property(qemu, device, "romsize").stream()
        .mapToLong(Long::parseLong)
        .filter(bytes -> bytes > 0 && bytes < 0xffff_ffffL)
        .findFirst();
  }

  /// Where `process` looks, as its own program says.
  ///
  /// @param given the folders that it was started with
  /// @param log a file that may be made and removed
  /// @throws IOException when the process cannot be looked at or its program does not say
  static ForeignFirmware of(ForeignProcess process, List<String> given, Path log)
      throws IOException {
    Path folder = process.folder();
    List<String> command = new ArrayList<>();
    command.add(process.program().toString());
    given.forEach(path -> command.addAll(List.of("-L", folder.resolve(path).toString())));
    command.addAll(List.of("-L", "help"));
    return new ForeignFirmware(folder, answer(command, process.libraries(), log));
  }

  private static List<Path> answer(List<String> command, List<Path> libraries, Path log)
      throws IOException {
    String path = String.join(":", libraries.stream().map(Path::toString).toList());
    Map<String, String> environment =
        path.isEmpty() ? Map.of("LC_ALL", "C") : Map.of("LC_ALL", "C", "LD_LIBRARY_PATH", path);
    return new QemuHelp(command, environment)
        .text(log, LIMIT, MAX_ANSWER)
        .lines()
        .filter(line -> line.startsWith("/"))
        .map(line -> Path.of(line).normalize())
        .filter(Files::isDirectory)
        .distinct()
        .toList();
  }

  /// The file that QEMU reads as firmware `name`.
  Optional<Path> find(String name) {
    return Stream.concat(Stream.of(working), folders.stream())
        .map(folder -> folder.resolve(name))
        .filter(Files::isRegularFile)
        .findFirst();
  }
}
