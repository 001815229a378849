/// Test guests, measurements and the demonstration: everything that needs a whole system.
@NullMarked
package dev.hyperfresh.testkit;

import org.jspecify.annotations.NullMarked;
