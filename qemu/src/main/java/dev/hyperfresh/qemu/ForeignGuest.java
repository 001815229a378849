package dev.hyperfresh.qemu;

import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// What the command line and the control groups of a running QEMU tell of its guest, without an
/// answer of the QEMU: its name, who manages it, and what keeps it from being adopted. A command
/// line comes from whoever started the process, so that what it says is bounded and cleaned, and
/// may be untrue.
///
/// @param name for people; empty when it has none
/// @param number by which its manager knows it; empty when it has none
/// @param ports the names of the channels to programs inside the guest
/// @param obstacles to an adoption that can be seen on the command line, one sentence each
/// @param copyNeeded whether its memory is private to the process, and has to be copied once
public record ForeignGuest(
    String name,
    Owner manager,
    String number,
    Set<String> ports,
    List<String> obstacles,
    boolean copyNeeded) {
  /// Who starts and stops a QEMU.
  public enum Owner {
    /// HyperFresh.
    HYPERFRESH,
    /// libvirt.
    LIBVIRT,
    /// Proxmox VE.
    PROXMOX,
    /// Somebody else, or nobody.
    OTHER;

    /// In lower case, as tables and JSON show it.
    public String word() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  private static final int NAME_CHARACTERS = 64;
  private static final int VALUE_CHARACTERS = 1000;
  private static final String CUT = "Its command line is too long to be read.";

  /// What controls a terminal, or hides in a text: control and format characters, and line breaks.
  private static final Pattern UNPRINTABLE = Pattern.compile("[\\p{C}\\p{Zl}\\p{Zp}]");

  // Proxmox VE's own option; no other QEMU has it.
  private static final Pattern NUMBER = Pattern.compile("[0-9]{1,9}");

  // libvirt's names of the scope of a guest and of the groups in it.
  private static final Pattern LIBVIRT_GROUP = Pattern.compile("/machine-qemu|[/.]libvirt[-/.]");

  private static final Pattern OUR_CHANNEL =
      Pattern.compile("socket,id=(hf-)?qmp,fd=[0-9]{1,6}(,|$)");

  public ForeignGuest {
    ports = Set.copyOf(ports);
    obstacles = List.copyOf(obstacles);
  }

  /// Reads what is known of a process.
  ///
  /// @param command its command line, the program's name first
  /// @param whole whether that is all of it
  /// @param groups its control groups as `cgroup` of proc(5) has them
  /// @param version of its program; empty when it is not known
  public static ForeignGuest of(
      List<String> command, boolean whole, String groups, String version) {
    List<String> arguments = command.subList(Math.min(1, command.size()), command.size());
    boolean bounded = whole && arguments.size() <= ForeignCommandLine.MAX_ARGUMENTS;
    ForeignPieces pieces =
        ForeignPieces.of(
            arguments.subList(0, Math.min(arguments.size(), ForeignCommandLine.MAX_ARGUMENTS)));
    String number = number(arguments);
    Optional<ForeignCommandLine> line =
        bounded ? Optional.of(ForeignCommandLine.unseen(arguments, version)) : Optional.empty();
    return new ForeignGuest(
        name(pieces),
        manager(arguments, groups, number),
        number,
        ports(pieces),
        line.map(ForeignCommandLine::obstacles).orElse(List.of(CUT)),
        line.map(ForeignCommandLine::needsCopy).orElse(false));
  }

  private static String name(ForeignPieces pieces) {
    return pieces
        .of(ForeignOption.NAME)
        .findFirst()
        .map(piece -> new ForeignPiece(ForeignOption.NAME, head(piece.value(), VALUE_CHARACTERS)))
        .flatMap(piece -> piece.pairs("guest").get("guest"))
        .map(name -> clean(name, NAME_CHARACTERS))
        .orElse("");
  }

  private static Set<String> ports(ForeignPieces pieces) {
    return pieces
        .of(ForeignOption.DEVICE)
        .filter(piece -> piece.value().contains("virtserialport"))
        .flatMap(piece -> piece.pairs("driver").get("name").stream())
        .collect(Collectors.toSet());
  }

  /// A text of unknown origin, such that a terminal shows it and nothing else.
  ///
  /// @param most how many characters are left of it
  public static String clean(String text, int most) {
    String clean = UNPRINTABLE.matcher(head(text, VALUE_CHARACTERS)).replaceAll("").strip();
    return clean.length() <= most ? clean : head(clean, most - 3) + "...";
  }

  private static String head(String text, int most) {
    return text.substring(0, Math.min(text.length(), most));
  }

  private static String number(List<String> arguments) {
    for (int i = 0; i + 1 < arguments.size(); i++) {
      if (arguments.get(i).equals("-id") && NUMBER.matcher(arguments.get(i + 1)).matches()) {
        return arguments.get(i + 1);
      }
    }
    return "";
  }

  private static Owner manager(List<String> arguments, String groups, String number) {
    if (LIBVIRT_GROUP.matcher(groups).find() || isOfLibvirt(arguments)) {
      return Owner.LIBVIRT;
    }
    if (!number.isEmpty()) {
      return Owner.PROXMOX;
    }
    return groups.contains("/hyperfresh/") || isOurs(arguments) ? Owner.HYPERFRESH : Owner.OTHER;
  }

  /// By its names for the monitor and for the key of a guest.
  private static boolean isOfLibvirt(List<String> arguments) {
    return has(arguments, "charmonitor") && has(arguments, "masterKey0");
  }

  /// By the control channel, which comes as a descriptor, and by the sandbox.
  private static boolean isOurs(List<String> arguments) {
    return arguments.contains(CommandLine.SANDBOX)
        && arguments.stream().anyMatch(argument -> OUR_CHANNEL.matcher(argument).lookingAt());
  }

  private static boolean has(List<String> arguments, String word) {
    return arguments.stream().anyMatch(argument -> argument.contains(word));
  }

  /// The first obstacle and how many more there are, as one sentence; empty when there is none.
  public Optional<String> obstacle() {
    return obstacles.stream()
        .findFirst()
        .map(first ->
            obstacles.size() == 1
                ? first
                : first.replaceFirst("\\.$", "") + " (and " + (obstacles.size() - 1) + " more).");
  }
}
