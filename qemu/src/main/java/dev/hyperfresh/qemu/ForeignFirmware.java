package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.FoundProcess;
import dev.hyperfresh.linux.NetworkNamespace;
import dev.hyperfresh.linux.Unprivileged;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// The firmware of a QEMU that something else started: what it has loaded, and in which files that
/// is found. It belongs to the guest, whose memory holds its content and whose next machine must
/// have room for exactly that.
///
/// @param working its working folder, where it looks first
/// @param folders where it looks then, in that order
/// @param complete whether these are all; the others are not known of a program that is not asked
record ForeignFirmware(Path working, List<Path> folders, boolean complete) {
  private static final Duration LIMIT = Duration.ofSeconds(10);
  private static final int MAX_ANSWER = 1 << 16;

  /// The descriptor by which a program finds itself: its path may be another file's by then.
  private static final int PROGRAM = 3;

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

  /// Where a process looks, as its own program says. That of another user is asked as the user, in
  /// the network namespace of the process and unable to get more rights. Under a label it is not
  /// asked, since it would be without, nor where its path is another file for this daemon: what the
  /// command line says is known then.
  ///
  /// @param given the folders that it was started with
  /// @param log a file that may be made and removed
  /// @throws IOException when the process cannot be looked at or its program does not say
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException as [FoundProcess#requireSame]
  static ForeignFirmware of(FoundProcess found, List<String> given, Path log) throws IOException {
    ForeignProcess process = new ForeignProcess(found.pid());
    Path folder = process.folder();
    List<Path> said = given.stream().map(folder::resolve).toList();
    List<String> question = new ArrayList<>();
    said.forEach(path -> question.addAll(List.of("-L", path.toString())));
    question.addAll(List.of("-L", "help"));
    if (found.ours()) {
      return new ForeignFirmware(folder, folders(asOurs(found, process, question, log)), true);
    }
    // Another user may not see the program of a process that has changed its user.
    Path program = Files.readSymbolicLink(process.program());
    if (found.rights().label().isPresent()
        || !process.isInMyMounts()
        || !isSame(program, process.program())) {
      return new ForeignFirmware(folder, said, false);
    }
    question.addFirst(program.toString());
    return new ForeignFirmware(folder, folders(asUser(found, process, question, log)), true);
  }

  private static boolean isSame(Path program, Path running) {
    try {
      return Files.isSameFile(program, running);
    } catch (IOException gone) {
      return false;
    }
  }

  private static String asOurs(
      FoundProcess found, ForeignProcess process, List<String> question, Path log)
      throws IOException {
    try (RunningProgram program = RunningProgram.of(found)) {
      question.addFirst(Descriptors.own(PROGRAM));
      QemuHelp help = new QemuHelp(question, environment(process), Map.of(PROGRAM, program.file()));
      found.requireSame();
      return help.text(log, LIMIT, MAX_ANSWER);
    }
  }

  private static Map<String, String> environment(ForeignProcess process) throws IOException {
    List<Path> libraries = process.libraries();
    Map<String, String> environment = new TreeMap<>(Map.of("LC_ALL", "C"));
    if (!libraries.isEmpty()) {
      environment.put(
          "LD_LIBRARY_PATH", String.join(":", libraries.stream().map(Path::toString).toList()));
    }
    return environment;
  }

  private static String asUser(
      FoundProcess found, ForeignProcess process, List<String> command, Path log)
      throws IOException {
    QemuHelp help =
        new QemuHelp(
            Unprivileged.command(
                command,
                environment(process),
                // It may be any program.
                found.rights().limited("fsize", MAX_ANSWER),
                QemuUser.rightsOfThisProcess()),
            Map.of("LC_ALL", "C", "PATH", "/usr/bin:/bin"));
    try (NetworkNamespace network = NetworkNamespace.of(found.pid())) {
      found.requireSame();
      return network.within(() -> {
        try {
          return help.text(log, LIMIT, MAX_ANSWER);
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
      });
    }
  }

  private static List<Path> folders(String answer) {
    return answer
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
