package dev.hyperfresh.host;

import dev.hyperfresh.linux.LinuxException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.Stream;

/// Looks at the host's settings one by one. Changes nothing.
final class HostKnobs {
  /// Parameters of Intel's module: `nested`, `ept`, `enable_shadow_vmcs`, `enable_apicv`, and in
  /// newer kernels `enable_device_posted_irqs`. All are read-only while the module is loaded.
  /// Source: Documentation/virt/kvm/x86/running-nested-guests.rst and arch/x86/kvm/vmx in the
  /// kernel.
  private static final String INTEL = "sys/module/kvm_intel/parameters/";

  /// Parameters of AMD's module: `nested`, `npt`, `avic`. Source: arch/x86/kvm/svm/svm.c.
  private static final String AMD = "sys/module/kvm_amd/parameters/";

  /// One entry an IOMMU. Source: Documentation/ABI/testing/sysfs-class-iommu.
  private static final String IOMMUS = "sys/class/iommu";

  /// Below an IOMMU of Intel: its capability register in hexadecimal. Source:
  /// Documentation/ABI/testing/sysfs-class-iommu-intel-iommu.
  private static final String VTD_CAPABILITIES = "intel-iommu/cap";

  /// The bit of that register for posted interrupts. Source: `cap_pi_support` in
  /// drivers/iommu/intel/iommu.h.
  private static final int POSTING_BIT = 59;

  /// One entry a PCI device, with `class`, the link `driver`, and where an IOMMU guards it the link
  /// `iommu_group`. Source: Documentation/ABI/testing/sysfs-bus-pci.
  private static final String PCI_DEVICES = "sys/bus/pci/devices";

  /// Below a group: links to the devices that only move together. Source:
  /// Documentation/ABI/testing/sysfs-kernel-iommu_groups.
  private static final String IOMMU_GROUPS = "sys/kernel/iommu_groups/";

  /// The class of network controllers, the first byte of `class`. Source: `PCI_BASE_CLASS_NETWORK`
  /// in include/linux/pci_ids.h.
  private static final String NETWORK_CLASS = "0x02";

  /// `free_hugepages`, beside `nr_hugepages`. Source: Documentation/admin-guide/mm/hugetlbpage.rst.
  private static final String FREE_HUGE_PAGES =
      "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";

  /// Lists such as `0-3,8`: the CPUs in use, those that `isolcpus=` took from the scheduler, and
  /// those whose tick `nohz_full=` stops, `(null)` for none. Source:
  /// Documentation/ABI/testing/sysfs-devices-system-cpu.
  private static final String CPUS = "sys/devices/system/cpu/";

  /// The CPUs of isolated partitions, which the file `isolated` need not tell of. Source:
  /// Documentation/admin-guide/cgroup-v2.rst.
  private static final String ISOLATED_PARTITIONS = "sys/fs/cgroup/cpuset.cpus.isolated";

  /// Source: proc_cpuinfo(5); `vmx` and `svm` are among `flags`.
  private static final String CPUINFO = "proc/cpuinfo";

  private static final int NAMES_SHOWN = 4;

  private record Finding(Knob.State state, String found, String action) {}

  private final Sysfs sysfs;

  HostKnobs(Sysfs sysfs) {
    this.sysfs = sysfs;
  }

  List<Knob> all() {
    return List.of(
        knob(
            "nested",
            "Lets a machine's own KVM run guests on the processor, with page tables that the"
                + " processor walks; without it they run translated.",
            this::nested),
        knob(
            "posted-interrupts",
            "Delivers interrupts to a running vCPU without an exit; an exit of a nested guest costs"
                + " several.",
            this::postedInterrupts),
        knob(
            "halt-polling",
            "Ends polling in this host after a vCPU halts; a machine polls for its guests itself, and"
                + " polling twice takes processor time from it.",
            this::haltPolling),
        knob(
            "huge-pages",
            "Backs memory with pages of 2 MiB, so that translation through two levels of page tables"
                + " has fewer steps and misses less.",
            this::hugePages),
        knob(
            "transparent-huge-pages",
            "Gives huge pages to memfds where QEMU asks for them, for memory that none are reserved"
                + " for.",
            this::transparentHugePages),
        knob(
            "ksm",
            "Ends the merging of equal pages, which breaks huge pages up and makes the next write to"
                + " each a fault for this host.",
            this::ksm),
        knob(
            "dedicated-cores",
            "Keeps other work away from the cores of a machine's vCPUs; a vCPU that waits for its core"
                + " holds up all its guests.",
            this::dedicatedCores),
        knob(
            "passthrough-nic",
            "Gives a machine a network function of its own, so that its guests' packets pass this host"
                + " without an exit.",
            this::passthroughNic),
        knob(
            "small-l0",
            "Anything else that this host runs takes memory and time from machines; the design"
                + " assumes a host that runs nothing else.",
            this::smallL0));
  }

  private Knob knob(String name, String purpose, Supplier<Finding> look) {
    Finding finding;
    try {
      finding = look.get();
    } catch (LinuxException | UncheckedIOException | NumberFormatException unreadable) {
      finding =
          new Finding(
              Knob.State.UNKNOWN,
              "It cannot be read: " + unreadable.getMessage() + ".",
              "Try as root.");
    }
    boolean settable =
        finding.state != Knob.State.UNKNOWN && Setting.of(name).map(this::settable).orElse(false);
    return new Knob(name, purpose, finding.state, finding.found, finding.action, settable);
  }

  private boolean settable(Setting setting) {
    return sysfs.writable(setting.file()) && !setting.forbidden(setting.current(sysfs).orElse(""));
  }

  private Finding nested() {
    boolean intel = sysfs.has(INTEL + "nested");
    if (!intel && !sysfs.has(AMD + "nested")) {
      return nestedWithoutModule();
    }
    String module = intel ? "kvm_intel" : "kvm_amd";
    List<String> parameters =
        intel ? List.of("nested", "ept", "enable_shadow_vmcs") : List.of("nested", "npt");
    String folder = intel ? INTEL : AMD;
    // A kernel without the parameter has no such switch; it is as the hardware is.
    List<String> off =
        parameters.stream().filter(name -> !sysfs.on(folder + name).orElse(true)).toList();
    String found = module + ": " + values(folder, parameters) + ".";
    return off.isEmpty()
        ? new Finding(Knob.State.SET, found, "")
        : new Finding(
            Knob.State.NOT_SET,
            found,
            "With no VM running: modprobe -r %1$s; modprobe %1$s %2$s. To keep it, put \"options %1$s"
                    .formatted(module, on(off))
                + " %s\" into a file of modprobe.d.".formatted(on(off)));
  }

  private static String on(List<String> parameters) {
    return String.join(" ", parameters.stream().map(name -> name + "=1").toList());
  }

  private Finding nestedWithoutModule() {
    List<String> flags =
        sysfs.read(CPUINFO).stream()
            .flatMap(String::lines)
            .filter(line -> line.startsWith("flags"))
            .limit(1)
            .flatMap(line -> Stream.of(line.split("\\s+")))
            .toList();
    String module = flags.contains("vmx") ? "kvm_intel" : flags.contains("svm") ? "kvm_amd" : "";
    String kvm =
        sysfs.has("sys/module/kvm")
            ? "There is a KVM, but neither Intel's nor AMD's module"
            : "No KVM is loaded";
    return module.isEmpty()
        ? new Finding(
            Knob.State.ABSENT,
            kvm + ", and the processor shows neither VT-x nor AMD-V.",
            "Enable virtualization in the firmware. If this host is a VM itself, its own host must"
                + " offer it. Until then machines are translated.")
        : new Finding(
            Knob.State.NOT_SET,
            kvm + "; the processor supports it.",
            "modprobe " + module + " nested=1");
  }

  private String values(String folder, List<String> parameters) {
    return String.join(
        ", ",
        parameters.stream()
            .flatMap(name -> sysfs.read(folder + name).map(value -> name + "=" + value).stream())
            .toList());
  }

  private Finding postedInterrupts() {
    boolean intel = sysfs.has(INTEL + "enable_apicv");
    if (!intel && !sysfs.has(AMD + "avic")) {
      return new Finding(
          Knob.State.ABSENT,
          "The KVM here has neither APICv nor AVIC.",
          "Needs kvm_intel or kvm_amd on a processor that has it.");
    }
    String folder = intel ? INTEL : AMD;
    String parameter = intel ? "enable_apicv" : "avic";
    String module = intel ? "kvm_intel" : "kvm_amd";
    if (!sysfs.on(folder + parameter).orElse(false)) {
      return new Finding(
          Knob.State.NOT_SET,
          module + ": " + values(folder, List.of(parameter)) + ".",
          "With no VM running: modprobe -r %1$s; modprobe %1$s %2$s=1. If it stays off, the processor"
                  .formatted(module, parameter)
              + " lacks it or the firmware keeps it off.");
    }
    String found = module + ": " + values(folder, List.of(parameter)) + "; ";
    Optional<Boolean> devices = devicesPost(folder);
    if (devices.isEmpty()) {
      return new Finding(
          Knob.State.UNKNOWN,
          found + "the kernel does not say whether devices' interrupts are posted too.",
          "This matters with a passed-through card: docs/NESTING.md says how to check it.");
    }
    return devices.get()
        ? new Finding(Knob.State.SET, found + "devices' interrupts are posted too.", "")
        : new Finding(
            Knob.State.NOT_SET,
            found + "devices' interrupts are not posted.",
            "This matters with a passed-through card: enable VT-d or AMD's IOMMU with interrupt"
                + " remapping in the firmware, and boot without intremap=off and intremap=nopost.");
  }

  /// @return empty when it cannot be told
  private Optional<Boolean> devicesPost(String folder) {
    Optional<Boolean> said = sysfs.on(folder + "enable_device_posted_irqs");
    if (said.isPresent()) {
      return said;
    }
    List<String> iommus = sysfs.list(IOMMUS);
    if (iommus.isEmpty()) {
      return Optional.of(false);
    }
    List<String> registers =
        iommus.stream()
            .flatMap(iommu -> sysfs.read(IOMMUS + "/" + iommu + "/" + VTD_CAPABILITIES).stream())
            .toList();
    return registers.isEmpty()
        ? Optional.empty()
        : Optional.of(registers.stream().allMatch(HostKnobs::hasPosting));
  }

  private static boolean hasPosting(String register) {
    return (Long.parseUnsignedLong(register, 16) >>> POSTING_BIT & 1) == 1;
  }

  private Finding haltPolling() {
    Optional<String> longest = Setting.HALT_POLLING.current(sysfs);
    if (longest.isEmpty()) {
      return new Finding(Knob.State.ABSENT, "No KVM is loaded.", "modprobe kvm_intel or kvm_amd.");
    }
    return longest.get().equals("0")
        ? new Finding(Knob.State.SET, "KVM does not poll.", "")
        : new Finding(
            Knob.State.NOT_SET,
            "KVM polls for up to " + longest.get() + " ns.",
            apply(Setting.HALT_POLLING, "writes 0 to", "kvm.halt_poll_ns=0"));
  }

  private Finding hugePages() {
    Optional<String> reserved = Setting.HUGE_PAGES.current(sysfs);
    if (reserved.isEmpty()) {
      return new Finding(
          Knob.State.ABSENT,
          "The kernel has no pages of 2 MiB to reserve.",
          "Needs a kernel with CONFIG_HUGETLBFS.");
    }
    long pages = Long.parseLong(reserved.get());
    String free = sysfs.read(FREE_HUGE_PAGES).orElse("an unknown number");
    return pages > 0
        ? new Finding(
            Knob.State.SET,
            "%d pages of 2 MiB are reserved, %s of them free.".formatted(pages, free),
            "")
        : new Finding(
            Knob.State.NOT_SET,
            "None is reserved.",
            sysfs.writable(Setting.HUGE_PAGES.file())
                ? "hyperfresh machine tune --huge-pages MIB; the boot option hugepages=N is more"
                    + " reliable."
                : "As root: hyperfresh machine tune --huge-pages MIB; or boot with hugepages=N.");
  }

  private Finding transparentHugePages() {
    Optional<String> word = Setting.TRANSPARENT_HUGE_PAGES.current(sysfs);
    if (word.isEmpty()) {
      return new Finding(
          Knob.State.ABSENT,
          "The kernel has no transparent huge pages for shared memory.",
          "Needs a kernel with CONFIG_TRANSPARENT_HUGEPAGE.");
    }
    String found = "Shared memory: " + word.get() + ".";
    return Setting.TRANSPARENT_HUGE_PAGES.fulfilled(word.get(), "advise")
        ? new Finding(Knob.State.SET, found, "")
        : new Finding(
            Knob.State.NOT_SET,
            found,
            apply(Setting.TRANSPARENT_HUGE_PAGES, "writes advise to", ""));
  }

  private Finding ksm() {
    Optional<String> run = Setting.KSM.current(sysfs);
    if (run.isEmpty()) {
      return new Finding(Knob.State.SET, "The kernel cannot merge pages.", "");
    }
    return Setting.KSM.fulfilled(run.get(), "0")
        ? new Finding(Knob.State.SET, "It is off.", "")
        : new Finding(
            Knob.State.NOT_SET,
            run.get().equals("1") ? "It runs." : "It says \"" + run.get() + "\".",
            apply(Setting.KSM, "writes 0 to", "")
                + " A service such as ksmtuned may start it again.");
  }

  /// What applying would do, or why it cannot be.
  private String apply(Setting setting, String does, String option) {
    if (setting.forbidden(setting.current(sysfs).orElse(""))) {
      return "An administrator forbade it; change it by hand if you are allowed to.";
    }
    if (sysfs.writable(setting.file())) {
      return "hyperfresh machine tune --apply %s (%s /%s)."
          .formatted(setting.knob(), does, setting.file());
    }
    return "This user or this kernel may not write /%s: try as root%s."
        .formatted(setting.file(), option.isEmpty() ? "" : ", or boot with " + option);
  }

  private Finding dedicatedCores() {
    Optional<String> online = sysfs.read(CPUS + "online");
    if (online.isEmpty()) {
      return new Finding(Knob.State.UNKNOWN, "The kernel does not list its CPUs.", "");
    }
    int cpus = count(online.get());
    if (cpus < 2) {
      return new Finding(
          Knob.State.ABSENT, "There is one CPU; this host and a machine share it.", "");
    }
    String isolated = cpuList(CPUS + "isolated");
    String partitions = cpuList(ISOLATED_PARTITIONS);
    String tickless = cpuList(CPUS + "nohz_full");
    String found =
        "Of %d CPUs isolated: %s; in isolated partitions: %s; without a tick: %s."
            .formatted(cpus, orNone(isolated), orNone(partitions), orNone(tickless));
    return isolated.isEmpty() && partitions.isEmpty()
        ? new Finding(
            Knob.State.NOT_SET,
            found,
            "Leave this host its first core or two: create an isolated partition of cpusets, or"
                + " boot with isolcpus=LIST nohz_full=LIST.")
        : new Finding(Knob.State.SET, found, "");
  }

  private String cpuList(String path) {
    String list = sysfs.read(path).orElse("");
    return list.equals("(null)") ? "" : list;
  }

  private static String orNone(String list) {
    return list.isEmpty() ? "none" : list;
  }

  /// How many CPUs a list such as `0-3,8` names.
  static int count(String list) {
    int cpus = 0;
    for (String range : list.split(",")) {
      String[] ends = range.split("-", 2);
      int first = Integer.parseInt(ends[0]);
      cpus += (ends.length == 1 ? first : Integer.parseInt(ends[1])) - first + 1;
    }
    return cpus;
  }

  private Finding passthroughNic() {
    List<String> cards =
        sysfs.list(PCI_DEVICES).stream()
            .filter(device ->
                sysfs
                    .read(PCI_DEVICES + "/" + device + "/class")
                    .orElse("")
                    .startsWith(NETWORK_CLASS))
            .toList();
    List<String> guarded = cards.stream().filter(card -> group(card).isPresent()).toList();
    List<String> ready =
        guarded.stream()
            .filter(card ->
                sysfs.target(PCI_DEVICES + "/" + card + "/driver").orElse("").equals("vfio-pci"))
            .toList();
    if (!ready.isEmpty()) {
      return new Finding(Knob.State.SET, "Given to vfio-pci: " + described(ready) + ".", "");
    }
    if (!guarded.isEmpty()) {
      return new Finding(
          Knob.State.NOT_SET,
          "Could be passed through: " + described(guarded) + ".",
          "Create a virtual function (sriov_numvfs) or take a spare card, and bind it and the"
              + " rest of its group to vfio-pci. Never use the card through which this host is"
              + " reached.");
    }
    String found =
        cards.isEmpty()
            ? "There is no network card on PCI."
            : "No IOMMU guards a network card (%s).".formatted(shown(cards));
    return new Finding(
        Knob.State.ABSENT,
        found,
        "Enable VT-d or AMD's IOMMU in the firmware, and boot with intel_iommu=on for Intel's."
            + " Until then machines use virtio.");
  }

  private Optional<String> group(String device) {
    return sysfs.target(PCI_DEVICES + "/" + device + "/iommu_group");
  }

  private String described(List<String> cards) {
    return shown(
        cards.stream()
            .map(card -> {
              String group = group(card).orElse("");
              int members = sysfs.list(IOMMU_GROUPS + group + "/devices").size();
              return "%s (group %s, %d in it)".formatted(card, group, members);
            })
            .toList());
  }

  private static String shown(List<String> names) {
    List<String> some = new ArrayList<>(names.subList(0, Math.min(NAMES_SHOWN, names.size())));
    if (names.size() > some.size()) {
      some.add("and " + (names.size() - some.size()) + " more");
    }
    return String.join(", ", some);
  }

  private Finding smallL0() {
    Optional<HostMemory> memory = HostMemory.of(sysfs);
    if (memory.isEmpty()) {
      return new Finding(Knob.State.UNKNOWN, "There is no /proc/meminfo.", "");
    }
    // Threads of the kernel have no command line.
    long processes =
        sysfs.list("proc").stream()
            .filter(name -> name.matches("[0-9]+"))
            .filter(process -> hasCommandLine(process))
            .count();
    return new Finding(
        Knob.State.UNKNOWN,
        "%d processes; %d of %d MiB are in use, guests and machines included."
            .formatted(processes, memory.get().usedMib(), memory.get().totalMib()),
        "Only you can judge it: stop the services that this host does not need.");
  }

  private boolean hasCommandLine(String process) {
    try {
      return !sysfs.read("proc/" + process + "/cmdline").orElse("").isEmpty();
    } catch (LinuxException gone) {
      // It ended between the list and the look.
      return false;
    }
  }
}
