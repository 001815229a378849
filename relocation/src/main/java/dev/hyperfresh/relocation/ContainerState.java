package dev.hyperfresh.relocation;

import java.time.Duration;
import java.time.Instant;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// What a container does, or how it ended.
public sealed interface ContainerState {
  /// Its processes run.
  record Running() implements ContainerState {}

  /// They stand still, between one OS and another.
  record Moving() implements ContainerState {}

  /// They run, and a part of its memory is still in the OS that it has left.
  record Draining() implements ContainerState {}

  /// Its first process has ended, and with it the others. Its files are as it left them.
  ///
  /// @param code its exit code, unless a signal ended it or nobody knows
  /// @param signal the number of the signal that ended it, if one did
  /// @param outOfMemory whether one of its processes was killed because memory had run out
  /// @param at when, by this host's clock
  /// @param why what is known beyond that, a sentence; else empty
  record Ended(OptionalInt code, OptionalInt signal, boolean outOfMemory, Instant at, String why)
      implements ContainerState {
    private static final Pattern SAID =
        Pattern.compile("(code|signal) ([0-9]{1,3}) oom ([01]) ago_ms ([0-9]{1,12})");

    /// An end that nobody has seen.
    ///
    /// @param why what is known all the same, a sentence, or empty
    static Ended unknown(Instant at, String why) {
      return new Ended(OptionalInt.empty(), OptionalInt.empty(), false, at, why);
    }

    /// What `keep.c` says.
    ///
    /// @param line such as `code 3 oom 0 ago_ms 1530`; anything else is an end that nobody has seen
    /// @param now when it was said
    static Ended parse(String line, Instant now) {
      Matcher said = SAID.matcher(line);
      if (!said.matches()) {
        return unknown(now, "");
      }
      OptionalInt number = OptionalInt.of(Integer.parseInt(said.group(2)));
      boolean exited = said.group(1).equals("code");
      return new Ended(
          exited ? number : OptionalInt.empty(),
          exited ? OptionalInt.empty() : number,
          said.group(3).equals("1"),
          now.minus(Duration.ofMillis(Long.parseLong(said.group(4)))),
          "");
    }

    /// In a few words, such as `exit code 3`.
    String words() {
      StringBuilder text = new StringBuilder();
      code.ifPresent(number -> text.append("exit code ").append(number));
      signal.ifPresent(number -> text.append("signal ").append(number));
      if (text.isEmpty()) {
        text.append(why.isEmpty() ? "cause unknown" : why);
      }
      return text.append(outOfMemory ? ", out of memory" : "").toString();
    }
  }

  /// The OS in which it ran has ended, and so has the container.
  ///
  /// @param os its name
  /// @param at when this host noticed
  record Lost(String os, Instant at) implements ContainerState {}

  /// The word for it in lists: `running`, `moving`, `draining`, `ended`, `lost`.
  default String word() {
    return getClass().getSimpleName().toLowerCase(Locale.ROOT);
  }

  /// Whether it has ended.
  default boolean hasEnded() {
    return endedAt().isPresent();
  }

  /// When it ended, if it has.
  default Optional<Instant> endedAt() {
    return switch (this) {
      case Ended ended -> Optional.of(ended.at());
      case Lost lost -> Optional.of(lost.at());
      case Running _, Moving _, Draining _ -> Optional.empty();
    };
  }

  /// How it ended, in a few words; empty while it runs.
  default String how() {
    return switch (this) {
      case Ended ended -> ended.words();
      case Lost lost -> "OS " + lost.os() + " ended";
      case Running _, Moving _, Draining _ -> "";
    };
  }

  /// Whether it ended otherwise than by itself with exit code 0. What nobody knows counts.
  default boolean hasFailed() {
    return switch (this) {
      case Ended ended -> ended.outOfMemory() || ended.code().orElse(-1) != 0;
      case Lost _ -> true;
      case Running _, Moving _, Draining _ -> false;
    };
  }
}
