package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hyperplexor.StartReason;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.qemu.FetchedQemu;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.relocation.ContainerState;
import dev.hyperfresh.relocation.ContainerStats;
import dev.hyperfresh.relocation.ContainerView;
import dev.hyperfresh.relocation.Health;
import dev.hyperfresh.relocation.OsRelease;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.VolumeMount;
import dev.hyperfresh.relocation.VolumeView;
import dev.hyperfresh.vm.VmKind;
import dev.hyperfresh.vm.VmRelease;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/// What answers look like: the field names of the API, of `--json` and of the history are the same,
/// and stand here alone.
public final class Views {
  private Views() {}

  /// A guest.
  public static Map<String, Object> guest(GuestView view) {
    GuestSpec spec = view.spec();
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", spec.name());
    json.put("state", view.state().name().toLowerCase(Locale.ROOT));
    json.put("detail", view.detail());
    json.put("origin", view.origin().name().toLowerCase(Locale.ROOT));
    json.put("kind", view.kind());
    json.put("release", view.release());
    json.put("accelerator", view.accelerator().accelerator().label());
    json.put("accelerator_reason", view.accelerator().reason());
    json.put("vcpus", spec.vcpus());
    json.put("memory_mib", spec.memoryBytes() >> 20);
    json.put("memories", view.memory().stream().map(Views::memory).toList());
    json.put("machine", spec.machine());
    json.put("cpu", spec.cpu());
    json.put("disks", spec.disks().stream().map(disk -> disk.path().toString()).toList());
    json.put("nics", spec.nics().stream().map(Views::nic).toList());
    json.put("devices", spec.extras());
    json.put("firmware", spec.firmware().kind().label());
    json.put("tpm", spec.firmware().tpm());
    json.put("agent", spec.agent());
    json.put("clock", spec.clock().label());
    json.put("on_crash", spec.ends().onCrash().label());
    json.put("on_reboot", spec.ends().onReboot().label());
    json.put("on_poweroff", spec.ends().onPoweroff().label());
    json.put("autostart", view.starts().autostart());
    json.put("next_release", view.starts().release());
    json.put("edited", view.starts().edited());
    json.put("restarts", view.starts().inARow());
    json.put("to_start", view.starts().wanted());
    json.put("clock_lost_ms_total", rounded(view.clockLoss().micros() / 1e3));
    json.put("clock_unmeasured", view.clockLoss().unmeasured());
    json.put("pid", view.pid());
    json.put("confinement", view.confinement());
    json.put("generation", view.generation());
    json.put("created_at", view.createdAt().toString());
    json.put("stopped_at", view.stoppedAt().map(Object::toString).orElse(""));
    json.put("console", view.console().map(Object::toString).orElse(""));
    json.put("files", view.files().toString());
    return json;
  }

  /// A start of a guest.
  static Map<String, Object> start(GuestView view, StartReason why) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("why", why.label());
    json.put("release", view.release());
    json.put("generation", view.generation());
    json.put("restarts", view.starts().inARow());
    return json;
  }

  private static Map<String, @Nullable Object> memory(MemoryPart part) {
    Map<String, @Nullable Object> json = new LinkedHashMap<>();
    json.put("mib", part.bytes() >> 20);
    json.put("huge_page_kib", boxed(part.hugePageBytes().stream().map(b -> b >> 10).findFirst()));
    return json;
  }

  private static Map<String, Object> nic(GuestSpec.Nic nic) {
    return Map.of("tap", nic.tap(), "mac", nic.mac(), "bridge", nic.bridge().orElse(""));
  }

  /// A replacement that is over. Times are milliseconds.
  public static Map<String, @Nullable Object> replacement(ReplacementRecord record) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("id", record.id());
    json.put("guest", record.guest());
    json.put("kind", record.kind());
    json.put("from", record.from());
    json.put("to", record.to());
    new TreeMap<>(record.parts().from())
        .forEach((part, version) -> json.put(part + "_from", version));
    new TreeMap<>(record.parts().to()).forEach((part, version) -> json.put(part + "_to", version));
    json.put("accelerator", record.accelerator());
    json.put("started_at", record.startedAt().toString());
    put(json, "blackout_ms", record.blackoutMs());
    put(json, "clock_lost_ms", record.clocks().lostMs());
    put(json, "clock_stepped_ms", record.clocks().steppedMs());
    if (!record.clocks().remark().isEmpty()) {
      json.put("clock_remark", record.clocks().remark());
    }
    put(json, "guest_gap_ms", record.guestGapMs());
    put(json, "noise_floor_ms", record.noiseFloorMs());
    json.put("heartbeat_went_back", record.heartbeatWentBack());
    put(json, "slowdown_percent", record.aftermath().slowdownPercent());
    record.aftermath().pageFaults().ifPresent(faults -> json.put("page_faults", faults));
    // Unknown is not 0, which is this product's promise.
    json.put("ram_bytes_copied", boxed(record.ramBytesCopied()));
    json.put("state_bytes", record.stateBytes());
    json.put("plan_ms", rounded(record.phases().planMs()));
    json.put("prepare_ms", rounded(record.phases().prepareMs()));
    json.put("hand_over_ms", rounded(record.phases().handOverMs()));
    put(json, "save_ms", record.phases().saveMs());
    put(json, "load_ms", record.phases().loadMs());
    put(json, "roll_back_ms", record.phases().rollBackMs());
    json.put("retire_ms", rounded(record.phases().retireMs()));
    json.put("total_ms", rounded(record.totalMs()));
    json.put("outcome", record.outcome().label());
    if (!record.committed()) {
      json.put("problem", record.problem());
    }
    if (!record.detail().isEmpty()) {
      json.put("detail", record.detail());
    }
    return json;
  }

  /// A guest for which there was nothing to do.
  static Map<String, Object> there(String guest, String release) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("guest", guest);
    json.put("from", release);
    json.put("to", release);
    json.put("outcome", Rollout.Outcome.THERE.label());
    return json;
  }

  /// A rollout that is over, or the plan of one.
  public static Map<String, Object> rollout(Rollout.Result<ReplacementRecord> result) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("to", result.to());
    json.put("stopped", result.stopped().orElse(""));
    json.put("misses", result.misses().stream().map(Rollout.Entry::name).toList());
    json.put("guests", result.entries().stream().map(Views::entry).toList());
    return json;
  }

  /// A rollout of containers that is over, or the plan of one.
  public static Map<String, Object> relocations(Rollout.Result<RelocationRecord> result) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("to", result.to());
    json.put("stopped", result.stopped().orElse(""));
    json.put("misses", result.misses().stream().map(Rollout.Entry::name).toList());
    json.put("containers", result.entries().stream().map(Views::moved).toList());
    return json;
  }

  private static Map<String, Object> moved(Rollout.Entry<RelocationRecord> entry) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("container", entry.name());
    json.putAll(outcome(entry));
    entry.record().ifPresent(record -> json.put("relocation", relocation(record)));
    return json;
  }

  private static Map<String, Object> outcome(Rollout.Entry<?> entry) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("from", entry.from());
    json.put("outcome", entry.outcome().label());
    json.put("problem", entry.problem());
    json.put("detail", entry.detail());
    return json;
  }

  private static Map<String, Object> entry(Rollout.Entry<ReplacementRecord> entry) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("guest", entry.name());
    json.putAll(outcome(entry));
    entry.record().ifPresent(record -> json.put("replacement", replacement(record)));
    return json;
  }

  private static @Nullable Long boxed(OptionalLong count) {
    return count.isPresent() ? (Long) count.getAsLong() : null;
  }

  private static void put(Map<String, Object> json, String key, OptionalDouble millis) {
    if (millis.isPresent()) {
      json.put(key, rounded(millis.getAsDouble()));
    }
  }

  /// Microseconds are the finest that any clock here tells.
  static double rounded(double millis) {
    return Math.round(millis * 1000) / 1000.0;
  }

  /// A release; machine types only where a single release is shown.
  public static Map<String, Object> release(QemuRelease release, boolean whole) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", release.name());
    json.put("kind", release.kind());
    json.put("version", release.version());
    json.put("source", release.source());
    json.put("binary", release.binary().toString());
    json.put("sha256", release.sha256());
    if (whole) {
      json.put("machines", release.sortedMachines());
      json.put("cpus", release.cpus().stream().sorted().toList());
      json.put("migration_capabilities", release.capabilities().stream().sorted().toList());
    }
    return json;
  }

  /// A release that was asked for at the package archives.
  static Map<String, Object> fetched(FetchedQemu fetched) {
    Map<String, Object> json = release(fetched.release(), false);
    json.put("fetch", fetched.news().label());
    return json;
  }

  /// What a pruning did, or would do.
  static Map<String, Object> pruned(ReleaseKinds.Pruned pruned, boolean dry) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("dry_run", dry);
    json.put("removed", pruned.removed());
    json.put("kept", pruned.kept());
    return json;
  }

  /// A release that was verified.
  public static Map<String, Object> verified(QemuReleases.Verified verified) {
    Map<String, Object> json = release(verified.release(), false);
    json.put("files_compared", verified.compared());
    return json;
  }

  /// A release of machines; machine types only where a single release is shown.
  public static Map<String, Object> release(MachineRelease release, boolean whole) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", release.name());
    json.put("kind", release.kind());
    json.put("version", release.version());
    json.put("kernel", release.kernelVersion());
    json.put("qemu", release.qemuVersion());
    json.put("source", release.source());
    json.put("binary", release.initrd().toString());
    json.put("image_bytes", release.initrd().toFile().length());
    json.put("sha256", release.sha256());
    if (whole) {
      json.put("machines", release.machines().stream().sorted().toList());
      json.put("cpus", release.cpus().stream().sorted().toList());
      json.put("migration_capabilities", release.capabilities().stream().sorted().toList());
    }
    return json;
  }

  /// A machine.
  ///
  /// @param files the folder with its logs
  static Map<String, Object> machine(VmView<MachineRelease> machine, Path files) {
    Map<String, Object> json = life(machine);
    json.put("qemu", machine.installed().map(MachineRelease::qemuVersion).orElse(""));
    json.put("memory_free_at_boot_mib", machine.memoryFreeKib() >> 10);
    json.put("files", files.toString());
    json.put("guests", machine.tenants());
    return json;
  }

  /// A release of operating systems.
  public static Map<String, Object> release(OsRelease release) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", release.name());
    json.put("kind", OsRelease.KIND);
    json.put("version", release.kernelVersion() + "+" + release.userland());
    json.put("kernel", release.kernelVersion());
    json.put("userland", release.userland());
    json.put("criu", release.criuVersion());
    json.put("runc", release.runcVersion());
    json.put("source", release.source());
    json.put("binary", release.initrd().toString());
    json.put("image_bytes", release.initrd().toFile().length());
    json.put("sha256", release.sha256());
    return json;
  }

  /// An OS.
  static Map<String, Object> os(VmView<OsRelease> os) {
    Map<String, Object> json = life(os);
    json.put("criu", os.installed().map(OsRelease::criuVersion).orElse(""));
    json.put("containers", os.tenants());
    return json;
  }

  /// What machines and operating systems have in common.
  private static Map<String, Object> life(VmView<?> vm) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", vm.name());
    json.put("state", vm.state());
    json.put("autostart", vm.autostart());
    json.put("release", vm.release());
    json.put("kernel", vm.installed().map(VmRelease::kernelVersion).orElse(""));
    json.put("hardware", vm.hardware());
    json.put("accelerator", vm.accelerator());
    json.put("accelerator_reason", vm.acceleratorReason());
    json.put("vcpus", vm.vcpus());
    json.put("memory_mib", vm.memoryBytes() >> 20);
    json.put("boot_ms", rounded(vm.bootMs()));
    json.put("pid", vm.pid());
    return json;
  }

  /// A virtual machine of ours, of any kind.
  static Map<String, Object> vm(VmKind.Member<?> vm) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", vm.settings().name());
    json.put("release", vm.settings().release().name());
    json.put("hardware", vm.settings().hardware().name());
    json.put("vcpus", vm.settings().vcpus());
    json.put("memory_mib", vm.settings().memoryBytes() >> 20);
    json.put("boot_ms", rounded(vm.bootMs()));
    json.put("pid", vm.pid());
    return json;
  }

  /// A container.
  public static Map<String, Object> container(ContainerView container) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", container.name());
    json.put("state", container.state().word());
    json.put("os", container.os());
    container.kernel().ifPresent(kernel -> json.put("kernel", kernel));
    json.put("pid", container.pid());
    ended(container.state(), json);
    json.put("restart", container.restart().text());
    json.put("restarts", container.restarts());
    container.nextStart().ifPresent(at -> json.put("next_start", at.toString()));
    if (!container.failure().isEmpty()) {
      json.put("next_start_why", container.failure());
    }
    container
        .spec()
        .network()
        .ifPresent(network -> {
          network.address().ifPresent(address -> json.put("address", address));
          network.address6().ifPresent(address -> json.put("address6", address));
          json.put("mac", container.spec().mac());
          json.put("port", container.spec().port());
          network.bridge().ifPresent(bridge -> json.put("bridge", bridge));
          json.put("routes", network.routes());
          json.put("dns", network.dns());
        });
    if (!container.spec().volumes().isEmpty()) {
      json.put("volumes", container.spec().volumes().stream().map(VolumeMount::text).toList());
    }
    container.health().ifPresent(health -> health(health, json));
    json.put("log", container.log().toString());
    return json;
  }

  private static void health(Health health, Map<String, Object> json) {
    json.put("health", health.state().word());
    health.checkedAt().ifPresent(at -> json.put("health_checked_at", at.toString()));
    if (!health.failure().isEmpty()) {
      json.put("health_failures", health.failures());
      json.put("health_failure", health.failure());
    }
  }

  /// A volume of containers.
  public static Map<String, Object> volume(VolumeView volume) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", volume.name());
    volume.createdAt().ifPresent(at -> json.put("created_at", at.toString()));
    volume.container().ifPresent(name -> json.put("container", name));
    json.put("path", volume.path().toString());
    if (!volume.fault().isEmpty()) {
      json.put("fault", volume.fault());
    }
    return json;
  }

  private static void ended(ContainerState state, Map<String, Object> json) {
    state
        .endedAt()
        .ifPresent(at -> {
          json.put("ended_at", at.toString());
          json.put("ended", state.how());
        });
    if (state instanceof ContainerState.Ended end) {
      end.code().ifPresent(code -> json.put("exit_code", code));
      end.signal().ifPresent(signal -> json.put("signal", signal));
      json.put("out_of_memory", end.outOfMemory());
    }
  }

  /// What a container uses. A limit that there is not is left out.
  public static Map<String, Object> stats(ContainerStats stats) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("memory_bytes", stats.memoryBytes());
    stats.memoryMaxBytes().ifPresent(most -> json.put("memory_max_bytes", most));
    json.put("cpu_us", stats.cpuMicros());
    json.put("pids", stats.pids());
    stats.pidsMax().ifPresent(most -> json.put("pids_max", most));
    return json;
  }

  /// How a container was moved.
  public static Map<String, Object> relocation(RelocationRecord record) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("started_at", record.startedAt().toString());
    json.put("container", record.container());
    json.put("from", record.from());
    json.put("to", record.to());
    json.put("kernel_from", record.kernelFrom());
    json.put("kernel_to", record.kernelTo());
    json.put("transport", record.transport());
    json.put("outcome", record.outcome());
    json.put("detail", record.detail());
    switch (record.outcome()) {
      case "committed" -> {}
      case "rolled-back" -> json.put("problem", Problem.RELOCATE_ROLLED_BACK.code());
      default -> json.put("problem", Problem.RELOCATE_LOST.code());
    }
    json.put("memory_mib", record.memoryBytes() >> 20);
    json.put("frozen_bytes", record.frozenBytes());
    record.frozenMs().ifPresent(ms -> json.put("frozen_ms", rounded(ms)));
    Map<String, Object> phases = new LinkedHashMap<>();
    record.phasesMs().forEach((name, ms) -> phases.put(name, rounded(ms)));
    json.put("phases_ms", phases);
    json.put("drained_pages", record.drain().pages());
    json.put("drain_mib_s", rounded(record.drain().mibPerSecond()));
    json.put("faults", record.drain().faults());
    json.put("longest_fault_us", record.drain().longestFaultMicros());
    return json;
  }

  /// What was looked at before a replacement.
  public static List<Map<String, String>> checks(List<Check> checks) {
    return checks.stream().map(Views::check).toList();
  }

  private static Map<String, String> check(Check check) {
    Map<String, String> json = new LinkedHashMap<>();
    json.put("check", check.name());
    json.put("verdict", check.verdict().name().toLowerCase(Locale.ROOT));
    json.put("finding", check.finding());
    json.put("remedy", check.remedy());
    return json;
  }

  /// An error in the form of RFC 9457, `application/problem+json`.
  public static Map<String, Object> problem(HyperFreshException e) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("type", "urn:hyperfresh:" + e.problem().code());
    json.put("title", e.problem().summary());
    json.put("status", e.problem().httpStatus());
    json.put("code", e.problem().code());
    json.put("detail", e.detail());
    json.put("advice", e.problem().advice());
    return json;
  }
}
