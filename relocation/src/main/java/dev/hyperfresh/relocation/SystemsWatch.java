package dev.hyperfresh.relocation;

import dev.hyperfresh.vm.VmWatch;

/// Is told of the operating systems of a state directory and of the containers in them, by several
/// threads, which it must not hold up. It must not throw.
public interface SystemsWatch extends VmWatch<OsVm> {
  /// A move has come to its end.
  void moved(RelocationRecord record);

  /// A container runs, has come to another OS, has ended, or its health is another one.
  void changed(ContainerView container);

  /// A container is gone, with its files.
  void removed(String container);

  /// Is told nothing.
  SystemsWatch NONE =
      new SystemsWatch() {
        @Override
        public void came(OsVm os) {}

        @Override
        public void went(OsVm os) {}

        @Override
        public void altered(String os) {}

        @Override
        public void moved(RelocationRecord record) {}

        @Override
        public void changed(ContainerView container) {}

        @Override
        public void removed(String container) {}
      };
}
