package dev.hyperfresh.hypervisor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.KvmProbe.Verdict;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class AcceleratorChoiceTest {
  private static final String REASON = "the probe says so.";

  @ParameterizedTest
  @EnumSource(Verdict.class)
  void tcgIsGivenToWhoeverAsksForIt(Verdict verdict) {
    AcceleratorChoice choice = choose(AcceleratorWish.TCG, verdict);

    assertThat(choice.accelerator()).isEqualTo(Accelerator.TCG);
    assertThat(choice.reason()).contains("spec asks");
  }

  @ParameterizedTest
  @EnumSource(Verdict.class)
  void autoTakesKvmOnlyWhereItIsUsableAndRepeatsTheProbesReason(Verdict verdict) {
    assertThat(choose(AcceleratorWish.AUTO, verdict))
        .isEqualTo(
            new AcceleratorChoice(
                verdict == Verdict.USABLE ? Accelerator.KVM : Accelerator.TCG, REASON));
  }

  @ParameterizedTest
  @EnumSource(
      value = Verdict.class,
      names = {"USABLE", "SLOW_RING0"})
  void kvmIsGivenWhereTheDeviceOpens(Verdict verdict) {
    assertThat(choose(AcceleratorWish.KVM, verdict).accelerator()).isEqualTo(Accelerator.KVM);
  }

  @ParameterizedTest
  @EnumSource(
      value = Verdict.class,
      names = {"ABSENT", "DENIED", "BROKEN"})
  void kvmIsRefusedWhereItDoesNotWork(Verdict verdict) {
    assertThatThrownBy(() -> choose(AcceleratorWish.KVM, verdict))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            refused -> {
              assertThat(refused.problem()).isEqualTo(Problem.HOST_MISSING);
              assertThat(refused.detail()).isEqualTo("The spec asks for KVM, but " + REASON);
            });
  }

  private static AcceleratorChoice choose(AcceleratorWish wish, Verdict verdict) {
    return AcceleratorChoice.choose(wish, new KvmProbe.Result(verdict, 0, 0, false, REASON));
  }
}
