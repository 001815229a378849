package dev.hyperfresh.vm;

import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.release.ImageSources;
import dev.hyperfresh.release.KernelPackage;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/// How releases of one kind are made and told apart. Stateless.
///
/// @param <R> the kind
public interface VmRecipe<R extends VmRelease> {
  /// What is said of a kind of releases.
  ///
  /// @param type what is read from a description
  /// @param kind with what names begin; the description of a release is `KIND.json`
  /// @param plural virtual machines that boot it, for people: `machines`
  /// @param order the oldest first
  /// @param sources what the initramfs is built from beside packages; the first is the script that
  ///   builds it
  record About<R>(
      Class<R> type, String kind, String plural, Comparator<R> order, ImageSources sources) {}

  /// What is said of it.
  About<R> about();

  /// Checks what stands beside the kernel's series where a release is asked for.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException RELEASE_KIND when there is no such thing
  void check(String series);

  /// Finds out what a release is to be made of.
  ///
  /// @param series what stands beside the kernel's
  /// @throws DebianPackages.PackagesException when packages cannot be had
  Draft<R> draft(KernelPackage kernel, String series, Bench bench);

  /// Where a release is made.
  ///
  /// @param releases the folder of all of them
  /// @param staging becomes the folder of this one
  /// @param work a folder for what is not to stay
  /// @param progress gets one line for each step
  record Bench(
      Path releases, Path staging, Path work, DebianPackages packages, Consumer<String> progress) {}

  /// A release that is to be made.
  interface Draft<R> {
    /// Its name.
    String name();

    /// Brings what goes into it beside the kernel.
    ///
    /// @return the folder with it, which the script is told
    /// @throws DebianPackages.PackagesException when packages cannot be had
    Path gather();

    /// Describes it.
    R describe(Image image);
  }

  /// What was built.
  ///
  /// @param kernel its image as it is installed, as is the initramfs
  /// @param installed where a file of the staging folder will be
  record Image(
      Path kernel,
      Path initrd,
      String kernelSha256,
      String sha256,
      String sourcesSha256,
      UnaryOperator<Path> installed) {}
}
