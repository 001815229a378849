package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// What stands behind one option of a QEMU's command line: `key=value` pairs with commas between
/// them or, for some options, the same as JSON. Nested JSON is read as QEMU's dotted keys, so that
/// both forms have one meaning. Where a key stands twice, the last one counts, as it does for QEMU.
///
/// @param values in the order in which they stand
/// @param json whether it was JSON
record Suboptions(Map<String, String> values, boolean json) {
  /// More keys than any option that is understood here has.
  private static final int MAX_KEYS = 200;

  /// The text is none of the two.
  static final class MalformedException extends Exception {
    private static final long serialVersionUID = 1;

    MalformedException(String message) {
      super(message);
    }
  }

  /// Reads `text`.
  ///
  /// @param implied the key of a first value that has none, such as `driver`; empty for none
  static Suboptions parse(String text, String implied) throws MalformedException {
    Map<String, String> values = new LinkedHashMap<>();
    all(text, implied).forEach(pair -> values.put(pair.getKey(), pair.getValue()));
    if (values.size() > MAX_KEYS) {
      throw new MalformedException("more than " + MAX_KEYS + " keys");
    }
    return new Suboptions(values, isJson(text));
  }

  /// Reads `text` for the few options that have a key twice and mean both. In the order in which
  /// they stand.
  static List<Map.Entry<String, String>> all(String text, String implied)
      throws MalformedException {
    if (!isJson(text)) {
      return pairs(text, implied);
    }
    Map<String, String> values = new LinkedHashMap<>();
    flatten("", read(text), values);
    return List.copyOf(values.entrySet());
  }

  private static boolean isJson(String text) {
    return text.startsWith("{");
  }

  private static JsonNode read(String text) throws MalformedException {
    try {
      JsonNode root = QmpMessage.JSON.readTree(text);
      if (root.isObject()) {
        return root;
      }
    } catch (JacksonException e) {
      throw new MalformedException("not JSON: " + e.getOriginalMessage());
    }
    throw new MalformedException("not a JSON object");
  }

  private static void flatten(String prefix, JsonNode node, Map<String, String> values) {
    if (node.isObject()) {
      node.forEachEntry((key, value) -> flatten(join(prefix, key), value, values));
    } else if (node.isArray()) {
      for (int i = 0; i < node.size(); i++) {
        flatten(join(prefix, Integer.toString(i)), node.get(i), values);
      }
    } else if (node.isBoolean()) {
      values.put(prefix, node.asBoolean() ? "on" : "off");
    } else {
      values.put(prefix, node.isNull() ? "" : node.asString());
    }
  }

  private static String join(String prefix, String key) {
    return prefix.isEmpty() ? key : prefix + "." + key;
  }

  private static List<Map.Entry<String, String>> pairs(String text, String implied)
      throws MalformedException {
    List<Map.Entry<String, String>> pairs = new ArrayList<>();
    int at = 0;
    boolean first = true;
    while (at < text.length()) {
      StringBuilder piece = new StringBuilder();
      at = piece(text, at, piece);
      String whole = piece.toString();
      int equals = whole.indexOf('=');
      // A comma inside the key was doubled, which no key of QEMU has.
      if (equals > 0) {
        pairs.add(Map.entry(whole.substring(0, equals), whole.substring(equals + 1)));
      } else if (first && !implied.isEmpty() && equals < 0) {
        pairs.add(Map.entry(implied, whole));
      } else if (equals < 0 && !whole.isEmpty()) {
        pairs.add(flag(whole));
      } else {
        throw new MalformedException("'" + whole + "' has no key");
      }
      first = false;
    }
    return pairs;
  }

  /// Copies up to the next single comma; a doubled one stands for a comma.
  ///
  /// @return where the next piece begins
  private static int piece(String text, int from, StringBuilder piece) {
    int at = from;
    while (at < text.length()) {
      char c = text.charAt(at++);
      if (c != ',') {
        piece.append(c);
      } else if (at < text.length() && text.charAt(at) == ',') {
        piece.append(c);
        at++;
      } else {
        break;
      }
    }
    return at;
  }

  /// `share` is `share=on` and `nowait` is `wait=off`, for the options that still take it so.
  private static Map.Entry<String, String> flag(String word) {
    return word.startsWith("no") && word.length() > 2
        ? Map.entry(word.substring(2), "off")
        : Map.entry(word, "on");
  }

  Optional<String> get(String key) {
    return Optional.ofNullable(values.get(key));
  }

  String get(String key, String otherwise) {
    return values.getOrDefault(key, otherwise);
  }

  boolean isOn(String key) {
    String value = values.getOrDefault(key, "off");
    return value.equals("on") || value.equals("yes") || value.equals("true") || value.equals("y");
  }

  /// A copy in which `key` has another value, at its place if it is there.
  Suboptions with(String key, String value) {
    Map<String, String> copy = new LinkedHashMap<>(values);
    copy.put(key, value);
    return new Suboptions(copy, json);
  }

  Suboptions without(String key) {
    Map<String, String> copy = new LinkedHashMap<>(values);
    copy.remove(key);
    return new Suboptions(copy, json);
  }

  /// As [#text], or as JSON where `original`, from which these were read, is JSON: QEMU makes no
  /// devices in the same order from both. Only values on the first level may be other ones than
  /// those of `original`, and they are texts.
  String like(String original) {
    if (!json) {
      return text();
    }
    ObjectNode root = (ObjectNode) QmpMessage.JSON.readTree(original);
    values.forEach((key, value) -> {
      JsonNode old = root.get(key);
      if (!key.contains(".")
          && (old == null || (old.isString() && !old.asString().equals(value)))) {
        root.put(key, value);
      }
    });
    return QmpMessage.JSON.writeValueAsString(root);
  }

  /// The pairs with commas between them.
  String text() {
    return text(values.entrySet());
  }

  /// Pairs with commas between them.
  static String text(Collection<Map.Entry<String, String>> pairs) {
    return pairs.stream()
        .map(pair -> pair.getKey() + "=" + pair.getValue().replace(",", ",,"))
        .collect(Collectors.joining(","));
  }
}
