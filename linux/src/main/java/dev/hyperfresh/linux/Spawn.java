package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;
import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.hyperfresh.linux.ChildProcess.Request;
import dev.hyperfresh.linux.Layouts.Sigset;
import dev.hyperfresh.linux.Layouts.SpawnAttributes;
import dev.hyperfresh.linux.Layouts.SpawnFileActions;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/// One call of `posix_spawnp`: the file actions and attributes of a request.
///
/// Every descriptor is first copied to a number above all numbers of the child, so that no `dup2`
/// of the child overwrites a descriptor that a later one still needs.
final class Spawn {
  private static final int STANDARD_INPUT = 0;
  private static final int STANDARD_OUTPUT = 1;
  private static final int STANDARD_ERROR = 2;

  private final Arena arena;
  private final String program;
  private final MemorySegment actions;
  private final MemorySegment attributes;

  private Spawn(Arena arena, String program) {
    this.arena = arena;
    this.program = program;
    this.actions = arena.allocate(SpawnFileActions.TYPE.bytes(), Long.BYTES);
    this.attributes = arena.allocate(SpawnAttributes.TYPE.bytes(), Long.BYTES);
  }

  /// Starts the process and answers with its number.
  static int start(Request request) {
    List<Fd> copies = new ArrayList<>();
    try (Arena arena = Arena.ofConfined()) {
      Spawn spawn = new Spawn(arena, request.command().getFirst());
      SortedMap<Integer, Fd> wanted = new TreeMap<>(request.descriptors());
      int above = wanted.isEmpty() ? STANDARD_ERROR + 1 : wanted.lastKey() + 1;
      copies.add(outputAbove(request.output(), above));
      for (Fd descriptor : wanted.values()) {
        copies.add(descriptor.duplicateFrom(above));
      }
      return spawn.run(request, new ArrayList<>(wanted.keySet()), copies, above);
    } finally {
      copies.forEach(Fd::close);
    }
  }

  /// Ends and reaps a child that nobody can hold.
  static void abandon(int pid) {
    ProcessHandle.of(pid).ifPresent(ProcessHandle::destroyForcibly);
    ChildProcess.reap(Constants.P_PID, pid, "process " + pid);
  }

  private static Fd outputAbove(Path output, int above) {
    int flags = OpenFlags.WRITE_ONLY | OpenFlags.CREATE | OpenFlags.APPEND;
    try (Fd low = Fd.open(output, flags)) {
      return low.duplicateFrom(above);
    }
  }

  private int run(Request request, List<Integer> numbers, List<Fd> copies, int above) {
    require(SpawnCalls.actionsInit(actions), "posix_spawn_file_actions_init");
    try {
      require(SpawnCalls.attributesInit(attributes), "posix_spawnattr_init");
      try {
        chooseDescriptors(numbers, copies, above);
        resetSignals(request.newSession());
        return spawn(request);
      } finally {
        require(SpawnCalls.attributesDestroy(attributes), "posix_spawnattr_destroy");
      }
    } finally {
      require(SpawnCalls.actionsDestroy(actions), "posix_spawn_file_actions_destroy");
    }
  }

  private void chooseDescriptors(List<Integer> numbers, List<Fd> copies, int above) {
    MemorySegment nothing = arena.allocateFrom("/dev/null");
    require(
        SpawnCalls.actionsOpen(actions, STANDARD_INPUT, nothing, Constants.O_RDONLY),
        "posix_spawn_file_actions_addopen");
    duplicate(copies.getFirst(), STANDARD_OUTPUT);
    duplicate(copies.getFirst(), STANDARD_ERROR);
    for (int number = STANDARD_ERROR + 1; number < above; number++) {
      int chosen = numbers.indexOf(number);
      if (chosen >= 0) {
        duplicate(copies.get(chosen + 1), number);
      } else {
        require(SpawnCalls.actionsClose(actions, number), "posix_spawn_file_actions_addclose");
      }
    }
    require(
        SpawnCalls.actionsCloseFrom(actions, above), "posix_spawn_file_actions_addclosefrom_np");
  }

  private void duplicate(Fd from, int to) {
    require(SpawnCalls.actionsDup2(actions, from.number(), to), "posix_spawn_file_actions_adddup2");
  }

  private void resetSignals(boolean newSession) {
    MemorySegment signals = arena.allocate(Sigset.TYPE.bytes(), Long.BYTES);
    check(SignalCalls.sigemptyset(signals), "sigemptyset", program);
    require(SpawnCalls.attributesMask(attributes, signals), "posix_spawnattr_setsigmask");
    check(SignalCalls.sigfillset(signals), "sigfillset", program);
    require(SpawnCalls.attributesDefault(attributes, signals), "posix_spawnattr_setsigdefault");
    int flags =
        Constants.POSIX_SPAWN_SETSIGDEF
            | Constants.POSIX_SPAWN_SETSIGMASK
            | (newSession ? Constants.POSIX_SPAWN_SETSID : 0);
    require(SpawnCalls.attributesFlags(attributes, (short) flags), "posix_spawnattr_setflags");
  }

  private int spawn(Request request) {
    List<String> environment = new ArrayList<>();
    for (Map.Entry<String, String> variable : request.environment().entrySet()) {
      environment.add(variable.getKey() + "=" + variable.getValue());
    }
    MemorySegment pid = arena.allocate(JAVA_INT);
    MemorySegment file = arena.allocateFrom(program);
    int refused =
        SpawnCalls.spawnp(
            pid, file, actions, attributes, strings(request.command()), strings(environment));
    require(refused, "posix_spawnp");
    return pid.get(JAVA_INT, 0);
  }

  private MemorySegment strings(List<String> texts) {
    MemorySegment array = arena.allocate(ADDRESS, texts.size() + 1L);
    for (int i = 0; i < texts.size(); i++) {
      array.setAtIndex(ADDRESS, i, arena.allocateFrom(texts.get(i)));
    }
    return array;
  }

  private void require(int error, String call) {
    if (error != 0) {
      throw LinuxException.of(call, program, error);
    }
  }
}
