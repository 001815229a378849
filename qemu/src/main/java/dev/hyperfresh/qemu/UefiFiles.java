package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Firmware;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.PrivateFile;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A guest's own UEFI firmware: copies in its folder, so that no upgrade of a package changes the
/// guest, and no other guest its variables. Made once; a guest that is edited keeps them.
///
/// @param folder the guest's
/// @param kind which firmware
record UefiFiles(Path folder, Firmware.Kind kind) {
  static final String CODE_NODE = "firmware-code";
  static final String VARIABLES_NODE = "firmware-variables";

  /// In the state directory: descriptions of firmware for HyperFresh alone.
  private static final String OWN = "firmware";

  /// Those of a guest that has such firmware.
  static Optional<UefiFiles> of(Launch launch) {
    Firmware.Kind kind = launch.spec().firmware().kind();
    return kind == Firmware.Kind.BIOS
        ? Optional.empty()
        : Optional.of(new UefiFiles(launch.files(), kind));
  }

  private Path code() {
    return folder.resolve(kind.label() + "-code.fd");
  }

  private Path variables() {
    return folder.resolve(kind.label() + "-variables.fd");
  }

  /// Copies them into the guest's folder, unless they are there.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#HOST_MISSING]
  void pin() {
    if (Files.exists(code()) && Files.exists(variables())) {
      return;
    }
    boolean secure = kind == Firmware.Kind.UEFI_SECURE;
    Path own = folder.resolve("../..").resolve(OWN).normalize();
    UefiImages host =
        UefiImages.find(own, Path.of("/"), secure)
            .orElseThrow(() ->
                Problem.HOST_MISSING.because(
                    "It has no UEFI firmware"
                        + (secure ? " that boots only what is signed" : "")
                        + " for QEMU; Debian's is in the package ovmf."));
    try {
      copy(host.code(), code());
      copy(host.variables(), variables());
    } catch (IOException e) {
      throw Problem.HOST_MISSING.because(
          "The firmware " + host.code() + " cannot be copied: " + e.getMessage(), e);
    }
  }

  /// At once or not at all.
  private static void copy(Path from, Path to) throws IOException {
    Path draft = PrivateFile.at(to.resolveSibling(to.getFileName() + ".new"));
    Files.write(draft, Files.readAllBytes(from));
    Files.move(draft, to, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }

  /// Opens both under their numbers.
  ///
  /// @param descriptors where they are added; the caller owns them
  /// @throws dev.hyperfresh.linux.LinuxException when one cannot be opened
  void openInto(Map<Integer, Fd> descriptors) {
    descriptors.put(Descriptors.FIRMWARE, Fd.open(code(), OpenFlags.READ_ONLY));
    descriptors.put(Descriptors.VARIABLES, Fd.open(variables(), OpenFlags.READ_WRITE));
  }

  /// The arguments that make the block nodes of both.
  List<String> arguments() {
    List<String> line = new ArrayList<>();
    for (int number : List.of(Descriptors.FIRMWARE, Descriptors.VARIABLES)) {
      boolean isCode = number == Descriptors.FIRMWARE;
      line.addAll(List.of("-add-fd", "fd=" + number + ",set=" + number));
      Map<String, Object> node = new LinkedHashMap<>();
      node.put("driver", "raw");
      node.put("node-name", isCode ? CODE_NODE : VARIABLES_NODE);
      node.put("read-only", isCode);
      node.put(
          "file", Map.of("driver", "file", "filename", Descriptors.inSet(number), "locking", "on"));
      line.addAll(List.of("-blockdev", QmpMessage.JSON.writeValueAsString(node)));
    }
    return line;
  }

  /// The same of nothing, for a rehearsal: flash memory as long as theirs.
  List<String> standIns() {
    List<String> line = new ArrayList<>();
    try {
      for (Path file : List.of(code(), variables())) {
        boolean isCode = file.equals(code());
        Map<String, Object> node = new LinkedHashMap<>();
        node.put("driver", "null-co");
        node.put("node-name", isCode ? CODE_NODE : VARIABLES_NODE);
        node.put("read-only", isCode);
        node.put("size", Files.size(file));
        line.addAll(List.of("-blockdev", QmpMessage.JSON.writeValueAsString(node)));
      }
      return line;
    } catch (IOException e) {
      throw new UncheckedIOException("the firmware of the guest is not there", e);
    }
  }

  /// What a guest with such firmware has in its machine.
  static String machine(Firmware.Kind kind) {
    String flash = ",pflash0=" + CODE_NODE + ",pflash1=" + VARIABLES_NODE;
    return switch (kind) {
      case BIOS -> "";
      case UEFI -> flash;
      case UEFI_SECURE -> flash + ",smm=on";
    };
  }

  /// The arguments that leave the variables to the firmware alone.
  static List<String> protection(Firmware.Kind kind) {
    return kind == Firmware.Kind.UEFI_SECURE
        ? List.of("-global", "driver=cfi.pflash01,property=secure,value=on")
        : List.of();
  }
}
