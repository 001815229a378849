package dev.hyperfresh.libvirt;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.libvirt.LibvirtDomain.Card;
import dev.hyperfresh.libvirt.LibvirtDomain.Terminal;
import java.io.StringReader;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;
import javax.xml.stream.XMLInputFactory;
import javax.xml.stream.XMLStreamConstants;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamReader;

/// Reads what libvirt has written of one domain. Nothing outside the text is opened, and its depth
/// and the number of its parts are bounded.
final class StatusReader {
  private static final int MOST_EVENTS = 500_000;
  private static final int MOST_DEPTH = 64;
  private static final int TEXT_CHARACTERS = 4096;
  private static final int SHORT_CHARACTERS = 64;

  private static final String DEVICES = "/domstatus/domain/devices/";

  /// Devices behind which a terminal of the host can be.
  static final Set<String> WITH_TERMINALS = Set.of("serial", "console", "parallel", "channel");

  private static final Pattern UUID = Pattern.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");

  /// Why libvirt itself holds a domain paused, while it does something to it.
  private static final Set<String> OPERATIONS =
      Set.of(
          "migration",
          "save",
          "dump",
          "from snapshot",
          "shutdown",
          "snapshot",
          "starting up",
          "postcopy",
          "postcopy-failed");

  private final Deque<String> path = new ArrayDeque<>();
  private final StringBuilder text = new StringBuilder();
  private final Map<Integer, Integer> vcpus = new TreeMap<>();
  private final List<Terminal> terminals = new ArrayList<>();
  private final List<Card> cards = new ArrayList<>();
  private final Set<String> obstacles = new LinkedHashSet<>();
  private String name = "";
  private String uuid = "";
  private String emulator = "";
  private String monitor = "";
  private int pid;
  private boolean ownMounts;

  // Of the device that is being read.
  private String alias = "";
  private String target = "";
  private String source = "";

  private StatusReader() {}

  /// @param where it was found, for people
  /// @throws HyperFreshException [Problem#LIBVIRT_REFUSED]
  static LibvirtDomain read(String xml, String where) {
    try {
      return new StatusReader().parsed(xml);
    } catch (XMLStreamException | NumberFormatException e) {
      throw Problem.LIBVIRT_REFUSED.because(
          where
              + " cannot be understood: "
              + String.valueOf(e.getMessage()).lines().findFirst().orElse("")
              + ".",
          e);
    }
  }

  private static XMLInputFactory factory() {
    XMLInputFactory factory = XMLInputFactory.newDefaultFactory();
    factory.setProperty(XMLInputFactory.SUPPORT_DTD, false);
    factory.setProperty(XMLInputFactory.IS_SUPPORTING_EXTERNAL_ENTITIES, false);
    factory.setProperty(XMLInputFactory.IS_REPLACING_ENTITY_REFERENCES, true);
    factory.setProperty(XMLInputFactory.IS_NAMESPACE_AWARE, false);
    return factory;
  }

  private LibvirtDomain parsed(String xml) throws XMLStreamException {
    XMLStreamReader reader = factory().createXMLStreamReader(new StringReader(xml));
    try {
      for (int events = 0; reader.hasNext(); events++) {
        if (events > MOST_EVENTS) {
          throw new XMLStreamException("it has too many parts");
        }
        take(reader, reader.next());
      }
    } finally {
      reader.close();
    }
    return domain();
  }

  private void take(XMLStreamReader reader, int event) throws XMLStreamException {
    switch (event) {
      case XMLStreamConstants.START_ELEMENT -> begin(reader);
      case XMLStreamConstants.END_ELEMENT -> end();
      case XMLStreamConstants.CHARACTERS, XMLStreamConstants.CDATA -> {
        if (text.length() < TEXT_CHARACTERS) {
          text.append(reader.getText());
        }
      }
      case XMLStreamConstants.DTD, XMLStreamConstants.ENTITY_REFERENCE ->
          throw new XMLStreamException("it has a document type or an entity");
      default -> {
        // Comments, and the end.
      }
    }
  }

  private void begin(XMLStreamReader reader) throws XMLStreamException {
    String above = path.isEmpty() ? "" : path.getLast();
    String here = above + "/" + reader.getLocalName();
    if (path.size() >= MOST_DEPTH) {
      throw new XMLStreamException("it is too deep");
    }
    path.addLast(here);
    text.setLength(0);
    if (here.startsWith(DEVICES)) {
      device(reader, here.substring(DEVICES.length()));
    } else {
      status(reader, here);
    }
  }

  private void status(XMLStreamReader reader, String here) {
    switch (here) {
      case "/domstatus" -> {
        pid = number(reader, "pid");
        state(attribute(reader, "state"), attribute(reader, "reason")).ifPresent(obstacles::add);
      }
      case "/domstatus/monitor" -> {
        if (attribute(reader, "type").equals("unix")) {
          monitor = attribute(reader, "path");
        }
      }
      case "/domstatus/namespaces/mount" -> ownMounts = true;
      case "/domstatus/vcpus/vcpu" -> vcpus.put(number(reader, "id"), number(reader, "pid"));
      case "/domstatus/job" ->
          job(attribute(reader, "type"), attribute(reader, "async")).ifPresent(obstacles::add);
      case "/domstatus/blockjobs" -> {
        if (attribute(reader, "active").equals("yes")) {
          obstacles.add("A block job of it is under way.");
        }
      }
      case "/domstatus/blockjobs/blockjob" -> obstacles.add("A block job of it is under way.");
      case "/domstatus/domainbackup", "/domstatus/backups/domainbackup" ->
          obstacles.add("A backup of it is under way.");
      case "/domstatus/lockstate" ->
          obstacles.add(
              "A lock manager of libvirt holds its images for the process that it has now.");
      default -> {
        // Nothing that matters here.
      }
    }
  }

  private static Optional<String> state(String state, String reason) {
    boolean postCopy = reason.startsWith("postcopy");
    return switch (state) {
      case "running" ->
          postCopy ? Optional.of("A migration of it is under way.") : Optional.empty();
      case "paused" ->
          Optional.of(
              OPERATIONS.contains(reason)
                  ? "libvirt holds it paused for an operation (" + shortened(reason) + ")."
                  : "It is paused (" + shortened(reason) + "); resume it first.");
      case "pmsuspended" -> Optional.of("It sleeps; wake it first.");
      default -> Optional.of("It does not run; its state is '" + shortened(state) + "'.");
    };
  }

  private static Optional<String> job(String type, String async) {
    return List.of(async, type).stream()
        .filter(job -> !job.isEmpty() && !job.equals("none"))
        .findFirst()
        .map(job -> "libvirt is doing something to it: " + shortened(job) + ".");
  }

  private static String shortened(String text) {
    return text.substring(0, Math.min(text.length(), SHORT_CHARACTERS));
  }

  /// @param here below the devices, such as `interface/target`
  private void device(XMLStreamReader reader, String here) {
    String[] parts = here.split("/", 3);
    if (parts.length == 1) {
      alias = "";
      target = "";
      source = "";
      passedThrough(parts[0], attribute(reader, "type"));
      return;
    }
    switch (parts.length == 2 ? parts[1] : "") {
      case "alias" -> alias = attribute(reader, "name");
      case "target" -> target = attribute(reader, "dev");
      case "source" -> source = attribute(reader, "path");
      case "mirror" -> {
        if (parts[0].equals("disk")) {
          obstacles.add("A block job of it is under way.");
        }
      }
      case "filterref", "bandwidth", "virtualport" -> {
        if (parts[0].equals("interface")) {
          obstacles.add(
              "A network card of it has <%s>, which libvirt has set up for the tap that it has now."
                  .formatted(parts[1]));
        }
      }
      default -> {
        // Nothing that matters here.
      }
    }
  }

  private void passedThrough(String device, String type) {
    if (device.equals("hostdev") || (device.equals("interface") && type.equals("hostdev"))) {
      obstacles.add("A device of the host is passed through to it, whose state cannot move.");
    }
    if (device.equals("interface") && (type.equals("vhostuser") || type.equals("vdpa"))) {
      obstacles.add("A network card of it is of type " + type + ", whose state is elsewhere.");
    }
  }

  private void end() {
    String here = path.removeLast();
    switch (here) {
      case "/domstatus/domain/name" -> name = text.toString();
      case "/domstatus/domain/uuid" -> uuid = text.toString().strip();
      case DEVICES + "emulator" -> emulator = text.toString().strip();
      default -> {
        if (here.startsWith(DEVICES)) {
          keep(here.substring(DEVICES.length()));
        }
      }
    }
    text.setLength(0);
  }

  private void keep(String device) {
    if (device.equals("interface") && !target.isEmpty()) {
      cards.add(new Card(alias, target));
    }
    if (WITH_TERMINALS.contains(device) && source.startsWith("/dev/pts/")) {
      terminals.add(new Terminal(alias, source));
    }
  }

  private LibvirtDomain domain() throws XMLStreamException {
    require(pid > 1, "it names no process");
    require(UUID.matcher(uuid).matches(), "it names no uuid");
    require(monitor.startsWith("/"), "it names no monitor");
    require(emulator.startsWith("/"), "it names no emulator");
    return new LibvirtDomain(
        name,
        uuid,
        pid,
        Path.of(monitor),
        Path.of(emulator),
        vcpus,
        terminals,
        cards,
        ownMounts,
        List.copyOf(obstacles));
  }

  private static void require(boolean holds, String otherwise) throws XMLStreamException {
    if (!holds) {
      throw new XMLStreamException(otherwise);
    }
  }

  private static int number(XMLStreamReader reader, String attribute) {
    return Integer.parseInt(attribute(reader, attribute));
  }

  private static String attribute(XMLStreamReader reader, String name) {
    for (int i = 0; i < reader.getAttributeCount(); i++) {
      if (reader.getAttributeLocalName(i).equals(name)) {
        return reader.getAttributeValue(i);
      }
    }
    return "";
  }
}
