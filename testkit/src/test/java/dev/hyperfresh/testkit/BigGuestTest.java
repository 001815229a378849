package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.qemu.QemuRelease;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// What a guest with much memory in use meets after a move: the page tables of its new hypervisor.
/// They are filled before the switch, so that it does not fault for each of its pages after it.
@Tag("slow")
class BigGuestTest {
  private static final int MOVES = 6;
  private static final long PAGES = (1008 - 16) << 8;

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final List<QemuRelease> releases =
      List.of(Workshop.release("qemu-10.0"), Workshop.release("qemu-7.2"));

  @Test
  void thePageTablesOfTheTargetAreFilledBeforeTheSwitch() {
    Sample filled = measure("filled", new Qemu());
    Sample empty = measure("empty", withoutPopulating(new Qemu()));
    System.out.printf(
        Locale.ROOT,
        "  page faults in the second after the switch, of %d pages in use: %.0f with page tables"
            + " filled before it, %.0f without%n",
        PAGES,
        filled.median(),
        empty.median());
    // How many pages one fault brings in differs between kernels; without any it is cold.
    assertThat(empty.median()).as("the measurement sees cold page tables").isGreaterThan(500);
    assertThat(filled.median()).as("page faults").isLessThan(empty.median() / 20);
  }

  private Sample measure(String name, Hypervisor hypervisor) {
    Sample faults = new Sample(name);
    Sample slowdown = new Sample(name);
    try (Hyperplexor hyperplexor =
        new Hyperplexor(workspace.state(), new Kinds(hypervisor), Workshop.KVM, _ -> {})) {
      hyperplexor.create(
          Workshop.sweep(name, AcceleratorWish.TCG), releases.getLast(), Progress.NONE);
      try (TestGuest guest = TestGuest.beatingIn(hyperplexor.show(name).pid(), Workshop.BOOT)) {
        Workshop.await("a whole sweep", Workshop.BOOT, () -> guest.counter() > PAGES);
        for (int i = 0; i < MOVES; i++) {
          ReplacementRecord record =
              hyperplexor.replace(name, releases.get(i % 2), Duration.ofSeconds(5), Progress.NONE);
          assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
          assertThat(record.ramBytesCopied()).hasValue(0);
          faults.add((double) record.aftermath().pageFaults().orElseThrow());
          slowdown.add(record.aftermath().slowdownPercent().orElseThrow());
          System.out.printf(
              Locale.ROOT,
              "  %s: prepare %.0f ms, blackout %.2f ms, %d faults, %.1f %% fewer beats%n",
              name,
              record.phases().prepareMs(),
              record.blackoutMs().orElseThrow(),
              record.aftermath().pageFaults().orElseThrow(),
              record.aftermath().slowdownPercent().orElseThrow());
        }
      }
      hyperplexor.delete(name);
    }
    System.out.printf(Locale.ROOT, "  %s: median %.1f %% fewer beats%n", name, slowdown.median());
    return faults;
  }

  /// The same hypervisor, whose instances leave their page tables as they are.
  private static Hypervisor withoutPopulating(Hypervisor real) {
    return proxy(
        Hypervisor.class,
        real,
        (method, result) ->
            method.equals("startWaiting")
                ? proxy(Instance.class, (Instance) result, (_, answer) -> answer)
                : result);
  }

  @FunctionalInterface
  private interface Answer {
    Object of(String method, Object result);
  }

  private static <T> T proxy(Class<T> type, T real, Answer answer) {
    return type.cast(
        Proxy.newProxyInstance(
            type.getClassLoader(),
            new Class<?>[] {type},
            (_, method, arguments) -> {
              if (method.getName().equals("populate")) {
                return 0L;
              }
              try {
                return answer.of(method.getName(), method.invoke(real, arguments));
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            }));
  }
}
