package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.KernelPackage;
import dev.hyperfresh.release.ReleaseFolders;
import dev.hyperfresh.vm.VmRecipe.Bench;
import dev.hyperfresh.vm.VmRecipe.Draft;
import dev.hyperfresh.vm.VmRecipe.Image;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/// The releases of one kind of virtual machines under one folder, which may be that of other kinds
/// of releases.
///
/// Thread-safe: every change is one rename, and readers see a release whole or not at all.
///
/// @param <R> the kind
public final class VmReleases<R extends VmRelease> {
  private static final JsonMapper JSON = JsonMapper.builder().build();

  private final VmRecipe<R> recipe;
  private final Path directory;
  private final ReleaseFolders folders;
  private final DebianPackages packages;

  /// Uses `directory` for releases and `packages` to fetch what they are made of.
  public VmReleases(VmRecipe<R> recipe, Path directory, DebianPackages packages) {
    this.recipe = recipe;
    this.directory = directory.toAbsolutePath();
    this.folders = new ReleaseFolders(this.directory, recipe.about().kind() + ".json");
    this.packages = packages;
  }

  /// All releases, oldest first.
  public List<R> list() {
    return folders.descriptions().stream().map(this::read).sorted(recipe.about().order()).toList();
  }

  /// The release called `name`, or the newest one of the series that it names.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  public R get(String name) {
    return find(name)
        .orElseThrow(() ->
            Problem.RELEASE_UNKNOWN.because(
                "'"
                    + name
                    + "' is not installed; installed "
                    + recipe.about().plural()
                    + ": "
                    + (list().isEmpty()
                        ? "none"
                        : String.join(", ", list().stream().map(this::label).toList()))
                    + "."));
  }

  private String label(R release) {
    return isCurrent(release)
        ? release.name()
        : release.name() + " (of another version of HyperFresh: build it again)";
  }

  /// As [#get], or empty when there is none. One that another version of HyperFresh has built, with
  /// other programs inside, does not count; it is to be built again.
  public Optional<R> find(String name) {
    return list().reversed().stream()
        .filter(release -> release.meets(name) && isCurrent(release))
        .findFirst();
  }

  /// The release with exactly that name, also when another version of HyperFresh has built it: what
  /// runs it goes on with the programs that it has.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  public R builtByAny(String name) {
    return installed(name)
        .orElseThrow(
            () -> Problem.RELEASE_UNKNOWN.because("'" + name + "' is no longer installed."));
  }

  /// Whether it has the programs of this HyperFresh.
  private boolean isCurrent(R release) {
    return recipe.about().sources().sha256().equals(release.sourcesSha256());
  }

  /// Builds a release from Debian's packages, or returns the one that is here already. The same
  /// packages give the same bytes.
  ///
  /// @param kernelSeries such as `6.12` or `6.1`
  /// @param series of what stands beside the kernel, as the kind has it
  /// @param progress gets one line for each step
  /// @throws HyperFreshException [Problem#RELEASE_KIND] when there are no such series,
  ///   [Problem#RELEASE_FETCH] when the packages cannot be had, [Problem#HOST_MISSING] when the
  ///   host cannot build it, with what to install
  public R build(String kernelSeries, String series, Consumer<String> progress) {
    KernelPackage.requireSeries(kernelSeries);
    recipe.check(series);
    Path staging = folders.stage();
    try {
      KernelPackage kernel = KernelPackage.fetch(packages, kernelSeries, staging, progress);
      Path work = Files.createDirectories(staging.resolve("work"));
      Draft<R> draft =
          recipe.draft(kernel, series, new Bench(directory, staging, work, packages, progress));
      Optional<R> present = installed(draft.name()).filter(this::isCurrent);
      if (present.isPresent()) {
        return present.get();
      }
      Path inside = draft.gather();
      progress.accept("building " + draft.name() + " from source");
      recipe
          .about()
          .sources()
          .build(work, List.of(staging.toString(), kernel.root().toString(), inside.toString()));
      ReleaseFolders.delete(work);
      ReleaseFolders.delete(kernel.root());
      return install(staging, draft);
    } catch (PackagesException e) {
      throw Problem.RELEASE_FETCH.because(String.valueOf(e.getMessage()), e);
    } catch (IOException e) {
      throw Problem.HOST_MISSING.because(
          "A release of " + recipe.about().plural() + " cannot be built: " + e.getMessage(), e);
    } finally {
      ReleaseFolders.delete(staging);
    }
  }

  private R install(Path staging, Draft<R> draft) {
    Path vmlinuz = staging.resolve("vmlinuz");
    Path initrd = staging.resolve("initrd");
    String name = draft.name();
    R release =
        draft.describe(
            new Image(
                folders.installed(vmlinuz, staging, name),
                folders.installed(initrd, staging, name),
                ReleaseFolders.sha256(vmlinuz),
                ReleaseFolders.sha256(initrd),
                recipe.about().sources().sha256(),
                file -> folders.installed(file, staging, name)));
    if (installed(name).filter(old -> !isCurrent(old)).isPresent()) {
      folders.remove(name);
    }
    try {
      folders.install(staging, name, JSON.writeValueAsBytes(release));
      return release;
    } catch (HyperFreshException e) {
      // Somebody else was quicker, and theirs is as good.
      return installed(name).orElseThrow(() -> e);
    }
  }

  /// Checks that the release's files are what they were when it was built.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_DAMAGED]
  public R verify(String name) {
    R release = get(name);
    check(release, release.kernel(), release.kernelSha256());
    check(release, release.initrd(), release.sha256());
    // Of one that an earlier version built, nothing is known of its other files.
    var _ = folders.verify(release.name());
    return release;
  }

  private void check(R release, Path file, String sha256) {
    if (!ReleaseFolders.sha256(file).equals(sha256)) {
      throw Problem.RELEASE_DAMAGED.because(
          file + " is not the file that was built for " + release.name() + ".");
    }
  }

  /// Removes the release, also one of another version of HyperFresh; the caller has made sure that
  /// nothing boots from it.
  ///
  /// @param name a full name, or one as for [#get]
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  public void remove(String name) {
    folders.remove(installed(name).orElseGet(() -> get(name)).name());
  }

  private Optional<R> installed(String name) {
    return list().stream().filter(release -> release.name().equals(name)).findFirst();
  }

  private R read(Path description) {
    try {
      return JSON.readValue(
          BoundedFile.read(description, BoundedFile.STATE_BYTES), recipe.about().type());
    } catch (IOException | JacksonException e) {
      throw Problem.DAEMON_STATE.because(description + " cannot be read: " + e.getMessage(), e);
    }
  }
}
