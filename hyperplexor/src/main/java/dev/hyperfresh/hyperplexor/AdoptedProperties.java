package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.Port;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Properties;

/// The part of a [GuestFile] that only guests have which HyperFresh did not start.
final class AdoptedProperties {
  private static final String CONTROL = "adopted.control";
  private static final String CONSOLE = "adopted.console";
  private static final String MEMORY = "adopted.memory";
  private static final String WORD = "adopted.word.";
  private static final String PORT = "adopted.port.";

  private AdoptedProperties() {}

  static void put(Properties p, AdoptedMachine machine) {
    p.setProperty(CONTROL, machine.control().toString());
    machine.console().ifPresent(console -> p.setProperty(CONSOLE, console.toString()));
    p.setProperty(MEMORY, Integer.toString(machine.memoryDescriptor()));
    for (int i = 0; i < machine.words().size(); i++) {
      p.setProperty(WORD + i, machine.words().get(i));
    }
    for (int i = 0; i < machine.ports().size(); i++) {
      switch (machine.ports().get(i)) {
        case Port.Queue queue -> p.setProperty(PORT + i, Integer.toString(queue.descriptor()));
        case Port.Bridged bridged -> {
          p.setProperty(PORT + i, bridged.tap());
          p.setProperty(PORT + i + ".bridge", bridged.bridge());
        }
      }
    }
  }

  static Optional<AdoptedMachine> read(Properties p) {
    if (!p.containsKey(CONTROL)) {
      return Optional.empty();
    }
    List<String> words = new ArrayList<>();
    for (int i = 0; p.containsKey(WORD + i); i++) {
      words.add(p.getProperty(WORD + i));
    }
    return Optional.of(
        new AdoptedMachine(
            words,
            Path.of(p.getProperty(CONTROL)),
            Optional.ofNullable(p.getProperty(CONSOLE)).map(Path::of),
            Integer.parseInt(p.getProperty(MEMORY, "")),
            ports(p)));
  }

  private static List<Port> ports(Properties p) {
    List<Port> ports = new ArrayList<>();
    for (int i = 0; p.containsKey(PORT + i); i++) {
      String value = p.getProperty(PORT + i);
      String bridge = p.getProperty(PORT + i + ".bridge");
      ports.add(
          bridge == null
              ? new Port.Queue(Integer.parseInt(value))
              : new Port.Bridged(value, bridge));
    }
    return ports;
  }
}
