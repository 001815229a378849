package dev.hyperfresh.qemu;

import static dev.hyperfresh.qemu.ForeignLines.BASE;
import static dev.hyperfresh.qemu.ForeignLines.joined;
import static dev.hyperfresh.qemu.ForeignLines.live;
import static dev.hyperfresh.qemu.ForeignLines.read;
import static dev.hyperfresh.qemu.ForeignLines.whole;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
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
}
