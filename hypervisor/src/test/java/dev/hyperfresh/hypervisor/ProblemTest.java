package dev.hyperfresh.hypervisor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.MissingCallException;
import java.util.Arrays;
import java.util.Set;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ProblemTest {
  private static final Pattern CODE = Pattern.compile("HF-([A-Z]+)-[0-9]{3}");
  private static final Set<Integer> STATUSES =
      Set.of(400, 403, 404, 405, 409, 429, 500, 502, 503, 504);

  @Test
  void codesAreUnique() {
    assertThat(Arrays.stream(Problem.values()).map(Problem::code)).doesNotHaveDuplicates();
  }

  @ParameterizedTest
  @EnumSource(Problem.class)
  void aCodeNamesTheAreaOfItsProblem(Problem problem) {
    assertThat(problem.code()).matches(CODE);
    assertThat(problem.code().split("-")[1]).isEqualTo(problem.name().split("_")[0]);
  }

  @ParameterizedTest
  @EnumSource(Problem.class)
  void exitCodesAndStatusesAreInRange(Problem problem) {
    assertThat(problem.exitCode()).isBetween(2, 70);
    assertThat(problem.httpStatus()).isIn(STATUSES);
  }

  @ParameterizedTest
  @EnumSource(Problem.class)
  void summaryAndAdviceAreSentences(Problem problem) {
    assertThat(problem.summary()).matches("[A-Z][^\\n]*[^ .]\\.");
    assertThat(problem.summary()).as("one sentence").doesNotContain(". ");
    assertThat(problem.advice()).matches("[A-Z`][^\\n]*[^ .]\\.").doesNotContain("  ");
  }

  @Test
  void numbersOfAnAreaAreCountedFromOne() {
    var byArea =
        Arrays.stream(Problem.values())
            .map(Problem::code)
            .collect(java.util.stream.Collectors.groupingBy(code -> code.split("-")[1]));

    byArea.forEach((area, codes) -> {
      for (int i = 0; i < codes.size(); i++) {
        assertThat(codes.get(i)).isEqualTo("HF-%s-%03d".formatted(area, i + 1));
      }
    });
  }

  @Test
  void aCallThatTheHostLacksIsNoDefect() {
    MissingCallException missing = MissingCallException.inLibrary("pidfd_open");

    HyperFreshException known = Problem.unexpected(missing);

    assertThat(known.problem()).isEqualTo(Problem.HOST_SYSTEM);
    assertThat(known.detail())
        .isEqualTo("pidfd_open: the C library of this host has no such function.");
    assertThat(known).hasCause(missing);
  }

  @Test
  void whatNobodyExpectedIsADefect() {
    IllegalStateException defect = new IllegalStateException("odd");

    assertThat(Problem.unexpected(defect).problem()).isEqualTo(Problem.INTERNAL);
    assertThat(Problem.unexpected(defect).detail()).contains("odd");
    assertThat(Problem.unexpected(null).problem()).isEqualTo(Problem.INTERNAL);
  }

  @Test
  void anOccurrenceKeepsProblemDetailAndCause() {
    IllegalStateException cause = new IllegalStateException("why");
    HyperFreshException occurrence = Problem.GUEST_START.because("It did not.", cause);

    assertThat(occurrence.problem()).isEqualTo(Problem.GUEST_START);
    assertThat(occurrence.detail()).isEqualTo("It did not.");
    assertThat(occurrence).hasCause(cause);
    assertThat(Problem.GUEST_START.because("It did not.")).hasNoCause();
  }
}
