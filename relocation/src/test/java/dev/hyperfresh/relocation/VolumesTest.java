package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// A volume is in one of two places whatever happens, and nobody but its container gets it.
class VolumesTest {
  @TempDir Path state;

  private final List<String> told = new ArrayList<>();
  private Volumes volumes;

  @BeforeEach
  void begin() {
    volumes = new Volumes(state);
  }

  private ContainerFolder folder(String container) {
    return new ContainerFolder(state.resolve("containers").resolve(container));
  }

  private static ContainerSpec spec(String container, String... names) {
    return new ContainerSpec(
        container,
        Path.of("/bundle"),
        Optional.empty(),
        Stream.of(names).map(name -> new VolumeMount(name, "/" + name, false)).toList(),
        Optional.empty());
  }

  private Volumes.Claim claim(String container, String... names) {
    return volumes.claim(spec(container, names), folder(container));
  }

  private void make(String container) throws IOException {
    Files.createDirectories(state.resolve("containers"));
    folder(container).make();
  }

  /// A container with a volume in which something is.
  private Path given(String container, String name) throws IOException {
    try (Volumes.Claim claim = claim(container, name)) {
      make(container);
      if (claim.isEmpty(name)) {
        Files.writeString(Files.createDirectory(claim.draft(name)).resolve("file"), "precious");
        claim.begin(name);
      }
      claim.put();
      claim.keep();
    }
    return folder(container).share().resolve("volumes").resolve(name);
  }

  private VolumeView only() {
    List<VolumeView> all = volumes.list(this::folder);
    assertThat(all).hasSize(1);
    return all.getFirst();
  }

  private static void assertRefused(Problem problem, ThrowingCallable order) {
    assertThatThrownBy(order)
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem));
  }

  @Test
  void oneContainerHasItAtATime() throws IOException {
    Path there = given("a", "data");
    assertThat(only().container()).hasValue("a");
    assertThat(only().path()).isEqualTo(there);
    assertRefused(Problem.VOLUME_IN_USE, () -> claim("b", "other", "data"));
    assertRefused(Problem.VOLUME_IN_USE, () -> volumes.remove("data"));
    assertRefused(Problem.VOLUME_EXISTS, () -> volumes.create("data"));
    // What was refused has made nothing.
    assertThat(only().name()).isEqualTo("data");
    volumes.release("b", folder("b"), told::add);
    assertThat(only().container()).hasValue("a");
    volumes.release("a", folder("a"), told::add);
    assertThat(only().container()).isEmpty();
    assertThat(only().path().resolve("file")).hasContent("precious");
    assertThat(there).doesNotExist();
    volumes.remove("data");
    assertThat(volumes.list(this::folder)).isEmpty();
    assertThat(told).isEmpty();
  }

  @Test
  void whatIsNotKeptIsAsBefore() throws IOException {
    volumes.create("old");
    try (Volumes.Claim claim = claim("a", "old", "new")) {
      make("a");
      assertThat(claim.isEmpty("old")).isTrue();
      Files.writeString(Files.createDirectory(claim.draft("old")).resolve("file"), "of an image");
      claim.begin("old");
      claim.put();
    }
    assertThat(only().path()).isEmptyDirectory();
    assertThat(only().name()).isEqualTo("old");
    assertThat(only().container()).isEmpty();
    assertThat(only().path()).isDirectory();
  }

  /// A daemon that dies has written down whose it is, and may have moved it or not.
  @Test
  void theNextDaemonFindsItWhereverItIs() throws IOException {
    var _ = claim("a", "data");
    new Volumes(state).recover(_ -> false, this::folder, told::add);
    assertThat(only().container()).isEmpty();

    // A container that is about to get it has half of what it is to begin with.
    try (Volumes.Claim claim = claim("a", "data")) {
      Files.createDirectory(claim.draft("data"));
      claim.keep();
    }
    new Volumes(state).recover(_ -> false, this::folder, told::add);
    assertThat(only().path()).isEmptyDirectory();

    given("a", "data");
    new Volumes(state).recover("a"::equals, this::folder, told::add);
    assertThat(only().container()).hasValue("a");
    new Volumes(state).recover(_ -> false, this::folder, told::add);
    assertThat(only().path().resolve("file")).hasContent("precious");

    // It has been moved back, and that is not written down.
    given("a", "data");
    assertThat(folder("a").takeVolume("data", state.resolve("volumes"))).isTrue();
    new Volumes(state).recover(_ -> false, this::folder, told::add);
    assertThat(only().container()).isEmpty();
    assertThat(only().path().resolve("file")).hasContent("precious");
    assertThat(told).isEmpty();
  }

  /// Root in an OS makes of the names what it likes.
  @Test
  void noLinkLeadsAVolumeToSomethingElse() throws IOException {
    Path secret = Files.createDirectories(state.resolve("host/data"));
    Files.writeString(secret.resolve("file"), "secret");
    Path there = given("a", "data");
    Path elsewhere = there.resolveSibling("moved");
    Files.move(there, elsewhere);
    Files.createSymbolicLink(there, secret);
    volumes.release("a", folder("a"), told::add);
    assertThat(secret.resolve("file")).hasContent("secret");
    assertThat(only().path()).isEmptyDirectory();
    assertThat(told).singleElement().asString().contains("data is empty");

    told.clear();
    given("b", "data");
    Path share = folder("b").share();
    Files.move(share.resolve("volumes"), share.resolve("gone"));
    Files.createSymbolicLink(share.resolve("volumes"), state.resolve("host"));
    volumes.release("b", folder("b"), told::add);
    assertThat(secret.resolve("file")).hasContent("secret");
    assertThat(only().path()).isEmptyDirectory();
    // A folder that bears the name of another volume does not become that one.
    Path third = given("c", "data");
    volumes.create("fourth");
    Files.createDirectories(third.resolveSibling("fourth/planted"));
    volumes.release("c", folder("c"), told::add);
    assertThat(state.resolve("volumes/fourth")).isEmptyDirectory();
  }

  /// Then it is not known whose it is, and what might be its files stays.
  @Test
  void ofADamagedOneNothingIsRemoved() throws IOException {
    Path there = given("a", "data");
    Files.writeString(state.resolve("volumes/data.json"), "{}");
    assertThat(only().fault()).isNotEmpty();
    assertRefused(Problem.DAEMON_STATE, () -> volumes.release("a", folder("a"), told::add));
    assertThat(there.resolve("file")).hasContent("precious");
    volumes.release("b", folder("b"), told::add);
    assertRefused(Problem.DAEMON_STATE, () -> claim("b", "data"));
    new Volumes(state).recover(_ -> false, this::folder, told::add);
    assertThat(told).singleElement().asString().contains("data.json");
  }

  @Test
  void mountsAreReadAndJudged() {
    assertThat(VolumeMount.parse("data:/var/lib"))
        .hasValue(new VolumeMount("data", "/var/lib", false));
    assertThat(VolumeMount.parse("data:/var/lib:ro"))
        .hasValue(new VolumeMount("data", "/var/lib", true));
    for (String text : List.of("data", "a:/b:rx", "a:/b:ro:ro", "")) {
      assertThat(VolumeMount.parse(text)).as(text).isEmpty();
    }
    for (String bad :
        List.of(
            "data:var",
            "data:/",
            "data:/..",
            "data:/a/../b",
            "data:/a//b",
            "data:/a/",
            "data:/a b",
            "data:/proc/1",
            "data:/sys",
            "data:/dev",
            "1data:/a",
            "../x:/a",
            ":/a")) {
      assertThat(VolumeMount.faults(VolumeMount.parse(bad).stream().toList())).as(bad).isNotEmpty();
    }
    assertThat(faults("a:/x", "b:/y")).isEmpty();
    assertThat(faults("a:/x", "a:/y")).hasSize(1);
    assertThat(faults("a:/x", "b:/x/y")).hasSize(1);
    assertThat(faults("a:/x", "b:/xy")).isEmpty();
    assertThat(VolumeMount.faults(Collections.nCopies(20_000, new VolumeMount("a", "/a", false))))
        .hasSize(1);
    assertThat(faults("a:" + "/a".repeat(30_000))).hasSize(1);
  }

  private static List<String> faults(String... texts) {
    return VolumeMount.faults(
        Stream.of(texts).map(text -> VolumeMount.parse(text).orElseThrow()).toList());
  }
}
