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
    Path next = Files.createDirectories(folder.resolve("run")).resolve("policy.next");
    Files.writeString(next, "9999999999\n");

    assertThat(run(hook)).isEqualTo(new Ran(0, LINE + "\n"));
    assertThat(folder.resolve("run/qemu.changed")).exists();
    assertThat(next).doesNotExist();
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

  @Test
  void thePolicyIsDueWhenItHasSomethingToDo() throws Exception {
    Path next = folder.resolve("next");
    Path policy = Files.writeString(folder.resolve("policy.yaml"), "");
    Path locks = Files.writeString(folder.resolve("locks"), "");
    Path lock = Files.writeString(folder.resolve("lock"), "");
    Path due =
        script(
            "policy-due",
            adapted(
                "policy-due",
                Map.of(
                    "NEXT=/run/hyperfresh/policy.next", "NEXT=" + next,
                    "POLICY=/etc/hyperfresh/policy.yaml", "POLICY=" + policy,
                    "LOCK=/var/lib/dpkg/lock-frontend", "LOCK=" + lock,
                    "/proc/locks", locks.toString(),
                    "LONGEST=600", "LONGEST=2")));
    script("systemctl", "#!/bin/sh\nexit 0\n");
    Instant now = Instant.now();
    Files.setLastModifiedTime(policy, FileTime.from(now.minusSeconds(100)));

    assertThat(run(due)).isEqualTo(new Ran(0, ""));
    Files.writeString(next, now.getEpochSecond() + 1000 + "\n");
    assertThat(run(due)).isEqualTo(new Ran(1, ""));
    Files.writeString(next, now.getEpochSecond() - 1 + "\n");
    assertThat(run(due)).isEqualTo(new Ran(0, ""));
    Files.writeString(next, "$(reboot)\n");
    assertThat(run(due)).isEqualTo(new Ran(0, ""));
    Files.writeString(next, now.getEpochSecond() + 1000 + "\n");
    Files.setLastModifiedTime(policy, FileTime.from(now.plusSeconds(100)));
    assertThat(run(due)).as("the policy was changed").isEqualTo(new Ran(0, ""));

    script("findmnt", "#!/bin/sh\necho 259:1\n");
    Object inode = Files.getAttribute(lock, "unix:ino");
    Files.writeString(locks, "1: POSIX  ADVISORY  WRITE 17 103:02:" + inode + " 0 EOF\n");
    assertThat(run(due)).as("it is a file elsewhere").isEqualTo(new Ran(0, ""));
    Files.writeString(locks, "1: POSIX  ADVISORY  WRITE 17 103:01:" + inode + " 0 EOF\n");
    assertThat(run(due)).as("packages are being changed").isEqualTo(new Ran(1, ""));
    script("findmnt", "#!/bin/sh\nexit 1\n");
    assertThat(run(due)).as("where it is is not known").isEqualTo(new Ran(1, ""));
    Files.writeString(locks, "");
    script("systemctl", "#!/bin/sh\nexit 3\n");
    assertThat(run(due)).as("there is no daemon").isEqualTo(new Ran(1, ""));
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
          .doesNotContain("systemctl reload hyperfresh.service");
      Files.delete(folder.resolve("asked"));
    }
    assertThat(run(List.of(postinst.toString(), "configure", "1.0")).status()).isZero();
    assertThat(asked()).contains("make-cache ", "systemctl reload hyperfresh.service");
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
    assertThat(Files.readString(PARTS.resolve("needrestart-reload")))
        .endsWith("exec systemctl reload hyperfresh.service\n");
    if (run(List.of("sh", "-c", "command -v perl")).status() == 0) {
      Path copy = Files.writeString(folder.resolve("needrestart.conf"), conf);
      assertThat(run(List.of("perl", "-c", copy.toString())).status()).isZero();
    }
  }
}
