package dev.hyperfresh.linux;

/// Every number of the kernel and of glibc that this package uses, under its C name.
///
/// The names matter: the header audit test reads the fields of this class and asks a C compiler
/// whether each has the value of the C constant of that name.
final class Constants {
  private Constants() {}

  // errno.h: the results that the code tells apart.
  static final int EPERM = 1;
  static final int ENOENT = 2;
  static final int ESRCH = 3;
  static final int EINTR = 4;
  static final int ENXIO = 6;
  static final int EAGAIN = 11;
  static final int EACCES = 13;
  static final int EEXIST = 17;
  static final int EXDEV = 18;
  static final int ENODEV = 19;
  static final int ENOTDIR = 20;
  static final int EISDIR = 21;
  static final int EINVAL = 22;
  static final int ENOTTY = 25;
  static final int ENOSYS = 38;
  static final int ENOTEMPTY = 39;
  static final int ELOOP = 40;
  static final int EBADFD = 77;
  static final int EMSGSIZE = 90;
  static final int EOPNOTSUPP = 95;

  // fcntl.h
  static final int O_RDONLY = 0;
  static final int O_WRONLY = 0x1;
  static final int O_RDWR = 0x2;
  static final int O_CREAT = 0x40;
  static final int O_EXCL = 0x80;
  static final int O_TRUNC = 0x200;
  static final int O_APPEND = 0x400;
  static final int O_NONBLOCK = 0x800;
  static final int O_DIRECT = 0x4000;
  static final int O_DIRECTORY = 0x10000;
  static final int O_NOFOLLOW = 0x20000;
  static final int O_CLOEXEC = 0x80000;
  static final int O_PATH = 0x200000;
  static final int O_TMPFILE = 0x410000;
  static final int AT_FDCWD = -100;
  static final int AT_REMOVEDIR = 0x200;
  static final int AT_STATX_DONT_SYNC = 0x4000;
  static final int F_DUPFD_CLOEXEC = 1030;
  static final int F_SETPIPE_SZ = 1031;
  static final int F_ADD_SEALS = 1033;
  static final int F_GET_SEALS = 1034;
  static final int F_SEAL_SHRINK = 0x2;
  static final int F_SEAL_GROW = 0x4;

  // stdio.h
  static final int RENAME_NOREPLACE = 0x1;
  static final int RENAME_EXCHANGE = 0x2;

  // linux/capability.h, sys/syscall.h
  static final int _LINUX_CAPABILITY_VERSION_3 = 0x20080522;
  static final int SYS_setgroups = 116;
  static final int SYS_setresuid = 117;
  static final int SYS_setresgid = 119;
  static final int SYS_capset = 126;

  // linux/openat2.h, sys/syscall.h
  static final int SYS_openat2 = 437;
  static final int RESOLVE_NO_XDEV = 0x01;
  static final int RESOLVE_NO_MAGICLINKS = 0x02;
  static final int RESOLVE_NO_SYMLINKS = 0x04;
  static final int RESOLVE_BENEATH = 0x08;

  // sys/stat.h
  static final int S_IFMT = 0xf000;
  static final int S_IFREG = 0x8000;
  static final int STATX_BASIC_STATS = 0x7ff;

  // unistd.h
  static final int FALLOC_FL_KEEP_SIZE = 1;
  static final int FALLOC_FL_PUNCH_HOLE = 2;
  static final int FALLOC_FL_COLLAPSE_RANGE = 8;
  static final int SEEK_SET = 0;
  static final int SEEK_DATA = 3;
  static final int SEEK_HOLE = 4;

  // linux/netlink.h, linux/rtnetlink.h
  static final int NLM_F_REQUEST = 0x1;
  static final int NLM_F_ACK = 0x4;
  static final int NLMSG_ERROR = 0x2;
  static final int RTM_NEWLINK = 16;
  static final int RTM_DELLINK = 17;
  static final int RTM_GETLINK = 18;

  // poll.h
  static final int POLLIN = 0x1;
  static final int POLLNVAL = 0x20;

  // sys/mman.h
  static final int MFD_CLOEXEC = 0x1;
  static final int MFD_ALLOW_SEALING = 0x2;
  static final int MFD_HUGETLB = 0x4;
  static final int PROT_READ = 0x1;
  static final int PROT_WRITE = 0x2;
  static final int MAP_SHARED = 0x1;
  static final int MAP_PRIVATE = 0x2;
  static final int MAP_ANONYMOUS = 0x20;
  static final int MAP_NORESERVE = 0x4000;

  // Also where the size of its pages stands in the flags of memfd_create: MFD_HUGE_SHIFT.
  static final int MAP_HUGE_SHIFT = 26;

  // linux/magic.h
  static final long HUGETLBFS_MAGIC = 0x958458f6L;
  static final long PROC_SUPER_MAGIC = 0x9fa0L;
  static final long SYSFS_MAGIC = 0x62656572L;

  // sys/socket.h
  static final int AF_UNIX = 1;
  static final int AF_INET = 2;
  static final int AF_INET6 = 10;
  static final int AF_NETLINK = 16;
  static final int SOCK_STREAM = 1;
  static final int SOCK_DGRAM = 2;
  static final int SOCK_RAW = 3;
  static final int SOCK_CLOEXEC = 0x80000;
  static final int SOL_SOCKET = 1;
  static final int SO_REUSEADDR = 2;
  static final int SO_PEERCRED = 17;
  static final int SO_PEERGROUPS = 59;
  static final int SO_ACCEPTCONN = 30;
  static final int SO_RCVTIMEO = 20;
  static final int SO_SNDTIMEO = 21;
  static final int SCM_RIGHTS = 1;
  static final int SHUT_RD = 0;
  static final int SHUT_WR = 1;
  static final int SHUT_RDWR = 2;
  static final int SOMAXCONN = 4096;
  static final int MSG_CTRUNC = 0x8;
  static final int MSG_NOSIGNAL = 0x4000;
  static final int MSG_CMSG_CLOEXEC = 0x40000000;

  // spawn.h
  static final int POSIX_SPAWN_SETSIGDEF = 0x04;
  static final int POSIX_SPAWN_SETSIGMASK = 0x08;
  static final int POSIX_SPAWN_SETSID = 0x80;

  // sys/wait.h
  static final int P_PID = 1;
  static final int P_PIDFD = 3;
  static final int WEXITED = 4;
  static final int WNOHANG = 1;
  static final int CLD_EXITED = 1;
  static final int CLD_KILLED = 2;
  static final int CLD_DUMPED = 3;

  // signal.h
  static final int SIGHUP = 1;
  static final int SIGINT = 2;
  static final int SIGQUIT = 3;
  static final int SIGABRT = 6;
  static final int SIGKILL = 9;
  static final int SIGUSR1 = 10;
  static final int SIGSEGV = 11;
  static final int SIGUSR2 = 12;
  static final int SIGTERM = 15;
  static final int SIGCONT = 18;
  static final int SIGSTOP = 19;
  static final int SIGURG = 23;
  static final int SIG_BLOCK = 0;

  // sched.h
  static final int SCHED_OTHER = 0;
  static final int SCHED_FIFO = 1;
  static final int SCHED_RR = 2;
  static final int SCHED_BATCH = 3;
  static final int SCHED_IDLE = 5;
  static final int SCHED_RESET_ON_FORK = 0x40000000;
  static final int CLONE_NEWNET = 0x40000000;

  // sys/resource.h
  static final int PRIO_PROCESS = 0;

  // sys/prctl.h
  static final int PR_SET_TIMERSLACK = 29;

  // time.h
  static final int CLOCK_REALTIME = 0;
  static final int CLOCK_MONOTONIC = 1;

  // linux/if.h, linux/if_tun.h, linux/sockios.h
  static final int IFNAMSIZ = 16;
  static final int IFF_UP = 0x1;
  static final int IFF_TAP = 0x2;
  static final int IFF_MULTI_QUEUE = 0x100;
  static final int IFF_NO_PI = 0x1000;
  static final int IFF_VNET_HDR = 0x4000;
  static final int IFF_TUN_EXCL = 0x8000;
  static final int IFF_ATTACH_QUEUE = 0x200;
  static final int IFF_DETACH_QUEUE = 0x400;
  static final long TUNSETIFF = 0x400454caL;
  static final long TUNGETIFF = 0x800454d2L;
  static final long TUNSETQUEUE = 0x400454d9L;
  static final long TUNSETSTEERINGEBPF = 0x800454e0L;
  static final long TUNGETDEVNETNS = 0x54e3L;
  static final int IFLA_IFNAME = 3;
  static final int IFLA_MASTER = 10;
  static final int IFLA_LINKINFO = 18;
  static final int IFLA_INFO_KIND = 1;
  static final int IFLA_INFO_DATA = 2;
  static final int IFLA_INFO_SLAVE_KIND = 4;
  static final int IFLA_BR_FORWARD_DELAY = 1;
  static final int IFLA_BR_STP_STATE = 5;
  static final long SIOCGIFNAME = 0x8910;
  static final long SIOCGIFFLAGS = 0x8913;
  static final long SIOCSIFFLAGS = 0x8914;
  static final long SIOCGIFMTU = 0x8921;
  static final long SIOCSIFMTU = 0x8922;
  static final long SIOCGIFHWADDR = 0x8927;
  static final long SIOCGIFINDEX = 0x8933;
  static final long SIOCBRADDIF = 0x89a2;

  // sys/syscall.h, linux/bpf.h
  static final int SYS_bpf = 321;
  static final int BPF_MAP_CREATE = 0;
  static final int BPF_MAP_UPDATE_ELEM = 2;
  static final int BPF_PROG_LOAD = 5;
  static final int BPF_MAP_TYPE_ARRAY = 2;
  static final int BPF_PROG_TYPE_SOCKET_FILTER = 1;
  static final int BPF_PSEUDO_MAP_VALUE = 2;
  static final int BPF_LD = 0x00;
  static final int BPF_LDX = 0x01;
  static final int BPF_JMP = 0x05;
  static final int BPF_IMM = 0x00;
  static final int BPF_MEM = 0x60;
  static final int BPF_W = 0x00;
  static final int BPF_DW = 0x18;
  static final int BPF_EXIT = 0x90;
  static final int BPF_REG_0 = 0;
  static final int BPF_REG_1 = 1;

  // linux/kvm.h
  static final int KVM_API_VERSION = 12;
  static final long KVM_GET_API_VERSION = 0xae00L;
  static final long KVM_CREATE_VM = 0xae01L;
  static final long KVM_GET_VCPU_MMAP_SIZE = 0xae04L;
  static final long KVM_GET_SUPPORTED_CPUID = 0xc008ae05L;
  static final long KVM_CREATE_VCPU = 0xae41L;
  static final long KVM_SET_USER_MEMORY_REGION = 0x4020ae46L;
  static final long KVM_SET_TSS_ADDR = 0xae47L;
  static final long KVM_RUN = 0xae80L;
  static final long KVM_SET_REGS = 0x4090ae82L;
  static final long KVM_GET_SREGS = 0x8138ae83L;
  static final long KVM_SET_SREGS = 0x4138ae84L;
  static final long KVM_SET_SIGNAL_MASK = 0x4004ae8bL;
  static final long KVM_SET_CPUID2 = 0x4008ae90L;
  static final int KVM_EXIT_IO = 2;
}
