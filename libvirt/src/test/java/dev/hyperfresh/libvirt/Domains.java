package dev.hyperfresh.libvirt;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.ProcFs;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/// A folder that looks like that of libvirt, with the files of domains.
///
/// @param folder everything is below it
record Domains(Path folder) {
  /// In the shape of libvirt 9; and one of libvirt 11.
  static final String WEB1 = text("status-9.xml");

  static final String DB2 = text("status-11.xml");

  static final Path OTHER_QEMU = Path.of("/opt/qemu-10/bin/qemu-system-x86_64");

  private static String text(String name) {
    try (InputStream in = Objects.requireNonNull(Domains.class.getResourceAsStream(name))) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  LibvirtHost host() {
    return new LibvirtHost(
        folder.resolve("run"),
        folder.resolve("systemd"),
        folder.resolve("systemctl"),
        folder.resolve("virsh"),
        ProcFs.HOST);
  }

  /// The same, of whose processes only those are seen that [#runLibvirt] has put there.
  LibvirtHost quiet() {
    LibvirtHost host = host();
    return new LibvirtHost(
        host.run(), host.systemd(), host.systemctl(), host.virsh(), new ProcFs(processes()));
  }

  private Path processes() {
    try {
      return Files.createDirectories(folder.resolve("proc"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Has a process of libvirt be seen, until the script of [Units] is told to stop something.
  void runLibvirt(int pid) {
    try {
      for (long one : List.of((long) pid, ProcessHandle.current().pid())) {
        Path spaces = Files.createDirectories(processes().resolve(one + "/ns"));
        for (String kind : List.of("mnt", "net", "pid", "uts", "ipc")) {
          Files.deleteIfExists(spaces.resolve(kind));
          Files.createSymbolicLink(spaces.resolve(kind), Path.of(kind + ":[1]"));
        }
      }
      Path own = processes().resolve(Integer.toString(pid));
      Files.writeString(
          own.resolve("status"), "Uid:" + ("\t" + Host.effectiveUid()).repeat(4) + "\n");
      Files.createSymbolicLink(own.resolve("exe"), Path.of("/usr/sbin/libvirtd"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Writes what libvirt would of a domain.
  Path put(String name, String xml) throws IOException {
    Files.createDirectories(host().domains());
    Files.writeString(host().pidFile(name), LibvirtDomainTest.pid(xml) + "\n");
    return Files.writeString(host().statusFile(name), xml);
  }

  /// A program that the tests run in the place of one of the host.
  static void script(Path file, String body) throws IOException {
    Files.writeString(file, "#!/bin/sh\n" + body + "\n");
    if (!file.toFile().setExecutable(true)) {
      throw new IOException(file + " cannot be made executable");
    }
  }

  static HandedBack back(int pid, Map<Integer, Integer> vcpus) {
    return new HandedBack(
        "web1",
        pid,
        vcpus,
        Map.of("charserial0", "/dev/pts/9"),
        Map.of("hostnet0", "hf-web1"),
        OTHER_QEMU);
  }
}
