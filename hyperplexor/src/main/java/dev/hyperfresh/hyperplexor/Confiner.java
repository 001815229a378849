package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Bounds;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.linux.Cgroup;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.Unprivileged;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// Gives every guest a user that no other guest of this host has, and a control group.
///
/// The users are numbers without a name, [#FIRST_USER] and the [#USERS] after it: above what
/// distributions, directories and container tools hand out, below 2^31. Which are taken stands in a
/// folder that all daemons of the host share and that a reboot clears, as it ends all guests: one
/// file a user, named after it, with the guest's folder in it. Thread-safe.
final class Confiner {
  /// The first user that is handed out.
  static final int FIRST_USER = 2_000_000_000;

  /// How many there are.
  static final int USERS = 65_536;

  private static final Path SHARED = Path.of("/run/hyperfresh/users");

  private final Path users;
  private final List<Path> cgroups;
  private final Optional<String> obstacle;

  /// @param cgroups roots of control groups, the preferred one first; one that has not both
  ///   controllers is passed over
  Confiner(Path users, List<Path> cgroups, Optional<String> obstacle) {
    this.users = users;
    this.cgroups = List.copyOf(cgroups);
    this.obstacle = obstacle;
  }

  static Confiner ofThisHost() {
    return new Confiner(SHARED, List.of(Cgroup.DELEGATED, Cgroup.MOUNTED), Unprivileged.obstacle());
  }

  /// Whether guests get users of their own, and so need a way to their releases.
  boolean givesUsers() {
    return obstacle.isEmpty();
  }

  /// For a new guest whose folder `files` is there already.
  Confinement confine(GuestSpec spec, Path files) {
    if (obstacle.isPresent()) {
      return nothing(obstacle.get());
    }
    try {
      return bound(spec, claim(files));
    } catch (IOException | UncheckedIOException e) {
      return nothing(users + " cannot be used: " + e.getMessage());
    }
  }

  private static Confinement nothing(String why) {
    return new Confinement(OptionalInt.empty(), Optional.empty(), why);
  }

  /// For a guest that had `user` under an earlier daemon.
  Confinement again(GuestSpec spec, OptionalInt user, Path files) {
    if (user.isEmpty()) {
      return nothing("it was started without confinement");
    }
    Contained.run("keeping user " + user.getAsInt(), () -> keep(user.getAsInt(), files));
    return new Confinement(user, cgroup(spec.name(), user.getAsInt()), "");
  }

  private void keep(int user, Path files) {
    try {
      folder();
      var _ = take(user, files);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Confinement bound(GuestSpec spec, int user) {
    Optional<Cgroup> cgroup = cgroup(spec.name(), user);
    boolean made =
        cgroup.isPresent()
            && Contained.run("bounding " + spec.name(), () -> Bounds.of(spec).make(cgroup.get()));
    if (cgroup.isPresent() && !made) {
      Contained.run("removing cgroup " + cgroup.get(), cgroup.get()::remove);
    }
    return new Confinement(OptionalInt.of(user), made ? cgroup : Optional.empty(), "");
  }

  /// Guests of two daemons may have one name, and never one user. A guest stays where it is also
  /// when a preferred place comes up later.
  private Optional<Cgroup> cgroup(String guest, int user) {
    Path name = Path.of("hyperfresh", guest + "." + user);
    List<Cgroup> possible =
        cgroups.stream().flatMap(root -> Cgroup.at(root, name).stream()).toList();
    return possible.stream()
        .filter(Cgroup::exists)
        .findFirst()
        .or(() -> possible.stream().findFirst());
  }

  /// No process of the guest is left: gives back what was its own, if it still is. May be called
  /// again.
  ///
  /// @param files the guest's folder; while it is there, nobody else takes what is the guest's
  void release(String guest, Path files, OptionalInt user) {
    if (user.isEmpty() || !isOf(user.getAsInt(), files)) {
      return;
    }
    cgroup(guest, user.getAsInt())
        .ifPresent(cgroup -> Contained.run("removing cgroup " + cgroup, cgroup::remove));
    Path file = file(user.getAsInt());
    Contained.run("giving back the user of " + guest, () -> delete(file));
  }

  /// Gives what belongs to the group of any user of the range in the guest's folder to that of
  /// `now`, whatever was written down of the user before.
  void handOver(Path files, OptionalInt now) {
    if (now.isEmpty()) {
      return;
    }
    Contained.run(
        "handing " + files + " over",
        () -> {
          try (Stream<Path> all = Files.walk(files)) {
            for (Path file : all.toList()) {
              handOver(file, now.getAsInt());
            }
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  private static void handOver(Path file, int now) throws IOException {
    int group = (int) Files.getAttribute(file, "unix:gid", LinkOption.NOFOLLOW_LINKS);
    if (group != now && isUser(group)) {
      Files.setAttribute(file, "unix:gid", now, LinkOption.NOFOLLOW_LINKS);
    }
  }

  /// Whether the guest whose folder is `files` has a user, by whatever path.
  private boolean isOf(int user, Path files) {
    try {
      String owner = Files.readString(file(user));
      return owner.equals(files.toString())
          || (!owner.isEmpty() && Files.isSameFile(Path.of(owner), files));
    } catch (IOException e) {
      // It is given back, or cannot be read, or a folder is gone: then it is not this guest's.
      return false;
    }
  }

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private int claim(Path files) throws IOException {
    folder();
    Set<Integer> running = running();
    for (int user = FIRST_USER; user < FIRST_USER + USERS; user++) {
      if (!running.contains(user)
          && (take(user, files) || isOf(user, files) || takeLeftOver(user, files))) {
        return user;
      }
    }
    throw new IOException("all " + USERS + " users are taken");
  }

  private void folder() throws IOException {
    Files.createDirectories(
        users, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
  }

  /// Whoever makes the file has the user.
  private boolean take(int user, Path files) throws IOException {
    try {
      Files.createFile(
          file(user),
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    } catch (FileAlreadyExistsException taken) {
      return false;
    }
    Files.writeString(file(user), files.toString());
    return true;
  }

  /// A guest whose folder is gone without a word, such as that of a test that was killed. A file
  /// without a name in it is being made.
  private boolean takeLeftOver(int user, Path files) throws IOException {
    String owner;
    try {
      owner = Files.readString(file(user));
    } catch (NoSuchFileException given) {
      // Given back by another daemon since it was found taken.
      return false;
    }
    if (owner.isEmpty() || Files.exists(Path.of(owner))) {
      return false;
    }
    String guest = String.valueOf(Path.of(owner).getFileName());
    cgroup(guest, user)
        .ifPresent(cgroup -> Contained.run("removing cgroup " + cgroup, cgroup::remove));
    delete(file(user));
    return take(user, files);
  }

  private Path file(int user) {
    return users.resolve(Integer.toString(user));
  }

  /// Whether a number is one of the users that are handed out.
  static boolean isUser(int number) {
    return number >= FIRST_USER && number < FIRST_USER + USERS;
  }

  /// Users of the range that a process has now, whatever is written down.
  private static Set<Integer> running() {
    return ProcessHandle.allProcesses()
        .map(process -> Host.processUid((int) process.pid()).orElse(-1))
        .filter(Confiner::isUser)
        .collect(Collectors.toSet());
  }
}
