package dev.hyperfresh.relocation;

import dev.hyperfresh.relocation.ContainerConfig.Seccomp;
import dev.hyperfresh.relocation.ContainerConfig.Syscall;
import dev.hyperfresh.relocation.ContainerConfig.SyscallArgument;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/// What of a bundle's `linux.seccomp` is taken: a filter of system calls that decides by itself.
/// Stateless.
final class SeccompReader {
  private static final int MOST_ARCHITECTURES = 128;
  private static final int MOST_RULES = 1024;
  private static final int MOST_ERRNO = 4095;

  private static final Pattern CALL = Pattern.compile("[a-z0-9_]{1,64}");

  private static final Set<String> ACTIONS =
      Set.of(
          "SCMP_ACT_ALLOW",
          "SCMP_ACT_ERRNO",
          "SCMP_ACT_KILL",
          "SCMP_ACT_KILL_PROCESS",
          "SCMP_ACT_KILL_THREAD",
          "SCMP_ACT_LOG",
          "SCMP_ACT_TRAP");

  private static final Set<String> OPERATORS =
      Set.of(
          "SCMP_CMP_EQ",
          "SCMP_CMP_GE",
          "SCMP_CMP_GT",
          "SCMP_CMP_LE",
          "SCMP_CMP_LT",
          "SCMP_CMP_MASKED_EQ",
          "SCMP_CMP_NE");

  private static final Set<String> ARCHITECTURES =
      Set.of("SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32");

  private SeccompReader() {}

  /// CRIU takes a filter along as the kernel has it; nobody who is asked about calls can come
  /// along.
  static Optional<Seccomp> read(ConfigFields seccomp) {
    if (!seccomp.isThere()) {
      return Optional.empty();
    }
    seccomp.refuse(
        List.of("listenerPath", "listenerMetadata"), "the listener there would not move with it.");
    seccomp.refuse("flags", "runc in an OS supports none.");
    Seccomp read =
        new Seccomp(
            seccomp.text("defaultAction", ACTIONS::contains, "action that can move").orElse(""),
            seccomp.small("defaultErrnoRet", 0, MOST_ERRNO),
            seccomp.texts(
                "architectures", MOST_ARCHITECTURES, ARCHITECTURES::contains, "OS architecture"),
            calls(seccomp));
    if (read.defaultAction().isEmpty()) {
      seccomp.fault("defaultAction", "there is none.");
    }
    seccomp.end();
    return Optional.of(read);
  }

  private static List<Syscall> calls(ConfigFields seccomp) {
    List<Syscall> calls = new ArrayList<>();
    for (ConfigFields call : seccomp.parts("syscalls", MOST_RULES)) {
      calls.add(
          new Syscall(
              call.texts("names", MOST_RULES, CALL.asMatchPredicate(), "system call"),
              call.text("action", ACTIONS::contains, "action that can move").orElse(""),
              call.small("errnoRet", 0, MOST_ERRNO),
              arguments(call)));
      if (calls.getLast().names().isEmpty() || calls.getLast().action().isEmpty()) {
        call.fault("names", "a rule needs system calls and an action.");
      }
      call.end();
    }
    return calls;
  }

  private static List<SyscallArgument> arguments(ConfigFields call) {
    List<SyscallArgument> arguments = new ArrayList<>();
    for (ConfigFields argument : call.parts("args", 6)) {
      arguments.add(
          new SyscallArgument(
              argument.small("index", 0, 5).orElse(0),
              argument.unsigned("value"),
              argument.unsigned("valueTwo"),
              argument.text("op", OPERATORS::contains, "comparison").orElse("")));
      if (arguments.getLast().op().isEmpty()) {
        argument.fault("op", "there is none.");
      }
      argument.end();
    }
    return arguments;
  }
}
