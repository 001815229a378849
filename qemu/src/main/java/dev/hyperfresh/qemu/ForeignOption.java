package dev.hyperfresh.qemu;

import java.util.Arrays;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/// Every option of a QEMU's command line that adoption knows, and what becomes of it in the command
/// lines of later instances. An option that is not listed is refused. `docs/ADOPT.md` holds the
/// same table.
enum ForeignOption {
  L("-L", true, Fate.REWRITTEN, "the guest's own firmware, then the release's folders"),
  NAME("-name", true, Fate.REWRITTEN, "the guest's name here"),
  READCONFIG(
      "-readconfig",
      true,
      Fate.REWRITTEN,
      "the options that its sections stand for, if the file is unchanged"),
  MACHINE("-machine", true, Fate.REWRITTEN, "alias pinned to what the running QEMU resolved"),
  M_MACHINE("-M", true, Fate.REWRITTEN, "as `-machine`"),
  ACCEL("-accel", true, Fate.REWRITTEN, "pinned to the one that the guest runs on"),
  ENABLE_KVM("-enable-kvm", false, Fate.REWRITTEN, "as `-accel kvm`"),
  CPU(
      "-cpu",
      true,
      Fate.REWRITTEN,
      "pinned to what the processor has on the running QEMU, see above"),
  SMP("-smp", true, Fate.KEPT, ""),
  M("-m", true, Fate.KEPT, ""),
  OBJECT(
      "-object",
      true,
      Fate.REWRITTEN,
      "the shared RAM becomes the adopted memory; `iothread`, `rng-random`,"
          + " `rng-builtin` and `throttle-group` are kept, `secret` only for a VNC or SPICE server"),
  NUMA("-numa", true, Fate.KEPT, "memory of nodes by `memdev=`"),
  DEVICE(
      "-device",
      true,
      Fate.REWRITTEN,
      "devices whose state QEMU sends, see below; with the values that QEMU chose for them"),
  DRIVE("-drive", true, Fate.REWRITTEN, "local images; a guessed format is pinned"),
  BLOCKDEV("-blockdev", true, Fate.KEPT, "local images"),
  HDA("-hda", true, Fate.REWRITTEN, "as `-drive`"),
  HDB("-hdb", true, Fate.REWRITTEN, "as `-drive`"),
  HDC("-hdc", true, Fate.REWRITTEN, "as `-drive`"),
  HDD("-hdd", true, Fate.REWRITTEN, "as `-drive`"),
  CDROM("-cdrom", true, Fate.REWRITTEN, "as `-drive`"),
  PFLASH("-pflash", true, Fate.REWRITTEN, "as `-drive`"),
  NETDEV(
      "-netdev",
      true,
      Fate.REWRITTEN,
      "`tap` and `bridge` get a port of HyperFresh; `user` is kept, later instances take its ports"),
  NIC("-nic", true, Fate.REWRITTEN, "only `none` and `user`"),
  NET("-net", true, Fate.REWRITTEN, "only `none`, `nic` and `user`"),
  CHARDEV(
      "-chardev",
      true,
      Fate.REWRITTEN,
      "`null` and `vc` are kept, `pty` and `ringbuf` start anew, `file` and logs are appended to,"
          + " sockets are taken over, `spicevmc` and `spiceport` go with `-spice`, the console's is"
          + " replaced, a monitor's is dropped"),
  SERIAL(
      "-serial",
      true,
      Fate.REWRITTEN,
      "the first becomes the guest's console, later ones are taken over on sockets and in files"),
  PARALLEL("-parallel", true, Fate.KEPT, "only `none` and `null`"),
  KERNEL("-kernel", true, Fate.REWRITTEN, "copied into the guest's folder"),
  INITRD("-initrd", true, Fate.REWRITTEN, "copied into the guest's folder"),
  APPEND("-append", true, Fate.KEPT, ""),
  BIOS("-bios", true, Fate.REWRITTEN, "copied into the guest's folder"),
  BOOT("-boot", true, Fate.KEPT, "a `splash=` file is copied into the guest's folder"),
  NO_FD_BOOTCHK("-no-fd-bootchk", false, Fate.KEPT, ""),
  WIN2K_HACK("-win2k-hack", false, Fate.KEPT, ""),
  RTC("-rtc", true, Fate.KEPT, "the clock stays as the guest has set it, regardless of `base`"),
  UUID("-uuid", true, Fate.KEPT, "without it, all zeroes in every QEMU"),
  SMBIOS("-smbios", true, Fate.KEPT, "without `file=` and `path=`"),
  GLOBAL("-global", true, Fate.KEPT, "a `romfile` is copied into the guest's folder"),
  AUDIODEV(
      "-audiodev",
      true,
      Fate.REWRITTEN,
      "`none` is kept, and `spice` with `-spice`; any other falls silent"),
  VGA("-vga", true, Fate.KEPT, "`none`, `std`, `cirrus`, `qxl`, `virtio`"),
  USB("-usb", false, Fate.KEPT, ""),
  USBDEVICE("-usbdevice", true, Fate.KEPT, "`tablet`, `mouse`, `keyboard`"),
  K("-k", true, Fate.KEPT, ""),
  DISPLAY("-display", true, Fate.REWRITTEN, "`none`, and `vnc=` as `-vnc`"),
  VNC(
      "-vnc",
      true,
      Fate.REWRITTEN,
      "one server, without TLS, SASL and websocket; later instances take over its addresses"),
  SPICE(
      "-spice",
      true,
      Fate.REWRITTEN,
      "one server, without TLS, SASL and OpenGL; later instances take its socket over, and its port"
          + " is served by the daemon"),
  NOGRAPHIC("-nographic", false, Fate.REWRITTEN, "`-display none` and the guest's console"),
  NODEFAULTS("-nodefaults", false, Fate.KEPT, ""),
  NO_USER_CONFIG("-no-user-config", false, Fate.KEPT, ""),
  NO_REBOOT("-no-reboot", false, Fate.KEPT, ""),
  NO_SHUTDOWN("-no-shutdown", false, Fate.KEPT, ""),
  ONLY_MIGRATABLE("-only-migratable", false, Fate.KEPT, ""),
  NO_HPET("-no-hpet", false, Fate.REWRITTEN, "`-machine hpet=off`, as newer releases want it"),
  NO_ACPI("-no-acpi", false, Fate.REWRITTEN, "`-machine acpi=off`, as newer releases want it"),
  ACTION("-action", true, Fate.KEPT, ""),
  WATCHDOG_ACTION("-watchdog-action", true, Fate.KEPT, ""),
  OVERCOMMIT("-overcommit", true, Fate.KEPT, ""),
  REALTIME("-realtime", true, Fate.REWRITTEN, "`-overcommit mem-lock=`, as newer releases want it"),
  MSG("-msg", true, Fate.KEPT, ""),
  TPMDEV("-tpmdev", true, Fate.REWRITTEN, "only `emulator`; later instances have their own swtpm"),
  QMP("-qmp", true, Fate.DROPPED, "HyperFresh has a control socket of its own"),
  QMP_PRETTY("-qmp-pretty", true, Fate.DROPPED, "as `-qmp`"),
  MON("-mon", true, Fate.DROPPED, "as `-qmp`"),
  MONITOR("-monitor", true, Fate.DROPPED, "as `-qmp`"),
  SANDBOX("-sandbox", true, Fate.REWRITTEN, "HyperFresh's own"),
  DAEMONIZE("-daemonize", false, Fate.DROPPED, "HyperFresh starts and watches later processes"),
  PIDFILE("-pidfile", true, Fate.DROPPED, "the first process removes the file"),
  INCOMING("-incoming", true, Fate.REWRITTEN, "how this process itself got its guest"),
  STOPPED("-S", false, Fate.DROPPED, "the guest has been started since"),
  D("-D", true, Fate.DROPPED, "later processes log into the guest's folder"),
  DEBUG("-d", true, Fate.DROPPED, "as `-D`"),
  MEM_PREALLOC("-mem-prealloc", false, Fate.DROPPED, "the pages exist already"),
  ID("-id", true, Fate.DROPPED, "the guest's number with Proxmox VE"),
  ISCSI("-iscsi", true, Fate.DROPPED, "no image of such a server is taken over"),
  ADD_FD(
      "-add-fd",
      true,
      Fate.DROPPED,
      "a log or image behind it is opened by its path; a log without one ends"),
  RUN_WITH("-run-with", true, Fate.DROPPED, "`user` as `-runas`, and `async-teardown`"),
  ASYNC_TEARDOWN("-async-teardown", false, Fate.DROPPED, "as `-run-with`"),
  RUNAS("-runas", true, Fate.DROPPED, "later processes are started as that user"),
  TRACE("-trace", true, Fate.DROPPED, "as `-D`"),
  COMPAT("-compat", true, Fate.DROPPED, "is for who speaks on a monitor"),
  ECHR("-echr", true, Fate.DROPPED, "is for who types on a console"),
  PRECONFIG("-preconfig", false, Fate.DROPPED, "the guest has been started since"),
  MEM_PATH("-mem-path", true, Fate.DROPPED, "makes private memory, which moves only as a copy"),
  SNAPSHOT("-snapshot", false, Fate.REFUSED, "writes go to a file that has no name"),
  LOADVM("-loadvm", true, Fate.REFUSED, "would load an old state"),
  CHROOT("-chroot", true, Fate.REFUSED, "paths lead to other files there"),
  FSDEV("-fsdev", true, Fate.REFUSED, "shared folders cannot move"),
  VIRTFS("-virtfs", true, Fate.REFUSED, "shared folders cannot move"),
  GDB("-gdb", true, Fate.REFUSED, "two processes cannot listen on one address"),
  DEBUGGER("-s", false, Fate.REFUSED, "as `-gdb`"),
  ICOUNT("-icount", true, Fate.REFUSED, "its clock would jump"),
  FW_CFG("-fw_cfg", true, Fate.REFUSED, "its content may have changed");

  /// What becomes of an option.
  enum Fate {
    /// Later instances get it as it stands.
    KEPT,
    /// Later instances get something else in its place.
    REWRITTEN,
    /// Later instances do without.
    DROPPED,
    /// The guest cannot be adopted.
    REFUSED
  }

  private static final Map<String, ForeignOption> BY_NAME =
      Arrays.stream(values()).collect(Collectors.toMap(option -> option.word, Function.identity()));

  private final String word;
  private final boolean hasValue;
  private final Fate fate;
  private final String remark;

  ForeignOption(String word, boolean hasValue, Fate fate, String remark) {
    this.word = word;
    this.hasValue = hasValue;
    this.fate = fate;
    this.remark = remark;
  }

  /// As it stands on a command line, with one dash.
  String word() {
    return word;
  }

  boolean hasValue() {
    return hasValue;
  }

  Fate fate() {
    return fate;
  }

  /// Why, or with which limits; may be empty.
  String remark() {
    return remark;
  }

  /// The option of a word on a command line, which may have two dashes; null when it is not listed.
  @org.jspecify.annotations.Nullable
  static ForeignOption of(String argument) {
    return BY_NAME.get(argument.startsWith("--") ? argument.substring(1) : argument);
  }
}
