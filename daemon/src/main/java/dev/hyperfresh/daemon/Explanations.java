package dev.hyperfresh.daemon;

import dev.hyperfresh.host.RunningProgram;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.qemu.Explanation;
import dev.hyperfresh.qemu.Explanation.Piece;
import dev.hyperfresh.qemu.Explanation.Verdict;
import dev.hyperfresh.qemu.ForeignGuest;
import dev.hyperfresh.qemu.QemuModels;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.release.DebianPackages;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// What becomes of each piece of a QEMU's command line when its guest is adopted and replaced.
/// Needs no daemon, asks no running QEMU and changes nothing.
public final class Explanations {
  /// Its command line is full of descriptors that nobody but a daemon can tell the meaning of.
  private static final Explanation OURS =
      new Explanation(
          List.of(
              new Piece(
                  "manager",
                  Verdict.REMARK,
                  "It looks like a guest of HyperFresh, which is replaced without an adoption.",
                  "")),
          false);

  private final Path root;
  private final DaemonConfig config;

  private Explanations(Path root, DaemonConfig config) {
    this.root = root;
    this.config = config;
  }

  /// Of the host, or of a folder that looks like one.
  ///
  /// @param root the folder that the host's files lie under
  /// @param config where releases are
  public static Explanations under(Path root, DaemonConfig config) {
    return new Explanations(root, config);
  }

  /// Of a QEMU that runs, as `--json` shows it.
  ///
  /// @param to the release that its guest is to move to, as commands name it; empty for none
  /// @throws HyperFreshException [Problem#EXPLAIN_INPUT], [Problem#RELEASE_UNKNOWN],
  ///   [Problem#RELEASE_DAMAGED]
  public Map<String, Object> ofProcess(int pid, Optional<String> to) {
    return json(explanation(pid, to.map(this::models)), to);
  }

  /// As [#ofProcess].
  ///
  /// @param target what its guest is to move to; empty for nothing in particular
  Explanation explanation(int pid, Optional<QemuModels> target) {
    RunningProgram program = program(pid);
    if (!program.whole()) {
      throw tooLong("Process " + pid);
    }
    ForeignGuest guest = HostQemus.guest(program);
    if (guest.manager() == ForeignGuest.Owner.HYPERFRESH) {
      return OURS;
    }
    List<String> line = program.arguments();
    List<String> arguments = line.subList(Math.min(1, line.size()), line.size());
    return explain("Process " + pid, arguments, HostQemus.version(program), target)
        .with(surroundings(program, guest));
  }

  private RunningProgram program(int pid) {
    try {
      return HostQemus.programs(root)
          .find(pid)
          .orElseThrow(() ->
              Problem.EXPLAIN_INPUT.because(
                  "Process " + pid + " is not there, is no QEMU, or may not be looked at."));
    } catch (IOException e) {
      throw Problem.EXPLAIN_INPUT.because(
          "Process " + pid + " cannot be read: " + e.getMessage() + ".", e);
    }
  }

  /// Of a command line in a file, one argument a line, perhaps with the program's name before them.
  /// As [#ofProcess].
  public Map<String, Object> ofFile(Path file, Optional<String> to) {
    return json(explain(file.toString(), arguments(file), "", to.map(this::models)), to);
  }

  private static List<String> arguments(Path file) {
    String text;
    try {
      text = new String(BoundedFile.read(file, Explanation.MAX_BYTES), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw Problem.EXPLAIN_INPUT.because(
          Files.exists(file)
              ? file + " cannot be read: " + e.getMessage() + "."
              : "There is no file " + file + ".",
          e);
    }
    // An empty line is an empty argument.
    List<String> lines = text.lines().toList();
    boolean named = !lines.isEmpty() && !lines.getFirst().startsWith("-");
    List<String> arguments = named ? lines.subList(1, lines.size()) : lines;
    if (arguments.isEmpty()) {
      throw Problem.EXPLAIN_INPUT.because(file + " has no arguments, one a line.");
    }
    return arguments;
  }

  private Explanation explain(
      String where, List<String> arguments, String version, Optional<QemuModels> target) {
    if (arguments.size() > Explanation.MAX_ARGUMENTS) {
      throw tooLong(where);
    }
    return Explanation.of(arguments, version, target);
  }

  private static HyperFreshException tooLong(String where) {
    return Problem.EXPLAIN_INPUT.because(
        "%s has more than %d arguments or %d bytes of them."
            .formatted(where, Explanation.MAX_ARGUMENTS, Explanation.MAX_BYTES));
  }

  private QemuModels models(String release) {
    return QemuModels.of(
        new QemuReleases(config.releases(), new DebianPackages(config.packages())), release);
  }

  /// What its command line does not say, and everybody can see.
  private List<Piece> surroundings(RunningProgram program, ForeignGuest guest) {
    List<Piece> pieces = new ArrayList<>();
    if (program.uid() != Host.effectiveUid()) {
      pieces.add(user(program.uid()));
    }
    container(program.pid()).ifPresent(pieces::add);
    if (isOfLoader(program.pid())) {
      pieces.add(
          new Piece(
              "program",
              Verdict.CANNOT,
              "It was started through a dynamic loader, which would be started later in its place",
              "start the QEMU itself"));
    }
    switch (guest.manager()) {
      case LIBVIRT, PROXMOX ->
          pieces.add(
              new Piece(
                  "manager",
                  Verdict.REMARK,
                  "What manages it must give it up before an adoption: "
                      + (guest.manager() == ForeignGuest.Owner.LIBVIRT
                          ? "libvirt sees it end with its first replacement; `hyperfresh replace"
                              + " --libvirt` leaves it to libvirt."
                          : "Proxmox VE sees it end with its first replacement."),
                  ""));
      case HYPERFRESH, OTHER -> {}
    }
    pieces.add(
        new Piece(
            "since its start",
            Verdict.REMARK,
            "What was plugged, ejected or changed since its start stands on no command line;"
                + " `hyperfresh guest adopt` asks the QEMU for it.",
            ""));
    return pieces;
  }

  /// Whoever asks may be another user than the daemon.
  private static Piece user(int uid) {
    String whose = "It runs as user " + uid + ", and ";
    return Host.effectiveUid() == 0
        ? new Piece(
            "user",
            Verdict.REMARK,
            whose + "a daemon that is root starts later processes as that user.",
            "")
        : new Piece(
            "user",
            Verdict.UNKNOWN,
            whose + "only a daemon that is root, or of that user, can adopt it",
            "run the daemon as root, or as that user with a --state directory of its own");
  }

  /// Of processes of others only root can tell.
  private Optional<Piece> container(int pid) {
    ProcFs proc = new ProcFs(root.resolve("proc"));
    int self = Math.toIntExact(ProcessHandle.current().pid());
    return List.of("user", "pid").stream()
        .filter(kind ->
            proc.namespace(pid, kind)
                .filter(
                    its -> proc.namespace(self, kind).filter(mine -> !mine.equals(its)).isPresent())
                .isPresent())
        .findFirst()
        .map(kind ->
            new Piece(
                "namespace",
                Verdict.CANNOT,
                "It runs in another "
                    + kind
                    + " namespace, as in a container, where no later process could be started like"
                    + " it",
                "run the daemon there, or let what manages the container replace it"));
  }

  private boolean isOfLoader(int pid) {
    try {
      return ProcFs.isLoader(
          Files.readSymbolicLink(new ProcFs(root.resolve("proc")).of(pid, "exe")));
    } catch (IOException closed) {
      return false;
    }
  }

  private static Map<String, Object> json(Explanation explanation, Optional<String> to) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("pieces", explanation.pieces().stream().map(Explanations::json).toList());
    json.put("verdict", explanation.verdict().word());
    json.put("copy_needed", explanation.copyNeeded());
    json.put("to", to.orElse(""));
    return json;
  }

  private static Map<String, Object> json(Piece piece) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("what", piece.what());
    json.put("verdict", piece.verdict().word());
    json.put("reason", piece.reason());
    json.put("action", piece.action());
    return json;
  }
}
