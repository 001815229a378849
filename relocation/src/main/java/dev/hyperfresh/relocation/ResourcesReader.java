package dev.hyperfresh.relocation;

import dev.hyperfresh.relocation.ContainerConfig.Cpu;
import dev.hyperfresh.relocation.ContainerConfig.DeviceRule;
import dev.hyperfresh.relocation.ContainerConfig.Memory;
import dev.hyperfresh.relocation.ContainerConfig.Pids;
import dev.hyperfresh.relocation.ContainerConfig.Resources;
import java.util.List;
import java.util.OptionalLong;
import java.util.Set;
import java.util.regex.Pattern;

/// What of a bundle's `linux.resources` is taken: limits that the kernel of every OS knows, and no
/// devices but those that every container has. Stateless.
final class ResourcesReader {
  private static final int MOST_RULES = 1024;
  private static final long MOST_PIDS = 1 << 22;

  /// The kernel's bounds of a weight, and of a period in µs.
  private static final long LEAST_SHARES = 2;

  private static final long MOST_SHARES = 262_144;

  private static final long LEAST_PERIOD = 1000;
  private static final long MOST_PERIOD = 1_000_000;

  private static final Pattern CPUS =
      Pattern.compile("[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*");

  /// runc lets them into every container: `null`, `zero`, `full`, `random`, `urandom`, `tty`,
  /// `ptmx` and pseudo-terminals.
  private static final Set<String> USUAL_DEVICES =
      Set.of("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2");

  private static final String TERMINALS = "136";

  private ResourcesReader() {}

  static Resources read(ConfigFields resources) {
    for (ConfigFields rule : resources.parts("devices", MOST_RULES)) {
      device(rule);
    }
    resources.refuse(
        List.of("blockIO", "hugepageLimits", "network", "rdma", "unified"), ConfigReader.ELSEWHERE);
    Resources read =
        new Resources(
            List.of(DeviceRule.NONE),
            memory(resources.part("memory")),
            cpu(resources.part("cpu")),
            pids(resources.part("pids")));
    resources.end();
    return read;
  }

  /// Rules that change nothing: what they forbid is forbidden, and what they let in is.
  private static void device(ConfigFields rule) {
    boolean allow = rule.flag("allow", false);
    String type =
        rule.text("type", Set.of("", "a", "b", "c", "p", "u")::contains, "device type").orElse("");
    OptionalLong major = rule.number("major", -1, Integer.MAX_VALUE);
    OptionalLong minor = rule.number("minor", -1, Integer.MAX_VALUE);
    String access =
        rule.text("access", Pattern.compile("[rwm]{0,3}").asMatchPredicate(), "access").orElse("");
    rule.end();
    if (allow && !access.equals("m") && !isUsual(type, number(major), number(minor))) {
      rule.fault(
          "allow",
          (type.isEmpty() ? "a" : type)
              + " "
              + number(major)
              + ":"
              + number(minor)
              + " cannot be allowed: a device cannot move.");
    }
  }

  private static boolean isUsual(String type, String major, String minor) {
    return type.equals("c")
        && (major.equals(TERMINALS) || USUAL_DEVICES.contains(major + ":" + minor));
  }

  private static String number(OptionalLong number) {
    return number.isPresent() && number.getAsLong() >= 0 ? Long.toString(number.getAsLong()) : "*";
  }

  private static Memory memory(ConfigFields memory) {
    memory.refuse(
        List.of("kernel", "kernelTCP", "swappiness", "disableOOMKiller", "checkBeforeUpdate"),
        ConfigReader.ELSEWHERE);
    // The only way that there is.
    var _ = memory.flag("useHierarchy", true);
    Memory read =
        new Memory(
            memory.number("limit", -1, Long.MAX_VALUE),
            memory.number("reservation", -1, Long.MAX_VALUE),
            memory.number("swap", -1, Long.MAX_VALUE));
    memory.end();
    if (read.swap().orElse(0) > 0 && read.limit().orElse(0) > read.swap().getAsLong()) {
      memory.fault("swap", "it counts memory and swap together and is less than the memory limit.");
    }
    if (read.swap().orElse(0) > 0 && read.limit().orElse(0) <= 0) {
      memory.fault("swap", "it needs a memory limit.");
    }
    return read;
  }

  private static Cpu cpu(ConfigFields cpu) {
    cpu.refuse(
        List.of("burst", "idle", "mems", "realtimePeriod", "realtimeRuntime"),
        ConfigReader.ELSEWHERE);
    Cpu read =
        new Cpu(
            cpu.number("shares", 0, MOST_SHARES),
            cpu.number("quota", -1, Long.MAX_VALUE / 1000),
            cpu.number("period", 0, MOST_PERIOD),
            cpu.text(
                    "cpus",
                    text -> text.isEmpty() || CPUS.matcher(text).matches(),
                    "list of processors")
                .orElse(""));
    cpu.end();
    requireAtLeast(cpu, "shares", read.shares(), LEAST_SHARES);
    requireAtLeast(cpu, "quota", read.quota(), LEAST_PERIOD);
    requireAtLeast(cpu, "period", read.period(), LEAST_PERIOD);
    return read;
  }

  /// 0 says nothing, and -1 that there is no limit.
  private static void requireAtLeast(
      ConfigFields fields, String name, OptionalLong value, long least) {
    if (value.orElse(0) > 0 && value.getAsLong() < least) {
      fields.fault(name, value.getAsLong() + " is less than " + least + ".");
    }
  }

  private static Pids pids(ConfigFields pids) {
    Pids read = new Pids(pids.number("limit", -1, MOST_PIDS));
    pids.end();
    return read;
  }
}
