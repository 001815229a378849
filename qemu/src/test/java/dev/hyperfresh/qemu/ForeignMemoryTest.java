package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.backend;
import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static dev.hyperfresh.qemu.ForeignLines.whole;
import static dev.hyperfresh.qemu.ForeignLines.with;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/// Memory that another process can map, and memory that none can.
class ForeignMemoryTest {
  @Test
  void privateMemoryInEveryShapeIsRefused() {
    for (String memory :
        List.of(
            "memory-backend-file,id=ram,size=512M,mem-path=/x",
            "memory-backend-file,id=ram,size=512M,mem-path=/x,share=on,share=off",
            "memory-backend-memfd,id=ram,size=512M,share=off",
            "memory-backend-memfd,id=ram,size=512M,share=n",
            "memory-backend-ram,id=ram,size=512M,share=on",
            "{\"qom-type\":\"memory-backend-file\",\"id\":\"ram\",\"share\":false}")) {
      List<String> line = new ArrayList<>(BASE);
      line.set(BASE.size() - 1, memory);
      ForeignCommandLine read = whole(line, live(Set.of(), 0, List.of()));
      assertThat(String.join("\n", read.reasons())).as(memory).contains("private");
    }
  }

  /// Later instances have it in a file, under the name by which the first one sends it.
  @Test
  void privateMemoryThatMayBeCopiedIsAFileOfTheSameName() {
    String ours = ",size=268435456,mem-path=/proc/self/fd/10,share=on";
    String plain = ",x-use-canonical-path-for-ramblock-id=off";
    Map.of(
            "memory-backend-ram,id=m,size=256M",
            "memory-backend-file,id=m" + ours + plain,
            "memory-backend-ram,id=m,size=256M,share=on,dump=off,prealloc=on",
            "memory-backend-file,id=m" + ours + ",dump=off" + plain,
            "memory-backend-ram,id=m,size=256M,x-use-canonical-path-for-ramblock-id=true",
            "memory-backend-file,id=m" + ours + plain,
            // These have a name of their own kind, which depends on the machine.
            "memory-backend-file,id=m,size=256M,mem-path=/x",
            "memory-backend-file,id=m" + ours,
            "memory-backend-memfd,id=m,size=256M,share=off",
            "memory-backend-file,id=m" + ours,
            "memory-backend-memfd,id=m,size=256M,share=off,hugetlb=on,hugetlbsize=2M",
            "memory-backend-file,id=m" + ours)
        .forEach((memory, words) -> {
          List<String> line = new ArrayList<>(BASE);
          line.set(4, "q35,memory-backend=m");
          line.set(BASE.size() - 1, memory);
          ForeignCommandLine read = copied(line);
          assertThat(read.reasons()).as(memory).isEmpty();
          assertThat(read.needsCopy()).as(memory).isTrue();
          assertThat(read.words()).as(memory).containsSequence("-object", words);
        });
  }

  @Test
  void memoryWithoutABackendHasTheNameThatTheMachineGivesIt() {
    List<String> line = List.of("-nodefaults", "-display", "none", "-machine", "q35", "-m", "512");
    List<String> inAFile = new ArrayList<>(line);
    inAFile.addAll(List.of("-mem-path", "/dev/hugepages", "-mem-prealloc"));

    for (List<String> each : List.of(line, inAFile)) {
      ForeignCommandLine read = copied(each);
      assertThat(read.reasons()).isEmpty();
      assertThat(read.needsCopy()).isTrue();
      assertThat(read.words())
          .containsSequence("-m", "512")
          .containsSequence(
              "-object",
              "memory-backend-file,id=pc.ram,size=536870912,mem-path=/proc/self/fd/10,share=on,"
                  + "x-use-canonical-path-for-ramblock-id=off",
              "-machine",
              "memory-backend=pc.ram")
          .doesNotContain("-mem-path");
    }
    assertThat(whole(line, live(Set.of(), 0, List.of())).reasons())
        .singleElement()
        .asString()
        .endsWith(", or copy it once with `guest adopt --copy`.");
  }

  @Test
  void whatCannotEvenBeCopiedIsRefused() {
    for (List<String> more :
        List.of(
            List.of("-object", "memory-backend-ram,id=r2,size=1G"),
            List.of("-object", "memory-backend-ram,id=ram,size=1G"),
            List.of("-numa", "node,mem=512"))) {
      List<String> line = new ArrayList<>(BASE);
      line.set(BASE.size() - 1, "memory-backend-ram,id=ram,size=512M");
      line.addAll(more);
      assertThat(copied(line).reasons()).as("%s", more).isNotEmpty();
    }
    List<String> lasting = new ArrayList<>(BASE);
    lasting.set(BASE.size() - 1, "memory-backend-file,id=ram,size=512M,mem-path=/x,pmem=on");
    assertThat(copied(lasting).reasons()).singleElement().asString().contains("of this kind");
  }

  /// Those that could be mapped are copied with them; where each began in a file is of the past.
  @Test
  void severalMemoriesAreCopiedTogether() {
    List<String> line =
        List.of(
            "-nodefaults",
            "-display",
            "none",
            "-machine",
            "q35",
            "-m",
            "768",
            "-object",
            "memory-backend-file,id=ram,size=512M,mem-path=/x,share=on",
            "-numa",
            "node,memdev=ram",
            "-object",
            "memory-backend-file,id=m,size=256M,mem-path=/y,offset=2M,align=2M",
            "-numa",
            "node,memdev=m");
    ForeignCommandLine read = copied(line);
    assertThat(read.reasons()).isEmpty();
    assertThat(read.needsCopy()).isTrue();
    assertThat(read.memories()).containsExactly("ram", "m");
    assertThat(joined(read))
        .contains(
            "-object memory-backend-file,id=ram,size=536870912,mem-path=/proc/self/fd/10,share=on ")
        .contains(
            "-object memory-backend-file,id=m,size=268435456,mem-path=/proc/self/fd/500,share=on ");

    List<String> part = new ArrayList<>(line);
    part.set(8, "memory-backend-file,id=ram,size=512M,mem-path=/x,share=on,offset=2M");
    assertThat(copied(part).reasons()).singleElement().asString().contains("a part of a file");
  }

  /// A memfd of such a version can be mapped, but would be sent.
  @Test
  void aMemFdOfALaterQemuIsCopied() {
    ForeignCommandLine read =
        new ForeignCommandLine(
            BASE,
            new ForeignFolders(ForeignLines.FOLDER, ForeignLines.FILES, Map.of()),
            "web1",
            live("10.0.2", Set.of(), 0, List.of()),
            true);

    assertThat(read.reasons()).isEmpty();
    assertThat(read.needsCopy()).isTrue();
  }

  /// As for an adoption that may copy.
  private static ForeignCommandLine copied(List<String> line) {
    return new ForeignCommandLine(
        line,
        new ForeignFolders(ForeignLines.FOLDER, ForeignLines.FILES, Map.of()),
        "web1",
        with(new LiveMemory(512L << 20, Map.of("ram", backend(512), "m", backend(256)))),
        true);
  }

  @Test
  void sharedMemoryIsSharedInEverySpelling() {
    for (String memory :
        List.of(
            "memory-backend-memfd,id=ram,size=512M,share=true",
            "memory-backend-memfd,id=ram,size=512M,share=yes",
            "memory-backend-memfd,id=ram,size=512M,share=y",
            "memory-backend-memfd,id=ram,size=512M,share=on,host-nodes.0=0,policy=bind",
            "memory-backend-file,id=ram,mem-path=/x,share=on,host-nodes=0-1,policy=interleave",
            "{\"qom-type\":\"memory-backend-file\",\"id\":\"ram\",\"mem-path\":\"/x\","
                + "\"share\":true,\"host-nodes\":[1,2,3],\"policy\":\"bind\"}",
            "memory-backend-memfd,id=ram,size=512M",
            "memory-backend-file,id=ram,size=512M,mem-path=/x,share=true")) {
      List<String> line = new ArrayList<>(BASE);
      line.set(BASE.size() - 1, memory);
      assertThat(whole(line, live(Set.of(), 0, List.of())).reasons()).as(memory).isEmpty();
    }
  }

  /// As Proxmox VE writes them, on huge pages.
  @Test
  void eachNodeKeepsItsMemory() {
    List<String> line =
        List.of(
            "-nodefaults",
            "-display",
            "none",
            "-m",
            "768,slots=4,maxmem=4G",
            "-smp",
            "4,sockets=2,cores=2,maxcpus=4",
            "-object",
            "memory-backend-file,id=ram-node0,size=512M,mem-path=/run/hugepages/kvm/2048kB,share=on,"
                + "prealloc=yes",
            "-numa",
            "node,nodeid=0,cpus=0-1,memdev=ram-node0",
            "-object",
            "memory-backend-file,id=ram-node1,size=256M,mem-path=/run/hugepages/kvm/2048kB,share=on,"
                + "prealloc=yes,reserve=off",
            "-numa",
            "node,nodeid=1,cpus=2-3,memdev=ram-node1",
            "-numa",
            "dist,src=0,dst=1,val=20",
            "-machine",
            "type=pc+pve0");
    LiveMemory memory =
        new LiveMemory(
            768L << 20, Map.of("ram-node0", backend(512), "ram-node1", backend(256, 0, 2)));

    ForeignCommandLine read = whole(line, with(memory));

    assertThat(joined(read))
        .contains("-m 768,slots=4,maxmem=4G")
        .contains(
            "-object memory-backend-file,id=ram-node0,size=536870912,mem-path=/proc/self/fd/10,"
                + "share=on -numa node,nodeid=0,cpus=0-1,memdev=ram-node0")
        .contains(
            "-object memory-backend-file,id=ram-node1,size=268435456,mem-path=/proc/self/fd/500,"
                + "share=on,reserve=off,policy=bind,host-nodes=0,host-nodes=2"
                + " -numa node,nodeid=1,cpus=2-3,memdev=ram-node1 -numa dist,src=0,dst=1,val=20");
    assertThat(read.memories()).containsExactly("ram-node0", "ram-node1");
  }

  /// As libvirt writes them, in memfds with huge pages, with caches and latencies of the nodes.
  @Test
  void memFdsOfNodesAreKeptInTheirOrder() {
    List<String> line =
        List.of(
            "-nodefaults",
            "-display",
            "none",
            "-machine",
            "pc-q35-7.2,usb=off,dump-guest-core=off,hmat=on",
            "-m",
            "512",
            "-object",
            "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"ram-node1\",\"hugetlb\":true,"
                + "\"hugetlbsize\":2097152,\"share\":true,\"prealloc\":true,\"size\":268435456,"
                + "\"host-nodes\":[1],\"policy\":\"bind\",\"merge\":false}",
            "-object",
            "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"ram-node0\",\"hugetlb\":true,"
                + "\"hugetlbsize\":2097152,\"share\":true,\"size\":268435456}",
            "-numa",
            "node,nodeid=0,cpus=0-1,initiator=0,memdev=ram-node0",
            "-numa",
            "node,nodeid=1,cpus=2-3,initiator=1,memdev=ram-node1",
            "-numa",
            "hmat-lb,initiator=0,target=1,hierarchy=memory,data-type=access-latency,latency=20",
            "-numa",
            "cpu,node-id=0,socket-id=0");
    LiveMemory memory =
        new LiveMemory(512L << 20, Map.of("ram-node0", backend(256), "ram-node1", backend(256, 1)));

    ForeignCommandLine read = whole(line, with(memory));

    assertThat(joined(read))
        .contains(
            "memory-backend-file,id=ram-node1,size=268435456,mem-path=/proc/self/fd/10,share=on,"
                + "merge=off,policy=bind,host-nodes=1")
        .contains(
            "memory-backend-file,id=ram-node0,size=268435456,mem-path=/proc/self/fd/500,share=on ")
        .contains("-numa hmat-lb,initiator=0,target=1", "-numa cpu,node-id=0,socket-id=0");
    assertThat(read.memories()).containsExactly("ram-node1", "ram-node0");
  }

  @Test
  void whatIsNotTheGuestsMemoryIsRefused() {
    String file = "memory-backend-file,id=%s,size=64M,mem-path=/x/%s,share=on";
    assertThat(read("-object", file.formatted("ram", "y")).reasons())
        .singleElement()
        .asString()
        .contains("another memory has the same name");
    assertThat(String.join(" ", read("-object", file.formatted("late", "y")).reasons()))
        .contains("the running QEMU does not know it")
        .contains("not only, the memory backend that is given");
    List<String> line = new ArrayList<>(List.of("-nodefaults", "-display", "none"));
    line.addAll(List.of("-machine", "pc-q35-7.2", "-m", "576"));
    Map<String, LiveMemory.Backend> backends = new HashMap<>();
    for (int node = 0; node < 9; node++) {
      String id = "ram" + node;
      backends.put(id, backend(64));
      line.addAll(List.of("-object", file.formatted(id, id)));
      line.addAll(List.of("-numa", "node,nodeid=" + node + ",memdev=" + id));
    }
    assertThat(whole(line, with(new LiveMemory(576L << 20, backends))).reasons())
        .singleElement()
        .asString()
        .contains("more than 8 memories");
  }

  @Test
  void aMemFdMovesOnlyBelowQemu81() {
    for (String old : List.of("7.2.22", "8.0.5")) {
      assertThat(read(live(old, Set.of(), 0, List.of())).reasons()).as(old).isEmpty();
    }
    for (String late : List.of("8.1.0", "9.2.4", "10.0.2")) {
      assertThat(read(live(late, Set.of(), 0, List.of())).reasons())
          .as(late)
          .singleElement()
          .asString()
          .contains("8.1");
    }
  }
}
