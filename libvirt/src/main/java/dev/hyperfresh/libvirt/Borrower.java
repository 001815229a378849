package dev.hyperfresh.libvirt;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.HyperFreshException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Consumer;

/// Takes guests for the time of a replacement.
public interface Borrower {
  /// Takes the guest of a domain and moves it. What it does before it takes the guest may fail;
  /// nothing is borrowed then.
  ///
  /// @param guest what it is called while it is borrowed
  /// @throws HyperFreshException when it was not moved; [#standing] says whether it was taken
  ReplacementRecord move(LibvirtDomain domain, String guest, Progress progress);

  /// How it stands with one that was taken.
  Standing standing(String guest);

  /// Gives one back.
  ///
  /// @param emulator the program that libvirt knows of the domain; empty when it has forgotten the
  ///   domain
  /// @param before takes what libvirt has to know, while the guest is still here, and returns when
  ///   it is written down; when it throws, the guest stays
  void handBack(String guest, Optional<Path> emulator, Consumer<HandedBack> before);

  /// How it stands with a guest that was taken, or was to be.
  enum Standing {
    /// It was not taken, or was handed back.
    ABSENT,
    /// A daemon is taking it back from an earlier one.
    COMING,
    /// It can be handed back.
    HERE,
    /// No process runs it any more.
    ENDED
  }
}
