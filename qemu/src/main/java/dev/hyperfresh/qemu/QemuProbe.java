package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.Background;
import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import tools.jackson.databind.JsonNode;

/// Asks a QEMU binary what it is and can do, by running it without a machine.
final class QemuProbe {
  /// Guests run meanwhile; on a host without a free core it goes on as an ordinary process.
  private static final Duration IN_BACKGROUND = Duration.ofSeconds(2);

  private static final Duration LIMIT = Duration.ofSeconds(20);
  private static final int QMP_FD = 10;

  /// What a binary said of itself.
  ///
  /// @param deprecated of the machines and CPU models
  record Answer(
      String version,
      Set<String> machines,
      Set<String> cpus,
      Set<String> capabilities,
      Set<String> deprecated) {}

  private QemuProbe() {}

  /// Runs `candidate`, whose name and abilities are not known yet.
  ///
  /// @throws Qmp.QmpException when it does not run or does not speak QMP; the message ends with
  ///   what it printed
  static Answer ask(QemuRelease candidate, Path log) {
    return ask(candidate, log, LIMIT);
  }

  /// As [#ask(QemuRelease, Path)].
  ///
  /// @param limit the time for each answer
  static Answer ask(QemuRelease candidate, Path log, Duration limit) {
    List<String> command = new ArrayList<>(candidate.program());
    command.addAll(candidate.arguments());
    command.addAll(
        List.of("-nodefaults", "-no-user-config", "-display", "none", "-machine", "none", "-S"));
    command.addAll(List.of("-chardev", "socket,id=qmp,fd=" + QMP_FD));
    command.addAll(List.of("-mon", "chardev=qmp,mode=control"));
    UnixSocket.Pair pair = UnixSocket.pair();
    try (ChildProcess process =
        ChildProcess.spawn(
            new ChildProcess.Request(
                command, candidate.environment(), Map.of(QMP_FD, pair.right().fd()), log, true))) {
      pair.right().close();
      try (Background _ = Background.of(process.pid(), IN_BACKGROUND);
          Qmp qmp = Qmp.open(pair.left(), "probe", new Transcript(), new Deaf(), limit)) {
        return answer(qmp);
      } finally {
        process.kill();
        process.waitFor();
      }
    } catch (Qmp.QmpException | LinuxException e) {
      pair.left().close();
      pair.right().close();
      throw new Qmp.QmpException(
          candidate.binary()
              + " does not run: "
              + Qemu.lastLines(log, String.valueOf(e.getMessage())));
    }
  }

  private static Answer answer(Qmp qmp) {
    JsonNode version = qmp.execute("query-version", Map.of()).path("qemu");
    JsonNode machines = qmp.execute("query-machines", Map.of());
    JsonNode cpus = qmp.execute("query-cpu-definitions", Map.of());
    return new Answer(
        version.path("major").asInt()
            + "."
            + version.path("minor").asInt()
            + "."
            + version.path("micro").asInt(),
        names(machines, "name"),
        names(cpus, "name"),
        names(qmp.execute("query-migrate-capabilities", Map.of()), "capability"),
        deprecated(machines, cpus));
  }

  private static Set<String> names(JsonNode list, String member) {
    Set<String> names = new TreeSet<>();
    list.forEach(item -> names.add(item.path(member).asString("")));
    return names;
  }

  private static Set<String> deprecated(JsonNode... lists) {
    Set<String> names = new TreeSet<>();
    for (JsonNode list : lists) {
      list.valueStream()
          .filter(item -> item.path("deprecated").asBoolean(false))
          .forEach(item -> names.add(item.path("name").asString("")));
    }
    return names;
  }

  /// The probe waits for answers only.
  private static final class Deaf implements Qmp.Listener {
    @Override
    public void event(QmpMessage.Event event) {}

    @Override
    public void ended(String reason, boolean heardAll) {}
  }
}
