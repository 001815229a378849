package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;

/// The releases of a [ToyHypervisor]. There are some from the beginning, and none can be added.
/// Thread-safe.
final class ToyReleases implements ReleaseKind {
  private final ToyHypervisor toys;
  private final List<ToyRelease> installed;

  /// @param toys whose releases they are
  ToyReleases(ToyHypervisor toys, String... versions) {
    this.toys = toys;
    this.installed = new CopyOnWriteArrayList<>(Stream.of(versions).map(ToyRelease::new).toList());
  }

  private Optional<ToyRelease> find(String name) {
    return installed.stream()
        .filter(release -> (release.name() + ".").startsWith(name + "."))
        .findFirst();
  }

  private ToyRelease get(String name) {
    return find(name)
        .orElseThrow(() -> Problem.RELEASE_UNKNOWN.because("There is no '" + name + "'."));
  }

  @Override
  public List<String> names() {
    return installed.stream().map(ToyRelease::name).toList();
  }

  @Override
  public boolean has(String name) {
    return find(name).isPresent();
  }

  @Override
  public Optional<Release> toRun(String name) {
    return find(name).map(Release.class::cast);
  }

  @Override
  public List<Map<String, Object>> list() {
    return installed.stream().map(ToyReleases::view).toList();
  }

  @Override
  public Map<String, Object> show(String name) {
    ToyRelease release = get(name);
    Map<String, Object> json = view(release);
    json.put("machines", List.copyOf(release.machines()));
    return json;
  }

  /// In the words of [Views#release]. It has no files.
  private static Map<String, Object> view(ToyRelease release) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", release.name());
    json.put("kind", release.kind());
    json.put("version", release.version());
    json.put("source", "a test");
    json.put("binary", "");
    json.put("sha256", "");
    return json;
  }

  @Override
  public Map<String, Object> verify(String name) {
    return view(get(name));
  }

  @Override
  public boolean isAskedFor(JsonNode body) {
    return false;
  }

  @Override
  public Map<String, Object> add(Job job) {
    throw new UnsupportedOperationException("nobody can ask for one");
  }

  @Override
  public String fullName(String name) {
    return get(name).name();
  }

  @Override
  public void remove(String full) {
    if (toys.uses(full)) {
      throw Problem.RELEASE_IN_USE.because(full + " runs a guest.");
    }
    installed.remove(get(full));
  }
}
