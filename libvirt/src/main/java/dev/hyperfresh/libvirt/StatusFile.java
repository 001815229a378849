package dev.hyperfresh.libvirt;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.libvirt.LibvirtDomain.Card;
import dev.hyperfresh.libvirt.LibvirtDomain.Terminal;
import dev.hyperfresh.libvirt.XmlPlaces.Element;
import dev.hyperfresh.libvirt.XmlPlaces.Span;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.FolderNames;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// What libvirt has written of a domain that runs, brought up to date while libvirt is down: the
/// process, the threads of its processors, its terminals and taps, and its program. All else stays
/// byte for byte, the flags of the emulator's capabilities among it. libvirt believes the file when
/// it starts.
///
/// @param host where it is
/// @param old the domain as the file describes it now
record StatusFile(LibvirtHost host, LibvirtDomain old) {
  private static final int PID_BYTES = 64;
  private static final Pattern PID = Pattern.compile("\\s*[0-9]+");
  private static final String STATUS = "/domstatus";
  private static final String DEVICES = STATUS + "/domain/devices/";

  /// A stretch of the text and what comes in its place.
  private record Change(Span where, String text) {}

  /// Writes down who runs the domain now: its file, and the one with the number of its process.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_BETWEEN] when one of the two cannot be written,
  ///   which may be tried again
  void write(HandedBack back) {
    String xml = edited(LibvirtDomain.text(host, old.name()), back, sharesMounts(back.pid()));
    Path pidFile = host.pidFile(old.name());
    try {
      if (Files.exists(pidFile, LinkOption.NOFOLLOW_LINKS)) {
        byte[] before = BoundedFile.read(pidFile, PID_BYTES);
        put(pidFile, pidText(before, back.pid()));
      }
      // Last: what it says shows whether both are written.
      put(host.statusFile(old.name()), xml.getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw Problem.LIBVIRT_BETWEEN.because(
          "What libvirt knows of domain '"
              + old.name()
              + "' cannot be brought up to date: "
              + e.getMessage()
              + ".",
          e);
    }
  }

  /// With this daemon, or with the first process of the host: libvirt is in one of the two.
  private boolean sharesMounts(int pid) {
    Optional<String> its = host.proc().namespace(pid, "mnt");
    return its.isPresent()
        && Stream.of(1, Math.toIntExact(ProcessHandle.current().pid()))
            .map(other -> host.proc().namespace(other, "mnt"))
            .anyMatch(its::equals);
  }

  /// The same text of the process that runs the domain now.
  ///
  /// @param sharesMounts whether that is in the mount namespace of everybody: libvirt must not take
  ///   the devices in there for the domain's own, which it makes and removes
  /// @throws HyperFreshException [Problem#LIBVIRT_REFUSED] when the text cannot be understood
  String edited(String xml, HandedBack back, boolean sharesMounts) {
    Map<String, String> terminals = terminals(back);
    Map<String, String> taps = taps(back);
    List<Change> changes = new ArrayList<>();
    for (Element element : XmlPlaces.of(xml)) {
      Map<String, Span> values = element.attributes();
      switch (element.path()) {
        case STATUS -> change(values, "pid", Integer.toString(back.pid())).ifPresent(changes::add);
        case STATUS + "/vcpus/vcpu" ->
            Optional.ofNullable(back.vcpus().get(number(xml, values)))
                .flatMap(thread -> change(values, "pid", Integer.toString(thread)))
                .ifPresent(changes::add);
        case STATUS + "/namespaces" -> {
          if (sharesMounts) {
            changes.add(new Change(withLine(xml, element.whole()), ""));
          }
        }
        case DEVICES + "emulator" ->
            changes.add(new Change(element.content(), escaped(back.program().toString())));
        case DEVICES + "interface/target" -> renamed(xml, values, "dev", taps, changes);
        default -> {
          if (isOfTerminal(element.path())) {
            renamed(xml, values, "tty", terminals, changes);
            renamed(xml, values, "path", terminals, changes);
          }
        }
      }
    }
    String edited = applied(xml, changes);
    requireAsSaid(edited, back);
    return edited;
  }

  private static int number(String xml, Map<String, Span> vcpu) {
    return Optional.ofNullable(vcpu.get("id"))
        .map(span -> Integer.parseInt(span.in(xml)))
        .orElse(-1);
  }

  private static boolean isOfTerminal(String path) {
    return StatusReader.WITH_TERMINALS.stream()
        .map(DEVICES::concat)
        .anyMatch(device -> path.equals(device) || path.equals(device + "/source"));
  }

  /// The new paths by the old ones.
  private Map<String, String> terminals(HandedBack back) {
    Map<String, String> names = new HashMap<>();
    for (Terminal terminal : old.terminals()) {
      named(back.terminals(), "char" + terminal.alias(), terminal.alias(), terminal.path())
          .ifPresent(path -> names.put(terminal.path(), path));
    }
    return names;
  }

  /// The new taps by the old ones.
  private Map<String, String> taps(HandedBack back) {
    Map<String, String> names = new HashMap<>();
    for (Card card : old.cards()) {
      named(back.taps(), "host" + card.alias(), card.alias(), card.tap())
          .ifPresent(tap -> names.put(card.tap(), tap));
    }
    return names;
  }

  private static Optional<String> named(Map<String, String> all, String... names) {
    return Stream.of(names)
        .flatMap(name -> Optional.ofNullable(all.get(name)).stream())
        .findFirst();
  }

  private static void renamed(
      String xml,
      Map<String, Span> values,
      String attribute,
      Map<String, String> names,
      List<Change> changes) {
    Optional.ofNullable(values.get(attribute))
        .map(span -> names.get(span.in(xml)))
        .flatMap(name -> change(values, attribute, name))
        .ifPresent(changes::add);
  }

  private static Optional<Change> change(Map<String, Span> values, String attribute, String text) {
    return Optional.ofNullable(values.get(attribute)).map(span -> new Change(span, escaped(text)));
  }

  /// An element with the indentation before it and its line's end.
  private static Span withLine(String xml, Span element) {
    int from = element.from();
    while (from > 0 && (xml.charAt(from - 1) == ' ' || xml.charAt(from - 1) == '\t')) {
      from--;
    }
    int to = element.to();
    return new Span(from, to < xml.length() && xml.charAt(to) == '\n' ? to + 1 : to);
  }

  private static String escaped(String text) {
    return text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("'", "&apos;")
        .replace("\"", "&quot;");
  }

  private static String applied(String xml, List<Change> changes) {
    StringBuilder edited = new StringBuilder(xml);
    changes.stream()
        .sorted(Comparator.comparingInt((Change change) -> change.where().from()).reversed())
        .forEach(
            change -> edited.replace(change.where().from(), change.where().to(), change.text()));
    return edited.toString();
  }

  /// Nothing is written that does not say what it is to say.
  private void requireAsSaid(String edited, HandedBack back) {
    LibvirtDomain now = StatusReader.read(edited, "the new file of domain '" + old.name() + "'");
    Map<Integer, Integer> threads = new HashMap<>(old.vcpus());
    threads.replaceAll((vcpu, thread) -> back.vcpus().getOrDefault(vcpu, thread));
    if (now.pid() != back.pid()
        || !now.vcpus().equals(threads)
        || !now.emulator().equals(back.program())
        || !now.uuid().equals(old.uuid())
        || !now.name().equals(old.name())) {
      throw new IllegalStateException("the new file of domain " + old.name() + " is wrong");
    }
  }

  /// What stood around the number stays.
  private static byte[] pidText(byte[] before, int pid) {
    String text = new String(before, StandardCharsets.ISO_8859_1);
    Matcher number = PID.matcher(text);
    String rest = number.lookingAt() ? text.substring(number.end()) : "";
    return (pid + rest).getBytes(StandardCharsets.ISO_8859_1);
  }

  /// Puts bytes into a file that is there, as a whole, and keeps its owner and its mode.
  static void put(Path file, byte[] bytes) throws IOException {
    PosixFileAttributes is =
        Files.readAttributes(file, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
    if (!is.isRegularFile()) {
      throw new IOException(file + " is not a file");
    }
    // Not ending like the files that libvirt reads.
    Path draft = file.resolveSibling(file.getFileName() + ".hyperfresh");
    Files.deleteIfExists(draft);
    try (FileChannel out =
        FileChannel.open(
            Files.createFile(
                draft,
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"))),
            StandardOpenOption.WRITE)) {
      ByteBuffer left = ByteBuffer.wrap(bytes);
      while (left.hasRemaining()) {
        out.write(left);
      }
      PosixFileAttributeView view =
          Files.getFileAttributeView(
              draft, PosixFileAttributeView.class, LinkOption.NOFOLLOW_LINKS);
      view.setOwner(is.owner());
      view.setGroup(is.group());
      view.setPermissions(is.permissions());
      out.force(true);
    } catch (IOException e) {
      Files.deleteIfExists(draft);
      throw e;
    }
    Files.move(draft, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    FolderNames.force(file);
  }
}
