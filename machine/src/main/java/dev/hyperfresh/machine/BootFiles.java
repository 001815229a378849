package dev.hyperfresh.machine;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.vm.VirtualMachine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/// Copies of a guest's kernel and initrd in the machine's memory, for as long as its QEMU takes to
/// start. For one thread at a time.
final class BootFiles {
  private static final System.Logger LOG = System.getLogger(BootFiles.class.getName());
  private static final Duration COPY_LIMIT = Duration.ofSeconds(60);
  private static final int CHUNK_BYTES = 256 << 10;

  /// A kernel and an initrd.
  private static final int MOST = 2;

  private final Fittings fittings;
  private final List<String> copies = new ArrayList<>();

  BootFiles(Fittings fittings) {
    this.fittings = fittings;
  }

  private String channel(int index) {
    return fittings.id() + ".boot" + index;
  }

  private static String copy(String channel) {
    return VirtualMachine.RUN_FOLDER + "/" + channel;
  }

  /// @param files at most a kernel and an initrd
  /// @return their paths inside
  List<String> send(List<Fd> files) {
    for (Fd file : files) {
      String channel = channel(copies.size());
      send(file, channel, copy(channel));
      copies.add(copy(channel));
    }
    return copies;
  }

  private void send(Fd file, String channel, String copy) {
    VirtualMachine vm = fittings.vm();
    try (UnixSocket near = vm.channels().addSocket(channel)) {
      String port = vm.channels().addPort(channel);
      try {
        long bytes = Files.size(Path.of("/proc/self/fd", Integer.toString(file.number())));
        Thread pump =
            Thread.ofPlatform()
                .daemon()
                .name("hf-boot-" + fittings.id())
                .start(() -> pump(file, near));
        var _ = vm.programs().copy(port, bytes, copy, COPY_LIMIT);
        pump.join();
      } catch (IOException e) {
        throw new TroubleException(file.label() + ": " + e.getMessage(), e);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      } finally {
        vm.contained(() -> vm.channels().removePort(channel));
        vm.contained(() -> vm.channels().remove(channel));
      }
    }
  }

  private void pump(Fd from, UnixSocket to) {
    byte[] chunk = new byte[CHUNK_BYTES];
    try {
      for (int got = from.read(chunk, 0, chunk.length);
          got > 0;
          got = from.read(chunk, 0, chunk.length)) {
        to.send(got == chunk.length ? chunk : Arrays.copyOf(chunk, got));
      }
    } catch (LinuxException e) {
      // The machine says what it lacks.
      LOG.log(System.Logger.Level.DEBUG, "boot files of " + fittings.id(), e);
    }
  }

  /// What an earlier daemon may have left that was sending them.
  void found() {
    for (int i = 0; i < MOST; i++) {
      String channel = channel(i);
      fittings.undoneBy(() -> remove(copy(channel)));
      fittings.foundChannel(channel);
    }
  }

  private void remove(String copy) {
    fittings.vm().programs().remove(copy, COPY_LIMIT);
  }

  /// The guest's QEMU has started, and needs them no longer.
  void remove() {
    copies.forEach(copy -> fittings.vm().contained(() -> remove(copy)));
  }
}
