package dev.hyperfresh.release;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.abort;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.DebianPackages.Unpacked;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class DebianPackagesTest {
  /// Of apt, for both tests that ask a mirror: its index of packages is large.
  @TempDir static Path apt;

  @TempDir Path directory;

  @Test
  @Order(1)
  @Tag("slow")
  void unpacksAProgramThatRunsAndNeedsNoNetworkTheSecondTime() throws Exception {
    DebianPackages packages = new DebianPackages(apt.resolve("apt state"));
    List<String> steps = new ArrayList<>();
    List<String> name = List.of("busybox-static");

    Unpacked first =
        reachable(
            () -> packages.unpack(Suite.STABLE, name, true, directory.resolve("one"), steps::add));

    assertThat(first.versions()).containsOnlyKeys("busybox-static");
    assertThat(output(first.root().resolve("bin/busybox").toString(), "echo", "it runs"))
        .isEqualTo("it runs\n");
    // The index, the download and its size, and the unpacking.
    assertThat(steps).hasSize(4);
    assertThat(
            PosixFilePermissions.toString(Files.getPosixFilePermissions(apt.resolve("apt state"))))
        .isEqualTo("rwx------");

    steps.clear();
    Unpacked second =
        packages.unpack(Suite.STABLE, name, false, directory.resolve("two"), steps::add);

    assertThat(second.versions()).isEqualTo(first.versions());
    assertThat(second.root().resolve("bin/busybox"))
        .hasSameBinaryContentAs(first.root().resolve("bin/busybox"));
    assertThat(steps).singleElement().asString().startsWith("unpacking 1 packages into");
  }

  @Test
  @Order(2)
  @Tag("slow")
  void aPackageThatDoesNotExistIsNamed() {
    DebianPackages packages = new DebianPackages(apt.resolve("apt state"));
    reachable(() -> {
      assertThatThrownBy(() ->
              packages.unpack(
                  Suite.STABLE,
                  List.of("no-such-package-anywhere"),
                  false,
                  directory.resolve("into"),
                  step -> {}))
          .isInstanceOfSatisfying(
              PackagesException.class,
              e -> {
                if (e.kind() == PackagesException.Kind.UNREACHABLE) {
                  throw e;
                }
                assertThat(e.kind()).isEqualTo(PackagesException.Kind.UNKNOWN_PACKAGE);
              })
          .hasMessageContaining("no-such-package-anywhere");
      return "named";
    });
    assertThat(directory.resolve("into")).doesNotExist();
  }

  @Test
  void aNameThatAptCouldTakeForAnOptionIsRefused() {
    DebianPackages packages = new DebianPackages(directory.resolve("apt"));

    assertThatThrownBy(() ->
            packages.unpack(
                Suite.STABLE, List.of("--version"), false, directory.resolve("x"), s -> {}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("'--version' is not a Debian package name");
    assertThat(directory.resolve("apt")).doesNotExist();
  }

  @Test
  void aPathThatAptCannotExpressIsRefused() {
    assertThatThrownBy(() -> new DebianPackages(Path.of("/tmp/a\"b")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("/tmp/a\"b");
  }

  private static <T> T reachable(Supplier<T> attempt) {
    try {
      return attempt.get();
    } catch (PackagesException e) {
      if (e.kind() == PackagesException.Kind.UNREACHABLE
          || e.kind() == PackagesException.Kind.NO_APT) {
        System.out.println("skipped: packages cannot be downloaded here: " + e.getMessage());
        return abort("packages cannot be downloaded here");
      }
      throw e;
    }
  }

  private static String output(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).start();
    String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).isZero();
    return text;
  }
}
