package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.qemu.PruneRule;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import tools.jackson.databind.JsonNode;

/// Releases of QEMU, which run guests themselves or are the hardware of virtual machines.
///
/// @param releases what is installed
/// @param users says of a full name who runs it, a phrase each, such as `runs web1`
record ProcessReleases(QemuReleases releases, Function<String, List<String>> users)
    implements ReleaseKind {
  @Override
  public List<String> names() {
    return releases.list().stream().map(QemuRelease::name).toList();
  }

  @Override
  public boolean has(String name) {
    return name.equals(QemuReleases.INSTALLED) || releases.find(name).isPresent();
  }

  /// Whoever asks for this host's own QEMU gets a copy of it.
  @Override
  public Optional<Release> toRun(String name) {
    return name.equals(QemuReleases.INSTALLED)
        ? Optional.of(releases.ofHost())
        : releases.find(name).map(Release.class::cast);
  }

  @Override
  public List<String> all(String name) {
    return releases.all(name).stream().map(QemuRelease::name).toList();
  }

  @Override
  public List<Map<String, Object>> list() {
    return releases.list().stream().map(release -> Views.release(release, false)).toList();
  }

  @Override
  public Map<String, Object> show(String name) {
    return Views.release(releases.get(name), true);
  }

  @Override
  public Map<String, Object> verify(String name) {
    return Views.verified(releases.verify(name));
  }

  @Override
  public boolean isAskedFor(JsonNode body) {
    return body.has("name") || body.has("path") || body.has("from");
  }

  @Override
  public Map<String, Object> add(Job job) {
    if (job.body().has("path")) {
      return Views.release(releases.add(Replies.path(job.text("path"))), false);
    }
    return Views.fetched(
        job.body().has("from")
            ? releases.build(job.text("from"), line -> job.progress().step("build", line))
            : releases.fetchNewest(job.text("name"), line -> job.progress().step("fetch", line)));
  }

  @Override
  public List<PruneRule.Verdict> prunable(int days) {
    return releases.prunable(days);
  }

  @Override
  public String fullName(String name) {
    return releases.get(name).name();
  }

  @Override
  public void requireUnused(String full) {
    List<String> all = users.apply(full);
    if (!all.isEmpty()) {
      throw Problem.RELEASE_IN_USE.because(full + " " + all.getFirst() + ".");
    }
    QemuRelease release = releases.get(full);
    List<Long> processes = processes(release.loader().orElse(release.binary()));
    if (!processes.isEmpty()) {
      throw Problem.RELEASE_IN_USE.because(
          full + " is run by processes that are not of this daemon: " + processes + ".");
    }
  }

  /// Those that run a program, which may be the loader of a release: of another daemon with the
  /// same releases, or of a guest that could not be reattached.
  private static List<Long> processes(Path program) {
    return ProcessHandle.allProcesses()
        .map(ProcessHandle::pid)
        .filter(pid -> runs(pid, program))
        .toList();
  }

  private static boolean runs(long pid, Path program) {
    try {
      return Files.isSameFile(Path.of("/proc", Long.toString(pid), "exe"), program);
    } catch (IOException gone) {
      // Of a process that has ended, or whose program was removed.
      return false;
    }
  }

  @Override
  public void remove(String full) {
    requireUnused(full);
    releases.remove(full);
  }
}
