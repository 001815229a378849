package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.KvmProbe.Result;
import dev.hyperfresh.linux.KvmProbe.Speeds;
import dev.hyperfresh.linux.KvmProbe.Verdict;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(10)
class KvmProbeTest {
  private static final Path KVM = Path.of("/dev/kvm");

  @Test
  void measuresBothRingsInABoundedTimeAndLeavesNothing() {
    Here.require(Files.isWritable(KVM), "needs a /dev/kvm that this user may open");
    WarmUp.run();
    KvmProbe.probe(KVM);
    long before = Here.openDescriptors();
    long start = System.nanoTime();

    Result result = KvmProbe.probe(KVM);

    long millis = (System.nanoTime() - start) / 1_000_000;
    System.out.println("KVM probe: " + millis + " ms, " + result);
    assertThat(millis).isLessThan(500);
    assertThat(result.verdict()).isIn(Verdict.USABLE, Verdict.SLOW_RING0);
    assertThat(result.ring3MillionPerSecond()).isGreaterThan(10);
    assertThat(result.ring0MillionPerSecond()).isGreaterThan(0.01);
    assertThat(Here.openDescriptors()).isEqualTo(before);
  }

  @Test
  void aLoopThatNeverEndsIsStopped() throws Exception {
    Here.require(Files.isWritable(KVM), "needs a /dev/kvm that this user may open");
    try (Fd kvm = Fd.open(KVM, OpenFlags.READ_WRITE)) {
      byte[] jumpToItself = {(byte) 0xeb, (byte) 0xfe};
      KvmTrial trial = new KvmTrial(kvm, jumpToItself);
      long start = System.nanoTime();

      Result result = KvmProbe.probe(trial);

      assertThat(result.verdict()).isEqualTo(Verdict.BROKEN);
      assertThat(result.reason()).contains("did not end in time");
      assertThat((System.nanoTime() - start) / 1_000_000).isBetween(200L, 1000L);
    }
  }

  @Test
  void tellsAMissingDeviceFromAnotherOne() {
    Result absent = KvmProbe.probe(Path.of("/dev/no-kvm-here"));
    assertThat(absent.verdict()).isEqualTo(Verdict.ABSENT);
    assertThat(absent.reason())
        .isEqualTo("There is no KVM on this host: /dev/no-kvm-here is not there.");

    Result broken = KvmProbe.probe(Path.of("/dev/null"));
    assertThat(broken.verdict()).isEqualTo(Verdict.BROKEN);
    assertThat(broken.reason()).contains("ioctl KVM_GET_API_VERSION /dev/null: ENOTTY (25)");
  }

  @Test
  void judgesBySpeed() {
    assertThat(KvmProbe.judge(new Speeds(300, 300)).verdict()).isEqualTo(Verdict.USABLE);
    assertThat(KvmProbe.judge(new Speeds(50, 500)).verdict()).isEqualTo(Verdict.USABLE);
    assertThat(KvmProbe.judge(new Speeds(49, 49)).verdict()).isEqualTo(Verdict.SLOW_RING0);
    assertThat(KvmProbe.judge(new Speeds(60, 7000)).verdict()).isEqualTo(Verdict.SLOW_RING0);
    assertThat(KvmProbe.judge(new Speeds(1.1, 300)).reason())
        .isEqualTo(
            "KVM opens here but is too slow for an operating system: ring 0 runs 1.1 million"
                + " instructions a second, ring 3 300 million.");
  }
}
