package dev.hyperfresh.cli;

/// A command that another module adds. Implementations carry picocli's `@Command` and are named in
/// `META-INF/services`.
public interface ExtraCommand extends Runnable {}
