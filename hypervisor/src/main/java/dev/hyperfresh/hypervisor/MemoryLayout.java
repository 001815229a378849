package dev.hyperfresh.hypervisor;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalLong;
import java.util.stream.IntStream;

/// Of what a guest's memory is made and how the guest sees it, beside how much it is.
///
/// @param hugePageBytes the size of its pages, if they are huge ones that the host has set aside
/// @param nodes the guest's, in the order in which it counts them; with none it knows of no nodes
public record MemoryLayout(OptionalLong hugePageBytes, List<Node> nodes) {
  /// One memory of ordinary pages.
  public static final MemoryLayout PLAIN = new MemoryLayout(OptionalLong.empty(), List.of());

  /// As many memories as go from one daemon to the next in one message, beside the ports' queues.
  private static final int MOST_NODES = 8;

  private static final int MOST_HOST_NODES = 1024;
  private static final long MIB = 1 << 20;

  /// A node of a guest: processors and the memory that is near to them.
  ///
  /// @param vcpus which are on it, counted from 0
  /// @param hostNodes the nodes of the host that its memory may be on; with none it may be on any
  public record Node(long memoryBytes, List<Integer> vcpus, List<Integer> hostNodes) {
    public Node {
      vcpus = List.copyOf(vcpus);
      hostNodes = List.copyOf(hostNodes);
    }
  }

  public MemoryLayout {
    nodes = List.copyOf(nodes);
  }

  /// The files that a memory of `bytes` is made of.
  public List<MemoryPart> parts(long bytes) {
    return nodes.isEmpty()
        ? List.of(new MemoryPart(bytes, hugePageBytes))
        : nodes.stream().map(node -> new MemoryPart(node.memoryBytes(), hugePageBytes)).toList();
  }

  /// Every fault, as [GuestSpec#faults].
  List<String> faults(long bytes, int vcpus) {
    List<String> faults = new ArrayList<>();
    hugePageBytes.ifPresent(page -> {
      if (Long.bitCount(page) != 1 || page < 2 * MIB) {
        faults.add("huge-pages: " + (page >> 20) + " MiB is not a size of pages, such as 2M or 1G");
      } else if (parts(bytes).stream().anyMatch(part -> part.bytes() % page != 0)) {
        faults.add("huge-pages: a memory has a part of a page of " + (page >> 20) + " MiB");
      }
    });
    if (!nodes.isEmpty()) {
      nodeFaults(faults, bytes, vcpus);
    }
    return faults;
  }

  private void nodeFaults(List<String> faults, long bytes, int vcpus) {
    if (nodes.size() > MOST_NODES) {
      faults.add("numa: " + nodes.size() + " nodes are more than " + MOST_NODES);
    }
    if (nodes.stream().anyMatch(node -> node.memoryBytes() < MIB)) {
      faults.add("numa: every node needs memory of at least 1 MiB");
    }
    long sum = nodes.stream().mapToLong(Node::memoryBytes).sum();
    if (sum != bytes) {
      faults.add("numa: its nodes have " + (sum >> 20) + " MiB, not " + (bytes >> 20) + " MiB");
    }
    List<Integer> placed =
        nodes.stream()
            .flatMap(node -> node.vcpus().stream())
            .sorted(Comparator.naturalOrder())
            .toList();
    if (placed.size() != vcpus
        || !placed.equals(IntStream.range(0, placed.size()).boxed().toList())) {
      faults.add("numa: each vcpu, from 0 to " + (vcpus - 1) + ", must be on one node");
    }
    if (nodes.stream()
        .flatMap(node -> node.hostNodes().stream())
        .anyMatch(node -> node < 0 || node >= MOST_HOST_NODES)) {
      faults.add("numa: host-nodes are numbers from 0 to " + (MOST_HOST_NODES - 1));
    }
  }
}
