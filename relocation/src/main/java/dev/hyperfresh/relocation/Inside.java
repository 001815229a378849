package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.relocation.MoveSteps.MemoryLostException;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.TroubleException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/// One container, seen from one OS: the orders of the program `container` in it.
///
/// Every method throws [TroubleException] with what the OS said when it is not done.
///
/// @param os the OS
/// @param spec the container
record Inside(OsVm os, ContainerSpec spec) {
  /// The exit code of `container drain` when some of the memory will never come.
  private static final int MEMORY_LOST = 9;

  private static final Duration LIMIT = Duration.ofSeconds(60);
  private static final Duration COPY_LIMIT = Duration.ofMinutes(10);

  /// The orders that wait for a word of this host.
  static final String FREEZE = "freeze";

  static final String RESTORE = "restore";

  private static final Duration DRAIN_LIMIT = Duration.ofMinutes(30);

  private String order(Duration limit, List<String> words) {
    Agent.Exited end = ended(limit, words);
    if (end.status() != 0) {
      throw new TroubleException(failure(words.getFirst(), end));
    }
    return end.tail().strip();
  }

  private Agent.Exited ended(Duration limit, List<String> words) {
    List<String> command = new ArrayList<>();
    command.add(OsVm.PROGRAMS + "/container");
    command.add(words.getFirst());
    command.add(spec.name());
    command.addAll(words.subList(1, words.size()));
    return os.runToEnd(command, limit);
  }

  private String failure(String order, Agent.Exited end) {
    return "OS "
        + os.name()
        + ", "
        + order
        + ": "
        + end.tail().strip().replaceAll("\\s*\\n\\s*", " / ");
  }

  /// The number of a process in what an order has printed.
  int processOf(String answer) {
    try {
      return Integer.parseInt(answer.lines().reduce("", (_, last) -> last).strip());
    } catch (NumberFormatException e) {
      throw new TroubleException("OS " + os.name() + ": '" + answer + "' is not a process id", e);
    }
  }

  private String card() {
    return "c-" + spec.name();
  }

  /// Gives the OS the container's files, before anything else of it comes.
  void share(ContainerFolder folder) {
    os.share(spec.name(), folder.share());
    order(LIMIT, List.of("share"));
  }

  /// Makes the network that the container is to have, whose card does not work yet.
  ///
  /// @param queue of the container's port, if it has one
  void network(Optional<Fd> queue) {
    queue.ifPresent(fd -> os.addCard(card(), spec.mac(), fd));
    order(LIMIT, queue.isPresent() ? List.of("network", spec.mac()) : List.of("network"));
  }

  /// As [#network], with a card that is connected to one in another OS.
  ///
  /// @param socket one end of the connection; it is copied
  void network(UnixSocket socket) {
    os.addLink(card(), spec.mac(), socket.fd());
    order(LIMIT, List.of("network", spec.mac()));
  }

  /// The card works from now on.
  void live() {
    spec.network()
        .ifPresent(network -> {
          network.address().ifPresent(own -> live("live", own, network.gateway()));
          network.address6().ifPresent(own -> live("live6", own, network.gateway6()));
        });
  }

  private void live(String order, String address, Optional<String> gateway) {
    List<String> words = new ArrayList<>(List.of(order, address));
    gateway.ifPresent(words::add);
    order(LIMIT, words);
  }

  /// What comes for the container from now on waits in this OS's hardware, until [#deliver].
  void hold() {
    spec.network().ifPresent(_ -> os.vm().cards().hold(card()));
  }

  /// What has waited goes to the container.
  void deliver() {
    spec.network().ifPresent(_ -> os.vm().cards().deliver(card()));
  }

  /// Neither says nor hears the container anything from now on, or again. The kernel of an OS that
  /// has frozen a container still speaks for it; a peer that has heard that, with its later time
  /// stamps, would not listen to the container in another OS for seconds.
  void silence(boolean silent) {
    spec.network().ifPresent(_ -> os.vm().cards().silence(card(), silent));
  }

  /// Starts the container and returns the number of its first process.
  int start() {
    return processOf(order(LIMIT, List.of("start")));
  }

  /// What keeps the container from being moved, a sentence each; empty when nothing does.
  List<String> obstacles() {
    return order(LIMIT, List.of("check")).lines().filter(line -> !line.isBlank()).toList();
  }

  /// Makes all that can be made before the container comes.
  ///
  /// @param from the OS that it comes from
  /// @param window where the memory of that OS is in this one, if it is
  void prepare(OsVm from, Optional<OsVm.Window> window) {
    List<String> words = new ArrayList<>(List.of("prepare"));
    window.ifPresent(memory -> {
      long bytes = from.memory().bytes();
      words.add(Long.toString(memory.address()));
      words.add(Long.toString(bytes));
      words.add(Long.toString(from.split() == bytes ? 0 : from.split()));
      words.add(ContainerFolder.freed(memory.id()));
    });
    order(LIMIT, words);
  }

  /// Gets ready to freeze the container, which runs on until [Line#ok].
  Line freezing(Transport transport) {
    return line(FREEZE, transport, "pre-dump");
  }

  /// Gets ready to restore the container, when [#prepare] is done.
  Line restoring(Transport transport) {
    return line(RESTORE, transport, "ready");
  }

  /// The port by which an order waits for a word.
  String line(String order) {
    return spec.name() + "." + order;
  }

  private Line line(String order, Transport transport, String ready) {
    return Line.open(
        os,
        line(order),
        List.of(OsVm.PROGRAMS + "/container", order, spec.name(), transport.label()),
        ready);
  }

  /// After [#freezing], where memory is copied: all that was written down goes to the OS that waits
  /// for it.
  void pack() {
    order(COPY_LIMIT, List.of("pack"));
  }

  /// How much [#pack] has sent, in bytes; in whole KiB.
  long packedBytes() {
    return Long.parseLong(order(LIMIT, List.of("packed"))) << 10;
  }

  /// It goes on after [#freezing].
  void thaw() {
    order(LIMIT, List.of("thaw"));
  }

  /// Where the container is after a daemon has died, which may have begun to restore it here.
  ///
  /// @return the number of its first process, 0 when it was restored here and has ended; nothing
  ///   when it is not here, and no restore goes on
  Optional<Integer> here() {
    String answer = order(LIMIT, List.of("here"));
    return answer.isEmpty() ? Optional.empty() : Optional.of(processOf(answer));
  }

  /// runc here is told of the container.
  void adopt() {
    order(LIMIT, List.of("adopt"));
  }

  /// Returns when all of its memory is here.
  ///
  /// @return the last line of the program that fetched it
  /// @throws MemoryLostException when that program says that it cannot be
  String drain() {
    Agent.Exited end = ended(DRAIN_LIMIT, List.of("drain"));
    if (end.code().equals(Optional.of(MEMORY_LOST))) {
      throw new MemoryLostException(failure("drain", end));
    }
    if (end.status() != 0) {
      throw new TroubleException(failure("drain", end));
    }
    return end.tail().strip();
  }

  /// In the OS that the container came from, when all of its memory is in the new one: it was where
  /// it was thought to be. Where an OS that hangs or has ended cannot tell, nothing is known to be
  /// wrong.
  ///
  /// @throws MemoryLostException when some of it has moved meanwhile, so that something else was
  ///   fetched
  void requireUnmoved() {
    if (os.ended()) {
      return;
    }
    String moved;
    try {
      moved = order(LIMIT, List.of("moved"));
    } catch (TroubleException e) {
      System.getLogger(Inside.class.getName()).log(System.Logger.Level.WARNING, spec.name(), e);
      return;
    }
    if (!moved.isEmpty()) {
      throw new MemoryLostException("OS " + os.name() + ": " + moved);
    }
  }

  /// Runs a program in the container.
  ///
  /// @param file in the container's folder, for what it prints
  Agent.Exited execute(String file, List<String> command, Duration limit) {
    List<String> words =
        new ArrayList<>(
            List.of(
                OsVm.PROGRAMS + "/container",
                "exec",
                spec.name(),
                OsVm.CONTAINERS + "/" + spec.name() + "/" + file));
    words.addAll(command);
    return os.runToEnd(words, limit);
  }

  /// Runs the container's health check.
  ///
  /// @return what it said when it failed; empty when it went well
  Optional<String> health(HealthCheck check) {
    List<String> words =
        new ArrayList<>(
            List.of("health", Long.toString(check.timeout().plusMillis(999).toSeconds())));
    words.addAll(check.command());
    Agent.Exited end = ended(LIMIT.plus(check.timeout()), words);
    if (end.status() == 0) {
      return Optional.empty();
    }
    String said = ConfigFields.plain(end.tail().strip().replaceAll("\\s*\\n\\s*", " / "));
    String how = end.code().map(code -> "exit code " + code).orElse("killed");
    return Optional.of(said.isEmpty() ? how : how + ": " + said);
  }

  /// Begins to wait for the end of its first process. An earlier one that waits is ended, also one
  /// of an earlier daemon.
  ///
  /// @return what `keep.c` says of the end, which comes on a thread that must not be held
  CompletableFuture<Agent.Exited> awaitingEnd() {
    return os.vm().programs().begin(List.of(OsVm.PROGRAMS + "/container", "wait", spec.name()));
  }

  /// How its first process has ended here, which it has.
  ContainerState.Ended ending() {
    try {
      return ContainerState.Ended.parse(order(LIMIT, List.of("wait")), Instant.now());
    } catch (TroubleException e) {
      // Also an OS of an older release, which cannot tell.
      return ContainerState.Ended.unknown(Instant.now(), "");
    }
  }

  /// What it uses.
  ContainerStats stats() {
    return ContainerStats.parse(order(LIMIT, List.of("stats")));
  }

  /// Asks the container to end, and ends it when it has not done so within `patience`.
  void stop(Duration patience) {
    order(LIMIT.plus(patience), List.of("stop", Long.toString(patience.toSeconds())));
  }

  /// Ends all of its processes that are here.
  void end() {
    order(LIMIT, List.of("end"));
  }

  /// Removes all of it that is here. The OS has its files no longer.
  void remove() {
    order(LIMIT, List.of("remove"));
    os.unshare(spec.name());
    if (spec.network().isPresent()) {
      os.vm().cards().remove(card());
    }
  }

  /// As [#remove], of something of which only a part may be here.
  void clear() {
    order(LIMIT, List.of("remove"));
    os.unshare(spec.name());
    unplug();
  }

  /// Puts the container's files out of the reach of an OS that does not do what it is told. It must
  /// not be in there any more.
  void cutOff() {
    os.unshare(spec.name());
  }

  /// The container's port has no card here any more.
  ///
  /// @throws TroubleException when it still has one
  void unplug() {
    if (spec.network().isEmpty()) {
      return;
    }
    os.vm().cards().clear(card());
    if (os.vm().descriptors().hasQueue(spec.port())) {
      throw new TroubleException("OS " + os.name() + " does not release port " + spec.port());
    }
  }
}
