package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.forwarding;
import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static dev.hyperfresh.qemu.ForeignLines.whole;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.FileUser;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// What a foreign command line connects the guest's cards to.
class ForeignNetworkTest {
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          tap,id=n,fd=30                                 | tap,id=n,fd=13
          tap,id=n,fd=30,vhost=on                        | tap,id=n,fd=13,vhost=on
          tap,id=n,fd=30,vhost=on,poll-us=50             | tap,id=n,fd=13,vhost=on,poll-us=50
          tap,id=n,fd=30,vhost=off,vhostforce=on         | tap,id=n,fd=13
          tap,id=n,fd=30,vhostforce=on                   | tap,id=n,fd=13,vhost=on,vhostforce=on
          tap,id=n,fd=30,vhostfd=31                      | tap,id=n,fd=13,vhost=on
          tap,id=n,vhost=on,vhostfds=5,fds=6             | tap,id=n,fd=13,vhost=on
          tap,id=n,fds=6:9:7,vhostfds=1:2:3              | tap,id=n,fds=13:14:15,vhost=on
          type=tap,id=n,ifname=t0,script=/a,vhost=on     | tap,id=n,fd=13,vhost=on
          tap,id=n,ifname=t0,queues=2,downscript=no      | tap,id=n,fds=13:14
          bridge,id=n,br=br1                             | tap,id=n,fd=13
          {"type":"tap","fds":"2:3","vhost":true,"vhostfds":"4:5","id":"n"} | tap,id=n,fds=13:14,vhost=on
          {"type":"tap","fd":"22","vhost":true,"vhostfd":"24","id":"n"}     | tap,id=n,fd=13,vhost=on
          """)
  void aTapBecomesAPortOfOurs(String given, String wanted) {
    assertThat(" " + joined(read("-netdev", given.strip())) + " ")
        .contains(" -netdev " + wanted.strip() + " ");
  }

  /// Those of all cards are counted through; descriptors of a guest's disks come in between.
  @Test
  void theQueuesOfAllCardsHaveNumbersOfTheirOwn() {
    ForeignCommandLine line =
        read("-netdev", "tap,id=a,fds=1:2:3:4:5:6:7", "-netdev", "tap,id=b,fds=11:12:13");
    assertThat(joined(line))
        .contains("tap,id=a,fds=13:14:15:16:17:18:19")
        .contains("tap,id=b,fds=20:400:401");
    assertThat(line.cards()).extracting(ForeignNetwork.Card::queues).containsExactly(7, 3);
    assertThat(line.cards().getLast().descriptors()).containsExactly(11, 12, 13);

    assertThat(read("-netdev", "tap,id=a,ifname=t,queues=49").reasons())
        .singleElement()
        .asString()
        .contains("more than 48 queues");
    assertThat(read("-netdev", "tap,id=a,ifname=t,queues=48").reasons()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          tap,id=n,ifname=t                                 | 1 | true  | remark | scripts are not run
          tap,id=n,ifname=t,script=no,downscript=/d         | 1 | true  | remark | scripts are not run
          tap,id=n,ifname=t,script=no,downscript=           | 1 | false | remark | one without a bridge
          tap,id=n,ifname=t,queues=4                        | 4 | true  | remark | Another tap
          tap,id=n,ifname=t,queues=4,script=no,downscript=no | 4 | false | moves |
          tap,id=n,fds=3:4                                  | 2 | false | remark | queues of a macvtap
          tap,id=n,fd=3                                     | 1 | false | remark | If its tap has one queue
          tap,id=n,fd=3,vhost=on                            | 1 | false | remark | If it is a macvtap, it stays
          bridge,id=n                                       | 1 | false | remark | one without a bridge
          tap,id=n,helper=/h                                | 1 | false | remark | one without a bridge
          """)
  void whatBecomesOfATapIsSaid(
      String given, int queues, boolean leaves, String verdict, String remark) {
    List<String> arguments = new ArrayList<>(BASE);
    arguments.addAll(List.of("-netdev", given.strip()));
    ForeignCommandLine line = ForeignCommandLine.unseen(arguments, "7.2.22");
    assertThat(line.verdicts())
        .filteredOn(piece -> piece.what().startsWith("-netdev"))
        .singleElement()
        .satisfies(piece -> {
          assertThat(piece.verdict().word()).isEqualTo(verdict.strip());
          assertThat(String.join(" ", piece.remarks())).contains(remark == null ? "" : remark);
        });
    assertThat(line.cards())
        .singleElement()
        .satisfies(card -> {
          assertThat(card.queues()).isEqualTo(queues);
          assertThat(card.leavesBridge()).isEqualTo(leaves);
        });
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          -netdev socket,id=n,listen=:1                | process that knows only this one; use a tap
          -netdev stream,id=n                          | process that knows only this one
          -netdev dgram,id=n                           | process that knows only this one
          -netdev vhost-user,id=n,chardev=c            | serves one QEMU at a time
          -netdev vhost-vdpa,id=n,vhostdev=/dev/v      | serves one QEMU at a time
          -netdev vde,id=n                             | its switch
          -netdev l2tpv3,id=n                          | a tunnel
          -netdev passt,id=n                           | its passt
          -netdev af-xdp,id=n                          | packets of one card
          -netdev hubport,id=n,hubid=0                 | netdev=
          -netdev carrier-pigeon,id=n                  | not known here
          -netdev id=n                                 | not known here
          -netdev none                                 | not known here
          -netdev tap,id=n,fd=x                        | not a number
          -netdev tap,id=n,fds=3:x                     | not a number
          -netdev tap,id=n,fds=3:                      | not a number
          -netdev tap,id=n,fd=3,queues=2               | how many queues
          -netdev tap,id=n,fds=3:4,queues=3            | how many queues
          -netdev tap,id=n,ifname=t,queues=0           | how many queues
          -netdev tap,id=n,ifname=t,queues=99999       | how many queues
          -netdev tap,id=n,fd=3,frobnicate=on          | not known here: frobnicate
          -device virtio-net-pci,id=c,netdev=n,rss=on  | leave out rss=
          -nic tap,ifname=t0                           | use -netdev and -device
          -net tap                                     | use -netdev and -device
          -nic socket,connect=:1                       | process that knows only this one
          -nic user,model=i82551                       | this model of a card
          -net nic,model=i82551                        | this model of a card
          -net nic,frobnicate=on                       | not known here: frobnicate
          -netdev user,id=n,smb=/srv                   | smbd
          -netdev user,id=n,guestfwd=tcp:10.0.2.9:1-cmd:id | leave out guestfwd=
          -netdev user,id=n,frobnicate=on              | not known here: frobnicate
          -netdev user,id=n,model=e1000                | not known here: model
          -netdev user,hostfwd=tcp::1-:1               | no name
          -netdev user,id=a b                          | no name
          -netdev user,id=n,tftp=/proc/self/root       | path of its folder
          -netdev user,id=n,hostfwd=tcp::0-:22         | another port of the host
          -netdev user,id=n,hostfwd=unix:/s-:22        | of a form
          -netdev user,id=n,hostfwd=tcp:[::1]:1-:22    | of a form
          -netdev user,id=n,hostfwd=tcp::99999-:22     | of a form
          -netdev {"type":"user","id":"n","guestfwd":[{"str":"tcp:10.0.2.9:1-cmd:id"}]} | leave out guestfwd=
          """)
  void whatCannotBeTakenOverIsRefusedWithItsReason(String words, String reason) {
    assertThat(read(words.strip().split(" ", 2)).reasons())
        .filteredOn(sentence -> !sentence.startsWith("Its "))
        .singleElement()
        .asString()
        .contains(reason.strip());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          -netdev user,id=n                            | -netdev type=user,id=n
          -netdev user,id=n,net=10.1.0.0/24,dhcpstart=10.1.0.9,restrict=on,hostname=h | -netdev type=user,id=n,net=10.1.0.0/24,dhcpstart=10.1.0.9,restrict=on,hostname=h
          -netdev user,id=n,dnssearch=a,dnssearch=b    | -netdev type=user,id=n,dnssearch=a,dnssearch=b
          -netdev user,id=n,tftp=boot,bootfile=/x      | -netdev type=user,id=n,bootfile=/x,tftp=/srv/vm/boot
          -netdev {"type":"user","id":"n","ipv6":false,"dnssearch":[{"str":"a"},{"str":"b"}]} | -netdev type=user,id=n,ipv6=off,dnssearch=a,dnssearch=b
          -nic user                                    | -nic type=user,id=hf-user1
          -nic user,id=u,model=e1000,mac=52:54:00:00:00:01 | -nic type=user,id=u,model=e1000,mac=52:54:00:00:00:01
          -net user                                    | -net type=user,id=hf-user1
          -net nic,model=virtio,macaddr=52:54:00:00:00:01 | -net nic,model=virtio,macaddr=52:54:00:00:00:01
          -nic none                                    | -nic none
          -net none                                    | -net none
          """)
  void aUserModeNetworkIsMadeAnew(String words, String wanted) {
    ForeignCommandLine line = read(words.strip().split(" ", 2));
    assertThat(" " + joined(line) + " ").contains(" " + wanted.strip() + " ");
    assertThat(line.cards()).isEmpty();
    assertThat(line.hasUserNetwork()).isEqualTo(wanted.contains("type=user"));
    assertThat(line.served())
        .isEqualTo(wanted.contains("tftp") ? Set.of(Path.of("/srv/vm/boot")) : Set.of());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          user,id=n,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp::53-10.0.2.15:53
          {"type":"user","id":"n","hostfwd":[{"str":"tcp:127.0.0.1:2222-:22"},{"str":"udp::53-10.0.2.15:53"}]}
          user,hostfwd=:127.0.0.1:2222-:22,id=n,hostfwd=udp:0.0.0.0:53-10.0.2.15:53
          """)
  void portsOfTheHostAreTakenWhenTheOldProcessHasEnded(String given) {
    LiveMachine live =
        forwarding(
            live(Set.of(), 0, List.of()),
            "tcp:127.0.0.1:2222-10.0.2.15:22",
            "udp::53-10.0.2.15:53");
    ForeignCommandLine line = read(live, "-netdev", given.strip());
    assertThat(joined(line))
        .contains(",hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp:")
        .contains(":53-10.0.2.15:53");
    assertThat(line.remarks())
        .singleElement()
        .asString()
        .contains("connections", "new ones work", "tcp:127.0.0.1:2222 and udp::53");
    AdoptedWords words = new AdoptedWords(line.words());
    assertThat(words.takenLater(FileUser.SELF))
        .singleElement()
        .satisfies(later -> assertThat(later.otherwise()).contains("tcp:127.0.0.1:2222"));
    for (List<String> begun : Arrays.asList(words.silent(), words.booting())) {
      assertThat(begun).contains("type=user,id=n").noneMatch(word -> word.contains("hostfwd"));
    }
  }

  @Test
  void portsThatWereChangedSinceAreNoticed() {
    LiveMachine live =
        forwarding(live(Set.of(), 0, List.of()), "tcp::80-10.0.2.15:80", "tcp::81-10.0.2.15:81");
    assertThat(read(live, "-netdev", "user,id=n,hostfwd=tcp::80-:80,hostfwd=tcp::82-:82").reasons())
        .singleElement()
        .asString()
        .contains("opened since: tcp::81-10.0.2.15:81", "closed since: tcp::82-:82");
  }

  /// QEMU connects a guest if it is not told otherwise.
  @Test
  void theDefaultNetworkIsAUserModeNetwork() {
    List<String> arguments = new ArrayList<>(BASE);
    arguments.remove("-nodefaults");
    arguments.addAll(
        List.of("-serial", "none", "-monitor", "none", "-parallel", "none", "-vga", "none"));
    ForeignCommandLine line = whole(arguments, live(Set.of(), 0, List.of()));
    assertThat(line.reasons()).isEmpty();
    assertThat(line.hasUserNetwork()).isTrue();
    assertThat(line.remarks()).anyMatch(remark -> remark.contains("default network card"));
    assertThat(read().hasUserNetwork()).isFalse();
  }
}
