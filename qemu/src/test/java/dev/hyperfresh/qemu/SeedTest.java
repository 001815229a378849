package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Devices;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// The small files that a spec names, of which the daemon makes copies in the guest's folder.
@Timeout(20)
class SeedTest {
  @TempDir Path folder;

  private final MemFd memory = MemFd.create("seed-test", 16L << 20);
  private Path files;
  private Path user;

  @BeforeEach
  void folder() throws IOException {
    files = Files.createDirectory(folder.resolve("files"));
    user = Files.writeString(folder.resolve("user"), "#cloud-config\nhostname: x\n");
  }

  @AfterEach
  void close() {
    memory.close();
  }

  @Test
  void itIsTheLastImageAndReadOnly() throws IOException {
    Launch launch = launch(seed(user, Optional.empty()));
    Seed.pin(launch);
    DiskImages images = DiskImages.pin(launch);

    assertThat(images.disks()).hasSize(2);
    DiskImages.Image image = images.disks().getLast().getFirst();
    assertThat(image.readOnly()).isTrue();
    assertThat(content(image.path()))
        .contains(
            "CIDATA", "#cloud-config\nhostname: x\n", "instance-id: web1\nlocal-hostname: web1\n");
    Map<Integer, Fd> opened = new HashMap<>();
    images.openInto(opened, Seed.disks(launch), false);
    assertThat(opened).containsOnlyKeys(24, 25);
    opened.values().forEach(Fd::close);

    // A spec that was edited.
    Path meta = Files.writeString(folder.resolve("meta"), "instance-id: other\n");
    Files.writeString(user, "#!/bin/sh\n");
    Seed.pin(launch(seed(user, Optional.of(meta))));
    assertThat(content(image.path()))
        .contains("#!/bin/sh\n", "instance-id: other\n")
        .doesNotContain("local-hostname");
  }

  @Test
  void aGuestWithoutOneHasNoImageOfIt() {
    Launch launch = launch(Devices.NONE);
    Seed.pin(launch);

    assertThat(files).isEmptyDirectory();
    assertThat(Seed.disks(launch)).isEqualTo(launch.spec().disks());
  }

  @Test
  void whatCannotBeReadIsNamed() throws IOException {
    Path large = Files.write(folder.resolve("large"), new byte[(1 << 20) + 1]);
    for (Path file : List.of(folder, large, folder.resolve("gone"))) {
      assertThatThrownBy(() -> Seed.pin(launch(seed(file, Optional.empty()))))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.SPEC_FILE_MISSING))
          .hasMessageContaining(file.toString());
    }
  }

  @Test
  void aPasswordIsOneShortLine() throws IOException {
    for (String text : List.of("", "\n", "a b\n", "ninechars\n", "a\nb", "é\n")) {
      Path file = Files.writeString(folder.resolve("password"), text);
      assertThatThrownBy(() -> ScreenPassword.pin(launch(screen(file))))
          .as("'%s'", text)
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.SPEC_INVALID));
    }
    Launch launch = launch(screen(Files.writeString(folder.resolve("password"), "8letters\r\n")));
    ScreenPassword.pin(launch);
    Files.delete(folder.resolve("password"));

    Path copy = files.resolve("vnc-password");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(copy)))
        .isEqualTo("rw-------");
    List<String> told = new ArrayList<>();
    assertThat(
            ScreenPassword.of(launch)
                .orElseThrow()
                .takenLater()
                .take(
                    (command, arguments) -> {
                      told.add(command + " " + arguments.get("password"));
                      return QmpMessage.JSON.createObjectNode();
                    },
                    1))
        .isEmpty();
    assertThat(told).containsExactly("set_password 8letters");
    Files.delete(copy);
    assertThat(
            ScreenPassword.of(launch)
                .orElseThrow()
                .takenLater()
                .take((_, _) -> QmpMessage.JSON.createObjectNode(), 1)
                .orElseThrow())
        .contains("Its screen lets nobody in", "cannot be read");
  }

  private static String content(Path file) throws IOException {
    return Files.readString(file, StandardCharsets.ISO_8859_1);
  }

  private static Devices seed(Path user, Optional<Path> meta) {
    return new Devices(
        false,
        false,
        Optional.of(new Devices.CloudInit(user, meta, Optional.empty())),
        Optional.empty());
  }

  private static Devices screen(Path password) {
    return new Devices(
        false,
        false,
        Optional.empty(),
        Optional.of(new Devices.Screen(new Devices.Address.Socket(), Optional.of(password))));
  }

  private Launch launch(Devices devices) {
    return new Launch(
        new GuestSpec(
                "web1",
                1,
                16L << 20,
                "pc-q35-7.2",
                "qemu64",
                AcceleratorWish.TCG,
                Optional.empty(),
                List.of(new Disk(user, Disk.Format.RAW, false)),
                List.of())
            .with(devices),
        new QemuRelease(
            "qemu-7.2.22",
            "7.2.22",
            Path.of("/bin/true"),
            List.of(),
            List.of(),
            "0",
            Set.of(),
            Set.of(),
            Set.of(),
            "a test"),
        Accelerator.TCG,
        memory,
        List.of(),
        files,
        folder,
        1,
        _ -> {});
  }
}
