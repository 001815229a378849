package dev.hyperfresh.daemon;

import dev.hyperfresh.host.ProgramFile;
import dev.hyperfresh.host.RunningProgram;
import dev.hyperfresh.host.RunningPrograms;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout.Entry;
import dev.hyperfresh.hyperplexor.Rollout.Outcome;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.libvirt.LibvirtBatch.Candidate;
import dev.hyperfresh.libvirt.LibvirtDomain;
import dev.hyperfresh.libvirt.LibvirtHost;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.qemu.Explanation;
import dev.hyperfresh.qemu.QemuModels;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// Looks, while libvirt is up, at what decides whether domains can be moved. Touches nothing. For
/// one thread.
final class LibvirtChecks {
  private static final Path ROOT = Path.of("/");
  private static final int MOST_REASONS = 8;
  private static final int UUID_DIGITS = 24;

  /// Whoever was replaced before has shown what its machine is.
  private static final Explanation SEEN_BEFORE = new Explanation(List.of(), false);

  private final LibvirtHost host;
  private final Path handed;
  private final Explanations explanations;
  private final QemuRelease to;
  private final QemuModels models;
  private final List<QemuRelease> installed;
  private final Set<String> taken;
  private final RunningPrograms programs = HostQemus.programs(ROOT);

  /// A domain, and what is to be done with it.
  ///
  /// @param candidate when it can be moved and is not there yet
  /// @param newBuild whether the build that it runs is no release yet and has to become one
  record Looked(Entry<ReplacementRecord> entry, Optional<Candidate> candidate, boolean newBuild) {}

  /// @param installed all releases
  /// @param guests that HyperFresh has
  LibvirtChecks(
      LibvirtHost host,
      DaemonConfig config,
      QemuRelease to,
      QemuModels models,
      Supplier<List<QemuRelease>> installed,
      List<GuestView> guests) {
    this.host = host;
    this.handed = config.state().resolve("handed");
    this.explanations = Explanations.under(ROOT, config);
    this.to = to;
    this.models = models;
    this.installed = installed.get();
    this.taken = guests.stream().map(view -> view.spec().name()).collect(Collectors.toSet());
  }

  /// Looks at a domain.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_UNKNOWN]
  Looked look(String name) {
    LibvirtDomain domain;
    try {
      domain = LibvirtDomain.read(host, name);
    } catch (HyperFreshException e) {
      if (e.problem() == Problem.LIBVIRT_UNKNOWN) {
        throw e;
      }
      return leftAlone(name, "", e);
    }
    RunningProgram program;
    try {
      program = program(domain.pid());
    } catch (HyperFreshException e) {
      return leftAlone(name, "", e);
    }
    String from = from(program);
    try {
      return looked(domain, program, from);
    } catch (HyperFreshException e) {
      return leftAlone(name, from, e);
    }
  }

  private static Looked leftAlone(String name, String from, HyperFreshException why) {
    return new Looked(
        Entry.<ReplacementRecord>of(name, from, Outcome.LEFT_ALONE)
            .because(Outcome.LEFT_ALONE, why),
        Optional.empty(),
        false);
  }

  private RunningProgram program(int pid) {
    try {
      return programs
          .find(pid)
          .orElseThrow(() ->
              Problem.LIBVIRT_REFUSED.because(
                  "Process " + pid + " of it has ended, or is no QEMU for x86."));
    } catch (IOException e) {
      throw Problem.LIBVIRT_REFUSED.because("Its process cannot be read: " + e.getMessage(), e);
    }
  }

  private static String from(RunningProgram program) {
    String version = HostQemus.version(program);
    return version.isEmpty() ? "" : "qemu-" + version;
  }

  private Looked looked(LibvirtDomain domain, RunningProgram program, String from) {
    if (isBuildOf(to, program)) {
      return new Looked(Entry.of(domain.name(), from, Outcome.THERE), Optional.empty(), false);
    }
    Explanation explanation =
        wasHandedBack(domain.pid())
            ? SEEN_BEFORE
            : explanations.explanation(domain.pid(), Optional.of(models));
    List<String> reasons = new ArrayList<>(domain.obstacles());
    obstacles(explanation).forEach(reasons::add);
    boolean known = installed.stream().anyMatch(release -> isBuildOf(release, program));
    boolean newBuild = !known && new RunningBuild(domain.pid()).isOfRoot();
    // That of a process of this user's becomes one when it is taken over.
    if (!known && !newBuild && program.uid() != Host.effectiveUid()) {
      reasons.add(
          "Its program is no installed release, and somebody else than root could have put it"
              + " together.");
    }
    if (!reasons.isEmpty()) {
      throw Problem.LIBVIRT_REFUSED.because(
          reasons.stream().limit(MOST_REASONS).collect(Collectors.joining(" "))
              + (reasons.size() > MOST_REASONS
                  ? " And %d more.".formatted(reasons.size() - MOST_REASONS)
                  : ""));
    }
    return new Looked(
        new Entry<>(
            domain.name(), from, Outcome.MOVABLE, Optional.empty(), "", remarks(explanation)),
        Optional.of(new Candidate(domain, guestName(domain), from)),
        newBuild);
  }

  /// The line of a process that was handed back is HyperFresh's, and does not say what it has taken
  /// over since.
  private boolean wasHandedBack(int pid) {
    Pattern name = Pattern.compile("[^.]+\\." + pid + "(\\..*)?");
    try (Stream<Path> folders = Files.list(handed)) {
      return folders.anyMatch(
          folder -> name.matcher(String.valueOf(folder.getFileName())).matches());
    } catch (IOException none) {
      return false;
    }
  }

  private static List<String> obstacles(Explanation explanation) {
    return explanation.pieces().stream()
        .filter(piece -> piece.verdict() == Explanation.Verdict.CANNOT)
        .map(piece -> piece.what() + ": " + piece.reason() + ".")
        .map(sentence -> sentence.replaceFirst("\\.\\.$", "."))
        .toList();
  }

  private static String remarks(Explanation explanation) {
    long unknown =
        explanation.pieces().stream()
            .filter(piece -> piece.verdict() == Explanation.Verdict.UNKNOWN)
            .count();
    String copy =
        explanation.copyNeeded()
            ? "Its memory is private and is copied once, while libvirt is down."
            : "";
    String open =
        unknown == 0
            ? ""
            : "Only the running QEMU can tell of "
                + unknown
                + (unknown == 1 ? " piece" : " pieces")
                + " of its command line; it is asked when libvirt is down.";
    return (copy + " " + open).strip();
  }

  private boolean isBuildOf(QemuRelease release, RunningProgram program) {
    Optional<ProgramFile> file = programs.read(release.binary());
    return file.isPresent()
        && program.running().isPresent()
        && program.running().get().isSameBuild(file.get());
  }

  /// The domain's own name where a guest can have it, and none has.
  private String guestName(LibvirtDomain domain) {
    return GuestSpec.isName(domain.name()) && !taken.contains(domain.name())
        ? domain.name()
        : "lv-" + domain.uuid().replace("-", "").substring(0, UUID_DIGITS);
  }
}
