/// Operating systems in virtual machines of this host, and containers that move from one to the
/// other with their memory mapped and not copied, so that the operating system can be replaced.
@NullMarked
package dev.hyperfresh.relocation;

import org.jspecify.annotations.NullMarked;
