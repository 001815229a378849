package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.relocation.ConfigFields.Findings;
import dev.hyperfresh.relocation.ContainerConfig.Capabilities;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// An OCI bundle: a root file system, and what is taken of its `config.json`. Immutable.
///
/// Nothing of that file reaches runc but what [ContainerConfig] has; what that has no place for is
/// refused, or left out with a remark where the container is as good without.
final class Bundle {
  private static final int MOST_BYTES = 1 << 20;

  private static final JsonMapper JSON =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(16)
                          .maxTokenCount(1 << 16)
                          .maxNameLength(256)
                          .maxNumberLength(32)
                          .build())
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .build())
          .build();

  /// Of a container whose image, like every image, says nothing of capabilities: what programs need
  /// that begin as root, make files for another user and go on as that one.
  private static final List<String> USUAL =
      List.of(
          "CAP_AUDIT_WRITE",
          "CAP_CHOWN",
          "CAP_DAC_OVERRIDE",
          "CAP_FOWNER",
          "CAP_FSETID",
          "CAP_KILL",
          "CAP_NET_BIND_SERVICE",
          "CAP_SETGID",
          "CAP_SETPCAP",
          "CAP_SETUID",
          "CAP_SYS_CHROOT");

  private final ContainerConfig config;
  private final Path root;
  private final List<String> remarks;

  private Bundle(ContainerConfig config, Path root, List<String> remarks) {
    this.config = config;
    this.root = root;
    this.remarks = List.copyOf(remarks);
  }

  /// Reads the bundle in `folder`.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_SPEC] with all that is wrong with it
  static Bundle read(Path folder) {
    Path file = folder.resolve("config.json");
    Findings findings = Findings.none();
    try {
      ContainerConfig config = ConfigReader.read(ConfigFields.of(json(file), findings));
      Path root = root(folder, config.root().path(), findings);
      if (!findings.faults().isEmpty()) {
        throw Problem.CONTAINER_SPEC.because(file + ": " + String.join(" ", findings.faults()));
      }
      return new Bundle(config, root, findings.remarks());
    } catch (JacksonException e) {
      throw Problem.CONTAINER_SPEC.because(
          file + " cannot be read: " + ConfigFields.plain(e.getOriginalMessage()), e);
    } catch (IOException e) {
      throw Problem.CONTAINER_SPEC.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  private static JsonNode json(Path file) throws IOException {
    if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
      throw Problem.CONTAINER_SPEC.because(file + " is not a file.");
    }
    JsonNode read = JSON.readTree(BoundedFile.read(file, MOST_BYTES));
    if (!read.isObject()) {
      throw Problem.CONTAINER_SPEC.because(file + " is not a JSON object.");
    }
    return read;
  }

  /// A folder of the bundle, also when links have been followed.
  private static Path root(Path folder, String path, Findings findings) throws IOException {
    Path bundle = folder.toRealPath();
    String wrong;
    try {
      Path named = bundle.resolve(path);
      Path root = Files.isDirectory(named) ? named.toRealPath() : named;
      if (!Files.isDirectory(root)) {
        wrong = "' is not a folder.";
      } else if (!root.startsWith(bundle) || root.equals(bundle)) {
        wrong = "' is not in the bundle; put the root file system into a folder there.";
      } else {
        return root;
      }
    } catch (InvalidPathException e) {
      wrong = "' is not a path.";
    }
    findings.faults().add("root.path: '" + ConfigFields.shown(path) + wrong);
    return bundle;
  }

  /// The root file system on this host.
  Path root() {
    return root;
  }

  /// What of the bundle the container does without, a sentence each.
  List<String> remarks() {
    return remarks;
  }

  /// The same with the capabilities of a container that was made of an image.
  Bundle ofImage() {
    Capabilities usual = new Capabilities(USUAL, USUAL, List.of(), USUAL, List.of());
    return new Bundle(config.with(usual), root, remarks);
  }

  /// What runc gets: the configuration with the container's own place in an OS.
  byte[] configuration(String name, String networkNamespace, List<VolumeMount> volumes) {
    return config.json(name, networkNamespace, volumes);
  }

  /// @throws HyperFreshException [Problem#CONTAINER_SPEC] when volumes hide what it mounts itself
  void require(List<VolumeMount> volumes) {
    List<String> hidden = config.hidden(volumes);
    if (!hidden.isEmpty()) {
      throw Problem.CONTAINER_SPEC.because(String.join("; ", hidden) + ".");
    }
  }
}
