package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/// What decides when a process runs beside others, as sched(7) has it. Immutable; all methods may
/// be called by any thread.
///
/// The nice value of a thread counts only inside its session where the kernel divides the cores
/// among sessions first (`autogroup`), so the session has one too.
///
/// @param policy a number of `sched.h`, such as `SCHED_OTHER`
/// @param realTime the priority under a real-time policy, 1 to 99, and 0 under others
/// @param nice -20, the first, to 19, the last
/// @param cores where it may run, never empty
/// @param session the nice value of its session; empty where sessions have none
public record CpuPriority(int policy, int realTime, int nice, BitSet cores, OptionalInt session) {
  private static final int LAST = 19;

  // linux/capability.h CAP_SYS_NICE
  private static final int CAP_SYS_NICE = 23;

  /// The largest set of cores that the kernel can have, in bytes: 4096 of them.
  private static final int CORES_BYTES = 512;

  /// Copies the set.
  public CpuPriority {
    cores = (BitSet) cores.clone();
    if (cores.isEmpty()) {
      throw new IllegalArgumentException("a process may run on one core at least");
    }
  }

  @Override
  public BitSet cores() {
    return (BitSet) cores.clone();
  }

  /// Whether this process may give another one more than that has now (`CAP_SYS_NICE`). Without it
  /// nothing should be taken that is to be given back.
  public static boolean mayRaise() {
    try {
      return Files.readAllLines(Path.of("/proc/thread-self/status")).stream()
          .filter(line -> line.startsWith("CapEff:"))
          .anyMatch(line ->
              (Long.parseUnsignedLong(line.split("\\s+")[1], 16) >>> CAP_SYS_NICE & 1) == 1);
    } catch (IOException e) {
      return false;
    }
  }

  /// What the main thread of a process has.
  ///
  /// @return empty when there is no such process
  public static Optional<CpuPriority> of(int pid) {
    return ofThread(pid, pid);
  }

  /// What one thread of a process has.
  ///
  /// @return empty when there is no such thread
  public static Optional<CpuPriority> ofThread(int pid, int tid) {
    Path thread = Path.of("/proc", Integer.toString(pid), "task", Integer.toString(tid));
    try {
      // The name in brackets may hold anything; counted from the third field, as proc(5) has them.
      String stat = Files.readString(thread.resolve("stat"), StandardCharsets.ISO_8859_1);
      String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
      return Optional.of(
          new CpuPriority(
              Integer.parseInt(fields[41 - 3]),
              Integer.parseInt(fields[40 - 3]),
              Integer.parseInt(fields[19 - 3]),
              cores(Files.readAllLines(thread.resolve("status"), StandardCharsets.ISO_8859_1)),
              session(pid)));
    } catch (IOException gone) {
      return Optional.empty();
    }
  }

  /// What the threads of a process have, by their names: those of a hypervisor that are a guest's
  /// processors may have cores of their own.
  ///
  /// @param main what the main thread has, and every thread of another process whose name is not
  ///   here
  public record OfThreads(CpuPriority main, Map<String, CpuPriority> named) {
    /// Copies the map.
    public OfThreads {
      named = Map.copyOf(named);
    }

    /// What the threads of process `pid` have now.
    ///
    /// @return empty when there is no such process
    public static Optional<OfThreads> of(int pid) {
      Map<String, CpuPriority> named = new HashMap<>();
      for (int thread : ProcessThreads.of(pid)) {
        CpuPriority.ofThread(pid, thread)
            .ifPresent(priority -> named.put(ProcessThreads.name(pid, thread), priority));
      }
      return CpuPriority.of(pid).map(main -> new OfThreads(main, named));
    }

    /// As [CpuPriority#giveTo].
    public void giveTo(int pid) {
      ProcessThreads.forEach(
          pid,
          thread ->
              named.getOrDefault(ProcessThreads.name(pid, thread), main).giveToThread(thread));
      main.session.ifPresent(nice -> niceSession(pid, nice));
    }
  }

  private static BitSet cores(List<String> status) throws IOException {
    for (String line : status) {
      if (line.startsWith("Cpus_allowed:")) {
        return cores(line.split("\\s+")[1]);
      }
    }
    throw new IOException("no line Cpus_allowed");
  }

  /// Reads a mask such as `3` or `f,ffffffff`: words of 32 cores, the last ones first.
  static BitSet cores(String mask) {
    String[] words = mask.split(",");
    BitSet cores = new BitSet();
    for (int i = 0; i < words.length; i++) {
      long word = Long.parseLong(words[words.length - 1 - i], 16);
      for (int bit = 0; bit < Integer.SIZE; bit++) {
        cores.set(i * Integer.SIZE + bit, (word >>> bit & 1) == 1);
      }
    }
    return cores;
  }

  /// As in `/autogroup-264 nice 0`.
  private static OptionalInt session(int pid) {
    Optional<String> line = autogroup(Integer.toString(pid));
    return line.isPresent()
        ? OptionalInt.of(Integer.parseInt(line.get().substring(line.get().lastIndexOf(' ') + 1)))
        : OptionalInt.empty();
  }

  private static Optional<String> autogroup(String process) {
    try {
      return Optional.of(Files.readString(Path.of("/proc", process, "autogroup")).strip())
          .filter(line -> line.contains(" nice "));
    } catch (IOException none) {
      return Optional.empty();
    }
  }

  /// Lets every thread of process `pid` wait for all others of the host, and its session too unless
  /// it is that of this process. What it had before is what [#of] said.
  public static void background(int pid) {
    ProcessThreads.forEach(pid, CpuPriority::last);
    niceSession(pid, LAST);
  }

  private static void last(int tid) {
    Scheduling.set(tid, Constants.SCHED_IDLE, 0);
    Scheduling.nice(tid, LAST);
  }

  /// Gives this to every thread of process `pid`, also to those that it starts meanwhile, and to
  /// its session unless it is that of this process. What may not be given is left as it is.
  public void giveTo(int pid) {
    ProcessThreads.forEach(pid, this::giveToThread);
    session.ifPresent(nice -> niceSession(pid, nice));
  }

  private void giveToThread(int tid) {
    Scheduling.set(tid, policy, realTime);
    Scheduling.nice(tid, nice);
    allow(tid, cores);
  }

  private static void allow(int tid, BitSet cores) {
    byte[] bits = cores.toByteArray();
    MemorySegment set = Scratch.mine().arguments().asSlice(0, CORES_BYTES);
    set.fill((byte) 0);
    MemorySegment.copy(bits, 0, set, JAVA_BYTE, 0, bits.length);
    int done = ThreadCalls.schedSetaffinity(tid, CORES_BYTES, set);
    // EINVAL: its control group has none of these cores any more.
    if (done != -Constants.ESRCH && done != -Constants.EPERM && done != -Constants.EINVAL) {
      check(done, "sched_setaffinity", "thread " + tid);
    }
  }

  private static void niceSession(int pid, int nice) {
    String process = Integer.toString(pid);
    Optional<String> theirs = autogroup(process);
    if (theirs.isEmpty() || theirs.equals(autogroup("self"))) {
      return;
    }
    try {
      Files.writeString(Path.of("/proc", process, "autogroup"), Integer.toString(nice));
    } catch (IOException refused) {
      // The process is gone, or its session may not be touched: then its threads alone wait.
      return;
    }
  }
}
