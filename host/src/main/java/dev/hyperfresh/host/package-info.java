/// What this host can do for HyperFresh, and its settings that make nested virtualization cheap.
///
/// Read [HostFindings] (the rows of `hyperfresh doctor`) and [NestingProfile] (what `hyperfresh
/// machine tune` shows, changes and undoes).
@NullMarked
package dev.hyperfresh.host;

import org.jspecify.annotations.NullMarked;
