package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// A foreign command line whose pieces are taken out, written anew and added to, until it makes the
/// machine that is there by now; and what is to be said of that. For one thread.
final class ChangedLine {
  /// What a word may hold: no process can be given a NUL, and no owner writes the others.
  private static final Pattern CONTROL = Pattern.compile("\\p{Cntrl}");

  private static final String JSON = "{";

  /// A piece, or a word that is none. Two of the same words are two.
  static final class Item {
    private final Optional<ForeignOption> option;
    private final String word;
    private String value;

    private Item(Optional<ForeignOption> option, String word, String value) {
      this.option = option;
      this.word = word;
      this.value = value;
    }

    /// What stands behind the option.
    String value() {
      return value;
    }

    boolean isJson() {
      return value.startsWith(JSON);
    }

    /// Its pairs; none where they cannot be read.
    Suboptions pairs(String implied) {
      return option
          .map(known -> new ForeignPiece(known, value).pairs(implied))
          .orElseGet(ForeignPiece::none);
    }

    private boolean is(Set<ForeignOption> options) {
      return option.filter(options::contains).isPresent();
    }
  }

  private final List<Item> items = new ArrayList<>();
  private final List<String> remarks = new ArrayList<>();
  private final List<String> reasons = new ArrayList<>();

  ChangedLine(List<String> arguments) {
    for (int i = 0; i < arguments.size(); i++) {
      String word = arguments.get(i);
      ForeignOption option = ForeignOption.of(word);
      boolean isWhole = option != null && (!option.hasValue() || i + 1 < arguments.size());
      if (option == null || !isWhole) {
        items.add(new Item(Optional.empty(), word, ""));
      } else {
        String value = option.hasValue() ? arguments.get(++i) : "";
        items.add(new Item(Optional.of(option), word, value));
      }
    }
  }

  /// The pieces of some options, in the order of the line.
  List<Item> of(ForeignOption... options) {
    Set<ForeignOption> wanted = Set.of(options);
    return items.stream().filter(item -> item.is(wanted)).toList();
  }

  boolean has(ForeignOption... options) {
    return !of(options).isEmpty();
  }

  void remove(Item item) {
    items.remove(item);
  }

  /// Adds a piece at the end.
  Item add(ForeignOption option, String value) {
    Item item = new Item(Optional.of(option), option.word(), value);
    items.add(item);
    check(item);
    return item;
  }

  private void check(Item item) {
    if (CONTROL.matcher(item.value).find()) {
      refuse("What was plugged has a name that cannot stand on a command line");
    }
  }

  /// Puts pieces of one kind behind all others, in this order.
  void moveToEnd(List<Item> order) {
    items.removeAll(order);
    items.addAll(order);
  }

  /// Writes a piece anew, in the form that it has.
  ///
  /// @param puts what it is to say
  /// @param without keys that it is not to have any more, those below them included
  void edit(Item item, String implied, Map<String, JsonNode> puts, Set<String> without) {
    if (item.isJson()) {
      ObjectNode root = (ObjectNode) QmpMessage.JSON.readTree(item.value);
      without.forEach(root::remove);
      puts.forEach(root::set);
      item.value = QmpMessage.JSON.writeValueAsString(root);
      return;
    }
    Suboptions pairs = item.pairs(implied);
    for (String key : List.copyOf(pairs.values().keySet())) {
      if (without.contains(key) || without.contains(key.split("\\.", 2)[0])) {
        pairs = pairs.without(key);
      }
    }
    for (Map.Entry<String, JsonNode> put : puts.entrySet()) {
      pairs = pairs.with(put.getKey(), text(put.getValue()));
    }
    item.value = pairs.text();
    check(item);
  }

  /// A value as `key=value` has it.
  static String text(JsonNode value) {
    if (value.isBoolean()) {
      return value.asBoolean() ? "on" : "off";
    }
    return value.isNull() ? "" : value.asString("");
  }

  /// Pairs as one of the two forms has them.
  static String written(Map<String, JsonNode> pairs, boolean json) {
    return json
        ? QmpMessage.JSON.writeValueAsString(pairs)
        : Suboptions.text(
            pairs.entrySet().stream()
                .map(pair -> Map.entry(pair.getKey(), text(pair.getValue())))
                .toList());
  }

  /// @param sentence what its owner should know, without a full stop
  void remark(String sentence) {
    remarks.add(ForeignGuest.clean(sentence, 400) + ".");
  }

  /// @param sentence what keeps it from being written as it is now, without a full stop
  void refuse(String sentence) {
    reasons.add(ForeignGuest.clean(sentence, 400) + ".");
  }

  List<String> remarks() {
    return remarks.stream().distinct().toList();
  }

  List<String> reasons() {
    return reasons.stream().distinct().toList();
  }

  /// All words of it.
  List<String> arguments() {
    List<String> arguments = new ArrayList<>();
    for (Item item : items) {
      arguments.add(item.word);
      if (item.option.filter(ForeignOption::hasValue).isPresent()) {
        arguments.add(item.value);
      }
    }
    return arguments;
  }
}
