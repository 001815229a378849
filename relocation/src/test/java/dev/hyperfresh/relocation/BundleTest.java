package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class BundleTest {
  private static final JsonMapper JSON = JsonMapper.builder().build();

  @TempDir Path folder;

  private Bundle bundle(String config) throws IOException {
    Files.createDirectories(folder.resolve("rootfs"));
    Files.writeString(folder.resolve("config.json"), config);
    return Bundle.read(folder);
  }

  @Test
  void theContainersPlaceIsTheOs() throws IOException {
    Bundle bundle =
        bundle(
            """
            {"process": {"args": ["/bin/app"], "env": ["A=b"]},
             "linux": {"resources": {"memory": {"limit": 1000}},
                       "namespaces": [{"type": "pid"}, {"type": "network"}]}}\
            """);
    JsonNode made = JSON.readTree(bundle.configuration("web1", "/run/netns/web1"));
    assertThat(made.path("root").path("path").asString()).isEqualTo("rootfs");
    assertThat(made.path("hostname").asString()).isEqualTo("web1");
    assertThat(made.path("process").path("env").get(0).asString()).isEqualTo("A=b");
    assertThat(made.path("linux").path("cgroupsPath").asString()).isEqualTo("/web1");
    assertThat(made.path("linux").path("resources").path("memory").path("limit").asInt())
        .isEqualTo(1000);
    assertThat(made.path("linux").path("namespaces").valueStream())
        .anySatisfy(space -> {
          assertThat(space.path("type").asString()).isEqualTo("network");
          assertThat(space.path("path").asString()).isEqualTo("/run/netns/web1");
        });
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          {"process":{"args":[]}}                                             | no program
          {"process":{"args":["a"],"terminal":true}}                          | terminal
          {"process":{"args":["a"]},"hooks":{"prestart":[{"path":"/x"}]}}     | hooks
          {"process":{"args":["a"]},"linux":{"devices":[{"path":"/dev/kvm"}]}} | device
          {"process":{"args":["a"]},"mounts":[{"destination":"/d","type":"bind"}]} | not every OS
          {"process":{"args":["a"]},"linux":{"namespaces":[{"type":"user"}]}} | user namespace
          {"process":{"args":["a"]},"root":{"path":"nowhere"}}                | no folder
          []                                                                  | no JSON object
          {                                                                   | cannot be read
          """)
  void whatCouldNotMoveIsRefused(String config, String why) {
    assertThatThrownBy(() -> bundle(config))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.CONTAINER_SPEC))
        .hasMessageContaining(why);
  }

  @Test
  void aHugeConfigurationIsNotRead() {
    assertThatThrownBy(() -> bundle(" ".repeat(2 << 20))).hasMessageContaining("larger");
  }

  @ParameterizedTest
  @ValueSource(strings = {"10.0.0.5", "10.0.0/24", "10.0.0.256/24", "10.0.0.5/33", "a", "::1/64"})
  void anAddressIsOneOfIpv4(String address) {
    assertThat(spec("c1", address, "").faults()).singleElement().asString().contains("address");
  }

  @Test
  void aSpecIsLookedAtAsAWhole() {
    assertThat(spec("c1", "10.0.0.5/24", "10.0.0.1").faults()).isEmpty();
    assertThat(spec("1;x", "10.0.0.5/24", "nowhere").faults()).hasSize(2);
    assertThat(spec("c1", "10.0.0.5/24", "").mac()).matches("52:54:00(:[0-9a-f]{2}){3}");
    assertThat(spec("c1", "10.0.0.5/24", "").port().getBytes(StandardCharsets.UTF_8))
        .hasSizeLessThan(16);
  }

  private ContainerSpec spec(String name, String address, String gateway) {
    return new ContainerSpec(
        name,
        folder,
        Optional.of(
            new ContainerSpec.Network(
                address, Optional.of(gateway).filter(g -> !g.isEmpty()), Optional.empty())));
  }
}
