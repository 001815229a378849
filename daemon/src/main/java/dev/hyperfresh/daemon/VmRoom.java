package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Pace;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.vm.VmDefinition;
import dev.hyperfresh.vm.VmDefinitions;
import dev.hyperfresh.vm.VmKind;
import dev.hyperfresh.vm.VmRelease;
import dev.hyperfresh.vm.VmReleases;
import dev.hyperfresh.vm.VmSettings;
import dev.hyperfresh.vm.VmStock;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.Stream;

/// The virtual machines of one kind in a daemon: made, replaced and ended here. Thread-safe.
///
/// @param <V> a virtual machine of the kind
/// @param <R> what it boots
final class VmRoom<V extends VmKind.Member<R>, R extends VmRelease> {
  /// The first QEMU whose translator runs the KVM of a machine, and which has all that the ports of
  /// such virtual machines need.
  private static final int OLDEST_HARDWARE = 10;

  private static final Set<String> NAMES_OF_RELEASES =
      Set.of(QemuReleases.LATEST, QemuReleases.INSTALLED);

  private final VmKind.About about;
  private final VmStock<V, R> stock;
  private final Tenants<V> tenants;
  private final VmReleases<R> releases;
  private final QemuReleases processes;
  private final ReleaseLeases leases;
  private final Hyperplexor hyperplexor;
  private final AcceleratorChoice accelerator;

  /// Who lives in virtual machines of a kind.
  ///
  /// @param one what one is called: `guest`, `container`
  /// @param in the names of those that are in one and run
  /// @param free whether its end would be nobody's end
  record Tenants<V>(String one, Function<V, List<String>> in, Predicate<V> free) {}

  VmRoom(
      VmKind.About about,
      VmStock<V, R> stock,
      Tenants<V> tenants,
      VmReleases<R> releases,
      QemuReleases processes,
      ReleaseLeases leases,
      Hyperplexor hyperplexor,
      AcceleratorChoice accelerator) {
    this.about = about;
    this.stock = stock;
    this.tenants = tenants;
    this.releases = releases;
    this.processes = processes;
    this.leases = leases;
    this.hyperplexor = hyperplexor;
    this.accelerator = accelerator;
  }

  VmReleases<R> releases() {
    return releases;
  }

  AcceleratorChoice accelerator() {
    return accelerator;
  }

  /// Boots one.
  V create(String name, String release, int vcpus, long memoryBytes, Progress progress) {
    // A newer daemon must find it whole or not at all.
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      return boot(name, release, vcpus, memoryBytes, progress);
    }
  }

  /// See [VmLife#start].
  void start(String name, Progress progress) {
    start(name, stock::start, progress);
  }

  private void start(String name, Function<VmSettings<R>, V> how, Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      Optional<VmDefinition> known = stock.definitions().find(name);
      if (known.isEmpty() || stock.find(name).filter(vm -> !vm.ended()).isPresent()) {
        var _ = stock.get(name);
        return;
      }
      VmDefinition made = known.get();
      boot(
          name,
          () -> releases.builtByAny(made.release()),
          made.hardware(),
          made.vcpus(),
          made.memoryBytes(),
          how,
          progress);
    }
  }

  /// See [VmLife#autostart].
  void autostart(String name, boolean on) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      var _ = view(name);
      stock.definitions().autostart(name, on);
    }
  }

  /// From now on those are started that are to be, since the host has booted.
  void startThemselves(Pace pace) {
    new VmStarts(
            about.title(),
            stock.definitions(),
            name -> start(name, stock::startDue, Progress.NONE),
            pace)
        .begin();
  }

  /// All of them, also those that are stopped, by name.
  List<VmView<R>> views() {
    Stream<VmView<R>> here = stock.list().stream().map(this::view);
    Stream<VmView<R>> stopped =
        stock.definitions().stopped().stream().flatMap(name -> stopped(name).stream());
    return Stream.concat(here, stopped).sorted(Comparator.comparing(VmView::name)).toList();
  }

  /// The one called `name`, also when it is stopped.
  VmView<R> view(String name) {
    Optional<VmView<R>> here = stock.find(name).map(this::view);
    return here.or(() -> stopped(name)).orElseGet(() -> view(stock.get(name)));
  }

  private VmView<R> view(V vm) {
    boolean autostart =
        stock.definitions().find(vm.settings().name()).filter(VmDefinition::autostart).isPresent();
    return VmView.of(vm, autostart, accelerator.reason(), tenants.in().apply(vm));
  }

  private Optional<VmView<R>> stopped(String name) {
    VmDefinitions all = stock.definitions();
    return all.find(name)
        .map(made ->
            VmView.stopped(name, made, all.isDue(name), installed(made.release()), accelerator));
  }

  private Optional<R> installed(String release) {
    return releases.list().stream().filter(one -> one.name().equals(release)).findFirst();
  }

  private V boot(String name, String release, int vcpus, long memoryBytes, Progress progress) {
    if (NAMES_OF_RELEASES.contains(name)
        || name.startsWith("qemu-")
        || name.startsWith(about.releases() + "-")) {
      throw Problem.SPEC_INVALID.because(
          "name:"
              + " '"
              + name
              + "' is or starts like the name of a release, which is allowed in the same places");
    }
    requireKind(release);
    return boot(
        name,
        () -> releases.get(release),
        Optional.empty(),
        vcpus,
        memoryBytes,
        stock::create,
        progress);
  }

  private V boot(
      String name,
      Supplier<R> release,
      Optional<String> last,
      int vcpus,
      long memoryBytes,
      Function<VmSettings<R>, V> how,
      Progress progress) {
    try (ReleaseLeases.Lease<QemuRelease> hardware =
            leases.hold(() -> hardware(processes.list(), last, about), QemuRelease::name);
        ReleaseLeases.Lease<R> inside = leases.hold(release, VmRelease::name)) {
      return boot(
          new VmSettings<>(
              name,
              inside.release(),
              hardware.release(),
              accelerator.accelerator(),
              vcpus,
              memoryBytes),
          how,
          progress);
    }
  }

  /// @throws HyperFreshException [Problem#RELEASE_KIND]
  private void requireKind(String release) {
    if (!release.startsWith(about.releases() + "-")) {
      throw Problem.RELEASE_KIND.because(
          about.one()
              + " boots a release whose name begins with "
              + about.releases()
              + "-, not '"
              + release
              + "'; `hyperfresh release build "
              + about.releases()
              + " --help` says how to build one.");
    }
  }

  private V boot(VmSettings<R> settings, Function<VmSettings<R>, V> how, Progress progress) {
    progress.step(
        "create",
        "booting "
            + settings.release().name()
            + " on "
            + settings.hardware().name()
            + " ("
            + accelerator.accelerator().label()
            + ": "
            + accelerator.reason()
            + ")");
    V vm = how.apply(settings);
    progress.step(
        "create",
        String.format(
            Locale.ROOT,
            "%s is up after %.1f s, with %d MiB free",
            settings.name(),
            vm.bootMs() / 1000,
            vm.hello().memoryFreeKib() >> 10));
    int vcpus = vm.settings().vcpus();
    if (vcpus > 1 && accelerator.accelerator() == Accelerator.TCG) {
      progress.step(
          "create", settings.name() + " is translated; the timers of its other vCPUs may stop");
    }
    if (vcpus < settings.vcpus()) {
      progress.step(
          "create", settings.name() + " has " + vcpus + " vCPU, because it is translated");
    }
    return vm;
  }

  /// The one that it ran on last while that is installed: nobody has chosen another one for it.
  ///
  /// @param installed oldest first
  /// @param last the full name of that; empty for one that is new
  static QemuRelease hardware(
      List<QemuRelease> installed, Optional<String> last, VmKind.About about) {
    List<QemuRelease> able =
        installed.reversed().stream()
            .filter(release ->
                Integer.parseInt(release.version().split("\\.", 2)[0]) >= OLDEST_HARDWARE)
            .toList();
    return last.flatMap(
            name -> able.stream().filter(release -> release.name().equals(name)).findFirst())
        .or(() -> QemuReleases.plain(able).stream().findFirst())
        .orElseThrow(() ->
            about
                .start()
                .because(
                    about.one()
                        + " needs a QEMU of this host as its hardware, 10.0 or newer: `hyperfresh"
                        + " release fetch qemu-10.0`."));
  }

  /// Removes a release that nothing runs.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_IN_USE], [Problem#RELEASE_UNKNOWN]
  void removeRelease(String name) {
    String full = releases.get(name).name();
    List<String> users = stock.on(full);
    if (!users.isEmpty()) {
      throw Problem.RELEASE_IN_USE.because(full + " is used by " + String.join(", ", users) + ".");
    }
    releases.remove(full);
  }

  /// Moves all that are in one to another, which is made for it unless `to` names one, and ends the
  /// old one when it is empty. One that was made for it and got nobody is ended instead.
  ///
  /// @param from whose place is to be taken
  /// @param rollout moves them to the one that it is given
  /// @param <T> the record of one move
  /// @throws HyperFreshException whatever keeps the rollout from beginning; everything is then
  ///   where it was
  <T> Replaced<T> replace(
      V from, String to, Function<V, Rollout.Result<T>> rollout, Progress progress) {
    Optional<V> there = stock.find(to);
    if (there.filter(from::equals).isPresent()) {
      throw Problem.API_REQUEST.because(about.one() + " cannot be replaced by itself.");
    }
    if (stock.definitions().isStopped(to)) {
      // Says that it is stopped, or being started.
      var _ = stock.get(to);
    }
    V target = there.orElseGet(() -> successor(from.settings(), to, progress));
    Rollout.Result<T> result;
    try {
      result = rollout.apply(target);
    } catch (RuntimeException e) {
      if (there.isEmpty()) {
        var _ = ended(target, "got no " + tenants.one(), progress);
      }
      throw e;
    }
    boolean retired = ended(from, "is empty", progress);
    return new Replaced<>(
        result,
        target.settings().name(),
        retired,
        !retired && there.isEmpty() && ended(target, "got no " + tenants.one(), progress));
  }

  private V successor(VmSettings<R> old, String release, Progress progress) {
    VmDefinitions all = stock.definitions();
    String name =
        Successor.of(
            old.name(), taken -> stock.find(taken).isPresent() || all.find(taken).isPresent());
    progress.step("create", name + " is to replace " + old.name());
    V made = boot(name, release, old.vcpus(), old.memoryBytes(), progress);
    if (all.find(old.name()).filter(known -> !known.autostart()).isPresent()) {
      all.autostart(name, false);
    }
    return made;
  }

  /// Whether it could be ended: somebody may be in it, or have come meanwhile.
  private boolean ended(V vm, String why, Progress progress) {
    String name = vm.settings().name();
    if (!tenants.free().test(vm)) {
      List<String> left = tenants.in().apply(vm);
      progress.step(
          "retire",
          name
              + " stays with "
              + (left.isEmpty() ? "the rest of one " + tenants.one() : String.join(", ", left)));
      return false;
    }
    progress.step("retire", name + " " + why + " and is ended");
    try {
      stock.delete(name);
      return true;
    } catch (HyperFreshException e) {
      progress.step("retire", name + " stays: " + e.detail());
      return false;
    }
  }
}
