package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// What the package has other programs do: apt after its work, systemd before the policy is
/// applied, and needrestart.
@Timeout(60)
class HooksTest {
  private static final Path PARTS = DocumentationTest.ROOT.resolve("setup/package");
  private static final String LINE = "1 guest runs an older QEMU";

  @TempDir Path folder;
  private Path hook;

  private record Ran(int status, String said) {}

  private Ran run(Path... command) throws Exception {
    return run(List.of(command).stream().map(Path::toString).toList());
  }

  private Ran run(List<String> command) throws Exception {
    Path said = Files.createTempFile(folder, "said", ".txt");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(said.toFile());
    builder.environment().put("LC_ALL", "C");
    builder.environment().put("PATH", folder + ":" + System.getenv("PATH"));
    int status = builder.start().waitFor();
    return new Ran(status, Files.readString(said));
  }

  private String adapted(String part, Map<String, String> paths) throws IOException {
    String text = Files.readString(PARTS.resolve(part));
    for (Map.Entry<String, String> path : paths.entrySet()) {
      assertThat(text).contains(path.getKey());
      text = text.replace(path.getKey(), path.getValue());
    }
    return text;
  }

  private Path script(String name, String text) throws IOException {
    Path script = Files.writeString(folder.resolve(name), text);
    assertThat(script.toFile().setExecutable(true)).isTrue();
    return script;
  }

  @BeforeEach
  void makeAHost() throws IOException {
    hook =
        script(
            "after-packages",
            adapted(
                "after-packages",
                Map.of(
                    "RUN=/run/hyperfresh", "RUN=" + folder + "/run",
                    "/usr/bin/hyperfresh", folder + "/hyperfresh",
                    "/usr/bin/qemu-system-x86_64", folder + "/qemu",
                    "/usr/libexec/qemu-kvm", folder + "/none",
                    "/usr/bin/qemu-kvm", folder + "/none",
                    "/proc/1/root", "/",
                    "find /proc ", "find " + folder + "/proc ")));
    script("hyperfresh", "#!/bin/sh\necho \"$*\" >>" + folder + "/asked\necho '" + LINE + "'\n");
    Files.createDirectories(folder.resolve("proc/17"));
    Files.writeString(folder.resolve("proc/17/cmdline"), "/opt/qemu-system-x86_64\0-m\0001G\0");
    Files.writeString(folder.resolve("qemu"), "1");
  }

  private List<String> asked() throws IOException {
    Path asked = folder.resolve("asked");
    return Files.exists(asked) ? Files.readAllLines(asked) : List.of();
  }

  @Test
  void oneLineIsPrintedOnceForEachQemu() throws Exception {
    assertThat(run(hook)).isEqualTo(new Ran(0, LINE + "\n"));
    assertThat(folder.resolve("run/qemu.changed")).exists();
    assertThat(run(hook)).isEqualTo(new Ran(0, ""));
    Files.writeString(folder.resolve("staged"), "2");
    Files.move(folder.resolve("staged"), folder.resolve("qemu"), StandardCopyOption.ATOMIC_MOVE);
    assertThat(run(hook)).isEqualTo(new Ran(0, LINE + "\n"));
    assertThat(asked()).containsExactly("outdated --brief", "outdated --brief");
  }

  @Test
  void nothingIsStartedWhereNoQemuRunsOrNoneIsInstalled() throws Exception {
    Files.writeString(folder.resolve("proc/17/cmdline"), "/usr/sbin/cron\0-f\0");
    assertThat(run(hook)).isEqualTo(new Ran(0, ""));
    Files.delete(folder.resolve("qemu"));
    assertThat(run(hook)).isEqualTo(new Ran(0, ""));
    assertThat(asked()).isEmpty();
  }

  /// Such as that of an image that is being built, with the host's /proc.
  @Test
  void inAChrootNothingOfTheHostIsLookedAt() throws Exception {
    script("after-packages", Files.readString(hook).replace(" -c %d:%i / ", " -c %d:%i /proc "));

    assertThat(run(hook)).isEqualTo(new Ran(0, ""));
    assertThat(asked()).isEmpty();
    assertThat(folder.resolve("run")).doesNotExist();
  }

  @Test
  void whateverHappensItEndsWellAndSoon() throws Exception {
    script("hyperfresh", "#!/bin/sh\necho loud >&2\nexit 70\n");
    assertThat(run(hook)).isEqualTo(new Ran(0, ""));

    assertThat(folder.resolve("run/qemu.seen")).as("nobody was told").doesNotExist();
    script(
        "after-packages", Files.readString(hook).replaceFirst("(?m)^LONGEST=[0-9]+$", "LONGEST=1"));
    script("hyperfresh", "#!/bin/sh\nexec sleep 50\n");
    long begun = System.nanoTime();
    assertThat(run(hook)).isEqualTo(new Ran(0, ""));
    assertThat(Duration.ofNanos(System.nanoTime() - begun)).isLessThan(Duration.ofSeconds(40));
    assertThat(folder.resolve("run/qemu.seen")).doesNotExist();

    // Nor does a process whose arguments cannot be read.
    script("hyperfresh", "#!/bin/sh\necho '" + LINE + "'\n");
    assertThat(run(List.of("mkfifo", folder + "/pipe")).status()).isZero();
    Files.createDirectories(folder.resolve("proc/18"));
    script("grep", "#!/bin/sh\nexec cat " + folder + "/pipe\n");
    assertThat(run(hook)).isEqualTo(new Ran(0, ""));
    Files.delete(folder.resolve("grep"));
    script(
        "after-packages",
        Files.readString(hook).replaceFirst("(?m)^LONGEST=[0-9]+$", "LONGEST=50"));

    // Nothing can be written where a file is in the place of the folder.
    Files.move(folder.resolve("run"), folder.resolve("away"));
    Files.writeString(folder.resolve("run"), "");
    script("hyperfresh", "#!/bin/sh\necho '" + LINE + "'\n");
    assertThat(run(hook)).isEqualTo(new Ran(0, LINE + "\n"));
  }

  /// With a real apt, in folders of its own.
  @Test
  void aptRunsTheHookAndIsNotHinderedByIt() throws Exception {
    for (String tool : List.of("apt-get", "dpkg-deb")) {
      if (run(List.of("sh", "-c", "command -v " + tool)).status() != 0) {
        System.out.println("skipped: " + tool + " is not installed");
        Assumptions.abort();
      }
    }
    Path config = apt();
    install();
    Ran removed = apt(config, "remove", "thing");
    assertThat(removed.said()).contains("Removing thing", LINE + "\n");
    assertThat(removed.status()).as(removed.said()).isZero();

    install();
    script("after-packages", "#!/bin/sh\nexit 3\n");
    Ran failing = apt(config, "remove", "thing");
    assertThat(failing.status()).as(failing.said()).isZero();

    // The snippet is a configuration file, which outlives the package.
    install();
    Files.delete(hook);
    Ran without = apt(config, "remove", "thing");
    assertThat(without.status()).isZero();
    assertThat(without.said()).doesNotContain("not found");
  }

  private Ran apt(Path config, String... arguments) throws Exception {
    List<String> command =
        new ArrayList<>(List.of("env", "APT_CONFIG=" + config, "apt-get", "-q", "-y"));
    command.addAll(List.of(arguments));
    return run(command);
  }

  private Path apt() throws IOException {
    for (String part :
        List.of(
            "apt/state/lists/partial",
            "apt/cache/archives/partial",
            "apt/etc/apt.conf.d",
            "apt/etc/preferences.d",
            "apt/log",
            "root/var/lib/dpkg/updates",
            "root/var/lib/dpkg/info",
            "deb/DEBIAN",
            "deb/usr/share/thing")) {
      Files.createDirectories(folder.resolve(part));
    }
    Files.writeString(folder.resolve("root/var/lib/dpkg/status"), "");
    Files.writeString(folder.resolve("apt/etc/sources.list"), "");
    Files.writeString(folder.resolve("deb/usr/share/thing/file"), "");
    Files.writeString(
        folder.resolve("deb/DEBIAN/control"),
        "Package: thing\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n");
    Files.writeString(
        folder.resolve("apt/etc/apt.conf.d/90hyperfresh"),
        adapted("apt.conf", Map.of("/usr/lib/hyperfresh/after-packages", hook.toString())));
    return Files.writeString(
        folder.resolve("apt.conf"),
        """
        Dir "%1$s/apt";
        Dir::State "state";
        Dir::State::status "%1$s/root/var/lib/dpkg/status";
        Dir::Cache "cache";
        Dir::Etc "etc";
        Dir::Etc::main "none";
        Dir::Etc::parts "apt.conf.d";
        Dir::Log "log";
        DPkg::Options { "--root=%1$s/root"; "--force-not-root"; "--log=%1$s/dpkg.log"; };
        Dpkg::Use-Pty "0";
        """
            .formatted(folder));
  }

  private void install() throws Exception {
    Path deb = folder.resolve("thing.deb");
    Ran built =
        run(
            List.of(
                "dpkg-deb",
                "--root-owner-group",
                "--build",
                folder.resolve("deb").toString(),
                deb.toString()));
    assertThat(built.status()).as(built.said()).isZero();
    Ran installed =
        run(
            List.of(
                "dpkg",
                "--root=" + folder.resolve("root"),
                "--force-not-root",
                "--log=" + folder.resolve("dpkg.log"),
                "--install",
                deb.toString()));
    // Without root's rights dpkg cannot give files their owner.
    Assumptions.assumeTrue(installed.status() == 0, installed.said());
  }

  private Path policyDue() throws IOException {
    for (String there : List.of("policy.yaml", "locks", "lock", "changed")) {
      Files.writeString(folder.resolve(there), "");
    }
    script("systemctl", "#!/bin/sh\nexit 0\n");
    return script(
        "policy-due",
        adapted(
            "policy-due",
            Map.of(
                "NEXT=/run/hyperfresh/policy.next", "NEXT=" + folder + "/next",
                "SEEN=/run/hyperfresh/policy.seen", "SEEN=" + folder + "/seen",
                "CHANGED=/run/hyperfresh/qemu.changed", "CHANGED=" + folder + "/changed",
                "POLICY=/etc/hyperfresh/policy.yaml", "POLICY=" + folder + "/policy.yaml",
                "LOCK=/var/lib/dpkg/lock-frontend", "LOCK=" + folder + "/lock",
                "/proc/locks", folder + "/locks",
                "LONGEST=600", "LONGEST=2")));
  }

  private void next(String text) throws IOException {
    Files.writeString(folder.resolve("next"), text + "\n");
  }

  @Test
  void thePolicyIsDueWhenItHasSomethingToDo() throws Exception {
    Path due = policyDue();
    long now = Instant.now().getEpochSecond();
    assertThat(run(due)).as("the first time").isEqualTo(new Ran(0, ""));
    assertThat(run(due)).as("no run has said when").isEqualTo(new Ran(0, ""));
    next("" + (now + 1000));
    assertThat(run(due)).isEqualTo(new Ran(1, ""));
    next("" + (now - 1));
    assertThat(run(due)).isEqualTo(new Ran(0, ""));
    for (String nonsense : List.of("$(reboot)", "", "0999999999", "99999999999999999999")) {
      next(nonsense);
      assertThat(run(due)).as(nonsense).isEqualTo(new Ran(0, ""));
    }

    // The next window is no more than a week away: the clock was ahead when that was written.
    next("" + (now + 9 * 86_400));
    assertThat(run(due)).isEqualTo(new Ran(0, ""));
    next("" + (now + 7 * 86_400));
    assertThat(run(due)).isEqualTo(new Ran(1, ""));

    script("systemctl", "#!/bin/sh\nexit 3\n");
    next("" + (now - 1));
    assertThat(run(due)).as("there is no daemon").isEqualTo(new Ran(1, ""));
  }

  /// What was changed may come with the time of a file that it was copied from, or during a run
  /// that then says when the next one is due.
  @Test
  void thePolicyIsDueWhenItOrQemuIsAnotherOne() throws Exception {
    Path due = policyDue();
    String later = "" + (Instant.now().getEpochSecond() + 1000);
    for (String changed : List.of("policy.yaml", "changed")) {
      Path file = folder.resolve(changed);
      assertThat(run(due).status()).isZero();
      Files.writeString(folder.resolve("copy"), "other\n");
      Files.setLastModifiedTime(folder.resolve("copy"), FileTime.from(Instant.EPOCH));
      Files.move(folder.resolve("copy"), file, StandardCopyOption.REPLACE_EXISTING);
      next(later);
      assertThat(run(due)).as(changed).isEqualTo(new Ran(0, ""));
      assertThat(run(due)).as("that run said nothing").isEqualTo(new Ran(0, ""));
      next(later);
      assertThat(run(due)).as("it was applied").isEqualTo(new Ran(1, ""));
      Files.delete(file);
      assertThat(run(due)).as("it is gone").isEqualTo(new Ran(0, ""));
    }
  }

  @Test
  void thePolicyWaitsForPackages() throws Exception {
    Path due = policyDue();
    Path locks = folder.resolve("locks");
    script("findmnt", "#!/bin/sh\necho 259:1\n");
    Object inode = Files.getAttribute(folder.resolve("lock"), "unix:ino");
    Files.writeString(locks, "1: POSIX  ADVISORY  WRITE 17 103:02:" + inode + " 0 EOF\n");
    assertThat(run(due)).as("it is a file elsewhere").isEqualTo(new Ran(0, ""));
    Files.writeString(locks, "1: POSIX  ADVISORY  WRITE 17 103:01:" + inode + " 0 EOF\n");
    assertThat(run(due)).as("packages are being changed").isEqualTo(new Ran(1, ""));
    script("findmnt", "#!/bin/sh\nexit 1\n");
    assertThat(run(due)).as("where it is is not known").isEqualTo(new Ran(1, ""));
    Files.delete(folder.resolve("lock"));
    assertThat(run(due)).as("there is no dpkg").isEqualTo(new Ran(0, ""));
  }

  /// Before an upgrade or a removal prerm deletes the cache, and stops the units.
  @Test
  void whatFailedToGoIsStartedAgain() throws Exception {
    Path postinst =
        script(
            "postinst",
            adapted(
                "postinst",
                Map.of(
                    "/usr/lib/hyperfresh/make-cache",
                    folder + "/make-cache",
                    "/run/systemd/system",
                    folder.toString())));
    for (String tool :
        List.of("make-cache", "systemctl", "deb-systemd-helper", "deb-systemd-invoke")) {
      script(tool, "#!/bin/sh\necho " + tool + " \"$*\" >>" + folder + "/asked\n");
    }
    for (String why : List.of("abort-upgrade", "abort-remove", "abort-deconfigure")) {
      assertThat(run(List.of(postinst.toString(), why, "1.0")).status()).isZero();
      assertThat(asked())
          .as(why)
          .contains(
              "make-cache ",
              "deb-systemd-invoke start hyperfresh.service",
              "deb-systemd-invoke start hyperfresh-shutdown.service hyperfresh-policy.path"
                  + " hyperfresh-policy.timer")
          .noneMatch(line -> line.contains("reload hyperfresh"));
      Files.delete(folder.resolve("asked"));
    }
    assertThat(run(List.of(postinst.toString(), "configure", "1.0")).status()).isZero();
    assertThat(asked()).contains("make-cache ", "deb-systemd-invoke reload hyperfresh.service");
  }

  /// It may have opened files of the version before.
  @Test
  void aDaemonThatStillStartsIsReloadedWhenItHas() throws Exception {
    Path postinst =
        script(
            "postinst",
            adapted(
                "postinst",
                Map.of(
                    "/usr/lib/hyperfresh/make-cache",
                    "true",
                    "/run/systemd/system",
                    folder.toString())));
    script(
        "systemctl",
        """
        #!/bin/sh
        [ "$1" != is-active ] || {
          echo look >>%1$s/looks
          [ $(wc -l <%1$s/looks) -ge 3 ] && echo active || { echo activating; exit 3; }
        }
        """
            .formatted(folder));
    for (String tool : List.of("deb-systemd-helper", "deb-systemd-invoke")) {
      script(tool, "#!/bin/sh\necho " + tool + " \"$*\" >>" + folder + "/asked\n");
    }

    assertThat(run(List.of(postinst.toString(), "configure", "1.0")).status()).isZero();

    assertThat(asked())
        .contains("deb-systemd-invoke reload hyperfresh.service")
        .doesNotContain("deb-systemd-invoke start hyperfresh.service");
  }

  /// A heap of another size may need other pointers, and then no command takes the cache.
  @Test
  void theCacheIsMadeWithTheHeapOfACommand() throws Exception {
    Path java = script("java", "#!/bin/sh\necho \"$*\" >>" + folder + "/asked\n");
    String launch =
        ". '"
            + DocumentationTest.ROOT.resolve("setup/launch.sh")
            + "'; JARS=x; cd "
            + folder
            + "; ";

    var _ = run(List.of("bash", "-c", launch + "make_aot " + java + " new log"));
    assertThat(run(List.of("bash", "-c", launch + "start " + java + " '' -- version")).status())
        .isZero();

    assertThat(Files.readString(folder.resolve("log"))).isEmpty();
    assertThat(asked()).hasSize(2).allMatch(line -> line.contains(" -Xmx256m "));
  }

  /// Guests' control groups are below that service.
  @Test
  void needrestartLeavesGuestsAlone() throws Exception {
    String conf = Files.readString(PARTS.resolve("needrestart.conf"));
    List<String> ignored =
        Pattern.compile("(?m)^push @\\{\\$nrconf\\{blacklist_rc}}, qr\\((.*)\\);$")
            .matcher(conf)
            .results()
            .map(match -> match.group(1))
            .toList();

    assertThat(ignored).anyMatch(regex -> "hyperfresh-guests.service".matches(regex));
    assertThat(ignored).noneMatch(regex -> "hyperfresh.service".matches(regex));
    if (run(List.of("sh", "-c", "command -v perl")).status() == 0) {
      Path copy = Files.writeString(folder.resolve("needrestart.conf"), conf);
      assertThat(run(List.of("perl", "-c", copy.toString())).status()).isZero();
    }
  }

  /// The QEMUs of machines and operating systems are in the service's control group. A reload gives
  /// them no newer one.
  @Test
  void needrestartReloadsTheDaemonForItsOwnFilesOnly() throws Exception {
    Path maps = Files.createDirectories(folder.resolve("proc/18")).resolve("maps");
    Path reload =
        script(
            "needrestart-reload",
            adapted("needrestart-reload", Map.of("/proc/$pid", folder + "/proc/$pid")));
    script(
        "systemctl",
        "#!/bin/sh\n[ \"$1\" = show ] && echo 18 || echo \"$*\" >>" + folder + "/asked\n");
    String mapped = "7f0000000000-7f0000001000 %s 00000000 08:01 17   %s\n";
    Files.writeString(
        maps,
        mapped.formatted("r-xp", "/usr/lib/x86_64-linux-gnu/libc.so.6")
            + mapped.formatted("r--p", "/usr/lib/locale/C.utf8/LC_CTYPE (deleted)")
            + mapped.formatted("r-xp", "/tmp/sqlite-1.so (deleted)")
            + mapped.formatted("rwxp", "/memfd:jit (deleted)"));
    assertThat(run(reload)).isEqualTo(new Ran(0, ""));
    assertThat(asked()).isEmpty();

    Files.writeString(
        maps, mapped.formatted("r-xp", "/usr/lib/x86_64-linux-gnu/libc.so.6 (deleted)"));
    assertThat(run(reload)).isEqualTo(new Ran(0, ""));
    assertThat(asked()).containsExactly("reload hyperfresh.service");
    Files.delete(maps);
    assertThat(run(reload)).as("nobody knows").isEqualTo(new Ran(0, ""));
    assertThat(asked()).hasSize(2);
  }
}
