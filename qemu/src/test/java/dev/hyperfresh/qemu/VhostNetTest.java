package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Card;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
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
  void aGuestOfAHostWithoutItIsRefusedWithWhatToDo() {
    assertThat(VhostNet.check(with(Card.PLAIN), () -> false)).isEmpty();
    Card vhost = new Card(Card.Model.VIRTIO, OptionalInt.empty(), 1, true);
    assertThat(VhostNet.check(with(vhost), () -> true))
        .hasValueSatisfying(check -> assertThat(check.failed()).isFalse());
    assertThat(VhostNet.check(with(vhost), () -> false))
        .hasValueSatisfying(check -> {
          assertThat(check.failed()).isTrue();
          assertThat(check.sentences())
              .contains("this host has no /dev/vhost-net", "vhost_net", "leave vhost out");
        });
    assertThat(VhostNet.isUsable(FileUser.SELF))
        .isEqualTo(Files.exists(Path.of("/dev/vhost-net")) && Host.effectiveUid() == 0);
  }

  @Test
  void oneIsOpenedForEachQueueThatAsksForIt() {
    Map<Integer, Fd> opened = new HashMap<>();
    VhostNet.openInto(opened, with(Card.PLAIN));
    assertThat(opened).isEmpty();
    GuestSpec vhost = with(new Card(Card.Model.VIRTIO, OptionalInt.empty(), 2, true));
    if (VhostNet.isUsable(FileUser.SELF)) {
      VhostNet.openInto(opened, vhost);
      assertThat(opened).containsOnlyKeys(701, 702);
      opened.values().forEach(Fd::close);
    } else {
      assertThatThrownBy(() -> VhostNet.openInto(opened, vhost))
          .isInstanceOf(LinuxException.class)
          .hasMessageContaining("/dev/vhost-net");
      assertThat(opened).isEmpty();
    }
  }

  /// The second card of a guest.
  private static GuestSpec with(Card card) {
    return new GuestSpec(
        "web1",
        1,
        64L << 20,
        "pc-q35-7.2",
        "qemu64",
        GuestSpec.AcceleratorWish.TCG,
        Optional.empty(),
        List.of(),
        List.of(
            new GuestSpec.Nic("tap0", Optional.empty(), "52:54:00:00:00:01"),
            new GuestSpec.Nic(
                "tap1", Optional.empty(), "52:54:00:00:00:02", card, Optional.empty())));
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
