package dev.hyperfresh.linux;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/// Finds out whether KVM can run a guest here at speed, by running one: a loop in ring 0 and the
/// same loop in ring 3 of a throw-away virtual machine.
///
/// A device that opens proves little: a paravirtual KVM runs user code natively but emulates every
/// instruction of a kernel, and an operating system does not finish booting on it.
public final class KvmProbe {
  private static final int ATTEMPTS = 3;
  private static final double LEAST_RING0_MILLION = 50;
  private static final double LEAST_SHARE_OF_RING3 = 0.1;
  private static final Duration LIMIT = Duration.ofMillis(250);
  private static final Duration LAST_CHANCE = Duration.ofMillis(200);
  private static final List<Path> NESTED =
      List.of(
          Path.of("/sys/module/kvm_intel/parameters/nested"),
          Path.of("/sys/module/kvm_amd/parameters/nested"));

  private KvmProbe() {}

  /// What the probe found.
  public enum Verdict {
    /// Guests run at speed.
    USABLE,
    /// KVM works, but runs guest kernels far too slowly.
    SLOW_RING0,
    /// There is no KVM device.
    ABSENT,
    /// The device is there and this user may not open it.
    DENIED,
    /// The device opens and a virtual machine does not run on it.
    BROKEN
  }

  /// The verdict with what it is based on.
  ///
  /// @param ring0MillionPerSecond million instructions a second in guest ring 0; 0 when not
  ///   measured
  /// @param ring3MillionPerSecond million instructions a second in guest ring 3; 0 when not
  ///   measured
  /// @param nested whether the kernel's KVM module offers virtualization to its guests
  /// @param reason one sentence for users
  public record Result(
      Verdict verdict,
      double ring0MillionPerSecond,
      double ring3MillionPerSecond,
      boolean nested,
      String reason) {}

  /// Probes a KVM device. Takes about 0.1 s, and at most two seconds even when the virtual machine
  /// never comes back. May be called by any thread.
  ///
  /// @param device usually `/dev/kvm`
  public static Result probe(Path device) {
    try (Fd kvm = Fd.open(device, OpenFlags.READ_WRITE)) {
      Result result = probe(new KvmTrial(kvm, KvmTrial.COUNT_DOWN));
      // A host with no core to spare can make a good KVM late; a broken one fails every time.
      for (int again = 1; again < ATTEMPTS && result.verdict() == Verdict.BROKEN; again++) {
        result = probe(new KvmTrial(kvm, KvmTrial.COUNT_DOWN));
      }
      return result;
    } catch (LinuxException refused) {
      return notOpened(device, refused);
    }
  }

  /// Runs one trial and judges it.
  static Result probe(KvmTrial trial) {
    try {
      return judge(measure(trial));
    } catch (LinuxException | KvmTrial.Stuck broken) {
      return result(Verdict.BROKEN, "KVM does not run a virtual machine: " + broken.getMessage());
    }
  }

  /// Million instructions a second.
  record Speeds(double ring0, double ring3) {}

  /// The verdict on a machine with these speeds.
  static Result judge(Speeds speeds) {
    boolean fast =
        speeds.ring0 >= LEAST_RING0_MILLION && speeds.ring0 >= speeds.ring3 * LEAST_SHARE_OF_RING3;
    String measured =
        String.format(
            Locale.ROOT,
            "ring 0 runs %.1f million instructions a second, ring 3 %.0f million",
            speeds.ring0,
            speeds.ring3);
    return new Result(
        fast ? Verdict.USABLE : Verdict.SLOW_RING0,
        speeds.ring0,
        speeds.ring3,
        nested(),
        (fast ? "KVM is usable: " : "KVM opens here but is too slow for an operating system: ")
            + measured
            + ".");
  }

  private static Result notOpened(Path device, LinuxException refused) {
    return switch (refused.errno()) {
      case Constants.ENOENT, Constants.ENODEV, Constants.ENXIO ->
          result(Verdict.ABSENT, "There is no KVM on this host: " + device + " is not there.");
      case Constants.EACCES, Constants.EPERM ->
          result(
              Verdict.DENIED,
              "This user may not open "
                  + device
                  + "; join the group that owns it, which is usually kvm.");
      default -> result(Verdict.BROKEN, "KVM does not open: " + refused.getMessage());
    };
  }

  private static Result result(Verdict verdict, String reason) {
    return new Result(verdict, 0, 0, nested(), reason);
  }

  // The trial has its own thread because only a signal to that thread ends a loop that never exits.
  private static Speeds measure(KvmTrial trial) {
    FutureTask<Speeds> task = new FutureTask<>(trial::run);
    Thread.ofPlatform().name("hf-kvm-probe").daemon(true).start(task);
    try {
      return await(trial, task);
    } catch (ExecutionException failed) {
      throw Symbol.unexpected(failed.getCause());
    } catch (InterruptedException interrupted) {
      trial.stop();
      Thread.currentThread().interrupt();
      throw new KvmTrial.Stuck("the probe was interrupted");
    }
  }

  private static Speeds await(KvmTrial trial, FutureTask<Speeds> task)
      throws ExecutionException, InterruptedException {
    trial.awaitLoop();
    try {
      return task.get(LIMIT.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException late) {
      trial.stop();
    }
    try {
      return task.get(LAST_CHANCE.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException tooLate) {
      throw new KvmTrial.Stuck("a loop did not end and could not be interrupted");
    }
  }

  private static boolean nested() {
    return NESTED.stream().anyMatch(KvmProbe::saysYes);
  }

  private static boolean saysYes(Path parameter) {
    try {
      String value = Files.readString(parameter).strip();
      return value.equals("Y") || value.equals("1");
    } catch (IOException notLoaded) {
      return false;
    }
  }
}
