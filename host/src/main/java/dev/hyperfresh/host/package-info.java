/// What this host can do for HyperFresh, its settings that make nested virtualization cheap, and
/// the programs that run on it beside those that are installed.
///
/// Read [HostFindings] (the rows of `hyperfresh doctor`), [NestingProfile] (what `hyperfresh
/// machine tune` shows, changes and undoes) and [RunningPrograms] (what `hyperfresh outdated` looks
/// at).
@NullMarked
package dev.hyperfresh.host;

import org.jspecify.annotations.NullMarked;
