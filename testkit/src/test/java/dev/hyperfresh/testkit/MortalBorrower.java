package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.AdoptOrder;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.qemu.QemuRelease;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/// Borrows a guest, with a copy of its memory to QEMU 10.0, and kills itself in the middle of that,
/// as [MortalDaemon] does.
///
/// Arguments: the state directory, the guest's process and its control socket, and the two words of
/// [MortalDaemon].
final class MortalBorrower {
  private MortalBorrower() {}

  public static void main(String[] arguments) {
    QemuRelease to = Workshop.release("qemu-10.0");
    MemoryCopy limits = new MemoryCopy(Duration.ofSeconds(60), Duration.ofSeconds(2));
    Hyperplexor hyperplexor =
        new Hyperplexor(
            Path.of(arguments[0]),
            new Kinds(MortalDaemon.mortal(new Qemu(), arguments[3], arguments[4])),
            Workshop.KVM,
            _ -> {});
    var _ =
        hyperplexor.adopt(
            new AdoptOrder(
                "mine",
                Integer.parseInt(arguments[1]),
                Path.of(arguments[2]),
                Optional.empty(),
                Workshop.RELEASES::ofProcess,
                Optional.of(new AdoptOrder.Copy(_ -> to, limits, _ -> {})),
                true),
            Progress.NONE);
  }

  /// The command that starts one.
  static List<String> command(Path state, int pid, Path control, String when, String call) {
    List<String> line = CommandRun.command();
    line.set(line.size() - 1, MortalBorrower.class.getName());
    line.addAll(List.of(state.toString(), Integer.toString(pid), control.toString(), when, call));
    return line;
  }
}
