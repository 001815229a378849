package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.PrivateFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.List;
import java.util.Optional;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;

/// A failure at which a run of the policy stopped. A file in the state directory keeps it until
/// somebody has looked: the next run must not move other guests to a build on which one failed.
/// Immutable.
///
/// @param builds to which it was moving guests, as people call them
/// @param why it stopped
public record PolicyStop(Instant at, List<String> builds, String why) {
  private static final String FILE = "policy-stopped.json";
  private static final int MOST_BYTES = 64 << 10;
  private static final int LONGEST_REASON = 1000;

  /// Copies the builds, and cuts a reason that is very long.
  public PolicyStop {
    builds = List.copyOf(builds);
    why = why.length() > LONGEST_REASON ? why.substring(0, LONGEST_REASON) + "…" : why;
  }

  /// What is kept in a state directory.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE] when it cannot be
  ///   read: then nobody knows that nothing failed
  public static Optional<PolicyStop> read(Path state) {
    Path file = state.resolve(FILE);
    try {
      if (Files.size(file) > MOST_BYTES) {
        throw new IOException("it is too long");
      }
      JsonNode json = Api.JSON.readTree(Files.readString(file));
      return Optional.of(
          new PolicyStop(
              Instant.parse(json.path("at").asString("")),
              json.path("builds").valueStream().map(build -> build.asString("")).toList(),
              json.path("why").asString("")));
    } catch (NoSuchFileException none) {
      return Optional.empty();
    } catch (IOException | JacksonException | DateTimeParseException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// Keeps this one in the place of another.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  public void keep(Path state) {
    Path file = state.resolve(FILE);
    try {
      Path staged = PrivateFile.at(state.resolve(FILE + ".new"));
      Files.write(staged, Api.JSON.writeValueAsBytes(this));
      Files.move(staged, file, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be written: " + e.getMessage(), e);
    }
  }

  /// Forgets what is kept, if anything is.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  public static void forget(Path state) {
    Path file = state.resolve(FILE);
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be removed: " + e.getMessage(), e);
    }
  }
}
