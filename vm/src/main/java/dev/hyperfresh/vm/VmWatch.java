package dev.hyperfresh.vm;

/// Is told of the virtual machines of one kind, by several threads, which it must not hold up.
///
/// @param <V> a virtual machine of the kind
public interface VmWatch<V> {
  /// One has booted, or was taken back from an earlier daemon.
  void came(V vm);

  /// One has ended, by itself or because it was to.
  void went(V vm);

  /// One is stopped or gone, or is to be started or not, unlike before.
  void altered(String name);

  /// Is told nothing.
  static <V> VmWatch<V> none() {
    return new VmWatch<>() {
      @Override
      public void came(V vm) {}

      @Override
      public void went(V vm) {}

      @Override
      public void altered(String name) {}
    };
  }
}
