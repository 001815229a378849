package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.SocketTimeoutException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Bundles and images as umoci, runc and skopeo make them, where these are installed. Of what is
/// made of them runc itself is the judge.
class BundleToolsTest {
  private static final int LIMIT_SECONDS = 60;
  private static final String NAME = "hf-judged-" + ProcessHandle.current().pid();

  /// As `umoci unpack` writes it for an image with a volume, shortened.
  private static final String UMOCI =
      """
      {"ociVersion": "1.0.0",
       "process": {
         "terminal": true, "user": {"uid": 0, "gid": 0}, "args": ["/bin/app"],
         "env": ["PATH=/bin", "TERM=xterm"], "cwd": "/",
         "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"],
           "inheritable": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]},
         "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
         "noNewPrivileges": true},
       "root": {"path": "rootfs"},
       "hostname": "umoci-default",
       "mounts": [
         {"destination": "/proc", "type": "proc", "source": "proc"},
         {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
          "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
         {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
          "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
         {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "ro"]},
         {"destination": "/data", "type": "tmpfs", "source": "none",
          "options": ["rw", "nosuid", "nodev", "noexec", "relatime"]}],
       "annotations": {"org.opencontainers.image.stopSignal": ""},
       "linux": {
         "resources": {"devices": [{"allow": false, "access": "rwm"}]},
         "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
           {"type": "mount"}],
         "maskedPaths": ["/proc/kcore"],
         "readonlyPaths": ["/proc/sys"]}}\
      """;

  @TempDir Path folder;

  private static void require(boolean holds, String otherwise) {
    if (!holds) {
      System.out.println("skipped: " + otherwise);
      Assumptions.abort(otherwise);
    }
  }

  private static void requireTools(String... tools) {
    require(Host.effectiveUid() == 0, "containers need root");
    for (String tool : tools) {
      boolean here =
          Stream.of(String.valueOf(System.getenv("PATH")).split(":"))
              .anyMatch(place -> Files.isExecutable(Path.of(place, tool)));
      require(here, tool + " is not installed");
    }
  }

  private static String run(Path where, String... command) throws IOException {
    Path said = Files.createTempFile("said", "");
    try {
      // Not a pipe: a container would keep it open.
      Process process =
          new ProcessBuilder(command)
              .directory(where.toFile())
              .redirectInput(Path.of("/dev/null").toFile())
              .redirectErrorStream(true)
              .redirectOutput(said.toFile())
              .start();
      assertThat(process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).isTrue();
      String text = Files.readString(said).strip();
      assertThat(process.exitValue()).as(String.join(" ", command) + ": " + text).isZero();
      return text;
    } catch (InterruptedException e) {
      throw new IOException("interrupted", e);
    } finally {
      Files.delete(said);
    }
  }

  /// runc makes the container, up to where its program would begin.
  private void isTakenByRunc(Bundle bundle) throws IOException {
    requireTools("runc", "ip");
    Path home = Files.createDirectories(folder.resolve("home"));
    run(folder, "cp", "-a", bundle.root().toString(), home.resolve("rootfs").toString());
    run(folder, "ip", "netns", "add", NAME);
    try {
      Files.write(
          home.resolve("config.json"), bundle.configuration(NAME, "/run/netns/" + NAME, List.of()));
      Path state = folder.resolve("runc");
      try {
        run(home, "runc", "--root", state.toString(), "create", "--bundle", home.toString(), NAME);
        assertThat(run(home, "runc", "--root", state.toString(), "state", NAME))
            .contains("\"status\": \"created\"");
      } finally {
        run(home, "runc", "--root", state.toString(), "delete", "--force", NAME);
      }
    } finally {
      run(folder, "ip", "netns", "del", NAME);
    }
  }

  private static void addProgram(Path root, String name) throws IOException {
    Path program = Files.createDirectories(root).resolve(name);
    Files.writeString(program, "#!/bin/sh\n");
    assertThat(program.toFile().setExecutable(true, false)).isTrue();
  }

  private static final String WITHOUT_TERMINAL = "process.terminal: it runs without a terminal.";

  @Test
  void aBundleLikeUmocisIsTakenByRunc() throws IOException {
    Path made = Files.createDirectories(folder.resolve("web1"));
    addProgram(made.resolve("rootfs/bin"), "app");
    Files.writeString(made.resolve("config.json"), UMOCI);
    Bundle bundle = Bundle.read(made);
    assertThat(bundle.remarks()).containsExactly(WITHOUT_TERMINAL);
    isTakenByRunc(bundle);
  }

  @Test
  void whateverAContainerMayHaveIsTakenByRunc() throws IOException {
    Path made = Files.createDirectories(folder.resolve("full"));
    addProgram(made.resolve("rootfs/bin"), "app");
    Files.createDirectories(made.resolve("rootfs/srv"));
    // What depends on the host and its processors.
    String config =
        BundleTest.FULL
            .replace("\"cpus\": \"0-1,3\"", "\"cpus\": \"0\"")
            .replace("\"oomScoreAdj\": -17", "\"oomScoreAdj\": 17")
            .replace("\"hard\": 18446744073709551615", "\"hard\": 1024")
            .replace(
                "\"limit\": 1048576, \"reservation\": 4096, \"swap\": 2097152",
                "\"limit\": 67108864")
            .replace("SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 38", "SCMP_ACT_ALLOW\"");
    Files.writeString(made.resolve("config.json"), config);
    isTakenByRunc(Bundle.read(made));
  }

  @Test
  void runcsOwnBundleRunsAsItComes() throws IOException {
    requireTools("runc");
    Path made = Files.createDirectories(folder.resolve("job1"));
    addProgram(made.resolve("rootfs/bin"), "sh");
    run(made, "runc", "spec");
    Bundle bundle = Bundle.read(made);
    assertThat(bundle.remarks()).containsExactly(WITHOUT_TERMINAL);
    isTakenByRunc(bundle);
    Files.delete(made.resolve("config.json"));
    run(made, "runc", "spec", "--rootless");
    assertThatThrownBy(() -> Bundle.read(made))
        .hasMessageContaining("/sys is of type 'none'")
        .hasMessageContaining("a user namespace cannot move");
  }

  /// An image with one program, a volume and a label; tags `one` and `two`.
  private Path image() throws IOException {
    requireTools("umoci", "skopeo");
    addProgram(folder.resolve("layer"), "app");
    run(folder, "umoci", "init", "--layout", "oci");
    run(folder, "umoci", "new", "--image", "oci:one");
    run(folder, "umoci", "insert", "--image", "oci:one", "layer/app", "/bin/app");
    run(
        folder,
        "umoci",
        "config",
        "--image",
        "oci:one",
        "--config.cmd",
        "/bin/app",
        "--config.volume",
        "/data",
        "--config.label",
        "made=here");
    run(folder, "umoci", "tag", "--image", "oci:one", "two");
    return folder.resolve("oci");
  }

  @Test
  void umocisBundleRunsAsItComes() throws IOException {
    image();
    run(folder, "umoci", "unpack", "--image", "oci:one", "web1");
    Bundle bundle = Bundle.read(folder.resolve("web1"));
    assertThat(bundle.remarks()).containsExactly(WITHOUT_TERMINAL);
    isTakenByRunc(bundle);
  }

  /// With a name that no program could be given as it is.
  @Test
  void imagesComeFromALayoutAndFromArchives() throws IOException {
    Path layout = image();
    run(folder, "skopeo", "copy", "oci:oci:one", "oci-archive:a.tar:x");
    run(folder, "skopeo", "copy", "oci:oci:one", "docker-archive:b.tar:app:7");
    run(folder, "mv", "a.tar", "./-a:1,.tar");
    assertUnpacked(Path.of(layout + ":two"));
    assertUnpacked(folder.resolve("-a:1,.tar"));
    assertUnpacked(folder.resolve("-a:1,.tar:x"));
    assertUnpacked(folder.resolve("b.tar"));
    assertUnpacked(folder.resolve("b.tar:app:7"));
    try (UnpackedImage image = open(Path.of(layout + ":one"))) {
      isTakenByRunc(image.unpack());
    }
  }

  private UnpackedImage open(Path image) {
    return new UnpackedImage(image, folder.resolve("private"), Progress.NONE);
  }

  private void assertUnpacked(Path image) throws IOException {
    Path root;
    try (UnpackedImage unpacked = open(image)) {
      root = unpacked.unpack().root();
      assertThat(root.resolve("bin/app")).as(image.toString()).isExecutable();
      assertThat(Files.getPosixFilePermissions(root.resolve("../..").normalize()))
          .hasToString("[OWNER_READ, OWNER_WRITE, OWNER_EXECUTE]");
    }
    assertNothingIsLeft();
  }

  private void assertNothingIsLeft() throws IOException {
    try (Stream<Path> left = Files.list(folder.resolve("private"))) {
      assertThat(left).isEmpty();
    }
  }

  @Test
  void whatIsNoImageIsRefusedAndNothingIsLeft() throws IOException {
    Path layout = image();
    run(folder, "skopeo", "copy", "oci:oci:one", "docker-archive:b.tar:app:7");
    Files.writeString(folder.resolve("text.tar"), "no archive");
    Files.createDirectories(folder.resolve("empty"));
    assertRefused(folder.resolve("nowhere"), "there is no such file");
    assertRefused(Path.of(layout + ":three"), "three");
    assertRefused(Path.of(layout + ":--all"), "'--all' is not a tag");
    assertRefused(folder.resolve("b.tar:app:8"), "app:8");
    assertRefused(folder.resolve("text.tar"), "skopeo says");
    assertRefused(folder.resolve("empty"), "skopeo says");
    assertNothingIsLeft();
  }

  private void assertRefused(Path image, String why) {
    try (UnpackedImage unpacked = open(image)) {
      assertThatThrownBy(unpacked::unpack)
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> {
                assertThat(e.problem()).isEqualTo(Problem.CONTAINER_SPEC);
                assertThat(e.detail()).contains(why);
              });
    }
  }

  /// An image may say where a layer that it lacks is to be had.
  @Test
  void nothingIsFetchedForAnImage() throws IOException {
    Path layout = image();
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      server.setSoTimeout(1);
      Path manifest = manifest(layout);
      String text = Files.readString(manifest);
      String layer = text.replaceFirst("(?s).*\"layers\":.*?\"digest\":\"sha256:(\\w+)\".*", "$1");
      Files.delete(layout.resolve("blobs/sha256").resolve(layer));
      Path changed =
          Files.writeString(
              folder.resolve("changed"),
              text.replaceFirst(
                  "(\"digest\":\"sha256:" + layer + "\")",
                  "$1,\"urls\":[\"http://127.0.0.1:" + server.getLocalPort() + "/layer\"]"));
      String digest = run(folder, "sha256sum", changed.toString()).split(" ")[0];
      Files.move(changed, layout.resolve("blobs/sha256").resolve(digest));
      Path index = layout.resolve("index.json");
      Files.writeString(
          index,
          Files.readString(index)
              .replace(String.valueOf(manifest.getFileName()), digest)
              .replaceAll(
                  "\"size\":[0-9]+",
                  "\"size\":" + Files.size(layout.resolve("blobs/sha256").resolve(digest))));
      assertRefused(Path.of(layout + ":one"), " says: ");
      assertThatThrownBy(server::accept).isInstanceOf(SocketTimeoutException.class);
    }
    assertNothingIsLeft();
  }

  private static Path manifest(Path layout) throws IOException {
    String digest =
        Files.readString(layout.resolve("index.json"))
            .replaceFirst("(?s).*\"digest\":\"sha256:(\\w+)\".*", "$1");
    return layout.resolve("blobs/sha256").resolve(digest);
  }

  @Test
  void aProgramThatIsMissingIsNamedWithItsPackage() throws IOException {
    Files.createFile(folder.resolve("skopeo"));
    List<String> paths = new ArrayList<>(List.of("", folder.toString(), folder + ":/nowhere"));
    for (String path : paths) {
      assertThatThrownBy(() -> UnpackedImage.requireInstalled("skopeo", path))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> {
                assertThat(e.problem()).isEqualTo(Problem.HOST_MISSING);
                assertThat(e.detail()).contains("install the package skopeo");
              });
    }
    assertThat(folder.resolve("skopeo").toFile().setExecutable(true)).isTrue();
    UnpackedImage.requireInstalled("skopeo", "/nowhere:" + folder);
  }

  @Test
  void whatAKilledDaemonHasLeftIsRemoved() throws IOException {
    Path left = folder.resolve("private");
    UnpackedImage.removeAbandoned(left);
    Files.createDirectories(left.resolve("image-1/bundle/rootfs"));
    UnpackedImage.removeAbandoned(left);
    assertThat(left).doesNotExist();
  }
}
