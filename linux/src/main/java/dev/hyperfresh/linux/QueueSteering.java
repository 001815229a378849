package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.hyperfresh.linux.Layouts.BpfInsn;
import dev.hyperfresh.linux.Layouts.BpfMapCreate;
import dev.hyperfresh.linux.Layouts.BpfMapElement;
import dev.hyperfresh.linux.Layouts.BpfProgLoad;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/// An eBPF program that answers every packet with one number, and the map of one element that holds
/// the number. A tap that asks the program gives every packet to the queue of that number.
///
/// ```
/// r1 = address of the element     (two instruction slots)
/// r0 = *(u32 *)(r1 + 0)
/// exit
/// ```
final class QueueSteering implements AutoCloseable {
  private static final int INSTRUCTIONS = 4;
  private static final int LOAD_ADDRESS = Constants.BPF_LD | Constants.BPF_DW | Constants.BPF_IMM;
  private static final int LOAD_WORD = Constants.BPF_LDX | Constants.BPF_W | Constants.BPF_MEM;
  private static final int EXIT = Constants.BPF_JMP | Constants.BPF_EXIT;

  private final Fd map;
  private final Fd program;

  // Filled once, so that choosing a queue allocates nothing. The key that `element` points to lives
  // as
  // long as these two do: one arena holds all three.
  private final MemorySegment element;
  private final MemorySegment value;

  private QueueSteering(Fd map, Fd program) {
    Arena arena = Arena.ofAuto();
    this.map = map;
    this.program = program;
    this.value = arena.allocate(JAVA_INT);
    this.element = arena.allocate(BpfMapElement.TYPE.bytes(), Long.BYTES);
    BpfMapElement.key.set(element, arena.allocate(JAVA_INT));
    BpfMapElement.value.set(element, value);
  }

  /// Loads the program, with queue 0 chosen.
  ///
  /// @throws LinuxException when this process or this kernel may not use eBPF
  static QueueSteering load() {
    Fd map = createMap();
    try {
      return new QueueSteering(map, loadProgram(map));
    } catch (LinuxException refused) {
      map.close();
      throw refused;
    }
  }

  /// Whether a failed [#load] means that eBPF is not to be had here, rather than a fault.
  static boolean unavailable(LinuxException refused) {
    return refused.errno() == Constants.EPERM || refused.errno() == Constants.ENOSYS;
  }

  Fd program() {
    return program;
  }

  /// From the next packet on, the program answers with this number. For one thread at a time.
  void choose(int queue) {
    value.set(JAVA_INT, 0, queue);
    BpfMapElement.map_fd.set(element, map.acquire());
    try {
      check(bpf(Constants.BPF_MAP_UPDATE_ELEM, element), "bpf BPF_MAP_UPDATE_ELEM", map.label());
    } finally {
      map.release();
    }
  }

  /// Lets go of the program; a tap that uses it keeps it.
  @Override
  public void close() {
    program.close();
    map.close();
  }

  private static Fd createMap() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment attributes = arena.allocate(BpfMapCreate.TYPE.bytes(), Long.BYTES);
      BpfMapCreate.map_type.set(attributes, Constants.BPF_MAP_TYPE_ARRAY);
      BpfMapCreate.key_size.set(attributes, Integer.BYTES);
      BpfMapCreate.value_size.set(attributes, Integer.BYTES);
      BpfMapCreate.max_entries.set(attributes, 1);
      long made = bpf(Constants.BPF_MAP_CREATE, attributes);
      return Fd.adopt((int) check(made, "bpf BPF_MAP_CREATE", "queue choice"), "queue choice");
    }
  }

  private static Fd loadProgram(Fd map) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment attributes = arena.allocate(BpfProgLoad.TYPE.bytes(), Long.BYTES);
      BpfProgLoad.prog_type.set(attributes, Constants.BPF_PROG_TYPE_SOCKET_FILTER);
      BpfProgLoad.insn_cnt.set(attributes, INSTRUCTIONS);
      BpfProgLoad.insns.set(attributes, instructions(arena, map.number()));
      BpfProgLoad.license.set(attributes, arena.allocateFrom("Apache-2.0"));
      long loaded = bpf(Constants.BPF_PROG_LOAD, attributes);
      String label = "queue steering";
      return Fd.adopt((int) check(loaded, "bpf BPF_PROG_LOAD", label), label);
    }
  }

  private static MemorySegment instructions(Arena arena, int map) {
    long slot = BpfInsn.TYPE.bytes();
    MemorySegment code = arena.allocate(slot * INSTRUCTIONS, Long.BYTES);
    int address = Constants.BPF_REG_1;
    int answer = Constants.BPF_REG_0;
    BpfInsn.set(code.asSlice(0, slot), LOAD_ADDRESS, address, Constants.BPF_PSEUDO_MAP_VALUE, map);
    BpfInsn.set(code.asSlice(slot, slot), 0, 0, 0, 0);
    BpfInsn.set(code.asSlice(2 * slot, slot), LOAD_WORD, answer, address, 0);
    BpfInsn.set(code.asSlice(3 * slot, slot), EXIT, 0, 0, 0);
    return code;
  }

  private static long bpf(int command, MemorySegment attributes) {
    return DeviceCalls.bpf(command, attributes, (int) attributes.byteSize());
  }
}
