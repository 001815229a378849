package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Check;
import java.util.List;
import org.junit.jupiter.api.Test;

/// Cards whose packets the kernel moves.
class VhostNetTest {
  private static final List<String> BOTH =
      List.of(
          "-netdev",
          "tap,id=a,fds=13:14,vhost=on,poll-us=5",
          "-netdev",
          "tap,id=b,fd=15,vhost=on,vhostforce=on",
          "-append",
          "vhost=on");

  @Test
  void aHostWithoutVhostRunsWhoeverDoesNotInsist() {
    AdoptedWords words = new AdoptedWords(BOTH);
    assertThat(words.vhost()).hasValueSatisfying(vhost -> assertThat(vhost.forced()).isTrue());
    assertThat(words.withoutVhost().words())
        .containsExactly(
            "-netdev",
            "type=tap,id=a,fds=13:14",
            "-netdev",
            "tap,id=b,fd=15,vhost=on,vhostforce=on",
            "-append",
            "vhost=on");
    assertThat(new AdoptedWords(List.of("-netdev", "tap,id=a,fd=13")).vhost()).isEmpty();
    assertThat(new AdoptedWords(BOTH.subList(0, 2)).vhost())
        .hasValueSatisfying(vhost -> assertThat(vhost.forced()).isFalse());
  }

  @Test
  void thePlanSaysWhetherItIsThere() {
    assertThat(new VhostNet(true).check(true).verdict()).isEqualTo(Check.Verdict.PASS);
    assertThat(new VhostNet(true).check(false))
        .satisfies(check -> {
          assertThat(check.failed()).isTrue();
          assertThat(check.sentences()).contains("vhostforce=on", "vhost_net");
        });
    assertThat(new VhostNet(false).check(false))
        .satisfies(check -> {
          assertThat(check.failed()).isFalse();
          assertThat(check.sentences()).contains("moves the packets", "vhost_net");
        });
  }
}
