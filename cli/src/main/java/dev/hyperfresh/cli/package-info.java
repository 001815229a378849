/// TBD.
@NullMarked
package dev.hyperfresh.cli;

import org.jspecify.annotations.NullMarked;
