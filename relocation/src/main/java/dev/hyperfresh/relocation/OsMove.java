package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.relocation.RelocationRecord.Drain;
import dev.hyperfresh.vm.TroubleException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The steps of a move between two operating systems of this host.
///
/// A daemon that has begun the move holds the two programs that wait for its word, and the port
/// that it switches. One that finds the move holds neither: what the programs would hear is gone
/// with the daemon that would have said it, which is a no.
final class OsMove implements MoveSteps {
  private static final Pattern DRAINED =
      Pattern.compile(
          "drained ([0-9]+) pages [0-9]+ bytes ([0-9]+) us ([0-9]+) faults ([0-9]+) us .*");

  /// How long a container may take to be restored. Its processes wait for pages before CRIU is done
  /// with them, so this is also for a program that fetches none.
  private static final Duration RESTORE_LIMIT = Duration.ofSeconds(60);

  private static final Duration COPY_LIMIT = Duration.ofMinutes(10);

  private final ContainerSpec spec;
  private final Placement.Move move;
  private final Optional<OsVm> from;
  private final Optional<OsVm> to;
  private final Optional<Tap> port;
  private final ContainerFolder files;
  private final BooleanSupplier left;
  private Optional<OsVm.Window> window = Optional.empty();
  private Optional<FileChannel> fetched = Optional.empty();
  private Optional<Line> freezing = Optional.empty();
  private Optional<Line> restoring = Optional.empty();
  private boolean begun;
  private boolean switched;
  private long frozenBytes;
  private long memoryBytes;
  private Drain drained = Drain.NONE;

  /// @param from the OS that the container leaves, if it lived when it was looked for
  /// @param to the OS that it goes to, likewise
  /// @param port the container's, when this daemon begins the move
  /// @param left whether this daemon has let go of what it had
  OsMove(
      ContainerSpec spec,
      Placement.Move move,
      Optional<OsVm> from,
      Optional<OsVm> to,
      Optional<Tap> port,
      ContainerFolder files,
      BooleanSupplier left) {
    this.spec = spec;
    this.move = move;
    this.from = from;
    this.to = to;
    this.port = port;
    this.files = files;
    this.left = left;
  }

  /// What is told of the move when it is over.
  ///
  /// @param phasesMs as [Relocation#phasesMs] has them
  RelocationRecord record(Instant startedAt, MoveState.Over over, Map<String, Double> phasesMs) {
    Outcome outcome =
        switch (over) {
          case MoveState.Retired(OptionalDouble frozen) -> new Outcome("committed", "", frozen);
          case MoveState.RolledBack(String why) -> new Outcome("rolled-back", why);
          case MoveState.Ended(String why, ContainerState.Ended how) ->
              new Outcome("ended", why + ": " + how.words());
          case MoveState.Lost(String why) -> new Outcome("lost", why);
        };
    return new RelocationRecord(
        startedAt,
        spec.name(),
        move.from(),
        move.to(),
        kernel(from),
        kernel(to),
        move.transport().label(),
        outcome.label(),
        outcome.detail(),
        memoryBytes,
        frozenBytes,
        phasesMs,
        outcome.frozenMs(),
        drained);
  }

  private record Outcome(String label, String detail, OptionalDouble frozenMs) {
    Outcome(String label, String detail) {
      this(label, detail, OptionalDouble.empty());
    }
  }

  private static String kernel(Optional<OsVm> os) {
    return os.map(there -> there.settings().release().kernelVersion()).orElse("");
  }

  @Override
  public String from() {
    return move.from();
  }

  @Override
  public String to() {
    return move.to();
  }

  @Override
  public boolean oldEnded() {
    return living(from).isEmpty();
  }

  @Override
  public boolean newEnded() {
    return living(to).isEmpty();
  }

  @Override
  public boolean released() {
    return left.getAsBoolean()
        || from.filter(os -> os.vm().released()).isPresent()
        || to.filter(os -> os.vm().released()).isPresent();
  }

  private static Optional<OsVm> living(Optional<OsVm> os) {
    return os.filter(there -> !there.ended());
  }

  /// Does something in the OS that the container leaves, unless that is gone.
  private void inOld(Consumer<Inside> step) {
    in(from, step);
  }

  private void inNew(Consumer<Inside> step) {
    in(to, step);
  }

  private void in(Optional<OsVm> os, Consumer<Inside> step) {
    living(os)
        .ifPresent(there -> {
          try {
            step.accept(new Inside(there, spec));
          } catch (TroubleException e) {
            if (!there.ended()) {
              throw e;
            }
          }
        });
  }

  private Inside old() {
    return new Inside(from.orElseThrow(), spec);
  }

  private Inside fresh() {
    return new Inside(to.orElseThrow(), spec);
  }

  private boolean copies() {
    return move.transport().isCopied();
  }

  @Override
  public void connect() {
    begun = true;
    if (copies()) {
      CopyLink.connect(spec, from.orElseThrow(), to.orElseThrow());
    } else {
      window = Optional.of(to.orElseThrow().attach(from.orElseThrow(), move.window()));
      fetched = Optional.of(files.makeFreed(move.window()));
    }
  }

  @Override
  public void plug() {
    // Of an earlier stay that could not be cleared up.
    fresh().clear();
    fresh().share(files);
    fresh().network(port.map(Tap::spare));
    fresh().hold();
    port.ifPresent(Tap::joinSpare);
    fresh().live();
  }

  @Override
  public void prepare() {
    fresh().prepare(from.orElseThrow(), window);
  }

  @Override
  public void beginFreeze() {
    freezing = Optional.of(old().freezing(move.transport()));
  }

  @Override
  public void beginRestore() {
    restoring = Optional.of(fresh().restoring(move.transport()));
  }

  @Override
  public void switchPort() {
    switched = true;
    port.ifPresent(Tap::switchToSpare);
  }

  @Override
  public void freeze() {
    Line line = freezing.orElseThrow();
    line.ok();
    line.await("network-lock");
  }

  @Override
  public void silenceOld() {
    old().silence(true);
  }

  @Override
  public void dump() {
    Line line = freezing.orElseThrow();
    line.ok();
    line.await("post-dump");
  }

  @Override
  public void copy() {
    if (copies()) {
      old().pack();
    }
  }

  @Override
  public void restore() {
    Line line = restoring.orElseThrow();
    line.go();
    if (!copies()) {
      // Where the memory is takes the longer to write down the more there is, and what is in it is
      // not asked for before the processes are there.
      freezing.orElseThrow().await("listed");
      line.listed();
    }
    line.await("restored", limit());
  }

  private Duration limit() {
    return copies() ? COPY_LIMIT : RESTORE_LIMIT;
  }

  @Override
  public void run() {
    restoring.orElseThrow().run();
  }

  @Override
  public int awaitRunning() {
    return fresh().processOf(restoring.orElseThrow().awaitEnd(RESTORE_LIMIT));
  }

  @Override
  public void giveUpRestore() {
    // Without a word it takes the host for dead, and waits for what the old OS may yet write down.
    restoring.ifPresent(line -> {
      to.orElseThrow().vm().attempted(line::giveUp);
      line.close();
    });
    restoring = Optional.empty();
    if (!begun) {
      inNew(there -> there.os().vm().channels().clear(there.line(Inside.RESTORE)));
    }
  }

  @Override
  public Optional<Integer> here() {
    return fresh().here();
  }

  @Override
  public ContainerState.Ended ending() {
    try {
      return fresh().ending();
    } catch (RuntimeException e) {
      return ContainerState.Ended.unknown(Instant.now(), "");
    }
  }

  @Override
  public void silenceNew() {
    inNew(there -> there.os().vm().attempted(() -> there.silence(true)));
  }

  @Override
  public void endNew() {
    inNew(Inside::end);
  }

  @Override
  public void giveUpFreeze() {
    if (begun) {
      // It may have ended.
      freezing.ifPresent(line -> from.orElseThrow().vm().attempted(line::no));
    } else {
      inOld(OsMove::closeFreeze);
    }
  }

  private static void closeFreeze(Inside there) {
    there.os().vm().channels().clear(there.line(Inside.FREEZE));
  }

  /// Takes the port of the program that freezes away.
  private void closeFreeze() {
    freezing.ifPresent(Line::close);
    freezing = Optional.empty();
    if (!begun) {
      inOld(OsMove::closeFreeze);
    }
  }

  @Override
  public void thaw() {
    inOld(Inside::thaw);
  }

  @Override
  public void hearOld() {
    inOld(there -> there.silence(false));
    closeFreeze();
    cutOld();
  }

  private void cutOld() {
    if (copies()) {
      inOld(there -> CopyLink.cutFrom(spec, there.os()));
    }
  }

  @Override
  public void switchBack() {
    if (switched) {
      port.ifPresent(Tap::switchBack);
    }
  }

  @Override
  public void deliver() {
    inNew(there -> there.os().vm().attempted(there::deliver));
    if (!begun) {
      inOld(there -> {
        there.os().vm().attempted(() -> there.silence(true));
        there.unplug();
      });
    }
  }

  @Override
  public void adopt() {
    if (files.hasImages()) {
      fresh().adopt();
    }
  }

  @Override
  public void drain() {
    if (!files.hasImages()) {
      return;
    }
    PageList pages = from.map(files::pages).orElse(PageList.NONE);
    memoryBytes = pages.bytes();
    frozenBytes = copies() ? packedBytes() : files.imageBytes();
    if (move.transport() == Transport.COPIED) {
      return;
    }
    Optional<Freed> freed = freed(pages);
    try {
      Matcher line = DRAINED.matcher(fresh().drain());
      inOld(Inside::requireUnmoved);
      if (line.matches()) {
        drained =
            new Drain(
                Long.parseLong(line.group(1)),
                Long.parseLong(line.group(2)) / 1000.0,
                Long.parseLong(line.group(3)),
                Long.parseLong(line.group(4)));
      }
    } finally {
      freed.ifPresent(Freed::close);
    }
  }

  /// Gives the memory that has been fetched back to the host, where the OS that it was in lives.
  private Optional<Freed> freed(PageList pages) {
    Optional<FileChannel> file = fetched.or(() -> files.findFreed(move.window()));
    fetched = Optional.empty();
    return living(from)
        .flatMap(os -> file.map(said -> new Freed(os.name(), os.memory(), said, pages)));
  }

  private void forgetFreed() {
    fetched.ifPresent(file -> {
      try {
        file.close();
      } catch (IOException e) {
        System.getLogger(OsMove.class.getName()).log(System.Logger.Level.DEBUG, spec.name(), e);
      }
    });
    fetched = Optional.empty();
    files.forgetFreed(move.window());
  }

  private long packedBytes() {
    try {
      return oldEnded() ? 0 : old().packedBytes();
    } catch (TroubleException | NumberFormatException e) {
      System.getLogger(OsMove.class.getName())
          .log(System.Logger.Level.DEBUG, "how much was copied", e);
      return 0;
    }
  }

  @Override
  public Drain drained() {
    return drained;
  }

  @Override
  public void clearOld() {
    // Its frames are the old OS's own from then on.
    forgetFreed();
    closeFreeze();
    inOld(there -> {
      try {
        there.clear();
      } catch (TroubleException e) {
        // It is not to have the files of a container that is elsewhere.
        there.cutOff();
        throw e;
      }
    });
    cutOld();
    if (switched) {
      switched = false;
      port.ifPresent(Tap::keepSpare);
    }
  }

  @Override
  public void clearMove() {
    giveUpRestore();
    inNew(there -> there.os().clear(move.window()));
    if (copies()) {
      inNew(there -> CopyLink.cutTo(spec, there.os()));
    }
  }

  @Override
  public void clearNew() {
    inNew(Inside::clear);
    port.ifPresent(Tap::dropSpare);
  }

  @Override
  public void forgetFiles() {
    forgetFreed();
    files.forgetImages();
  }
}
