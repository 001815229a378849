package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Properties;
import java.util.regex.Pattern;
import java.util.zip.CRC32;

/// What a daemon writes down of a machine, so that the next one can take it back with the guests in
/// it. Always whole: a new file takes the old one's place, and a sum at its end shows a damaged
/// one.
///
/// @param pid the process on this host that is its hardware
/// @param start as [Host#processStart] has it
/// @param boot as [Host#bootId] has it: process numbers and start times begin anew with each
/// @param booted whether it ever could take guests
/// @param halted whether a daemon has stopped it, or was about to
/// @param lastPlace the number of the last place that was made
/// @param places one for each guest's QEMU inside
record MachineFile(
    int pid,
    long start,
    String boot,
    boolean booted,
    boolean halted,
    String release,
    String hardware,
    Accelerator accelerator,
    int vcpus,
    long memoryBytes,
    double bootMs,
    int lastPlace,
    List<Entry> places) {
  static final String NAME = "machine.properties";

  private static final String SUM = "#sum ";
  private static final Pattern ID = Pattern.compile("p[1-9][0-9]{0,8}");

  MachineFile {
    places = List.copyOf(places);
  }

  /// What one guest's QEMU has in the machine; names of everything follow from the id.
  ///
  /// @param id of the place
  /// @param files the guest's folder
  /// @param inner the number of the process inside; 0 until it is known
  /// @param waiting whether it was started to receive the guest's state
  /// @param outlets how many ways for the guest's state out of here were made
  /// @param condemned whether it must never run again, though it could not be ended
  record Entry(
      String id,
      Path files,
      int generation,
      int inner,
      boolean waiting,
      int disks,
      int nics,
      int outlets,
      boolean condemned) {
    /// A place that is about to be made.
    static Entry about(
        String id, Path files, int generation, boolean waiting, int disks, int nics) {
      return new Entry(id, files, generation, 0, waiting, disks, nics, 0, false);
    }

    Entry withInner(int process) {
      return new Entry(id, files, generation, process, waiting, disks, nics, outlets, condemned);
    }

    Entry withOutlets(int count) {
      return new Entry(id, files, generation, inner, waiting, disks, nics, count, condemned);
    }

    Entry asCondemned() {
      return new Entry(id, files, generation, inner, waiting, disks, nics, outlets, true);
    }
  }

  /// A machine that is about to boot.
  static MachineFile of(MachineSettings settings, int pid) {
    return new MachineFile(
        pid,
        Host.processStart(pid).orElse(0),
        Host.bootId(),
        false,
        false,
        settings.release().name(),
        settings.hardware().name(),
        settings.accelerator(),
        settings.vcpus(),
        settings.memoryBytes(),
        0,
        0,
        List.of());
  }

  MachineFile asBooted(double millis) {
    return new MachineFile(
        pid,
        start,
        boot,
        true,
        halted,
        release,
        hardware,
        accelerator,
        vcpus,
        memoryBytes,
        millis,
        lastPlace,
        places);
  }

  MachineFile asHalted(boolean now) {
    return new MachineFile(
        pid,
        start,
        boot,
        booted,
        now,
        release,
        hardware,
        accelerator,
        vcpus,
        memoryBytes,
        bootMs,
        lastPlace,
        places);
  }

  MachineFile withPlaces(int last, List<Entry> entries) {
    return new MachineFile(
        pid,
        start,
        boot,
        booted,
        halted,
        release,
        hardware,
        accelerator,
        vcpus,
        memoryBytes,
        bootMs,
        last,
        entries);
  }

  /// Whether the very process that is written down still runs.
  boolean lives() {
    if (!boot.equals(Host.bootId()) || Host.processStart(pid).orElse(-1) != start) {
      return false;
    }
    try (PidFd process = PidFd.open(pid)) {
      return !process.exited();
    } catch (LinuxException gone) {
      return false;
    }
  }

  /// Puts this file into `folder` and returns when it is on disk.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  void write(Path folder) {
    Path draft = folder.resolve(NAME + ".new");
    try (FileChannel file =
        FileChannel.open(
            draft,
            StandardOpenOption.CREATE,
            StandardOpenOption.TRUNCATE_EXISTING,
            StandardOpenOption.WRITE)) {
      ByteBuffer bytes = StandardCharsets.UTF_8.encode(text());
      while (bytes.hasRemaining()) {
        file.write(bytes);
      }
      file.force(true);
      Files.move(
          draft,
          folder.resolve(NAME),
          StandardCopyOption.ATOMIC_MOVE,
          StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(draft + " cannot be written: " + e.getMessage(), e);
    }
  }

  /// Forgets what stands in `folder`.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  static void remove(Path folder) {
    try {
      Files.deleteIfExists(folder.resolve(NAME));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(
          folder.resolve(NAME) + " cannot be removed: " + e.getMessage(), e);
    }
  }

  /// Reads the file of `folder`, if there is one.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE] when it is
  ///   damaged, or cannot be understood
  static Optional<MachineFile> read(Path folder) {
    Path path = folder.resolve(NAME);
    if (!Files.exists(path)) {
      return Optional.empty();
    }
    try {
      return Optional.of(
          parse(
              new String(BoundedFile.read(path, BoundedFile.STATE_BYTES), StandardCharsets.UTF_8),
              Host.bootOf(path).orElse("")));
    } catch (IOException | RuntimeException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be read: " + e.getMessage(), e);
    }
  }

  private String text() throws IOException {
    Properties p = new Properties();
    p.setProperty("pid", Integer.toString(pid));
    p.setProperty("start", Long.toString(start));
    p.setProperty("boot", boot);
    p.setProperty("booted", Boolean.toString(booted));
    p.setProperty("halted", Boolean.toString(halted));
    p.setProperty("release", release);
    p.setProperty("hardware", hardware);
    p.setProperty("accelerator", accelerator.name());
    p.setProperty("vcpus", Integer.toString(vcpus));
    p.setProperty("memory", Long.toString(memoryBytes));
    p.setProperty("boot.ms", Double.toString(bootMs));
    p.setProperty("places.last", Integer.toString(lastPlace));
    p.setProperty("places", Integer.toString(places.size()));
    for (int i = 0; i < places.size(); i++) {
      put(p, "place." + i, places.get(i));
    }
    StringWriter text = new StringWriter();
    p.store(text, null);
    return text + SUM + sum(text.toString()) + "\n";
  }

  private static void put(Properties p, String key, Entry place) {
    p.setProperty(key + ".id", place.id());
    p.setProperty(key + ".files", place.files().toString());
    p.setProperty(key + ".generation", Integer.toString(place.generation()));
    p.setProperty(key + ".inner", Integer.toString(place.inner()));
    p.setProperty(key + ".waiting", Boolean.toString(place.waiting()));
    p.setProperty(key + ".disks", Integer.toString(place.disks()));
    p.setProperty(key + ".nics", Integer.toString(place.nics()));
    p.setProperty(key + ".outlets", Integer.toString(place.outlets()));
    p.setProperty(key + ".condemned", Boolean.toString(place.condemned()));
  }

  private static String sum(String text) {
    CRC32 sum = new CRC32();
    sum.update(text.getBytes(StandardCharsets.UTF_8));
    return Long.toHexString(sum.getValue());
  }

  /// @param written the boot in which the text was written, which an older daemon left out
  private static MachineFile parse(String text, String written) throws IOException {
    int at = text.lastIndexOf(SUM);
    if (at < 0 || !text.substring(at).equals(SUM + sum(text.substring(0, at)) + "\n")) {
      throw new IllegalArgumentException("it is damaged: its sum is not right");
    }
    Properties p = new Properties();
    p.load(new StringReader(text));
    List<Entry> places = new ArrayList<>();
    for (int i = 0; i < number(p, "places"); i++) {
      places.add(place(p, "place." + i));
    }
    return new MachineFile(
        number(p, "pid"),
        Long.parseLong(get(p, "start")),
        p.getProperty("boot", written),
        flag(p, "booted"),
        flag(p, "halted"),
        get(p, "release"),
        get(p, "hardware"),
        Accelerator.valueOf(get(p, "accelerator")),
        number(p, "vcpus"),
        Long.parseLong(get(p, "memory")),
        Double.parseDouble(get(p, "boot.ms")),
        number(p, "places.last"),
        places);
  }

  private static Entry place(Properties p, String key) {
    String id = get(p, key + ".id");
    if (!ID.matcher(id).matches()) {
      throw new IllegalArgumentException(key + ".id is '" + id + "'");
    }
    return new Entry(
        id,
        Path.of(get(p, key + ".files")),
        number(p, key + ".generation"),
        number(p, key + ".inner"),
        flag(p, key + ".waiting"),
        number(p, key + ".disks"),
        number(p, key + ".nics"),
        number(p, key + ".outlets"),
        flag(p, key + ".condemned"));
  }

  private static boolean flag(Properties p, String key) {
    String text = get(p, key);
    if (!text.equals("true") && !text.equals("false")) {
      throw new IllegalArgumentException(key + " is '" + text + "'");
    }
    return text.equals("true");
  }

  private static int number(Properties p, String key) {
    int number = Integer.parseInt(get(p, key));
    if (number < 0) {
      throw new IllegalArgumentException(key + " is " + number);
    }
    return number;
  }

  private static String get(Properties p, String key) {
    return Optional.ofNullable(p.getProperty(key))
        .orElseThrow(() -> new IllegalArgumentException("the property " + key + " is missing"));
  }
}
