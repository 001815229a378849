package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ContainerNode;
import tools.jackson.databind.node.ObjectNode;

/// A bundle's configuration, changed at random: it is refused in the words of the catalogue, or
/// what runc gets has nothing that no container may have.
class ConfigFuzzTest {
  private static final int MUTANTS = 3000;
  private static final JsonMapper JSON = JsonMapper.builder().build();

  /// Every field that may be written; elements of lists and entries of maps are `*`.
  private static final Set<String> ALLOWED =
      Set.of(
          """
          ociVersion hostname root root.path root.readonly
          process process.terminal process.args process.args.* process.env process.env.* process.cwd
          process.noNewPrivileges process.oomScoreAdj
          process.user process.user.uid process.user.gid process.user.umask
          process.user.additionalGids process.user.additionalGids.*
          process.capabilities
          process.capabilities.bounding process.capabilities.bounding.*
          process.capabilities.effective process.capabilities.effective.*
          process.capabilities.inheritable process.capabilities.inheritable.*
          process.capabilities.permitted process.capabilities.permitted.*
          process.capabilities.ambient process.capabilities.ambient.*
          process.rlimits process.rlimits.* process.rlimits.*.type process.rlimits.*.hard
          process.rlimits.*.soft
          mounts mounts.* mounts.*.destination mounts.*.type mounts.*.source mounts.*.options
          mounts.*.options.*
          annotations annotations.*
          linux linux.cgroupsPath
          linux.namespaces linux.namespaces.* linux.namespaces.*.type linux.namespaces.*.path
          linux.resources linux.resources.devices linux.resources.devices.*
          linux.resources.devices.*.allow linux.resources.devices.*.access
          linux.resources.memory linux.resources.memory.limit linux.resources.memory.reservation
          linux.resources.memory.swap
          linux.resources.cpu linux.resources.cpu.shares linux.resources.cpu.quota
          linux.resources.cpu.period linux.resources.cpu.cpus
          linux.resources.pids linux.resources.pids.limit
          linux.maskedPaths linux.maskedPaths.* linux.readonlyPaths linux.readonlyPaths.*
          linux.sysctl linux.sysctl.*
          linux.seccomp linux.seccomp.defaultAction linux.seccomp.defaultErrnoRet
          linux.seccomp.architectures linux.seccomp.architectures.*
          linux.seccomp.syscalls linux.seccomp.syscalls.* linux.seccomp.syscalls.*.names
          linux.seccomp.syscalls.*.names.* linux.seccomp.syscalls.*.action
          linux.seccomp.syscalls.*.errnoRet linux.seccomp.syscalls.*.args
          linux.seccomp.syscalls.*.args.* linux.seccomp.syscalls.*.args.*.index
          linux.seccomp.syscalls.*.args.*.value linux.seccomp.syscalls.*.args.*.valueTwo
          linux.seccomp.syscalls.*.args.*.op\
          """
              .strip()
              .split("\\s+"));

  private static final List<String> NAMES =
      List.of(
          "hooks",
          "Hooks",
          "devices",
          "type",
          "path",
          "source",
          "options",
          "terminal",
          "process",
          "linux",
          "mounts",
          "allow",
          "unified",
          "uidMappings",
          "listenerPath",
          "seccomp",
          "root",
          "propagation",
          "é",
          "\ud800",
          "",
          "a\u0000b");

  private static final List<String> VALUES =
      List.of(
          "null",
          "true",
          "false",
          "0",
          "-1",
          "1e9",
          "1.5",
          "99999999999999999999999",
          "\"\"",
          "[]",
          "{}",
          "[[]]",
          "\"bind\"",
          "\"rbind\"",
          "\"tmpfs\"",
          "\"..\"",
          "\"/..\"",
          "\"/\"",
          "\"out\"",
          "\"out/etc\"",
          "\"in\"",
          "\"\\ud800\"",
          "\"a\\u0000b\"",
          "\"user\"",
          "\"size=9999999999999999g\"",
          "\"size=100%\"",
          "\"size=200%\"",
          "\"rw\"",
          "\"shared\"",
          "\"CAP_SYS_ADMIN\"",
          "\"SCMP_ACT_NOTIFY\"",
          "\"kernel.core_pattern\"",
          "[{\"allow\":true,\"access\":\"rwm\"}]",
          "[{\"path\":\"/dev/kvm\"}]",
          "{\"destination\":\"/d\",\"type\":\"bind\",\"source\":\"/\",\"options\":[\"rbind\"]}",
          "{\"prestart\":[{\"path\":\"/bin/sh\"}]}");

  private static final Set<String> MOUNTS =
      Set.of("proc", "sysfs", "tmpfs", "mqueue", "devpts", "cgroup", "cgroup2");

  private static final Pattern ESCAPE = Pattern.compile("(^|/)\\.\\.(/|$)");

  @TempDir Path folder;

  private final Random random = new Random(20_261_129);

  @Test
  void aMutantIsRefusedOrHasOnlyWhatAContainerMayHave() throws IOException {
    Files.createDirectories(folder.resolve("rootfs"));
    Files.createSymbolicLink(folder.resolve("out"), Path.of("/usr"));
    Files.createSymbolicLink(folder.resolve("in"), Path.of("rootfs"));
    int taken = 0;
    for (int i = 0; i < MUTANTS; i++) {
      byte[] mutant = i % 3 == 0 ? damaged() : changed();
      Files.write(folder.resolve("config.json"), mutant);
      taken += isTaken(mutant) ? 1 : 0;
    }
    Files.delete(folder.resolve("out"));
    // Else nothing was looked at, or nothing refused.
    assertThat(taken).isBetween(MUTANTS / 20, MUTANTS * 19 / 20);
  }

  private boolean isTaken(byte[] mutant) {
    String text = new String(mutant, StandardCharsets.UTF_8);
    Bundle bundle;
    try {
      bundle = Bundle.read(folder);
    } catch (HyperFreshException e) {
      assertThat(e.problem()).as(text).isEqualTo(Problem.CONTAINER_SPEC);
      assertThat(e.detail()).as(text).hasSizeLessThan(6000).doesNotContainPattern("[\\x00-\\x1f]");
      return false;
    }
    JsonNode made = JSON.readTree(bundle.configuration("web1", "/run/netns/web1", List.of()));
    assertThat(bundle.root()).as(text).isEqualTo(real(folder).resolve("rootfs"));
    assertThat(paths("", made)).as(text).isSubsetOf(ALLOWED);
    assertThat(made.path("root").path("path").asString()).isEqualTo("rootfs");
    assertThat(made.path("process").path("terminal").asBoolean()).isFalse();
    assertThat(made.at("/linux/resources/devices").toString())
        .as(text)
        .isEqualTo("[{\"allow\":false,\"access\":\"rwm\"}]");
    assertThat(made.at("/linux/namespaces").toString())
        .as(text)
        .doesNotContain("user", "time")
        .containsOnlyOnce("\"path\"");
    for (JsonNode mount : made.path("mounts")) {
      assertThat(mount.path("type").asString()).as(text).isIn(MOUNTS);
      assertThat(mount.path("source")).as(text).isEqualTo(mount.path("type"));
      assertThat(mount.path("options").toString())
          .as(text)
          .doesNotContain("bind", "shared", "slave");
      assertThat(ESCAPE.matcher(mount.path("destination").asString()).find()).as(text).isFalse();
    }
    assertThat(made.path("process").path("capabilities").toString())
        .as(text)
        .doesNotContain("CAP_SYS_ADMIN");
    return true;
  }

  private static Path real(Path path) {
    try {
      return path.toRealPath();
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private static Set<String> paths(String prefix, JsonNode node) {
    Set<String> found = new TreeSet<>();
    if (node instanceof ObjectNode object) {
      boolean map = prefix.equals("annotations.") || prefix.equals("linux.sysctl.");
      object.forEachEntry((name, value) -> {
        String path = prefix + (map ? "*" : name);
        found.add(path);
        found.addAll(paths(path + ".", value));
      });
    } else if (node instanceof ArrayNode array) {
      array.forEach(value -> {
        found.add(prefix + "*");
        found.addAll(paths(prefix + "*.", value));
      });
    }
    return found;
  }

  /// Bytes that are another, gone, or there twice.
  private byte[] damaged() {
    byte[] bytes = BundleTest.FULL.getBytes(StandardCharsets.UTF_8);
    int at = random.nextInt(bytes.length);
    int count = 1 + random.nextInt(40);
    return switch (random.nextInt(4)) {
      case 0 -> {
        bytes[at] = (byte) random.nextInt(256);
        yield bytes;
      }
      case 1 ->
          (BundleTest.FULL.substring(0, at)
                  + BundleTest.FULL.substring(Math.min(bytes.length, at + count)))
              .getBytes(StandardCharsets.UTF_8);
      case 2 ->
          (BundleTest.FULL.substring(0, Math.min(bytes.length, at + count))
                  + BundleTest.FULL.substring(at))
              .getBytes(StandardCharsets.UTF_8);
      default ->
          BundleTest.FULL
              .replace("1", String.valueOf(random.nextInt()))
              .getBytes(StandardCharsets.UTF_8);
    };
  }

  /// One or two nodes that are another, gone, called otherwise, or there twice.
  private byte[] changed() {
    JsonNode config = JSON.readTree(BundleTest.FULL);
    for (int i = 0; i <= random.nextInt(2); i++) {
      List<ContainerNode<?>> all = new ArrayList<>();
      collect(config, all);
      switch (all.get(random.nextInt(all.size()))) {
        case ObjectNode object -> change(object);
        case ArrayNode array -> change(array);
        default -> throw new IllegalStateException("neither");
      }
    }
    return text(config).getBytes(StandardCharsets.UTF_8);
  }

  private static void collect(JsonNode node, List<ContainerNode<?>> all) {
    if (node instanceof ContainerNode<?> container) {
      all.add(container);
      container.forEach(child -> collect(child, all));
    }
  }

  private void change(ObjectNode object) {
    List<String> names = List.copyOf(object.propertyNames());
    String name = names.isEmpty() ? "x" : names.get(random.nextInt(names.size()));
    switch (random.nextInt(4)) {
      case 0 -> object.set(name, value());
      case 1 -> object.remove(name);
      case 2 -> object.set(NAMES.get(random.nextInt(NAMES.size())), value());
      default -> {
        JsonNode old = object.path(name).deepCopy();
        object.remove(name);
        object.set(random.nextBoolean() ? name.toUpperCase(Locale.ROOT) : name + "x", old);
      }
    }
  }

  private void change(ArrayNode array) {
    int at = random.nextInt(array.size() + 1);
    if (at == array.size()) {
      array.add(value());
    } else if (random.nextBoolean()) {
      array.set(at, value());
    } else {
      array.add(array.get(at).deepCopy());
    }
  }

  private JsonNode value() {
    return JSON.readTree(VALUES.get(random.nextInt(VALUES.size())));
  }

  /// The library does not write halves of characters, but others may.
  private static String text(JsonNode node) {
    return node.isObject()
        ? node.properties().stream()
            .map(entry -> quoted(entry.getKey()) + ":" + text(entry.getValue()))
            .collect(Collectors.joining(",", "{", "}"))
        : node.isArray()
            ? node.valueStream()
                .map(ConfigFuzzTest::text)
                .collect(Collectors.joining(",", "[", "]"))
            : node.isString() ? quoted(node.asString()) : node.toString();
  }

  private static String quoted(String text) {
    return text.chars()
        .mapToObj(c ->
            String.format(
                Locale.ROOT, c < ' ' || c > '~' || c == '"' || c == '\\' ? "\\u%04x" : "%c", c))
        .collect(Collectors.joining("", "\"", "\""));
  }
}
