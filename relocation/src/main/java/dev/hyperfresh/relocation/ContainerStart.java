package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Scheduling;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.vm.StateFile;
import dev.hyperfresh.vm.TroubleException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/// How a container starts in an OS, the first time and every other time.
///
/// @param containers the folder of all containers' folders
/// @param placements where it is written down which OS each is in
record ContainerStart(Path containers, Path placements) {
  private static final Duration COPY_LIMIT = Duration.ofMinutes(10);

  /// Makes a container's folder from its bundle and its volumes.
  void fill(ContainerSpec spec, Bundle bundle, Volumes.Claim volumes) throws IOException {
    ContainerFolder folder = folder(spec.name());
    folder.make();
    Path share = folder.share();
    Files.write(
        share.resolve("config.json"),
        bundle.configuration(spec.name(), OsVm.NETWORKS + "/" + spec.name(), spec.volumes()));
    Files.createFile(share.resolve("log"));
    Path root = share.resolve("rootfs");
    copy(bundle.root(), root);
    if (spec.network().isPresent()) {
      ResolvConf.write(root, spec.network().get().dns());
    }
    for (VolumeMount mount : spec.volumes()) {
      if (volumes.isEmpty(mount.volume())) {
        begin(volumes, mount, root);
      }
    }
    volumes.put();
  }

  /// An empty volume begins with what the root file system has at its place, owner and all.
  private static void begin(Volumes.Claim volumes, VolumeMount mount, Path root)
      throws IOException {
    Path there = root;
    for (String part : mount.path().substring(1).split("/")) {
      there = there.resolve(part);
      // A link of somebody else's may lead anywhere.
      if (!Files.isDirectory(there, LinkOption.NOFOLLOW_LINKS)) {
        return;
      }
    }
    copy(there.resolve("."), volumes.draft(mount.volume()));
    volumes.begin(mount.volume());
  }

  /// With links, devices, owners and holes; blocks are shared where the file system can.
  private static void copy(Path from, Path to) throws IOException {
    Process copy =
        new ProcessBuilder("cp", "-a", "--reflink=auto", "--", from.toString(), to.toString())
            .redirectErrorStream(true)
            .start();
    Scheduling.nice((int) copy.pid(), Scheduling.BEHIND_GUESTS);
    try {
      if (!copy.waitFor(COPY_LIMIT.toSeconds(), TimeUnit.SECONDS) || copy.exitValue() != 0) {
        copy.destroyForcibly();
        throw new IOException(
            new String(copy.getInputStream().readNBytes(1000), StandardCharsets.UTF_8).strip());
      }
    } catch (InterruptedException e) {
      copy.destroyForcibly();
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }

  private ContainerFolder folder(String name) {
    return new ContainerFolder(StateFile.folder(containers).resolve(name));
  }

  /// Starts a container whose folder is there.
  ///
  /// @param left takes the container when it does not start and its OS does not let go of it
  /// @throws TroubleException, LinuxException, HyperFreshException when it does not start. Nothing
  ///   is left of it then but its folder, unless `left` was told, or this daemon has let go of the
  ///   OS: then the next one clears up
  Container launch(ContainerSpec spec, OsVm os, Progress progress, Consumer<Container> left) {
    Inside inside = new Inside(os, spec);
    Optional<Tap> port = Optional.empty();
    try {
      new Placement(spec, os.name(), 0, Optional.empty()).write(StateFile.folder(placements));
      port = spec.network().map(network -> port(spec, network));
      Container container = new Container(spec, folder(spec.name()), placements, port, os);
      inside.share(container.folder());
      inside.network(port.map(Tap::queue));
      inside.live();
      progress.step("create", "starting " + spec.name() + " in " + os.name());
      container.runs(os, inside.start());
      container.place(container.placement(Optional.empty()));
      return container;
    } catch (TroubleException | LinuxException | HyperFreshException e) {
      if (os.vm().released()) {
        port.ifPresent(Tap::close);
      } else if (cleared(inside, e)) {
        Placement.remove(placements, spec.name());
        port.ifPresent(Tap::close);
      } else {
        left.accept(new Container(spec, folder(spec.name()), placements, port, os));
      }
      throw e;
    }
  }

  private static boolean cleared(Inside inside, RuntimeException why) {
    try {
      inside.clear();
      return true;
    } catch (TroubleException | LinuxException left) {
      why.addSuppressed(left);
      return false;
    }
  }

  private static Tap port(ContainerSpec spec, ContainerSpec.Network network) {
    Tap tap = Tap.create(spec.port());
    try {
      network.bridge().ifPresent(tap::addToBridge);
      tap.up();
      return tap;
    } catch (LinuxException e) {
      tap.close();
      throw e;
    }
  }
}
