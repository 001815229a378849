package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.Policy;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;

class NoticeTest {
  private static String guest(String name, String state, String to) {
    return qemu("guest", name, state, to, state.equals("outdated") ? "1" : "2");
  }

  private static String qemu(String role, String name, String state, String to, String runs) {
    return """
    {"pid":1,"role":"%s","name":"%s","state":"%s","to":"%s","running":{"label":"%s"},
    "installed":{"label":"2"}}\
    """
        .formatted(role, name, state, to, runs);
  }

  private static Optional<String> notice(List<String> qemus) {
    return notice(qemus, Set.of(1));
  }

  private static Optional<String> notice(List<String> qemus, Set<Integer> own) {
    return notice(qemus, own, policy(""));
  }

  private static Optional<Policy> policy(String text) {
    return Optional.of(Policy.parse(text, Path.of("policy.yaml")));
  }

  private static Optional<String> notice(
      List<String> qemus, Set<Integer> own, Optional<Policy> policy) {
    long outdated = qemus.stream().filter(qemu -> qemu.contains("\"outdated\"")).count();
    return Notice.of(
        Output.JSON.readTree(
            "{\"qemus\":[" + String.join(",", qemus) + "],\"outdated\":" + outdated + "}"),
        own,
        policy);
  }

  @Test
  void nothingIsSaidWhenNoneIsOutdated() {
    assertThat(notice(List.of())).isEmpty();
    assertThat(notice(List.of(guest("web1", "current", "")))).isEmpty();
  }

  @Test
  void guestsAreCountedInOneLine() {
    List<String> qemus = new ArrayList<>();
    for (int i = 1; i <= 12; i++) {
      qemus.add(guest("web" + i, "outdated", "installed"));
    }
    String twelve = "12 guests run an older QEMU; hyperfresh replace --all --to installed";
    assertThat(notice(qemus)).contains(twelve);
    qemus.add(guest("there", "current", ""));
    assertThat(notice(qemus)).contains(twelve);
    // It would be taken back.
    qemus.add(qemu("guest", "ahead", "current", "", "3"));
    assertThat(notice(qemus)).contains("12 guests run an older QEMU; hyperfresh outdated");
  }

  @Test
  void fewAreNamedWhereAllWouldBeTooMany() {
    assertThat(
            notice(
                List.of(
                    guest("web1", "outdated", "installed"),
                    qemu("guest", "ahead", "current", "", "3"))))
        .contains("1 guest runs an older QEMU; hyperfresh replace web1 --to installed");
  }

  @Test
  void othersAreCountedToo() {
    assertThat(
            notice(
                List.of(
                    guest("web1", "outdated", "installed"),
                    qemu("", "db1", "outdated", "", "1"),
                    qemu("machine", "m1", "outdated", "", "1"))))
        .contains(
            "1 guest runs an older QEMU; so do 2 others; hyperfresh replace --all --to installed");
    assertThat(notice(List.of(qemu("", "db1", "outdated", "", "1"))))
        .contains("1 QEMU runs an older build; hyperfresh outdated");
  }

  /// Root pastes what is printed.
  @Test
  void noCommandMovesAnExceptionOfThePolicy() {
    List<String> qemus =
        new ArrayList<>(
            List.of(guest("db1", "outdated", "installed"), guest("web1", "outdated", "installed")));
    Optional<Policy> excepting = policy("except: [db1]\n");
    assertThat(notice(qemus, Set.of(1), excepting))
        .contains(
            "2 guests run an older QEMU, 1 of them as the policy's exceptions;"
                + " hyperfresh replace web1 --to installed");
    for (int i = 2; i <= 4; i++) {
      qemus.add(guest("web" + i, "outdated", "installed"));
    }
    assertThat(notice(qemus, Set.of(1), excepting))
        .contains(
            "5 guests run an older QEMU, 1 of them as the policy's exceptions;"
                + " hyperfresh policy apply");
    assertThat(notice(qemus, Set.of(1), policy("except: [db1, web1, web2, web3, web4]\n")))
        .contains("5 guests run an older QEMU as the policy's exceptions; hyperfresh outdated");
  }

  /// With canaries, and in the window.
  @Test
  void aPolicyThatMovesGuestsIsWhatIsToBeApplied() {
    assertThat(
            notice(
                List.of(guest("web1", "outdated", "installed")),
                Set.of(1),
                policy("action: replace\nwindow: 02:00-05:00\n")))
        .contains("1 guest runs an older QEMU; hyperfresh policy apply");
  }

  /// Nobody knows its exceptions.
  @Test
  void aPolicyThatIsNotValidIsToBeCheckedFirst() {
    assertThat(notice(List.of(guest("web1", "outdated", "installed")), Set.of(1), Optional.empty()))
        .contains("1 guest runs an older QEMU; the policy is not valid: hyperfresh policy check");
  }

  /// Any user may start a process that looks like a guest.
  @Test
  void whatTheDaemonDoesNotCallItsOwnIsNotNamed() {
    assertThat(notice(List.of(guest("web1", "outdated", "installed")), Set.of(2)))
        .contains("1 QEMU runs an older build; hyperfresh outdated");
  }

  /// A name of a command line is no part of a command.
  @Test
  void aNameThatIsNoGuestsIsNotPrinted() {
    assertThat(notice(List.of(guest("a;reboot", "outdated", "installed"))).orElseThrow())
        .doesNotContain("reboot");
  }
}
