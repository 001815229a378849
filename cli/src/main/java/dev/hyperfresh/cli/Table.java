package dev.hyperfresh.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/// Rows under their headings, each column as wide as its widest cell.
record Table(List<String> headings, List<List<String>> rows) {
  private static final String BETWEEN = "  ";
  private static final String CUT = "…";

  /// The heading and the rows, one line each.
  ///
  /// @param width of the terminal. The last column is cut where a line would be longer, though not
  ///   to less than its heading. Empty: nothing is cut.
  List<String> lines(OptionalInt width) {
    int last = headings.size() - 1;
    List<Integer> widths = IntStream.range(0, last).mapToObj(this::widest).toList();
    int before = widths.stream().mapToInt(column -> column + BETWEEN.length()).sum();
    int room =
        width.isPresent()
            ? Math.max(headings.get(last).length(), width.getAsInt() - before)
            : Integer.MAX_VALUE;
    List<String> lines = new ArrayList<>();
    lines.add(line(headings, widths, room));
    rows.forEach(row -> lines.add(line(row, widths, room)));
    return lines;
  }

  private int widest(int column) {
    return rows.stream()
        .mapToInt(row -> row.get(column).length())
        .reduce(headings.get(column).length(), Math::max);
  }

  private static String line(List<String> cells, List<Integer> widths, int room) {
    StringBuilder line = new StringBuilder();
    for (int i = 0; i < widths.size(); i++) {
      String cell = cells.get(i);
      line.append(cell).repeat(' ', widths.get(i) - cell.length()).append(BETWEEN);
    }
    return line.append(cut(cells.getLast(), room)).toString();
  }

  private static String cut(String cell, int room) {
    return cell.length() <= room ? cell : cell.substring(0, room - CUT.length()) + CUT;
  }

  /// Prints it as the terminal takes it.
  void print() {
    lines(Terminal.width()).forEach(System.out::println);
  }
}
