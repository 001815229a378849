package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;

/// The processor of a running machine, as far as a command line can give it again.
///
/// `host` and `max` are what an accelerator and a release offer, and another processor with the
/// next release. `base` has nothing by itself and never changes. So with all that sets a running
/// processor apart from it, `base` is that processor on every release that can offer it. Who it is
/// is always said: under KVM, `base` has the host's vendor in some releases and none in others.
///
/// @param model without features, such as `max`
/// @param levels how far the leaves of CPUID reach, by property
/// @param traits of `host` and `max`, what else sets it apart from `base`, by property; of other
///   models nothing
/// @param lacking the features that belong to its model and are not there
record LiveProcessor(
    String model, Map<String, String> levels, Map<String, String> traits, List<String> lacking) {
  /// Of a machine that is not asked.
  static final LiveProcessor UNSEEN = new LiveProcessor("", Map.of(), Map.of(), List.of());

  /// What is another processor on each release.
  static final Set<String> UNSTEADY = Set.of("host", "max");

  /// What has nothing by itself.
  static final String PINNED = "base";

  /// The translator of QEMU 7.2 has it, which 9.1 dropped. No processor that was built has it, and
  /// software stopped looking for it in 2016.
  static final String RETIRED = "pcommit";

  static final List<String> LEVELS = List.of("level", "level-func7", "xlevel", "xlevel2");

  /// More than any release has: 11.1 has 530.
  private static final int MAX_PROPERTIES = 2000;

  /// No `_`: those are older names of what has a `-`.
  private static final Pattern NAME = Pattern.compile("[a-z0-9][a-z0-9.-]{0,63}");

  /// Older names; the place in the machine, which `-smp` says; what acts at the start only; and the
  /// TSC's rate, which goes with the guest's state and would show a further leaf if it were given.
  private static final Set<String> LEFT_OUT =
      Set.of(
          "sse3",
          "sse4-1",
          "sse4-2",
          "i64",
          "xd",
          "ffxsr",
          "pclmuldq",
          "apic-id",
          "thread-id",
          "core-id",
          "die-id",
          "module-id",
          "socket-id",
          "node-id",
          "memory",
          "realized",
          "check",
          "enforce",
          "host-phys-bits",
          "host-phys-bits-limit",
          "tsc-frequency");

  /// What only `host` and `max` have.
  private static final Set<String> OF_UNSTEADY = Set.of("migratable", "host-cache-info");

  /// As a QEMU with `enforce` names what it does not offer, and any what it has no name for.
  private static final Pattern MISSING =
      Pattern.compile(
          "requested feature: (?:CPUID[^: ]*:[A-Z]{3}\\.|MSR\\([^) ]*\\)\\.)?(\\S+) \\[bit"
              + "|Property '[^' ]*-cpu\\.([^' ]+)' not found");

  LiveProcessor {
    levels = Map.copyOf(levels);
    traits = Map.copyOf(traits);
    lacking = List.copyOf(lacking);
  }

  /// Asks about the first of the processors, which are all alike.
  ///
  /// @throws Qmp.QmpException when a question is not answered
  static LiveProcessor ask(MachineIdentity.Respondent qemu) {
    String path = SeenProcessor.path(qemu);
    String type = MachineIdentity.property(qemu, path, "type").orElse("");
    String model = type.replaceFirst("-x86_64-cpu$", "");
    Map<String, String> levels = new TreeMap<>();
    LEVELS.forEach(level ->
        MachineIdentity.property(qemu, path, level).ifPresent(is -> levels.put(level, is)));
    List<String> lacking = new ArrayList<>();
    SeenProcessor.list(qemu, path, "unavailable-features")
        .forEach(feature -> lacking.add(feature.asString("")));
    return new LiveProcessor(
        model,
        levels,
        UNSTEADY.contains(model) ? traits(qemu, path) : Map.of(),
        lacking.stream().filter(NAME.asMatchPredicate()).toList());
  }

  private static Map<String, String> traits(MachineIdentity.Respondent qemu, String path) {
    JsonNode base =
        qemu.execute(
                "query-cpu-model-expansion",
                Map.of("type", "full", "model", Map.of("name", PINNED)))
            .path("model")
            .path("props");
    if (base.size() > MAX_PROPERTIES) {
      throw new Qmp.QmpException("its CPU has more than " + MAX_PROPERTIES + " properties");
    }
    Map<String, String> traits = new TreeMap<>();
    base.forEachEntry((property, of) -> {
      if (NAME.matcher(property).matches()
          && !LEFT_OUT.contains(property)
          && !LEVELS.contains(property)) {
        MachineIdentity.property(qemu, path, property)
            .filter(is -> !is.equals(of.asString("")) || SeenProcessor.VALUES.contains(property))
            .filter(is -> !is.isEmpty())
            .ifPresent(is -> traits.put(property, of.isBoolean() ? word(is) : is));
      }
    });
    OF_UNSTEADY.forEach(property ->
        MachineIdentity.property(qemu, path, property)
            .ifPresent(is -> traits.put(property, word(is))));
    return traits;
  }

  private static String word(String bool) {
    return bool.equals("true") ? "on" : "off";
  }

  /// The processor as `base` with all that it has. A QEMU that does not offer all of it does not
  /// start with it.
  Map<String, String> pinned() {
    Map<String, String> pinned = new TreeMap<>(levels);
    pinned.putAll(traits);
    pinned.remove(RETIRED);
    pinned.keySet().removeAll(OF_UNSTEADY);
    // Machine types of some distributions turn it on for every model.
    pinned.put("host-phys-bits", "off");
    pinned.put("enforce", "on");
    return pinned;
  }

  /// A named model and its features without those that it does not have here: a release that could
  /// give them would change the processor under the guest.
  String asItIs(String cpu) {
    if (lacking.isEmpty()) {
      return cpu;
    }
    // QEMU obeys `+feature` after all `feature=off`, and `-feature` last.
    boolean signs = cpu.contains(",+") || cpu.contains(",-");
    StringBuilder exact = new StringBuilder(cpu);
    lacking.forEach(feature -> exact.append(signs ? ",-" + feature : "," + feature + "=off"));
    // A feature that is not there may have raised them.
    new TreeMap<>(levels)
        .forEach((level, is) -> exact.append(',').append(level).append('=').append(is));
    return exact.toString();
  }

  /// The features that a QEMU said it does not offer before it ended; empty when it said something
  /// else.
  static Set<String> missing(List<String> lines) {
    Set<String> missing = new LinkedHashSet<>();
    for (String line : lines) {
      Matcher said = MISSING.matcher(line);
      if (said.find()) {
        missing.add(said.group(1) == null ? said.group(2) : said.group(1));
      }
    }
    return missing;
  }
}
