package dev.hyperfresh.qemu;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/// What became of the machine of a running QEMU since its start: devices that were plugged and
/// unplugged, media that were changed, snapshots that were taken, processors that were plugged. It
/// comes out as a command line that makes the machine as it is by now, which is then read like any
/// other ([ForeignCommandLine]): what cannot be taken over from a command line cannot either where
/// it was plugged.
///
/// Only questions are asked, none of which the guest notices.
///
/// @param arguments of such a QEMU, the program's name not among them; those it was started with
///   where nothing changed
/// @param remarks what is not as on its own command line, one sentence each
/// @param reasons what cannot be written on any command line, one sentence each
record LiveChanges(List<String> arguments, List<String> remarks, List<String> reasons) {
  private static final String BUILT_IN = "/machine/unattached/";

  LiveChanges {
    arguments = List.copyOf(arguments);
    remarks = List.copyOf(remarks);
    reasons = List.copyOf(reasons);
  }

  /// Asks.
  ///
  /// @param arguments which it was started with
  /// @param sets the images behind descriptors that it was passed, as [ForeignProcess#images]
  /// @throws Qmp.QmpException when a question is not answered
  static LiveChanges ask(
      List<String> arguments, Map<String, Path> sets, MachineIdentity.Respondent qemu) {
    if (arguments.size() > ForeignCommandLine.MAX_ARGUMENTS) {
      return new LiveChanges(arguments, List.of(), List.of());
    }
    ChangedLine line = new ChangedLine(arguments);
    PluggedDevices devices = new PluggedDevices(line, qemu);
    devices.match();
    PluggedNodes nodes = PluggedNodes.ask(line, sets, qemu);
    nodes.match();
    PluggedBackends backends = new PluggedBackends(line, qemu);
    backends.match();
    devices.drives().forEach(nodes::need);
    devices.plugged().forEach(backends::need);
    nodes.write();
    devices.write();
    processors(line, qemu);
    return new LiveChanges(line.arguments(), line.remarks(), line.reasons());
  }

  /// Those of the start may be unplugged, too.
  private static void processors(ChangedLine line, MachineIdentity.Respondent qemu) {
    Optional<Long> started =
        line.of(ForeignOption.SMP).stream()
            .flatMap(item -> item.pairs("cpus").get("cpus").stream())
            .filter(count -> count.matches("[0-9]{1,5}"))
            .map(Long::valueOf)
            .findFirst();
    Optional<JsonNode> all = qemu.asked("query-hotpluggable-cpus", Map.of());
    if (started.isEmpty() || all.isEmpty()) {
      return;
    }
    long there =
        all.get()
            .valueStream()
            .filter(cpu -> cpu.path("qom-path").asString("").startsWith(BUILT_IN))
            .mapToLong(cpu -> cpu.path("vcpus-count").asLong(1))
            .sum();
    if (there > 0 && there != started.get()) {
      line.refuse(
          "Of its "
              + started.get()
              + " processors "
              + there
              + " are left, and a start would bring the others back; plug them again");
    }
  }
}
