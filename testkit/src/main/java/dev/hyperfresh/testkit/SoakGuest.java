package dev.hyperfresh.testkit;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Random;

/// One guest of a soak with its disks and its stream. For one thread at a time.
final class SoakGuest implements AutoCloseable {
  private static final Duration BOOT = Duration.ofMinutes(5);
  private static final Duration GOES_ON = Duration.ofSeconds(30);
  private static final Duration DRAIN = Duration.ofMinutes(2);
  private static final int RECORDS_BYTES = 16 << 20;
  private static final int FILES_MIB = 32;
  private static final int MIB = 128;
  private static final int ECHO_PORT = 7;

  private final Daemon daemon;
  private final int number;
  private final String name;
  private final Path disks;
  private final boolean networked;
  private final Random random;
  private final List<String> wrong = new ArrayList<>();
  private Optional<TestGuest> inside = Optional.empty();
  private Optional<EchoStream> stream = Optional.empty();
  private boolean lost;

  /// @param number from 0; names the guest, its tap and its subnet
  SoakGuest(Daemon daemon, int number, Path disks, boolean networked, long seed) {
    this.daemon = daemon;
    this.number = number;
    this.name = "soak" + number;
    this.disks = disks;
    this.networked = networked;
    this.random = new Random(seed * 31 + number);
  }

  String name() {
    return name;
  }

  Random random() {
    return random;
  }

  /// Makes the disks and starts the guest; [#awaitBoot] waits for it.
  void start(GuestImages images, QemuRelease release) throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(records().toFile(), "rw")) {
      file.setLength(RECORDS_BYTES);
    }
    FileRecords.format(files(), FILES_MIB);
    daemon.hyperplexor().create(spec(images), release, Progress.NONE);
    if (networked) {
      DemoRun.ip("addr", "add", address(1) + "/24", "dev", tap());
    }
  }

  void awaitBoot() throws IOException {
    Path console = view().files().resolve("console.log");
    Await.until("the boot of " + name, BOOT, () -> says(console, "HF-GUEST READY"));
    inside = Optional.of(TestGuest.beatingIn(view().pid(), GOES_ON));
    if (networked) {
      stream = Optional.of(EchoStream.open(new InetSocketAddress(address(2), ECHO_PORT)));
    }
  }

  private static boolean says(Path console, String text) {
    try {
      return Files.exists(console)
          && Files.readString(console, StandardCharsets.ISO_8859_1).contains(text);
    } catch (IOException e) {
      return false;
    }
  }

  private GuestSpec spec(GuestImages images) {
    return new GuestSpec(
        name,
        1,
        (long) MIB << 20,
        "pc-q35-7.2",
        "qemu64",
        AcceleratorWish.AUTO,
        Optional.of(
            new KernelBoot(
                images.kernel(),
                Optional.of(images.initrd()),
                "console=ttyS0 quiet panic=-1 cryptomgr.notests hf.period=5000 hf.ip="
                    + address(2)
                    + "/24")),
        List.of(
            new Disk(records(), Disk.Format.RAW, false), new Disk(files(), Disk.Format.RAW, false)),
        networked
            ? List.of(
                new Nic(
                    tap(),
                    Optional.empty(),
                    String.format(Locale.ROOT, "52:54:00:78:00:%02x", number)))
            : List.of());
  }

  private String tap() {
    return "hf-soak" + number;
  }

  private String address(int host) {
    return "10.78." + number + "." + host;
  }

  private Path records() {
    return disks.resolve(name + ".records.raw");
  }

  private Path files() {
    return disks.resolve(name + ".files.ext4");
  }

  GuestView view() {
    return daemon.hyperplexor().show(name);
  }

  /// Whether the guest was lost, after which nothing more is done to it.
  boolean lost() {
    return lost;
  }

  /// What is not as it should be, one sentence each.
  List<String> wrong() {
    return List.copyOf(wrong);
  }

  /// Looks after the guest when a replacement is over.
  void check(ReplacementRecord record) {
    TestGuest guest = inside.orElseThrow();
    long beats = guest.counter();
    if (!Await.holdsWithin(GOES_ON, () -> guest.counter() > beats)
        || view().state() != GuestView.State.RUNNING) {
      lost = true;
      wrong.add(name + " was lost in replacement " + record.id() + ": " + view().detail());
    }
    if (record.heartbeatWentBack()) {
      wrong.add(name + "'s heartbeat went back in replacement " + record.id());
    }
  }

  /// Powers the guest off and checks everything that it left.
  void finish() throws IOException {
    stream.ifPresent(open -> open.finish(DRAIN));
    if (lost) {
      return;
    }
    TestGuest guest = inside.orElseThrow();
    daemon.hyperplexor().stop(name, GOES_ON);
    expect(guest.mismatches() == 0, guest.mismatches() + " mismatches in its memory");
    expect(guest.diskErrors() == 0, guest.diskErrors() + " errors of its first disk");
    expect(guest.fileErrors() == 0, guest.fileErrors() + " errors of its file system");
    expect(guest.fileMismatches() == 0, guest.fileMismatches() + " files read back wrong");
    DiskRecords disk = DiskRecords.read(records(), guest.bootId());
    expect(disk.damaged().isEmpty(), "on its first disk " + disk.damaged());
    expect(
        disk.highest() >= guest.diskSequence()
            && disk.whole() == Math.min(disk.highest(), DiskRecords.SLOTS),
        "on its first disk only " + disk + " of " + guest.diskSequence() + " records");
    checkFiles(guest);
  }

  private void checkFiles(TestGuest guest) throws IOException {
    try {
      FileRecords.check(files());
    } catch (IOException e) {
      wrong.add(name + ": " + e.getMessage());
    }
    FileRecords kept = FileRecords.read(files(), guest.bootId());
    expect(kept.damaged().isEmpty(), "in its files " + kept.damaged());
    expect(
        kept.highest() >= guest.fileSequence()
            && kept.whole() >= FileRecords.kept(guest.fileSequence()),
        "in its files only " + kept + " of " + guest.fileSequence() + " records");
  }

  private void expect(boolean holds, String otherwise) {
    if (!holds) {
      wrong.add(name + ": " + otherwise);
    }
  }

  long diskRecords() {
    return inside.map(guest -> guest.diskSequence() + guest.fileSequence()).orElse(0L);
  }

  long bytesSent() {
    return stream.map(EchoStream::bytesSent).orElse(0L);
  }

  long bytesLost() {
    return stream.map(EchoStream::bytesLost).orElse(0L);
  }

  String streamFault() {
    return stream.map(EchoStream::fault).orElse("");
  }

  @Override
  public void close() {
    stream.ifPresent(EchoStream::close);
    inside.ifPresent(TestGuest::close);
  }

  /// Fails with the catalogue's error when a guest cannot be prepared.
  static RuntimeException cannotStart(IOException e) {
    return Problem.GUEST_START.because("A guest of the soak: " + e.getMessage(), e);
  }
}
