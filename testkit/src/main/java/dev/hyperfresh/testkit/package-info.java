/// TBD.
@NullMarked
package dev.hyperfresh.testkit;

import org.jspecify.annotations.NullMarked;
