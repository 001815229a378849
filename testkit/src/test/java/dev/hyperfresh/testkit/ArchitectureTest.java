package dev.hyperfresh.testkit;

import static com.tngtech.archunit.core.domain.JavaCall.Predicates.target;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.assignableTo;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.properties.HasName.Predicates.name;
import static com.tngtech.archunit.core.domain.properties.HasOwner.Predicates.With.owner;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
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
          Map.entry(
              "relocation", Set.of("hyperplexor", "vm", "qemu", "release", "hypervisor", "linux")),
          Map.entry(
              "daemon",
              Set.of(
                  "hyperplexor",
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
                  "relocation",
                  "machine",
                  "vm",
                  "hyperplexor",
                  "qemu",
                  "release",
                  "host",
                  "hypervisor",
                  "linux")));

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
    noClasses()
        .should()
        .callMethodWhere(target(owner(assignableTo(Thread.class))).and(target(name("sleep"))))
        .check(MAIN);
    noClasses()
        .should()
        .callMethodWhere(target(owner(assignableTo(TimeUnit.class))).and(target(name("sleep"))))
        .check(MAIN);
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
