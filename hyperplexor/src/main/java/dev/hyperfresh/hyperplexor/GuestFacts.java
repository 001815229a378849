package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Release;
import java.time.Instant;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/// What is known of a guest, what is written down of that, and what is shown of it. For the guest's
/// thread, but for [#identity].
final class GuestFacts {
  private static final String NEW = "never started";

  private final Kinds kinds;
  private volatile GuestIdentity identity;
  private volatile Optional<StartReason> wanted = Optional.empty();
  private volatile Upkeep upkeep;
  private Standstill standstill;
  private int generation;

  /// Of the guest's own, which it has or had last.
  private OptionalInt user = OptionalInt.empty();

  /// What runs it, ran it last or is to be the first that does.
  private GuestFile.Tenant tenant;

  private Optional<GuestFile.Stopped> stopped = Optional.empty();

  private GuestFacts(
      GuestIdentity identity, Kinds kinds, GuestFile.Tenant tenant, ClockLoss lost, Upkeep upkeep) {
    this.identity = identity;
    this.kinds = kinds;
    this.tenant = tenant;
    this.standstill = new Standstill(lost);
    this.upkeep = upkeep;
  }

  /// Of a guest that is not written down yet.
  ///
  /// @param release where it is to run first, or runs
  static GuestFacts begun(
      GuestIdentity identity, Kinds kinds, Release release, Optional<Upkeep.Next> next) {
    return new GuestFacts(
        identity, kinds, GuestFile.Tenant.expected(0, release), ClockLoss.NONE, Upkeep.begun(next));
  }

  /// Of a guest that an earlier daemon wrote down.
  static GuestFacts of(GuestFile file, GuestIdentity identity, Kinds kinds) {
    GuestFacts facts =
        new GuestFacts(identity, kinds, file.running(), file.clockLoss(), file.upkeep());
    facts.user = file.user();
    facts.stopped = file.stopped();
    facts.generation = Math.max(file.generations(), file.running().generation());
    return facts;
  }

  /// Any thread: what it is now.
  GuestIdentity identity() {
    return identity;
  }

  /// Any thread: what its later starts need.
  Upkeep upkeep() {
    return upkeep;
  }

  /// As [Movable#isForeign].
  boolean isForeign(Instance instance) {
    return identity.adopted().isPresent() && AdoptedMachine.isFirst(instance.generation());
  }

  Standstill standstill() {
    return standstill;
  }

  /// The generation that was given out last.
  int generation() {
    return generation;
  }

  void generation(int last) {
    generation = last;
  }

  OptionalInt user() {
    return user;
  }

  void user(OptionalInt now) {
    user = now;
  }

  /// Of the release that runs it, ran it last or is to be the first that does.
  String kind() {
    return kinds.named(tenant.kind()).kind();
  }

  /// How it came to its end; empty while something runs it.
  Optional<GuestEnd> end() {
    return stopped.map(GuestFile.Stopped::end);
  }

  /// What its next start makes of it.
  GuestSpec nextSpec() {
    return upkeep.next().map(Upkeep.Next::spec).orElse(identity.spec());
  }

  void upkeep(Upkeep changed) {
    upkeep = changed;
  }

  /// It is another machine from now on, which has not lost any time.
  void become(GuestSpec spec, AcceleratorChoice accelerator) {
    identity = identity.as(spec, accelerator);
    standstill = new Standstill(ClockLoss.NONE);
  }

  // ---- what is written down ----

  /// Does `change`, or nothing at all.
  void wholly(Runnable change) {
    GuestIdentity identityBefore = identity;
    Upkeep upkeepBefore = upkeep;
    Standstill standstillBefore = standstill;
    Optional<GuestFile.Stopped> stoppedBefore = stopped;
    try {
      change.run();
    } catch (RuntimeException e) {
      identity = identityBefore;
      upkeep = upkeepBefore;
      standstill = standstillBefore;
      stopped = stoppedBefore;
      throw e;
    }
  }

  /// Something runs it.
  void write(Instance running, Optional<GuestFile.Tenant> waiting, Optional<String> doubt) {
    upkeep = upkeep.here();
    tenant = GuestFile.Tenant.of(running);
    file(tenant, waiting, doubt, Optional.empty()).write(identity.files());
    stopped = Optional.empty();
  }

  /// It is about to be started. If this daemon dies before it knows the process, the next one finds
  /// it by the guest's folder, or the guest as it was.
  void writeExpected(Release release) {
    file(
            GuestFile.Tenant.expected(generation, release),
            Optional.empty(),
            Optional.empty(),
            stopped)
        .write(identity.files());
  }

  /// It is not started after all, or something else of it has changed while nothing runs it.
  void writeStopped() {
    file(tenant, Optional.empty(), Optional.empty(), stopped).write(identity.files());
  }

  /// Its later starts have changed. Whoever runs it or waits to stays written down as it is.
  void rewrite() {
    GuestFile.read(identity.files())
        .ifPresent(file -> file.keeping(upkeep).write(identity.files()));
  }

  /// Nothing runs it any more.
  void ended(GuestEnd end, String why) {
    upkeep = upkeep.here();
    stopped = Optional.of(new GuestFile.Stopped(Instant.now(), why, end));
    writeStopped();
  }

  /// Another policy does not follow the end that it had under the policy before. Takes effect with
  /// what is written down next.
  void endedUnder(EndPolicy before) {
    stopped =
        stopped.map(
            past -> past.end().restart(before).isEmpty() ? past.as(past.end().settled()) : past);
  }

  /// It is made and not started.
  void defined() {
    ended(GuestEnd.NEW, NEW);
  }

  private GuestFile file(
      GuestFile.Tenant running,
      Optional<GuestFile.Tenant> waiting,
      Optional<String> doubt,
      Optional<GuestFile.Stopped> end) {
    return new GuestFile(
        identity.spec(),
        identity.accelerator(),
        identity.createdAt(),
        user,
        running,
        waiting,
        doubt,
        identity.adopted(),
        standstill.lost(),
        generation,
        end,
        upkeep);
  }

  /// Why it is to be started though nobody has asked for it. Not written down: the next daemon
  /// finds it out anew.
  Optional<StartReason> wanted() {
    return wanted;
  }

  void want(Optional<StartReason> why) {
    wanted = why;
  }

  // ---- what is shown ----

  GuestView view(GuestView.State state, String detail, @Nullable Instance current) {
    String release = current == null ? tenant.release() : current.release().name();
    return new GuestView(
        identity.spec(),
        state,
        detail,
        current == null ? kind() : current.release().kind(),
        current == null ? "" : release,
        current == null ? 0 : current.pid(),
        generation,
        identity.accelerator(),
        identity.createdAt(),
        stopped.map(GuestFile.Stopped::at),
        current == null
            ? Optional.empty()
            : Optional.of(current.console()).filter(path -> !path.toString().isEmpty()),
        identity.files(),
        current == null ? "" : current.confinement(),
        identity.adopted().isPresent() ? GuestView.Origin.ADOPTED : GuestView.Origin.CREATED,
        standstill.lost(),
        starts(upkeep, release, current == null && wanted.isPresent()),
        identity.memory());
  }

  /// @param last the release that it runs on or ran on last
  /// @param wanted whether it is stopped and is started without anybody asking for it
  static GuestView.Starts starts(Upkeep upkeep, String last, boolean wanted) {
    return new GuestView.Starts(
        upkeep.autostart(),
        upkeep.next().flatMap(Upkeep.Next::release).orElse(last),
        upkeep.next().isPresent(),
        upkeep.restarts(),
        wanted);
  }

  /// Why nothing runs it, as half a sentence; empty while something does.
  String why() {
    return stopped.map(GuestFile.Stopped::why).orElse("");
  }

  /// Whether the boot of the host in which it was looked after last is over, and it is to be
  /// started in the next one.
  boolean isDue() {
    return upkeep.isDue() && end().filter(end -> !end.startsWithHost()).isEmpty();
  }
}
