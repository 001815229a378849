package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;

/// The request to replace QEMU under domains of libvirt.
///
/// @param domains their names; empty for all that run
/// @param to the release, as commands name it
/// @param dryRun whether it is only looked what would be done
/// @param canary how many are moved first, in a stop of libvirt of their own; 0 for all in one
/// @param rehearse whether each move is first tried out beside the guest
/// @param maxBlackout after which a switch is given up
record LibvirtOrder(
    List<String> domains,
    String to,
    int canary,
    boolean dryRun,
    boolean rehearse,
    Duration maxBlackout) {
  private static final int MOST = 1024;

  LibvirtOrder {
    domains = List.copyOf(domains);
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#API_REQUEST]
  static LibvirtOrder read(Job job) {
    List<String> domains = job.fields().texts("domains").stream().distinct().toList();
    boolean all = job.flag("all", false);
    if (all != domains.isEmpty()) {
      throw Problem.API_REQUEST.because("The request needs exactly one of 'domains' and 'all'.");
    }
    if (domains.size() > MOST) {
      throw Problem.API_REQUEST.because("'domains' has more than " + MOST + " names.");
    }
    return new LibvirtOrder(
        domains,
        job.text("to"),
        job.number("canary", 0, 0, MOST),
        job.flag("dry_run", false),
        job.flag("rehearse", true),
        Duration.ofMillis(job.number("max_blackout_ms", 1000, 1, 60_000)));
  }

  boolean all() {
    return domains.isEmpty();
  }

  /// Those that are to be moved, by the stops of libvirt in which they are.
  <T> List<List<T>> groups(List<T> all) {
    int first = canary == 0 ? all.size() : Math.min(canary, all.size());
    return Stream.of(all.subList(0, first), all.subList(first, all.size()))
        .filter(group -> !group.isEmpty())
        .toList();
  }
}
