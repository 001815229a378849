package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.ProcessFacts;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// What a running QEMU says of itself to whoever is to manage it.
final class QemuFacts {
  private static final Pattern TERMINAL = Pattern.compile("pty:(/dev/pts/[0-9]{1,9})(?:,.*)?");

  private QemuFacts() {}

  /// Asks.
  ///
  /// @param program what it runs
  /// @throws Qmp.QmpException when it does not answer
  static ProcessFacts ask(MachineIdentity.Respondent qemu, Path program) {
    Map<Integer, Integer> vcpus = new HashMap<>();
    qemu.execute("query-cpus-fast", Map.of())
        .forEach(cpu -> vcpus.put(cpu.path("cpu-index").asInt(), cpu.path("thread-id").asInt()));
    Map<String, String> terminals = new HashMap<>();
    qemu.execute("query-chardev", Map.of())
        .forEach(chardev -> {
          Matcher terminal = TERMINAL.matcher(chardev.path("filename").asString(""));
          if (terminal.matches()) {
            terminals.put(chardev.path("label").asString(""), terminal.group(1));
          }
        });
    return new ProcessFacts(vcpus, terminals, program);
  }
}
