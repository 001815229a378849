package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.ProcessRights;
import dev.hyperfresh.linux.Siblings;
import dev.hyperfresh.linux.Signals;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.IntFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The folders with the state of one guest's TPM. There is the one that the guest's owner knows,
/// and beside it, while a replacement is under way, one for the target: the state comes to it
/// through QEMU's stream, so two swtpm never write into one folder, and a source that takes the
/// guest back has its own as it was. When the target runs the guest alone, the two folders exchange
/// their names, and the older state is removed.
///
/// The folder of a target has a [TpmMark], so that an exchange that was cut short before the end of
/// the removal is told from one that is to come: the mark goes last.
///
/// **No state is removed that could be the newest one after a loss of power.** The target's state,
/// the exchange and the removal are each on the disk before the next one begins. Whether a target
/// has run the guest says its log, and a log may lose its end with the power: that it says so is
/// believed in every boot of the host, that it does not say so only in the boot in which the folder
/// was made. All this waits for the disk, so it is done before the guest is stopped or after it
/// runs again: see each method.
///
/// An swtpm of HyperFresh has its folder open and follows it to its new name. The first one, which
/// something else started, finds its files by their path, so its end is awaited before.
///
/// ```
/// tpm2                  the owner's        ──┐ exchanged when the source has ended
/// tpm2.hyperfresh-7     of generation 7    ──┘
/// ```
final class TpmFolders {
  private static final String MARK = ".hyperfresh-";

  /// How swtpm calls what outlives its process.
  private static final Pattern STATE = Pattern.compile("tpm2?-[0-9a-f]{2}\\.permall");

  /// How long the first swtpm has to end with its QEMU, and again when it was told to.
  private static final Duration END_LIMIT = Duration.ofSeconds(2);

  private static final String OWNER = "unix:uid";

  private static final Set<String> REFUSALS = Set.of("EACCES", "EPERM", "EROFS");

  // linux/stat.h: whether the group or others may write, S_ISVTX
  private static final int OTHERS_WRITE = 022;
  private static final int STICKY = 01000;

  private final GuestTpm tpm;
  private final OptionalInt user;
  private final IntFunction<Optional<Boolean>> hasRun;
  private final Path above;
  private final String name;

  /// @param user of the guest, which everything belongs to where the TPM has no rights of its own
  /// @param hasRun whether an instance has run the guest, by its generation; empty when that is not
  ///   known
  TpmFolders(GuestTpm tpm, OptionalInt user, IntFunction<Optional<Boolean>> hasRun) {
    this.tpm = tpm;
    this.user = user;
    this.hasRun = hasRun;
    this.above = tpm.state().resolveSibling("");
    this.name = String.valueOf(tpm.state().getFileName());
  }

  /// Why instances could not have folders there, in a sentence; empty when they can.
  Optional<String> obstacle() {
    try (Siblings folders = folders()) {
      return folders.has(name) && hasState(folders, name)
          ? Optional.empty()
          : Optional.of("There is no state of its TPM in " + tpm.state() + ".");
    } catch (IOException | LinuxException e) {
      return Optional.of(
          "The state of its TPM is in "
              + tpm.state()
              + ", beside which no other folder can be made: "
              + e.getMessage()
              + ".");
    }
  }

  /// A new folder for a target, which gets its state from the source. It is on the disk when this
  /// returns, while the guest runs on the source.
  ///
  /// @throws IOException also when there is a state of that generation: somebody else's, or one of
  ///   an earlier guest that may be the newest that guest has
  Fd ofTarget(int generation) throws IOException {
    try (Siblings folders = folders()) {
      String own = name(generation);
      if (folders.has(own) && hasState(folders, own)) {
        throw new IOException(
            above.resolve(own)
                + " has a state of a TPM already, which an earlier guest left; keep it elsewhere or"
                + " remove it");
      }
      folders.remove(own);
      unmark(folders, generation);
      Fd folder = folders.make(own);
      try {
        new TpmMark(generation).make(folder);
        // Whose it is has to be on the disk, too: what belongs to somebody else is no state.
        owned(folder).syncAll();
        folders.sync();
        return folder;
      } catch (IOException | RuntimeException e) {
        folder.close();
        throw e;
      }
    }
  }

  /// The folder for an instance that boots the guest: with the state that the last one left.
  ///
  /// @throws IOException when it is not there, or it is not known which one that is
  Fd ofFirst() throws IOException {
    try (Siblings folders = folders()) {
      awaitFirst();
      finish(folders);
      OptionalInt newest = newest(folders);
      if (newest.isPresent()) {
        takePlace(folders, newest.getAsInt());
      }
      if (!folders.has(name)) {
        throw new IOException("the state of its TPM is not in " + tpm.state());
      }
      // Where it has none, another one may be all there is left of it.
      if (hasState(folders, name)) {
        removeOthers(folders, _ -> true);
        folders.sync();
      }
      return handedOn(folders.open(name));
    }
  }

  /// The last instance that has run the guest and has a state beside the owner's.
  ///
  /// @throws IOException when it is not known of one whether it has run the guest
  private OptionalInt newest(Siblings folders) throws IOException {
    OptionalInt newest = OptionalInt.empty();
    for (int generation : others(folders)) {
      if (!hasState(folders, name(generation))) {
        continue;
      }
      Optional<Boolean> ran = ran(folders, generation);
      if (ran.isEmpty()) {
        throw new IOException(
            "it is not known which is the newest state of its TPM: that in "
                + tpm.state()
                + " or that in "
                + above.resolve(name(generation))
                + "; remove the other one");
      }
      if (ran.get() && generation > newest.orElse(0)) {
        newest = OptionalInt.of(generation);
      }
    }
    return newest;
  }

  /// Whether an instance that has a folder has run the guest; empty when that is not known.
  private Optional<Boolean> ran(Siblings folders, int generation) throws IOException {
    Optional<Boolean> logged = hasRun.apply(generation);
    if (logged.isEmpty() || logged.get()) {
      return logged;
    }
    try (Fd folder = folders.open(name(generation))) {
      return new TpmMark(generation).isOfThisBoot(folder) ? logged : Optional.empty();
    }
  }

  /// A guest of HyperFresh has another user after each start.
  private Fd handedOn(Fd folder) throws IOException {
    if (tpm.rights().isPresent()) {
      return folder;
    }
    for (String file : Siblings.names(folder)) {
      Path path = path(folder).resolve(file);
      var is = Files.readAttributes(path, "unix:nlink,isRegularFile", LinkOption.NOFOLLOW_LINKS);
      // Of a link to somebody else's file the owner stays.
      if (Boolean.TRUE.equals(is.get("isRegularFile"))
          && Integer.valueOf(1).equals(is.get("nlink"))) {
        give(path, LinkOption.NOFOLLOW_LINKS);
      }
    }
    return owned(folder);
  }

  private void give(Path path, LinkOption... how) throws IOException {
    if (owner() != Host.effectiveUid()) {
      int group = tpm.rights().map(ProcessRights::gid).orElse(owner());
      Files.setAttribute(path, "unix:gid", group, how);
      Files.setAttribute(path, OWNER, owner(), how);
    }
  }

  /// A folder for a guest that has no TPM yet. One that has a state stays.
  void make() throws IOException {
    try (Siblings folders = folders()) {
      if (folders.has(name) && hasState(folders, name)) {
        handedOn(folders.open(name)).close();
        return;
      }
      folders.remove(name);
      owned(folders.make(name)).close();
    }
  }

  /// Puts the state of the instance that runs the guest, alone, where its owner looks for it, and
  /// removes older ones. All that, and what [#discard] removed, is on the disk when this returns.
  void settle(int generation) throws IOException {
    try (Siblings folders = folders()) {
      finish(folders);
      if (folders.has(name(generation))) {
        if (!hasState(folders, name(generation))) {
          throw new IOException(above.resolve(name(generation)) + " has no state yet");
        }
        awaitFirst();
        takePlace(folders, generation);
      }
      // What a later one has that may have run the guest is left for whoever decides on that.
      removeOthers(
          folders,
          other -> other < generation || ran(folders, other).stream().anyMatch(ran -> !ran));
      folders.sync();
    }
  }

  /// Removes the states of all instances but one, which is to go on with the guest. They are gone
  /// from the disk when this returns: one that comes back would be taken for the newest.
  void forgetOthers(int generation) throws IOException {
    try (Siblings folders = folders()) {
      removeOthers(folders, other -> other != generation);
      folders.sync();
    }
  }

  /// Removes the folder of an instance of this boot of the host that never had the guest, if it is
  /// still there. Does not wait for the disk, since the guest may stand: what comes back after a
  /// loss of power is not taken for anything.
  void discard(int generation) throws IOException {
    try (Siblings folders = folders()) {
      folders.remove(name(generation));
    }
  }

  /// Removes the folder of an instance that did not come to wait for the guest, unless there is a
  /// state in it, which cannot be the instance's.
  void abandon(int generation) throws IOException {
    try (Siblings folders = folders()) {
      if (folders.has(name(generation)) && !hasState(folders, name(generation))) {
        folders.remove(name(generation));
      }
    }
  }

  private void takePlace(Siblings folders, int generation) throws IOException {
    String own = name(generation);
    try (Fd folder = folders.open(own)) {
      syncStates(folder);
      new TpmMark(generation).make(folder);
    }
    // They ran the guest, too, and nothing would tell after the exchange that they are older.
    removeOthers(folders, other -> other < generation);
    folders.sync();
    if (folders.has(name)) {
      unmark(folders, generation);
      folders.exchange(own, name);
    } else {
      folders.rename(own, name);
    }
    finish(folders);
  }

  private static void syncStates(Fd folder) throws IOException {
    for (String file : Siblings.names(folder)) {
      Path path = path(folder).resolve(file);
      if (STATE.matcher(file).matches() && Files.isRegularFile(path, LinkOption.NOFOLLOW_LINKS)) {
        try (Fd state =
            Fd.open(path, OpenFlags.READ_ONLY | OpenFlags.NO_FOLLOW | OpenFlags.NON_BLOCKING)) {
          state.syncAll();
        }
      }
    }
  }

  /// Removes what an exchange left, also one of an earlier process: under the name of the target is
  /// the older state then. If the disk knew of the removal and not of the exchange, or of the
  /// mark's end and not of the removal, the next start would go on with the older one.
  private void finish(Siblings folders) throws IOException {
    if (!folders.has(name)) {
      return;
    }
    try (Fd folder = folders.open(name)) {
      for (TpmMark mark : TpmMark.in(folder)) {
        folders.sync();
        folders.remove(name(mark.generation()));
        folders.sync();
        mark.remove(folder);
      }
    }
  }

  private void unmark(Siblings folders, int generation) throws IOException {
    if (folders.has(name)) {
      try (Fd folder = folders.open(name)) {
        new TpmMark(generation).remove(folder);
      }
    }
  }

  private void awaitFirst() throws IOException {
    Optional<GuestTpm.First> first = tpm.first().filter(GuestTpm.First::lives);
    if (first.isEmpty()) {
      return;
    }
    try (PidFd process = PidFd.open(first.get().pid())) {
      if (process.awaitExit(END_LIMIT) || !first.get().lives()) {
        return;
      }
      // Its QEMU is gone, and what it has is older.
      process.signal(Signals.TERM);
      if (process.awaitExit(END_LIMIT)) {
        return;
      }
    } catch (LinuxException e) {
      if (!first.get().lives()) {
        return;
      }
      throw new IOException(e.getMessage(), e);
    }
    throw new IOException("its first swtpm, process " + first.get().pid() + ", does not end");
  }

  /// Of the instances that have a folder beside the owner's, some.
  private interface Which {
    boolean test(int generation) throws IOException;
  }

  private void removeOthers(Siblings folders, Which which) throws IOException {
    for (int generation : others(folders)) {
      if (which.test(generation)) {
        folders.remove(name(generation));
      }
    }
  }

  /// The generations that have a folder beside the owner's.
  private List<Integer> others(Siblings folders) throws IOException {
    Pattern other = Pattern.compile(Pattern.quote(name + MARK) + "([0-9]{1,9})");
    return folders.names().stream()
        .map(other::matcher)
        .filter(Matcher::matches)
        .map(found -> Integer.valueOf(found.group(1)))
        .toList();
  }

  private String name(int generation) {
    return name + MARK + generation;
  }

  /// Whether there is a state in it. In some folders everybody can make one; what belongs to
  /// somebody else is none. Neither is an empty file, which a loss of power leaves of one that was
  /// being written.
  private boolean hasState(Siblings folders, String name) throws IOException {
    try (Fd folder = folders.open(name)) {
      boolean isOurs =
          tpm.rights().isEmpty() || (int) Files.getAttribute(path(folder), OWNER) == owner();
      for (String file : isOurs ? Siblings.names(folder) : List.<String>of()) {
        if (STATE.matcher(file).matches() && Files.size(path(folder).resolve(file)) > 0) {
          return true;
        }
      }
      return false;
    }
  }

  private int owner() {
    return tpm.rights().map(ProcessRights::uid).orElse(user.orElse(Host.effectiveUid()));
  }

  /// Gives a folder to whoever is to write into it.
  Fd owned(Fd folder) throws IOException {
    give(path(folder));
    return folder;
  }

  /// By which what is in an open folder is found, whatever the folder is called by now.
  static Path path(Fd folder) {
    return Path.of(Descriptors.own(folder.number()));
  }

  /// What is beside the owner's folder. It is opened in the name of the user whose state it is,
  /// unless nobody but root can have put anything else on the way there.
  private Siblings folders() throws IOException {
    Optional<FileUser> other =
        tpm.rights().map(ProcessRights::files).filter(of -> of.uid() != Host.effectiveUid());
    if (other.isEmpty() || isRoots(above)) {
      return Siblings.in(above);
    }
    requireWritable(other.get());
    return Siblings.in(other.get().open(above, OpenFlags.READ_ONLY));
  }

  private void requireWritable(FileUser other) throws IOException {
    try (Fd _ = other.open(above, OpenFlags.NAMELESS)) {
      return;
    } catch (LinuxException e) {
      if (REFUSALS.contains(e.errnoName())) {
        throw new IOException(other + " may not write in " + above, e);
      }
      // Not every file system has files without names.
    }
  }

  private static boolean isRoots(Path folder) throws IOException {
    for (Path path = folder; path != null; path = path.getParent()) {
      int mode = (int) Files.getAttribute(path, "unix:mode");
      boolean closed = (mode & OTHERS_WRITE) == 0 || (mode & STICKY) != 0;
      if (!closed || (int) Files.getAttribute(path, OWNER) != 0) {
        return false;
      }
    }
    return true;
  }
}
