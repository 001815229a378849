package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.linux.Fd;
import java.util.List;

/// Ports that write down what is done to them, and give out spares as taps do.
final class RecordingPorts extends Endpoints {
  private final List<String> calls;
  private boolean spare;
  volatile boolean steeringFails;

  RecordingPorts(List<String> calls) {
    super(List.of());
    this.calls = calls;
  }

  @Override
  List<Fd> spares() {
    if (spare) {
      throw new IllegalStateException("has a spare already");
    }
    spare = true;
    return List.of();
  }

  @Override
  void join(boolean copying) {
    calls.add(copying ? "join copying" : "join");
  }

  @Override
  void switchOver() {
    calls.add("steer");
    if (steeringFails) {
      steeringFails = false;
      throw new IllegalStateException("no");
    }
  }

  @Override
  void switchBack() {
    calls.add("steer back");
  }

  @Override
  void keep() {
    calls.add("keep");
    spare = false;
  }

  @Override
  void drop() {
    calls.add("drop");
    spare = false;
  }
}
