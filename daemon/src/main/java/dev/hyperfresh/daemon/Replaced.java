package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Rollout;

/// How a machine or an OS was replaced.
///
/// @param rollout of those that were in it
/// @param target to which they were moved
/// @param retired whether the old one is gone
/// @param withdrawn whether the new one is gone, because nobody came
/// @param <T> the record of one move
public record Replaced<T>(
    Rollout.Result<T> rollout, String target, boolean retired, boolean withdrawn) {}
