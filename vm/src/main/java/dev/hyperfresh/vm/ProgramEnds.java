package dev.hyperfresh.vm;

import dev.hyperfresh.linux.Signals;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;

/// Who waits for the end of which program inside a virtual machine, and ends that came before
/// anybody waited for them. When the machine ends, so do they all. Thread-safe.
final class ProgramEnds {
  /// More programs than an agent runs at once (`CHILDREN` in programs.h).
  static final int MAX_EARLY = 256;

  private final VmProcess process;

  /// The processes inside that are watched, by their numbers there.
  private final Map<Integer, Consumer<Agent.Exited>> watched = new ConcurrentHashMap<>();

  /// What ended before anybody watched it, the newest ends. Guarded by `watched`.
  private final LinkedHashMap<Integer, Agent.Exited> early = new LinkedHashMap<>();

  /// @param process of the machine, whose end nobody is told of yet: programs end before it
  ProgramEnds(VmProcess process) {
    this.process = process;
    process.onEnd(this::loseAll);
  }

  private void loseAll() {
    Map<Integer, Consumer<Agent.Exited>> left;
    synchronized (watched) {
      left = Map.copyOf(watched);
      watched.clear();
    }
    left.forEach((pid, end) -> end.accept(lost(pid)));
  }

  private Agent.Exited lost(int pid) {
    return new Agent.Exited(pid, Signals.KILL, process.label() + " ended");
  }

  /// The agent says that a program has ended.
  void exited(Agent.Exited exit) {
    Consumer<Agent.Exited> end;
    synchronized (watched) {
      end = watched.remove(exit.pid());
      if (end == null) {
        early.putLast(exit.pid(), exit);
        if (early.size() > MAX_EARLY) {
          early.pollFirstEntry();
        }
      }
    }
    if (end != null) {
      end.accept(exit);
    }
  }

  /// Has `end` told once, on a thread that must not be held, when process `pid` inside ends or the
  /// machine does.
  void watch(int pid, Consumer<Agent.Exited> end) {
    Agent.Exited before;
    synchronized (watched) {
      before = process.ended() ? lost(pid) : early.remove(pid);
      if (before == null) {
        watched.put(pid, end);
      }
    }
    if (before != null) {
      end.accept(before);
    }
  }

  /// Takes back what [#watch] was told.
  void unwatch(int pid) {
    synchronized (watched) {
      watched.remove(pid);
    }
  }
}
