package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.qemu.FetchedQemu.News;
import org.junit.jupiter.api.Test;

class FetchedQemuTest {
  @Test
  void newsHaveWordsOfTheApi() {
    assertThat(News.values())
        .extracting(News::label)
        .containsExactly("fetched", "newest", "unasked");
  }
}
