package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Fd;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Consumer;

/// One running instance of a hypervisor, which runs one guest or waits to receive it.
///
/// The calls of a replacement, in order: [#expect] and [#connect] while the guest runs, then
/// [#handOver], which is the only one inside the blackout and does nothing but write one prepared
/// message; [#copied] comes after it, before the blackout. One thread at a time may call an
/// instance, but what a dry run asks may be asked by any thread meanwhile: [#release], [#pid],
/// [#runState], [#hasAgent], [#checks], [#sharesMemory] and [#rehearse]. Events arrive on a thread
/// of its own.
///
/// What an instance reports of a hand-over, in order: the source [InstanceEvent.Stopped] and
/// [InstanceEvent.HandOverSent], the target [InstanceEvent.Resumed]. A source that is continued
/// after [#takeBack] or [#resume] reports Resumed, too. Each reports [InstanceEvent.Ended] once, as
/// its last event, when it runs no guest any more.
///
/// Whatever goes wrong, also when the process has died, a call throws nothing but
/// [HyperFreshException].
public interface Instance extends AutoCloseable {
  /// Counts the instances of a guest from 1.
  int generation();

  /// The release that runs.
  Release release();

  /// The process on this host which the hypervisor is, or inside which it is; then [#hasOwnProcess]
  /// is false.
  int pid();

  /// Whether that process serves nothing but this guest, so that it may be favoured while the guest
  /// switches.
  default boolean hasOwnProcess() {
    return true;
  }

  /// The unix socket of the guest's serial console; one client at a time. An empty path when it has
  /// none, which can be so with one that was adopted.
  Path console();

  /// Target, while preparing: take the guest's state from `channel` when it comes. The descriptor
  /// is copied into the hypervisor; the caller keeps and closes its own.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_PREPARE]
  void expect(Fd channel);

  /// Source, while preparing: have `channel` at hand to send the state to. The descriptor is copied
  /// into the hypervisor; the caller keeps and closes its own.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_PREPARE]
  void connect(Fd channel);

  /// As [#expect], of a target whose memory is empty: the guest's memory comes through `channel`,
  /// too.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_PREPARE]
  default void expectWithMemory(Fd channel) {
    throw Problem.REPLACE_PREPARE.because(release().name() + " takes over no memory.");
  }

  /// As [#connect], of a source that shares the guest's memory with nobody: [#handOver] then copies
  /// it first. The guest runs on, and is stopped when the rest is estimated to take no longer than
  /// `maxDowntime`. If it writes faster than can be copied, it is slowed down.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_PREPARE]
  default void connectWithMemory(Fd channel, Duration maxDowntime) {
    throw Problem.REPLACE_PREPARE.because(release().name() + " gives no memory away.");
  }

  /// Source, after the [#handOver] of one that was connected with its memory: how far the copy is.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it does not say
  default MemoryCopy.Status copied() {
    throw Problem.GUEST_STATE.because(release().name() + " copies no memory.");
  }

  /// Source, before the order, while the guest runs: has written to the guest's disks what the host
  /// still has of them in its memory. A hypervisor that stops a guest waits for that, and the guest
  /// stands meanwhile. Returns when hardly anything is left, or the guest writes as fast as its
  /// disks do.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_PREPARE] when the disks are too slow for that
  default void writeBack() {}

  /// Source: stop the guest and send its state. Returns at once; the outcome comes as events of
  /// both instances. Allocates nothing, logs nothing.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_SWITCH] when the order could not be sent
  void handOver();

  /// Target, when its time is up: stops the process where it stands. When this returns, everything
  /// that it reported before has been delivered as an event, and it does nothing more until [#thaw]
  /// or [#kill]: a guest whose [InstanceEvent.Resumed] has not arrived has not run on it.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_SWITCH] when that cannot be made certain within
  ///   some seconds, or reports of it were lost; the process may then run or stand, and what it did
  ///   is told by [Reattacher#hasRun] alone
  void freeze();

  /// Target, after [#freeze]: lets the process go on.
  ///
  /// @throws HyperFreshException [Problem#INTERNAL]
  void thaw();

  /// Target, after [#freeze]: kills the process and does not wait for its end. It runs nothing any
  /// more; [#kill] waits until it is gone.
  ///
  /// @throws HyperFreshException [Problem#INTERNAL] when it may not be killed
  void condemn();

  /// Source, after a hand-over that failed: ends what is left of the hand-over and continues a
  /// guest that the hand-over stopped ([RunState#afterRollBack]); one that stopped for a reason of
  /// its own stays so, and so does one that somebody paused while its memory was copied. What a
  /// copy had changed of the settings is set back. Returns within some seconds, of a copy within a
  /// minute. May be called again.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_LOST] when the process has ended;
  ///   [Problem#REPLACE_STANDS] when it lives and does not answer or refuses to go on: it still
  ///   holds the guest's state, and [InstanceEvent.Answering] tells when it answers
  void takeBack();

  /// Source that was connected with its memory, as [#takeBack], but its guest stays as it is:
  /// nobody has ordered a hand-over yet, or somebody else stopped the guest.
  ///
  /// @throws HyperFreshException as [#takeBack] does
  default void withdraw() {
    throw Problem.REPLACE_STANDS.because(release().name() + " gives no memory away.");
  }

  /// Target, while preparing: makes the pages that the guest has touched present in the page tables
  /// of the process, so that the guest does not fault for each of them after the switch. Copies
  /// nothing; does what the host allows.
  ///
  /// @return bytes that were walked, 0 where the host does not allow it
  long populate();

  /// Target that runs the guest, while its source is still there: goes where the guest's
  /// hypervisors belong, unless it is there already. Such a place may end with the last process in
  /// it, as a control group does. Where there is no room for two, [#takeAddresses] tries again.
  ///
  /// @return why it is not there, in sentences; empty when it is
  default Optional<String> settle() {
    return Optional.empty();
  }

  /// When no other instance of the guest is left: takes the addresses that one process alone can
  /// have, such as those of the guest's screen and of its channels, unless it has them, and does
  /// what [#settle] does. May be called again.
  ///
  /// @return what it could not have and what to do about it, in sentences; empty when nothing is
  ///   amiss
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it does not answer
  default Optional<String> takeAddresses() {
    return Optional.empty();
  }

  /// Before the guest is given back to the manager that it was borrowed from: has the hypervisor
  /// forget what it was told for hand-overs, and tells what the manager has to know of it. The
  /// guest runs on. May be called again; [#leave] follows.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it does not answer
  default ProcessFacts handBack() {
    throw Problem.GUEST_STATE.because(release().name() + " runs no guest that was borrowed.");
  }

  /// As [#close], of an instance that nobody here controls any more. It goes on, and its control
  /// sockets are removed.
  default void leave() {
    close();
  }

  /// Page faults of the process so far, those of its vCPUs among them (`minflt` and `majflt` of
  /// proc_pid_stat(5)); empty when the process is gone.
  OptionalLong pageFaults();

  /// Source, before a replacement: what the running hypervisor itself says of moving the guest away
  /// from it, and whether the guest's disks can be taken over. Asks only; the guest is not touched.
  List<Check> checks();

  /// Source, before a replacement: tries it out beside the guest, which is not touched and runs on:
  /// a twin of its machine on the release it runs on, never started and with memory, disks and
  /// cards that are not the guest's, hands over to a target on `to`. Fails when the target rejects
  /// what it gets, or does not take it within a bounded time. Leaves nothing behind, whatever comes
  /// of it. An interrupt of the calling thread ends it early, and the answer then says nothing of
  /// the target. Several may be under way at once.
  ///
  /// @param anew whether to do so also when the same pair of releases passed earlier with a machine
  ///   of this shape, which is otherwise answered from memory
  /// @param begins told in a few words when it is really done, which takes some time and memory
  Check rehearse(Release to, boolean anew, Consumer<String> begins);

  /// Whether the process maps the guest's memory so that others see what it writes. A guest with
  /// private memory cannot move.
  boolean sharesMemory();

  /// Whose rights the process has and what bounds it, for people; empty when that is not known.
  default String confinement() {
    return "";
  }

  /// What the process printed last, or empty: why it refused something, in its own words.
  String lastWords();

  /// What the guest's vCPUs do here now.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when the hypervisor does not say
  RunState runState();

  /// Continues a guest whose vCPUs stand, for whatever reason they do, and returns when it runs.
  ///
  /// @throws HyperFreshException as [#takeBack] does
  void resume();

  /// Wakes a guest that sleeps.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when that is refused
  void wake();

  /// Resets the guest, as its reset button would.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when that is refused
  void reset();

  /// Source, after it stopped: bytes of the guest's own RAM that the hand-over copied; 0 when its
  /// memory was only mapped, empty when the source cannot be asked any more.
  OptionalLong ramBytesCopied();

  /// Target, right after it resumed: bytes it read since [#expect], which are the guest's state and
  /// firmware images, and at most a few hundred bytes of the hypervisor's own notifications.
  long stateBytes();

  /// Whether the process is gone, reported or not.
  boolean ended();

  /// When the guest's clocks stopped here last, by the host's wall clock in microseconds: before
  /// [InstanceEvent.Stopped], which waits for the vCPUs; empty when that was not noted.
  default OptionalLong clocksStoppedMicros() {
    return OptionalLong.empty();
  }

  /// When the guest's clocks went on here last, after [InstanceEvent.Resumed]; as
  /// [#clocksStoppedMicros].
  default OptionalLong clocksStartedMicros() {
    return OptionalLong.empty();
  }

  /// Whether there is a channel to an agent in the guest. Whether one listens there is another
  /// question.
  default boolean hasAgent() {
    return false;
  }

  /// Asks the agent in the guest to set the guest's wall clock to the host's, and never back. For a
  /// guest that runs; takes some milliseconds, and some seconds when nobody answers.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when there is no agent, or it does not
  ///   answer, refuses, or says that the guest's clock is ahead of the host's
  default ClockStep stepClock() {
    throw Problem.GUEST_STATE.because("There is no channel to an agent in the guest.");
  }

  /// Asks the guest to power itself off.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it cannot be asked
  void powerOff();

  /// Ends the process and waits for it, at most `limit`; after that it is killed.
  ///
  /// @throws HyperFreshException [Problem#INTERNAL] when it is not certain to be gone
  void end(Duration limit);

  /// Kills the process at once, and waits until it is gone and everything it reported has been
  /// delivered. Does nothing to one that has ended.
  ///
  /// @throws HyperFreshException [Problem#INTERNAL] when it is not certain to be gone
  void kill();

  /// Lets go of the instance's descriptors; the process, if it lives, goes on. If it has ended, its
  /// sockets are removed.
  @Override
  void close();
}
