package dev.hyperfresh.linux;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;

/// Every C structure that this package fills or reads.
///
/// One nested class stands for one C type; its [CType] names the type and each [Member] carries the
/// name of the C member. The header audit test reads these classes and asks a C compiler about
/// every size and offset, so a member needs nothing here but to be listed.
final class Layouts {
  private Layouts() {}

  /// A C type. `whole` says that `bytes` is its size; otherwise the listed members are a prefix of
  /// a type that grows with the kernel.
  record CType(String name, long bytes, boolean whole) {}

  /// A member of a C type: where it starts and how long it is, in bytes.
  sealed interface Member {
    long at();

    long bytes();
  }

  /// One byte.
  record I8(long at) implements Member {
    @Override
    public long bytes() {
      return Byte.BYTES;
    }

    void set(MemorySegment struct, int value) {
      struct.set(JAVA_BYTE, at, (byte) value);
    }
  }

  /// Two bytes, in the order of the machine.
  record I16(long at) implements Member {
    @Override
    public long bytes() {
      return Short.BYTES;
    }

    int get(MemorySegment struct) {
      return Short.toUnsignedInt(struct.get(JAVA_SHORT_UNALIGNED, at));
    }

    void set(MemorySegment struct, int value) {
      struct.set(JAVA_SHORT_UNALIGNED, at, (short) value);
    }
  }

  /// Four bytes, in the order of the machine.
  record I32(long at) implements Member {
    @Override
    public long bytes() {
      return Integer.BYTES;
    }

    int get(MemorySegment struct) {
      return struct.get(JAVA_INT_UNALIGNED, at);
    }

    void set(MemorySegment struct, int value) {
      struct.set(JAVA_INT_UNALIGNED, at, value);
    }
  }

  /// Eight bytes, in the order of the machine: a number or an address.
  record I64(long at) implements Member {
    @Override
    public long bytes() {
      return Long.BYTES;
    }

    long get(MemorySegment struct) {
      return struct.get(JAVA_LONG_UNALIGNED, at);
    }

    void set(MemorySegment struct, long value) {
      struct.set(JAVA_LONG_UNALIGNED, at, value);
    }

    void set(MemorySegment struct, MemorySegment target) {
      set(struct, target.address());
    }
  }

  /// An array or a structure inside a structure.
  record Block(long at, long bytes) implements Member {
    MemorySegment in(MemorySegment struct) {
      return struct.asSlice(at, bytes);
    }
  }

  private static CType whole(String name, long bytes) {
    return new CType(name, bytes, true);
  }

  private static CType prefix(String name, long bytes) {
    return new CType(name, bytes, false);
  }

  static final class Timespec {
    static final CType TYPE = whole("struct timespec", 16);
    static final I64 tv_sec = new I64(0);
    static final I64 tv_nsec = new I64(8);
  }

  static final class Timeval {
    static final CType TYPE = whole("struct timeval", 16);
    static final I64 tv_sec = new I64(0);
    static final I64 tv_usec = new I64(8);
  }

  static final class Stat {
    static final CType TYPE = whole("struct stat", 144);
    static final I64 st_dev = new I64(0);
    static final I64 st_ino = new I64(8);
    static final I32 st_mode = new I32(24);
    static final I64 st_size = new I64(48);
    static final I64 st_blocks = new I64(64);
  }

  static final class Statx {
    static final CType TYPE = whole("struct statx", 256);
    static final I32 stx_uid = new I32(20);
    static final I16 stx_mode = new I16(28);
    static final I64 stx_ino = new I64(32);
    static final I32 stx_dev_major = new I32(136);
    static final I32 stx_dev_minor = new I32(140);
  }

  static final class Statfs {
    static final CType TYPE = whole("struct statfs", 120);
    static final I64 f_type = new I64(0);
    static final I64 f_bsize = new I64(8);
  }

  static final class OpenHow {
    static final CType TYPE = prefix("struct open_how", 24);
    static final I64 flags = new I64(0);
    static final I64 mode = new I64(8);
    static final I64 resolve = new I64(16);
  }

  static final class Dirent64 {
    // The name follows, and its terminating NUL; the next entry begins d_reclen after this one.
    static final CType TYPE = prefix("struct dirent64", 19);
    static final I16 d_reclen = new I16(16);
  }

  static final class Pollfd {
    static final CType TYPE = whole("struct pollfd", 8);
    static final I32 fd = new I32(0);
    static final I16 events = new I16(4);
    static final I16 revents = new I16(6);
  }

  static final class Iovec {
    static final CType TYPE = whole("struct iovec", 16);
    static final I64 iov_base = new I64(0);
    static final I64 iov_len = new I64(8);
  }

  static final class Msghdr {
    static final CType TYPE = whole("struct msghdr", 56);
    static final I64 msg_iov = new I64(16);
    static final I64 msg_iovlen = new I64(24);
    static final I64 msg_control = new I64(32);
    static final I64 msg_controllen = new I64(40);
    static final I32 msg_flags = new I32(48);
  }

  static final class Cmsghdr {
    static final CType TYPE = whole("struct cmsghdr", 16);
    static final I64 cmsg_len = new I64(0);
    static final I32 cmsg_level = new I32(8);
    static final I32 cmsg_type = new I32(12);
  }

  static final class SockaddrUn {
    static final CType TYPE = whole("struct sockaddr_un", 110);
    static final I16 sun_family = new I16(0);
    static final Block sun_path = new Block(2, 108);
  }

  static final class SockaddrIn {
    static final CType TYPE = whole("struct sockaddr_in", 16);
    static final I16 sin_family = new I16(0);
    static final Block sin_port = new Block(2, 2);
    static final Block sin_addr = new Block(4, 4);
  }

  static final class SockaddrIn6 {
    static final CType TYPE = whole("struct sockaddr_in6", 28);
    static final I16 sin6_family = new I16(0);
    static final Block sin6_port = new Block(2, 2);
    static final Block sin6_addr = new Block(8, 16);
    static final I32 sin6_scope_id = new I32(24);
  }

  static final class Ucred {
    static final CType TYPE = whole("struct ucred", 12);
    static final I32 pid = new I32(0);
    static final I32 uid = new I32(4);
    static final I32 gid = new I32(8);
  }

  static final class SchedParam {
    static final CType TYPE = whole("struct sched_param", 4);
    static final I32 sched_priority = new I32(0);
  }

  static final class Siginfo {
    static final CType TYPE = whole("siginfo_t", 128);
    static final I32 si_code = new I32(8);
    static final I32 si_pid = new I32(16);
    static final I32 si_status = new I32(24);
  }

  static final class Sigset {
    static final CType TYPE = whole("sigset_t", 128);
  }

  static final class SpawnFileActions {
    static final CType TYPE = whole("posix_spawn_file_actions_t", 80);
  }

  static final class SpawnAttributes {
    static final CType TYPE = whole("posix_spawnattr_t", 336);
  }

  static final class Ifreq {
    static final CType TYPE = whole("struct ifreq", 40);
    static final Block ifr_name = new Block(0, 16);
    static final I16 ifr_flags = new I16(16);
    static final I32 ifr_ifindex = new I32(16);
    static final I32 ifr_mtu = new I32(16);
    static final Block ifr_hwaddr = new Block(16, 16);
  }

  static final class Nlmsghdr {
    static final CType TYPE = whole("struct nlmsghdr", 16);
    static final I32 nlmsg_len = new I32(0);
    static final I16 nlmsg_type = new I16(4);
    static final I16 nlmsg_flags = new I16(6);
  }

  static final class Ifinfomsg {
    static final CType TYPE = whole("struct ifinfomsg", 16);
    static final I32 ifi_index = new I32(4);
  }

  static final class BpfInsn {
    static final CType TYPE = whole("struct bpf_insn", 8);
    static final I8 code = new I8(0);
    static final I16 off = new I16(2);
    static final I32 imm = new I32(4);

    // dst_reg and src_reg are bit-fields of the byte after the code, the destination in the low
    // half.
    static void set(MemorySegment insn, int opcode, int destination, int source, int immediate) {
      code.set(insn, opcode);
      insn.set(JAVA_BYTE, code.at() + 1, (byte) (source << 4 | destination));
      off.set(insn, 0);
      imm.set(insn, immediate);
    }
  }

  /// The part of `union bpf_attr` that BPF_MAP_CREATE reads.
  static final class BpfMapCreate {
    static final CType TYPE = prefix("union bpf_attr", 16);
    static final I32 map_type = new I32(0);
    static final I32 key_size = new I32(4);
    static final I32 value_size = new I32(8);
    static final I32 max_entries = new I32(12);
  }

  /// The part of `union bpf_attr` that BPF_PROG_LOAD needs; all that follows is optional.
  static final class BpfProgLoad {
    static final CType TYPE = prefix("union bpf_attr", 48);
    static final I32 prog_type = new I32(0);
    static final I32 insn_cnt = new I32(4);
    static final I64 insns = new I64(8);
    static final I64 license = new I64(16);
  }

  /// The part of `union bpf_attr` that BPF_MAP_UPDATE_ELEM reads.
  static final class BpfMapElement {
    static final CType TYPE = prefix("union bpf_attr", 32);
    static final I32 map_fd = new I32(0);
    static final I64 key = new I64(8);
    static final I64 value = new I64(16);
  }

  static final class KvmMemoryRegion {
    static final CType TYPE = whole("struct kvm_userspace_memory_region", 32);
    static final I64 memory_size = new I64(16);
    static final I64 userspace_addr = new I64(24);
  }

  static final class KvmRegs {
    static final CType TYPE = whole("struct kvm_regs", 144);
    static final I64 rcx = new I64(16);
    static final I64 rsp = new I64(48);
    static final I64 rip = new I64(128);
    static final I64 rflags = new I64(136);
  }

  static final class KvmSegment {
    static final CType TYPE = whole("struct kvm_segment", 24);
    static final I64 base = new I64(0);
    static final I32 limit = new I32(8);
    static final I16 selector = new I16(12);
    static final I8 type = new I8(14);
    static final I8 present = new I8(15);
    static final I8 dpl = new I8(16);
    static final I8 db = new I8(17);
    static final I8 s = new I8(18);
    static final I8 l = new I8(19);
    static final I8 g = new I8(20);
  }

  static final class KvmSregs {
    static final CType TYPE = whole("struct kvm_sregs", 312);
    static final Block cs = new Block(0, 24);
    static final Block ds = new Block(24, 24);
    static final Block es = new Block(48, 24);
    static final Block fs = new Block(72, 24);
    static final Block gs = new Block(96, 24);
    static final Block ss = new Block(120, 24);
    static final I64 cr0 = new I64(224);
    static final I64 cr3 = new I64(240);
    static final I64 cr4 = new I64(248);
    static final I64 efer = new I64(264);
  }

  static final class KvmCpuid {
    static final CType TYPE = whole("struct kvm_cpuid2", 8);
    static final I32 nent = new I32(0);
  }

  static final class KvmCpuidEntry {
    static final CType TYPE = whole("struct kvm_cpuid_entry2", 40);
  }

  static final class KvmSignalMask {
    static final CType TYPE = whole("struct kvm_signal_mask", 4);
    static final I32 len = new I32(0);
  }

  static final class KvmRun {
    static final CType TYPE = prefix("struct kvm_run", 16);
    static final I8 immediate_exit = new I8(1);
    static final I32 exit_reason = new I32(8);
  }
}
