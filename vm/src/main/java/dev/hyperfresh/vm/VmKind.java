package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;

/// What a [VmRegistry] has to know of one kind of virtual machines.
///
/// @param <V> a virtual machine of the kind
/// @param <R> what it boots
public interface VmKind<V extends VmKind.Member<R>, R extends VmRelease> {
  /// One of a registry.
  ///
  /// @param <R> what it boots
  interface Member<R extends VmRelease> extends AutoCloseable {
    /// What it is made of.
    VmSettings<R> settings();

    /// Whether it is gone.
    boolean ended();

    /// The process on this host that is its hardware.
    int pid();

    /// From the start of its hardware until it could take somebody, milliseconds.
    double bootMs();

    /// What its agent said when it came up, or to this daemon first.
    Agent.Hello hello();

    /// Has `told` run once, on a thread that must not be held, when it ends; at once when it has.
    /// Not when it is let go of.
    void onEnd(Runnable told);

    /// Lets go of it; it goes on with all that runs in it.
    void letGo();

    /// Ends it and everything in it. Does nothing the second time.
    @Override
    void close();
  }

  /// What is said of a kind.
  ///
  /// @param title what one is called at the beginning of a sentence: `Machine`, `OS`
  /// @param one the subject of a sentence: `A machine`, `An OS`
  /// @param releases with what names of its releases begin, before a `-`
  /// @param earlierFile in which an earlier version of HyperFresh wrote one down, which it alone
  ///   can take back
  /// @param leastMemoryBytes the least memory of one
  /// @param mostTranslatedVcpus how many processors one may have that is translated
  /// @param exists when there is one of that name already
  /// @param unknown when there is none
  /// @param start when one does not come up
  /// @param delete the command that removes one of which what is written is damaged, as for one
  ///   called `NAME`
  record About(
      String title,
      String one,
      String releases,
      String earlierFile,
      long leastMemoryBytes,
      int mostTranslatedVcpus,
      Problem exists,
      Problem unknown,
      Problem start,
      String delete) {}

  /// What is said of it.
  About about();

  /// Starts one and returns when it can take somebody.
  ///
  /// @param folder an existing folder for its logs
  /// @param sockets the folder for control sockets, mode 0700
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [About#start] with the last that it
  ///   printed; nothing is left then but the logs
  V boot(VmSettings<R> settings, Path folder, Path sockets);

  /// Takes over one that an earlier daemon left. What runs in it notices nothing; it goes on
  /// whether this succeeds or not.
  ///
  /// @param file what is written down of it, of a process that lives
  /// @throws TroubleException when it does not answer
  V again(VmSettings<R> settings, VmFile file, Path folder, Path sockets);

  /// Removes what one that is gone has left, but for its logs.
  ///
  /// @throws dev.hyperfresh.linux.LinuxException when a process of it cannot be ended
  void forget(String name, Path folder, Path sockets);
}
