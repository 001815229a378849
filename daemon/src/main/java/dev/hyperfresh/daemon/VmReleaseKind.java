package dev.hyperfresh.daemon;

import dev.hyperfresh.vm.VmRelease;
import dev.hyperfresh.vm.VmReleases;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import tools.jackson.databind.JsonNode;

/// Releases of what runs in virtual machines of one kind: a kernel and something beside it.
///
/// @param prefix with which their names begin
/// @param beside the field of a request that names what stands beside the kernel
/// @param releases what is installed
/// @param view shows one, with all that is known of it or without
/// @param removal removes one that nothing runs
/// @param <R> what they are
record VmReleaseKind<R extends VmRelease>(
    String prefix,
    String beside,
    VmReleases<R> releases,
    BiFunction<R, Boolean, Map<String, Object>> view,
    Consumer<String> removal)
    implements ReleaseKind {
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
