package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;

/// The process of one QEMU that runs or awaits a guest, wherever it is: on this host, or inside a
/// machine that runs on this host. What QEMU is told over its control channel is the same for both;
/// this is the rest.
///
/// As with [dev.hyperfresh.hypervisor.Instance], one thread at a time calls it. Calls throw
/// [TroubleException] and nothing else.
public interface QemuProcess extends AutoCloseable {
  /// The process cannot be reached, or does not do what it is told. What a process is in may have
  /// troubles of its own kind.
  class TroubleException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /// With one sentence, without a full stop.
    public TroubleException(String message, Throwable cause) {
      super(message, cause);
    }

    /// With one sentence, without a full stop.
    public TroubleException(String message) {
      super(message);
    }
  }

  /// The process on this host which this one is, or inside which it is.
  int pid();

  /// As [dev.hyperfresh.hypervisor.Instance#hasOwnProcess].
  default boolean hasOwnProcess() {
    return true;
  }

  /// A new control channel, after the old one was lost while the process lives.
  ///
  /// @throws dev.hyperfresh.linux.LinuxException when it cannot be connected now
  Control reconnect();

  /// A connected control channel.
  ///
  /// @param kept whether it is an end that somebody else has kept, so that QEMU does not greet
  ///   again
  record Control(UnixSocket socket, boolean kept) {}

  /// Target: where QEMU finds what comes through `channel`, as an argument of `migrate-incoming`;
  /// empty when QEMU is to be given the descriptor itself.
  default Optional<String> incoming(Fd channel) {
    return Optional.empty();
  }

  /// Source: where QEMU puts what is to go through `channel`, as an argument of `migrate`; empty
  /// when QEMU is to be given the descriptor itself.
  default Optional<String> outgoing(Fd channel) {
    return Optional.empty();
  }

  /// Stops all threads of the process. Does not wait for them.
  void stop();

  /// Whether no thread of it can run.
  boolean stands();

  /// Lets the process go on after [#stop].
  void goOn();

  /// Kills the process and does not wait.
  void condemn();

  /// Whether the process ends within `limit`.
  boolean awaitEnd(Duration limit);

  /// Kills the process and waits until it is gone.
  void kill();

  /// Bytes that the process has read so far from anything but sockets (`rchar` of proc(5)); 0 when
  /// that cannot be told.
  long bytesRead();

  /// As [dev.hyperfresh.hypervisor.Instance#pageFaults].
  OptionalLong pageFaults();

  /// The unix socket of the channel to an agent in the guest, if there is one.
  default Optional<Path> agent() {
    return Optional.empty();
  }

  /// Puts the process where the guest's hypervisors belong, unless it is there, or else where it is
  /// bounded all the same.
  ///
  /// @return why it is not where they belong, as half a sentence; empty when it is, or belongs
  ///   nowhere
  default Optional<String> settle() {
    return Optional.empty();
  }

  /// Puts the state of the guest's TPM where its owner looks for it, when no other process has it.
  ///
  /// @return what is amiss, in sentences
  default Optional<String> settleTpm() {
    return Optional.empty();
  }

  /// Forgets what other processes have of the guest's TPM: the guest is to go on here.
  ///
  /// @return why it must not go on yet, in sentences
  default Optional<String> keepTpm() {
    return Optional.empty();
  }

  /// What the host says of the guest's TPM, if it has one.
  default Optional<Check> tpmCheck() {
    return Optional.empty();
  }

  /// What the host says of the guest's disks.
  List<Check> diskChecks();

  /// The host's wall clock at the moment in which the process's own showed `micros`.
  default long hostMicros(long micros) {
    return micros;
  }

  /// As [dev.hyperfresh.hypervisor.Instance#confinement].
  String confinement();

  /// As [dev.hyperfresh.hypervisor.Instance#lastWords].
  String lastWords();

  /// The last 64 KiB of what the process printed; empty where that is not at hand.
  default String log() {
    return "";
  }

  /// As [#close], of a process that nobody here controls any more: its control sockets are removed.
  default void leave() {
    close();
  }

  /// Lets go of the process; it goes on if it lives.
  @Override
  void close();
}
