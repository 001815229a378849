package dev.hyperfresh.libvirt;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.linux.ProcessIdentity;
import java.util.List;
import java.util.Map;
import java.util.Objects;
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
  /// @param now the process that it was handed back in, or was about to be; none before
  /// @param back what libvirt has to know of that process
  public record Between(
      String domain,
      String uuid,
      String guest,
      ProcessIdentity first,
      ProcessIdentity now,
      Optional<HandedBack> back) {
    public Between {
      // In what an older daemon wrote there is none.
      back = Objects.requireNonNullElse(back, Optional.empty());
    }

    /// One that is about to be taken.
    static Between begun(LibvirtDomain domain, String guest) {
      return new Between(
          domain.name(),
          domain.uuid(),
          guest,
          ProcessIdentity.of(domain.pid()),
          ProcessIdentity.NONE,
          Optional.empty());
    }

    /// The same that is about to be handed back.
    Between in(HandedBack process) {
      return new Between(
          domain, uuid, guest, first, ProcessIdentity.of(process.pid()), Optional.of(process));
    }

    /// Whether it was moved to a process that has it still.
    boolean hasMoved() {
      return !first.lives() && now.lives();
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
