package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.relocation.OsVm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/// Operating systems of one state directory that go from daemon to daemon, some of which are this
/// process, others real ones that are killed, ended or upgraded. In a network of their own. For one
/// thread.
final class OsStage implements AutoCloseable {
  static final String MAIN = "dev.hyperfresh.cli.Main";

  private static final Duration LIMIT = Duration.ofMinutes(3);
  private static final int END_SECONDS = 180;

  private final Path state;
  private final TestNetwork network;
  private Optional<OsDaemon> daemon = Optional.empty();
  private int logs;

  /// @param state the state directory
  /// @param bridge the address of the bridge that containers are on, with its prefix
  OsStage(Path state, String bridge) throws IOException {
    this.state = state;
    this.network = TestNetwork.create();
    network.ip("link", "set", "lo", "up");
    network.ip("link", "add", "br0", "type", "bridge");
    network.ip("addr", "add", bridge, "dev", "br0");
    network.ip("link", "set", "br0", "up");
    Files.createDirectories(
        state.resolve("run"),
        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    Files.createSymbolicLink(state.resolve("releases"), Workshop.CACHE.resolve("releases"));
    List.of("6.1", "6.12").forEach(OsDaemon::release);
  }

  TestNetwork network() {
    return network;
  }

  /// What has all in this process.
  OsDaemon daemon() {
    return daemon.orElseThrow();
  }

  /// Takes everything back, unless this process has it.
  OsDaemon own() {
    return daemon.orElseGet(this::takeBack);
  }

  OsVm os(String name) {
    return daemon().systems.get(name);
  }

  /// Boots an OS, under this process.
  void boot(String name, String kernel) {
    daemon().boot(name, kernel);
  }

  /// What an OS writes of a container.
  Path home(String container) {
    return state.resolve("containers").resolve(container).resolve("share");
  }

  /// Takes everything back, in this process.
  OsDaemon takeBack() {
    OsDaemon next = network.within(() -> OsDaemon.start(state));
    daemon = Optional.of(next);
    return next;
  }

  /// Leaves everything to the next daemon.
  void letGo() {
    daemon().systems.letGo();
    daemon = Optional.empty();
  }

  /// A program of Java in the network of the containers; its output is [#log] until the next.
  Process launch(String program, String... arguments) throws IOException {
    logs++;
    List<String> line = new ArrayList<>(network.prefix());
    line.addAll(CommandRun.command());
    line.set(line.size() - 1, program);
    line.addAll(List.of(arguments));
    return new ProcessBuilder(line)
        .redirectErrorStream(true)
        .redirectOutput(log().toFile())
        .start();
  }

  /// A real daemon on the state directory, which serves.
  Process launchDaemon(String... more) throws IOException {
    List<String> line = new ArrayList<>(List.of("daemon", "--state", state.toString()));
    line.addAll(List.of(more));
    Process process = launch(MAIN, line.toArray(String[]::new));
    awaitIn(process, LIMIT, () -> said("serving on"));
    return process;
  }

  /// Asks the real daemon for a move, in a process of its own.
  Process launchMove(String container, String to) throws IOException {
    return launch(
        MAIN, "container", "relocate", container, "--to", to, "--state", state.toString());
  }

  /// Whether the real daemon has taken a container back, and it runs.
  boolean runs(String container) {
    CommandRun show =
        CommandRun.here("container", "show", container, "--json", "--state", state.toString());
    return show.code() == 0 && show.json().path("state").asString().equals("running");
  }

  Path log() {
    return state.resolve("daemon-" + logs + ".log");
  }

  boolean said(String text) {
    return Workshop.contains(log(), text);
  }

  void awaitIn(Process process, Duration patience, BooleanSupplier condition) {
    Workshop.await(
        "what was expected in " + log(),
        patience,
        () -> condition.getAsBoolean() || !process.isAlive());
    assertThat(process.isAlive()).as(() -> read(log())).isTrue();
  }

  static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      return String.valueOf(e.getMessage());
    }
  }

  /// Tells a daemon to end, and waits until it has.
  static void end(Process daemon) throws InterruptedException {
    try (PidFd process = PidFd.open((int) daemon.pid())) {
      process.signal(Signals.TERM);
    } catch (LinuxException e) {
      // One that a newer daemon has followed ends by itself, and Java hears of that in a moment.
      Workshop.say("not told to end: " + e.getMessage());
    }
    assertThat(daemon.waitFor(END_SECONDS, TimeUnit.SECONDS)).isTrue();
  }

  /// All hardware and file servers.
  List<ProcessHandle> processes() {
    Path systems = state.resolve("os");
    return ProcessHandle.allProcesses()
        .filter(process -> {
          try {
            return Files.readSymbolicLink(Path.of("/proc", Long.toString(process.pid()), "fd", "2"))
                .startsWith(systems);
          } catch (IOException e) {
            return false;
          }
        })
        .toList();
  }

  /// Whether an OS sees the memory of another one.
  boolean maps(String os, String other) {
    return read(Path.of("/proc", Integer.toString(os(os).pid()), "maps"))
        .contains("/memfd:hf-os-" + other + " ");
  }

  /// What `criu restore` in an OS does when it has been told to go, before it does its work; or
  /// nothing special again. Before that it waits for its first image, as the real one.
  void beforeRestore(String os, String container, String step) {
    String folder = "/run/containers/" + container + "/restore";
    hook(
        os,
        "/usr/sbin/criu",
        "[ \"$1\" != restore ] || [ ! -e /tmp/criu.step ] || . /tmp/criu.step;"
            + " exec /tmp/criu.real \"$@\"");
    write(
        os,
        "criu.step",
        step.isEmpty()
            ? ""
            : "exec 5<"
                + folder
                + "/begin; until [ -e "
                + folder
                + "/images/pstree.img ]; do usleep 10000; done; "
                + step);
  }

  /// What is done in an OS when a container is restored there, before and after it is told to run;
  /// or nothing special again.
  void aroundGate(String os, String before, String after) {
    hook(
        os,
        "/usr/lib/hyperfresh/gate",
        "[ \"$CRTOOLS_SCRIPT_ACTION\" = post-restore ] || exit 0;"
            + " [ ! -e /tmp/gate.before ] || . /tmp/gate.before;"
            + " /tmp/gate.real || exit 1;"
            + " [ ! -e /tmp/gate.after ] || . /tmp/gate.after");
    write(os, "gate.before", before);
    write(os, "gate.after", after);
  }

  /// What is done in an OS before `relocate` does something, such as `drain`, or what CRIU calls it
  /// for, such as `network-lock`; or nothing special again.
  void before(String os, String what, String step) {
    hook(
        os,
        "/usr/lib/hyperfresh/relocate",
        // It goes by the name of tar, too.
        "[ ${0##*/} != tar ] || exec /tmp/tar \"$@\";"
            + " step=/tmp/relocate.step.${CRTOOLS_SCRIPT_ACTION:-$1};"
            + " [ ! -e $step ] || . $step;"
            + " exec /tmp/relocate.real \"$@\"");
    in(os, "ln -sf relocate.real /tmp/tar");
    write(os, "relocate.step." + what, step);
  }

  /// Puts a script in the place of a program, once for all: one that runs could not be taken away.
  private void hook(String os, String program, String script) {
    String name = program.substring(program.lastIndexOf('/') + 1);
    in(
        os,
        "[ -e /tmp/"
            + name
            + ".real ] || { cp "
            + program
            + " /tmp/"
            + name
            + ".real && printf '%s\\n' '#!/bin/sh' '"
            + script
            + "' >/tmp/"
            + name
            + " && chmod 755 /tmp/"
            + name
            + " && mount --bind /tmp/"
            + name
            + " "
            + program
            + "; }");
  }

  /// @param text nothing removes the file
  private void write(String os, String name, String text) {
    String file = "/tmp/" + name;
    in(
        os,
        text.isEmpty()
            ? "rm -f " + file
            : "printf '%s\\n' '" + text + "' >" + file + ".new && mv " + file + ".new " + file);
  }

  private void in(String os, String script) {
    os(os).run(List.of("sh", "-c", script), LIMIT);
  }

  @Override
  public void close() {
    daemon.ifPresent(last -> last.systems.close());
    // Of a test that failed before they were taken back.
    processes().forEach(ProcessHandle::destroyForcibly);
    network.close();
  }
}
