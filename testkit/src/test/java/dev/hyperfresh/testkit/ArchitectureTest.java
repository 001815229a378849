package dev.hyperfresh.testkit;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.AccessTarget;
import com.tngtech.archunit.core.domain.JavaAccess;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import dev.hyperfresh.qemu.QemuProcess;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.jspecify.annotations.NullMarked;
import org.junit.jupiter.api.Test;

/// The arrows of the architecture, checked on the compiled classes of every module.
class ArchitectureTest {
  private static final String ROOT = "dev.hyperfresh";

  /// Which modules a module may use. Whoever adds a module adds it here first.
  private static final Map<String, Set<String>> ARROWS =
      Map.ofEntries(
          Map.entry("linux", Set.of()),
          Map.entry("hypervisor", Set.of("linux")),
          Map.entry("release", Set.of("hypervisor", "linux")),
          Map.entry("host", Set.of("hypervisor", "linux")),
          Map.entry("qemu", Set.of("release", "hypervisor", "linux")),
          Map.entry("vm", Set.of("qemu", "release", "hypervisor", "linux")),
          Map.entry("machine", Set.of("vm", "qemu", "release", "hypervisor", "linux")),
          Map.entry("hyperplexor", Set.of("hypervisor", "linux")),
          Map.entry("libvirt", Set.of("hyperplexor", "hypervisor", "linux")),
          Map.entry(
              "relocation", Set.of("hyperplexor", "vm", "qemu", "release", "hypervisor", "linux")),
          Map.entry(
              "daemon",
              Set.of(
                  "hyperplexor",
                  "libvirt",
                  "relocation",
                  "machine",
                  "vm",
                  "qemu",
                  "release",
                  "host",
                  "hypervisor",
                  "linux")),
          Map.entry(
              "cli", Set.of("daemon", "relocation", "vm", "hyperplexor", "host", "hypervisor")),
          Map.entry(
              "testkit",
              Set.of(
                  "cli",
                  "daemon",
                  "libvirt",
                  "relocation",
                  "machine",
                  "vm",
                  "hyperplexor",
                  "qemu",
                  "release",
                  "host",
                  "hypervisor",
                  "linux")));

  /// The classes that may pause, and why there is nothing to wait for instead.
  private static final Map<String, String> PAUSES =
      Map.ofEntries(
          Map.entry("cli.ContainerQueries", "asks for more of a log; the API has no event for it"),
          Map.entry("cli.EventFeed", "tries to connect to the next daemon"),
          Map.entry("cli.PolicyRun", "asks whether the next daemon answers"),
          Map.entry("daemon.Gateway", "has no descriptor for a client; others free one"),
          Map.entry("hyperplexor.GuestRollout", "sees whether a guest is about to power off"),
          Map.entry("hyperplexor.Pulse", "samples a counter in a guest's memory"),
          Map.entry(
              "hyperplexor.GuestRecovery", "tries again what failed without a process to watch"),
          Map.entry("hyperplexor.Rollout", "looks at guests that are to go on as they are"),
          Map.entry("hyperplexor.Surroundings", "lets a heartbeat show its noise floor"),
          Map.entry("linux.Cgroup", "the kernel tells of no group that becomes empty in version 1"),
          Map.entry("machine.ConsoleClients", "tries again after a client it could not serve"),
          Map.entry("qemu.Qmp", "drains a socket that another thread reads"),
          Map.entry("qemu.SpiceDoor", "has no descriptor for a client; others free one"),
          Map.entry("qemu.QemuTarget", "looks at the threads of a process that was stopped"),
          Map.entry("relocation.Freed", "reads a file that is being written"),
          Map.entry("relocation.HealthWatch", "gives a program time between two checks"),
          Map.entry("relocation.Moves", "tries a step of a move again"),
          Map.entry("relocation.Recovery", "tries a step of a move again"),
          Map.entry("vm.VmPrograms", "asks a kernel inside, which tells of nothing"),
          Map.entry("vm.VmWindows", "asks hardware that tells of nothing"),
          Map.entry("testkit.Await", "asks for what tells of nothing"),
          Map.entry("testkit.DemoRun", "asks for a heartbeat"),
          Map.entry("testkit.EchoStream", "keeps the pace of a client"),
          Map.entry("testkit.FaultCharge", "is a stall"),
          Map.entry("testkit.Losses", "looks for what is lost without a word"),
          Map.entry("testkit.MachineDemoRun", "measures for a while"),
          Map.entry("testkit.MeasuredWay", "sees when a pipe has become empty"),
          Map.entry("testkit.OsDemoRun", "measures for a while"),
          Map.entry("testkit.OutageClient", "keeps the pace of a client"),
          Map.entry("testkit.TestGuest", "samples a counter in a guest's memory"));

  /// The classes that wait with a limit, and who tells them of what they wait for.
  private static final Map<String, String> TIMED_WAITS =
      Map.of(
          "daemon.EventStream", "daemon.EventStream",
          "daemon.Gateway", "daemon.Gateway",
          "hyperplexor.Survivors", "hyperplexor.Verdict",
          "hyperplexor.Traffic", "hyperplexor.Traffic",
          "qemu.QemuControl", "qemu.QemuControl",
          "qemu.QemuChannel", "qemu.QemuChannel",
          "qemu.QemuReports", "qemu.QemuReports",
          "relocation.Container", "relocation.Container");

  private static final JavaClasses MAIN =
      new ClassFileImporter()
          .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
          .importPackages(ROOT);

  @Test
  void everyModuleIsLookedAt() {
    assertThat(modules()).containsExactlyInAnyOrderElementsOf(ARROWS.keySet());
  }

  @Test
  void everyModuleIsOneFlatPackage() {
    assertThat(MAIN.stream().map(JavaClass::getPackageName).collect(Collectors.toSet()))
        .allMatch(name -> name.matches("dev\\.hyperfresh\\.[a-z0-9]+"));
  }

  @Test
  void modulesUseOnlyWhatTheArrowsAllow() {
    Set<String> wrong = new TreeSet<>();
    for (JavaClass user : MAIN) {
      String from = module(user);
      Set<String> allowed = ARROWS.getOrDefault(from, Set.of());
      user.getDirectDependenciesFromSelf().stream()
          .map(dependency -> dependency.getTargetClass().getBaseComponentType())
          .filter(used -> used.getPackageName().startsWith(ROOT + "."))
          .filter(used -> !module(used).equals(from) && !allowed.contains(module(used)))
          .map(used -> user.getName() + " uses " + used.getName())
          .forEach(wrong::add);
    }
    assertThat(wrong).as("uses against the arrows").isEmpty();
  }

  @Test
  void hyperplexorAndQemuDoNotKnowEachOther() {
    noClasses()
        .that()
        .resideInAPackage(ROOT + ".hyperplexor")
        .should()
        .dependOnClassesThat()
        .resideInAPackage(ROOT + ".qemu")
        .check(MAIN);
    noClasses()
        .that()
        .resideInAPackage(ROOT + ".qemu")
        .should()
        .dependOnClassesThat()
        .resideInAPackage(ROOT + ".hyperplexor")
        .check(MAIN);
  }

  @Test
  void onlyLinuxMakesForeignCalls() {
    noClasses()
        .that()
        .resideOutsideOfPackage(ROOT + ".linux")
        .should()
        .dependOnClassesThat(resideInAPackage("java.lang.foreign.."))
        .check(MAIN);
  }

  @Test
  void noClassIsNamedAfterNothing() {
    noClasses().should().haveSimpleNameEndingWith("Manager").check(MAIN);
    noClasses().should().haveSimpleNameEndingWith("Helper").check(MAIN);
    noClasses().should().haveSimpleNameEndingWith("Util").check(MAIN);
    noClasses().should().haveSimpleNameEndingWith("Utils").check(MAIN);
  }

  @Test
  void noCodeSleeps() {
    assertThat(callersOf(ArchitectureTest::isSleep)).as("code that sleeps").isEmpty();
  }

  /// A pause is a sleep by another name. Whoever adds one says why there is no event to wait for.
  @Test
  void onlyWhatHasNoEventPauses() {
    assertThat(callersOf(ArchitectureTest::isPause))
        .as("code that pauses; see PAUSES")
        .containsExactlyInAnyOrderElementsOf(PAUSES.keySet());
  }

  /// A wait with a limit is one for an event, which somebody tells with `notifyAll`.
  @Test
  void whoeverWaitsWithALimitIsToldOfTheEvent() {
    assertThat(callersOf(ArchitectureTest::isTimedWait))
        .as("code that waits with a limit; see TIMED_WAITS")
        .containsExactlyInAnyOrderElementsOf(TIMED_WAITS.keySet());
    assertThat(callersOf(access -> access.getTarget().getName().equals("notifyAll")))
        .as("code that tells of events")
        .containsAll(TIMED_WAITS.values());
  }

  /// Java throws it for a defect; a condition of the world has a type of its own. The runtime
  /// throws it, too, in one case that is none: a hook is taken back while Java ends.
  @Test
  void nobodyCatchesWhatIsADefect() {
    Set<String> catching =
        MAIN.stream()
            .flatMap(type -> type.getCodeUnits().stream())
            .flatMap(unit -> unit.getTryCatchBlocks().stream())
            .filter(
                block -> block.getCaughtThrowables().stream().anyMatch(ArchitectureTest::isDefect))
            .map(block -> place(block.getOwner().getOwner()))
            .collect(Collectors.toCollection(TreeSet::new));
    // Whether Java is on its way out can only be asked by trying.
    assertThat(catching)
        .as("code that catches defects")
        .containsExactly("cli.PolicyHold", "testkit.Demo");
  }

  /// What virtual machines of ours do not do has the type of module `vm`, and only that is caught
  /// where there is no QEMU inside.
  @Test
  void theTroubleOfAVirtualMachineHasItsOwnType() {
    assertThat(
            callersOf(access ->
                access.getTargetOwner().isEquivalentTo(QemuProcess.TroubleException.class)
                    && access.getTarget().getName().equals("<init>")))
        .filteredOn(place -> place.matches("(vm|relocation)\\..*"))
        .as("code of vm and relocation that throws the trouble of a QEMU")
        .containsExactly("vm.TroubleException");
  }

  private static boolean isSleep(JavaAccess<?> access) {
    JavaClass owner = access.getTargetOwner();
    return access.getTarget().getName().equals("sleep")
        && (owner.isAssignableTo(Thread.class) || owner.isAssignableTo(TimeUnit.class));
  }

  private static boolean isPause(JavaAccess<?> access) {
    String called = access.getTarget().getName();
    JavaClass owner = access.getTargetOwner();
    return (owner.isEquivalentTo(LockSupport.class) && called.startsWith("park"))
        || (owner.isEquivalentTo(Thread.class) && called.matches("onSpinWait|yield"));
  }

  private static boolean isTimedWait(JavaAccess<?> access) {
    String called = access.getTarget().getName();
    return (access.getTargetOwner().isEquivalentTo(TimeUnit.class) && called.equals("timedWait"))
        || (access.getTarget() instanceof AccessTarget.CodeUnitCallTarget method
            && method.getName().equals("wait")
            && !method.getRawParameterTypes().isEmpty());
  }

  private static boolean isDefect(JavaClass thrown) {
    return thrown.isEquivalentTo(IllegalStateException.class);
  }

  /// The places that access something, method references included.
  private static Set<String> callersOf(Predicate<JavaAccess<?>> what) {
    return MAIN.stream()
        .filter(type -> type.getAccessesFromSelf().stream().anyMatch(what))
        .map(ArchitectureTest::place)
        .collect(Collectors.toCollection(TreeSet::new));
  }

  /// Module and class, without the classes that are nested in it.
  private static String place(JavaClass type) {
    return type.getName().substring(ROOT.length() + 1).replaceFirst("\\$.*", "");
  }

  @Test
  void everyPackageForbidsNull() {
    Set<String> unmarked =
        MAIN.stream()
            .map(JavaClass::getPackage)
            .filter(pack -> !pack.isAnnotatedWith(NullMarked.class))
            .map(pack -> pack.getName())
            .collect(Collectors.toCollection(TreeSet::new));
    assertThat(unmarked).as("packages without @NullMarked").isEmpty();
  }

  private static Set<String> modules() {
    return MAIN.stream().map(ArchitectureTest::module).collect(Collectors.toSet());
  }

  private static String module(JavaClass type) {
    return type.getPackageName().substring(ROOT.length() + 1).replaceFirst("\\..*", "");
  }
}
