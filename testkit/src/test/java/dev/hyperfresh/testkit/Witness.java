package dev.hyperfresh.testkit;

import dev.hyperfresh.relocation.ContainerView;
import dev.hyperfresh.relocation.Health;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.SystemsWatch;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/// Writes down what is told of operating systems and containers, a line each. Thread-safe.
final class Witness implements SystemsWatch {
  private final List<String> lines = new CopyOnWriteArrayList<>();

  @Override
  public void came(OsVm os) {
    lines.add("os " + os.name() + " came");
  }

  @Override
  public void went(OsVm os) {
    lines.add("os " + os.name() + " went");
  }

  @Override
  public void altered(String os) {}

  @Override
  public void moved(RelocationRecord record) {
    lines.add(record.container() + " moved to " + record.to() + ": " + record.outcome());
  }

  @Override
  public void changed(ContainerView container) {
    String health = container.health().map(Health::state).map(state -> ", " + state).orElse("");
    lines.add(container.name() + " " + container.state().word() + " in " + container.os() + health);
  }

  @Override
  public void removed(String container) {
    lines.add(container + " removed");
  }

  /// All that was told, in its order.
  List<String> lines() {
    return List.copyOf(lines);
  }

  /// How a container was when that was told last, or that it was removed; empty when nothing was.
  String last(String container) {
    return lines.stream()
        .filter(line -> line.startsWith(container + " ") && !line.contains(" moved to "))
        .reduce("", (_, line) -> line);
  }
}
