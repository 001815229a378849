package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Consumer;

/// An instance of [ToyHypervisor]. All that its guest is, is how far it has counted; this is the
/// state that a hand-over sends, eight bytes. Thread-safe.
final class ToyInstance implements Instance {
  private final Launch launch;
  private RunState state;
  private long count;
  private boolean frozen;
  private boolean ended;
  private boolean mute;

  /// Where the state is to be sent.
  private Optional<Fd> outgoing = Optional.empty();

  /// A state that has come and is not run yet.
  private OptionalLong arrived = OptionalLong.empty();

  private ToyInstance(Launch launch, RunState state) {
    this.launch = launch;
    this.state = state;
  }

  /// One whose guest begins.
  static ToyInstance booted(Launch launch) {
    return new ToyInstance(launch, RunState.RUNNING);
  }

  /// One that waits for its guest.
  static ToyInstance waiting(Launch launch) {
    return new ToyInstance(launch, RunState.AWAITING);
  }

  /// Whether this is what runs the guest of that name.
  synchronized boolean runs(String guest) {
    return launch.spec().name().equals(guest) && runsNow();
  }

  private boolean runsNow() {
    return state == RunState.RUNNING && !frozen && !ended;
  }

  /// Lets the guest count on.
  ///
  /// @return how far it has come
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it does not run here
  synchronized long count() {
    if (!runsNow()) {
      throw Problem.GUEST_STATE.because("It does not run in generation " + generation() + ".");
    }
    count++;
    return count;
  }

  /// From now on a hand-over ends the channel before it has sent anything.
  synchronized void losesItsState() {
    mute = true;
  }

  @Override
  public int generation() {
    return launch.generation();
  }

  @Override
  public Release release() {
    return launch.release();
  }

  @Override
  public int pid() {
    return (int) ProcessHandle.current().pid();
  }

  @Override
  public boolean hasOwnProcess() {
    return false;
  }

  @Override
  public Path console() {
    return Path.of("");
  }

  @Override
  public void expect(Fd channel) {
    Fd own = copy(channel);
    Thread.ofPlatform()
        .name("toy-" + launch.spec().name() + "-" + generation())
        .daemon()
        .start(() -> receive(own));
  }

  /// Waits until the state comes, or until nobody is left who could send it.
  private void receive(Fd channel) {
    byte[] bytes = new byte[Long.BYTES];
    try (channel) {
      if (channel.read(bytes, 0, bytes.length) == bytes.length) {
        arrive(ByteBuffer.wrap(bytes).getLong());
      } else {
        fail("the channel ended before the state had come");
      }
    } catch (LinuxException e) {
      fail(String.valueOf(e.getMessage()));
    }
  }

  private synchronized void arrive(long value) {
    arrived = OptionalLong.of(value);
    runArrived();
  }

  private void runArrived() {
    if (arrived.isPresent() && !frozen && !ended) {
      count = arrived.getAsLong();
      arrived = OptionalLong.empty();
      run();
    }
  }

  private void run() {
    state = RunState.RUNNING;
    tell(new InstanceEvent.Resumed(generation(), nowMicros()));
  }

  private synchronized void fail(String reason) {
    if (!ended) {
      tell(new InstanceEvent.HandOverFailed(generation(), reason));
    }
  }

  private void tell(InstanceEvent event) {
    launch.events().on(event);
  }

  private static long nowMicros() {
    return Clock.realtimeNanos() / 1000;
  }

  @Override
  public synchronized void connect(Fd channel) {
    disconnect();
    outgoing = Optional.of(copy(channel));
  }

  private static Fd copy(Fd channel) {
    try {
      return channel.duplicate();
    } catch (LinuxException e) {
      throw Problem.REPLACE_PREPARE.because(String.valueOf(e.getMessage()), e);
    }
  }

  private void disconnect() {
    outgoing.ifPresent(Fd::close);
    outgoing = Optional.empty();
  }

  @Override
  public synchronized void handOver() {
    Fd channel = outgoing.orElseThrow(() -> Problem.REPLACE_SWITCH.because("There is no channel."));
    state = RunState.SENDING;
    tell(new InstanceEvent.Stopped(generation(), nowMicros()));
    if (mute) {
      disconnect();
    } else {
      send(channel);
    }
    state = RunState.SENT;
    tell(new InstanceEvent.HandOverSent(generation(), nowMicros()));
  }

  private void send(Fd channel) {
    byte[] bytes = ByteBuffer.allocate(Long.BYTES).putLong(count).array();
    try {
      // A pipe takes so few bytes as a whole: PIPE_BUF, pipe(7).
      var _ = channel.write(bytes, 0, bytes.length);
    } catch (LinuxException e) {
      throw Problem.REPLACE_SWITCH.because(String.valueOf(e.getMessage()), e);
    }
  }

  @Override
  public synchronized void freeze() {
    frozen = true;
  }

  @Override
  public synchronized void thaw() {
    frozen = false;
    runArrived();
  }

  @Override
  public void condemn() {
    kill();
  }

  @Override
  public synchronized void takeBack() {
    requireThere(Problem.REPLACE_LOST);
    disconnect();
    if (state.afterRollBack() == RunState.AfterRollBack.CONTINUE) {
      run();
    }
  }

  private void requireThere(Problem otherwise) {
    if (ended) {
      throw otherwise.because("It has ended.");
    }
  }

  @Override
  public long populate() {
    return 0;
  }

  @Override
  public OptionalLong pageFaults() {
    return OptionalLong.empty();
  }

  @Override
  public List<Check> checks() {
    return List.of();
  }

  @Override
  public Check rehearse(Release to, boolean anew, Consumer<String> begins) {
    return to.kind().equals(ToyHypervisor.KIND)
        ? Check.pass("rehearsal", to.name() + " can count on from any number.")
        : Check.fail("rehearsal", to.name() + " cannot count.", "Choose a toy.");
  }

  /// Nothing of the guest is in its memory, so nothing of it is private.
  @Override
  public boolean sharesMemory() {
    return true;
  }

  @Override
  public String lastWords() {
    return "";
  }

  @Override
  public synchronized RunState runState() {
    requireThere(Problem.GUEST_STATE);
    return state;
  }

  @Override
  public synchronized void resume() {
    requireThere(Problem.REPLACE_LOST);
    run();
  }

  @Override
  public void wake() {
    throw Problem.GUEST_STATE.because("What counts does not sleep.");
  }

  @Override
  public synchronized void reset() {
    requireThere(Problem.GUEST_STATE);
    count = 0;
    tell(new InstanceEvent.Reset(generation()));
  }

  @Override
  public OptionalLong ramBytesCopied() {
    return OptionalLong.of(0);
  }

  @Override
  public long stateBytes() {
    return Long.BYTES;
  }

  @Override
  public synchronized boolean ended() {
    return ended;
  }

  @Override
  public synchronized void powerOff() {
    requireThere(Problem.GUEST_STATE);
    tell(new InstanceEvent.PoweredOff(generation()));
    kill();
  }

  @Override
  public void end(Duration limit) {
    kill();
  }

  @Override
  public synchronized void kill() {
    if (!ended) {
      ended = true;
      disconnect();
      tell(new InstanceEvent.Ended(generation(), "it was ended"));
    }
  }

  @Override
  public synchronized void close() {
    disconnect();
  }
}
