package dev.hyperfresh.cli;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import picocli.CommandLine;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// What is ordered of a virtual machine of either kind: `hyperfresh machine …` and `hyperfresh os
/// …`.
final class VmCommand {
  private VmCommand() {}

  /// One kind of virtual machines.
  ///
  /// @param route where the API has them
  /// @param called what one is called in a sentence
  /// @param fields what is shown of one, in their order
  /// @param tenants who lives in it
  /// @param columns of a list, each with its content
  record Kind(
      String route,
      String called,
      List<String> fields,
      String tenants,
      Map<String, Function<JsonNode, String>> columns) {
    private static final int LABEL_WIDTH = 24;

    private String path(String name) {
      return "/v1/" + route + "/" + name;
    }

    private Listing listing() {
      return new Listing(route, called.toLowerCase(Locale.ROOT), columns);
    }

    private void show(Options options, JsonNode vm) {
      if (!options.printed(vm)) {
        print(vm);
      }
    }

    private void print(JsonNode vm) {
      fields.forEach(field -> line(field.replace('_', ' '), Output.text(vm, field)));
      line(tenants, names(vm.path(tenants)));
    }

    private static void line(String label, String value) {
      System.out.printf("%-" + LABEL_WIDTH + "s %s%n", label, value);
    }
  }

  /// Names in one line.
  static String names(JsonNode names) {
    return names.isEmpty()
        ? "none"
        : String.join(" ", names.valueStream().map(JsonNode::asString).toList());
  }

  /// Boots one.
  abstract static class Create implements Runnable {
    @Mixin private Options options = new Options();

    @CommandLine.Spec
    private CommandLine.Model.CommandSpec spec = CommandLine.Model.CommandSpec.create();

    @Parameters(paramLabel = "NAME", description = "1 to 32 letters, digits or '-'.")
    private String name = "";

    @Option(
        names = "--release",
        required = true,
        paramLabel = "RELEASE",
        description = "What it boots; `hyperfresh release list` shows what is installed.")
    private String release = "";

    @Option(
        names = "--memory",
        paramLabel = "SIZE",
        defaultValue = "1G",
        description = "Its own memory, such as 768M or 2G (default: ${DEFAULT-VALUE}).")
    private String memory = "";

    @Option(
        names = "--vcpus",
        paramLabel = "N",
        defaultValue = "1",
        description = "Its processors, 1 to 64 (default: ${DEFAULT-VALUE}).")
    private int vcpus;

    private final Kind kind;

    Create(Kind kind) {
      this.kind = kind;
    }

    @Override
    public void run() {
      Map<String, Object> body = new LinkedHashMap<>();
      body.put("name", name);
      body.put("release", release);
      body.put("memory_mib", Size.mebibytes(memory, spec));
      body.put("vcpus", vcpus);
      JsonNode vm = options.client().work("/v1/" + kind.route(), body, Output::progress);
      kind.show(options, vm);
    }
  }

  /// Lists all of a kind.
  abstract static class ListAll implements Runnable {
    @Mixin private Options options = new Options();
    @Mixin private Listing.Watching watching = new Listing.Watching();

    private final Kind kind;

    ListAll(Kind kind) {
      this.kind = kind;
    }

    @Override
    public void run() {
      kind.listing().show(options, watching);
    }
  }

  /// Shows one.
  abstract static class Show implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    private final Kind kind;

    Show(Kind kind) {
      this.kind = kind;
    }

    @Override
    public void run() {
      JsonNode vm = options.client().get(kind.path(name));
      kind.show(options, vm);
    }
  }

  /// Boots one that is stopped.
  abstract static class Start implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    private final Kind kind;

    Start(Kind kind) {
      this.kind = kind;
    }

    @Override
    public void run() {
      kind.show(
          options, options.client().work(kind.path(name) + "/start", Map.of(), Output::progress));
    }
  }

  /// Ends one that can be started again.
  abstract static class Stop implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    private final Kind kind;

    Stop(Kind kind) {
      this.kind = kind;
    }

    @Override
    public void run() {
      kind.show(options, options.client().post(kind.path(name) + "/stop", Map.of()));
    }
  }

  /// Decides whether one is started when the host has booted.
  abstract static class Autostart implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(index = "0", paramLabel = "NAME")
    private String name = "";

    @Parameters(index = "1", paramLabel = "on|off")
    private GuestStartCommands.Switch wish = GuestStartCommands.Switch.on;

    private final Kind kind;

    Autostart(Kind kind) {
      this.kind = kind;
    }

    @Override
    public void run() {
      Map<String, ?> body = Map.of("on", wish == GuestStartCommands.Switch.on);
      kind.show(
          options, options.client().work(kind.path(name) + "/autostart", body, Output::progress));
    }
  }

  /// Ends one.
  abstract static class Delete implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    private final Kind kind;

    Delete(Kind kind) {
      this.kind = kind;
    }

    /// What is ordered beside the name, as the API has it.
    Map<String, String> query() {
      return Map.of();
    }

    @Override
    public void run() {
      JsonNode answer = options.client().delete(kind.path(name), query());
      if (!options.printed(answer)) {
        System.out.println(kind.called() + " " + name + " is deleted.");
      }
    }
  }

  /// The columns that both kinds have, with others between.
  ///
  /// @param parts what is in one, after its kernel
  static Map<String, Function<JsonNode, String>> columns(List<String> parts, String tenants) {
    Map<String, Function<JsonNode, String>> columns = new LinkedHashMap<>();
    columns.put("NAME", vm -> vm.path("name").asString());
    columns.put("STATE", vm -> vm.path("state").asString());
    columns.put("KERNEL", vm -> vm.path("kernel").asString());
    for (String part : parts) {
      columns.put(part.toUpperCase(Locale.ROOT), vm -> vm.path(part).asString());
    }
    columns.put("ACCELERATOR", vm -> vm.path("accelerator").asString());
    columns.put("MEMORY", vm -> vm.path("memory_mib").asLong() + " MiB");
    columns.put(
        "BOOT", vm -> String.format(Locale.ROOT, "%.1f s", vm.path("boot_ms").asDouble() / 1000));
    columns.put(tenants.toUpperCase(Locale.ROOT), vm -> names(vm.path(tenants)));
    return columns;
  }
}
