package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static org.assertj.core.api.Assertions.assertThat;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// The SPICE server of a foreign command line, and what belongs to it.
class ForeignSpiceTest {
  private static final String SOCKET = "unix=on,addr=/run/w.spice,disable-ticketing=on";

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          unix=on,addr=/run/w.spice,disable-ticketing=on     | disable-ticketing=on,unix=on,addr=/run/w.spice
          unix,addr=w.spice,disable-ticketing,port=5901      | disable-ticketing=on,unix=on,addr=/srv/vm/w.spice
          unix=yes,addr=/run/a,,b,gl=off                     | unix=on,addr=/run/a,,b
          port=0,image-compression=off,seamless-migration=on | image-compression=off,seamless-migration=on,port=0
          port=0,gl=off,rendernode=/dev/dri/renderD128       | port=0
          addr=127.0.0.1,playback-compression=off            | playback-compression=off,port=0
          port=5901,addr=127.0.0.1,disable-ticketing=on      | disable-ticketing=on,addr=127.0.0.1,port=5901
          disable-ticketing,port=5901                        | disable-ticketing=on,addr=0.0.0.0,port=5901
          ipv6=on,port=5901                                  | ipv6=on,addr=::,port=5901
          addr=::1,port=65535,streaming-video=off            | streaming-video=off,addr=::1,port=65535
          """)
  void aServerIsTakenOver(String given, String wanted) {
    ForeignCommandLine line = read("-spice", given.strip());
    assertThat(line.reasons()).isEmpty();
    assertThat(" " + joined(line) + " ").contains(" -spice " + wanted + " ");
  }

  @Test
  void itsClientsHaveToConnectAgain() {
    assertThat(read("-spice", SOCKET).remarks())
        .containsExactly(
            "With each replacement, its SPICE server at unix:/run/w.spice disconnects its clients,"
                + " which have to connect again.");
    assertThat(read("-spice", "port=0").remarks())
        .containsExactly(
            "With each replacement, its SPICE server disconnects its clients, which have to connect"
                + " again.");
  }

  /// QEMU cannot take a port later than at its start.
  @Test
  void thePortOfOneIsServedByTheDaemon() throws Exception {
    ForeignCommandLine line = read("-spice", "port=5901,addr=::1,disable-ticketing=on");
    assertThat(line.remarks())
        .hasSize(2)
        .anyMatch(remark -> remark.contains("the daemon listens at [::1]:5901 in the place of"))
        .anyMatch(remark -> remark.contains("its SPICE server at [::1]:5901 disconnects"));
    AdoptedWords words = new AdoptedWords(line.words());
    assertThat(words.spice().flatMap(SpiceServer::port))
        .contains(new InetSocketAddress(InetAddress.ofLiteral("::1"), 5901));
    assertThat(words.spice().flatMap(SpiceServer::socket)).isEmpty();
    assertThat(words.silent()).containsSubsequence("-spice", "disable-ticketing=on,port=0");
    assertThat(words.spice().orElseThrow().unreachable(true, _ -> false)).isEmpty();
    assertThat(words.spice().orElseThrow().unreachable(false, _ -> true))
        .hasValueSatisfying(it -> assertThat(it).contains("in another network namespace"));
  }

  /// Nobody would listen there when the manager has it back.
  @Test
  void aPortOfABorrowedGuestIsRefused() {
    for (String address : List.of("port=5901,addr=::1", "unix=on,addr=/run/w.spice")) {
      ForeignCommandLine line =
          ForeignCommandLine.unseen(
              List.of("-nodefaults", "-spice", address + ",disable-ticketing=on"),
              "7.2.22",
              false,
              true);
      assertThat(line.obstacles().stream().filter(it -> it.startsWith("-spice")))
          .hasSize(address.startsWith("port") ? 1 : 0);
    }
  }

  /// One that is told over QMP is nowhere to be read.
  @Test
  void aPasswordIsSaidToBeLost() {
    assertThat(read("-spice", "unix=on,addr=/run/w.spice").remarks())
        .hasSize(2)
        .first()
        .asString()
        .contains("the password of its SPICE server is lost", "password-secret=");
  }

  @Test
  void aSecretGoesWithItsServer() {
    ForeignCommandLine line =
        read(
            "-object",
            "secret,id=s,file=/etc/spice.key",
            "-object",
            "secret,id=other,data=x",
            "-spice",
            "unix=on,addr=/run/w.spice,password-secret=s");
    assertThat(joined(line))
        .contains("-object qom-type=secret,id=s,file=/etc/spice.key")
        .contains("-spice password-secret=s,unix=on,addr=/run/w.spice")
        .doesNotContain("id=other");
    assertThat(line.secrets()).containsExactly(Path.of("/etc/spice.key"));
    assertThat(line.remarks())
        .hasSize(2)
        .noneMatch(remark -> remark.contains("lost"))
        .anyMatch(remark -> remark.contains("told after its start is forgotten"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          port=65536,addr=127.0.0.1                     | only numbers of ports are
          port=spice                                    | only numbers of ports are
          port=5900,addr=localhost                      | would have to be looked up
          port=0,gl=on,rendernode=/dev/dri/renderD128   | what OpenGL has drawn
          port=0,tls-port=5901                          | with tls-port cannot be taken over yet
          port=0,sasl=on                                | with sasl cannot be taken over yet
          port=0,x509-dir=/etc/pki/qemu                 | with x509-dir cannot be taken over yet
          port=0,password=hunter2                       | use password-secret=
          port=0,frobnicate=on                          | not known here: frobnicate
          unix=on                                       | its path cannot be used by another process
          unix=on,addr=@w.spice                         | a name without a file cannot change hands
          unix=on,addr=/dev/fd/7                        | its path cannot be used by another process
          """)
  void whatCannotBeTakenOverIsSaid(String given, String reason) {
    assertThat(read("-spice", given.strip()).reasons())
        .singleElement()
        .asString()
        .startsWith("-spice ")
        .contains(reason)
        .doesNotContain("hunter2");
  }

  @Test
  void aPathWithoutRoomForAnotherOneIsRefused() {
    assertThat(read("-spice", "unix=on,addr=/run/" + "s".repeat(95)).reasons())
        .singleElement()
        .asString()
        .contains("its path is too long for another socket beside it");
  }

  @Test
  void qemuMakesOneServerOfSeveral() {
    assertThat(read("-spice", "port=0", "-spice", "unix=on,addr=/run/w.spice").reasons())
        .hasSize(2)
        .allMatch(reason -> reason.contains("one server of several -spice"));
  }

  @Test
  void itsChannelsAndCardsGoAlong() {
    ForeignCommandLine line =
        read(
            live(Set.of(), 5, List.of()),
            "-spice",
            SOCKET,
            "-device",
            "qxl-vga",
            "-device",
            "qxl",
            "-chardev",
            "spicevmc,id=agent,name=vdagent",
            "-device",
            "virtserialport,chardev=agent,name=com.redhat.spice.0",
            "-chardev",
            "spiceport,id=dav,name=org.spice-space.webdav.0",
            "-device",
            "virtserialport,chardev=dav",
            "-chardev",
            "spicevmc,id=redir,name=usbredir",
            "-device",
            "usb-redir,chardev=redir");
    assertThat(line.reasons()).isEmpty();
    assertThat(joined(line))
        .contains("-device qxl-vga -device qxl -chardev spicevmc,id=agent,name=vdagent")
        .contains("-chardev spiceport,id=dav,name=org.spice-space.webdav.0")
        .contains("-chardev spicevmc,id=redir,name=usbredir -device usb-redir,chardev=redir");
    assertThat(line.remarks())
        .hasSize(2)
        .anyMatch(remark -> remark.contains("by its channel redir is unplugged"));
  }

  @Test
  void itsClientsHearTheGuest() {
    String sound = "{\"id\":\"audio1\",\"driver\":\"spice\"}";
    assertThat(joined(read("-audiodev", sound, "-spice", SOCKET)))
        .contains("-audiodev " + sound + " -spice");
    assertThat(joined(read("-audiodev", sound))).contains("-audiodev none,id=audio1");
  }

  @ParameterizedTest
  @ValueSource(strings = {"qxl", "std"})
  void aCardByItsShortNameGoesAlong(String name) {
    assertThat(joined(read("-vga", name))).contains("-vga " + name);
  }

  /// Clients know a socket, at which one process listens at a time.
  @Test
  void laterInstancesListenNowhereByThemselves() throws Exception {
    List<String> words = List.of("-append", "-spice", "-spice", SOCKET, "-k", "de");
    AdoptedWords adopted = new AdoptedWords(words);
    List<String> silent =
        List.of("-append", "-spice", "-spice", "disable-ticketing=on,port=0", "-k", "de");

    assertThat(adopted.silent()).isEqualTo(silent);
    assertThat(adopted.booting()).isEqualTo(silent);
    assertThat(adopted.standIns("web1", List.of())).isEqualTo(silent);
    assertThat(adopted.spice().flatMap(SpiceServer::socket))
        .contains(new SocketFile("/run/w.spice"));
    SpiceServer elsewhere = adopted.spice().orElseThrow().at(Path.of("/run/o"));
    assertThat(new AdoptedWords(silent).with(elsewhere).words())
        .contains("unix=on,addr=/run/o,disable-ticketing=on");
    assertThat(new AdoptedWords(List.of("-spice", "port=0")).spice().flatMap(SpiceServer::socket))
        .isEmpty();
  }

  @Test
  void aFolderThatIsAnotherOneForThisDaemonIsNamed() {
    SpiceServer server = SpiceServer.of(SOCKET);
    assertThat(server.unreachable(false, _ -> true)).isEmpty();
    assertThat(server.unreachable(true, folder -> !folder.equals(Path.of("/run"))))
        .hasValueSatisfying(
            reason -> assertThat(reason).contains("SPICE server's socket unix:/run/w.spice"));
    assertThat(server.silent().unreachable(false, _ -> false)).isEmpty();
  }

  @Test
  void aTwinHasItsChannels() throws Exception {
    List<String> words = List.of("-chardev", "spicevmc,id=c,name=usbredir");
    assertThat(new AdoptedWords(words).standIns("web1", List.of()))
        .containsExactly("-chardev", "backend=spicevmc,id=c,name=usbredir");
  }
}
