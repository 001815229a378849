package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Instant;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ContainerStateTest {
  private static final Instant NOW = Instant.parse("2026-01-01T00:00:10Z");

  @ParameterizedTest
  @CsvSource({
    "code 0 oom 0 ago_ms 0,exit code 0,false",
    "code 3 oom 0 ago_ms 0,exit code 3,true",
    "signal 9 oom 0 ago_ms 0,signal 9,true",
    "signal 9 oom 1 ago_ms 0,'signal 9, out of memory',true",
    "code 0 oom 1 ago_ms 0,'exit code 0, out of memory',true",
    "unknown,cause unknown,true",
  })
  void anEndIsRead(String line, String how, boolean failed) {
    ContainerState.Ended ended = ContainerState.Ended.parse(line, NOW);
    assertThat(ended.how()).isEqualTo(how);
    assertThat(ended.hasFailed()).isEqualTo(failed);
    assertThat(ended.word()).isEqualTo("ended");
  }

  /// An OS may say anything.
  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "code",
        "code 0",
        "code 9999 oom 0 ago_ms 0",
        "code 0 oom 2 ago_ms 0",
        "code 0 oom 0 ago_ms 99999999999999999999",
        "code 0 oom 0 ago_ms -5",
        "x code 0 oom 0 ago_ms 0"
      })
  void anythingElseIsAnEndThatNobodySaw(String line) {
    assertThat(ContainerState.Ended.parse(line, NOW))
        .isEqualTo(ContainerState.Ended.unknown(NOW, ""));
  }

  @Test
  void theTimeIsTheHosts() {
    assertThat(ContainerState.Ended.parse("code 0 oom 0 ago_ms 1500", NOW).endedAt())
        .isEqualTo(Optional.of(Instant.parse("2026-01-01T00:00:08.500Z")));
  }
}
