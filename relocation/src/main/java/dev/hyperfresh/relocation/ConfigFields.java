package dev.hyperfresh.relocation;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;
import tools.jackson.databind.JsonNode;

/// One object of a `config.json`, of which each field that may be there is asked for by its name.
/// [#end] refuses all others. For one thread.
final class ConfigFields {
  private static final BigInteger MOST_UNSIGNED =
      BigInteger.ONE.shiftLeft(64).subtract(BigInteger.ONE);
  private static final int MOST_SAID = 60;

  /// What is said of a whole configuration, in the order of its fields.
  ///
  /// @param faults why it is refused
  /// @param remarks what the container does without
  record Findings(List<String> faults, List<String> remarks) {
    private static final int MOST = 20;

    static Findings none() {
      return new Findings(new ArrayList<>(), new ArrayList<>());
    }

    private static void add(List<String> to, String sentence) {
      if (to.size() < MOST && !to.contains(sentence)) {
        to.add(sentence);
      }
    }
  }

  private final String path;
  private final Optional<JsonNode> object;
  private final Findings findings;
  private final Set<String> asked = new HashSet<>();

  private ConfigFields(String path, Optional<JsonNode> object, Findings findings) {
    this.path = path;
    this.object = object;
    this.findings = findings;
  }

  static ConfigFields of(JsonNode object, Findings findings) {
    return new ConfigFields("", Optional.of(object), findings);
  }

  /// Whether the object is there at all.
  boolean isThere() {
    return object.isPresent();
  }

  private String at(String name) {
    return path + shown(name);
  }

  /// Text of somebody else's in a sentence of ours.
  static String shown(String text) {
    String plain = plain(text);
    return plain.length() > MOST_SAID ? plain.substring(0, MOST_SAID) + "…" : plain;
  }

  static String plain(String text) {
    return text.replaceAll("[^ -~]", "?");
  }

  void fault(String name, String why) {
    Findings.add(findings.faults(), at(name) + ": " + why);
  }

  void remark(String name, String what) {
    Findings.add(findings.remarks(), at(name) + ": " + what);
  }

  private Optional<JsonNode> field(String name) {
    asked.add(name);
    return object
        .map(fields -> fields.path(name))
        .filter(value -> !value.isMissingNode() && !value.isNull());
  }

  /// A field that is there and says something.
  private Optional<JsonNode> said(String name) {
    return field(name).filter(value -> !saysNothing(value));
  }

  private static boolean saysNothing(JsonNode value) {
    return value.isContainer()
        ? value.valueStream().allMatch(ConfigFields::saysNothing)
        : value.isNull()
            || (value.isBoolean() && !value.booleanValue())
            || (value.isString() && value.stringValue().isEmpty())
            || (value.isIntegralNumber() && value.bigIntegerValue().signum() == 0);
  }

  /// A field that no container here can have.
  void refuse(String name, String why) {
    said(name).ifPresent(_ -> fault(name, why));
  }

  /// As [#refuse], of several for the same reason.
  void refuse(List<String> names, String why) {
    names.forEach(name -> refuse(name, why));
  }

  /// A field without which a container here is as good.
  void drop(String name, String remark) {
    said(name).ifPresent(_ -> remark(name, remark));
  }

  ConfigFields part(String name) {
    Optional<JsonNode> value = field(name);
    if (value.isPresent() && !value.get().isObject()) {
      fault(name, "it is not an object.");
      value = Optional.empty();
    }
    return new ConfigFields(path + name + ".", value, findings);
  }

  private List<JsonNode> elements(String name, int most) {
    Optional<JsonNode> value = field(name);
    if (value.isEmpty()) {
      return List.of();
    }
    if (!value.get().isArray()) {
      fault(name, "it is not a list.");
      return List.of();
    }
    if (value.get().size() > most) {
      fault(name, "there are " + value.get().size() + ", and at most " + most + " are allowed.");
      return List.of();
    }
    return value.get().valueStream().toList();
  }

  List<ConfigFields> parts(String name, int most) {
    List<ConfigFields> parts = new ArrayList<>();
    for (JsonNode element : elements(name, most)) {
      if (element.isObject()) {
        parts.add(new ConfigFields(path + name + ".", Optional.of(element), findings));
      } else {
        fault(name, "one of them is not an object.");
      }
    }
    return parts;
  }

  private Optional<String> checked(
      String name, JsonNode value, Predicate<String> form, String what) {
    if (value.isString() && isText(value.asString()) && form.test(value.asString())) {
      return Optional.of(value.asString());
    }
    fault(
        name,
        "'"
            + shown(value.isString() ? value.asString() : value.toString())
            + "' is not a valid "
            + what
            + ".");
    return Optional.empty();
  }

  private static boolean isText(String text) {
    return text.indexOf('\0') < 0 && StandardCharsets.UTF_8.newEncoder().canEncode(text);
  }

  Optional<String> text(String name, Predicate<String> form, String what) {
    return field(name).flatMap(value -> checked(name, value, form, what));
  }

  List<String> texts(String name, int most, Predicate<String> form, String what) {
    return elements(name, most).stream()
        .flatMap(value -> checked(name, value, form, what).stream())
        .toList();
  }

  Map<String, String> map(
      String name, int most, Predicate<String> key, Predicate<String> form, String what) {
    ConfigFields entries = part(name);
    Map<String, String> map = new TreeMap<>();
    if (entries.object.isEmpty()) {
      return map;
    }
    if (entries.object.get().size() > most) {
      fault(name, "there are more than " + most + ".");
      return map;
    }
    for (Map.Entry<String, JsonNode> entry : entries.object.get().properties()) {
      if (isText(entry.getKey()) && key.test(entry.getKey())) {
        entries
            .checked(entry.getKey(), entry.getValue(), form, what)
            .ifPresent(value -> map.put(entry.getKey(), value));
      } else {
        entries.fault(entry.getKey(), "containers here cannot have this one.");
      }
    }
    return map;
  }

  boolean flag(String name, boolean otherwise) {
    Optional<JsonNode> value = field(name);
    if (value.isPresent() && !value.get().isBoolean()) {
      fault(name, "it is neither true nor false.");
    }
    return value.map(flag -> flag.asBoolean(otherwise)).orElse(otherwise);
  }

  /// A whole number that takes no more than 64 bits.
  private Optional<BigInteger> whole(
      String name, JsonNode value, BigInteger least, BigInteger most) {
    if (value.isIntegralNumber()
        && value.bigIntegerValue().compareTo(least) >= 0
        && value.bigIntegerValue().compareTo(most) <= 0) {
      return Optional.of(value.bigIntegerValue());
    }
    fault(
        name,
        String.format(
            Locale.ROOT,
            "'%s' is not a whole number from %d to %d.",
            shown(value.toString()),
            least,
            most));
    return Optional.empty();
  }

  OptionalLong number(String name, long least, long most) {
    return field(name)
        .flatMap(value -> whole(name, value, BigInteger.valueOf(least), BigInteger.valueOf(most)))
        .map(value -> OptionalLong.of(value.longValue()))
        .orElse(OptionalLong.empty());
  }

  OptionalInt small(String name, int least, int most) {
    OptionalLong value = number(name, least, most);
    return value.isPresent() ? OptionalInt.of((int) value.getAsLong()) : OptionalInt.empty();
  }

  List<Long> numbers(String name, int count, long least, long most) {
    return elements(name, count).stream()
        .flatMap(value ->
            whole(name, value, BigInteger.valueOf(least), BigInteger.valueOf(most)).stream())
        .map(BigInteger::longValue)
        .toList();
  }

  /// 64 bits without a sign; 0 when it is missing.
  BigInteger unsigned(String name) {
    return field(name)
        .flatMap(value -> whole(name, value, BigInteger.ZERO, MOST_UNSIGNED))
        .orElse(BigInteger.ZERO);
  }

  /// Nothing else may be there.
  void end() {
    object.ifPresent(fields ->
        fields
            .propertyNames()
            .forEach(name -> {
              if (!asked.contains(name)) {
                fault(name, "containers here cannot have it.");
              }
            }));
  }
}
