package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.hyperfresh.linux.Layouts.Block;
import dev.hyperfresh.linux.Layouts.KvmCpuid;
import dev.hyperfresh.linux.Layouts.KvmCpuidEntry;
import dev.hyperfresh.linux.Layouts.KvmMemoryRegion;
import dev.hyperfresh.linux.Layouts.KvmRegs;
import dev.hyperfresh.linux.Layouts.KvmRun;
import dev.hyperfresh.linux.Layouts.KvmSegment;
import dev.hyperfresh.linux.Layouts.KvmSignalMask;
import dev.hyperfresh.linux.Layouts.KvmSregs;
import dev.hyperfresh.linux.Layouts.Sigset;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/// A throw-away virtual machine that counts down in ring 0 or ring 3, and how fast it does.
///
/// The guest is in 64-bit mode with one page table that maps 2 MiB of memory onto itself:
///
/// ```
/// 0x1000  PML4     0x2000  PDPT     0x3000  page directory     0x4000  code
/// ```
final class KvmTrial {
  /// The virtual machine does not do what the processor's manual says it must.
  static final class Stuck extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Stuck(String message) {
      super(message);
    }
  }

  private static final long MEMORY_BYTES = 2L << 20;
  private static final long PML4 = 0x1000;
  private static final long PDPT = 0x2000;
  private static final long PAGE_DIRECTORY = 0x3000;
  private static final long CODE = 0x4000;
  private static final long STACK_END = 0x10000;

  // Intel SDM volume 3: present, writable, user; and 2 MiB pages.
  private static final long TABLE = 0x7;
  private static final long LARGE_PAGE = 0x87;
  private static final long CR0_PROTECTED_PAGED = 0x8000_0033L;
  private static final long CR4_PAE = 0x20;
  private static final long EFER_LONG_MODE = 0x500;

  // Input and output are allowed to ring 3 (IOPL 3), so that it can leave the loop as ring 0 does.
  private static final long RFLAGS_IOPL3 = 0x3002;

  /// The guest's code: `again: sub rcx, 1; jnz again; out 0x10, al`.
  static final byte[] COUNT_DOWN = {
    0x48, (byte) 0x83, (byte) 0xe9, 0x01, 0x75, (byte) 0xfa, (byte) 0xe6, 0x10
  };

  private static final int INSTRUCTIONS_A_TURN = 2;

  // Four unused pages below the firmware, where Intel processors want a task state segment.
  private static final long TSS_ADDRESS = 0xfffb_d000L;
  private static final int MAX_CPUID_ENTRIES = 256;
  private static final int KERNEL_SIGSET_BYTES = 8;

  // Short enough to end soon where a turn costs 2 µs, and then longer while that is not measurable.
  private static final long FIRST_TURNS = 4_000;
  private static final long GROWTH = 16;
  private static final long LONG_ENOUGH_NANOS = 5_000_000;

  private final Fd kvm;
  private final byte[] code;
  private final CountDownLatch looping = new CountDownLatch(1);
  private volatile int tid;
  private volatile boolean stopped;

  /// @param code what the guest runs: with RCX turns to make, and an output as its end
  KvmTrial(Fd kvm, byte[] code) {
    this.kvm = kvm;
    this.code = code;
  }

  /// Measures both rings on the calling thread, which is of no use for anything else afterwards.
  ///
  /// @throws Stuck when the virtual machine leaves the loop by another way than its end
  KvmProbe.Speeds run() {
    try {
      return runMachine();
    } finally {
      looping.countDown();
    }
  }

  /// Waits until [#run] enters its first loop or ends before that. What comes earlier is bounded by
  /// itself, and slow where Java makes its first calls.
  void awaitLoop() throws InterruptedException {
    looping.await();
  }

  private KvmProbe.Speeds runMachine() {
    blockKick();
    tid = ThreadCalls.gettid();
    int version = ioctl(kvm, "KVM_GET_API_VERSION", Constants.KVM_GET_API_VERSION, 0);
    if (version != Constants.KVM_API_VERSION) {
      throw new Stuck("it speaks version " + version + " of the KVM interface, not 12");
    }
    try (Mapping memory = Mapping.anonymous(MEMORY_BYTES, "probe memory");
        Fd machine = made("KVM_CREATE_VM", kvm, Constants.KVM_CREATE_VM)) {
      fill(memory.segment());
      giveMemory(machine, memory.segment());
      try (Fd cpu = made("KVM_CREATE_VCPU", machine, Constants.KVM_CREATE_VCPU);
          Mapping run = Mapping.shared(cpu, runBytes(), true, "kvm_run")) {
        copyFeatures(cpu);
        unblockKick(cpu);
        looping.countDown();
        double ring3 = speed(cpu, run.segment(), 3);
        return new KvmProbe.Speeds(speed(cpu, run.segment(), 0), ring3);
      }
    }
  }

  /// Ends [#run] soon, from another thread.
  void stop() {
    stopped = true;
    int target = tid;
    if (target > 0) {
      int sent = SignalCalls.tgkill((int) ProcessHandle.current().pid(), target, Constants.SIGURG);
      if (sent != -Constants.ESRCH) {
        check(sent, "tgkill SIGURG", "hf-kvm-probe");
      }
    }
  }

  // SIGURG is blocked in this thread but not in KVM_RUN, which therefore ends with EINTR when one
  // is
  // sent, without any handler. Anywhere else the signal would be ignored, which is its default.
  private static void blockKick() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment kick = arena.allocate(Sigset.TYPE.bytes(), Long.BYTES);
      check(SignalCalls.sigemptyset(kick), "sigemptyset", "SIGURG");
      check(SignalCalls.sigaddset(kick, Constants.SIGURG), "sigaddset", "SIGURG");
      int refused = SignalCalls.pthreadSigmask(Constants.SIG_BLOCK, kick);
      check(-refused, "pthread_sigmask", "SIGURG");
    }
  }

  // All other signals stay with the other threads, or the JVM would handle one in the middle of
  // this.
  private static void unblockKick(Fd cpu) {
    try (Arena arena = Arena.ofConfined()) {
      long header = KvmSignalMask.TYPE.bytes();
      MemorySegment mask = arena.allocate(header + KERNEL_SIGSET_BYTES, Long.BYTES);
      KvmSignalMask.len.set(mask, KERNEL_SIGSET_BYTES);
      long allButKick = ~(1L << (Constants.SIGURG - 1));
      mask.set(JAVA_LONG.withByteAlignment(4), header, allButKick);
      ioctl(cpu, "KVM_SET_SIGNAL_MASK", Constants.KVM_SET_SIGNAL_MASK, mask);
    }
  }

  private void fill(MemorySegment memory) {
    memory.set(JAVA_LONG, PML4, PDPT | TABLE);
    memory.set(JAVA_LONG, PDPT, PAGE_DIRECTORY | TABLE);
    memory.set(JAVA_LONG, PAGE_DIRECTORY, LARGE_PAGE);
    MemorySegment.copy(MemorySegment.ofArray(code), 0, memory, CODE, code.length);
  }

  private static void giveMemory(Fd machine, MemorySegment memory) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment region = arena.allocate(KvmMemoryRegion.TYPE.bytes(), Long.BYTES);
      KvmMemoryRegion.memory_size.set(region, memory.byteSize());
      KvmMemoryRegion.userspace_addr.set(region, memory);
      ioctl(machine, "KVM_SET_USER_MEMORY_REGION", Constants.KVM_SET_USER_MEMORY_REGION, region);
    }
    ioctl(machine, "KVM_SET_TSS_ADDR", Constants.KVM_SET_TSS_ADDR, TSS_ADDRESS);
  }

  private long runBytes() {
    return ioctl(kvm, "KVM_GET_VCPU_MMAP_SIZE", Constants.KVM_GET_VCPU_MMAP_SIZE, 0);
  }

  private void copyFeatures(Fd cpu) {
    try (Arena arena = Arena.ofConfined()) {
      long bytes = KvmCpuid.TYPE.bytes() + MAX_CPUID_ENTRIES * KvmCpuidEntry.TYPE.bytes();
      MemorySegment features = arena.allocate(bytes, Long.BYTES);
      KvmCpuid.nent.set(features, MAX_CPUID_ENTRIES);
      ioctl(kvm, "KVM_GET_SUPPORTED_CPUID", Constants.KVM_GET_SUPPORTED_CPUID, features);
      ioctl(cpu, "KVM_SET_CPUID2", Constants.KVM_SET_CPUID2, features);
    }
  }

  private double speed(Fd cpu, MemorySegment run, int ring) {
    enterLongMode(cpu, ring);
    long turns = FIRST_TURNS;
    long nanos = timeLoop(cpu, run, turns, ring);
    while (nanos < LONG_ENOUGH_NANOS) {
      turns *= GROWTH;
      nanos = timeLoop(cpu, run, turns, ring);
    }
    return turns * INSTRUCTIONS_A_TURN * 1e3 / nanos;
  }

  private long timeLoop(Fd cpu, MemorySegment run, long turns, int ring) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment registers = arena.allocate(KvmRegs.TYPE.bytes(), Long.BYTES);
      KvmRegs.rip.set(registers, CODE);
      KvmRegs.rsp.set(registers, STACK_END);
      KvmRegs.rcx.set(registers, turns);
      KvmRegs.rflags.set(registers, RFLAGS_IOPL3);
      ioctl(cpu, "KVM_SET_REGS", Constants.KVM_SET_REGS, registers);
    }
    long start = System.nanoTime();
    runUntilExit(cpu, ring);
    long nanos = System.nanoTime() - start;
    int reason = KvmRun.exit_reason.get(run);
    if (reason != Constants.KVM_EXIT_IO) {
      throw new Stuck("a loop in ring " + ring + " ended with exit reason " + reason);
    }
    finishOut(cpu, run);
    return nanos;
  }

  private void runUntilExit(Fd cpu, int ring) {
    int done;
    do {
      if (stopped) {
        throw new Stuck("a loop in ring " + ring + " did not end in time");
      }
      done = DeviceCalls.ioctl(cpu.number(), Constants.KVM_RUN, MemorySegment.NULL);
    } while (done == -Constants.EINTR);
    check(done, "ioctl KVM_RUN", "ring " + ring);
  }

  // An output instruction is complete only when KVM_RUN is entered again; new registers set before
  // would be moved on by it. An immediate exit completes it and runs nothing.
  private static void finishOut(Fd cpu, MemorySegment run) {
    KvmRun.immediate_exit.set(run, 1);
    int done = DeviceCalls.ioctl(cpu.number(), Constants.KVM_RUN, MemorySegment.NULL);
    KvmRun.immediate_exit.set(run, 0);
    if (done != -Constants.EINTR) {
      throw new Stuck("an immediate exit ran the guest, with the result " + done);
    }
  }

  private static void enterLongMode(Fd cpu, int ring) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment registers = arena.allocate(KvmSregs.TYPE.bytes(), Long.BYTES);
      ioctl(cpu, "KVM_GET_SREGS", Constants.KVM_GET_SREGS, registers);
      KvmSregs.cr0.set(registers, CR0_PROTECTED_PAGED);
      KvmSregs.cr3.set(registers, PML4);
      KvmSregs.cr4.set(registers, CR4_PAE);
      KvmSregs.efer.set(registers, EFER_LONG_MODE);
      flat(KvmSregs.cs.in(registers), 8 | ring, ring, true);
      for (Block data : List.of(KvmSregs.ds, KvmSregs.es, KvmSregs.fs, KvmSregs.gs, KvmSregs.ss)) {
        flat(data.in(registers), 16 | ring, ring, false);
      }
      ioctl(cpu, "KVM_SET_SREGS", Constants.KVM_SET_SREGS, registers);
    }
  }

  // Types 11 and 3 are accessed code that can be read and accessed data that can be written.
  private static void flat(MemorySegment segment, int selector, int ring, boolean code) {
    KvmSegment.base.set(segment, 0);
    KvmSegment.limit.set(segment, 0xffff_ffff);
    KvmSegment.selector.set(segment, selector);
    KvmSegment.type.set(segment, code ? 11 : 3);
    KvmSegment.present.set(segment, 1);
    KvmSegment.dpl.set(segment, ring);
    KvmSegment.db.set(segment, code ? 0 : 1);
    KvmSegment.s.set(segment, 1);
    KvmSegment.l.set(segment, code ? 1 : 0);
    KvmSegment.g.set(segment, 1);
  }

  private static Fd made(String call, Fd parent, long request) {
    return Fd.adopt(ioctl(parent, call, request, 0), call);
  }

  private static int ioctl(Fd fd, String call, long request, long argument) {
    return ioctl(fd, call, request, MemorySegment.ofAddress(argument));
  }

  private static int ioctl(Fd fd, String call, long request, MemorySegment argument) {
    int done = DeviceCalls.ioctl(fd.number(), request, argument);
    return check(done, "ioctl " + call, fd.label());
  }
}
