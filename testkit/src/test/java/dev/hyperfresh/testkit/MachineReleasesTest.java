package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.vm.VmReleases;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Machine releases, built from Debian's packages.
@Timeout(600)
class MachineReleasesTest {
  @TempDir Path directory;

  @Test
  void nothingIsInstalledAtFirst() {
    VmReleases<MachineRelease> releases = MachineRecipe.releases(directory, Workshop.PACKAGES);

    assertThat(releases.list()).isEmpty();
    assertProblem(() -> releases.get("machine-6.12"), Problem.RELEASE_UNKNOWN);
    assertProblem(() -> releases.remove("machine-6.12"), Problem.RELEASE_UNKNOWN);
  }

  @Test
  void whatIsNoSeriesIsNotBuilt() {
    VmReleases<MachineRelease> releases = MachineRecipe.releases(directory, Workshop.PACKAGES);

    for (String series : List.of("", "6", "six", "6.12; reboot", "../6.12")) {
      assertProblem(() -> releases.build(series, "10.0", _ -> {}), Problem.RELEASE_KIND);
      assertProblem(() -> releases.build("6.12", series, _ -> {}), Problem.RELEASE_KIND);
    }
    assertThat(directory).isEmptyDirectory();
  }

  @Tag("slow")
  @Test
  void theSamePackagesGiveTheSameBytes() throws Exception {
    var _ = Workshop.release("qemu-10.0");
    VmReleases<MachineRelease> elsewhere =
        MachineRecipe.releases(Workshop.CACHE.resolve("releases"), Workshop.PACKAGES);
    MachineRelease second = elsewhere.build("6.12", "10.0", Workshop::say);
    List<String> steps = new ArrayList<>();
    assertThat(elsewhere.build("6.12", "10.0", steps::add)).isEqualTo(second);
    assertThat(steps).noneMatch(step -> step.startsWith("building"));
    VmReleases<MachineRelease> releases = MachineRecipe.releases(directory, Workshop.PACKAGES);
    MachineRelease first = releases.build("6.12", "10.0", Workshop::say);

    assertThat(first.name()).matches("machine-6\\.12\\.[0-9]+\\+qemu-10\\.0\\.[0-9]+");
    assertThat(first.version()).isEqualTo(first.name().substring("machine-".length()));
    assertThat(first.kernelRelease()).startsWith("6.12.").endsWith("-cloud-amd64");
    assertThat(first.machines()).contains("pc-q35-7.2");
    assertThat(first.cpus()).contains("qemu64");
    assertThat(first.capabilities()).contains("x-ignore-shared");
    assertThat(second.sha256()).isEqualTo(first.sha256());
    assertThat(second.kernelSha256()).isEqualTo(first.kernelSha256());
    Workshop.say(
        "%s: initrd %d MiB, kernel %d MiB"
            .formatted(
                first.name(), Files.size(first.initrd()) >> 20, Files.size(first.kernel()) >> 20));
    try (var files = Files.list(first.initrd().resolveSibling(""))) {
      assertThat(files.map(file -> file.getFileName().toString()))
          .containsExactlyInAnyOrder("files.sha256", "machine.json", "initrd", "vmlinuz");
    }

    assertThat(releases.list()).containsExactly(first);
    for (String name :
        List.of(first.name(), "machine-6", "machine-6.12", "machine-6.12+qemu-10.0")) {
      assertThat(releases.get(name)).isEqualTo(first);
    }
    for (String name : List.of("machine-6.1", "machine-6.12+qemu-7.2", "qemu-10.0", "machine-")) {
      assertProblem(() -> releases.get(name), Problem.RELEASE_UNKNOWN);
    }
    assertThat(releases.verify("machine-6.12")).isEqualTo(first);
    Files.write(first.initrd(), new byte[1], StandardOpenOption.APPEND);
    assertProblem(() -> releases.verify("machine-6.12"), Problem.RELEASE_DAMAGED);
    releases.remove(first.name());
    assertThat(releases.list()).isEmpty();
  }

  @Tag("slow")
  @Test
  void aKernelThatNobodyOffersIsNamed() {
    VmReleases<MachineRelease> releases = MachineRecipe.releases(directory, Workshop.PACKAGES);

    assertThatThrownBy(() -> releases.build("9.99", "10.0", _ -> {}))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("none of which is 9.99");
    assertThat(directory).isEmptyDirectory();
  }

  private static void assertProblem(Runnable action, Problem problem) {
    assertThatThrownBy(action::run)
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem));
  }
}
