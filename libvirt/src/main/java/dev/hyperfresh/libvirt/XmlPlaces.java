package dev.hyperfresh.libvirt;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// Where the parts of an XML text are, so that some can be changed and all others stay as they are,
/// byte for byte. Only for a text that a parser has accepted, without a document type.
final class XmlPlaces {
  /// A stretch of the text.
  record Span(int from, int to) {
    String in(String xml) {
      return xml.substring(from, to);
    }
  }

  /// An element.
  ///
  /// @param path the names of the elements around it and its own, each behind a slash
  /// @param attributes their values, without the quotes and with what is escaped in them
  /// @param whole from its first `<` to its last `>`
  /// @param content between its tags; empty when it has one tag
  record Element(String path, Map<String, Span> attributes, Span whole, Span content) {}

  /// An element whose end has not come yet.
  private record Open(String path, Map<String, Span> attributes, int from, int tagEnd) {}

  private final String xml;
  private final Deque<Open> open = new ArrayDeque<>();
  private final List<Element> elements = new ArrayList<>();
  private int at;

  private XmlPlaces(String xml) {
    this.xml = xml;
  }

  /// All elements, in the order in which they end.
  static List<Element> of(String xml) {
    XmlPlaces places = new XmlPlaces(xml);
    places.scan();
    return places.elements;
  }

  private void scan() {
    for (int next = xml.indexOf('<'); next >= 0; next = xml.indexOf('<', at)) {
      at = next;
      if (xml.startsWith("<!--", at)) {
        skip("-->");
      } else if (xml.startsWith("<![CDATA[", at)) {
        skip("]]>");
      } else if (xml.startsWith("<?", at)) {
        skip("?>");
      } else if (xml.startsWith("</", at)) {
        close();
      } else {
        open();
      }
    }
  }

  private void skip(String ending) {
    at = xml.indexOf(ending, at) + ending.length();
  }

  private void close() {
    Open begun = open.removeLast();
    int from = at;
    skip(">");
    elements.add(
        new Element(
            begun.path(),
            begun.attributes(),
            new Span(begun.from(), at),
            new Span(begun.tagEnd(), from)));
  }

  private void open() {
    int from = at++;
    String path = (open.isEmpty() ? "" : open.getLast().path()) + "/" + word();
    Map<String, Span> attributes = new LinkedHashMap<>();
    while (xml.charAt(at) != '>' && xml.charAt(at) != '/') {
      if (Character.isWhitespace(xml.charAt(at))) {
        at++;
      } else {
        attribute(attributes);
      }
    }
    boolean empty = xml.charAt(at) == '/';
    skip(">");
    if (empty) {
      elements.add(new Element(path, attributes, new Span(from, at), new Span(at, at)));
    } else {
      open.addLast(new Open(path, attributes, from, at));
    }
  }

  /// A name, of an element or of an attribute.
  private String word() {
    int from = at;
    while (" \t\r\n=/>".indexOf(xml.charAt(at)) < 0) {
      at++;
    }
    return xml.substring(from, at);
  }

  private void attribute(Map<String, Span> attributes) {
    String name = word();
    while (xml.charAt(at) != '\'' && xml.charAt(at) != '"') {
      at++;
    }
    int from = at + 1;
    int to = xml.indexOf(xml.charAt(at), from);
    attributes.put(name, new Span(from, to));
    at = to + 1;
  }
}
