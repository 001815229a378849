package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What `./package` puts into a package, as far as it can be tried without installing one.
@Timeout(60)
class PackageTest extends PackageScene {
  private static final Path ROOT = DocumentationTest.ROOT;
  private static final List<String> UNITS =
      List.of(
          "hyperfresh.service",
          "hyperfresh-guests.service",
          "hyperfresh-shutdown.service",
          "hyperfresh-policy.service",
          "hyperfresh-policy.path",
          "hyperfresh-policy.timer",
          "hyperfresh.slice");
  private static final List<String> MAINTAINER_SCRIPTS = List.of("postinst", "prerm", "postrm");

  @ParameterizedTest
  @ValueSource(strings = {"package", "try-package"})
  void itExplainsItself(String command) throws Exception {
    Ran help = run(ROOT.resolve(command).toString(), "--help");

    assertThat(help.status()).isZero();
    assertThat(help.said()).startsWith("Usage: ./" + command);
  }

  @ParameterizedTest
  @CsvSource({
    "package,--frob",
    "package,--version",
    "try-package,--frob",
    "try-package,--suite",
    "try-package,--deb",
    "try-package,--suite=bookworm"
  })
  void aWrongOptionIsBadInput(String command, String option) throws Exception {
    assertThat(run(ROOT.resolve(command).toString(), option).status()).isEqualTo(2);
  }

  @Test
  void whatCannotBeTriedIsBadInput() throws Exception {
    Ran refused = run(ROOT.resolve("try-package").toString(), "--suite", "sid");

    assertThat(refused.status()).isEqualTo(2);
    assertThat(refused.said()).contains("'sid' is neither bookworm nor trixie");
    Ran nothing = run(ROOT.resolve("try-package").toString(), "--deb", folder + "/none.deb");
    assertThat(nothing.status()).isEqualTo(2);
    assertThat(nothing.said()).contains("none.deb' cannot be read");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "a1", "1 0", "1.0/../x", "1-"})
  void whatIsNoVersionOfAPackageIsRefused(String version) throws Exception {
    Ran refused = run(ROOT.resolve("package").toString(), "--version", version);

    assertThat(refused.status()).isEqualTo(1);
    assertThat(refused.said()).contains("is not the version of a Debian package");
  }

  @Test
  void everyScriptParses() throws Exception {
    for (Path script : scripts()) {
      List<String> lines = Files.readAllLines(script);
      String shell = lines.getFirst().equals("#!/bin/sh") ? "sh" : "bash";
      assertThat(run(shell, "-n", script.toString())).isEqualTo(new Ran(0, ""));
    }
  }

  private static List<Path> scripts() throws IOException {
    List<Path> scripts =
        new ArrayList<>(List.of(ROOT.resolve("package"), ROOT.resolve("try-package")));
    try (Stream<Path> parts = Files.walk(ROOT.resolve("setup"))) {
      parts
          .filter(Files::isRegularFile)
          .filter(part -> !part.toString().matches(".*\\.(service|slice|path|timer|conf|java)"))
          .sorted()
          .forEach(scripts::add);
    }
    return scripts;
  }

  @Test
  void shellcheckFindsNothing() throws Exception {
    require("shellcheck");
    List<String> command = new ArrayList<>(List.of("shellcheck", "-x", "-P", ROOT.toString()));
    scripts().stream()
        .filter(script -> !script.endsWith("tenants.sh"))
        .forEach(script -> command.add(script.toString()));
    assertThat(run(Map.of(), command)).isEqualTo(new Ran(0, ""));
  }

  @Test
  void theMaintainersScriptsAreWholeOnesWithTheirCommonPart() throws Exception {
    String common = Files.readString(PARTS.resolve("tenants.sh"));
    for (String script : MAINTAINER_SCRIPTS) {
      String text = Files.readString(PARTS.resolve(script)).replace("# TENANTS\n", common);
      assertThat(text).startsWith("#!/bin/sh\n").contains("\nset -e\n");
      if (text.contains("$(tenants)")) {
        assertThat(text).contains("\ntenants() {");
      }
      Path whole = Files.writeString(folder.resolve(script), text);
      assertThat(run("sh", "-n", whole.toString())).isEqualTo(new Ran(0, ""));
    }
  }

  @Test
  void aReloadEndsWhenTheOldDaemonHasHandedOver() throws Exception {
    Process old = new ProcessBuilder("sleep", "60").start();
    Path reload =
        reload(
            "#!/bin/sh\n[ \"$1\" = daemon ] || exit 0\nkill "
                + old.pid()
                + "; exec sleep 3 >/dev/null 2>&1\n");
    // A service manager reaps its children.
    Thread manager = Thread.ofPlatform().start(() -> old.onExit().join());

    assertThat(run(Map.of("MAINPID", Long.toString(old.pid())), List.of(reload.toString())))
        .isEqualTo(new Ran(0, ""));
    manager.join();
  }

  @Test
  void aReloadFailsWhenTheNewDaemonDoesAndTheOldOneGoesOn() throws Exception {
    Process old = new ProcessBuilder("sleep", "60").start();
    try {
      Map<String, String> main = Map.of("MAINPID", Long.toString(old.pid()));
      Path refused = reload("#!/bin/sh\n[ \"$1\" = daemon ] || exit 0\nexit 7\n");
      assertThat(run(main, List.of(refused.toString())).status()).isEqualTo(7);
      Path faulty = reload("#!/bin/sh\n[ \"$1\" = config ] && exit 2\necho started\n");
      assertThat(run(main, List.of(faulty.toString()))).isEqualTo(new Ran(2, ""));
      assertThat(old.isAlive()).isTrue();
    } finally {
      old.destroyForcibly().waitFor();
    }
  }

  @Test
  void aReloadFailsWhenTheNewDaemonEndsAfterItTookOver() throws Exception {
    Process old = new ProcessBuilder("sleep", "60").start();
    Path reload =
        reload(
            "#!/bin/sh\n[ \"$1\" = config ] && exit 0\n[ \"$1\" = daemon ] || exit 3\nkill "
                + old.pid()
                + "; sleep 2; exit 7\n");
    Thread manager = Thread.ofPlatform().start(() -> old.onExit().join());

    Ran ran = run(Map.of("MAINPID", Long.toString(old.pid())), List.of(reload.toString()));

    assertThat(ran.status()).isEqualTo(1);
    assertThat(ran.said()).contains("took over and has ended");
    manager.join();
  }

  private Path reload(String command) throws IOException {
    Path fake = Files.writeString(folder.resolve("hyperfresh"), command);
    assertThat(fake.toFile().setExecutable(true)).isTrue();
    return adapted("reload", Map.of("/usr/bin/hyperfresh", fake));
  }

  @Test
  void theServiceIsWhatTheDaemonCounts() throws Exception {
    String service = Files.readString(PARTS.resolve("hyperfresh.service"));

    assertThat(service)
        .contains(
            "\nType=notify\n",
            "\nNotifyAccess=exec\n",
            "\nKillMode=process\n",
            "\nRestart=on-failure\n",
            "\nRuntimeDirectoryPreserve=yes\n",
            "\nWatchdogSec=180\n");
    assertThat(Files.readString(PARTS.resolve("hyperfresh-guests.service")))
        .contains("\nDelegate=memory pids\n", "\nSlice=hyperfresh.slice\n");
  }

  /// Each is staged, started, stopped and purged with the package.
  @Test
  void theUnitsComeAndGoWithThePackage() throws Exception {
    String staging = Files.readString(ROOT.resolve("setup/package.sh"));
    UNITS.forEach(unit -> assertThat(staging).contains(unit));
    for (String unit :
        List.of(
            "hyperfresh-shutdown.service", "hyperfresh-policy.path", "hyperfresh-policy.timer")) {
      for (String script : MAINTAINER_SCRIPTS) {
        assertThat(Files.readString(PARTS.resolve(script))).as(script).contains(unit);
      }
    }
    assertThat(Files.readString(PARTS.resolve("hyperfresh-policy.service")))
        .contains(
            "\nType=oneshot\n",
            "\nExecStart=/usr/bin/hyperfresh policy apply ",
            "\nSuccessExitStatus=" + OutdatedCommand.SOME_OUTDATED + " 143\n",
            "\nNoNewPrivileges=yes\n",
            // A condition that does not hold is told at level info, each time.
            "\nLogLevelMax=notice\n",
            "\nSyslogLevel=notice\n",
            // Of a program that a loader started, /proc/PID/map_files needs it.
            " CAP_CHECKPOINT_RESTORE\n");
    String watched = Files.readString(PARTS.resolve("hyperfresh-policy.path"));
    assertThat(watched).contains("\nPathChanged=/run/hyperfresh/qemu.changed\n");
    assertThat(Files.readString(PARTS.resolve("after-packages")))
        .contains("RUN=/run/hyperfresh\n", "$RUN/qemu.changed");
  }

  /// A host that goes down has its guests and containers end; nothing else that stops the unit
  /// does.
  @Test
  void guestsPowerOffWithTheHostAlone() throws Exception {
    Path asked = folder.resolve("asked");
    Path program = folder.resolve("hyperfresh");
    Files.writeString(program, "#!/bin/sh\necho \"$*\" >>" + asked + "\n");
    Path systemctl = folder.resolve("bin/systemctl");
    Files.createDirectories(systemctl.resolveSibling(""));
    String script = adapted("shutdown", Map.of("/usr/bin/hyperfresh", program)).toString();
    Map<String, String> path = Map.of("PATH", folder.resolve("bin") + ":/usr/bin:/bin");
    assertThat(program.toFile().setExecutable(true)).isTrue();
    for (String state : List.of("running", "degraded", "starting")) {
      Files.writeString(systemctl, "#!/bin/sh\necho " + state + "\n");
      assertThat(systemctl.toFile().setExecutable(true)).isTrue();
      assertThat(run(path, List.of("sh", script))).as(state).isEqualTo(new Ran(0, ""));
      assertThat(asked).doesNotExist();
    }
    Files.writeString(systemctl, "#!/bin/sh\necho stopping\nexit 1\n");

    assertThat(run(path, List.of("sh", script))).isEqualTo(new Ran(0, ""));

    assertThat(Files.readAllLines(asked))
        .allSatisfy(line -> assertThat(line).containsPattern("--patience 1(80|79)\\b"))
        .map(line -> line.replace(" --patience 179", " --patience 180"))
        .containsExactlyInAnyOrder(
            "guest stop --all --patience 180", "container stop --all --patience 180 --until-boot");
    String unit = Files.readString(PARTS.resolve("hyperfresh-shutdown.service"));
    assertThat(unit)
        .contains(
            "\nAfter=hyperfresh.service ",
            "\nRemainAfterExit=yes\n",
            "\nExecStop=/usr/lib/hyperfresh/shutdown\n",
            "\nEnvironment=HYPERFRESH_SHUTDOWN_PATIENCE=180\n",
            "\nTimeoutStopSec=240\n");
  }

  /// systemd waits once for all, however often something is tried.
  @Test
  void aShutdownThatIsTriedAgainHasOneDeadline() throws Exception {
    Path asked = folder.resolve("asked");
    Path uptime = Files.writeString(folder.resolve("uptime"), "1000.50 900.00\n");
    Path program = folder.resolve("hyperfresh");
    // Only guests count here, one try after the other.
    Files.writeString(
        program,
        "#!/bin/sh\n[ $1 = guest ] || exit 0\necho \"$5\" >>"
            + asked
            + "\nread -r now _ <"
            + uptime
            + "\necho $((${now%%.*} + 100)).0 0 >"
            + uptime
            + ".new\nmv "
            + uptime
            + ".new "
            + uptime
            + "\nexit 1\n");
    Path systemctl = folder.resolve("bin/systemctl");
    Files.createDirectories(systemctl.resolveSibling(""));
    Files.writeString(systemctl, "#!/bin/sh\necho stopping\n");
    Path sleep = Files.writeString(folder.resolve("bin/sleep"), "#!/bin/sh\n");
    for (Path file : List.of(program, systemctl, sleep)) {
      assertThat(file.toFile().setExecutable(true)).isTrue();
    }
    String script =
        adapted("shutdown", Map.of("/usr/bin/hyperfresh", program, "/proc/uptime", uptime))
            .toString();

    Ran ran =
        run(
            Map.of(
                "PATH",
                folder.resolve("bin") + ":/usr/bin:/bin",
                "HYPERFRESH_SHUTDOWN_PATIENCE",
                "500"),
            List.of("sh", script));

    assertThat(ran.status()).isEqualTo(1);
    assertThat(ran.said()).contains("PATIENCE=500 is longer than systemd waits; taking 210");
    assertThat(Files.readAllLines(asked)).containsExactly("210", "110", "10", "0", "0");
    assertThat(number("shutdown", "LONGEST") + 20)
        .isLessThan(number("hyperfresh-shutdown.service", "TimeoutStopSec"));
  }

  /// What the package has below /etc, apart from what is written from the settings.
  @Test
  void theHooksAreStagedWhereAptAndNeedrestartLook() throws Exception {
    Path stage = folder.resolve("stage");
    Ran staged =
        run(
            Map.of("ROOT", ROOT.toString(), "stage", stage.toString()),
            List.of(
                "bash",
                "-ec",
                ". \"$ROOT/setup/package.sh\"; stage_hooks; cd \"$stage\";"
                    + " find . -type f -printf '%P %m\\n' | sort"));

    assertThat(staged.said().lines())
        .containsExactly(
            "etc/apt/apt.conf.d/90hyperfresh 644",
            "etc/needrestart/conf.d/hyperfresh.conf 644",
            "etc/needrestart/restart.d/hyperfresh.service 755");
  }

  /// A reload that systemd ends would not say why, and leave the new daemon.
  @Test
  void aReloadGivesUpBeforeSystemdDoes() throws Exception {
    int longest = number("reload", "LONGEST");

    assertThat(longest)
        .isGreaterThan(300)
        .isLessThan(number("hyperfresh.service", "TimeoutStartSec"));
  }

  private static int number(String part, String key) throws IOException {
    return Files.readAllLines(PARTS.resolve(part)).stream()
        .filter(line -> line.startsWith(key + "="))
        .mapToInt(line -> Integer.parseInt(line.substring(key.length() + 1)))
        .sum();
  }

  /// With programs that are there in the place of those that only the package brings.
  @Test
  void systemdTakesTheUnits() throws Exception {
    require("systemd-analyze");
    List<String> command = new ArrayList<>(List.of("systemd-analyze", "verify", "--man=no"));
    for (String unit : UNITS) {
      String text = Files.readString(PARTS.resolve(unit));
      Path copy = folder.resolve(unit);
      Files.writeString(copy, text.replaceAll("(?m)^(Exec\\w+)=.*$", "$1=/bin/true"));
      command.add(copy.toString());
    }
    Ran verified = run(Map.of(), command);
    assertThat(verified.said().lines().filter(line -> line.contains("hyperfresh"))).isEmpty();
  }
}
