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
      MachineCommand.Start.class,
      MachineCommand.Stop.class,
      MachineCommand.Autostart.class,
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
              "autostart",
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

  @Command(
      name = "start",
      description = "Boot a machine that is stopped or has ended by itself.",
      footer = {
        "",
        "It is made as it was: with its release, memory and processors.",
        "",
        "Example:",
        "  hyperfresh machine start m1"
      })
  static final class Start extends VmCommand.Start {
    Start() {
      super(KIND);
    }
  }

  @Command(
      name = "stop",
      description = "End a machine in which no guest runs, and keep it for a later start.",
      footer = {
        "",
        "After a boot of the host it is started nevertheless, unless its autostart is off.",
        "",
        "Example:",
        "  hyperfresh machine stop m1"
      })
  static final class Stop extends VmCommand.Stop {
    Stop() {
      super(KIND);
    }
  }

  @Command(
      name = "autostart",
      description = "Decide whether a machine is started when the host has booted.",
      footer = {
        "",
        "It is on for a new one. The first daemon after a boot starts machines first, then",
        "operating systems, then guests, some at a time: `hyperfresh daemon --starts N`.",
        "",
        "Example:",
        "  hyperfresh machine autostart m1 off"
      })
  static final class Autostart extends VmCommand.Autostart {
    Autostart() {
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
