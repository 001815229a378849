package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.adopt;
import static dev.hyperfresh.testkit.Adopted.takeBack;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hyperplexor.StartReason;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.MemoryLayout;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.Mapping;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.OptionalLong;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Guests whose memory is several files, one for each node, also of huge pages.
@Tag("slow")
@Timeout(600)
class AdoptMemoriesTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  /// What each node has of the guest's files.
  private static final int FILE_KIB = 6 << 10;

  private static final String SUMS = "sha256sum /node0/file /node1/file";

  private static final long HUGE_PAGE = 2 << 20;
  private static final int HUGE_PAGES = 32;
  private static final Path HUGE_PAGES_OF_HOST = Path.of("/proc/sys/vm/nr_hugepages");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  @Test
  void twoNodesOfLinuxMoveThereAndBack() throws Exception {
    try (OwnQemu own = linux()) {
      Workshop.awaitReady(workspace.state(), "own-console.log");
      GuestMemory memory =
          new GuestMemory(List.of(own.memory("/ram1"), own.memory("memory-backend-memfd")));
      try (TestGuest guest = TestGuest.beatingIn(memory, PATIENCE)) {
        // Its only processor is on node 1, whose memory is the first.
        assertThat(guest.part()).isZero();
        String sums = fill(own);
        try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
          GuestView view = adopt(hyperplexor, own);
          assertThat(view.spec().memoryBytes()).isEqualTo(256L << 20);
          assertThat(view.memory()).extracting(MemoryPart::bytes).containsOnly(128L << 20);
          assertThat(view.detail()).contains(workspace.state().resolve("ram1").toString());
          moved(hyperplexor, NEW, guest);
          assertThat(said(console(hyperplexor), SUMS)).isEqualTo(sums);
          hyperplexor.letGo();
        }
        try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
          assertThat(takeBack(hyperplexor)).singleElement().asString().contains("reattached");
          moved(hyperplexor, OLD, guest);
          assertThat(said(console(hyperplexor), SUMS)).isEqualTo(sums);
          assertThat(guest.mismatches()).as("changed memory").isZero();
          hyperplexor.stop("mine", Duration.ZERO);
          hyperplexor.delete("mine");
        }
      }
      assertThat(memory.parts()).extracting(MemFd::sealed).containsExactly(false, true);
    }
  }

  /// Gives each node a file of its own and returns their sums.
  private String fill(OwnQemu own) {
    Path console = workspace.state().resolve("own.con");
    said(
        console,
        "for n in 0 1; do mkdir /node$n; mount -t tmpfs -o mpol=bind:$n t /node$n;"
            + " dd if=/dev/urandom of=/node$n/file bs=1k count="
            + FILE_KIB
            + "; done");
    String shared = said(console, "grep Shmem: /sys/devices/system/node/node*/meminfo");
    assertThat(shared.lines().filter(line -> line.matches(".*Node [01] Shmem: *[0-9]{4,} kB.*")))
        .as(shared)
        .hasSize(2);
    String sums = said(console, SUMS);
    assertThat(sums.lines().filter(line -> line.matches("[0-9a-f]{64} .*")).distinct()).hasSize(2);
    assertThat(own.wasStopped()).isFalse();
    return sums;
  }

  private static String said(Path console, String command) {
    return GuestShell.said(console, command, PATIENCE);
  }

  private static Path console(Hyperplexor hyperplexor) {
    return hyperplexor.show("mine").console().orElseThrow();
  }

  private OwnQemu linux() throws IOException {
    GuestImages images = Workshop.images();
    return OwnQemu.start(
        OLD,
        workspace.state(),
        List.of(),
        "-machine",
        "q35,accel=tcg",
        "-cpu",
        "qemu64",
        "-m",
        "256,slots=2,maxmem=1G",
        "-object",
        "memory-backend-file,id=ram-node1,size=128M,share=on,mem-path="
            + workspace.state().resolve("ram1"),
        "-object",
        "memory-backend-memfd,id=ram-node0,size=128M,share=on,host-nodes=0,policy=preferred",
        "-numa",
        "node,nodeid=0,memdev=ram-node0",
        "-numa",
        "node,nodeid=1,cpus=0,memdev=ram-node1",
        "-numa",
        "dist,src=0,dst=1,val=30",
        "-kernel",
        images.kernel().toString(),
        "-initrd",
        images.initrd().toString(),
        "-append",
        "console=ttyS0 quiet panic=-1 cryptomgr.notests hf.period=2000",
        "-chardev",
        "socket,id=ser0,path=own.con,server=on,wait=off,logfile=own-console.log",
        "-serial",
        "chardev:ser0");
  }

  @Test
  void memoryThatWasPluggedIsRefusedByName() throws Exception {
    try (OwnQemu own =
            OwnQemu.start(
                OLD,
                workspace.state(),
                List.of(),
                "-machine",
                "pc-q35-7.2,accel=tcg,memory-backend=m",
                "-cpu",
                "qemu64",
                "-m",
                "64,slots=1,maxmem=256M",
                "-object",
                "memory-backend-memfd,id=m,size=64M,share=on",
                "-kernel",
                Workshop.images().tick().toString());
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      own.say(
          "object-add", "{\"qom-type\":\"memory-backend-ram\",\"id\":\"late\",\"size\":134217728}");
      own.say("device_add", "{\"driver\":\"pc-dimm\",\"id\":\"dimm0\",\"memdev\":\"late\"}");

      assertThatThrownBy(() -> adopt(hyperplexor, own))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_REFUSED))
          .hasMessageContaining("memory device dimm0 (dimm) cannot be moved yet; unplug it");
      own.assertRunning();
    }
  }

  /// Takes the number of free huge pages that a test leaves alone.
  private interface OnHugePages {
    void run(long free) throws Exception;
  }

  /// The pages are set aside for one test alone, and given back.
  private static void onHugePages(OnHugePages test) throws Exception {
    String before = Files.readString(HUGE_PAGES_OF_HOST).strip();
    try {
      setAside(Integer.parseInt(before) + HUGE_PAGES);
      long free = Host.freeHugePages(HUGE_PAGE) - HUGE_PAGES;
      require(free >= 0, "no huge pages can be set aside here");
      test.run(free);
    } finally {
      setAside(Integer.parseInt(before));
    }
  }

  @Test
  void hugePagesAreMappedAndNotAllocatedTwice() throws Exception {
    onHugePages(this::adoptedOnHugePages);
  }

  private void adoptedOnHugePages(long free) throws Exception {
    Path mount = Files.createDirectory(workspace.state().resolve("huge"));
    try {
      require(
          ran("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", mount.toString()),
          "no file system of huge pages can be mounted here");
      try (OwnQemu own = tick(mount);
          TestGuest guest = TestGuest.beatingIn(memories(own), PATIENCE);
          Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        assertThat(guest.part()).isEqualTo(1);
        assertFree(free);
        assertThat(adopt(hyperplexor, own).detail()).contains("not sealed");
        for (QemuRelease to : List.of(NEW, OLD)) {
          moved(hyperplexor, to, guest);
          assertFree(free);
        }
        hyperplexor.stop("mine", Duration.ZERO);
      }
      startedAgain(free);
    } finally {
      var _ = ran("umount", "-l", mount.toString());
      Files.deleteIfExists(mount);
    }
  }

  @Test
  void aSpecHasNodesOnHugePages() throws Exception {
    onHugePages(this::ofSpecOnHugePages);
  }

  private void ofSpecOnHugePages(long free) {
    MemoryLayout layout =
        new MemoryLayout(
            OptionalLong.of(HUGE_PAGE),
            List.of(
                new MemoryLayout.Node(16L << 20, List.of(), List.of()),
                new MemoryLayout.Node(48L << 20, List.of(0), List.of(0))));
    // Its page is at 2 MiB, in the memory of node 0.
    GuestSpec spec = Workshop.tick("mine", 64, AcceleratorWish.TCG).madeOf(layout);
    TestGuest guest;
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      guest = TestGuest.beatingIn(hyperplexor.create(spec, OLD, Progress.NONE).pid(), PATIENCE);
      moved(hyperplexor, NEW, guest);
      assertFree(free);
      hyperplexor.letGo();
    }
    try (guest;
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      assertThat(takeBack(hyperplexor)).singleElement().asString().contains("reattached");
      moved(hyperplexor, OLD, guest);
      assertFree(free);
      hyperplexor.delete("mine");
    }
    assertFree(free + HUGE_PAGES);
  }

  /// Its new memory has huge pages, too, or it does not start.
  private void startedAgain(long free) throws Exception {
    try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      takeBack(hyperplexor);
      try (MemFd taken = MemFd.createHuge("taken", HUGE_PAGE, HUGE_PAGE);
          Mapping mapping = taken.map(true)) {
        mapping.segment().set(ValueLayout.JAVA_LONG, 0, 1);
        assertFree(free + HUGE_PAGES - 1);
        assertThatThrownBy(() -> start(hyperplexor))
            .isInstanceOfSatisfying(
                HyperFreshException.class,
                e -> assertThat(e.problem()).isEqualTo(Problem.SPEC_MEMORY))
            .hasMessageContaining("32 huge pages of 2048 KiB");
      }
      GuestView view = start(hyperplexor);
      assertThat(view.state()).isEqualTo(GuestView.State.RUNNING);
      assertFree(free);
      hyperplexor.stop("mine", Duration.ZERO);
      hyperplexor.delete("mine");
    }
    assertFree(free + HUGE_PAGES);
  }

  private static GuestView start(Hyperplexor hyperplexor) {
    return hyperplexor.start("mine", OLD, StartReason.REQUEST, Progress.NONE);
  }

  private static GuestMemory memories(OwnQemu own) {
    return new GuestMemory(
        List.of(own.memory("qemu_back_mem"), own.memory("memory-backend-memfd")));
  }

  /// Its page is at 2 MiB, which is in the memory of node 0.
  private OwnQemu tick(Path mount) throws IOException {
    return OwnQemu.start(
        OLD,
        workspace.state(),
        List.of(),
        "-machine",
        "pc-q35-7.2,accel=tcg",
        "-cpu",
        "qemu64",
        "-m",
        "64",
        "-object",
        "memory-backend-file,id=m1,size=32M,share=on,mem-path=" + mount,
        "-object",
        "memory-backend-memfd,id=m0,size=32M,share=on,hugetlb=on,hugetlbsize=2M",
        "-numa",
        "node,nodeid=0,cpus=0,memdev=m0",
        "-numa",
        "node,nodeid=1,memdev=m1",
        "-kernel",
        Workshop.images().tick().toString());
  }

  /// The pages of a process that has ended are free a moment later.
  private static void assertFree(long pages) {
    Await.holdsWithin(PATIENCE, () -> Host.freeHugePages(HUGE_PAGE) == pages);
    assertThat(Host.freeHugePages(HUGE_PAGE)).as("free huge pages").isEqualTo(pages);
  }

  private static void setAside(int pages) {
    try {
      Files.writeString(HUGE_PAGES_OF_HOST, Integer.toString(pages));
    } catch (IOException e) {
      System.out.println("  " + HUGE_PAGES_OF_HOST + ": " + e.getMessage());
    }
  }

  private static boolean ran(String... command) throws Exception {
    return new ProcessBuilder(command).inheritIO().start().waitFor() == 0;
  }

  private static void require(boolean possible, String otherwise) {
    if (!possible) {
      System.out.println("skipped: " + otherwise);
      Assumptions.abort(otherwise);
    }
  }

  private static void moved(Hyperplexor hyperplexor, QemuRelease to, TestGuest guest) {
    long before = guest.counter();
    ReplacementRecord record = hyperplexor.replace("mine", to, BLACKOUT, Progress.NONE);
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.ramBytesCopied()).hasValue(0);
    assertThat(guest.counter()).isGreaterThanOrEqualTo(before);
    guest.awaitBeat(PATIENCE);
    // The hyperplexor finds the heartbeat, too, when the guest gets a core while it looks.
    Workshop.await("its heartbeat", PATIENCE, () -> hyperplexor.hasHeartbeat("mine"));
  }
}
