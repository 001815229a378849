package dev.hyperfresh.hypervisor;

/// One thing that was looked at before a guest is started or moved, without touching it.
///
/// @param name what was looked at, a few words, such as `CPU model`
/// @param finding what was found, one sentence
/// @param remedy what the user can do about it, one sentence; empty when there is nothing to do
public record Check(String name, Verdict verdict, String finding, String remedy) {
  /// What hypervisors say is part of it.
  public Check {
    finding = Printable.of(finding);
    remedy = Printable.of(remedy);
  }

  /// What a finding means for what is to come.
  public enum Verdict {
    /// Nothing is in the way.
    PASS,
    /// It would go wrong.
    FAIL,
    /// It could not be found out, which stops nothing.
    UNKNOWN
  }

  /// A check that found nothing in the way.
  public static Check pass(String name, String finding) {
    return new Check(name, Verdict.PASS, finding, "");
  }

  /// A check that found nothing in the way now, but something that the user may want to know.
  public static Check remark(String name, String finding, String remedy) {
    return new Check(name, Verdict.PASS, finding, remedy);
  }

  /// A check that found something in the way.
  public static Check fail(String name, String finding, String remedy) {
    return new Check(name, Verdict.FAIL, finding, remedy);
  }

  /// A check that could not be made.
  public static Check unknown(String name, String finding, String remedy) {
    return new Check(name, Verdict.UNKNOWN, finding, remedy);
  }

  /// Whether it found something in the way.
  public boolean failed() {
    return verdict == Verdict.FAIL;
  }

  /// What was found and what to do about it, as sentences in a row.
  public String sentences() {
    return remedy.isEmpty() ? finding : finding + " " + remedy;
  }
}
