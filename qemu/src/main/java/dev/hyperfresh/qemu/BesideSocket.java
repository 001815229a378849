package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// A socket that QEMU has from its start or never: that of a monitor, at which the manager of a
/// borrowed guest looks for it, since QEMU gives a monitor no other character device than the one
/// it started with; and that of a SPICE server. So a later instance listens beside the file that
/// the manager, or a client, knows, and takes its place with the file when no other instance is
/// left.
///
/// That of a monitor is made here and passed on; that of a SPICE server is made by QEMU itself.
///
/// The kernel calls a socket by the name under which it was made, whatever its file is called
/// since, and a QEMU that ends removes what has that name. So no two have the same one, also of
/// several loans of a guest.
///
/// @param path that others know
/// @param loan the process that the guest was borrowed with; 0 of one that was adopted for good
/// @param generation of the instance
record BesideSocket(Path path, int loan, int generation) {
  private static final System.Logger LOG = System.getLogger(BesideSocket.class.getName());

  /// What is added to the path: the loan and the generation.
  private static final String MARK = ".hf";

  private static final Pattern MARKED = Pattern.compile("(.+)\\.hf[0-9]{1,10}-[0-9]{1,10}");

  /// As long as the longest addition that there is in practice.
  private static final int LONGEST_MARK = (MARK + "4194304-99").length();

  private static final int PERMISSIONS = 0777;

  /// The permissions where no file shows which.
  private static final int CLOSED = 0600;

  /// Those of the monitors of an instance; none unless it is a later one of a guest that was
  /// borrowed.
  static List<BesideSocket> of(Launch launch) {
    return AdoptedMachine.isFirst(launch.generation())
        ? List.of()
        : launch.adopted().stream().flatMap(machine -> of(machine, launch.generation())).toList();
  }

  private static Stream<BesideSocket> of(AdoptedMachine machine, int generation) {
    OptionalInt loan = machine.borrowed();
    return loan.isEmpty()
        ? Stream.empty()
        : monitors(machine).map(known -> new BesideSocket(known, loan.getAsInt(), generation));
  }

  private static Stream<Path> monitors(AdoptedMachine machine) {
    return new AdoptedWords(machine.words())
        .monitors().stream()
            .flatMap(monitor -> monitor.file().stream())
            .map(file -> Path.of(file.path()));
  }

  /// That of the SPICE server of an instance; none unless it is a later one of a guest that was
  /// adopted with one that listens.
  static Optional<BesideSocket> ofSpice(Launch launch) {
    return launch
        .adopted()
        .filter(_ -> !AdoptedMachine.isFirst(launch.generation()))
        .flatMap(machine ->
            spice(machine)
                .map(known ->
                    new BesideSocket(known, machine.borrowed().orElse(0), launch.generation())));
  }

  private static Optional<Path> spice(AdoptedMachine machine) {
    return new AdoptedWords(machine.words())
        .spice()
        .flatMap(SpiceServer::socket)
        .map(file -> Path.of(file.path()));
  }

  /// All of an instance.
  static List<BesideSocket> all(Launch launch) {
    return Stream.concat(of(launch).stream(), ofSpice(launch).stream()).toList();
  }

  /// Whether there can be one beside a file.
  static boolean fits(SocketFile file) {
    int bytes = file.path().getBytes(StandardCharsets.UTF_8).length;
    return bytes + LONGEST_MARK <= UnixSocket.MAX_PATH;
  }

  /// The file of a socket that was made under the name `made`.
  static Path found(Path made) {
    Matcher marked = MARKED.matcher(made.toString());
    return marked.matches() && !Files.exists(made, LinkOption.NOFOLLOW_LINKS)
        ? Path.of(marked.group(1))
        : made;
  }

  /// Where it listens at first.
  Path beside() {
    return path.resolveSibling(path.getFileName() + MARK + loan + "-" + generation);
  }

  /// Makes it, as the file is that the manager knows.
  ///
  /// @throws LinuxException when it cannot be made
  /// @throws UncheckedIOException when it cannot be like that file
  UnixSocket listen(FileUser user) {
    Map<String, Object> known = Map.of();
    try {
      known = Files.readAttributes(path, "unix:mode,uid,gid", LinkOption.NOFOLLOW_LINKS);
    } catch (IOException gone) {
      LOG.log(System.Logger.Level.DEBUG, path + " is not there", gone);
    }
    remove(user);
    UnixSocket socket =
        user.listen(beside(), known.get("mode") instanceof Integer m ? m & PERMISSIONS : CLOSED);
    try {
      for (String whose : List.of("uid", "gid")) {
        own("unix:" + whose, known.get(whose));
      }
      return socket;
    } catch (IOException e) {
      socket.close();
      remove(user);
      throw new UncheckedIOException(beside() + " cannot be like " + path, e);
    }
  }

  /// A link is not followed: the folder may be the user's.
  private void own(String attribute, @Nullable Object wanted) throws IOException {
    Object is = Files.getAttribute(beside(), attribute, LinkOption.NOFOLLOW_LINKS);
    if (wanted != null && !wanted.equals(is)) {
      Files.setAttribute(beside(), attribute, wanted, LinkOption.NOFOLLOW_LINKS);
    }
  }

  /// Takes its place, unless it has it already.
  ///
  /// @throws Qmp.QmpException when it cannot
  void take(FileUser user) {
    if (!Files.exists(beside(), LinkOption.NOFOLLOW_LINKS)) {
      if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
        throw new Qmp.QmpException("its file was removed, and QEMU makes no other");
      }
      return;
    }
    SocketFile file = new SocketFile(path.toString());
    file.holderOfOwners(user)
        .fault(path.toString())
        .ifPresent(fault -> {
          throw new Qmp.QmpException(fault);
        });
    try {
      user.rename(beside(), path);
    } catch (IOException | LinuxException e) {
      throw new Qmp.QmpException("its file cannot take that place: " + e.getMessage());
    }
  }

  /// Removes it from beside the file that the manager knows.
  void remove(FileUser user) {
    remove(beside(), user);
  }

  /// Removes what instances have left beside the files of a guest all of whose other instances have
  /// ended.
  static void sweep(Launch launch, FileUser user) {
    launch.adopted().filter(machine -> machine.borrowed().isPresent()).stream()
        .flatMap(machine -> Stream.concat(monitors(machine), spice(machine).stream()))
        .forEach(known -> besides(known).forEach(left -> remove(left, user)));
  }

  private static List<Path> besides(Path known) {
    try (Stream<Path> all = Files.list(known.resolveSibling(""))) {
      return all.filter(file -> isBeside(file, known)).toList();
    } catch (IOException | UncheckedIOException e) {
      LOG.log(System.Logger.Level.DEBUG, "beside " + known + " nothing is seen", e);
      return List.of();
    }
  }

  private static boolean isBeside(Path file, Path known) {
    Matcher marked = MARKED.matcher(file.toString());
    return marked.matches() && marked.group(1).equals(known.toString());
  }

  private static void remove(Path file, FileUser user) {
    try {
      user.remove(file);
    } catch (IOException | LinuxException e) {
      LOG.log(System.Logger.Level.WARNING, file + " cannot be removed", e);
    }
  }
}
