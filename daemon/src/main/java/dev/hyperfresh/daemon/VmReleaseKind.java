package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.vm.VmRelease;
import dev.hyperfresh.vm.VmReleases;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import tools.jackson.databind.JsonNode;

/// Releases of what runs in virtual machines of one kind: a kernel and something beside it.
///
/// @param beside the field of a request that names what stands beside the kernel
/// @param releases what is installed
/// @param view shows one, with all that is known of it or without
/// @param removal removes one that nothing runs
/// @param instead what to do with one on which a guest was to run, a sentence about its name
/// @param <R> what they are
record VmReleaseKind<R extends VmRelease>(
    String beside,
    VmReleases<R> releases,
    BiFunction<R, Boolean, Map<String, Object>> view,
    Consumer<String> removal,
    UnaryOperator<String> instead)
    implements ReleaseKind {
  @Override
  public List<String> names() {
    return releases.list().stream().map(VmRelease::name).toList();
  }

  /// Also one that is to be built again.
  @Override
  public boolean has(String name) {
    return releases.list().stream().anyMatch(release -> release.meets(name));
  }

  @Override
  public Optional<Release> toRun(String name) {
    if (has(name)) {
      throw Problem.RELEASE_UNKNOWN.because(instead.apply(name));
    }
    return Optional.empty();
  }

  @Override
  public List<Map<String, Object>> list() {
    return releases.list().stream().map(release -> view.apply(release, false)).toList();
  }

  @Override
  public Map<String, Object> show(String name) {
    return view.apply(releases.get(name), true);
  }

  @Override
  public Map<String, Object> verify(String name) {
    return view.apply(releases.verify(name), false);
  }

  @Override
  public boolean isAskedFor(JsonNode body) {
    return body.has("kernel") && body.has(beside);
  }

  @Override
  public Map<String, Object> add(Job job) {
    return view.apply(
        releases.build(
            job.text("kernel"), job.text(beside), line -> job.progress().step("build", line)),
        false);
  }

  @Override
  public String fullName(String name) {
    return releases.get(name).name();
  }

  @Override
  public void remove(String full) {
    removal.accept(full);
  }
}
