package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.qemu.QemuRelease;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Names are looked up among real releases of each kind, and machines that stand in for real ones.
@Timeout(30)
class DestinationsTest {
  private static final QemuRelease OLDER = Installed.qemu("7.2.22");
  private static final QemuRelease NEWER = Installed.qemu("10.0.2");

  private final Daemon daemon;
  private final Destinations destinations;

  /// A machine, whatever it is called.
  private record Named(String name) implements Release {
    @Override
    public String kind() {
      return "machine";
    }

    @Override
    public String version() {
      return "1";
    }

    @Override
    public Set<String> machines() {
      return Set.of();
    }
  }

  DestinationsTest(@TempDir Path folder) {
    DaemonConfig config = DaemonConfig.under(folder.resolve("state"));
    Installed.add(config.releases(), OLDER);
    Installed.add(config.releases(), NEWER);
    Installed.add(config.releases(), Installed.machine("6.12.95", "10.0.2"));
    Installed.add(config.releases(), Installed.os("6.12.95", "trixie"));
    daemon = Daemon.start(config);
    destinations = with("m1", "qemu-like", "machine-like");
  }

  private Destinations with(String... machines) {
    List<Named> here = List.of(machines).stream().map(Named::new).toList();
    return new Destinations(() -> here, "stopped"::equals, "coming"::equals, daemon.releaseKinds());
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  @Test
  void aMachineThatIsNotUpYetIsNoUnknownOne() {
    assertThatThrownBy(() -> destinations.recorded("coming"))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.MACHINE_COMING))
        .hasMessageContaining("Machine coming is being started");
  }

  @Test
  void aMachineThatIsStoppedIsNoUnknownOne() {
    for (Destinations all : List.of(destinations, with())) {
      assertThatThrownBy(() -> all.named("stopped"))
          .isInstanceOf(HyperFreshException.class)
          .hasMessageContaining("`hyperfresh machine start stopped` starts it");
      assertThatThrownBy(() -> all.all("stopped")).hasMessageContaining("is stopped");
    }
  }

  @Test
  void aReleaseOfProcessesIsFoundByItsNameAndItsSeries() {
    for (Destinations all : List.of(destinations, with())) {
      assertThat(all.named("qemu-7.2.22")).isEqualTo(OLDER);
      assertThat(all.named("qemu-7.2")).isEqualTo(OLDER);
      assertThat(all.named("qemu-10")).isEqualTo(NEWER);
    }
  }

  @Test
  void anAliasMeansTheNewestBuildAndAFullNameOneBuild() {
    Installed.add(
        daemon.config().releases(),
        Installed.build("qemu-10.0.2+deb13u1", "1:10.0.2+ds-2+deb13u1"));
    QemuRelease newest = Installed.build("qemu-10.0.2+deb13u2", "1:10.0.2+ds-2+deb13u2");
    Installed.add(daemon.config().releases(), newest);

    for (String alias : List.of("qemu-10", "qemu-10.0", "latest", "qemu-10.0.2+deb13u2")) {
      assertThat(destinations.named(alias)).isEqualTo(newest);
    }
    assertThat(destinations.named("qemu-10.0.2"))
        .as("a guest of an earlier version of HyperFresh may run on it")
        .isEqualTo(NEWER);
    assertThat(destinations.named("qemu-10.0.2+deb13u1").name()).isEqualTo("qemu-10.0.2+deb13u1");
  }

  @Test
  void whatAFileOfTheDaemonNamesIsThatReleaseOrNone() {
    Installed.add(
        daemon.config().releases(), Installed.build("qemu-8.2.2+0ubuntu1", "1:8.2.2+ds-0ubuntu1"));

    assertThat(destinations.recorded("qemu-10.0.2")).isEqualTo(NEWER);
    assertThat(destinations.recorded("m1")).isEqualTo(new Named("m1"));
    assertThat(destinations.named("qemu-8.2.2").name()).isEqualTo("qemu-8.2.2+0ubuntu1");
    assertThatThrownBy(() -> destinations.recorded("qemu-8.2.2"))
        .hasMessageContaining("'qemu-8.2.2' is no longer installed.");
  }

  @Test
  void guestsThatAreToBeMovedAwayAreThoseOfEveryBuild() {
    Installed.add(
        daemon.config().releases(),
        Installed.build("qemu-10.0.2+deb13u1", "1:10.0.2+ds-2+deb13u1"));

    assertThat(destinations.all("qemu-10.0"))
        .containsExactlyInAnyOrder("qemu-10.0.2", "qemu-10.0.2+deb13u1");
    assertThat(destinations.all("qemu-10.0.2+deb13u1")).containsExactly("qemu-10.0.2+deb13u1");
    assertThat(destinations.all("m1")).containsExactly("m1");
    assertThatThrownBy(() -> destinations.all("qemu-99.9"))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.RELEASE_UNKNOWN));
    assertThatThrownBy(() -> destinations.all("os-6.12"))
        .hasMessageContaining("which run containers, not guests");
  }

  @Test
  void aMachineIsFoundHoweverItIsCalled() {
    for (String name : List.of("m1", "qemu-like", "machine-like")) {
      assertThat(destinations.named(name)).isEqualTo(new Named(name));
    }
  }

  @Test
  void ofAReleaseOfMachinesItIsSaidHowToMakeOne() {
    for (Destinations all : List.of(destinations, with())) {
      assertUnknown(all, "machine-6.12")
          .hasMessageContaining("'machine-6.12' is not a machine; create one of that release")
          .hasMessageContaining("`hyperfresh machine create NAME --release machine-6.12`")
          .hasMessageContaining("`hyperfresh replace --machine OLD --to machine-6.12`");
    }
  }

  @Test
  void ofAReleaseOfOperatingSystemsItIsSaidThatNoGuestRunsThere() {
    assertUnknown(destinations, "os-6.12")
        .hasMessageContaining("which run containers, not guests")
        .hasMessageContaining("`hyperfresh os create NAME --release os-6.12`");
  }

  /// Nothing boots, and the advice is not to fetch what is installed.
  @Test
  void aReleaseOfAnotherKindIsNoMachine() throws Exception {
    RawHttp api = new RawHttp(daemon.config().socket());
    for (String path : List.of("/v1/machines", "/v1/os")) {
      String kind = path.equals("/v1/os") ? "os" : "machine";
      for (String wrong : List.of("qemu-10.0", "qemu-10.0.2", "6.12", "m1")) {
        var problem =
            api.post(path, "{\"name\": \"a\", \"release\": \"" + wrong + "\"}")
                .lastLine()
                .path("problem");
        assertThat(problem.path("code").asString()).isEqualTo(Problem.RELEASE_KIND.code());
        assertThat(problem.path("detail").asString())
            .contains("whose name begins with " + kind + "-, not '" + wrong + "'")
            .contains("`hyperfresh release build " + kind + " --help`");
      }
    }
  }

  @Test
  void ofANameThatNothingHasItIsSaidWhichThereAre() {
    String releases = "qemu-7.2.22, qemu-10.0.2, machine-6.12.95+qemu-10.0.2, os-6.12.95+trixie.";
    for (String name : List.of("m9", "qemu-99.9", "machine-9.9", "")) {
      assertUnknown(destinations, name)
          .hasMessageContaining(
              "'"
                  + name
                  + "' is neither a machine nor an installed release; machines: m1, qemu-like,"
                  + " machine-like; releases: "
                  + releases);
      assertUnknown(with(), name)
          .hasMessageContaining("'" + name + "' is not installed; installed: " + releases);
    }
  }

  @Test
  void aReleaseIsShownByItsNameWhateverItsKind() throws Exception {
    RawHttp api = new RawHttp(daemon.config().socket());
    assertThat(api.get("/v1/releases/qemu-7").json().path("name").asString())
        .isEqualTo("qemu-7.2.22");
    RawHttp.Answer earlier = api.get("/v1/releases/os-6.12");
    // It has none of the programs that this version would build.
    assertThat(earlier.json().path("detail").asString()).contains("build it again");
    assertThat(api.get("/v1/releases/os-9.9").json().path("detail").asString())
        .startsWith("'os-9.9' is not installed; installed: qemu-7.2.22");
    assertThat(api.get("/v1/releases").json().path("releases")).hasSize(4);
  }

  private static AbstractThrowableAssert<?, ? extends Throwable> assertUnknown(
      Destinations destinations, String name) {
    return assertThatThrownBy(() -> destinations.named(name))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.RELEASE_UNKNOWN));
  }
}
