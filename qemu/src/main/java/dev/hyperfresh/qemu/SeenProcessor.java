package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;

/// What a guest sees of its processor by CPUID.
///
/// @param words the registers with feature bits, by leaf and register
/// @param values who it is, and how far the leaves reach, by property
record SeenProcessor(Map<String, Long> words, Map<String, String> values) {
  static final SeenProcessor UNKNOWN = new SeenProcessor(Map.of(), Map.of());

  /// Who it is.
  static final List<String> VALUES =
      List.of("vendor", "family", "model", "stepping", "model-id", "phys-bits", "ucode-rev");

  /// [LiveProcessor#RETIRED].
  private static final String RETIRED_WORD = "CPUID 0x7.0 EBX";

  private static final long RETIRED_BIT = 1L << 22;

  /// Asks about the first of the processors, which are all alike.
  ///
  /// @throws Qmp.QmpException when a question is not answered
  static SeenProcessor ask(MachineIdentity.Respondent qemu) {
    String path = path(qemu);
    Map<String, Long> words = new TreeMap<>();
    for (JsonNode word : list(qemu, path, "feature-words")) {
      String name =
          "CPUID 0x"
              + Long.toHexString(word.path("cpuid-input-eax").asLong(0))
              + (word.has("cpuid-input-ecx") ? "." + word.path("cpuid-input-ecx").asLong(0) : "")
              + " "
              + word.path("cpuid-register").asString("");
      long bits = word.path("features").asLong(0);
      words.put(name, name.equals(RETIRED_WORD) ? bits & ~RETIRED_BIT : bits);
    }
    Map<String, String> values = new TreeMap<>();
    for (String property : VALUES) {
      MachineIdentity.property(qemu, path, property).ifPresent(is -> values.put(property, is));
    }
    for (String property : LiveProcessor.LEVELS) {
      MachineIdentity.property(qemu, path, property).ifPresent(is -> values.put(property, is));
    }
    return new SeenProcessor(words, values);
  }

  /// Where the first processor is among a QEMU's objects.
  static String path(MachineIdentity.Respondent qemu) {
    return qemu.execute("query-cpus-fast", Map.of()).path(0).path("qom-path").asString("");
  }

  /// A property that is a list; empty where the object has no such property.
  static JsonNode list(MachineIdentity.Respondent qemu, String path, String property) {
    try {
      return qemu.execute("qom-get", Map.of("path", path, "property", property));
    } catch (Qmp.QmpException e) {
      if (e.unanswered()) {
        throw e;
      }
      return JsonNodeFactory.instance.arrayNode();
    }
  }

  /// How another one differs, one clause each.
  ///
  /// @param name what runs the other one
  List<String> differences(SeenProcessor other, String name) {
    List<String> differences = new ArrayList<>();
    Set<String> all = new TreeSet<>(words.keySet());
    all.addAll(other.words.keySet());
    for (String word : all) {
      // What a release has no word for, it does not have.
      long here = words.getOrDefault(word, 0L);
      long there = other.words.getOrDefault(word, 0L);
      if ((here & ~there) != 0) {
        differences.add("the processor would lack " + bits(here & ~there, word, name));
      }
      if ((there & ~here) != 0) {
        differences.add("the processor would have also " + bits(there & ~here, word, name));
      }
    }
    values.forEach((property, is) -> {
      String there = other.values.getOrDefault(property, is);
      if (!is.equals(there)) {
        differences.add(MachineIdentity.differs(property + " of the processor", is, there, name));
      }
    });
    return differences;
  }

  private static String bits(long bits, String word, String name) {
    return "0x" + Long.toHexString(bits) + " of " + word + " with " + name;
  }
}
