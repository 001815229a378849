package dev.hyperfresh.libvirt;

import dev.hyperfresh.linux.ProcessIdentity;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/// That libvirt is down, or about to be, because of us: what a daemon writes down before it ends
/// libvirt, so that the next one starts it again when this one dies. Immutable.
///
/// @param since when, as [java.time.Instant] writes it
/// @param boot in which boot of the host
/// @param how libvirt was found, and is to be started
/// @param between the domains that libvirt must not look at now
public record Down(String since, String boot, How how, List<Between> between) {
  public Down {
    between = List.copyOf(between);
  }

  /// How libvirt runs on this host.
  ///
  /// @param units of systemd that were active, the service last; none when it is a plain process
  /// @param command of the plain process, its program's file first
  /// @param environment of the plain process
  /// @param folder in which the plain process was
  /// @param groups the control groups of the plain process
  /// @param process the plain process
  public record How(
      List<String> units,
      List<String> command,
      Map<String, String> environment,
      String folder,
      List<String> groups,
      ProcessIdentity process) {
    public How {
      units = List.copyOf(units);
      command = List.copyOf(command);
      environment = Map.copyOf(environment);
      groups = List.copyOf(groups);
    }

    static How of(List<String> units) {
      return new How(units, List.of(), Map.of(), "/", List.of(), ProcessIdentity.NONE);
    }
  }

  /// A domain that is HyperFresh's, or on the way there or back.
  ///
  /// @param guest what it is called here
  /// @param first the process that had it when libvirt was ended
  /// @param now the process that has it; none while it is not known to be another one
  public record Between(
      String domain, String uuid, String guest, ProcessIdentity first, ProcessIdentity now) {
    Between on(ProcessIdentity process) {
      return new Between(domain, uuid, guest, first, process);
    }
  }

  /// The same with a domain more, or with what is known of it now.
  Down with(Between one) {
    return new Down(
        since,
        boot,
        how,
        Stream.concat(without(one.domain()).between().stream(), Stream.of(one)).toList());
  }

  Down without(String domain) {
    return new Down(
        since, boot, how, between.stream().filter(one -> !one.domain().equals(domain)).toList());
  }

  Optional<Between> of(String domain) {
    return between.stream().filter(one -> one.domain().equals(domain)).findFirst();
  }

  /// Where it is kept.
  public interface Store {
    /// What an earlier daemon has left; empty when nothing is down because of it.
    Optional<Down> read();

    /// Returns when it is on disk.
    void keep(Down down);

    /// libvirt runs.
    void forget();
  }
}
