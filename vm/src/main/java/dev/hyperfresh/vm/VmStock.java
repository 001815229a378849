package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.util.List;
import java.util.Optional;

/// The virtual machines of one kind. Thread-safe. The problems that are named [VmKind.About] has.
///
/// @param <V> a virtual machine of the kind
/// @param <R> what it boots
public interface VmStock<V extends VmKind.Member<R>, R extends VmRelease> {
  /// Boots one and returns when it can take somebody.
  ///
  /// @throws HyperFreshException [VmKind.About#exists], [VmKind.About#start],
  ///   [Problem#SPEC_INVALID], [Problem#SPEC_MEMORY], [Problem#DAEMON_STATE]
  V create(VmSettings<R> settings);

  /// Boots one that is stopped or has ended by itself, as it was made. Does nothing to one that
  /// runs.
  ///
  /// @param settings with its name
  /// @throws HyperFreshException [VmKind.About#unknown], also when it is being ended or is not
  ///   taken back yet; and as [#create]
  V start(VmSettings<R> settings);

  /// As [#start], because the host has booted.
  ///
  /// @throws HyperFreshException [VmKind.About#unknown] also when it is not to be started any more
  V startDue(VmSettings<R> settings);

  /// What they are made of, and which are stopped.
  VmDefinitions definitions();

  /// All that are here, by name.
  List<V> list();

  /// The one called `name`, if it is here.
  Optional<V> find(String name);

  /// The one called `name`.
  ///
  /// @throws HyperFreshException [VmKind.About#unknown], also when it is not taken back yet
  V get(String name);

  /// The names of all that run on a release or with it as their hardware, also of those that are
  /// booting or have not been taken back yet; and of those that are stopped and boot it next.
  ///
  /// @param release its full name
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when that cannot be told
  List<String> on(String release);

  /// Ends one in which nobody is, which can be started again. Does nothing when it is stopped.
  ///
  /// @throws HyperFreshException as [#delete]
  void stop(String name);

  /// Ends one in which nobody is, unless it is stopped, and removes its folder.
  ///
  /// @throws HyperFreshException [VmKind.About#unknown], [Problem#INTERNAL], and whatever says that
  ///   somebody is in it, where that is known here
  void delete(String name);
}
