package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.FILES;
import static dev.hyperfresh.qemu.ForeignLines.FOLDER;
import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Channels to programs in the guest, and further consoles, on sockets.
class ForeignChannelsTest {
  @TempDir Path folder;

  private static List<SocketChardev> sockets(ForeignCommandLine line) {
    assertThat(line.reasons()).isEmpty();
    return new AdoptedWords(line.words()).sockets();
  }

  /// With devices that have no names.
  private static ForeignCommandLine nameless(int devices, String... more) {
    return read(live(Set.of(), devices, List.of()), more);
  }

  @Test
  void theAgentOfAGuestOfProxmoxKeepsItsSocket() {
    ForeignCommandLine line =
        read(
            live(Set.of("agent"), 1, List.of()),
            "-chardev",
            "socket,path=/run/qemu-server/100.qga,server=on,wait=off,id=agent0",
            "-device",
            "virtio-serial,id=agent,bus=pcie.0,addr=0x8",
            "-device",
            "virtserialport,chardev=agent0,name=org.qemu.guest_agent.0");
    assertThat(joined(line))
        .contains("-chardev socket,id=agent0,path=/run/qemu-server/100.qga,server=on,wait=off ")
        .contains("-device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0");
    assertThat(line.remarks())
        .containsExactly(
            "With each replacement, whoever is connected to its socket"
                + " unix:/run/qemu-server/100.qga (agent0) is disconnected and has to connect"
                + " again; what is on its way then is lost.");
    assertThat(sockets(line)).hasSize(1);
  }

  /// libvirt passes sockets that listen already.
  @Test
  void aSocketThatWasPassedIsTakenOverByItsPath() {
    List<String> words = new ArrayList<>(BASE);
    words.addAll(
        List.of(
            "-add-fd",
            "set=0,fd=20,opaque=serial0-log",
            "-chardev",
            "socket,id=charserial0,fd=18,server=on,wait=off,logfile=/dev/fdset/0,logappend=on",
            "-device",
            "{\"driver\":\"isa-serial\",\"chardev\":\"charserial0\",\"id\":\"serial0\",\"index\":0}",
            "-chardev",
            "socket,id=charchannel0,fd=19,server=on,wait=off",
            "-device",
            "{\"driver\":\"virtserialport\",\"nr\":1,\"chardev\":\"charchannel0\","
                + "\"id\":\"channel0\",\"name\":\"org.qemu.guest_agent.0\"}"));
    Map<Integer, Path> sockets =
        Map.of(18, Path.of("/run/libvirt/c0"), 19, Path.of("/run/libvirt/a"));
    ForeignCommandLine line = libvirt(words, Optional.of(sockets));
    assertThat(sockets(line))
        .singleElement()
        .returns(
            "socket,id=charchannel0,path=/run/libvirt/a,server=on,wait=off", SocketChardev::text);
    assertThat(joined(line)).contains("-chardev socket,id=charserial0,fd=12,");

    assertThat(libvirt(words, Optional.of(Map.of(21, Path.of("/run/x")))).reasons())
        .singleElement()
        .asString()
        .contains("id=charchannel0", "it was passed no unix socket");
    // Nobody looked at the process.
    ForeignCommandLine unseen = ForeignCommandLine.unseen(words, "7.2.22");
    assertThat(unseen.obstacles()).isEmpty();
    assertThat(unseen.remarks())
        .anySatisfy(
            remark -> assertThat(remark).contains("its socket descriptor 19 (charchannel0)"));
  }

  private static ForeignCommandLine libvirt(
      List<String> words, Optional<Map<Integer, Path>> sockets) {
    return new ForeignCommandLine(
        words,
        new ForeignFolders(FOLDER, FILES, Map.of(), sockets),
        "web1",
        live(Set.of("serial0", "channel0"), 0, List.of()));
  }

  @Test
  void whatAProcessWasPassedIsFound() throws Exception {
    Path path = folder.resolve("c.sock");
    int pid = Math.toIntExact(ProcessHandle.current().pid());
    try (PidFd self = PidFd.open(pid);
        UnixSocket listener = UnixSocket.listen(path, 0600);
        UnixSocket client = UnixSocket.connect(path);
        UnixSocket server = listener.accept()) {
      ForeignProcess process = new ForeignProcess(pid);
      assertThat(process.sockets(self))
          .containsEntry(listener.fd().number(), path)
          .doesNotContainKeys(client.fd().number(), server.fd().number());
      assertThat(process.listensAt(path, pid, self)).isTrue();
      // Somebody else's in its place.
      assertThat(process.listensAt(path, 1, self)).isFalse();
      assertThat(process.listensAt(folder.resolve("d"), pid, self)).isFalse();
      // Anybody can give a name that looks like a line of the kernel's list.
      String name = "x\n0: 00000002 00000000 what 0001 01 7 x";
      try (UnixSocket _ = UnixSocket.listen(folder.resolve(name), 0600)) {
        assertThat(process.listensAt(path, pid, self)).isTrue();
        assertThat(process.sockets(self)).containsEntry(listener.fd().number(), path);
      }
    }
  }

  /// The first console is HyperFresh's.
  @Test
  void aSecondConsoleKeepsItsSocketAndItsLog() {
    ForeignCommandLine line =
        read(
            live(Set.of("ports", "console0"), 0, List.of()),
            "-chardev",
            "socket,id=ser,path=ser.sock,server=on,wait=off,logfile=ser.log",
            "-serial",
            "chardev:ser",
            "-chardev",
            "socket,id=hvc,path=hvc.sock,server,nowait,logfile=hvc.log",
            "-device",
            "virtio-serial-pci,id=ports,max_ports=1",
            "-device",
            "virtconsole,chardev=hvc,id=console0");
    assertThat(sockets(line))
        .singleElement()
        .returns(
            "socket,id=hvc,path=/srv/vm/hvc.sock,server=on,wait=off,logfile=/srv/vm/hvc.log,"
                + "logappend=on",
            SocketChardev::text);
    assertThat(line.console()).contains(Path.of("/srv/vm/ser.sock"));
    assertThat(line.logs()).contains(Path.of("/srv/vm/hvc.log"));
    assertThat(line.remarks())
        .hasSize(2)
        .first()
        .asString()
        .contains("its console leaves that socket");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          unix:/run/b,server=on,wait=off  | socket,id=hf-serial2,path=/run/b,server=on,wait=off
          unix:b,server,nowait            | socket,id=hf-serial2,path=/srv/vm/b,server=on,wait=off
          mon:unix:/run/b,server=on       | socket,id=hf-serial2,path=/run/b,server=on,wait=off
          tcp:127.0.0.1:4444,server=on    | socket,id=hf-serial2,host=127.0.0.1,port=4444,server=on,wait=off
          tcp::4444,server,nodelay        | socket,id=hf-serial2,host=,port=4444,server=on,wait=off,delay=off
          telnet:localhost:4444,server    | socket,id=hf-serial2,host=localhost,port=4444,server=on,wait=off,telnet=on
          tcp:h:4444                      | socket,id=hf-serial2,host=h,port=4444,reconnect-ms=1000
          file:b.log                      | file,id=hf-serial2,path=/srv/vm/b.log,append=on
          """)
  void aSecondSerialPortGetsACharacterDevice(String value, String chardev) {
    ForeignCommandLine line = read("-serial", "unix:/run/a,server=on", "-serial", value.strip());
    assertThat(joined(line))
        .contains("-serial chardev:hf-console")
        .contains("-chardev " + chardev.strip() + " -serial chardev:hf-serial2");
    assertThat(line.console()).contains(Path.of("/run/a"));
  }

  /// A console that clients reach over the network stays there.
  @Test
  void aFirstSerialPortOnAPortOfTheHostIsNoConsoleOfOurs() {
    ForeignCommandLine line = read("-serial", "tcp:127.0.0.1:4444,server=on,wait=off");
    assertThat(joined(line))
        .contains("-chardev socket,id=hf-serial1,host=127.0.0.1,port=4444,server=on,wait=off")
        .contains("-serial chardev:hf-serial1")
        .doesNotContain("hf-console");
    assertThat(read("-serial", "msmouse").reasons())
        .singleElement()
        .asString()
        .contains("two processes cannot hold its other end; put it on a socket or a file");
  }

  @Test
  void twoPortsOfTheSameWordsAreTwo() {
    assertThat(joined(read("-serial", "none", "-serial", "file:a", "-serial", "file:a")))
        .contains("-serial none -chardev file,id=hf-serial2,")
        .contains("-chardev file,id=hf-serial3,");
  }

  @Test
  void aClientConnectsAgainByItself() {
    for (String words : List.of("reconnect=2", "reconnect-ms=2000")) {
      ForeignCommandLine line =
          nameless(
              1, "-chardev", "socket,id=c,path=/run/c," + words, "-device", "isa-serial,chardev=c");
      assertThat(joined(line))
          .as("the console")
          .contains("-chardev socket,id=c,fd=12,")
          .doesNotContain("reconnect");
      ForeignCommandLine channel =
          nameless(
              1,
              "-chardev",
              "socket,id=c,path=/run/c," + words,
              "-device",
              "virtserialport,chardev=c");
      assertThat(sockets(channel))
          .singleElement()
          .returns("socket,id=c,path=/run/c,reconnect-ms=2000", SocketChardev::text);
      assertThat(channel.remarks())
          .singleElement()
          .asString()
          .contains("its connection to unix:/run/c (c) ends and is made anew");
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          socket,id=c,path=/run/c,server=on,tls-creds=t    | with tls-creds cannot be taken over yet
          socket,id=c,host=,port=1,to=9,server=on          | with to cannot be taken over yet
          socket,id=c,path=/run/c,server=on,frobnicate=1   | not known here: frobnicate
          socket,id=c,path=/run/c,server=on,mux=on         | what several share
          socket,id=c,path=/proc/self/fd/3,server=on       | its path cannot be used
          socket,id=c,host=h,port=1,server=on              | would look its host up in the network
          socket,id=c,host=h,port=http,server=on           | its address cannot be understood
          socket,id=c,host=h,port=0,server=on              | its address cannot be understood
          socket,id=c,server=on                            | its address cannot be understood
          socket,id=c,path=/run/c,reconnect=soon           | is not a number
          socket,id=c,fd=3                                 | a connection that it was passed
          udp,id=c,host=h,port=7                           | two processes cannot hold its other end
          pipe,id=c,path=/run/p                            | two processes cannot hold its other end
          qemu-vdagent,id=c,clipboard=on                   | before 10.1
          spicevmc,id=c,name=vdagent                       | there is no -spice
          dbus,id=c,name=org.qemu.a                        | a display
          """)
  void whatCannotBeTakenOverIsSaid(String chardev, String reason) {
    assertThat(
            nameless(1, "-chardev", chardev.strip(), "-device", "virtserialport,chardev=c")
                .reasons())
        .singleElement()
        .asString()
        .startsWith("-chardev " + chardev.strip() + ": ")
        .contains(reason.strip());
  }

  /// QEMU changes what is behind a device only where that device knows of it.
  @Test
  void aDeviceThatKeepsItsCharacterDeviceIsNamed() {
    String chardev = "socket,id=c,path=/run/c,server=on";
    assertThat(nameless(1, "-chardev", chardev, "-device", "isa-debugcon,chardev=c").reasons())
        .singleElement()
        .asString()
        .contains("QEMU gives isa-debugcon no other socket");
    assertThat(read("-chardev", chardev).reasons())
        .singleElement()
        .asString()
        .contains("nothing is at it; leave it out");
    assertThat(
            read(
                    "-chardev",
                    "socket,id=m,path=/run/m,server=on,mux=on",
                    "-mon",
                    "chardev=m",
                    "-serial",
                    "none",
                    "-serial",
                    "chardev:m")
                .reasons())
        .singleElement()
        .asString()
        .contains("what several share");
  }

  /// Two processes cannot have one, and older releases know none.
  @Test
  void theLinkOfATerminalIsNotMadeAgain() {
    ForeignCommandLine line =
        nameless(1, "-chardev", "pty,id=t,path=/run/t", "-device", "virtserialport,chardev=t");
    assertThat(joined(line)).contains("-chardev backend=pty,id=t ").doesNotContain("/run/t");
    assertThat(line.remarks()).hasSize(2).last().asString().contains("the link /run/t");
  }
}
