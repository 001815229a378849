package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class UefiImagesTest {
  private static final String PLAIN = "\"acpi-s3\", \"verbose-dynamic\"";
  private static final String SECURE =
      "\"enrolled-keys\", \"requires-smm\", \"secure-boot\", \"acpi-s3\"";

  @TempDir private Path root;

  @Test
  void descriptionsAreFollowed() throws Exception {
    describe("usr/share/qemu/firmware/40-secure.json", "secure", SECURE);
    describe("usr/share/qemu/firmware/60-plain.json", "plain", PLAIN);

    assertThat(find(false)).contains(images("plain"));
    assertThat(find(true)).contains(images("secure"));
  }

  @Test
  void theFirstThatFitsCounts() throws Exception {
    describe("usr/share/qemu/firmware/60-b.json", "b", PLAIN);
    describe("usr/share/qemu/firmware/50-a.json", "a", PLAIN);
    assertThat(find(false)).contains(images("a"));

    describe("etc/qemu/firmware/50-a.json", "local", PLAIN);
    assertThat(find(false)).contains(images("local"));

    describe("own/50-a.json", "own", PLAIN);
    assertThat(find(false)).contains(images("own"));
  }

  @Test
  void oneWithoutFilesIsPassedOver() throws Exception {
    describe("usr/share/qemu/firmware/50-a.json", "a", PLAIN);
    describe("usr/share/qemu/firmware/60-b.json", "b", PLAIN);
    Files.delete(root.resolve("fw/a-vars.fd"));

    assertThat(find(false)).contains(images("b"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "\"features\": [] -> \"features\": [\"requires-smm\"]",
        "\"device\": \"flash\" -> \"device\": \"memory\"",
        "\"uefi\" -> \"bios\"",
        "\"x86_64\" -> \"aarch64\"",
        "pc-q35-* -> microvm",
        "\"raw\" -> \"qcow2\"",
        "\"filename\": \"/fw -> \"filename\": \"fw",
        "{ -> [",
      })
  void anyOtherDoesNotFit(String change) throws Exception {
    String[] words = change.split(" -> ");
    describe("usr/share/qemu/firmware/50-a.json", "a", "");
    assertThat(find(false)).isPresent();

    Path file = root.resolve("usr/share/qemu/firmware/50-a.json");
    String text = Files.readString(file);
    assertThat(text).contains(words[0]);
    Files.writeString(file, text.replace(words[0], words[1]));

    assertThat(find(false)).isEmpty();
  }

  @Test
  void debiansAreKnownByName() throws Exception {
    assertThat(find(false)).isEmpty();
    Path folder = Files.createDirectories(root.resolve("usr/share/OVMF"));
    for (String name :
        new String[] {
          "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd", "OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.ms.fd"
        }) {
      Files.writeString(folder.resolve(name), name);
    }

    assertThat(find(false))
        .contains(
            new UefiImages(folder.resolve("OVMF_CODE_4M.fd"), folder.resolve("OVMF_VARS_4M.fd")));
    assertThat(find(true))
        .contains(
            new UefiImages(
                folder.resolve("OVMF_CODE_4M.secboot.fd"), folder.resolve("OVMF_VARS_4M.ms.fd")));
  }

  private Optional<UefiImages> find(boolean secure) {
    return UefiImages.find(root.resolve("own"), root, secure);
  }

  private UefiImages images(String name) {
    return new UefiImages(
        root.resolve("fw/" + name + "-code.fd"), root.resolve("fw/" + name + "-vars.fd"));
  }

  private void describe(String file, String name, String features) throws IOException {
    Files.createDirectories(root.resolve("fw"));
    Files.writeString(images(name).code(), "c");
    Files.writeString(images(name).variables(), "v");
    Path description = root.resolve(file);
    Files.createDirectories(description.getParent());
    Files.writeString(
        description,
        """
        {"interface-types": ["uefi"],
         "mapping": {"device": "flash",
          "executable": {"filename": "/fw/%1$s-code.fd", "format": "raw"},
          "nvram-template": {"filename": "/fw/%1$s-vars.fd", "format": "raw"}},
         "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
         "features": [%2$s], "tags": []}
        """
            .formatted(name, features));
  }
}
