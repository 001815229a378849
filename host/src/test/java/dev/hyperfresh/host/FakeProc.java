package dev.hyperfresh.host;

import dev.hyperfresh.linux.ProcFs;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;

/// A folder that looks like `/proc`. A link of the kernel's leads to a deleted file all the same;
/// the one here leads to a file whose name ends like the link.
record FakeProc(Path root) {
  static final String DELETED = " (deleted)";
  static final Instant BOOT = Instant.ofEpochSecond(1_700_000_000);

  static FakeProc in(Path folder) throws IOException {
    FakeProc proc = new FakeProc(Files.createDirectories(folder.resolve("proc")));
    Files.writeString(proc.root.resolve("stat"), "cpu 1 2\nbtime " + BOOT.getEpochSecond() + "\n");
    Files.createDirectories(proc.root.resolve("self"));
    // What a process sees as its root folder; only the folder of the test is needed there.
    Files.createDirectories(proc.seen());
    Path top = folder.getName(0);
    Files.createSymbolicLink(proc.seen().resolve(top), Path.of("/").resolve(top));
    return proc;
  }

  ProcFs files() {
    return new ProcFs(root);
  }

  /// A process of user 1001 that started 5 s after the host.
  FakeProc process(int pid, Path exe, String... arguments) throws IOException {
    return process(pid, arguments).link(pid, "exe", exe);
  }

  /// One whose program nobody may know.
  FakeProc process(int pid, String... arguments) throws IOException {
    StringBuilder line = new StringBuilder();
    for (String argument : arguments) {
      line.append(argument).append('\0');
    }
    file(pid, "cmdline", line.toString());
    file(pid, "stat", pid + " (a) b) S 1" + " 0".repeat(17) + " 500 0 0\n");
    file(pid, "status", "Name:\ta\nUid:\t1000\t1001\t1000\t1000\n");
    file(pid, "comm", "a) b\n");
    file(pid, "cgroup", "0::/user.slice\n");
    return link(pid, "root", seen());
  }

  private Path seen() {
    return root.resolveSibling("seen");
  }

  FakeProc file(int pid, String entry, String text) throws IOException {
    Path file = root.resolve(pid + "/" + entry);
    Files.createDirectories(file.resolveSibling(""));
    Files.write(file, text.getBytes(StandardCharsets.UTF_8));
    return this;
  }

  FakeProc link(int pid, String entry, Path target) throws IOException {
    Path link = root.resolve(pid + "/" + entry);
    Files.createDirectories(link.resolveSibling(""));
    Files.createSymbolicLink(link, target);
    return this;
  }
}
