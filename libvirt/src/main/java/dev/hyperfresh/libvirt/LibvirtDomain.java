package dev.hyperfresh.libvirt;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributes;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/// A domain of libvirt that runs, as the file says in which libvirt keeps what it knows of it
/// (`/run/libvirt/qemu/NAME.xml`). Immutable.
///
/// @param uuid 36 characters, in lower case
/// @param pid of its QEMU
/// @param monitor the socket of the one monitor that libvirt uses
/// @param emulator the program, as the live definition names it
/// @param vcpus the threads of its processors, by their numbers
/// @param terminals of its serial ports, consoles and channels
/// @param cards those with a tap
/// @param ownMounts whether libvirt has put its QEMU into a mount namespace of its own
/// @param obstacles to a replacement, a sentence each
public record LibvirtDomain(
    String name,
    String uuid,
    int pid,
    Path monitor,
    Path emulator,
    Map<Integer, Integer> vcpus,
    List<Terminal> terminals,
    List<Card> cards,
    boolean ownMounts,
    List<String> obstacles) {
  /// A pseudoterminal of the host behind a character device.
  ///
  /// @param alias of the device; the one in QEMU is called `char` and this
  /// @param path such as `/dev/pts/3`
  public record Terminal(String alias, String path) {}

  /// A network card.
  ///
  /// @param alias of the device; what is behind it in QEMU is called `host` and this
  /// @param tap its network device on the host
  public record Card(String alias, String tap) {}

  /// How many domains are looked at.
  static final int MOST = 1024;

  private static final int FILE_BYTES = 4 << 20;
  private static final int NAME_BYTES = 240;
  private static final String ENDING = ".xml";

  public LibvirtDomain {
    vcpus = Map.copyOf(vcpus);
    terminals = List.copyOf(terminals);
    cards = List.copyOf(cards);
    obstacles = List.copyOf(obstacles);
  }

  /// The names of all domains that run, sorted; none where there is no libvirt.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_UNKNOWN] when the folder cannot be read
  public static List<String> names(LibvirtHost host) {
    if (!Files.exists(host.domains())) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(host.domains())) {
      List<String> names =
          files
              .map(file -> String.valueOf(file.getFileName()))
              .filter(file -> file.endsWith(ENDING))
              .map(file -> file.substring(0, file.length() - ENDING.length()))
              .filter(LibvirtDomain::isName)
              .limit(MOST + 1L)
              .sorted()
              .toList();
      if (names.size() > MOST) {
        throw Problem.LIBVIRT_UNKNOWN.because("More than " + MOST + " domains run; name some.");
      }
      return names;
    } catch (IOException e) {
      throw Problem.LIBVIRT_UNKNOWN.because(
          host.domains() + " cannot be read: " + e.getMessage() + ".", e);
    }
  }

  /// Whether a domain can have this name: it becomes a part of a path.
  static boolean isName(String name) {
    return !name.isBlank()
        && name.getBytes(StandardCharsets.UTF_8).length <= NAME_BYTES
        && !name.startsWith(".")
        && name.chars().noneMatch(c -> c == '/' || Character.isISOControl(c));
  }

  /// A domain that runs.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_UNKNOWN] when there is none of this name;
  ///   [Problem#LIBVIRT_REFUSED] when its file cannot be understood
  public static LibvirtDomain read(LibvirtHost host, String name) {
    if (!isName(name)) {
      throw Problem.LIBVIRT_UNKNOWN.because("No domain can be called '" + name + "'.");
    }
    LibvirtDomain domain = StatusReader.read(text(host, name), host.statusFile(name).toString());
    if (!domain.name().equals(name)) {
      throw Problem.LIBVIRT_REFUSED.because(
          host.statusFile(name) + " is of another domain, '" + domain.name() + "'.");
    }
    return domain;
  }

  /// What libvirt has written of a domain.
  ///
  /// @throws HyperFreshException as [#read]
  static String text(LibvirtHost host, String name) {
    Path file = host.statusFile(name);
    try {
      PosixFileAttributes is =
          Files.readAttributes(file, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
      // libvirt itself alone writes there.
      int owner = (int) Files.getAttribute(file, "unix:uid", LinkOption.NOFOLLOW_LINKS);
      if (!is.isRegularFile() || owner != Host.effectiveUid()) {
        throw Problem.LIBVIRT_REFUSED.because(file + " is not a file of this user.");
      }
      return decoded(BoundedFile.read(file, FILE_BYTES));
    } catch (NoSuchFileException e) {
      throw Problem.LIBVIRT_UNKNOWN.because("libvirt runs no domain '" + name + "' here.", e);
    } catch (IOException e) {
      throw Problem.LIBVIRT_REFUSED.because(file + " cannot be read: " + e.getMessage() + ".", e);
    }
  }

  private static String decoded(byte[] bytes) throws CharacterCodingException {
    return StandardCharsets.UTF_8
        .newDecoder()
        .onMalformedInput(CodingErrorAction.REPORT)
        .onUnmappableCharacter(CodingErrorAction.REPORT)
        .decode(ByteBuffer.wrap(bytes))
        .toString();
  }
}
