package dev.hyperfresh.host;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.host.Knob.State;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NestingKnobsTest {
  @TempDir Path root;

  @Test
  void aCompleteHostOfIntel() {
    FakeHost host = FakeHost.intel(root);
    Map<String, String> before = host.everything();

    assertThat(states())
        .containsOnly(
            Map.entry("nested", State.SET),
            Map.entry("posted-interrupts", State.SET),
            Map.entry("halt-polling", State.NOT_SET),
            Map.entry("huge-pages", State.NOT_SET),
            Map.entry("transparent-huge-pages", State.NOT_SET),
            Map.entry("ksm", State.NOT_SET),
            Map.entry("dedicated-cores", State.SET),
            Map.entry("passthrough-nic", State.SET),
            Map.entry("small-l0", State.UNKNOWN));
    assertThat(knob("nested").found())
        .isEqualTo("kvm_intel: nested=Y, ept=Y, enable_shadow_vmcs=Y.");
    assertThat(knob("halt-polling").found()).contains("200000 ns");
    assertThat(knob("halt-polling").settable()).isTrue();
    assertThat(knob("dedicated-cores").found())
        .isEqualTo(
            "Of 16 CPUs isolated: 4-15; in isolated partitions: none; without a tick: 4-15.");
    assertThat(knob("passthrough-nic").found())
        .isEqualTo("Given to vfio-pci: 0000:3b:10.0 (group 43, 1 in it).");
    assertThat(knob("small-l0").found())
        .isEqualTo("1 processes; 16384 of 32768 MiB are in use, guests and machines included.");
    assertThat(host.everything()).isEqualTo(before);
  }

  @Test
  void aHostOfAmd() {
    FakeHost.amd(root);

    assertThat(knob("nested").state()).isEqualTo(State.SET);
    assertThat(knob("nested").found()).isEqualTo("kvm_amd: nested=1, npt=Y.");
    assertThat(knob("posted-interrupts").state()).isEqualTo(State.UNKNOWN);
    assertThat(knob("posted-interrupts").found()).startsWith("kvm_amd: avic=Y;");
    assertThat(knob("passthrough-nic").state()).isEqualTo(State.NOT_SET);
    assertThat(knob("passthrough-nic").found()).contains("0000:41:00.0 (group 7, 1 in it)");
  }

  @Test
  void aHostWithNothing() {
    assertThat(states())
        .containsOnly(
            Map.entry("nested", State.ABSENT),
            Map.entry("posted-interrupts", State.ABSENT),
            Map.entry("halt-polling", State.ABSENT),
            Map.entry("huge-pages", State.ABSENT),
            Map.entry("transparent-huge-pages", State.ABSENT),
            Map.entry("ksm", State.SET),
            Map.entry("dedicated-cores", State.UNKNOWN),
            Map.entry("passthrough-nic", State.ABSENT),
            Map.entry("small-l0", State.UNKNOWN));
    assertThat(new NestingProfile(root).knobs()).noneMatch(Knob::settable);
    assertThat(new NestingProfile(root).applicable()).isEmpty();
  }

  @Test
  void everyKnobThatIsNotSetSaysWhatToDo() {
    assertThat(new NestingProfile(root).knobs())
        .filteredOn(knob -> knob.state() == State.ABSENT || knob.state() == State.NOT_SET)
        .allSatisfy(knob -> assertThat(knob.action()).as(knob.name()).isNotBlank());
    assertThat(new NestingProfile(root).knobs())
        .allSatisfy(knob -> {
          assertThat(knob.purpose()).as(knob.name()).matches("[A-Z].*[^.]\\.");
          assertThat(knob.found()).as(knob.name()).endsWith(".");
        });
  }

  @Test
  void nestingThatIsOffNeedsTheModuleAnew() {
    FakeHost host = FakeHost.intel(root).file("sys/module/kvm_intel/parameters/nested", "N");

    assertThat(knob("nested").state()).isEqualTo(State.NOT_SET);
    assertThat(knob("nested").action())
        .contains("With no VM running", "modprobe kvm_intel nested=1");
    assertThat(knob("nested").settable()).isFalse();

    host.file("sys/module/kvm_intel/parameters/nested", "Y")
        .file("sys/module/kvm_intel/parameters/enable_shadow_vmcs", "N");
    assertThat(knob("nested").state()).isEqualTo(State.NOT_SET);
    assertThat(knob("nested").action())
        .contains("enable_shadow_vmcs=1")
        .doesNotContain(" nested=1");
  }

  @Test
  void aProcessorThatCouldIsNotOneThatCannot() {
    FakeHost host = new FakeHost(root).file("proc/cpuinfo", "flags\t\t: fpu vmx sse");
    assertThat(knob("nested").state()).isEqualTo(State.NOT_SET);
    assertThat(knob("nested").action()).isEqualTo("modprobe kvm_intel nested=1");

    host.file("proc/cpuinfo", "flags\t\t: fpu svm sse");
    assertThat(knob("nested").action()).isEqualTo("modprobe kvm_amd nested=1");

    host.file("proc/cpuinfo", "flags\t\t: fpu sse").file(FakeHost.HALT, "0");
    assertThat(knob("nested").state()).isEqualTo(State.ABSENT);
    assertThat(knob("nested").found()).startsWith("There is a KVM, but");
  }

  @Test
  void interruptsAreJudgedByApicvAndByTheIommu() {
    FakeHost host = FakeHost.intel(root);
    // The same register without bit 59.
    host.file("sys/devices/virtual/iommu/dmar0/intel-iommu/cap", "1c0000c40660462");
    assertThat(knob("posted-interrupts").state()).isEqualTo(State.NOT_SET);
    assertThat(knob("posted-interrupts").action()).contains("firmware");

    // What the kernel says of itself goes before what the register says.
    host.file("sys/module/kvm_intel/parameters/enable_device_posted_irqs", "Y");
    assertThat(knob("posted-interrupts").state()).isEqualTo(State.SET);

    host.file("sys/module/kvm_intel/parameters/enable_apicv", "N");
    assertThat(knob("posted-interrupts").state()).isEqualTo(State.NOT_SET);
    assertThat(knob("posted-interrupts").action()).contains("modprobe kvm_intel enable_apicv=1");
  }

  @Test
  void settingsThatAreInPlaceAreSeen() {
    FakeHost.intel(root)
        .file(FakeHost.HALT, "0")
        .file(FakeHost.PAGES, "512")
        .file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "500")
        .file(FakeHost.SHMEM, "always [within_size] advise never deny force")
        .file(FakeHost.KSM, "2");

    assertThat(states().values()).doesNotContain(State.NOT_SET, State.ABSENT);
    assertThat(knob("huge-pages").found())
        .isEqualTo("512 pages of 2 MiB are reserved, 500 of them free.");
  }

  @Test
  void aKernelThatLetsNobodyWriteSaysSo() {
    FakeHost.intel(root).readOnly(FakeHost.HALT);

    assertThat(knob("halt-polling").state()).isEqualTo(State.NOT_SET);
    assertThat(knob("halt-polling").settable()).isFalse();
    assertThat(knob("halt-polling").action()).contains("may not write", "kvm.halt_poll_ns=0");
    assertThat(new NestingProfile(root).applicable())
        .containsExactly("ksm", "transparent-huge-pages");
  }

  @Test
  void whatAnAdministratorForbadeIsNotOffered() {
    FakeHost.intel(root).file(FakeHost.SHMEM, "always within_size advise never [deny] force");

    assertThat(knob("transparent-huge-pages").state()).isEqualTo(State.NOT_SET);
    assertThat(knob("transparent-huge-pages").settable()).isFalse();
    assertThat(new NestingProfile(root).applicable()).containsExactly("halt-polling", "ksm");
  }

  @Test
  void textThatIsNoNumberIsUnknown() {
    FakeHost.intel(root)
        .file(FakeHost.PAGES, "many")
        .file("sys/devices/system/cpu/online", "0-x")
        .file("sys/devices/virtual/iommu/dmar0/intel-iommu/cap", "zz");

    assertThat(knob("huge-pages").state()).isEqualTo(State.UNKNOWN);
    assertThat(knob("huge-pages").found()).contains("many");
    assertThat(knob("dedicated-cores").state()).isEqualTo(State.UNKNOWN);
    assertThat(knob("posted-interrupts").state()).isEqualTo(State.UNKNOWN);
  }

  @Test
  void coresAreCounted() {
    FakeHost host = FakeHost.intel(root);
    assertThat(HostKnobs.count("0-3,8,10-11")).isEqualTo(7);

    host.file("sys/devices/system/cpu/isolated", "")
        .file("sys/devices/system/cpu/nohz_full", "(null)");
    assertThat(knob("dedicated-cores").state()).isEqualTo(State.NOT_SET);
    assertThat(knob("dedicated-cores").found()).endsWith("without a tick: none.");

    host.file("sys/fs/cgroup/cpuset.cpus.isolated", "8-15");
    assertThat(knob("dedicated-cores").state()).isEqualTo(State.SET);

    host.file("sys/devices/system/cpu/online", "0");
    assertThat(knob("dedicated-cores").state()).isEqualTo(State.ABSENT);
  }

  @Test
  void aCardThatNoIommuGuardsStaysHere() throws Exception {
    FakeHost.amd(root);
    Files.delete(root.resolve("sys/bus/pci/devices/0000:41:00.0/iommu_group"));

    assertThat(knob("passthrough-nic").state()).isEqualTo(State.ABSENT);
    assertThat(knob("passthrough-nic").found())
        .isEqualTo("No IOMMU guards a network card (0000:41:00.0).");
  }

  @Test
  void aLinkThatLeadsOutIsNotFollowed(@TempDir Path elsewhere) throws Exception {
    Path outside = Files.writeString(elsewhere.resolve("halt_poll_ns"), "200000\n");
    new FakeHost(root).link(FakeHost.HALT, outside.toString());

    assertThat(knob("halt-polling").state()).isEqualTo(State.ABSENT);
    assertThat(knob("halt-polling").settable()).isFalse();
  }

  @Test
  void thisHostCanBeLookedAt() {
    assertThat(new NestingProfile(Path.of("/")).knobs())
        .hasSize(9)
        .allSatisfy(knob -> assertThat(knob.found()).isNotBlank());
  }

  private Map<String, State> states() {
    return new NestingProfile(root)
        .knobs().stream().collect(Collectors.toMap(Knob::name, Knob::state));
  }

  private Knob knob(String name) {
    return new NestingProfile(root)
        .knobs().stream().filter(knob -> knob.name().equals(name)).findFirst().orElseThrow();
  }
}
