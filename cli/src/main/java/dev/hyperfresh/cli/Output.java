package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.Views;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Printable;
import dev.hyperfresh.hypervisor.Problem;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/// How results look for people: tables and sentences on standard output, progress and errors on
/// standard error. How they look for programs is in [Format].
public final class Output {
  static final ObjectMapper JSON = JsonMapper.builder().build();

  private Output() {}

  /// Prints an error: what happened in one line, and what to do in the next.
  static void problem(HyperFreshException e, Format format) {
    if (format != Format.table && format != Format.name) {
      format.print(Views.problem(e));
      return;
    }
    System.err.println(
        "hyperfresh: " + e.problem().code() + " " + e.problem().summary() + " " + e.detail());
    System.err.println("  " + e.problem().advice());
  }

  /// Prints one step of a longer work.
  public static void progress(String state, String text) {
    System.err.printf(Locale.ROOT, "  %-10s %s%n", state, Printable.of(text));
  }

  /// What a field of a thing says, for people. A process that is not there has no number.
  static String text(JsonNode thing, String field) {
    String text = thing.path(field).asString("");
    return field.equals("pid") && text.equals("0") ? "-" : text;
  }

  /// How long a guest stood in a replacement: as its heartbeat shows, or else as its hypervisors
  /// say; empty when it did not.
  static OptionalDouble stoodMillis(JsonNode replacement) {
    return Stream.of("guest_gap_ms", "blackout_ms")
        .map(replacement::path)
        .filter(JsonNode::isNumber)
        .mapToDouble(JsonNode::asDouble)
        .findFirst();
  }

  /// Prints rows under their headings, each column as wide as its widest cell.
  static void table(List<String> headings, List<List<String>> rows) {
    new Table(headings, rows).print();
  }

  /// Prints what was checked before a replacement, one line per check. Failures are in capitals.
  static void plan(JsonNode plan) {
    System.out.println(
        plan.path("guest").asString()
            + (plan.path("possible").asBoolean() ? " can move to " : " cannot move to ")
            + plan.path("to").asString()
            + ":");
    int width = 0;
    for (JsonNode check : plan.path("checks")) {
      width = Math.max(width, check.path("check").asString().length());
    }
    for (JsonNode check : plan.path("checks")) {
      String verdict = check.path("verdict").asString();
      line(
          verdict.equals("fail") ? "FAIL" : verdict,
          check.path("check").asString(),
          width,
          check.path("finding").asString());
      if (!check.path("remedy").asString().isEmpty()) {
        line("", "", width, "→ " + check.path("remedy").asString());
      }
    }
  }

  private static void line(String verdict, String check, int width, String text) {
    System.out.printf("  %-8s %-" + width + "s  %s%n", verdict, check, text);
  }

  /// The guest's clocks lose the blackout, which is printed above; more is said only when the wall
  /// clock was to be set.
  private static void clock(JsonNode r) {
    if (r.has("clock_stepped_ms")) {
      System.out.printf(
          Locale.ROOT,
          "  wall clock   %8.2f ms   set forward by the guest's agent%n",
          r.path("clock_stepped_ms").asDouble());
    }
    if (r.has("clock_remark")) {
      System.out.println("  wall clock   " + r.path("clock_remark").asString());
    }
  }

  /// Prints a replacement for a person.
  public static void replacement(JsonNode r) {
    System.out.printf(
        "%s: %s → %s, %s (%s)%n",
        r.path("guest").asString(),
        r.path("from").asString(),
        r.path("to").asString(),
        r.path("outcome").asString(),
        r.path("accelerator").asString());
    if (r.has("kernel_from") || r.has("kernel_to")) {
      System.out.printf(
          "  kernel       %s → %s; QEMU %s → %s%n",
          r.path("kernel_from").asString("the host's"),
          r.path("kernel_to").asString("the host's"),
          r.path("qemu_from").asString("?"),
          r.path("qemu_to").asString("?"));
    }
    if (!r.has("blackout_ms")) {
      if (r.has("roll_back_ms")) {
        System.out.printf(
            Locale.ROOT,
            "  rollback     %8.2f ms   from the decision until the source ran the guest%n",
            r.path("roll_back_ms").asDouble());
      }
      String code = r.path("problem").asString();
      System.out.println("  " + code + " " + Printable.of(r.path("detail").asString()));
      Arrays.stream(Problem.values())
          .filter(problem -> problem.code().equals(code))
          .forEach(problem -> System.out.println("  " + problem.advice()));
      return;
    }
    // What the guest itself felt comes first.
    if (r.has("guest_gap_ms")) {
      System.out.printf(
          Locale.ROOT,
          "  heartbeat    %8.2f ms   its longest gap, seen in the guest's memory (noise floor %.2f"
              + " ms)%n",
          r.path("guest_gap_ms").asDouble(),
          r.path("noise_floor_ms").asDouble());
    }
    System.out.printf(
        Locale.ROOT,
        "  blackout     %8.2f ms   from STOP to RESUME, by the hypervisors' clocks%n",
        r.path("blackout_ms").asDouble());
    clock(r);
    if (r.has("detail")) {
      System.out.println("  amiss        " + Printable.of(r.path("detail").asString()));
    }
    if (r.has("slowdown_percent")) {
      System.out.printf(
          Locale.ROOT,
          "  afterwards   %8.1f %%    fewer heartbeats in the first second, %d page faults%n",
          r.path("slowdown_percent").asDouble(),
          r.path("page_faults").asLong());
    }
    System.out.printf(
        Locale.ROOT,
        "  RAM copied   %8d bytes; device and vCPU state: %d bytes%n",
        r.path("ram_bytes_copied").asLong(),
        r.path("state_bytes").asLong());
    System.out.printf(
        Locale.ROOT,
        "  phases       prepare %.0f ms (guest runs), hand-over %.1f ms (guest runs), retire %.0f ms"
            + " (guest runs), total %.0f ms%n",
        r.path("prepare_ms").asDouble(),
        r.path("hand_over_ms").asDouble(),
        r.path("retire_ms").asDouble(),
        r.path("total_ms").asDouble());
  }
}
