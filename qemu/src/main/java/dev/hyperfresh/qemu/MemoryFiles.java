package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.PidFd;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/// The files that the memories of a foreign process are, found where it maps them.
///
/// @param files in the order in which later instances get them
/// @param ends where in each file its memory ends; 0 where it is the whole file
record MemoryFiles(List<ForeignProcess.Descriptor> files, List<Long> ends) {
  /// Looks for them.
  ///
  /// @param ids of the memories
  /// @param live what the process says of them; one that it does not know is left out
  /// @param reasons told of each that is no file which another process can map
  static MemoryFiles find(
      ForeignProcess process, List<String> ids, LiveMemory live, Consumer<String> reasons)
      throws IOException {
    List<ForeignProcess.Descriptor> files = new ArrayList<>();
    List<Long> ends = new ArrayList<>();
    for (String id : ids) {
      LiveMemory.Backend backend = live.backends().get(id);
      if (backend != null) {
        Optional<ForeignProcess.Descriptor> file =
            backend.address().isPresent()
                ? process.sharedMemory(backend.address().getAsLong(), backend.bytes())
                : Optional.empty();
        if (file.isPresent()) {
          long place = process.placeInFile(backend.address().orElseThrow());
          files.add(file.get());
          ends.add(place == 0 ? 0 : place + backend.bytes());
        } else {
          reasons.accept(
              "Its memory "
                  + id
                  + " is no file that it maps shared, or which one cannot be told, so no other"
                  + " process can map it.");
        }
      }
    }
    return new MemoryFiles(List.copyOf(files), List.copyOf(ends));
  }

  /// What their owner should know.
  Optional<String> remark() {
    List<String> named =
        files.stream().map(ForeignProcess.Descriptor::target).filter(MemoryFiles::isNamed).toList();
    return named.isEmpty()
        ? Optional.empty()
        : Optional.of(
            "Its memory is "
                + (named.size() == 1 ? "the file " : "the files ")
                + String.join(" and ", named)
                + ", which anyone with permission could truncate.");
  }

  /// Whether a file can be opened by its name.
  private static boolean isNamed(String file) {
    return !file.startsWith("/memfd:") && !file.endsWith(" (deleted)");
  }

  /// Takes them.
  ///
  /// @param taken gets each descriptor, also when the next one cannot be taken
  GuestMemory take(PidFd process, Consumer<Fd> taken) {
    List<Fd> descriptors = new ArrayList<>();
    for (ForeignProcess.Descriptor file : files) {
      Fd descriptor = process.takeFd(file.number());
      taken.accept(descriptor);
      descriptors.add(descriptor);
    }
    return GuestMemory.adoptForeign(descriptors);
  }

  /// Where the next daemon finds them. What lies behind a part of a file is not the guest's, and a
  /// later start does without it.
  ///
  /// @param shape of what was taken
  List<AdoptedMachine.Memory> numbered(List<MemoryPart> shape) {
    return IntStream.range(0, shape.size())
        .mapToObj(
            i -> new AdoptedMachine.Memory(files.get(i).number(), until(ends.get(i), shape.get(i))))
        .toList();
  }

  private static MemoryPart until(long end, MemoryPart file) {
    long page = file.hugePageBytes().orElse(1);
    long bytes = Math.ceilDiv(end, page) * page;
    return end == 0 || bytes > file.bytes() ? file : new MemoryPart(bytes, file.hugePageBytes());
  }
}
