package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Adopted.adopt;
import static dev.hyperfresh.testkit.Adopted.at;
import static dev.hyperfresh.testkit.Adopted.killTarget;
import static dev.hyperfresh.testkit.Adopted.moved;
import static dev.hyperfresh.testkit.Adopted.takeBack;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuModels;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/// The SPICE server of a guest that was adopted stays where its clients look for it, whichever QEMU
/// the guest has, with its card, its agent's channel and a channel for USB devices.
@Tag("slow")
@Timeout(180)
class AdoptSpiceTest {
  private static final Duration BLACKOUT = Duration.ofSeconds(10);
  private static final String SOCKET = "own.spice";
  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = withSpice("qemu-10.0");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  /// One that was fetched by an earlier version of HyperFresh lacks the modules.
  private static QemuRelease withSpice(String name) {
    QemuRelease release = Workshop.release(name);
    return QemuModels.of(Workshop.RELEASES, release.name()).spice()
        ? release
        : new QemuReleases(Workshop.CACHE.resolve("releases-with-spice"), Workshop.PACKAGES)
            .fetch(name, _ -> {});
  }

  @Test
  void aSocketIsWhereItWasAfterEveryMove() throws Exception {
    try (OwnQemu own = start("unix=on,addr=" + SOCKET);
        Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
      assertServedBy(own.pid());
      assertThat(adopt(hyperplexor, own).detail())
          .contains("its SPICE server at unix:" + socket() + " disconnects its clients")
          .contains("by its channel redir is unplugged")
          .doesNotContain("lost");

      ReplacementRecord back =
          hyperplexor.replace("mine", NEW, BLACKOUT, at("Prepared", () -> killTarget(own.pid())));
      assertThat(back.outcome()).as(back.detail()).isEqualTo(Outcome.ROLLED_BACK);
      own.assertRunning();
      assertServedBy(own.pid());

      for (QemuRelease to : List.of(NEW, OLD)) {
        moved(hyperplexor, to, Progress.NONE, "");
        assertServedBy(hyperplexor.show("mine").pid());
      }
      assertThat(own.isAlive()).isFalse();
      hyperplexor.delete("mine");
    }
  }

  @Test
  void aPortIsWhereItWasAfterEveryMoveAndForTheNextDaemon() throws Exception {
    int port = Workshop.freePort();
    InetSocketAddress server = new InetSocketAddress("127.0.0.1", port);
    try (OwnQemu own = start("addr=127.0.0.1,port=" + port)) {
      SpiceClient.greet(server);
      try (Hyperplexor hyperplexor = Workshop.hyperplexor(workspace.state())) {
        assertThat(adopt(hyperplexor, own).detail())
            .contains("the daemon listens at 127.0.0.1:" + port);
        moved(hyperplexor, NEW, Progress.NONE, "");
        assertThat(own.isAlive()).isFalse();
        SpiceClient.greet(server);
        int source = hyperplexor.show("mine").pid();
        ReplacementRecord back =
            hyperplexor.replace("mine", OLD, BLACKOUT, at("Prepared", () -> killTarget(source)));
        assertThat(back.outcome()).as(back.detail()).isEqualTo(Outcome.ROLLED_BACK);
        SpiceClient.greet(server);
        moved(hyperplexor, OLD, Progress.NONE, "");
        SpiceClient.greet(server);
        hyperplexor.letGo();
      }
      assertThatThrownBy(() -> SpiceClient.greet(server)).isInstanceOf(ConnectException.class);
      try (Hyperplexor next = Workshop.hyperplexor(workspace.state())) {
        assertThat(takeBack(next)).singleElement().asString().contains("reattached");
        SpiceClient.greet(server);
        next.delete("mine");
      }
    }
  }

  /// The socket that clients know is that of the process, and nothing is left beside it.
  private void assertServedBy(int pid) throws IOException {
    SpiceClient.greet(UnixDomainSocketAddress.of(socket()));
    try (UnixSocket client = UnixSocket.connect(socket())) {
      assertThat(client.peer().pid()).isEqualTo(pid);
    }
    try (Stream<Path> files = Files.list(workspace.state())) {
      assertThat(files.map(file -> file.getFileName().toString()))
          .filteredOn(name -> name.startsWith(SOCKET))
          .containsExactly(SOCKET);
    }
  }

  private Path socket() {
    return workspace.state().resolve(SOCKET);
  }

  private OwnQemu start(String address) throws IOException {
    return OwnQemu.start(
        OLD,
        workspace.state(),
        List.of(),
        "-machine",
        "pc-q35-7.2,accel=tcg,memory-backend=m",
        "-cpu",
        "qemu64",
        "-m",
        "256",
        "-object",
        "memory-backend-file,id=m,size=256M,share=on,mem-path=" + workspace.state().resolve("ram"),
        "-device",
        "qxl-vga,id=video0,max_outputs=1,ram_size=67108864,vram_size=67108864,vram64_size_mb=0,"
            + "vgamem_mb=16",
        "-device",
        "virtio-serial-pci,id=ports",
        "-chardev",
        "spicevmc,id=agent,name=vdagent",
        "-device",
        "virtserialport,id=channel0,chardev=agent,name=com.redhat.spice.0",
        "-chardev",
        "spiceport,id=folder,name=org.spice-space.webdav.0",
        "-device",
        "virtserialport,id=channel1,chardev=folder,name=org.spice-space.webdav.0",
        "-device",
        "qemu-xhci,id=usb",
        "-chardev",
        "spicevmc,id=redir,name=usbredir",
        "-device",
        "usb-redir,id=redir0,chardev=redir",
        "-spice",
        address + ",disable-ticketing=on,seamless-migration=on,image-compression=off",
        "-kernel",
        Workshop.images().tick().toString());
  }
}
