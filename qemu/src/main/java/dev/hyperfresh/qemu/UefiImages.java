package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.BoundedFile;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;

/// UEFI firmware of this host: an image to run, and one of the variables that it begins with. Both
/// are plain images of flash memory.
///
/// Distributions describe what they have in files for QEMU (firmware.json of its interoperability
/// documents), of which the first that fits counts, in the order of their names. Where none
/// describes it, Debian's package has names that are known.
///
/// @param code what runs, read-only
/// @param variables what a guest gets a copy of
record UefiImages(Path code, Path variables) {
  /// The more important first: a description hides those of its name behind it.
  private static final List<String> DESCRIPTIONS =
      List.of("etc/qemu/firmware", "usr/share/qemu/firmware");

  private static final Path OVMF = Path.of("usr/share/OVMF");

  /// Of images with and without secure boot, what is known of Debian's package.
  private static final Map<Boolean, List<List<String>>> KNOWN =
      Map.of(
          true,
          List.of(
              List.of("OVMF_CODE_4M.ms.fd", "OVMF_VARS_4M.ms.fd"),
              List.of("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.ms.fd"),
              List.of("OVMF_CODE.ms.fd", "OVMF_VARS.ms.fd")),
          false,
          List.of(
              List.of("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
              List.of("OVMF_CODE.fd", "OVMF_VARS.fd")));

  private static final String SECURE = "secure-boot";
  private static final String ENROLLED = "enrolled-keys";
  private static final String SMM = "requires-smm";
  private static final int MAX_BYTES = 64 * 1024;

  /// Looks for it.
  ///
  /// @param own a folder of descriptions that come before all others; it need not be there
  /// @param root of the host's files
  /// @param secure whether it is to boot only what is signed
  static Optional<UefiImages> find(Path own, Path root, boolean secure) {
    List<Path> folders = new ArrayList<>(List.of(own));
    DESCRIPTIONS.forEach(folder -> folders.add(root.resolve(folder)));
    Stream<UefiImages> described =
        descriptions(folders).stream().flatMap(file -> described(file, root, secure).stream());
    Stream<UefiImages> known =
        KNOWN.getOrDefault(secure, List.of()).stream()
            .map(names ->
                new UefiImages(
                    root.resolve(OVMF).resolve(names.getFirst()),
                    root.resolve(OVMF).resolve(names.getLast())));
    return Stream.concat(described, known).filter(UefiImages::isThere).findFirst();
  }

  private boolean isThere() {
    return Files.isReadable(code) && Files.isReadable(variables);
  }

  private static List<Path> descriptions(List<Path> folders) {
    Map<String, Path> found = new TreeMap<>();
    for (Path folder : folders) {
      try (Stream<Path> files = Files.list(folder)) {
        files
            .filter(file -> file.toString().endsWith(".json"))
            .forEach(file -> found.putIfAbsent(String.valueOf(file.getFileName()), file));
      } catch (IOException | UncheckedIOException none) {
        // No such folder.
      }
    }
    return List.copyOf(found.values());
  }

  private static Optional<UefiImages> described(Path file, Path root, boolean secure) {
    try {
      JsonNode firmware = QmpMessage.JSON.readTree(BoundedFile.read(file, MAX_BYTES));
      List<String> features = texts(firmware.path("features"));
      boolean fits =
          secure
              ? features.containsAll(List.of(SECURE, ENROLLED, SMM))
              : features.stream().noneMatch(List.of(SECURE, SMM)::contains);
      JsonNode flash = firmware.path("mapping");
      return fits
              && texts(firmware.path("interface-types")).contains("uefi")
              && flash.path("device").asString("").equals("flash")
              && isForPcs(firmware.path("targets"))
          ? image(flash.path("executable"), root)
              .flatMap(code ->
                  image(flash.path("nvram-template"), root)
                      .map(variables -> new UefiImages(code, variables)))
          : Optional.empty();
    } catch (IOException | JacksonException | InvalidPathException e) {
      // What cannot be read describes nothing.
      return Optional.empty();
    }
  }

  private static Optional<Path> image(JsonNode image, Path root) {
    String file = image.path("filename").asString("");
    return image.path("format").asString("").equals("raw") && file.startsWith("/")
        ? Optional.of(root.resolve(file.substring(1)))
        : Optional.empty();
  }

  private static boolean isForPcs(JsonNode targets) {
    return StreamSupport.stream(targets.spliterator(), false)
        .filter(target -> target.path("architecture").asString("").equals("x86_64"))
        .flatMap(target -> texts(target.path("machines")).stream())
        .anyMatch(machine -> machine.startsWith("pc-q35-"));
  }

  private static List<String> texts(JsonNode list) {
    return StreamSupport.stream(list.spliterator(), false).map(item -> item.asString("")).toList();
  }
}
