package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// What a removal and a purge of the package find, say and take.
@Timeout(60)
class RemovalTest extends PackageScene {
  /// The search for guests, which does not see those of other daemons of this host.
  private Path tenants(Path config, Path state) throws IOException {
    return adapted(
        "tenants.sh",
        Map.of(
            "/etc/hyperfresh/hyperfresh.yaml",
            config,
            "/run/hyperfresh/state",
            state,
            "/run/hyperfresh/users",
            folder.resolve("users"),
            "[:/]hyperfresh/[A-Za-z]",
            Path.of("[:/]nowhere/[A-Za-z]")));
  }

  @Test
  void guestsThatRunAreFoundByTheStateDirectoryAmongTheirArguments() throws Exception {
    Path config = folder.resolve("hyperfresh.yaml");
    Path written = folder.resolve("state");
    Path snippet = tenants(config, written);
    String ask = ". " + snippet + "; state_directory; echo; tenants";

    assertThat(run("sh", "-ec", ask).said()).startsWith("/var/lib/hyperfresh\n");
    Files.writeString(written, folder + "/removed");
    assertThat(run("sh", "-ec", ask).said()).startsWith(folder + "/removed\n");
    Files.writeString(
        config, "# state: /nowhere\nlog: info\nstate: \"" + folder + "/hf\" # here\n");
    assertThat(run("sh", "-ec", ask)).isEqualTo(new Ran(0, folder + "/hf\n"));

    Path qemu = Files.copy(Path.of("/bin/sh"), folder.resolve("qemu-system-x86_64"));
    Process guest = reading(qemu, folder + "/hf/guests/web1");
    // Somebody looks at a log.
    Process reader = reading(Path.of("sh"), folder + "/hf/guests/web1/console.log");
    try {
      assertThat(run("sh", "-ec", ask))
          .isEqualTo(new Ran(0, folder + "/hf\n" + guest.pid() + " (qemu-system-x86)"));
    } finally {
      reader.destroyForcibly().waitFor();
      guest.destroyForcibly().waitFor();
    }
  }

  /// A release may be of any hypervisor, and is in the state directory.
  @Test
  void guestsThatRunAreFoundByTheirPrograms() throws Exception {
    Path config = Files.writeString(folder.resolve("hyperfresh.yaml"), "state: " + folder + "/hf");
    Path snippet = tenants(config, folder.resolve("state"));
    Path release = Files.createDirectories(folder.resolve("hf/releases/other"));
    Process guest =
        reading(Files.copy(Path.of("/bin/sh"), release.resolve("vmm")), folder + "/hf/guests/web1");
    try {
      assertThat(run("sh", "-ec", ". " + snippet + "; tenants"))
          .isEqualTo(new Ran(0, guest.pid() + " (vmm)"));
    } finally {
      guest.destroyForcibly().waitFor();
    }
  }

  /// A process that waits, with that argument.
  private static Process reading(Path shell, String argument) throws IOException {
    return new ProcessBuilder(shell.toString(), "-c", "read line", "sh", argument).start();
  }

  /// All that a guest's process was given may be elsewhere, or be descriptors.
  @Test
  void guestsThatRunAreFoundByTheirRecords() throws Exception {
    Path config =
        Files.writeString(folder.resolve("hyperfresh.yaml"), "state : '" + folder + "/hf/'\n");
    Path snippet = tenants(config, folder.resolve("state"));
    String ask = ". " + snippet + "; tenants";
    Path record =
        Files.createDirectories(folder.resolve("hf/guests/web1")).resolve("guest.properties");
    String boot = Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip();
    Process guest = new ProcessBuilder("sleep", "60").start();
    try {
      String pid = "running.pid=" + guest.pid() + "\n";
      Files.writeString(record, pid + "running.boot=" + boot + "\n");
      assertThat(run("sh", "-ec", ask)).isEqualTo(new Ran(0, guest.pid() + " (sleep)"));
      Files.writeString(record, pid + "running.boot=another\n");
      assertThat(run("sh", "-ec", ask)).isEqualTo(new Ran(0, ""));
    } finally {
      guest.destroyForcibly().waitFor();
    }
  }

  /// Guests may have outlived the removal, and with them the unit that keeps their control groups.
  @Test
  void aPurgeEndsTheUnitThatKeptControlGroupsAndTheSlice() throws Exception {
    Path manager = Files.createDirectories(folder.resolve("systemd"));
    Path told = folder.resolve("told");
    Path systemctl =
        Files.writeString(folder.resolve("systemctl"), "#!/bin/sh\necho \"$@\" >>" + told + "\n");
    assertThat(systemctl.toFile().setExecutable(true)).isTrue();
    Path state = Files.createDirectories(folder.resolve("lib/hyperfresh"));
    Path postrm = postrm(manager, state);
    Map<String, String> path = Map.of("PATH", folder + ":" + System.getenv("PATH"));

    assertThat(run(path, List.of("sh", postrm.toString(), "purge"))).isEqualTo(new Ran(0, ""));

    assertThat(told).content().contains("stop hyperfresh-guests.service hyperfresh.slice");
    assertThat(state).doesNotExist();
  }

  /// The state directory may be a file system of its own, which only its mount can take away.
  @Test
  void aPurgeEmptiesAPlaceThatCannotGoAndGoesOn() throws Exception {
    Path state = Files.createDirectories(folder.resolve("lib/hyperfresh"));
    Path etc = Files.createDirectories(folder.resolve("etc/hyperfresh"));
    Path postrm = postrm(folder.resolve("no-systemd"), state);
    String purge =
        "mount -t tmpfs none %1$s && touch %1$s/x && sh %2$s purge && ls -A %1$s"
            .formatted(state, postrm);
    List<String> unshare = List.of("unshare", "--mount", "--map-root-user", "sh", "-c");
    List<String> mounting = new ArrayList<>(unshare);
    mounting.add("mount -t tmpfs none " + state);
    if (run(Map.of(), mounting).status() != 0) {
      System.out.println("skipped: nothing can be mounted here");
      Assumptions.abort();
    }
    List<String> purging = new ArrayList<>(unshare);
    purging.add(purge);

    Ran purged = run(Map.of("LC_ALL", "C"), purging);

    assertThat(purged.status()).as(purged.said()).isZero();
    assertThat(purged.said().lines()).hasSize(2);
    assertThat(purged.said())
        .contains("Device or resource busy", "hyperfresh: " + state + " stays, as said above");
    assertThat(etc).doesNotExist();
  }

  /// Whoever removes the package is told what becomes of guests.
  @Test
  void aRemovalSaysWhatBecomesOfGuestsThatRun() throws Exception {
    String text =
        Files.readString(PARTS.resolve("prerm"))
            .replace(
                "# TENANTS\n", "tenants() { echo '17 (qemu)'; }\nstate_directory() { echo /s; }\n")
            .replace("/run/systemd/system", folder + "/no-systemd")
            .replace("/var/cache/hyperfresh", folder + "/cache")
            .replace("/run/hyperfresh", folder + "/run");
    Path prerm = Files.writeString(folder.resolve("prerm"), text);

    Ran removed = run("sh", prerm.toString(), "remove");

    assertThat(removed.status()).isZero();
    assertThat(removed.said())
        .contains("as processes 17 (qemu).", "next shutdown cuts them off", "a purge is refused");
    assertThat(run("sh", prerm.toString(), "upgrade")).isEqualTo(new Ran(0, ""));
  }

  /// One that knows no path of this host and sees none of its guests.
  private Path postrm(Path manager, Path state) throws IOException {
    String text =
        Files.readString(PARTS.resolve("postrm"))
            .replace("# TENANTS\n", "tenants() { :; }\nstate_directory() { echo " + state + "; }\n")
            .replace("/run/systemd/system", manager.toString())
            .replace("/var/lib/hyperfresh", state.toString())
            .replace("/usr/bin/deb-systemd-helper", folder.resolve("no-helper").toString());
    for (String place : List.of("/var/cache/hyperfresh", "/run/hyperfresh", "/etc/hyperfresh")) {
      text = text.replace(place, folder + place);
    }
    return Files.writeString(folder.resolve("postrm"), text);
  }
}
