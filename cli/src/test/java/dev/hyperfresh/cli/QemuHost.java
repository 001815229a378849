package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Set;

/// A host whose processes, packages and programs are files below a folder.
final class QemuHost {
  static final Path OLD = Path.of("/bin/true");
  static final Path NEW = Path.of("/bin/false");
  static final String PACKAGED = "1:7.2+dfsg-7+deb12u18";

  private final Path root;
  private final Path state;

  /// The host's own QEMU.
  final Path binary;

  /// @param state the state directory, for releases
  QemuHost(Path root, Path state) throws IOException {
    this.root = root;
    this.state = state;
    binary = root.resolve("usr/bin/qemu-system-x86_64");
    file("proc/stat", "btime 1700000000\n");
    // What a process sees as its root folder; only the folder of this test is needed there.
    Files.createDirectories(root.resolve("seen"));
    Files.createSymbolicLink(
        root.resolve("seen").resolve(root.getName(0)), Path.of("/").resolve(root.getName(0)));
    file("var/lib/dpkg/info/qemu-system-x86.list", "/usr\n" + binary + "\n");
    file(
        "var/lib/dpkg/status",
        "Package: qemu-system-x86\nStatus: install ok installed\nVersion: " + PACKAGED + "\n");
  }

  /// This host's own QEMU: a file in the format of a program that only says its version.
  void program(String version) throws IOException {
    byte[] names = "\0.shstrtab\0.rodata\0".getBytes(StandardCharsets.US_ASCII);
    byte[] data = ("QEMU emulator version " + version + "\0").getBytes(StandardCharsets.US_ASCII);
    int end = 64 + names.length + data.length;
    ByteBuffer elf = ByteBuffer.allocate(end + 3 * 64).order(ByteOrder.LITTLE_ENDIAN);
    elf.putInt(0x464c457f).putShort((short) 0x0102).putLong(0x28, end);
    elf.putShort(0x3a, (short) 64).putShort(0x3c, (short) 3).putShort(0x3e, (short) 1);
    elf.put(64, names).put(64 + names.length, data);
    elf.putInt(end + 64, 1).putLong(end + 88, 64).putLong(end + 96, names.length);
    elf.putInt(end + 128, 11).putLong(end + 152, 64 + names.length);
    elf.putLong(end + 160, data.length);
    Files.createDirectories(binary.resolveSibling(""));
    Files.write(binary, elf.array());
    assertThat(binary.toFile().setExecutable(true)).isTrue();
  }

  void release(String version, Path program) throws IOException {
    release(version, program, List.of(), "a test");
  }

  void release(String version, Path program, List<Path> libraries, String source)
      throws IOException {
    QemuRelease release =
        new QemuRelease(
            "qemu-" + version,
            version,
            program,
            List.of(),
            libraries,
            "",
            Set.of(),
            Set.of(),
            Set.of(),
            source);
    Path home = Files.createDirectories(state.resolve("releases").resolve(release.name()));
    Files.write(home.resolve("release.json"), Output.JSON.writeValueAsBytes(release));
  }

  /// What runs is deleted, and another build is in its place.
  void upgraded() throws IOException {
    copy(OLD, deleted());
    copy(NEW, binary);
  }

  Path deleted() {
    return binary.resolveSibling(binary.getFileName() + " (deleted)");
  }

  static void copy(Path from, Path to) throws IOException {
    Files.createDirectories(to.resolveSibling(""));
    Files.copy(from.toRealPath(), to, StandardCopyOption.REPLACE_EXISTING);
  }

  void process(int pid, Path exe, String... arguments) throws IOException {
    String folder = "proc/" + pid + "/";
    file(folder + "cmdline", "qemu\0" + String.join("\0", arguments) + "\0");
    file(folder + "stat", pid + " (qemu) S 1" + " 0".repeat(17) + " 500 0\n");
    file(folder + "status", "Uid:\t0\t0\t0\t0\n");
    file(folder + "comm", "qemu-system-x86\n");
    file(folder + "cgroup", "0::/\n");
    Files.createSymbolicLink(root.resolve(folder + "exe"), exe);
    Files.createSymbolicLink(root.resolve(folder + "root"), root.resolve("seen"));
  }

  void link(String path, String target) throws IOException {
    Path link = root.resolve(path);
    Files.createDirectories(link.resolveSibling(""));
    Files.createSymbolicLink(link, Path.of(target));
  }

  void file(String path, String text) throws IOException {
    Path file = root.resolve(path);
    Files.createDirectories(file.resolveSibling(""));
    Files.writeString(file, text);
  }
}
