package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PrivateFile;
import dev.hyperfresh.linux.ProcessRights;
import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Properties;
import java.util.stream.Stream;

/// A guest's TPM, as it stands written in the guest's folder: all that an [Swtpm] is started with.
///
/// @param program the swtpm
/// @param state the folder with what the TPM holds, also while the guest does not run
/// @param isTwo whether it is a TPM 2.0, and not 1.2
/// @param rights with which it runs, of a guest that was adopted; one that HyperFresh made has its
///   own user
/// @param first the swtpm that served the guest when it was adopted
record GuestTpm(
    Path program,
    Path state,
    boolean isTwo,
    Optional<ProcessRights> rights,
    Optional<First> first) {
  /// In the guest's folder.
  private static final String FILE = "tpm.properties";

  /// In the guest's folder, of a guest whose owner has no other one.
  static final String FOLDER = "tpm";

  private static final String LOCAL = "/usr/local/bin/swtpm";
  private static final String PROGRAM = "program";
  private static final String STATE = "state";
  private static final String VERSION = "version";
  private static final String RIGHTS = "rights";
  private static final String PID = "first.pid";
  private static final String START = "first.start";
  private static final String BOOT = "first.boot";
  private static final String TWO = "2.0";
  private static final String ONE = "1.2";

  /// A process that something else started.
  record First(int pid, long start, String boot) {
    /// Empty when there is no such process.
    static Optional<First> of(int pid) {
      OptionalLong start = Host.processStart(pid);
      return start.isPresent()
          ? Optional.of(new First(pid, start.getAsLong(), Host.bootId()))
          : Optional.empty();
    }

    boolean lives() {
      return First.of(pid).filter(this::equals).isPresent();
    }
  }

  /// The swtpm of this host.
  ///
  /// @param state the state directory, in which one may be linked
  static Optional<Path> onHost(Path state) {
    return Stream.of(state.resolve("swtpm"), Path.of("/usr/bin/swtpm"), Path.of(LOCAL))
        .filter(Files::isExecutable)
        .findFirst();
  }

  /// That of a guest of its own spec or command line, if it has one.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException as [#read]
  static Optional<GuestTpm> of(Launch launch) {
    return launch.adopted().isPresent() || launch.spec().firmware().tpm()
        ? read(launch.files())
        : Optional.empty();
  }

  /// Makes one for a guest of HyperFresh, unless it has one: with nothing in it, or the state that
  /// is there.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#HOST_MISSING]
  static void pin(Launch launch) {
    if (!launch.spec().firmware().tpm() || read(launch.files()).isPresent()) {
      return;
    }
    Path files = launch.files();
    GuestTpm made =
        new GuestTpm(
            onHost(files.resolve("../..").normalize())
                .orElseThrow(() ->
                    Problem.HOST_MISSING.because(
                        "It has no swtpm, which emulates TPMs; Debian's is in the package swtpm.")),
            files.resolve(FOLDER),
            true,
            Optional.empty(),
            Optional.empty());
    try {
      new TpmFolders(made, launch.confinement().user(), _ -> Optional.empty()).make();
      made.write(files);
    } catch (IOException | LinuxException e) {
      throw Problem.HOST_MISSING.because("The TPM cannot be made: " + e.getMessage(), e);
    }
  }

  /// Writes it into the guest's folder, at once or not at all.
  void write(Path files) throws IOException {
    Properties p = new Properties();
    p.setProperty(PROGRAM, program.toString());
    p.setProperty(STATE, state.toString());
    p.setProperty(VERSION, isTwo ? TWO : ONE);
    rights.ifPresent(those -> p.setProperty(RIGHTS, those.text()));
    first.ifPresent(process -> {
      p.setProperty(PID, Integer.toString(process.pid()));
      p.setProperty(START, Long.toString(process.start()));
      p.setProperty(BOOT, process.boot());
    });
    StringWriter text = new StringWriter();
    p.store(text, null);
    PrivateFile.replace(files.resolve(FILE), text.toString().getBytes(StandardCharsets.UTF_8));
  }

  /// Whether another process can serve the next instance.
  Check check() {
    return Files.isExecutable(program)
        ? Check.pass(LiveChecks.TPM, program + ", which emulates its TPM, is there.")
        : Check.fail(
            LiveChecks.TPM,
            program + ", which emulates its TPM, is not there any more.",
            "Install swtpm again.");
  }

  /// That of the guest whose folder is `files`, if it has one.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE] when what is
  ///   written cannot be understood
  static Optional<GuestTpm> read(Path files) {
    Path file = files.resolve(FILE);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      byte[] bytes = BoundedFile.read(file, BoundedFile.STATE_BYTES);
      Properties p = new Properties();
      p.load(new StringReader(new String(bytes, StandardCharsets.UTF_8)));
      return Optional.of(
          new GuestTpm(
              Path.of(get(p, PROGRAM)),
              Path.of(get(p, STATE)),
              get(p, VERSION).equals(TWO),
              Optional.ofNullable(p.getProperty(RIGHTS)).map(ProcessRights::parse),
              p.containsKey(PID)
                  ? Optional.of(
                      new First(
                          Integer.parseInt(get(p, PID)),
                          Long.parseLong(get(p, START)),
                          get(p, BOOT)))
                  : Optional.empty()));
    } catch (IOException | RuntimeException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  private static String get(Properties p, String key) throws IOException {
    return Optional.ofNullable(p.getProperty(key))
        .orElseThrow(() -> new IOException("it has no line " + key));
  }
}
