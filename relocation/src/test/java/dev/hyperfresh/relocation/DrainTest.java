package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.Host;
import java.io.BufferedReader;
import java.io.OutputStream;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The program `relocate` on this host: `drain_test.c` plays CRIU, with a file in place of another
/// OS's memory.
class DrainTest {
  private static final int PAGES = 4096;
  private static final int MUTANTS = 300;
  private static final int LIMIT_SECONDS = 120;
  private static final int HEADER_BYTES = 24;

  private static final int MADV_COLLAPSE_SINCE = 6001;

  /// Of the first image in an archive, in `newc`.
  private static final int NAME_OFFSET = 110;

  private static final int HEADER_AND_NAME_BYTES = NAME_OFFSET + 10;

  /// Of `enum outcome` in `relocate.h`.
  private static final int MALFORMED = 3;

  private static final int PAGE_MISSING = 6;
  private static final int RESTORE_FAILED = 7;
  private static final int LAST_OUTCOME = RESTORE_FAILED;

  @TempDir static Path programs;
  @TempDir Path folder;

  @BeforeAll
  static void compile() throws Exception {
    require(Host.effectiveUid() == 0, "page faults of other processes are handled by root alone");
    require(
        run(programs, List.of("sh", "-c", "command -v gcc")).code() == 0,
        "there is no C compiler here");
    compile("relocate", Words.relocateSources());
    compile("drain_test", List.of("/drain_test.c"));
    compile("gather_test", List.of("/gather_test.c"));
  }

  private static void compile(String program, List<String> sources) throws Exception {
    List<String> command =
        new ArrayList<>(List.of("gcc", "-O2", "-std=c11", "-Wall", "-Werror", "-o", program));
    for (String name : sources) {
      String file = name.substring(name.lastIndexOf('/') + 1);
      Files.writeString(programs.resolve(file), Words.resource(name));
      if (file.endsWith(".c")) {
        command.add(file);
      }
    }
    assertThat(run(programs, command)).isEqualTo(new Run(0, ""));
  }

  private static void require(boolean holds, String otherwise) {
    if (!holds) {
      System.out.println("skipped: " + otherwise);
      Assumptions.abort(otherwise);
    }
  }

  private record Run(int code, String said) {}

  private static Run run(Path where, List<String> command) throws Exception {
    Process process =
        new ProcessBuilder(command).directory(where.toFile()).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).as(command.toString()).isTrue();
    return new Run(process.exitValue(), said.strip());
  }

  /// Faults before and during the drain, pages without content, forks, memory that is given up,
  /// moved and unmapped, a process that ends: every page arrives, and every frame is freed once.
  @Test
  void everyPageArrivesWhateverProcessesDoMeanwhile() throws Exception {
    play();
  }

  private void play() throws Exception {
    Run run =
        run(
            folder,
            List.of(
                programs.resolve("drain_test").toString(),
                programs.resolve("relocate").toString(),
                folder.toString(),
                Integer.toString(PAGES)));
    assertThat(run.said()).endsWith("good");
    assertThat(run.code()).isZero();
  }

  /// A list of frames that is cut off, or claims what cannot be, is refused and nothing else
  /// happens.
  @Test
  void listsThatAreDamagedAreRefused() throws Exception {
    play();
    assertThat(read().code()).isEqualTo(RESTORE_FAILED);
    byte[] good = Files.readAllBytes(folder.resolve("pages"));
    Random random = new Random(20_261_127);
    List<String> crashed = new ArrayList<>();
    Set<Integer> outcomes = new TreeSet<>();
    for (int i = 0; i < MUTANTS; i++) {
      byte[] bad = good.clone();
      switch (i % 4) {
        case 0 -> bad = Arrays.copyOf(bad, random.nextInt(bad.length));
        case 1 -> bad[random.nextInt(HEADER_BYTES)] ^= (byte) (1 + random.nextInt(255));
        case 2 ->
            ByteBuffer.wrap(bad)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(HEADER_BYTES + random.nextInt(64) * 8, random.nextLong());
        default -> random.nextBytes(bad);
      }
      Files.write(folder.resolve("pages"), bad);
      Run run = read();
      outcomes.add(run.code());
      if (run.code() > LAST_OUTCOME) {
        crashed.add(String.format(Locale.ROOT, "%d: %d %s", i, run.code(), run.said()));
      }
    }
    assertThat(crashed).isEmpty();
    assertThat(outcomes).contains(MALFORMED, PAGE_MISSING);
  }

  /// Has the list read, and goes away then.
  ///
  /// @return [#RESTORE_FAILED] when nothing was wrong with it
  private Run read() throws Exception {
    Path socket = folder.resolve("lazy-pages.socket");
    Process process =
        new ProcessBuilder(
                programs.resolve("relocate").toString(),
                "drain",
                folder.toString(),
                folder.resolve("pages").toString(),
                folder.resolve("ram").toString(),
                Integer.toString(PAGES * 4096),
                "0",
                "-",
                "none")
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .start();
    try (BufferedReader said = process.inputReader(StandardCharsets.UTF_8)) {
      assertThat(said.readLine()).isEqualTo("ready");
      SocketChannel.open(UnixDomainSocketAddress.of(socket)).close();
      try (OutputStream listed = process.getOutputStream()) {
        listed.write('\n');
      }
      String rest = said.lines().collect(Collectors.joining("\n"));
      assertThat(process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).isTrue();
      return new Run(process.exitValue(), rest);
    } finally {
      process.destroyForcibly();
    }
  }

  /// What comes out of an archive is what went in; one that is cut off, or claims what cannot be,
  /// is refused, and nothing is made outside of the folder.
  @Test
  void archivesThatAreDamagedAreRefused() throws Exception {
    Random random = new Random(20_261_128);
    Path images = Files.createDirectory(folder.resolve("images"));
    Files.write(images.resolve("inventory.img"), "first".getBytes(StandardCharsets.US_ASCII));
    Files.write(images.resolve("files.img"), HexFormat.of().parseHex("1943565438313056"));
    Files.write(images.resolve("empty.img"), new byte[0]);
    byte[] large = new byte[300_001];
    random.nextBytes(large);
    Files.write(images.resolve("large.img"), large);
    Path archive = folder.resolve("all.cpio");
    assertThat(pack(images, archive).said()).isEmpty();
    Path outside = Files.createDirectories(folder.resolve("new"));
    Path fresh = outside.resolve("images");

    assertThat(unpack(archive, fresh)).isEqualTo(new Run(0, "first"));
    assertThat(contents(fresh)).isEqualTo(contents(images));

    byte[] good = Files.readAllBytes(archive);
    Set<Integer> outcomes = new TreeSet<>();
    for (int i = 0; i < MUTANTS; i++) {
      byte[] bad = good.clone();
      switch (i % 3) {
        case 0 -> bad = Arrays.copyOf(bad, random.nextInt(bad.length));
        case 1 -> bad[random.nextInt(HEADER_AND_NAME_BYTES)] ^= (byte) (1 + random.nextInt(255));
        default -> bad[NAME_OFFSET + random.nextInt(9)] = (byte) (i % 2 == 0 ? '/' : '.');
      }
      Files.write(archive, bad);
      outcomes.add(unpack(archive, fresh).code());
      try (Stream<Path> beside = Files.list(outside)) {
        assertThat(beside.toList()).containsExactly(fresh);
      }
    }
    assertThat(outcomes).contains(MALFORMED).allMatch(code -> code <= LAST_OUTCOME);
  }

  /// As CRIU's script does when all is written down.
  private Run pack(Path images, Path archive) throws Exception {
    return run(
        folder,
        List.of(
            "env",
            "CRTOOLS_SCRIPT_ACTION=post-dump",
            "HF_HOOK=post-dump",
            "HF_PACKED=" + archive,
            "CRTOOLS_IMAGE_DIR=" + images,
            programs.resolve("relocate").toString()));
  }

  /// Into a folder that is made anew.
  private Run unpack(Path archive, Path fresh) throws Exception {
    if (Files.exists(fresh)) {
      for (Path image : contents(fresh).keySet()) {
        Files.delete(fresh.resolve(image));
      }
      Files.delete(fresh);
    }
    Files.createDirectory(fresh);
    return run(
        folder,
        List.of(
            programs.resolve("relocate").toString(),
            "unpack",
            archive.toString(),
            fresh.toString()));
  }

  private static Map<Path, String> contents(Path images) throws Exception {
    Map<Path, String> contents = new TreeMap<>();
    try (Stream<Path> files = Files.list(images)) {
      for (Path file : files.toList()) {
        contents.put(file.getFileName(), HexFormat.of().formatHex(Files.readAllBytes(file)));
      }
    }
    return contents;
  }

  /// Not while somebody is being moved; then all of it, and nothing in it changes.
  @Test
  void memoryIsGatheredWhenNobodyIsBeingMoved() throws Exception {
    String[] kernel = System.getProperty("os.version").split("[.-]");
    int version = Integer.parseInt(kernel[0]) * 1000 + Integer.parseInt(kernel[1]);
    require(version >= MADV_COLLAPSE_SINCE, "MADV_COLLAPSE came with Linux 6.1");
    Path busy = Files.createDirectory(folder.resolve("busy"));
    Path moved = Files.createFile(busy.resolve("c1"));
    Process program = new ProcessBuilder(programs.resolve("gather_test").toString()).start();
    Process gather = null;
    try (BufferedReader said = program.inputReader(StandardCharsets.US_ASCII);
        OutputStream input = program.getOutputStream()) {
      assertThat(said.readLine()).isEqualTo("ready");
      Path group = Files.createDirectory(folder.resolve("group"));
      Files.writeString(group.resolve("cgroup.procs"), program.pid() + "\n");
      gather =
          new ProcessBuilder(
                  programs.resolve("relocate").toString(),
                  "gather",
                  group.toString(),
                  busy.toString())
              .inheritIO()
              .start();
      assertThat(gather.waitFor(1, TimeUnit.SECONDS)).isFalse();
      Files.delete(moved);
      assertThat(gather.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).isTrue();
      assertThat(gather.exitValue()).isZero();
      input.write('\n');
      input.flush();
      assertThat(said.readLine()).isEqualTo("8192");
    } finally {
      program.destroyForcibly();
      if (gather != null) {
        gather.destroyForcibly();
      }
    }
  }

  /// What is urgent has the real-time class, and so has what it starts, but for what outlives it.
  @Test
  void urgencyIsInheritedAndGivenBack() throws Exception {
    String relocate = programs.resolve("relocate").toString();
    Run run =
        run(
            folder,
            List.of(
                "sh",
                "-c",
                "cat /proc/self/stat && "
                    + relocate
                    + " urgent $$ && cat /proc/self/stat && "
                    + relocate
                    + " ordinary cat /proc/self/stat"));
    assertThat(run.said().lines().map(stat -> stat.replaceFirst(".*\\) ", "").split(" ")[38]))
        .hasSize(3)
        .endsWith("1", "0");
  }

  /// CRIU would wait for ever for a container that ended while it was restored.
  @Test
  void whatRestoresAContainerThatHasEndedIsKilled() throws Exception {
    Path group = Files.createDirectory(folder.resolve("group"));
    Path processes = Files.createFile(group.resolve("cgroup.procs"));
    Path kill = Files.createFile(group.resolve("cgroup.kill"));
    Process contained =
        new ProcessBuilder("unshare", "--pid", "--fork", "sh", "-c", "echo up; read -r _").start();
    Process within =
        new ProcessBuilder(
                programs.resolve("relocate").toString(),
                "within",
                group.toString(),
                "sh",
                "-c",
                "echo $$; exec sleep 600")
            .redirectErrorStream(true)
            .start();
    try (BufferedReader up = contained.inputReader(StandardCharsets.US_ASCII);
        BufferedReader said = within.inputReader(StandardCharsets.US_ASCII)) {
      ProcessHandle criu = ProcessHandle.of(Long.parseLong(said.readLine())).orElseThrow();
      try {
        assertThat(up.readLine()).isEqualTo("up");
        // CRIU alone is not yet a container that has ended.
        assertThat(within.waitFor(3, TimeUnit.SECONDS)).isFalse();
        long first = contained.children().findFirst().orElseThrow().pid();
        Files.writeString(processes, criu.pid() + "\n" + first + "\n");
        assertThat(within.waitFor(3, TimeUnit.SECONDS)).isFalse();
        assertThat(kill).isEmptyFile();

        Files.writeString(processes, criu.pid() + "\n");
        assertThat(within.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).isTrue();
        assertThat(within.exitValue()).isEqualTo(RESTORE_FAILED);
        assertThat(kill).hasContent("1");
      } finally {
        criu.destroyForcibly();
      }
      assertThat(said.readLine()).isEqualTo("relocate: the container ended while it was restored");
    } finally {
      contained.destroyForcibly();
      within.destroyForcibly();
    }
  }

  @Test
  void wrongWordsAreAnsweredWithTheRightOnes() throws Exception {
    Run run = run(folder, List.of(programs.resolve("relocate").toString(), "drain"));
    assertThat(run.code()).isEqualTo(2);
    assertThat(run.said()).contains("relocate pages CGROUP FILE");
  }
}
