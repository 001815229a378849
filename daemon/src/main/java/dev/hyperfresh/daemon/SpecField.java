package dev.hyperfresh.daemon;

import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// The fields of a guest's spec. `docs/GUEST-SPEC.md` holds the same table. What is not listed is
/// refused.
///
/// The words are for that page: what a value may be, what holds without one, and what it means.
enum SpecField {
  NAME(Group.GUEST, "name", "1 to 32 letters, digits and `-`", "", "starts with a letter"),
  VCPUS(Group.GUEST, "vcpus", "1 to 64", "1", "processors"),
  MEMORY(Group.GUEST, "memory", "such as `512M`, `2G`", "`512M`", "at least 16M"),
  HUGE_PAGES(
      Group.GUEST,
      "huge-pages",
      "such as `2M`, `1G`",
      "ordinary pages",
      "the memory is made of pages that the host has set aside; see"
          + " [GUESTS.md](GUESTS.md#huge-pages-and-nodes)"),
  NUMA(Group.GUEST, "numa", "list of nodes", "no nodes", "nodes with processors and memory"),
  MACHINE(
      Group.GUEST,
      "machine",
      "such as `pc-q35-7.2`, `pc-i440fx-7.2`",
      "`pc-q35-7.2`",
      "with its version; every release that the guest is to run on must know it"),
  CPU(
      Group.GUEST,
      "cpu",
      "a model, and features with `+` or `-`",
      "`qemu64`",
      "such as `EPYC,+x2apic,-svm`; see [GUESTS.md](GUESTS.md#cpu-models)"),
  ACCELERATOR(
      Group.GUEST, "accelerator", "`auto`, `kvm`, `tcg`", "`auto`", "KVM where it is usable"),
  RELEASE(
      Group.GUEST,
      "release",
      "a release or a machine",
      "the newest that knows the machine type",
      "where it starts first"),
  KERNEL(
      Group.GUEST,
      "kernel",
      "path",
      "the guest boots from a disk",
      "a kernel that is started without firmware's help; copied at the first start"),
  INITRD(Group.GUEST, "initrd", "path", "none", "of that kernel"),
  CMDLINE(Group.GUEST, "cmdline", "text", "empty", "of that kernel"),
  FIRMWARE(
      Group.GUEST,
      "firmware",
      "`bios`, `uefi`, `uefi-secure`",
      "`bios`",
      "the release's own, or UEFI of the host's, copied at the first start; `uefi-secure` boots"
          + " only what is signed, on `pc-q35-…`; see [GUESTS.md](GUESTS.md#firmware-and-tpm)"),
  TPM(
      Group.GUEST,
      "tpm",
      "`true`, `false`",
      "`false`",
      "an emulated TPM 2.0, for which the host needs swtpm; see"
          + " [GUESTS.md](GUESTS.md#firmware-and-tpm)"),
  DISKS(Group.GUEST, "disks", "list of up to 16 disks", "none", "in the guest's order"),
  NICS(Group.GUEST, "nics", "list of up to 8 cards", "none", "in the guest's order"),
  AGENT(
      Group.GUEST,
      "agent",
      "`true`, `false`",
      "`false`",
      "a channel to `qemu-guest-agent` in the guest"),
  RNG(
      Group.GUEST,
      "rng",
      "`true`, `false`",
      "`false`",
      "a virtio source of randomness, which is the host's"),
  BALLOON(
      Group.GUEST,
      "balloon",
      "`true`, `false`",
      "`false`",
      "a virtio balloon with free page reporting: pages that the guest has freed go back to the"
          + " host, and no replacement maps them"),
  CLOUD_INIT(
      Group.GUEST,
      "cloud-init",
      "mapping",
      "none",
      "files for cloud-init, on a last virtio disk that is read-only and has the label `CIDATA`"),
  DISPLAY(Group.GUEST, "display", "`none`, mapping", "`none`", "a graphics card and its screen"),
  CLOCK(
      Group.GUEST,
      "clock",
      "`keep`, `step`",
      "`keep`",
      "whether the agent sets the clock after a replacement; see [TIME.md](TIME.md)"),
  ON_CRASH(
      Group.GUEST,
      "on-crash",
      "`stop`, `restart`",
      "`stop`",
      "when its hypervisor ends; see [GUESTS.md](GUESTS.md#a-guests-life)"),
  ON_REBOOT(Group.GUEST, "on-reboot", "`stop`, `restart`", "`restart`", "when it resets itself"),
  ON_POWEROFF(
      Group.GUEST, "on-poweroff", "`stop`, `restart`", "`stop`", "when it powers itself off"),

  NODE_MEMORY(Group.NODE, "memory", "as above", "", "all nodes together have the guest's memory"),
  NODE_VCPUS(Group.NODE, "vcpus", "such as `0-3,8`", "none", "each vcpu is on one node"),
  NODE_HOST(
      Group.NODE,
      "host-nodes",
      "such as `0`, `0-1`",
      "any",
      "the host's nodes that have its memory"),

  DISK_PATH(
      Group.DISK,
      "path",
      "path",
      "",
      "a file, or a block device by its path in `/dev`, best below `/dev/disk/by-id`"),
  DISK_FORMAT(Group.DISK, "format", "`raw`, `qcow2`", "", "never guessed"),
  DISK_READONLY(
      Group.DISK, "readonly", "`true`, `false`", "`false`", "not on `sata`, but for a CD"),
  DISK_BUS(
      Group.DISK,
      "bus",
      "`virtio`, `scsi`, `sata`",
      "`virtio`; `sata` for a CD",
      "`scsi` is a virtio SCSI adapter for all disks of this bus; `sata` is an AHCI adapter for up"
          + " to 6"),
  DISK_CDROM(Group.DISK, "cdrom", "`true`, `false`", "`false`", "a CD, which is read-only"),
  DISK_SERIAL(
      Group.DISK,
      "serial",
      "1 to 20 letters, digits, `.`, `_`, `-`",
      "none; `disk` and its place in the list on `sata`",
      "by which the guest knows the disk"),
  DISK_BOOT(
      Group.DISK,
      "boot",
      "1 to 99",
      "after those that have one",
      "its place among those that the firmware tries; a kernel of the spec comes first"),
  DISK_CACHE(
      Group.DISK,
      "cache",
      "`writeback`, `none`, `writethrough`, `directsync`, `unsafe`",
      "`writeback`",
      "`none` and `directsync` pass the host's page cache by, where the image's file system can;"
          + " `unsafe` may lose a disk in a power cut"),
  DISK_AIO(
      Group.DISK,
      "aio",
      "`threads`, `native`, `io_uring`",
      "`threads`",
      "`native` needs `cache: none` or `directsync`"),
  DISK_DISCARD(
      Group.DISK,
      "discard",
      "`true`, `false`",
      "`false`",
      "what the guest frees is freed in the image"),
  DISK_IOTHREAD(
      Group.DISK,
      "iothread",
      "`true`, `false`",
      "`false`",
      "a thread of its own; on `scsi` one for all disks of this bus; not on `sata`"),

  NIC_BRIDGE(Group.NIC, "bridge", "a bridge of the host", "none", "the tap becomes a port of it"),
  NIC_TAP(
      Group.NIC, "tap", "1 to 15 characters", "made from the guest's name", "made at the start"),
  NIC_MACVTAP(
      Group.NIC,
      "macvtap",
      "a macvtap of the host",
      "none",
      "instead of a tap; it was made before, has the address of `mac`, and is never deleted"),
  NIC_MAC(Group.NIC, "mac", "six octets", "made from the guest's name", "lower case, unicast"),
  NIC_MODEL(
      Group.NIC,
      "model",
      "`virtio`, `e1000e`, `e1000`, `rtl8139`",
      "`virtio`",
      "what the guest sees"),
  NIC_MTU(
      Group.NIC, "mtu", "68 to 65521", "1500", "of the tap, and the guest is told; only `virtio`"),
  NIC_QUEUES(Group.NIC, "queues", "1 to 16", "1", "of the tap and of the card; only `virtio`"),
  NIC_VHOST(
      Group.NIC,
      "vhost",
      "`true`, `false`",
      "`false`",
      "the host's kernel moves the packets, for which it needs `/dev/vhost-net`; only `virtio`"),
  NIC_USER(
      Group.NIC,
      "user",
      "`true`, `false`",
      "`false`",
      "no tap: QEMU itself passes connections of the guest on; slow, and no ping"),
  NIC_FORWARD(
      Group.NIC,
      "forward",
      "list of `[ADDRESS:]PORT:GUEST_PORT[/udp]`",
      "none",
      "ports of this host that lead to such a guest; the address is `127.0.0.1` unless given. QEMU"
          + " runs without rights, so ports from 1024 on"),

  SEED_USER(Group.CLOUD_INIT, "user-data", "path", "", "copied at the first start, as all of them"),
  SEED_META(
      Group.CLOUD_INIT,
      "meta-data",
      "path",
      "made from the guest's name",
      "`instance-id` and `local-hostname`"),
  SEED_NETWORK(
      Group.CLOUD_INIT,
      "network-config",
      "path",
      "none",
      "the guest's network, in cloud-init's words"),

  DISPLAY_VNC(
      Group.DISPLAY,
      "vnc",
      "`unix`, `ADDRESS:PORT`",
      "",
      "a VNC server; `unix`: at the socket `NAME.vnc` beside that of the console, which root may"
          + " open; a port is one from 5900 on. Clients connect again after a replacement"),
  DISPLAY_PASSWORD(
      Group.DISPLAY,
      "password-file",
      "path",
      "no password",
      "a line of 1 to 8 characters that clients have to know; copied at the first start");

  /// Where a field stands.
  enum Group {
    /// At the top.
    GUEST(""),
    /// In an entry of `numa`.
    NODE("numa[]."),
    /// In an entry of `disks`.
    DISK("disks[]."),
    /// In an entry of `nics`.
    NIC("nics[]."),
    /// In `cloud-init`.
    CLOUD_INIT("cloud-init."),
    /// In `display`.
    DISPLAY("display.");

    private final String prefix;

    Group(String prefix) {
      this.prefix = prefix;
    }

    /// The names of its fields.
    Set<String> keys() {
      return Stream.of(SpecField.values())
          .filter(field -> field.group == this)
          .map(field -> field.key)
          .collect(Collectors.toUnmodifiableSet());
    }
  }

  private final Group group;
  private final String key;
  private final String values;
  private final String otherwise;
  private final String meaning;

  /// @param otherwise what holds without it; empty of one that is required
  SpecField(Group group, String key, String values, String otherwise, String meaning) {
    this.group = group;
    this.key = key;
    this.values = values;
    this.otherwise = otherwise;
    this.meaning = meaning;
  }

  String key() {
    return key;
  }

  /// Its row of the table.
  String row() {
    String without = otherwise.isEmpty() ? "required" : otherwise;
    return "| `" + group.prefix + key + "` | " + values + " | " + without + " | " + meaning + " |";
  }
}
