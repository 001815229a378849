package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.TapFlows.FLOWS;
import static dev.hyperfresh.linux.TapFlows.NOW;
import static dev.hyperfresh.linux.TapFlows.drain;
import static dev.hyperfresh.linux.TapFlows.received;
import static dev.hyperfresh.linux.TapFlows.sendFlows;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.channels.DatagramChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;

@Timeout(20)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class TapTest {

  private TestNamespace namespace;

  @BeforeAll
  void makeNamespace() {
    Here.requireRoot();
    Here.require(Files.exists(Path.of("/dev/net/tun")), "needs /dev/net/tun");
    namespace = TestNamespace.create("tap");
  }

  @AfterAll
  void dropNamespace() {
    if (namespace != null) {
      namespace.close();
    }
  }

  @Test
  void everyPacketGoesToTheQueueThatWasChosen() throws Exception {
    try (Tap tap = port("hft0");
        DatagramChannel sender = sender()) {
      Here.require(tap.steered(), "the kernel does not allow eBPF");
      for (int round = 0; round < 3; round++) {
        Fd old = tap.queue();
        Fd spare = tap.spare();
        tap.joinSpare();
        expectFlows(sender, old, spare);
        tap.switchToSpare();
        expectFlows(sender, spare, old);
        tap.switchBack();
        expectFlows(sender, old, spare);
        tap.switchToSpare();
        tap.keepSpare();

        assertThat(tap.queue()).isSameAs(spare);
        assertThat(old.isOpen()).isFalse();
        drain(spare);
        sendFlows(sender);
        assertThat(received(spare)).isEqualTo(FLOWS);
      }
    }
  }

  @Test
  void saysWhetherItTakesAnotherQueue() {
    try (Tap tap = port("hft11")) {
      assertThat(tap.refusesQueues()).isEmpty();
      namespace.ip("link", "del", "hft11");
      assertThat(tap.refusesQueues())
          .hasValueSatisfying(
              why -> assertThat(why).contains("hft11 is no device any more", "TUNGETIFF"));
    }
  }

  @Test
  void aPortOfSomebodyElseMayHaveASingleQueue() {
    try (Tap tap = namespace.within(() -> Tap.adopt(List.of(singleQueue("hft12")), "hft12"))) {
      assertThat(tap.refusesQueues()).hasValue("hft12 was made for a single queue");
    }
  }

  private static Fd singleQueue(String name) {
    Fd queue = Fd.open(Path.of("/dev/net/tun"), OpenFlags.READ_WRITE);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = arena.allocate(Layouts.Ifreq.TYPE.bytes(), Long.BYTES);
      Layouts.Ifreq.ifr_name.in(request).setString(0, name);
      Layouts.Ifreq.ifr_flags.set(
          request, Constants.IFF_TAP | Constants.IFF_NO_PI | Constants.IFF_VNET_HDR);
      assertThat(DeviceCalls.ioctl(queue.number(), Constants.TUNSETIFF, request)).isZero();
      return queue;
    }
  }

  private List<String> interfaces() {
    return namespace.ip("-brief", "link").lines().map(line -> line.split(" ", 2)[0]).toList();
  }

  @Test
  void aThrowAwayTapGoesWithItsDescriptor() {
    List<String> before = interfaces();
    try (Fd queue = namespace.within(() -> Tap.throwAway("a rehearsal"))) {
      assertThat(queue.label()).isEqualTo("a rehearsal");
      assertThat(interfaces()).hasSize(before.size() + 1);
    }
    assertThat(interfaces()).isEqualTo(before);
  }

  @Test
  void tellsWhatATapIsAndInWhichBridge() {
    namespace.ip("link", "add", "hfbr10", "type", "bridge");
    try (Tap tap = port("hft10")) {
      assertThat(facts(tap)).isEqualTo(new Tap.Facts("hft10", true, Optional.empty()));
      tap.addToBridge("hfbr10");
      assertThat(facts(tap)).isEqualTo(new Tap.Facts("hft10", true, Optional.of("hfbr10")));
    } finally {
      namespace.ip("link", "del", "hfbr10");
    }
    try (Fd queue = namespace.within(() -> singleQueue("hft13"))) {
      assertThat(namespace.within(() -> Tap.facts(queue)))
          .isEqualTo(new Tap.Facts("hft13", false, Optional.empty()));
    }
  }

  /// Whoever has a network namespace of its own can make a tap of any name there.
  @Test
  void aTapOfAnotherNamespaceIsNotTakenForTheOneOfThatNameHere() {
    namespace.ip("link", "add", "hfbr14", "type", "bridge");
    try (TestNamespace users = TestNamespace.create("tap-user");
        Tap here = port("hft14");
        Tap there = users.within(() -> Tap.create("hft14"))) {
      here.addToBridge("hfbr14");
      List<Fd> theirs = List.of(there.queue());
      for (Supplier<?> attempt :
          List.<Supplier<?>>of(() -> Tap.facts(there.queue()), () -> Tap.adopt(theirs, "hft14"))) {
        assertThatThrownBy(() -> namespace.within(attempt))
            .isInstanceOf(LinuxException.class)
            .hasMessageContaining("in another network namespace: EXDEV");
      }
      assertThat(users.within(() -> Tap.facts(there.queue())).bridge()).isEmpty();
    } finally {
      namespace.ip("link", "del", "hfbr14");
    }
  }

  @Test
  void aQueueOfAnotherTapIsNotAdopted() {
    try (Tap wanted = port("hft15");
        Tap other = port("hft16")) {
      List<Fd> queues = List.of(wanted.queue(), other.queue());
      assertThatThrownBy(() -> namespace.within(() -> Tap.adopt(queues, "hft15")))
          .isInstanceOf(LinuxException.class)
          .hasMessageContaining("a queue of hft16 and not of hft15: ENODEV");
    }
  }

  /// A hypervisor may pass its queue on, and have the interface outlive all queues.
  @Test
  void aPortThatIsGivenUpIsGoneWhoeverHoldsAQueue() {
    Tap tap = port("hft17");
    try (ChildProcess holder =
        ChildProcess.spawn(
            new ChildProcess.Request(
                List.of("sleep", "60"),
                Map.of(),
                Map.of(5, tap.queue()),
                Path.of("/dev/null"),
                true))) {
      try {
        persist(tap.queue());
        tap.spares();
        assertThat(interfaces()).contains("hft17");

        tap.delete();

        assertThat(interfaces()).doesNotContain("hft17").noneMatch(it -> it.startsWith("hfwait"));
      } finally {
        holder.kill();
        holder.waitFor();
      }
    }
  }

  @Test
  void aSpareThatIsDroppedLeavesNoTapOfItsOwn() {
    try (Tap tap = port("hft18");
        Fd passedOn = tap.spare().duplicate();
        Fd rehearsed = namespace.within(() -> Tap.throwAway("a rehearsal"));
        Fd kept = rehearsed.duplicate()) {
      persist(passedOn);
      persist(kept);
      tap.dropSpare();
      namespace.within(() -> {
        Tap.deleteThrowAway(rehearsed);
        return true;
      });

      assertThat(rehearsed.isOpen()).isFalse();
      assertThat(interfaces()).contains("hft18").noneMatch(it -> it.startsWith("hfwait"));
    }
  }

  private static void persist(Fd queue) {
    assertThat(DeviceCalls.ioctl(queue.number(), TUNSETPERSIST, MemorySegment.ofAddress(1)))
        .isZero();
  }

  private Tap.Facts facts(Tap tap) {
    return namespace.within(() -> Tap.facts(tap.queue()));
  }

  @Test
  void packetsBeforeTheSwitchWaitForWhoeverTakesTheQueue() throws Exception {
    try (Tap tap = port("hft9");
        DatagramChannel sender = sender()) {
      Here.require(tap.steered(), "the kernel does not allow eBPF");
      Fd spare = tap.spare();
      tap.joinSpare();
      tap.switchToSpare();
      drain(spare);
      sendFlows(sender);
      tap.keepSpare();

      assertThat(received(spare)).isEqualTo(FLOWS);
    }
  }

  @Test
  void settingUpASpareLeavesThePortAlone() {
    try (Tap tap = port("hft1")) {
      int length = 12;
      headerLength(tap.queue(), TUNSETVNETHDRSZ, length);
      Fd spare = tap.spare();
      headerLength(spare, TUNSETVNETHDRSZ, 10);
      assertThat(headerLength(tap.queue(), TUNGETVNETHDRSZ, 0)).isEqualTo(length);
      tap.joinSpare();
      assertThat(headerLength(tap.queue(), TUNGETVNETHDRSZ, 0)).isEqualTo(length);
      if (tap.steered()) {
        assertThat(headerLength(spare, TUNGETVNETHDRSZ, 0)).isEqualTo(length);
      }
      tap.dropSpare();
      assertThat(namespace.ip("-o", "link")).doesNotContain("hfwait");
    }
  }

  @Test
  void aDroppedSpareLeavesNothingAndThePortWorks() throws Exception {
    try (Tap tap = port("hft8");
        DatagramChannel sender = sender()) {
      tap.spare();
      tap.dropSpare();
      tap.spare();
      tap.joinSpare();
      tap.dropSpare();
      assertThat(namespace.ip("-o", "link")).doesNotContain("hfwait");
      drain(tap.queue());
      sendFlows(sender);
      assertThat(received(tap.queue())).isEqualTo(FLOWS);
      tap.spare();
      assertThatThrownBy(tap::spare).isInstanceOf(IllegalStateException.class);
    }
  }

  @Test
  void packetsFromEitherQueueReachTheHost() {
    try (Tap tap = port("hft10")) {
      Fd spare = tap.spare();
      tap.joinSpare();
      tap.switchToSpare();
      for (Fd queue : List.of(tap.queue(), spare)) {
        Here.require(tap.steered(), "the kernel does not allow eBPF");
        long before = packetsFromGuest("hft10");
        byte[] frame = new byte[10 + 60];
        assertThat(queue.write(frame, 0, frame.length)).isEqualTo(frame.length);
        assertThat(packetsFromGuest("hft10")).isEqualTo(before + 1);
      }
    }
  }

  @Test
  void aSurvivingQueueIsAdoptedAndSteeredAgain() throws Exception {
    Fd survivor;
    try (Tap first = port("hft2")) {
      Here.require(first.steered(), "the kernel does not allow eBPF");
      survivor = first.spare().duplicate();
      first.joinSpare();
      first.switchToSpare();
    }
    try (Tap tap = namespace.within(() -> Tap.adopt(List.of(survivor), "hft2"));
        DatagramChannel sender = sender()) {
      assertThat(tap.name()).isEqualTo("hft2");
      assertThat(tap.steered()).isTrue();
      assertThat(tap.queue()).isSameAs(survivor);
      Fd spare = namespace.within(tap::spare);
      namespace.within(() -> {
        tap.joinSpare();
        return true;
      });
      expectFlows(sender, survivor, spare);
      tap.switchToSpare();
      expectFlows(sender, spare, survivor);
    }
  }

  @Test
  void withoutEbpfTheSpareJoinsWithTheSwitch() throws Exception {
    try (Tap tap = namespace.within(() -> Tap.create("hft3", 1, false));
        DatagramChannel sender = address(tap)) {
      assertThat(tap.steered()).isFalse();
      Fd old = tap.queue();
      Fd spare = tap.spare();
      tap.joinSpare();
      drain(old);
      sendFlows(sender);
      assertThat(received(old)).isEqualTo(FLOWS);
      namespace.within(() -> {
        tap.switchToSpare();
        return true;
      });
      drain(spare);
      sendFlows(sender);
      assertThat(received(spare)).isEqualTo(FLOWS);
      tap.switchBack();
      tap.dropSpare();
      drain(old);
      sendFlows(sender);
      assertThat(received(old)).isEqualTo(FLOWS);
    }
  }

  @Test
  void switchingAllocatesNothingOnceCompiled() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    int calls = 1000;
    long least = Long.MAX_VALUE;
    try (Tap tap = port("hft11")) {
      Here.require(tap.steered(), "the kernel does not allow eBPF");
      tap.spare();
      tap.joinSpare();
      for (int batch = 0; batch < 300 && least > calls; batch++) {
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int call = 0; call < calls; call++) {
          tap.switchToSpare();
          tap.switchBack();
        }
        least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
      }
    }
    assertThat(least).as("bytes in %d calls", calls).isLessThanOrEqualTo(calls);
  }

  @Test
  void becomesAPortOfABridge() {
    namespace.ip("link", "add", "hfbr", "type", "bridge");
    try (Tap tap = namespace.within(() -> Tap.create("hft4"))) {
      // From a thread outside the namespace: the tap remembers where it belongs.
      tap.mtu(1400);
      assertThat(namespace.within(() -> Tap.mtuOf("hft4"))).hasValue(1400);
      assertThat(namespace.within(() -> Tap.mtuOf("hft19"))).isEmpty();
      tap.addToBridge("hfbr");
      tap.up();

      assertThat(namespace.ip("-o", "link", "show", "hft4"))
          .contains("mtu 1400")
          .contains("master hfbr")
          .contains("UP");
      assertThatThrownBy(() -> tap.addToBridge("nobridge"))
          .hasMessage("ioctl SIOCBRADDIF hft4 to nobridge: ENODEV (19)");
      assertThatThrownBy(() -> tap.mtu(1)).hasMessageContaining("hft4 1: EINVAL");
    }
  }

  @Test
  void tellsForHowLongABridgeLetsNothingThroughANewPort() {
    namespace.ip("link", "add", "hfbr11", "type", "bridge");
    try (Tap _ = namespace.within(() -> Tap.create("hft20"))) {
      namespace.ip("link", "set", "hfbr11", "type", "bridge", "stp_state", "0");
      assertThat(silence("hfbr11")).hasValue(Duration.ZERO);
      namespace.ip(
          "link", "set", "hfbr11", "type", "bridge", "stp_state", "1", "forward_delay", "400");
      assertThat(silence("hfbr11")).hasValue(Duration.ofSeconds(8));
      assertThat(silence("hft20")).as("it is no bridge").isEmpty();
      assertThat(silence("nobridge")).isEmpty();
      assertThatThrownBy(() -> silence("sixteen-letters-")).hasMessageContaining("cannot name");
    } finally {
      namespace.ip("link", "del", "hfbr11");
    }
  }

  private Optional<Duration> silence(String bridge) {
    return namespace.within(() -> Bridge.silence(bridge));
  }

  @Test
  void livesUntilTheLastDescriptorIsClosed() {
    Tap tap = namespace.within(() -> Tap.create("hft5"));
    try (Fd hypervisor = tap.queue().duplicate()) {
      tap.close();
      assertThat(hypervisor.isOpen()).isTrue();
      assertThat(namespace.ip("-o", "link")).contains("hft5");
    }
    assertThat(namespace.ip("-o", "link")).doesNotContain("hft5");
  }

  @Test
  void refusesATakenNameAndLeavesNothing() {
    try (Tap _ = namespace.within(() -> Tap.create("hft6"))) {
      long before = Here.openDescriptors();

      assertThatThrownBy(() -> namespace.within(() -> Tap.create("hft6")))
          .isInstanceOf(LinuxException.class)
          .hasMessage("ioctl TUNSETIFF hft6: EBUSY (16)");
      assertThat(Here.openDescriptors()).isEqualTo(before);
    }
  }

  @Test
  void refusesANameThatIsNone() {
    for (String name : new String[] {"", "tap%d", "a/b", "sixteen-letters-", "-x", "a b"}) {
      assertThatThrownBy(() -> Tap.create(name))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("use 1 to 15 letters");
    }
  }

  @Test
  void closingTwiceClosesEveryDescriptorOnce() {
    namespace.within(() -> Tap.create("hft7")).close();
    long before = Here.openDescriptors();
    Tap tap = namespace.within(() -> Tap.create("hft7"));
    assertThat(Here.openDescriptors()).isGreaterThan(before);
    tap.close();
    tap.close();

    assertThat(Here.openDescriptors()).isEqualTo(before);
  }

  private Tap port(String name) {
    Tap tap = namespace.within(() -> Tap.create(name));
    TapFlows.address(tap, namespace);
    return tap;
  }

  private DatagramChannel address(Tap tap) {
    return TapFlows.sender(tap, namespace);
  }

  private DatagramChannel sender() {
    return TapFlows.sender(namespace);
  }

  // linux/if_tun.h
  private static final long TUNSETPERSIST = 0x400454cbL;
  private static final long TUNGETVNETHDRSZ = 0x800454d7L;
  private static final long TUNSETVNETHDRSZ = 0x400454d8L;

  private static int headerLength(Fd queue, long request, int bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment value = arena.allocateFrom(ValueLayout.JAVA_INT, bytes);
      assertThat(DeviceCalls.ioctl(queue.number(), request, value)).isZero();
      return value.get(ValueLayout.JAVA_INT, 0);
    }
  }

  private static void expectFlows(DatagramChannel sender, Fd active, Fd idle) throws IOException {
    drain(active);
    drain(idle);
    sendFlows(sender);
    assertThat(received(active)).isEqualTo(FLOWS);
    assertThat(idle.pollReadable(NOW)).as("idle queue").isFalse();
  }

  private long packetsFromGuest(String name) {
    String shown = namespace.ip("-s", "-j", "link", "show", name);
    String json = shown.substring(shown.indexOf("\"rx\""));
    return Long.parseLong(json.replaceFirst("(?s).*?\"packets\":(\\d+).*", "$1"));
  }
}
