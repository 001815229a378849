package dev.hyperfresh.qemu;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/// The arguments of an swtpm that something else started, as far as later ones depend on them. Only
/// options that are known are taken over; every other one is a fault, by name.
///
/// @param isTwo whether it is a TPM 2.0, and not 1.2
/// @param state the folder with what the TPM holds; empty when that is in a file or on a device
/// @param faults why no other swtpm can go on from there, one clause each that begins with a verb
record SwtpmOptions(boolean isTwo, Optional<Path> state, List<String> faults) {
  /// What has no meaning for later ones: its sockets, its log, how it came to run as its user, and
  /// what it is only told at its start.
  private static final Set<String> WITH_VALUE =
      Set.of("ctrl", "log", "pid", "flags", "seccomp", "migration", "runas", "r");

  private static final Set<String> ALONE = Set.of("terminate", "t", "daemon", "d");

  private static final Set<String> KEYS = Set.of("key", "migration-key");

  private static final String STATE = "tpmstate";
  private static final String IN_FOLDER = "dir://";
  private static final String IN_FILE = "file://";

  SwtpmOptions {
    faults = List.copyOf(faults);
  }

  /// Reads `arguments`, the program's name not among them.
  ///
  /// @param working its working folder: relative paths start there
  static SwtpmOptions parse(List<String> arguments, Path working) {
    List<String> faults = new ArrayList<>();
    if (arguments.isEmpty() || !arguments.getFirst().equals("socket")) {
      return new SwtpmOptions(
          false, Optional.empty(), List.of("was not started as `swtpm socket`"));
    }
    boolean isTwo = false;
    Optional<String> where = Optional.empty();
    for (int i = 1; i < arguments.size(); i++) {
      String[] word = arguments.get(i).split("=", 2);
      String name = word[0].replaceFirst("^--?", "");
      if (name.equals("tpm2")) {
        isTwo = true;
      } else if (KEYS.contains(name)) {
        faults.add("keeps the state encrypted, with a key that cannot be read (--" + name + ")");
        i += 2 - word.length;
      } else if (name.equals(STATE) || WITH_VALUE.contains(name)) {
        String value =
            word.length == 2 ? word[1] : i + 1 < arguments.size() ? arguments.get(++i) : "";
        where = name.equals(STATE) ? Optional.of(value) : where;
      } else if (!ALONE.contains(name)) {
        faults.add("has the option " + ForeignPiece.excerpt(word[0]) + ", which is not known here");
      }
    }
    if (where.isEmpty()) {
      faults.add("does not say where it keeps the state (--" + STATE + ")");
    }
    Optional<Path> state = where.flatMap(value -> state(value, working, faults));
    return new SwtpmOptions(isTwo, state, faults);
  }

  private static Optional<Path> state(String value, Path working, List<String> faults) {
    try {
      Suboptions options = Suboptions.parse(value, "");
      String uri = options.get("backend-uri", "");
      Optional<String> folder =
          options
              .get("dir")
              .or(() ->
                  uri.startsWith(IN_FOLDER)
                      ? Optional.of(uri.substring(IN_FOLDER.length()))
                      : Optional.empty());
      if (folder.isEmpty() && !uri.startsWith(IN_FILE)) {
        faults.add("keeps the state neither in a folder nor in a file (--" + STATE + ")");
      }
      return folder.map(path -> working.resolve(path).normalize());
    } catch (Suboptions.MalformedException | InvalidPathException e) {
      faults.add("has a --" + STATE + " that cannot be understood");
      return Optional.empty();
    }
  }
}
