package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// What guests on a [Stage] are.
final class StagedSpec {
  private StagedSpec() {}

  /// One with a kernel that is in `folder`.
  static GuestSpec of(Path folder, String name, long memoryBytes) {
    Path kernel = folder.resolve("kernel");
    try {
      Files.write(kernel, new byte[] {1});
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return new GuestSpec(
        name,
        1,
        memoryBytes,
        "pc-q35-7.2",
        "qemu64",
        AcceleratorWish.TCG,
        Optional.of(new GuestSpec.KernelBoot(kernel, Optional.empty(), "")),
        List.of(),
        List.of());
  }
}
