package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import java.util.Arrays;
import java.util.Locale;
import java.util.function.BooleanSupplier;

/// The one move of a guest whose memory is private to the process that was adopted: into memory of
/// the hyperplexor's own, by which the guest becomes one like all others. Nobody can find the guest
/// until then. If the move does not come about, the guest is not adopted and runs on in its
/// process.
///
/// @param guest it runs in that process, of which this object's owner has taken control
record FirstCopy(Guest guest, AdoptOrder.Copy order, Mover mover, Progress progress) {
  /// Moves a guest, and copies its memory.
  interface Mover {
    /// @throws HyperFreshException [Problem#REPLACE_OBSTACLES]; nothing was touched
    ReplacementRecord move(Guest guest, Release to, MemoryCopy limits, Progress progress);
  }

  /// Whether the guest of an order needs one.
  static boolean isDue(Guest guest) {
    return guest
        .laterStarts()
        .facts()
        .identity()
        .adopted()
        .filter(AdoptedMachine::hasPrivateMemory)
        .isPresent();
  }

  /// Moves it.
  ///
  /// @param found lets others find the guest; called when it has arrived, and also when it may have
  ///   run on the target or stands for another reason: somebody has to decide then
  /// @throws HyperFreshException [Problem#ADOPT_REFUSED] when it could not be moved, and what
  ///   prevented its arrival; it runs on as before then, unless `found` was called
  void run(BooleanSupplier found) {
    String remarks = guest.view().detail();
    ReplacementRecord record = moved(found);
    if (record.committed()) {
      guest.call(() -> {
        tell(remarks + " " + words(record));
        return true;
      });
      var _ = found.getAsBoolean();
    } else if (isAsBefore(record)) {
      Contained.run("leaving " + record.guest() + " alone", () -> Adopting.leaveAlone(guest));
    } else {
      var _ = found.getAsBoolean();
    }
    order.ended().accept(record);
    if (!record.committed()) {
      throw problem(record).because(record.detail());
    }
  }

  /// It may have ended since it arrived, or be in a state of which something is told.
  private void tell(String words) {
    GuestView now = guest.view();
    guest.publish(now.state(), now.detail().isEmpty() ? words : now.detail() + "; " + words);
  }

  /// What keeps it from being moved keeps it from being adopted.
  private ReplacementRecord moved(BooleanSupplier found) {
    try {
      Release to = order.target().apply(guest.spec());
      progress.step("adopt", "its memory is private, and is copied to " + to.name());
      return mover.move(guest, to, order.limits(), progress);
    } catch (RuntimeException e) {
      // It is the plan that throws, before anything is touched.
      if (isInFirst()) {
        Contained.run(
            "leaving " + guest.spec().name() + " alone", () -> Adopting.leaveAlone(guest));
      } else {
        var _ = found.getAsBoolean();
      }
      throw e instanceof HyperFreshException known && known.problem() == Problem.REPLACE_OBSTACLES
          ? Problem.ADOPT_REFUSED.because(known.detail(), known)
          : e;
    }
  }

  /// Whether nothing has come of it: the guest runs in its first process, or has powered itself off
  /// there, and no other one is left.
  private boolean isAsBefore(ReplacementRecord record) {
    return record.outcome() == Outcome.ROLLED_BACK
        && guest.call(guest::isAlone)
        && (record.problem().equals(Problem.REPLACE_OFF.code())
            || guest.call(() ->
                guest.view().state() == GuestView.State.RUNNING
                    && guest.hosting().hindrance().isEmpty()));
  }

  /// Whether no other process than the first has had the guest, whatever has become of it there.
  private boolean isInFirst() {
    return Contained.get(
        "asking who has " + guest.spec().name(),
        () ->
            guest.call(() ->
                AdoptedMachine.isFirst(guest.view().generation())
                    && guest.hosting().doubt().isEmpty()),
        false);
  }

  /// Guest's thread: whether the guest is listed only because it stood, or was in doubt, after a
  /// copy that came to nothing, and now goes on in its first process: nobody can move it from
  /// there.
  static boolean isOver(Guest guest) {
    return guest.view().state() == GuestView.State.RUNNING
        && AdoptedMachine.isFirst(guest.running().generation())
        && isDue(guest)
        && guest.hosting().hindrance().isEmpty();
  }

  private static Problem problem(ReplacementRecord record) {
    return Arrays.stream(Problem.values())
        .filter(problem -> problem.code().equals(record.problem()))
        .findFirst()
        .orElse(Problem.INTERNAL);
  }

  private static String words(ReplacementRecord record) {
    String copied =
        record.ramBytesCopied().isPresent()
            ? Math.ceilDiv(record.ramBytesCopied().getAsLong(), 1 << 20) + " MiB were copied"
            : "It was copied";
    String stood =
        record.blackoutMs().isPresent()
            ? String.format(
                Locale.ROOT,
                " while it ran; it stood for %.1f ms.",
                record.blackoutMs().getAsDouble())
            : ".";
    String amiss = record.detail().isEmpty() ? "" : " " + record.detail();
    return "Its memory was private. " + copied + " to " + record.to() + stood + amiss;
  }
}
