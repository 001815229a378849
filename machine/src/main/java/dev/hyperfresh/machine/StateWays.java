package dev.hyperfresh.machine;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.VirtualMachine;
import java.util.Map;

/// The ways by which a guest's state comes into a machine and leaves it. For one thread at a time.
///
/// @param fittings of the guest's place
/// @param ledger of the machine: a way out is written down before it is made
record StateWays(Fittings fittings, Ledger ledger) {
  /// Under which number the guest's QEMU finds the port through which its state comes.
  static final int INCOMING_FD = 9;

  private String incoming() {
    return fittings.id() + ".in";
  }

  private String outlet(int index) {
    return fittings.id() + ".out" + index;
  }

  private static String socket(String outlet) {
    return VirtualMachine.RUN_FOLDER + "/" + outlet;
  }

  /// The guest's state is to come, by a way that leads nowhere yet.
  ///
  /// @return what the guest's QEMU is started with to read it
  Agent.Opening plugIncoming() {
    fittings.channel(incoming(), "null", Map.of());
    return new Agent.Opening(INCOMING_FD, Agent.Mode.RW, fittings.port(incoming()));
  }

  /// The state comes from `channel`.
  void receiveFrom(Fd channel) {
    fittings
        .vm()
        .descriptors()
        .lend(
            channel,
            (set, _) ->
                fittings
                    .vm()
                    .channels()
                    .change(
                        incoming(), "file", Map.of("in", "/dev/fdset/" + set, "out", "/dev/null")));
  }

  /// The state goes to `channel`.
  ///
  /// @return the unix socket in the machine that takes it
  String sendTo(Fd channel) {
    int index = ledger.get(fittings.id()).outlets();
    ledger.update(fittings.id(), entry -> entry.withOutlets(index + 1));
    String name = outlet(index);
    String socket = socket(name);
    fittings
        .vm()
        .descriptors()
        .lend(
            channel,
            (set, _) ->
                fittings.channel(name, "file", Map.of("out", "/dev/fdset/" + set, "append", true)));
    String port = fittings.port(name);
    fittings.vm().tell(a -> a.outlet(port, socket));
    fittings.undoneBy(() -> fittings.vm().tell(a -> a.outletClose(socket)));
    return socket;
  }

  /// Those that an earlier daemon has made.
  ///
  /// @param waiting whether there is one in
  /// @param outlets how many there are out
  void found(boolean waiting, int outlets) {
    if (waiting) {
      fittings.foundChannel(incoming());
    }
    for (int i = 0; i < outlets; i++) {
      String name = outlet(i);
      fittings.foundChannel(name);
      fittings.undoneBy(() -> fittings.vm().tell(a -> a.outletClose(socket(name))));
    }
  }
}
