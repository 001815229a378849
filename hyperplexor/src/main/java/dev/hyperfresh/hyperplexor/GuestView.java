package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.MemoryPart;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/// A consistent copy of what is known of a guest.
///
/// @param detail more about the state, or empty
/// @param kind the kind of hypervisor
/// @param release the release that runs it, or empty when none does
/// @param pid the hypervisor's process, 0 when there is none
/// @param generation how many instances it has had
/// @param stoppedAt since when no instance runs it, as far as is known; empty while one does
/// @param console the unix socket of the serial console
/// @param files the folder with its console log, pinned boot files and hypervisor logs
/// @param confinement whose rights its process has and what bounds it, for people
/// @param origin who started it
/// @param clockLoss how far its clocks have fallen behind
/// @param starts when and on what it is started again
/// @param memory of what its memory is made
public record GuestView(
    GuestSpec spec,
    State state,
    String detail,
    String kind,
    String release,
    int pid,
    int generation,
    AcceleratorChoice accelerator,
    Instant createdAt,
    Optional<Instant> stoppedAt,
    Optional<Path> console,
    Path files,
    String confinement,
    Origin origin,
    ClockLoss clockLoss,
    Starts starts,
    List<MemoryPart> memory) {
  public GuestView {
    memory = List.copyOf(memory);
  }

  /// When and on what a guest is started again.
  ///
  /// @param autostart whether it is started when the host has booted
  /// @param release where it is started next, unless another one is named then
  /// @param edited whether its next start makes another machine of it than it is
  /// @param inARow how often it was started without anybody asking for it, in a row and without
  ///   having run well
  /// @param wanted whether it is stopped and is started without anybody asking for it
  public record Starts(
      boolean autostart, String release, boolean edited, int inARow, boolean wanted) {}

  /// Who started the guest.
  public enum Origin {
    /// HyperFresh, from a spec.
    CREATED,
    /// Something else.
    ADOPTED
  }

  /// What a guest is doing.
  public enum State {
    /// An instance of it is being started.
    STARTING,
    /// An earlier daemon left it, and its hypervisors have not said yet how it stands.
    RECOVERING,
    /// An instance runs it.
    RUNNING,
    /// An instance runs it, and another is being prepared or has just taken over.
    REPLACING,
    /// No instance runs it.
    STOPPED
  }
}
