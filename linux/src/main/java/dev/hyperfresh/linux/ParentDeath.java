package dev.hyperfresh.linux;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// Starts programs that end when the process that started them dies, whatever moment that is.
///
/// The kernel ends a process with its parent once the process has asked for it
/// (`PR_SET_PDEATHSIG`), which util-linux's `setpriv` does. A parent that dies before that moment
/// is not noticed, so the process looks, after it has asked, whether its parent is still the one
/// that it was started by. A change of user takes the request back, so the command belongs behind
/// that.
public final class ParentDeath {
  private static final Path SETPRIV = Path.of("/usr/bin/setpriv");
  private static final Path SHELL = Path.of("/bin/sh");
  private static final String STILL_THERE =
      "parent=$1; shift; [ \"$PPID\" = \"$parent\" ] || exit 1; exec \"$@\"";

  private ParentDeath() {}

  /// The command that runs `command` until the thread of this process that starts it ends. Without
  /// `setpriv` it is `command` itself, which then outlives this process.
  public static List<String> ends(List<String> command) {
    return ends(command, ProcessHandle.current().pid());
  }

  static List<String> ends(List<String> command, long parent) {
    if (!Files.isExecutable(SETPRIV) || !Files.isExecutable(SHELL)) {
      return command;
    }
    List<String> line =
        new ArrayList<>(
            List.of(
                SETPRIV.toString(),
                "--pdeathsig",
                "KILL",
                "--",
                SHELL.toString(),
                "-c",
                STILL_THERE,
                "sh",
                Long.toString(parent)));
    line.addAll(command);
    return line;
  }
}
