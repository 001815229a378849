package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("slow")
class ReplacementTest {
  @TempDir Path state;

  @Test
  void ring3() throws Exception {
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(state)) {
      hyperplexor.create(
          Workshop.ring3("r", 64, AcceleratorWish.KVM),
          Workshop.release("qemu-7.2"),
          (a, b) -> System.out.println(a + ": " + b));
      Thread.sleep(6000);
      for (int i = 0; i < 10; i++) {
        ReplacementRecord record =
            hyperplexor.replace(
                "r",
                Workshop.release(i % 2 == 0 ? "qemu-10.0" : "qemu-7.2"),
                Duration.ofSeconds(1),
                (a, b) -> {});
        System.out.println(record);
        assertThat(record.outcome()).isEqualTo("committed");
      }
    }
  }

  @Test
  void linux() throws Exception {
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(state)) {
      hyperplexor.create(
          Workshop.linux("web1", 512),
          Workshop.release("qemu-7.2"),
          (a, b) -> System.out.println(a + ": " + b));
      Thread.sleep(9000);
      for (int i = 0; i < 4; i++) {
        ReplacementRecord record =
            hyperplexor.replace(
                "web1",
                Workshop.release(i % 2 == 0 ? "qemu-10.0" : "qemu-7.2"),
                Duration.ofSeconds(1),
                (a, b) -> {});
        System.out.println(record);
        assertThat(record.outcome()).isEqualTo("committed");
      }
    }
  }
}
