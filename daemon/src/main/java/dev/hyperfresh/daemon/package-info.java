/// TBD.
@NullMarked
package dev.hyperfresh.daemon;

import org.jspecify.annotations.NullMarked;
