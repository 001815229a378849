package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.ReplacementRecord;
import jdk.jfr.Category;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/// A replacement in a flight recording. Written after it ended, never during the blackout.
@Name("dev.hyperfresh.Replacement")
@Label("Hypervisor replacement")
@Category("HyperFresh")
@StackTrace(false)
final class ReplacementJfr extends Event {
  @Label("Guest")
  String guest = "";

  @Label("From release")
  String from = "";

  @Label("To release")
  String to = "";

  @Label("Outcome")
  String outcome = "";

  @Label("Blackout (microseconds)")
  long blackoutMicros;

  @Label("Blackout until the state was sent (microseconds)")
  long saveMicros;

  @Label("Blackout after the state was sent (microseconds)")
  long loadMicros;

  @Label("Time that the guest's clocks lost (microseconds)")
  long clockLostMicros;

  @Label("State bytes")
  long stateBytes;

  static void write(ReplacementRecord record) {
    ReplacementJfr event = new ReplacementJfr();
    event.guest = record.guest();
    event.from = record.from();
    event.to = record.to();
    event.outcome = record.outcome().label();
    event.blackoutMicros = Math.round(record.blackoutMs().orElse(0) * 1000);
    event.saveMicros = Math.round(record.phases().saveMs().orElse(0) * 1000);
    event.loadMicros = Math.round(record.phases().loadMs().orElse(0) * 1000);
    event.clockLostMicros = Math.round(record.clocks().lostMs().orElse(0) * 1000);
    event.stateBytes = record.stateBytes();
    event.commit();
  }
}
