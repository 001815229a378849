package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.TapFlows.FLOWS;
import static dev.hyperfresh.linux.TapFlows.NOW;
import static dev.hyperfresh.linux.TapFlows.drain;
import static dev.hyperfresh.linux.TapFlows.received;
import static dev.hyperfresh.linux.TapFlows.sendFlows;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.DatagramChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;

/// A real macvtap on one end of a cable, from whose other end packets come.
@Timeout(30)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class MacVtapTest {
  private static final String NAME = "hfmv0";

  // linux/if_tun.h
  private static final long TUNGETVNETHDRSZ = 0x800454d7L;
  private static final long TUNSETVNETHDRSZ = 0x400454d8L;

  /// Of the first macvtap: its number is the name of a device of the whole host.
  private static final int INDEX = 100_000 + (int) (ProcessHandle.current().pid() % 50_000) * 2;

  private TestNamespace namespace;

  @BeforeAll
  void makeCable() {
    namespace = TestNamespace.create("macvtap");
    try {
      namespace.ip("link", "add", "hfcab0", "type", "veth", "peer", "name", "hfcab1");
      makeMacvtap(NAME, INDEX);
    } catch (AssertionError refused) {
      Here.require(false, "no macvtap can be made: " + refused.getMessage());
    }
    namespace.ip("link", "set", NAME, "address", "02:00:00:00:00:02");
    for (String link : new String[] {"hfcab0", "hfcab1", NAME}) {
      namespace.ip("link", "set", link, "up");
    }
    namespace.ip("addr", "add", "10.77.0.1/24", "dev", "hfcab1");
    namespace.ip("neigh", "add", "10.77.0.2", "lladdr", "02:00:00:00:00:02", "dev", "hfcab1");
    Here.require(Files.exists(Path.of("/dev/tap" + INDEX)), "there is no device of a macvtap");
  }

  private void makeMacvtap(String name, int index) {
    String number = Integer.toString(index);
    namespace.ip("link", "add", "link", "hfcab0", "name", name, "index", number, "type", "macvtap");
  }

  @AfterAll
  void dropNamespace() {
    if (namespace != null) {
      namespace.close();
    }
  }

  private MacVtap port() {
    return namespace.within(() -> MacVtap.of(NAME));
  }

  @Test
  void everyPacketGoesToWhoeverRunsTheGuest() throws Exception {
    try (MacVtap port = port();
        DatagramChannel sender = TapFlows.sender(namespace)) {
      for (int round = 0; round < 3; round++) {
        Fd old = port.queue();
        Fd spare = port.spare();
        expectFlows(sender, old, spare);
        port.switchToSpare();
        expectFlows(sender, spare, old);
        port.switchBack();
        expectFlows(sender, old, spare);
        port.switchToSpare();
        port.keepSpare();

        assertThat(port.queue()).isSameAs(spare);
        assertThat(old.isOpen()).isFalse();
        drain(spare);
        sendFlows(sender);
        assertThat(received(spare)).isEqualTo(FLOWS);
      }
    }
  }

  /// What came before the switch is the old hypervisor's, which takes it until its guest stands.
  @Test
  void whatCameBeforeTheSwitchCanStillBeTaken() throws Exception {
    try (MacVtap port = port();
        DatagramChannel sender = TapFlows.sender(namespace)) {
      port.spare();
      drain(port.queue());
      sendFlows(sender);
      port.switchToSpare();
      assertThat(received(port.queue())).isEqualTo(FLOWS);
    }
  }

  @Test
  void aSpareThatIsDroppedLeavesThePortAsItWas() throws Exception {
    try (MacVtap port = port();
        DatagramChannel sender = TapFlows.sender(namespace)) {
      Fd spare = port.spare();
      assertThatThrownBy(port::spare).isInstanceOf(IllegalStateException.class);
      port.switchBack();
      port.dropSpare();
      assertThat(spare.isOpen()).isFalse();
      drain(port.queue());
      sendFlows(sender);
      assertThat(received(port.queue())).isEqualTo(FLOWS);
      port.spare();
    }
  }

  @Test
  void settingUpASpareLeavesTheHeadersAlone() {
    try (MacVtap port = port()) {
      headerLength(port.queue(), TUNSETVNETHDRSZ, 12);
      headerLength(port.spare(), TUNSETVNETHDRSZ, 10);
      assertThat(headerLength(port.queue(), TUNGETVNETHDRSZ, 0)).isEqualTo(12);
    }
  }

  /// A daemon may have died after it had detached the queue.
  @Test
  void theQueueOfASurvivorGetsThePackets() throws Exception {
    Fd survivor;
    try (MacVtap first = port()) {
      survivor = first.queue().duplicate();
      first.spare();
      first.switchToSpare();
    }
    try (MacVtap port = MacVtap.adopt(survivor, NAME);
        MacVtap again = MacVtap.adopt(survivor.duplicate(), NAME);
        DatagramChannel sender = TapFlows.sender(namespace)) {
      assertThat(again.name()).isEqualTo(NAME);
      drain(port.queue());
      sendFlows(sender);
      assertThat(received(port.queue())).isEqualTo(FLOWS);
    }
  }

  @Test
  void aMacvtapIsToldFromOtherFiles() {
    try (MacVtap port = port();
        Fd noTap = Fd.open(Path.of("/dev/null"), OpenFlags.READ_WRITE)) {
      assertThat(namespace.<String>within(() -> MacVtap.name(port.queue()))).isEqualTo(NAME);
      assertThat(port.address()).isEqualTo("02:00:00:00:00:02");
      assertThat(MacVtap.isOne(Path.of("/dev/null"))).isFalse();
      assertThat(MacVtap.isOne(Path.of("/etc/passwd"))).isFalse();
      assertThat(MacVtap.isOne(Path.of("/no/file"))).isFalse();
      assertThatThrownBy(() -> MacVtap.adopt(noTap, NAME))
          .isInstanceOf(LinuxException.class)
          .hasMessageContaining("no queue of a macvtap");
      assertThatThrownBy(() -> MacVtap.adopt(port.queue(), "hfmv1"))
          .isInstanceOf(LinuxException.class)
          .hasMessageContaining("a queue of hfmv0 and not of hfmv1");
      assertThatThrownBy(() -> namespace.within(() -> MacVtap.of("hfmv1")))
          .isInstanceOf(LinuxException.class)
          .hasMessageContaining("ENODEV");
      assertThatThrownBy(() -> namespace.within(() -> MacVtap.of("hfcab1")))
          .isInstanceOf(LinuxException.class);
    }
  }

  @Test
  void aMacvtapOfAnotherNamespaceIsNotOneOfHere() {
    try (MacVtap port = port();
        TestNamespace other = TestNamespace.create("macvtap-other")) {
      for (int attempt = 0; attempt < 2; attempt++) {
        assertThatThrownBy(() -> other.within(() -> MacVtap.name(port.queue())))
            .isInstanceOf(LinuxException.class)
            .hasMessageContaining("in another network namespace: EXDEV");
        // Now there is one of that name.
        if (attempt == 0) {
          other.ip("link", "add", NAME, "type", "veth");
        }
      }
    }
  }

  @Test
  void aMacvtapThatIsGoneTakesNoQueue() {
    makeMacvtap("hfmv2", INDEX + 1);
    try (MacVtap port = namespace.within(() -> MacVtap.of("hfmv2"))) {
      assertThat(port.refusesQueues()).isEmpty();
      namespace.ip("link", "del", "hfmv2");
      assertThat(port.refusesQueues())
          .hasValueSatisfying(why -> assertThat(why).contains("hfmv2 is no device any more"));
      assertThatThrownBy(port::spare).isInstanceOf(LinuxException.class);
    }
  }

  private static void expectFlows(DatagramChannel sender, Fd active, Fd idle) throws IOException {
    drain(active);
    drain(idle);
    sendFlows(sender);
    assertThat(received(active)).isEqualTo(FLOWS);
    assertThat(idle.pollReadable(NOW)).as("idle queue").isFalse();
  }

  private static int headerLength(Fd queue, long request, int bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment value = arena.allocateFrom(ValueLayout.JAVA_INT, bytes);
      assertThat(DeviceCalls.ioctl(queue.number(), request, value)).isZero();
      return value.get(ValueLayout.JAVA_INT, 0);
    }
  }
}
