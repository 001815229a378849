package dev.hyperfresh.hypervisor;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/// What a guest's machine has beside processors, memory, disks and cards.
///
/// @param rng a source of randomness
/// @param balloon a balloon, by which the guest gives pages back to the host that it has freed
/// @param cloudInit what cloud-init in the guest finds on a disk of its own
/// @param screen a graphics card and its screen
public record Devices(
    boolean rng, boolean balloon, Optional<CloudInit> cloudInit, Optional<Screen> screen) {
  /// None.
  public static final Devices NONE = new Devices(false, false, Optional.empty(), Optional.empty());

  /// Files that are put on a disk labelled CIDATA, which cloud-init looks for.
  ///
  /// @param metaData empty for one that names the guest
  public record CloudInit(Path userData, Optional<Path> metaData, Optional<Path> networkConfig) {
    /// All of them.
    List<Path> files() {
      List<Path> files = new ArrayList<>(List.of(userData));
      metaData.ifPresent(files::add);
      networkConfig.ifPresent(files::add);
      return files;
    }
  }

  /// A graphics card, and a VNC server that shows what it draws.
  ///
  /// @param password a file with the password; without one there is none
  public record Screen(Address address, Optional<Path> password) {}

  /// Where a VNC server listens.
  public sealed interface Address {
    /// As a spec says it.
    String text();

    /// At a unix socket among the guest's others, which the daemon makes.
    record Socket() implements Address {
      /// The word in a spec.
      public static final String WORD = "unix";

      @Override
      public String text() {
        return WORD;
      }
    }

    /// At a TCP port.
    ///
    /// @param host an IPv4 address, or one of IPv6 in brackets
    record Port(String host, int port) implements Address {
      private static final Pattern HOST =
          Pattern.compile("[0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9a-fA-F:]{2,39}]");

      /// What VNC counts its displays from.
      private static final int FIRST = 5900;

      private static final int LAST = 65_535;

      @Override
      public String text() {
        return host + ":" + port;
      }

      private boolean isWithinBounds() {
        return HOST.matcher(host).matches() && port >= FIRST && port <= LAST;
      }
    }
  }

  /// The files that a spec names for them.
  public List<Path> files() {
    List<Path> files = new ArrayList<>();
    cloudInit.ifPresent(seed -> files.addAll(seed.files()));
    screen.flatMap(Screen::password).ifPresent(files::add);
    return files;
  }

  /// What there is, as a spec says it.
  List<String> words() {
    List<String> words = new ArrayList<>();
    if (rng) {
      words.add("rng: true");
    }
    if (balloon) {
      words.add("balloon: true");
    }
    cloudInit.ifPresent(seed -> {
      words.add("cloud-init.user-data: " + seed.userData());
      seed.metaData().ifPresent(file -> words.add("cloud-init.meta-data: " + file));
      seed.networkConfig().ifPresent(file -> words.add("cloud-init.network-config: " + file));
    });
    screen.ifPresent(shown -> {
      words.add("display.vnc: " + shown.address().text());
      shown.password().ifPresent(file -> words.add("display.password-file: " + file));
    });
    return words;
  }

  /// Every fault, as [GuestSpec#faults].
  List<String> faults() {
    return screen
        .map(Screen::address)
        .filter(address -> address instanceof Address.Port port && !port.isWithinBounds())
        .map(address ->
            List.of(
                "display.vnc: '"
                    + address.text()
                    + "' is neither unix nor an address and a port from 5900 on, such as"
                    + " 127.0.0.1:5901"))
        .orElse(List.of());
  }
}
