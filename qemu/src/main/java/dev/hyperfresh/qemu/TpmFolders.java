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
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The folders with the state of one guest's TPM. There is the one that the guest's owner knows,
/// and beside it, while a replacement is under way, one for the target: the state comes to it
/// through QEMU's stream, so two swtpm never write into one folder, and a source that takes the
/// guest back has its own as it was. When the target runs the guest alone, the two folders exchange
/// their names, and the older state is removed.
///
/// The folder of a target has a mark with its generation, so that an exchange that was cut short
/// before the end of the removal is told from one that is to come: the mark goes last.
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

  /// A file in a target's folder, which goes with it to the owner's name.
  private static final Pattern TOOK_PLACE = Pattern.compile("\\.hyperfresh-of-([0-9]{1,9})");

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

  /// A new folder for a target, which gets its state from the source.
  Fd ofTarget(int generation) throws IOException {
    try (Siblings folders = folders()) {
      String own = name(generation);
      folders.remove(own);
      unmark(folders, generation);
      Fd folder = folders.make(own);
      try {
        mark(folder, generation);
        return owned(folder);
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
      int newest = 0;
      for (int generation : others(folders)) {
        if (!hasState(folders, name(generation))) {
          continue;
        }
        Optional<Boolean> ran = hasRun.apply(generation);
        if (ran.isEmpty()) {
          throw new IOException(
              "it is not known which is the newest state of its TPM: that in "
                  + tpm.state()
                  + " or that in "
                  + above.resolve(name(generation))
                  + "; remove the other one");
        }
        newest = ran.get() ? Math.max(newest, generation) : newest;
      }
      if (newest > 0) {
        takePlace(folders, newest);
      }
      removeOthers(folders, _ -> true);
      if (!folders.has(name)) {
        throw new IOException("the state of its TPM is not in " + tpm.state());
      }
      return handedOn(folders.open(name));
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

  /// Puts the state of the instance that runs the guest, alone, where its owner looks for it. Does
  /// nothing when it is there.
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
          other ->
              other < generation || hasRun.apply(other).filter(Boolean.FALSE::equals).isPresent());
    }
  }

  /// Removes the states of all instances but one, which goes on with the guest.
  void forgetOthers(int generation) throws IOException {
    try (Siblings folders = folders()) {
      removeOthers(folders, other -> other != generation);
    }
  }

  /// Removes the folder of an instance that never had the guest, if it is still there.
  void discard(int generation) throws IOException {
    try (Siblings folders = folders()) {
      folders.remove(name(generation));
    }
  }

  private void takePlace(Siblings folders, int generation) throws IOException {
    String own = name(generation);
    try (Fd folder = folders.open(own)) {
      mark(folder, generation);
    }
    if (folders.has(name)) {
      unmark(folders, generation);
      folders.exchange(own, name);
    } else {
      folders.rename(own, name);
    }
    finish(folders);
  }

  /// Removes what an exchange left, also one of an earlier process: under the name of the target is
  /// the older state then.
  private void finish(Siblings folders) throws IOException {
    if (!folders.has(name)) {
      return;
    }
    try (Fd folder = folders.open(name)) {
      for (String file : Siblings.names(folder)) {
        Matcher mark = TOOK_PLACE.matcher(file);
        if (mark.matches() && isMark(path(folder).resolve(file))) {
          folders.remove(name(Integer.parseInt(mark.group(1))));
          Files.deleteIfExists(path(folder).resolve(file));
        }
      }
    }
  }

  private static void mark(Fd folder, int generation) throws IOException {
    Path mark = path(folder).resolve(mark(generation));
    if (isMark(mark)) {
      return;
    }
    Files.deleteIfExists(mark);
    Files.createFile(mark);
    if (!isMark(mark)) {
      throw new IOException(folder.label() + " gives a new file to another user");
    }
  }

  private void unmark(Siblings folders, int generation) throws IOException {
    if (folders.has(name)) {
      try (Fd folder = folders.open(name)) {
        Files.deleteIfExists(path(folder).resolve(mark(generation)));
      }
    }
  }

  private static String mark(int generation) {
    return MARK + "of-" + generation;
  }

  /// Whether HyperFresh made the file: whoever writes into the folder could make one of that name.
  private static boolean isMark(Path file) throws IOException {
    if (!Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
      return false;
    }
    var is = Files.readAttributes(file, "unix:uid,nlink,isRegularFile", LinkOption.NOFOLLOW_LINKS);
    return Boolean.TRUE.equals(is.get("isRegularFile"))
        && Integer.valueOf(1).equals(is.get("nlink"))
        && Integer.valueOf(Host.effectiveUid()).equals(is.get("uid"));
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

  private void removeOthers(Siblings folders, Predicate<Integer> which) throws IOException {
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
  /// somebody else is none.
  private boolean hasState(Siblings folders, String name) throws IOException {
    try (Fd folder = folders.open(name)) {
      boolean isOurs =
          tpm.rights().isEmpty() || (int) Files.getAttribute(path(folder), OWNER) == owner();
      return isOurs && Siblings.names(folder).stream().anyMatch(STATE.asMatchPredicate());
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

  private static Path path(Fd folder) {
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
