package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.qemu.QmpConversation.Peer;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/// A process that ends when the test says so, and is connected to the peer that the test says.
final class ScriptedProcess implements QemuProcess {
  volatile boolean over;
  volatile boolean room = true;
  volatile Optional<String> otherTpm = Optional.empty();
  volatile @Nullable Peer next;

  @Override
  public int pid() {
    return 1;
  }

  @Override
  public Control reconnect() {
    Peer peer = next;
    if (peer == null) {
      throw new TroubleException("nobody listens");
    }
    return new Control(peer.ours, false);
  }

  @Override
  public void stop() {}

  @Override
  public boolean stands() {
    return true;
  }

  @Override
  public void goOn() {}

  @Override
  public void condemn() {
    over = true;
  }

  @Override
  public boolean awaitEnd(Duration limit) {
    return over;
  }

  @Override
  public void kill() {
    over = true;
  }

  @Override
  public long bytesRead() {
    return 0;
  }

  @Override
  public OptionalLong pageFaults() {
    return OptionalLong.empty();
  }

  @Override
  public List<Check> diskChecks() {
    return List.of();
  }

  @Override
  public Optional<String> settle() {
    return room ? Optional.empty() : Optional.of("there is no room");
  }

  @Override
  public Optional<String> keepTpm() {
    return otherTpm;
  }

  @Override
  public String confinement() {
    return room ? "in its cgroups" : "outside";
  }

  @Override
  public String lastWords() {
    return "";
  }

  @Override
  public void close() {}
}
