package dev.hyperfresh.vm;

/// A request that the agent of a machine refused, did not answer in time, or never got. The message
/// starts with the request's verb.
public final class AgentException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final String verb;
  private final String text;
  private final boolean refused;

  AgentException(String verb, String text, boolean refused) {
    super(verb + ": " + text);
    this.verb = verb;
    this.text = text;
    this.refused = refused;
  }

  /// What was asked, such as `start`.
  public String verb() {
    return verb;
  }

  /// The agent's own words when it refused, else what became of the connection.
  public String text() {
    return text;
  }

  /// Whether the agent answered that it did not do it. If not, it may have done it.
  public boolean refused() {
    return refused;
  }
}
