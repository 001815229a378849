package dev.hyperfresh.cli;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/// Sizes of memory as people write them.
final class Size {
  private static final Pattern SIZE = Pattern.compile("([0-9]{1,9})([MG]?)");

  private Size() {}

  /// The mebibytes in a text such as `768M` or `2G`; a bare number counts mebibytes.
  ///
  /// @throws ParameterException when it is not of that form
  static long mebibytes(String text, CommandSpec spec) {
    Matcher size = SIZE.matcher(text);
    if (!size.matches()) {
      throw new ParameterException(
          spec.commandLine(), "'" + text + "' is not a size such as 768M or 2G.");
    }
    long count = Long.parseLong(size.group(1));
    return size.group(2).equals("G") ? count << 10 : count;
  }
}
