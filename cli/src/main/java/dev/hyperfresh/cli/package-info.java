/// The `hyperfresh` command. [Main] is the entry; each command is a class of its own; [Client]
/// talks to the daemon.
@NullMarked
package dev.hyperfresh.cli;

import org.jspecify.annotations.NullMarked;
