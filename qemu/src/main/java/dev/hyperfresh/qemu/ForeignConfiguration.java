package dev.hyperfresh.qemu;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// A foreign command line with the options in the place of each `-readconfig` that the sections of
/// its file stand for: `[device "net0"]` and the lines below it are `-device id=net0,…`. Later
/// instances get these words and never the file.
///
/// @param arguments with no `-readconfig` whose file could be read
/// @param faults of files that could not, one sentence each
record ForeignConfiguration(List<String> arguments, List<String> faults) {
  static final int MAX_BYTES = 128 * 1024;

  /// QEMU cuts longer lines into pieces.
  private static final int MAX_LINE = 1022;

  /// As QEMU reads them with sscanf(3).
  private static final Pattern NAMED = Pattern.compile("\\[(\\S{1,63}) \"([^\"]{1,63})\"].*");

  private static final Pattern SECTION = Pattern.compile("\\[([^]]{1,63})].*");
  private static final Pattern PAIR = Pattern.compile("\\s*([^\\s,]{1,63})\\s+=\\s*\"([^\"]*)\".*");

  /// Whose names are not those of their options.
  private static final Map<String, ForeignOption> OPTIONS =
      Map.of(
          "memory", ForeignOption.M,
          "smp-opts", ForeignOption.SMP,
          "boot-opts", ForeignOption.BOOT);

  private static final ForeignOption[] WITHOUT_CARD = {
    ForeignOption.NODEFAULTS, ForeignOption.NIC, ForeignOption.NET, ForeignOption.NETDEV
  };

  /// Gives the text of a file that a process has read.
  interface Reader {
    /// @param file as the command line names it
    /// @throws IOException when it cannot be read, or is not what the process has read
    String read(String file) throws IOException;
  }

  /// Something in a file that QEMU would not have taken, or that is not known here.
  private static final class FaultException extends Exception {
    private static final long serialVersionUID = 1;

    FaultException(String what) {
      super(what);
    }

    FaultException(int line, String what) {
      this("its line " + line + " " + what);
    }
  }

  ForeignConfiguration {
    arguments = List.copyOf(arguments);
    faults = List.copyOf(faults);
  }

  /// Reads the files that `line`, a command line without the program's name, names.
  static ForeignConfiguration of(List<String> line, Reader reader) {
    List<String> arguments = new ArrayList<>();
    List<String> faults = new ArrayList<>();
    // Only options of the line itself keep QEMU from adding a card of its own.
    boolean bare = ForeignPieces.of(line).has(WITHOUT_CARD);
    // More than there may be are enough to be refused.
    for (int i = 0; i < line.size() && arguments.size() <= ForeignCommandLine.MAX_ARGUMENTS; i++) {
      ForeignOption option = ForeignOption.of(line.get(i));
      boolean pair = option != null && option.hasValue() && i + 1 < line.size();
      if (pair && option == ForeignOption.READCONFIG) {
        String file = line.get(++i);
        try {
          List<String> options = options(reader.read(file));
          if (options.contains(ForeignOption.NETDEV.word()) && !bare) {
            throw new IOException(
                "QEMU adds its default network card to the [netdev] in it; start the guest with"
                    + " -nodefaults");
          }
          arguments.addAll(options);
        } catch (FaultException | IOException e) {
          faults.add(
              ForeignPiece.excerpt("-readconfig " + file)
                  + ": "
                  + ForeignPiece.excerpt(String.valueOf(e.getMessage()))
                  + ".");
        }
        continue;
      }
      arguments.add(line.get(i));
      if (pair) {
        arguments.add(line.get(++i));
      }
    }
    return new ForeignConfiguration(arguments, faults);
  }

  private static List<String> options(String text) throws FaultException {
    List<String> options = new ArrayList<>();
    Map<String, String> pairs = new HashMap<>();
    String word = "";
    List<String> lines = text.lines().toList();
    for (int i = 0; i < lines.size(); i++) {
      String line = lines.get(i);
      if (line.isEmpty() || line.startsWith("#")) {
        continue;
      }
      if (line.length() > MAX_LINE) {
        throw new FaultException(i + 1, "is too long");
      }
      if (line.startsWith("[")) {
        end(word, pairs, options);
        pairs = new LinkedHashMap<>();
        word = section(line, pairs, i + 1);
        continue;
      }
      Matcher pair = PAIR.matcher(line);
      if (!pair.matches() || word.isEmpty()) {
        throw new FaultException(i + 1, "is no section, no value and no comment");
      }
      pairs.put(pair.group(1), pair.group(2));
    }
    end(word, pairs, options);
    return options;
  }

  /// The option of a section, whose name, if it has one, is put into `pairs`.
  private static String section(String line, Map<String, String> pairs, int number)
      throws FaultException {
    Matcher named = NAMED.matcher(line);
    Matcher plain = SECTION.matcher(line);
    String group;
    if (named.matches()) {
      group = named.group(1);
      pairs.put("id", named.group(2));
    } else {
      group = plain.matches() ? plain.group(1) : "";
    }
    return Optional.ofNullable(OPTIONS.get(group))
        .or(() -> Optional.ofNullable(ForeignOption.of("-" + group)))
        .filter(option -> option.hasValue() && option != ForeignOption.READCONFIG)
        .map(ForeignOption::word)
        .orElseThrow(() -> new FaultException(number, "begins a section that is not known here"));
  }

  private static void end(String word, Map<String, String> pairs, List<String> options)
      throws FaultException {
    // The file may be its owner's alone.
    if (pairs.getOrDefault("qom-type", "").equals("secret") && pairs.containsKey("data")) {
      throw new FaultException(
          "everybody could read the data of its secret on later command lines; use file= instead");
    }
    if (!word.isEmpty()) {
      options.addAll(List.of(word, new Suboptions(pairs, false).text()));
    }
  }
}
