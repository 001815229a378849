package dev.hyperfresh.cli;

import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.Model.UsageMessageSpec;

/// How help is laid out: in lines of one width, each wrapped once.
final class Help {
  private Help() {}

  /// Lays out the help of a command and of all below it.
  ///
  /// @param width characters of a line
  static void arrange(CommandLine line, int width) {
    UsageMessageSpec usage = line.getCommandSpec().usageMessage();
    usage.width(width);
    usage.footer(paragraphs(usage.footer()).toArray(String[]::new));
    line.getSubcommands().values().stream().distinct().forEach(below -> arrange(below, width));
  }

  /// The lines of a paragraph as one, which is wrapped where the width ends. Lines that are
  /// indented are examples, and stay as they are.
  static List<String> paragraphs(String... lines) {
    List<String> paragraphs = new ArrayList<>();
    boolean open = false;
    for (String line : lines) {
      boolean text = !line.isEmpty() && !line.startsWith(" ");
      if (open && text) {
        paragraphs.add(paragraphs.removeLast() + " " + line);
      } else {
        paragraphs.add(line);
      }
      open = text && !line.endsWith(":");
    }
    return paragraphs;
  }
}
