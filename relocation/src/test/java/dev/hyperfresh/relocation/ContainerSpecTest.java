package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ContainerSpecTest {
  private static ContainerSpec spec(String name, ContainerSpec.Network network) {
    return new ContainerSpec(name, Path.of("/srv/web1"), Optional.of(network));
  }

  private static ContainerSpec.Network network(String address, String gateway) {
    return new ContainerSpec.Network(
        address, Optional.of(gateway).filter(g -> !g.isEmpty()), Optional.empty());
  }

  private static ContainerSpec.Network network6(String address, String gateway, String... dns) {
    return new ContainerSpec.Network(
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        Optional.of(address),
        Optional.of(gateway).filter(g -> !g.isEmpty()),
        List.of(dns));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "10.0.0.5",
        "10.0.0/24",
        "10.0.0.256/24",
        "10.0.0.5/33",
        "a",
        "::1/64",
        "fd00::5/64",
        "10.0.0.5/24/24",
        "10.0.0.5/-1",
        "127.0.0.1/8",
        "0.0.0.0/0",
        "224.0.0.1/24",
        "localhost/24"
      })
  void anAddressIsOneOfIpv4(String address) {
    assertThat(spec("c1", network(address, "")).faults())
        .singleElement()
        .asString()
        .startsWith("address: ");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "fd00::5",
        "fd00::5/129",
        "fd00:::5/64",
        "10.0.0.5/24",
        "::1/128",
        "::/0",
        "ff02::1/64",
        "fe80::1%eth0/64",
        "[fd00::5]/64",
        "::ffff:10.0.0.5/96",
        "cafe/64",
        "fd00::5/64;reboot"
      })
  void anAddressOfIpv6IsOne(String address) {
    assertThat(spec("c1", network6(address, "")).faults())
        .singleElement()
        .asString()
        .startsWith("address6: ");
  }

  @Test
  void aSpecIsLookedAtAsAWhole() {
    assertThat(spec("c1", network("10.0.0.5/24", "10.0.0.1")).faults()).isEmpty();
    assertThat(spec("c1", network6("FD00::5/64", "fe80::1", "10.0.0.1", "fd00::1")).faults())
        .isEmpty();
    assertThat(spec("1;x", network("10.0.0.5/24", "nowhere")).faults()).hasSize(2);
    assertThat(spec("c1", ContainerSpec.Network.NONE).faults())
        .containsExactly("address: none is given");
    assertThat(
            spec("c1", network6("fd00::5/64", "10.0.0.1", "here", "1.1.1.1", "::2", "::3"))
                .faults())
        .containsExactly(
            "gateway6: '10.0.0.1' is not an IPv6 address",
            "dns: there are more than 3",
            "dns: 'here' is not an address");
    ContainerSpec.Network strange =
        new ContainerSpec.Network(
            Optional.empty(),
            Optional.of("10.0.0.1"),
            Optional.of("br 0"),
            Optional.of("fd00::5/64"),
            Optional.empty(),
            List.of());
    assertThat(spec("c1", strange).faults()).hasSize(2);
    assertThat(spec("c1", network("10.0.0.5/24", "")).mac()).matches("52:54:00(:[0-9a-f]{2}){3}");
    assertThat(spec("c1", network("10.0.0.5/24", "")).port().getBytes(StandardCharsets.UTF_8))
        .hasSizeLessThan(16);
  }

  @Test
  void routesFollowFromTheAddresses() {
    assertThat(network("10.0.7.5/22", "10.0.4.1").routes())
        .containsExactly("10.0.4.0/22 dev eth0", "default via 10.0.4.1 dev eth0");
    assertThat(network6("fd00:1:2:3:4::5/64", "").routes())
        .containsExactly("fd00:1:2:3::/64 dev eth0");
    assertThat(network6("fd00::5/128", "").routes())
        .containsExactly("fd00:0:0:0:0:0:0:5/128 dev eth0");
  }
}
