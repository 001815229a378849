package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import dev.hyperfresh.hyperplexor.ClockLoss;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hyperplexor.StartReason;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.qemu.FetchedQemu;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.ContainerState;
import dev.hyperfresh.relocation.ContainerStats;
import dev.hyperfresh.relocation.ContainerView;
import dev.hyperfresh.relocation.Health;
import dev.hyperfresh.relocation.OsRelease;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.RestartPolicy;
import dev.hyperfresh.relocation.VolumeMount;
import dev.hyperfresh.relocation.VolumeView;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.VmDefinition;
import dev.hyperfresh.vm.VmKind;
import dev.hyperfresh.vm.VmRelease;
import dev.hyperfresh.vm.VmSettings;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/// The contract has every route of the table, with its role and its fields, and every view fits it.
/// What daemons answer in other tests is held against it by [RawHttp].
class ContractTest {
  private static final Instant NOON = Instant.parse("2026-03-01T12:00:00.123456Z");
  private static final MachineRelease MACHINE = Installed.machine("6.12.95", "10.0.2");
  private static final OsRelease OS = Installed.os("6.12.95", "trixie");

  @Test
  void everyRouteStandsInItAsInTheTable(@TempDir Path folder) {
    try (Daemon daemon = Daemon.start(DaemonConfig.under(folder.resolve("state")))) {
      List<Route> routes = new Api(daemon).routes().all();
      for (Route route : routes) {
        JsonNode operation =
            Contract.paths()
                .path(route.path())
                .path(route.method().text().toLowerCase(Locale.ROOT));
        String named = route.method().text() + " " + route.path();
        assertThat(operation.isObject()).as(named).isTrue();
        assertThat(operation.path("summary").asString()).as(named).isEqualTo(route.summary());
        assertThat(operation.path("x-role").asString()).as(named).isEqualTo(route.role().label());
        assertThat(operation.path("x-audited").asBoolean()).as(named).isEqualTo(route.audited());
        assertThat(
                Contract.bodyOf(operation)
                    .map(schema -> List.copyOf(schema.path("properties").propertyNames()))
                    .orElse(List.of()))
            .as(named)
            .containsExactlyInAnyOrderElementsOf(route.fields());
      }
      long operations =
          Contract.paths()
              .valueStream()
              .flatMap(path -> path.propertyNames().stream())
              .filter(name -> !name.equals("parameters"))
              .count();
      assertThat(operations).isEqualTo(routes.size());
    }
  }

  private static JsonNode json(Object view) {
    return Api.JSON.readTree(Api.JSON.writeValueAsString(view));
  }

  static GuestView guest(GuestView.State state) {
    GuestSpec spec =
        new GuestSpec(
            "web1",
            1,
            256 << 20,
            "pc-q35-7.2",
            "qemu64",
            GuestSpec.AcceleratorWish.AUTO,
            Optional.of(new GuestSpec.KernelBoot(Path.of("/k"), Optional.empty(), "")),
            List.of(),
            List.of(new GuestSpec.Nic("tap0", Optional.of("br0"), "52:54:00:12:34:56")));
    return new GuestView(
        spec,
        state,
        "",
        "process",
        "qemu-10.0.2",
        4711,
        2,
        new AcceleratorChoice(Accelerator.KVM, "KVM"),
        NOON,
        state == GuestView.State.STOPPED ? Optional.of(NOON) : Optional.empty(),
        Optional.of(Path.of("/c")),
        Path.of("/f"),
        "",
        GuestView.Origin.CREATED,
        ClockLoss.NONE,
        new GuestView.Starts(true, "qemu-10.0.2", false, 0, false),
        List.of(
            MemoryPart.ordinary(128 << 20), new MemoryPart(128 << 20, OptionalLong.of(2 << 20))));
  }

  @ParameterizedTest
  @EnumSource
  void aGuestFits(GuestView.State state) {
    Contract.requireFits("Guest", json(Views.guest(guest(state))));
  }

  @ParameterizedTest
  @EnumSource
  void aReplacementFits(Outcome outcome) {
    ReplacementRecord record = HistoryTest.record("a", "web1", NOON, outcome);

    Contract.requireFits("Replacement", json(Views.replacement(record)));
    Contract.requireFits(
        "Rollout",
        json(
            Views.rollout(
                new Rollout.Result<>(
                    "qemu-10.0.2",
                    true,
                    Optional.of("Why."),
                    List.of(Rollout.Entry.of("web1", "qemu-7.2.22", Rollout.Outcome.COMMITTED))))));
  }

  @Test
  void whatBecameOfDomainsFits() {
    Rollout.Result<ReplacementRecord> rollout =
        new Rollout.Result<>(
            "qemu-10.0.2",
            true,
            Optional.empty(),
            List.of(
                new Rollout.Entry<>(
                    "web 1",
                    "qemu-7.2.22",
                    Rollout.Outcome.COMMITTED,
                    Optional.of(HistoryTest.record("a", "web1", NOON, Outcome.COMMITTED)),
                    "",
                    "")));
    for (OptionalDouble away : List.of(OptionalDouble.empty(), OptionalDouble.of(1234.5))) {
      Contract.requireFits(
          "LibvirtRollout",
          json(new LibvirtResult(rollout, away.isEmpty(), "libvirtd.service", away).json()));
    }
  }

  static Stream<ContainerState> states() {
    return Stream.of(
        new ContainerState.Running(),
        new ContainerState.Moving(),
        new ContainerState.Draining(),
        new ContainerState.Ended(OptionalInt.of(3), OptionalInt.empty(), false, NOON, ""),
        new ContainerState.Ended(OptionalInt.empty(), OptionalInt.of(9), true, NOON, ""),
        new ContainerState.Lost("os1", NOON));
  }

  private static ContainerView container(ContainerState state) {
    ContainerSpec.Network network =
        new ContainerSpec.Network(
            Optional.of("10.0.0.5/24"),
            Optional.of("10.0.0.1"),
            Optional.of("br0"),
            Optional.of("fd00::5/64"),
            Optional.empty(),
            List.of("10.0.0.1"));
    return new ContainerView(
        new ContainerSpec(
            "c1",
            Path.of("/b"),
            Optional.of(network),
            List.of(new VolumeMount("data", "/data", false)),
            Optional.empty()),
        state,
        "os1",
        Optional.of("6.12.95"),
        7,
        Path.of("/log"),
        RestartPolicy.NO,
        1,
        Optional.of(NOON),
        "It cannot.",
        Optional.of(new Health(Health.State.UNHEALTHY, 3, "no", Optional.of(NOON))));
  }

  @ParameterizedTest
  @MethodSource("states")
  void aContainerFits(ContainerState state) {
    Contract.requireFits("Container", json(Views.container(container(state))));
  }

  @ParameterizedTest
  @ValueSource(strings = {"committed", "rolled-back", "ended", "lost"})
  void aMoveOfAContainerFits(String outcome) {
    RelocationRecord record = move(outcome);

    Contract.requireFits("Relocation", json(Views.relocation(record)));
    Contract.requireFits(
        "OsReplacement",
        json(
            Views.relocations(
                new Rollout.Result<>(
                    "os2",
                    true,
                    Optional.empty(),
                    List.of(Rollout.Entry.of("c1", "os1", Rollout.Outcome.COMMITTED))))));
  }

  private static RelocationRecord move(String outcome) {
    return new RelocationRecord(
        NOON,
        "c1",
        "os1",
        "os2",
        "6.1.192",
        "6.12.95",
        "mapped",
        outcome,
        "",
        1 << 20,
        512,
        Map.of("freeze", 1.5),
        OptionalDouble.of(3),
        new RelocationRecord.Drain(1, 2, 3, 4));
  }

  /// A virtual machine of plain values.
  private record Plain<R extends VmRelease>(VmSettings<R> settings, boolean ended)
      implements VmKind.Member<R> {
    @Override
    public int pid() {
      return 4711;
    }

    @Override
    public double bootMs() {
      return 1234.5678;
    }

    @Override
    public Agent.Hello hello() {
      return new Agent.Hello("1", "6.12.95", Duration.ofSeconds(1), 700 << 10, 1 << 20);
    }

    @Override
    public void onEnd(Runnable told) {}

    @Override
    public void letGo() {}

    @Override
    public void close() {}
  }

  private static <R extends VmRelease> Plain<R> vm(String name, R release, boolean ended) {
    return new Plain<>(
        new VmSettings<>(name, release, Installed.qemu("10.0.2"), Accelerator.KVM, 2, 1L << 30),
        ended);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aMachineFits(boolean ended) {
    Object machine =
        Views.machine(
            VmView.of(vm("m1", MACHINE, ended), true, "KVM", List.of("web1", "web2")),
            Path.of("/f"));

    Contract.requireFits("Machine", json(machine));
    Contract.requireFits("Machines", json(Map.of("machines", List.of(machine))));
    assertThat(json(machine).path("state").asString()).isEqualTo(ended ? "ended" : "running");
    assertThat(json(machine).path("memory_free_at_boot_mib").asLong()).isEqualTo(700);
    assertThat(json(machine).path("guests")).hasSize(2);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void anOsFits(boolean ended) {
    Object os = Views.os(VmView.of(vm("os1", OS, ended), true, "KVM", List.of("c1")));

    Contract.requireFits("Os", json(os));
    Contract.requireFits("Systems", json(Map.of("os", List.of(os))));
    assertThat(json(os).path("state").asString()).isEqualTo(ended ? "ended" : "running");
    assertThat(json(os).path("containers")).hasSize(1);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void thoseThatAreStoppedFit(boolean due) {
    VmDefinition made = new VmDefinition(OS.name(), 2, 1L << 30, due, "a boot", Optional.empty());
    AcceleratorChoice kvm = new AcceleratorChoice(Accelerator.KVM, "KVM");
    Object machine =
        Views.machine(VmView.stopped("m1", made, due, Optional.of(MACHINE), kvm), Path.of("/f"));
    Object os = Views.os(VmView.stopped("os1", made, due, Optional.<OsRelease>empty(), kvm));

    Contract.requireFits("Machine", json(machine));
    Contract.requireFits("Os", json(os));
    assertThat(json(os).path("state").asString()).isEqualTo(due ? "starting" : "stopped");
    assertThat(json(os).path("autostart").asBoolean()).isEqualTo(due);
    assertThat(json(os).path("release").asString()).isEqualTo(OS.name());
  }

  static Stream<Map<String, Object>> releases() {
    QemuRelease qemu = Installed.qemu("10.0.2");
    return Stream.of(
        Views.release(qemu, false),
        Views.release(qemu, true),
        Views.verified(new QemuReleases.Verified(qemu, true)),
        Views.fetched(new FetchedQemu(qemu, FetchedQemu.News.FETCHED)),
        Views.fetched(new FetchedQemu(qemu, FetchedQemu.News.NEWEST)),
        Views.fetched(new FetchedQemu(qemu, FetchedQemu.News.UNASKED)),
        Views.release(MACHINE, false),
        Views.release(MACHINE, true),
        Views.release(OS));
  }

  @ParameterizedTest
  @MethodSource("releases")
  void aReleaseFits(Map<String, Object> release) {
    Contract.requireFits("Release", json(release));
  }

  @Test
  void whatElseIsShownFits() {
    Contract.requireFits(
        "Pruned",
        json(
            Views.pruned(
                new ReleaseKinds.Pruned(List.of("qemu-1.0.0"), Map.of("qemu-2.0.0", "It runs.")),
                true)));
    Contract.requireFits(
        "Stats",
        json(Views.stats(new ContainerStats(1, OptionalLong.of(2), 3, 4, OptionalLong.empty()))));
    Contract.requireFits(
        "Volume",
        json(
            Views.volume(
                new VolumeView("data", Optional.of(NOON), Optional.of("c1"), Path.of("/v"), ""))));
    Contract.requireFits(
        "Check", json(Views.checks(List.of(Check.pass("release", "It is there."))).getFirst()));
  }

  static Stream<Event> events() {
    return Stream.of(
        new Event.GuestChanged(guest(GuestView.State.RUNNING)),
        new Event.GuestStarted(guest(GuestView.State.RUNNING), StartReason.UNSEEN_END),
        new Event.GuestDeleted("web1"),
        new Event.GuestHandedBack("web1"),
        new Event.GuestReplaced(HistoryTest.record("a", "web1", NOON, Outcome.COMMITTED)),
        new Event.ContainerChanged(container(new ContainerState.Running())),
        new Event.ContainerRemoved("c1"),
        new Event.ContainerMoved(move("committed")),
        new Event.VmChanged("machine", vm("m1", MACHINE, false), true),
        new Event.VmChanged("machine", vm("m1", MACHINE, true), false),
        new Event.VmChanged("os", vm("os1", OS, false), true),
        new Event.VmChanged("os", vm("os1", OS, true), false),
        new Event.VmAltered("machine", "m1"),
        new Event.VmAltered("os", "os1"),
        new Event.ReleaseChanged("qemu-10.0.2", true));
  }

  @ParameterizedTest
  @MethodSource("events")
  void anEventFits(Event event) throws Exception {
    EventStream stream = new EventStream();
    stream.accept(event);

    String sent = stream.after(0, Duration.ofSeconds(1)).entries().getFirst().json();

    Contract.requireFits("Event", Api.JSON.readTree(sent));
  }

  /// What is wrong must be noticed.
  @Test
  void whatTheContractDoesNotHaveDoesNotFit() {
    JsonNode wrong = Api.JSON.readTree("{\"containers\": [], \"left_over\": [], \"more\": 1}");

    assertThat(catchThrowable(() -> Contract.requireFits("Containers", wrong)))
        .isInstanceOf(AssertionError.class)
        .hasMessageContaining("more");
    JsonNode mixed =
        Api.JSON.readTree(
            """
            {"at": "", "type": "guest.changed", "subject": "web1", "data": {"id": 1}}
            """);
    assertThat(catchThrowable(() -> Contract.requireFits("Event", mixed)))
        .isInstanceOf(AssertionError.class);
  }
}
