package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.KvmProbe;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.Lock;

/// Everything that can be known of a replacement before anything of the guest is touched, as one
/// list, with a rehearsal at its end. For the guest's thread, but for [#checks(Seen)].
///
/// @param rehearsing whether, and how
/// @param turn held during the rehearsal: several at once would slow each other down, and guests of
///   one shape that move together share a single one
/// @param copying whether the guest's memory is copied and need not be shared
record Preflight(
    Guest guest, Release to, Rehearsing rehearsing, Lock turn, Progress progress, boolean copying) {
  private static final String REHEARSAL = "rehearsal";

  /// What is done about the rehearsal.
  enum Rehearsing {
    /// None; its row says unknown.
    LEFT_OUT,
    /// One, unless it was passed earlier.
    ONCE,
    /// One in any case.
    ANEW
  }

  Preflight {
    progress = Contained.progress(progress);
  }

  /// Of a move that copies no memory.
  Preflight(Guest guest, Release to, Rehearsing rehearsing, Lock turn, Progress progress) {
    this(guest, to, rehearsing, turn, progress, false);
  }

  /// What the guest's thread alone may look at. That takes no time.
  ///
  /// @param running the instance that runs the guest
  /// @param hindrance as [Hosting#hindrance]
  /// @param ports whether another hypervisor can have a queue of each
  record Seen(Instance running, Optional<String> hindrance, List<Check> ports) {}

  /// Guest's thread.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when the guest does not run
  Seen seen() {
    return new Seen(guest.running(), guest.hosting().hindrance(), guest.endpoints().checks());
  }

  /// Looks at everything; what fails does not keep the rest from being looked at.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when the guest does not run
  List<Check> checks() {
    return checks(seen());
  }

  /// The same from any thread. Ends early when that thread is interrupted.
  List<Check> checks(Seen seen) {
    Instance running = seen.running();
    List<Check> checks = new ArrayList<>();
    if (guest.kinds().has(to)) {
      checks.addAll(
          guest.kinds().of(to).checks(guest.spec(), to, guest.accelerator().accelerator()));
    } else {
      checks.add(
          Check.fail(
              "release",
              to.name() + " is of kind " + to.kind() + ", which this daemon does not have.",
              "Choose a release of another kind."));
    }
    if (!running.release().kind().equals(to.kind())) {
      checks.addAll(crossing());
    }
    checks.add(runState(running, seen.hindrance()));
    checks.addAll(running.checks());
    checks.add(
        copying
            ? HostChecks.copy(guest.spec().memoryBytes(), Host.availableMemoryBytes())
            : sharing(running));
    checks.addAll(seen.ports());
    long copied = copying ? guest.spec().memoryBytes() : 0;
    checks.addAll(HostChecks.now(running.pid(), guest.files(), copied));
    checks.add(rehearsal(running, checks.stream().anyMatch(Check::failed)));
    return checks;
  }

  /// Stops a replacement that would go wrong.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_OBSTACLES] with everything that fails;
  ///   [Problem#GUEST_STATE]
  void require() {
    List<Check> failed = failures(checks());
    if (!failed.isEmpty()) {
      throw Problem.REPLACE_OBSTACLES.because(sentences(failed));
    }
  }

  static List<Check> failures(List<Check> checks) {
    return checks.stream().filter(Check::failed).toList();
  }

  static String sentences(List<Check> checks) {
    return String.join(" ", checks.stream().map(Check::sentences).toList());
  }

  /// What a move to another kind of hypervisor asks for beside.
  private List<Check> crossing() {
    List<Check> checks = new ArrayList<>();
    if (copying) {
      checks.add(
          Check.fail(
              "private memory",
              "It cannot be copied into a " + to.kind() + ".",
              "Copy it to a QEMU of this host first; replace it then."));
    }
    if (!guest.spec().taps().isEmpty()) {
      // Of a whole port, not of one queue of it: 12 bytes for a process, 10 for a machine.
      checks.add(
          Check.fail(
              "network cards",
              "A "
                  + to.kind()
                  + " needs packet headers of another length, and a port cannot change that while"
                  + " its guest runs.",
              "Stop the guest and create it there. Guests without cards can move."));
    }
    if (guest.accelerator().accelerator() == Accelerator.KVM) {
      KvmProbe.Result kvm = KvmProbe.probe(Path.of("/dev/kvm"));
      checks.add(
          kvm.verdict() == KvmProbe.Verdict.USABLE
              ? Check.pass("accelerator", "KVM runs guests at speed on both sides.")
              : Check.fail(
                  "accelerator",
                  "The guest needs a KVM that is fast on this host and in machines: "
                      + kvm.reason(),
                  "Move it between hypervisors of one kind, or create it with accelerator: tcg."));
    }
    return checks;
  }

  private Check runState(Instance running, Optional<String> hindrance) {
    if (hindrance.isPresent()) {
      return Check.fail(
          "run state",
          "The guest " + hindrance.get() + ".",
          "Resume it first with `hyperfresh guest resume`, or stop it.");
    }
    try {
      return RunStateCheck.of(running.runState(), running.release(), to);
    } catch (HyperFreshException e) {
      return Check.fail(
          "run state",
          "The guest's run state is not known: " + e.detail(),
          "Look at `hyperfresh guest show` and at the hypervisor's log in the guest's folder.");
    }
  }

  private static Check sharing(Instance running) {
    return running.sharesMemory()
        ? Check.pass("shared memory", "Another hypervisor can map the guest's memory.")
        : Check.fail(
            "shared memory",
            "The guest's memory is private to its hypervisor, so no other one can map it.",
            "Create the guest again with `hyperfresh guest create`, which shares its memory.");
  }

  private Check rehearsal(Instance running, boolean hopeless) {
    if (hopeless) {
      return notRehearsed("a check above failed", "Correct that and try again.");
    }
    if (rehearsing == Rehearsing.LEFT_OUT) {
      return notRehearsed("--no-rehearsal was given", "Leave out --no-rehearsal to rehearse it.");
    }
    long available = Host.availableMemoryBytes();
    if (available < HostChecks.REHEARSAL_BYTES) {
      return notRehearsed(
          "it needs "
              + (HostChecks.REHEARSAL_BYTES >> 20)
              + " MiB and the host has "
              + (available >> 20)
              + " MiB available",
          "Free memory on the host to rehearse it.");
    }
    try {
      turn.lockInterruptibly();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return notRehearsed("it was given up", "Try again.");
    }
    try {
      return running.rehearse(
          to, rehearsing == Rehearsing.ANEW, what -> progress.step("Preflight", what));
    } finally {
      turn.unlock();
    }
  }

  private static Check notRehearsed(String why, String remedy) {
    return Check.unknown(REHEARSAL, "Not rehearsed: " + why + ".", remedy);
  }
}
