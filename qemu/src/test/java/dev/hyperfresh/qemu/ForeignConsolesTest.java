package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.FILES;
import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static dev.hyperfresh.qemu.ForeignLines.whole;
import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/// Serial ports and other character devices, and which of them becomes the console.
class ForeignConsolesTest {
  @Test
  void nographicBecomesOurConsole() {
    List<String> line = new ArrayList<>(BASE.subList(3, BASE.size()));
    line.addAll(List.of("-nographic", "-nic", "none"));
    ForeignCommandLine read = whole(line, live(Set.of(), 0, List.of()));
    assertThat(joined(read)).contains("-display none", "-serial chardev:hf-console");
  }

  @Test
  void aFileIsAppendedToAndAFirstSerialInAFileStaysThere() {
    assertThat(joined(read("-chardev", "file,id=log,path=dbg.log")))
        .contains("-chardev file,id=log,path=/srv/vm/dbg.log,append=on");
    assertThat(joined(read("-chardev", "file,id=log,path=dbg.log,logfile=l")))
        .contains("logfile=/srv/vm/l,append=on,logappend=on")
        .contains("path=/srv/vm/dbg.log");
    assertThat(joined(read("-serial", "file:con.log")))
        .contains("fd=12,server=on,wait=off,logfile=/srv/vm/con.log,logappend=on");
  }

  @Test
  void whatIsNotAsBeforeIsSaid() {
    ForeignCommandLine line =
        read("-chardev", "ringbuf,id=log", "-chardev", "pty,id=term", "-serial", "pty");
    assertThat(line.reasons()).isEmpty();
    assertThat(line.remarks())
        .satisfiesExactly(
            log -> assertThat(log).contains("ring buffer log (ringbuf) starts empty"),
            term -> assertThat(term).contains("terminal term (pty) gets another name"),
            serial -> assertThat(serial).contains("serial terminal (pty)"));
    assertThat(read("-chardev", "null,id=n").remarks()).isEmpty();
  }

  /// libvirt passes the log of a serial port as a descriptor.
  @Test
  void aLogGoesOnWhereItsFileIs() {
    List<String> line = new ArrayList<>(BASE);
    line.addAll(
        List.of(
            "-add-fd",
            "set=0,fd=20,opaque=serial0-log",
            "-chardev",
            "socket,id=con,fd=18,server=on,wait=off,logfile=/dev/fdset/0,logappend=on",
            "-serial",
            "chardev:con",
            "-chardev",
            "pty,id=term,logfile=/dev/fdset/1,logappend=on",
            "-chardev",
            "file,id=dbg,path=/dev/fdset/1,append=on",
            "-chardev",
            "null,id=n,logfile=n.log"));
    LiveMachine live = live(Set.of(), 0, List.of());
    Map<String, Path> logs =
        Map.of("/dev/fdset/0", Path.of("/log/s0"), "/dev/fdset/1", Path.of("/log/s1"));
    ForeignCommandLine known = whole(line, logs, live);
    assertThat(joined(known))
        .contains("id=con,fd=12,server=on,wait=off,logfile=/log/s0,logappend=on")
        .contains("-chardev backend=pty,id=term,logfile=/log/s1,logappend=on")
        .contains("-chardev file,id=dbg,path=/log/s1,append=on")
        .contains("-chardev backend=null,id=n,logfile=/srv/vm/n.log,logappend=on")
        .doesNotContain("fdset", "-add-fd");
    assertThat(known.remarks())
        .satisfiesExactly(
            con -> assertThat(con).contains("leaves that socket for the one that `guest show`"),
            term -> assertThat(term).contains("another name"));

    // A pipe to a daemon that writes it, for instance.
    ForeignCommandLine unknown = whole(line, live);
    assertThat(joined(unknown))
        .contains("id=con,fd=12,server=on,wait=off,logfile=" + FILES + "/console.log")
        .contains("-chardev backend=pty,id=term -chardev null,id=dbg ")
        .doesNotContain("fdset", "-add-fd");
    assertThat(unknown.remarks())
        .filteredOn(remark -> remark.contains("ends"))
        .hasSize(3)
        .anyMatch(remark -> remark.contains("the log of con ends"));
  }
}
