package dev.hyperfresh.cli;

import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/// `hyperfresh machine …`.
@Command(
    name = "machine",
    description = "Machines: hypervisors with a kernel, KVM and QEMU of their own.",
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {
      MachineCommand.Create.class,
      MachineCommand.ListAll.class,
      MachineCommand.Show.class,
      MachineCommand.Delete.class,
      TuneCommand.class
    },
    footer = {
      "",
      "A machine is a virtual machine of this host in which guests run. Its name is allowed",
      "wherever the name of a release is: in a guest's spec (`release: m1`) and in `replace GUEST",
      "--to m1`.",
      "",
      "Examples:",
      "  hyperfresh release build machine --kernel 6.12 --qemu 10.0",
      "  hyperfresh machine create m1 --release machine-6.12+qemu-10.0",
      "  hyperfresh machine list",
      "  hyperfresh replace web1 --to m1",
      "  hyperfresh replace --machine m1 --to machine-6.12  the whole hypervisor",
      "  hyperfresh machine delete m1",
      "  hyperfresh machine tune                            what makes nesting cheap"
    })
final class MachineCommand {
  private static final VmCommand.Kind KIND =
      new VmCommand.Kind(
          "machines",
          "machine",
          List.of(
              "name",
              "state",
              "release",
              "kernel",
              "qemu",
              "hardware",
              "accelerator",
              "accelerator_reason",
              "vcpus",
              "memory_mib",
              "memory_free_at_boot_mib",
              "boot_ms",
              "pid",
              "files"),
          "guests",
          VmCommand.columns(List.of("qemu"), "guests"));

  @SuppressWarnings("UnusedVariable") // picocli reads it
  @Mixin
  private Options options = new Options();

  private MachineCommand() {}

  @Command(
      name = "create",
      description = "Boot a machine that guests can run in.",
      footer = {
        "",
        "Its hardware is the newest installed QEMU of this host, 10.0 or newer. It needs 512M or",
        "more in addition to its guests' memory. A translated machine always has 1 processor.",
        "",
        "Examples:",
        "  hyperfresh machine create m1 --release machine-6.12+qemu-10.0",
        "  hyperfresh machine create m2 --release machine-6.1 --memory 2G --vcpus 2"
      })
  static final class Create extends VmCommand.Create {
    Create() {
      super(KIND);
    }
  }

  @Command(name = "list", aliases = "ls", description = "List the machines.")
  static final class ListAll extends VmCommand.ListAll {
    ListAll() {
      super(KIND);
    }
  }

  @Command(name = "show", description = "Show a machine.")
  static final class Show extends VmCommand.Show {
    Show() {
      super(KIND);
    }
  }

  @Command(name = "delete", aliases = "rm", description = "End a machine in which no guest runs.")
  static final class Delete extends VmCommand.Delete {
    Delete() {
      super(KIND);
    }
  }
}
