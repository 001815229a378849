package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.TapFlows.FLOWS;
import static dev.hyperfresh.linux.TapFlows.NOW;
import static dev.hyperfresh.linux.TapFlows.SOON;
import static dev.hyperfresh.linux.TapFlows.received;
import static dev.hyperfresh.linux.TapFlows.sendFlows;
import static dev.hyperfresh.linux.TapFlows.sender;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.channels.DatagramChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;

/// A port whose queues are handed on together.
@Timeout(20)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class TapSeveralQueuesTest {
  private TestNamespace namespace;

  @BeforeAll
  void makeNamespace() {
    Here.requireRoot();
    Here.require(Files.exists(Path.of("/dev/net/tun")), "needs /dev/net/tun");
    namespace = TestNamespace.create("taps");
  }

  @AfterAll
  void dropNamespace() {
    if (namespace != null) {
      namespace.close();
    }
  }

  /// The guest of the first hypervisor does not use the last of three queues.
  @Test
  void severalQueuesAreHandedOnTogether() throws Exception {
    try (Tap tap = namespace.within(() -> Tap.create("hft14", 3));
        DatagramChannel sender = sender(tap, namespace)) {
      Here.require(tap.steered(), "the kernel does not allow eBPF");
      TapQueues.set(tap.queues().getLast(), Constants.IFF_DETACH_QUEUE);
      for (int round = 0; round < 3; round++) {
        List<Fd> old = tap.queues();
        assertThat(carried(sender, old)).as("round %d", round).isEqualTo(FLOWS);
        List<Fd> spares = tap.spares();
        assertThat(spares).hasSize(3);
        tap.joinSpare();
        expectFlows(sender, old, spares);
        tap.switchToSpare();
        expectFlows(sender, spares, old);
        tap.switchBack();
        expectFlows(sender, old, spares);
        tap.switchToSpare();
        // As a hypervisor does when it has got the guest's state.
        TapQueues.set(spares.getLast(), Constants.IFF_DETACH_QUEUE);
        expectFlows(sender, spares, old);
        tap.keepSpare();

        assertThat(tap.queues()).isEqualTo(spares);
        assertThat(old).noneMatch(Fd::isOpen);
        assertThat(carried(sender, spares)).isEqualTo(FLOWS);
        drain(spares);
        sendFlows(sender, 64);
        assertThat(spares.subList(0, 2)).as("spread again").allMatch(q -> q.pollReadable(SOON));
      }
    }
  }

  /// A hypervisor that has detached a queue attaches it later, and fails when it cannot.
  @Test
  void aQueueOfASpareJoinsAsItWasLeft() throws Exception {
    try (Tap tap = namespace.within(() -> Tap.create("hft15", 2));
        DatagramChannel sender = sender(tap, namespace)) {
      Here.require(tap.steered(), "the kernel does not allow eBPF");
      List<Fd> spares = tap.spares();
      TapQueues.set(spares.getLast(), Constants.IFF_DETACH_QUEUE);
      tap.joinSpare();
      assertThat(spares).extracting(TapQueues::isDetached).containsExactly(false, true);
      tap.switchToSpare();
      expectFlows(sender, spares, tap.queues());
      TapQueues.set(spares.getLast(), Constants.IFF_ATTACH_QUEUE);
      expectFlows(sender, spares, tap.queues());
      tap.switchBack();
      tap.dropSpare();
      assertThat(carried(sender, tap.queues())).isEqualTo(FLOWS);
      assertThat(namespace.ip("-o", "link")).doesNotContain("hfwait");
    }
  }

  /// The kernel gives other queues other places then.
  @Test
  void theGuestMayUseOtherQueuesAfterTheSpareHasJoined() throws Exception {
    try (Tap tap = namespace.within(() -> Tap.create("hft19", 3));
        DatagramChannel sender = sender(tap, namespace)) {
      Here.require(tap.steered(), "the kernel does not allow eBPF");
      List<Fd> old = tap.queues();
      List<Fd> spares = tap.spares();
      spares.subList(1, 3).forEach(spare -> TapQueues.set(spare, Constants.IFF_DETACH_QUEUE));
      tap.joinSpare();
      TapQueues.set(old.getLast(), Constants.IFF_DETACH_QUEUE);
      tap.switchToSpare();
      expectFlows(sender, spares, old);
      tap.switchBack();
      TapQueues.set(old.getLast(), Constants.IFF_ATTACH_QUEUE);
      expectFlows(sender, old, spares);
      tap.switchToSpare();
      expectFlows(sender, spares, old);
    }
  }

  @Test
  void aSpareThatCannotJoinLeavesThePacketsSpread() throws Exception {
    try (Tap tap = namespace.within(() -> Tap.create("hft20", 2));
        DatagramChannel sender = sender(tap, namespace)) {
      Here.require(tap.steered(), "the kernel does not allow eBPF");
      tap.spares().getLast().close();
      assertThatThrownBy(tap::joinSpare).isInstanceOf(RuntimeException.class);
      tap.dropSpare();
      drain(tap.queues());
      sendFlows(sender, 64);
      assertThat(tap.queues()).allMatch(queue -> queue.pollReadable(SOON));
    }
  }

  /// A hypervisor whose queue somebody else has detached may end.
  @Test
  void severalQueuesWithoutEbpfAreRefused() {
    try (Tap tap = namespace.within(() -> Tap.create("hft21", 2, false))) {
      assertThat(tap.refusesQueues())
          .hasValue(
              "hft21 has 2 queues, and this host does not let the daemon use eBPF to choose among"
                  + " them");
    }
    try (Tap tap = namespace.within(() -> Tap.create("hft22", 1, false))) {
      assertThat(tap.refusesQueues()).isEmpty();
    }
  }

  @Test
  void severalQueuesAreHandedOnWithoutEbpf() throws Exception {
    try (Tap tap = namespace.within(() -> Tap.create("hft16", 2, false));
        DatagramChannel sender = sender(tap, namespace)) {
      List<Fd> old = tap.queues();
      List<Fd> spares = tap.spares();
      tap.joinSpare();
      assertThat(carried(sender, old)).isEqualTo(FLOWS);
      tap.switchToSpare();
      expectFlows(sender, spares, old);
      tap.switchBack();
      tap.dropSpare();
      assertThat(carried(sender, old)).isEqualTo(FLOWS);
    }
  }

  @Test
  void severalSurvivingQueuesAreAdopted() throws Exception {
    List<Fd> survivors;
    try (Tap first = namespace.within(() -> Tap.create("hft17", 2));
        DatagramChannel sender = sender(first, namespace)) {
      survivors = first.queues().stream().map(Fd::duplicate).toList();
      first.spares();
      first.joinSpare();
      first.switchToSpare();
      expectFlows(sender, List.of(), survivors);
    }
    try (Tap tap = namespace.within(() -> Tap.adopt(survivors, "hft17"));
        DatagramChannel sender = sender(namespace)) {
      assertThat(tap.name()).isEqualTo("hft17");
      assertThat(carried(sender, survivors)).isEqualTo(FLOWS);
      tap.spares();
      tap.joinSpare();
      tap.switchToSpare();
      expectFlows(sender, List.of(), survivors);
    }
  }

  private static int carried(DatagramChannel sender, List<Fd> queues) throws IOException {
    drain(queues);
    sendFlows(sender);
    int carried = 0;
    for (Fd queue : queues) {
      carried += received(queue, NOW);
    }
    return carried;
  }

  /// One queue of those that are active gets them, if there are any.
  private static void expectFlows(DatagramChannel sender, List<Fd> active, List<Fd> idle)
      throws IOException {
    drain(idle);
    assertThat(carried(sender, active)).isEqualTo(active.isEmpty() ? 0 : FLOWS);
    assertThat(idle).as("idle queues").noneMatch(queue -> queue.pollReadable(NOW));
  }

  private static void drain(List<Fd> queues) {
    queues.forEach(TapFlows::drain);
  }

  @Test
  void aPortHasAtLeastOneQueue() {
    assertThatThrownBy(() -> Tap.create("hft18", 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("0 queues");
  }
}
