package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.adopt;
import static dev.hyperfresh.testkit.Adopted.at;
import static dev.hyperfresh.testkit.Adopted.killTarget;
import static dev.hyperfresh.testkit.Adopted.moved;
import static dev.hyperfresh.testkit.Adopted.takeBack;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// The VNC server of a guest that was adopted stays where its clients look for it, whichever QEMU
/// the guest has.
@Tag("slow")
@Timeout(600)
class AdoptVncTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final String PASSWORD = "8letters";
  private static final int FIRST_PORT = 5900;
  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private int port;

  @Test
  void itsClientsFindItAfterEveryMove() throws Exception {
    port = Workshop.freePort();
    try (OwnQemu own = start()) {
      assertShown("QEMU");
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        assertThat(adopt(hyperplexor, own).detail())
            .contains("unix:" + socket() + " and 127.0.0.1:", "have to connect again")
            .doesNotContain("lost");
        assertShown("QEMU");

        ReplacementRecord back =
            hyperplexor.replace("mine", NEW, BLACKOUT, at("Prepared", () -> killTarget(own.pid())));
        assertThat(back.outcome()).as(back.detail()).isEqualTo(Outcome.ROLLED_BACK);
        own.assertRunning();
        assertShown("QEMU");

        moved(hyperplexor, NEW, Progress.NONE, "");
        assertThat(own.isAlive()).isFalse();
        assertShown("QEMU (mine)");
        moved(hyperplexor, OLD, Progress.NONE, "");
        assertShown("QEMU (mine)");

        List<UnixSocket> taken = new ArrayList<>();
        moved(
            hyperplexor,
            NEW,
            at("Committed", () -> taken.add(taken(socket()))),
            "another process listens at unix:" + socket());
        assertThat(RfbClient.at(port, PASSWORD).look().title()).isEqualTo("QEMU (mine)");
        taken.forEach(UnixSocket::close);
        hyperplexor.letGo();
      }
      try (Hyperplexor next = Workshop.hyperplexor(workspace.state())) {
        assertThat(takeBack(next)).singleElement().asString().contains("reattached");
        assertShown("QEMU (mine)");
        next.delete("mine");
      }
    }
  }

  /// Both addresses are served now, and show the guest's text in a moment: that is drawn for the
  /// first client.
  ///
  /// @param title with the name of the guest, if the QEMU was given one
  private void assertShown(String title) throws IOException {
    RfbClient.Screen text = new RfbClient.Screen(720, 400, title);
    for (RfbClient client :
        List.of(RfbClient.at(socket(), PASSWORD), RfbClient.at(port, PASSWORD))) {
      assertThat(client.look().title()).isEqualTo(title);
      Workshop.await("the guest's screen", PATIENCE, () -> shows(client, text));
    }
  }

  private static boolean shows(RfbClient client, RfbClient.Screen wanted) {
    try {
      return client.look().equals(wanted);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Path socket() {
    return workspace.state().resolve("own.vnc");
  }

  private OwnQemu start() throws IOException {
    return OwnQemu.start(
        OLD,
        workspace.state(),
        List.of(),
        "-machine",
        "pc-q35-7.2,accel=tcg,memory-backend=m",
        "-cpu",
        "qemu64",
        "-m",
        "64",
        "-object",
        "memory-backend-file,id=m,size=64M,share=on,mem-path=" + workspace.state().resolve("ram"),
        "-object",
        "secret,id=key,data=" + PASSWORD,
        "-device",
        "VGA",
        "-k",
        "de",
        "-vnc",
        "unix:own.vnc,vnc=127.0.0.1:"
            + (port - FIRST_PORT)
            + ",password-secret=key,share=ignore,power-control=on",
        "-kernel",
        Workshop.images().tick().toString());
  }

  /// Somebody else's socket in the place of the guest's.
  private static UnixSocket taken(Path path) {
    try {
      Files.delete(path);
      return UnixSocket.listen(path, 0600);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
