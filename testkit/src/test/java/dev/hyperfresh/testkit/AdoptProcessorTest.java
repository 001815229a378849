package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.adopt;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Check.Verdict;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// The processor of an adopted guest is the same on every release, as the guest itself sees it: it
/// executes CPUID again and again.
@Tag("slow")
@Timeout(600)
class AdoptProcessorTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final int MEBIBYTES = 32;
  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  /// A boot sector. For each of the leaves behind it, it writes EAX, EBX, ECX and EDX of CPUID to
  /// 0x8000 and on; then it adds one to 0x7ff0 and begins anew.
  private static final String CODE =
      "31c08ed88ec0fc"
          + "be347cbf0080"
          + "66ad6683f8ff7418"
          + "6631c90fa266ab6689d866ab6689c866ab6689d066abebe0"
          + "66ff06f07febd3";

  private static final int[] LEAVES = {
    0,
    1,
    2,
    4,
    5,
    6,
    7,
    0xa,
    0xb,
    0xd,
    0x14,
    0x15,
    0x16,
    0x19,
    0x1f,
    0x40000000,
    0x40000001,
    0x40000010,
    0x80000000,
    0x80000001,
    0x80000002,
    0x80000003,
    0x80000004,
    0x80000005,
    0x80000006,
    0x80000007,
    0x80000008,
    0x8000000a,
    0x80000019,
    0x8000001d,
    0x8000001f,
    0x80000021
  };

  private static final int ROUNDS = 0x7ff0;
  private static final int RESULTS = 0x8000;

  /// That newer releases lack, in EBX of leaf 7.
  private static final int PCOMMIT = 1 << 22;

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  @ParameterizedTest
  @ValueSource(strings = {"max", "EPYC,+svm"})
  void theGuestSeesTheSameProcessorOnEveryRelease(String cpu) throws Exception {
    try (OwnQemu own = start(OLD, cpu);
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      awaitRounds(0);
      Map<String, String> before = seen();
      adopt(hyperplexor, own);
      for (QemuRelease to : new QemuRelease[] {NEW, OLD}) {
        ReplacementRecord record = hyperplexor.replace("mine", to, BLACKOUT, Progress.NONE);
        assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
        awaitRounds(rounds());
        assertThat(seen()).as(to.name()).containsExactlyEntriesOf(before);
      }
      hyperplexor.delete("mine");
    }
  }

  @Test
  void whatATargetDoesNotOfferIsToldByNameBeforeTheGuestStops() throws Exception {
    try (OwnQemu own = start(NEW, "max");
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      adopt(hyperplexor, own);
      Check rehearsal =
          hyperplexor.plan("mine", OLD, true, false, Progress.NONE).stream()
              .filter(check -> check.name().equals("rehearsal"))
              .findFirst()
              .orElseThrow();
      assertThat(rehearsal.verdict()).isEqualTo(Verdict.FAIL);
      assertThat(rehearsal.finding())
          .isEqualTo(OLD.name() + " does not offer what the guest's processor has: cmpccxadd.");
      own.assertRunning();
      assertThat(own.wasStopped()).isFalse();
      hyperplexor.delete("mine");
    }
  }

  private OwnQemu start(QemuRelease release, String cpu) throws IOException {
    Files.write(workspace.state().resolve("boot.img"), image());
    return OwnQemu.start(
        release,
        workspace.state(),
        List.of(),
        "-machine",
        "pc-q35-7.2,accel=tcg,memory-backend=m",
        "-cpu",
        cpu,
        "-m",
        Integer.toString(MEBIBYTES),
        "-object",
        "memory-backend-file,id=m,size=" + MEBIBYTES + "M,share=on,mem-path=" + memory(),
        "-drive",
        "file=boot.img,if=ide,format=raw");
  }

  private static byte[] image() {
    ByteBuffer image = ByteBuffer.allocate(1 << 20).order(ByteOrder.LITTLE_ENDIAN);
    image.put(HexFormat.of().parseHex(CODE));
    for (int leaf : LEAVES) {
      image.putInt(leaf);
    }
    image.putInt(-1);
    image.put(510, (byte) 0x55).put(511, (byte) 0xaa);
    return image.array();
  }

  private Path memory() {
    return workspace.state().resolve("ram");
  }

  private ByteBuffer read(int at, int length) {
    byte[] bytes = new byte[length];
    try (RandomAccessFile file = new RandomAccessFile(memory().toFile(), "r")) {
      file.seek(at);
      file.readFully(bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private int rounds() {
    return read(ROUNDS, 4).getInt();
  }

  /// The second round from now has written everything anew.
  private void awaitRounds(int since) {
    Workshop.await("rounds of CPUID", PATIENCE, () -> rounds() > since + 1);
  }

  private Map<String, String> seen() {
    Map<String, String> seen = new TreeMap<>();
    ByteBuffer results = read(RESULTS, LEAVES.length * 16);
    for (int leaf : LEAVES) {
      int eax = results.getInt();
      int ebx = leaf == 7 ? results.getInt() & ~PCOMMIT : results.getInt();
      seen.put(
          "%08x".formatted(leaf),
          "%08x %08x %08x %08x".formatted(eax, ebx, results.getInt(), results.getInt()));
    }
    assertThat(seen.get("00000000")).as("a vendor").isNotEqualTo("00000000 ".repeat(4).strip());
    return seen;
  }
}
