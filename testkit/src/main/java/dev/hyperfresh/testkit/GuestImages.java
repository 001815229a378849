package dev.hyperfresh.testkit;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.PackagedPrograms;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Stream;

/// The test guests, built from the sources that travel in this module; see their README for what
/// they do.
///
/// @param kernel a Debian cloud kernel
/// @param initrd the Linux guest's whole user space
/// @param agent what is put after the initrd of a guest that runs qemu-guest-agent
/// @param devices what is put after the initrd of a guest with more kinds of devices
/// @param ring3 the guest that leaves ring 0 at once, for KVMs that emulate ring 0 slowly
/// @param sweep the same, which writes to 992 MiB of its memory; needs 1 GiB
/// @param tick the guest that sleeps between its beats; needs ring 0
/// @param tpm the guest that uses its TPM all the time; needs ring 0 and a TPM 2.0
public record GuestImages(
    Path kernel,
    Path initrd,
    Path agent,
    Path devices,
    Path ring3,
    Path sweep,
    Path tick,
    Path tpm) {
  private static final List<String> SOURCES =
      List.of(
          "build.sh",
          "archive.sh",
          "linux/guest.c",
          "linux/init",
          "bare/bare.ld",
          "bare/ring3.S",
          "bare/tick.S",
          "bare/tpm.S");
  private static final int BUILD_LIMIT_SECONDS = 300;

  /// Builds the guests under `cache`, or returns those that were built there from the same sources.
  ///
  /// @param progress gets one line for each step
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#HOST_MISSING] when the packages
  ///   or the compiler cannot be had
  public static GuestImages build(Path cache, DebianPackages packages, Consumer<String> progress) {
    Path home = cache.resolve(name());
    if (!Files.isDirectory(home)) {
      buildInto(home, cache, packages, progress);
    }
    return new GuestImages(
        home.resolve("vmlinuz"),
        home.resolve("initrd"),
        home.resolve("agent"),
        home.resolve("devices"),
        home.resolve("ring3.elf"),
        home.resolve("sweep.elf"),
        home.resolve("tick.elf"),
        home.resolve("tpm.elf"));
  }

  private static void buildInto(
      Path home, Path cache, DebianPackages packages, Consumer<String> progress) {
    try {
      Files.createDirectories(cache);
      Path work = Files.createTempDirectory(cache, ".guests-");
      try {
        progress.accept(
            "fetching a Debian kernel, busybox and qemu-guest-agent for the test guests");
        packages.unpack(
            Suite.STABLE,
            List.of("linux-image-cloud-amd64"),
            false,
            work.resolve("kernel"),
            progress);
        packages.unpack(
            Suite.STABLE, List.of("busybox-static"), false, work.resolve("busybox"), progress);
        packages.unpack(
            Suite.STABLE, List.of("qemu-guest-agent"), true, work.resolve("agent"), progress);
        progress.accept("building the test guests from source");
        extractSources(work.resolve("src"));
        run(
            work,
            PackagedPrograms.of(name()),
            List.of(
                work.resolve("out").toString(),
                work.resolve("kernel").toString(),
                work.resolve("busybox/bin/busybox").toString(),
                work.resolve("agent").toString()));
        keep(work.resolve("out"), home);
      } finally {
        delete(work);
      }
    } catch (PackagesException e) {
      throw Problem.HOST_MISSING.because(String.valueOf(e.getMessage()), e);
    } catch (IOException e) {
      throw Problem.HOST_MISSING.because("The test guests cannot be built: " + e.getMessage(), e);
    }
  }

  /// Gives what was made its name. Somebody else may have been quicker, and theirs is as good.
  static void keep(Path made, Path home) throws IOException {
    try {
      Files.move(made, home, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      if (!Files.isDirectory(home)) {
        throw e;
      }
    }
  }

  private static void extractSources(Path to) throws IOException {
    for (String source : SOURCES) {
      Path file = to.resolve(source);
      Files.createDirectories(file.getParent() == null ? to : file.getParent());
      try (InputStream in = open(source)) {
        Files.copy(in, file);
      }
    }
  }

  /// Compiles the guests' programs alone, as [PackagedPrograms] looks for them.
  ///
  /// @param work a new folder
  /// @param programs gets a folder with them
  static void compile(Path work, Path programs) throws IOException {
    extractSources(work.resolve("src"));
    run(work, Optional.empty(), List.of("--programs", programs.resolve(name()).toString()));
  }

  private static void run(Path work, Optional<Path> programs, List<String> arguments)
      throws IOException {
    Path log = work.resolve("build.log");
    List<String> command = new ArrayList<>();
    command.add("bash");
    command.add(work.resolve("src/build.sh").toString());
    command.addAll(arguments);
    ProcessBuilder script =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    PackagedPrograms.name(programs, script.environment());
    Process build = script.start();
    try {
      if (!build.waitFor(BUILD_LIMIT_SECONDS, TimeUnit.SECONDS) || build.exitValue() != 0) {
        build.destroyForcibly();
        throw new IOException("build.sh: " + Files.readString(log).strip());
      }
    } catch (InterruptedException e) {
      build.destroyForcibly();
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }

  private static InputStream open(String source) throws IOException {
    // Shared with the image of machines.
    String resource = (source.equals("archive.sh") ? "/image/" : "/guests/") + source;
    InputStream in = GuestImages.class.getResourceAsStream(resource);
    if (in == null) {
      throw new IOException("the resource " + resource + " is missing");
    }
    return in;
  }

  /// Of what is built from these sources.
  private static String name() {
    return "guests-" + fingerprint();
  }

  private static String fingerprint() {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      for (String source : SOURCES) {
        try (InputStream in = open(source)) {
          digest.update(source.getBytes(StandardCharsets.UTF_8));
          digest.update(in.readAllBytes());
        }
      }
      return HexFormat.of().formatHex(digest.digest(), 0, 6);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-256", e);
    }
  }

  static void delete(Path folder) throws IOException {
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }
}
