package dev.hyperfresh.daemon;

import dev.hyperfresh.relocation.RelocationRecord;
import jdk.jfr.Category;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/// The move of a container in a flight recording. Written after it ended.
@Name("dev.hyperfresh.Relocation")
@Label("Container relocation")
@Category("HyperFresh")
@StackTrace(false)
final class RelocationJfr extends Event {
  @Label("Container")
  String container = "";

  @Label("From OS")
  String from = "";

  @Label("To OS")
  String to = "";

  @Label("Outcome")
  String outcome = "";

  @Label("Paused (microseconds)")
  long frozenMicros;

  @Label("Bytes copied while it was paused")
  long frozenBytes;

  @Label("Bytes of memory")
  long memoryBytes;

  @Label("Pages that it waited for")
  long faults;

  static void write(RelocationRecord record) {
    RelocationJfr event = new RelocationJfr();
    event.container = record.container();
    event.from = record.from();
    event.to = record.to();
    event.outcome = record.outcome();
    event.frozenMicros = Math.round(record.frozenMs().orElse(0) * 1000);
    event.frozenBytes = record.frozenBytes();
    event.memoryBytes = record.memoryBytes();
    event.faults = record.drain().faults();
    event.commit();
  }
}
