package dev.hyperfresh.hypervisor;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// What a guest is, independent of the hypervisor that runs it. Immutable.
///
/// @param name 1 to 32 characters: letters, digits, `-`, starting with a letter
/// @param vcpus 1 to 64
/// @param memoryBytes a multiple of 1 MiB, at least 16 MiB
/// @param machine the pinned machine type, such as `pc-q35-7.2`: never an alias such as `q35`,
///   which would mean another machine on another release
/// @param cpu a CPU model that every release in question knows, such as `qemu64`
/// @param accelerator what the guest wants to run on
/// @param boot kernel to start, or empty to boot from the first disk
/// @param disks in the order in which the guest sees them
/// @param nics in the order in which the guest sees them
/// @param agent whether the guest has a channel to an agent in it, a port called
///   `org.qemu.guest_agent.0`
/// @param clock what becomes of the guest's wall clock after a replacement
/// @param ends what becomes of the guest when it ends by itself
/// @param layout of what its memory is made
/// @param devices what else its machine has
/// @param firmware what it boots with
public record GuestSpec(
    String name,
    int vcpus,
    long memoryBytes,
    String machine,
    String cpu,
    AcceleratorWish accelerator,
    Optional<KernelBoot> boot,
    List<Disk> disks,
    List<Nic> nics,
    boolean agent,
    ClockPolicy clock,
    EndPolicy ends,
    MemoryLayout layout,
    Devices devices,
    Firmware firmware) {

  /// The smallest memory a guest may have.
  public static final long MIN_MEMORY_BYTES = 16L << 20;

  /// The ports of one AHCI adapter.
  private static final int MOST_SATA = 6;

  /// What goes from one daemon to the next in one message, beside the memory.
  private static final int MOST_QUEUES = 48;

  private static final Pattern NAME = Pattern.compile("[a-zA-Z][a-zA-Z0-9-]{0,31}");
  private static final Pattern TOKEN = Pattern.compile("[a-zA-Z0-9][a-zA-Z0-9._+-]{0,63}");
  private static final Pattern CPU = Pattern.compile("[a-zA-Z0-9][a-zA-Z0-9._+=,-]{0,255}");
  private static final Pattern MAC = Pattern.compile("([0-9a-f]{2}:){5}[0-9a-f]{2}");

  // linux/if.h IFNAMSIZ is 16 with the closing NUL.
  private static final Pattern INTERFACE = Pattern.compile("[a-zA-Z0-9][a-zA-Z0-9._-]{0,14}");

  public GuestSpec {
    disks = List.copyOf(disks);
    nics = List.copyOf(nics);
  }

  /// A guest that ends as a machine does.
  public GuestSpec(
      String name,
      int vcpus,
      long memoryBytes,
      String machine,
      String cpu,
      AcceleratorWish accelerator,
      Optional<KernelBoot> boot,
      List<Disk> disks,
      List<Nic> nics,
      boolean agent,
      ClockPolicy clock) {
    this(
        name,
        vcpus,
        memoryBytes,
        machine,
        cpu,
        accelerator,
        boot,
        disks,
        nics,
        agent,
        clock,
        EndPolicy.DEFAULT,
        MemoryLayout.PLAIN,
        Devices.NONE,
        Firmware.DEFAULT);
  }

  /// The same guest with another end.
  public GuestSpec ending(EndPolicy policy) {
    return with(policy, layout, devices, firmware);
  }

  /// The same guest with its memory made of other things.
  public GuestSpec madeOf(MemoryLayout memory) {
    return with(ends, memory, devices, firmware);
  }

  /// The same guest with other devices.
  public GuestSpec with(Devices others) {
    return with(ends, layout, others, firmware);
  }

  /// The same guest with other firmware.
  public GuestSpec booting(Firmware other) {
    return with(ends, layout, devices, other);
  }

  private GuestSpec with(EndPolicy end, MemoryLayout memory, Devices others, Firmware other) {
    return new GuestSpec(
        name,
        vcpus,
        memoryBytes,
        machine,
        cpu,
        accelerator,
        boot,
        disks,
        nics,
        agent,
        clock,
        end,
        memory,
        others,
        other);
  }

  /// The files that its memory is made of.
  public List<MemoryPart> memoryParts() {
    return layout.parts(memoryBytes);
  }

  /// A guest without a channel to an agent, whose wall clock is left to itself.
  public GuestSpec(
      String name,
      int vcpus,
      long memoryBytes,
      String machine,
      String cpu,
      AcceleratorWish accelerator,
      Optional<KernelBoot> boot,
      List<Disk> disks,
      List<Nic> nics) {
    this(
        name,
        vcpus,
        memoryBytes,
        machine,
        cpu,
        accelerator,
        boot,
        disks,
        nics,
        false,
        ClockPolicy.KEEP);
  }

  /// What becomes of the guest's wall clock after a replacement.
  public enum ClockPolicy {
    /// It stays behind by the blackout, for the guest's own time service to catch up.
    KEEP,
    /// The guest's agent is asked to set it to the host's, after the commit.
    STEP;

    /// The word in a spec.
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// What a spec may ask of the accelerator.
  public enum AcceleratorWish {
    /// KVM where it is usable, else TCG.
    AUTO,
    /// KVM or nothing.
    KVM,
    /// TCG even where KVM is usable.
    TCG;

    /// The word in a spec.
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// A kernel that the hypervisor loads itself.
  public record KernelBoot(Path kernel, Optional<Path> initrd, String commandLine) {}

  /// A disk image, or a block device of the host.
  ///
  /// @param drive how the guest sees it
  /// @param access how it is read and written
  public record Disk(
      Path path, Format format, boolean readOnly, DiskDrive drive, DiskAccess access) {
    /// A virtio disk of which nothing more is said.
    public Disk(Path path, Format format, boolean readOnly) {
      this(path, format, readOnly, DiskDrive.PLAIN, DiskAccess.PLAIN);
    }

    /// The image's format; never guessed from its content, which the guest controls.
    public enum Format {
      /// A plain image.
      RAW,
      /// QEMU's own format.
      QCOW2;

      /// The name of the block driver.
      public String label() {
        return name().toLowerCase(Locale.ROOT);
      }
    }
  }

  /// A network card, attached by a tap of HyperFresh's own making, by a macvtap of somebody else's,
  /// or to a user-mode network.
  ///
  /// @param tap the name of tap or macvtap, 1 to 15 characters; empty without one
  /// @param bridge a bridge that exists, or empty to leave the tap alone
  /// @param mac six lower-case octets with colons
  /// @param card how the guest sees it
  /// @param user the network of one without a tap
  /// @param macvtap whether it is a macvtap
  public record Nic(
      String tap,
      Optional<String> bridge,
      String mac,
      Card card,
      Optional<UserMode> user,
      boolean macvtap) {
    /// A card on a tap or a user-mode network.
    public Nic(
        String tap, Optional<String> bridge, String mac, Card card, Optional<UserMode> user) {
      this(tap, bridge, mac, card, user, false);
    }

    /// A virtio card on a macvtap.
    public static Nic ofMacvtap(String name, String mac) {
      return new Nic(name, Optional.empty(), mac, Card.PLAIN, Optional.empty(), true);
    }

    /// A virtio card with a tap.
    public Nic(String tap, Optional<String> bridge, String mac) {
      this(tap, bridge, mac, Card.PLAIN, Optional.empty());
    }
  }

  /// The cards with taps, in their order.
  public List<Nic> taps() {
    return nics.stream().filter(nic -> nic.user().isEmpty()).toList();
  }

  /// What goes beyond plain virtio disks and cards, as a spec says it: `disks[0].bus: scsi`.
  public List<String> extras() {
    List<String> extras = new ArrayList<>();
    for (int i = 0; i < disks.size(); i++) {
      String at = "disks[" + i + "].";
      disks.get(i).drive().words().forEach(word -> extras.add(at + word));
      disks.get(i).access().words().forEach(word -> extras.add(at + word));
    }
    for (int i = 0; i < nics.size(); i++) {
      String at = "nics[" + i + "].";
      if (nics.get(i).macvtap()) {
        extras.add(at + "macvtap: " + nics.get(i).tap());
      }
      nics.get(i).card().words().forEach(word -> extras.add(at + word));
      nics.get(i).user().ifPresent(user -> user.words().forEach(word -> extras.add(at + word)));
    }
    extras.addAll(devices.words());
    return extras;
  }

  /// Every fault in the fields themselves, in the order of the spec; empty when there is none. Does
  /// not look at the host.
  public List<String> faults() {
    List<String> faults = new ArrayList<>();
    require(
        faults,
        isName(name),
        "name: '" + name + "' is not 1 to 32 letters, digits or '-', starting with a letter");
    require(faults, vcpus >= 1 && vcpus <= 64, "vcpus: " + vcpus + " is not between 1 and 64");
    require(
        faults,
        memoryBytes >= MIN_MEMORY_BYTES && memoryBytes % (1 << 20) == 0,
        "memory: " + memoryBytes + " bytes is not a multiple of 1 MiB of at least 16 MiB");
    faults.addAll(layout.faults(memoryBytes, vcpus));
    require(
        faults,
        TOKEN.matcher(machine).matches(),
        "machine: '" + machine + "' is not a machine type");
    require(
        faults,
        !List.of("q35", "pc", "none", "isapc").contains(machine),
        "machine: '" + machine + "' differs between releases; pin one, such as pc-q35-7.2");
    faults.addAll(firmware.faults(machine));
    require(faults, CPU.matcher(cpu).matches(), "cpu: '" + cpu + "' is not a CPU model");
    require(
        faults,
        boot.isPresent() || !disks.isEmpty(),
        "kernel: neither a kernel nor a disk to boot from is given");
    boot.ifPresent(kernel ->
        require(
            faults,
            isPrintable(kernel.commandLine()),
            "cmdline: must be printable ASCII of at most 2000 characters"));
    require(
        faults,
        agent || clock == ClockPolicy.KEEP,
        "clock: step needs a guest agent that sets it; add agent: true");
    diskFaults(faults);
    require(faults, nics.size() <= 8, "nics: " + nics.size() + " are more than 8");
    for (int i = 0; i < nics.size(); i++) {
      nicFaults(faults, nics.get(i), "nics[" + i + "].");
    }
    int queues = taps().stream().mapToInt(nic -> nic.card().queues()).sum();
    require(
        faults, queues <= MOST_QUEUES, "nics: " + queues + " queues are more than " + MOST_QUEUES);
    require(
        faults,
        nics.stream().map(Nic::mac).distinct().count() == nics.size(),
        "nics: two cards have the same mac");
    require(
        faults,
        taps().stream().map(Nic::tap).distinct().count() == taps().size(),
        "nics: two cards have the same tap");
    faults.addAll(devices.faults());
    return faults;
  }

  private void diskFaults(List<String> faults) {
    require(faults, disks.size() <= 16, "disks: " + disks.size() + " are more than 16");
    for (int i = 0; i < disks.size(); i++) {
      String at = "disks[" + i + "].";
      Disk disk = disks.get(i);
      disk.drive().faults(disk.readOnly()).forEach(fault -> faults.add(at + fault));
      disk.access().faults(disk.drive().bus()).forEach(fault -> faults.add(at + fault));
    }
    long sata = disks.stream().filter(disk -> disk.drive().bus() == DiskDrive.Bus.SATA).count();
    require(faults, sata <= MOST_SATA, "disks: " + sata + " on sata are more than " + MOST_SATA);
    requireDifferent(
        faults, disks.stream().flatMap(disk -> disk.drive().serial().stream()), "serial");
    requireDifferent(
        faults, disks.stream().flatMap(disk -> disk.drive().boot().stream().boxed()), "boot");
  }

  private static void requireDifferent(List<String> faults, Stream<?> values, String what) {
    List<?> all = values.toList();
    require(
        faults,
        all.stream().distinct().count() == all.size(),
        "disks: two disks have the same " + what);
  }

  /// Whether a guest may be called so.
  public static boolean isName(String name) {
    return NAME.matcher(name).matches();
  }

  private static boolean isPrintable(String text) {
    return text.length() <= 2000 && text.chars().allMatch(c -> c >= 32 && c < 127);
  }

  private static void nicFaults(List<String> faults, Nic nic, String at) {
    require(
        faults,
        nic.user().isPresent() || INTERFACE.matcher(nic.tap()).matches(),
        "nics: tap '" + nic.tap() + "' is not an interface name");
    nic.bridge()
        .ifPresent(bridge ->
            require(
                faults,
                INTERFACE.matcher(bridge).matches(),
                "nics: bridge '" + bridge + "' is not an interface name"));
    boolean plain =
        nic.bridge().isEmpty() && nic.card().mtu().isEmpty() && nic.card().queues() == 1;
    require(
        faults,
        !nic.macvtap() || plain,
        at + "macvtap: a card on a macvtap has one queue, the macvtap's mtu and no bridge");
    nic.card().faults(nic.user().isPresent()).forEach(fault -> faults.add(at + fault));
    nic.user().ifPresent(user -> user.faults().forEach(fault -> faults.add(at + fault)));
    // The lowest bit of the first octet marks a group address.
    boolean unicast =
        MAC.matcher(nic.mac()).matches() && (Character.digit(nic.mac().charAt(1), 16) & 1) == 0;
    require(
        faults,
        unicast,
        "nics: mac '" + nic.mac() + "' is not a unicast address such as 52:54:00:12:34:56");
  }

  private static void require(List<String> faults, boolean holds, String fault) {
    if (!holds) {
      faults.add(fault);
    }
  }
}
