package dev.hyperfresh.host;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/// The settings that a running kernel takes without harm to what runs on it. Each stands in one
/// file; paths are relative to the root folder.
enum Setting {
  /// The longest time, in nanoseconds, that KVM polls after a vCPU halts before it sleeps; for the
  /// whole system. Source: Documentation/virt/kvm/halt-polling.rst; `halt_poll_ns` in
  /// virt/kvm/kvm_main.c has mode 0644, some kernels make it 0444.
  HALT_POLLING("halt-polling", "sys/module/kvm/parameters/halt_poll_ns", "0") {
    @Override
    boolean valid(String value) {
      return isCount(value);
    }

    @Override
    boolean fulfilled(String value, String wanted) {
      return value.equals("0");
    }
  },

  /// How many pages of 2 MiB the kernel keeps for those that ask for them. It may give fewer than
  /// asked for, and says so only when read; pages in use survive a smaller number as surplus.
  /// Source: Documentation/admin-guide/mm/hugetlbpage.rst.
  HUGE_PAGES("huge-pages", "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "") {
    @Override
    boolean valid(String value) {
      return isCount(value);
    }

    @Override
    boolean fulfilled(String value, String wanted) {
      return isCount(value) && Long.parseLong(value) >= Long.parseLong(wanted);
    }
  },

  /// Which shared memory that has no mount of its own, memfds among it, gets huge pages: a list of
  /// words, the one that holds in brackets; `advise` is where madvise(2) asks for them. Source:
  /// Documentation/admin-guide/mm/transhuge.rst.
  TRANSPARENT_HUGE_PAGES(
      "transparent-huge-pages", "sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise") {
    @Override
    boolean valid(String value) {
      return List.of("always", "within_size", "advise", "never", "deny", "force").contains(value);
    }

    @Override
    boolean forbidden(String value) {
      return value.equals("deny");
    }

    @Override
    boolean fulfilled(String value, String wanted) {
      return List.of("always", "within_size", "advise", "force").contains(value);
    }
  },

  /// Whether pages of equal content are merged: 0 stopped, merged pages stay; 1 running; 2 stopped,
  /// and all pages unmerged. Source: Documentation/ABI/testing/sysfs-kernel-mm-ksm.
  KSM("ksm", "sys/kernel/mm/ksm/run", "0") {
    @Override
    boolean valid(String value) {
      return List.of("0", "1", "2").contains(value);
    }

    @Override
    boolean fulfilled(String value, String wanted) {
      // A kernel without the file merges nothing.
      return List.of("", "0", "2").contains(value);
    }
  };

  private final String knob;
  private final String file;
  private final String wanted;

  Setting(String knob, String file, String wanted) {
    this.knob = knob;
    this.file = file;
    this.wanted = wanted;
  }

  static Optional<Setting> of(String knob) {
    return Arrays.stream(values()).filter(setting -> setting.knob.equals(knob)).findFirst();
  }

  String knob() {
    return knob;
  }

  String file() {
    return file;
  }

  /// The value to write; for huge pages it depends on what is asked for.
  ///
  /// @param hugePages how many pages of 2 MiB there shall be
  String wanted(long hugePages) {
    return this == HUGE_PAGES ? Long.toString(hugePages) : wanted;
  }

  /// The value that holds now.
  ///
  /// @return empty when the host has no such setting
  Optional<String> current(Sysfs sysfs) {
    return sysfs.read(file).map(Setting::chosen);
  }

  /// Whether this is a value that the file can hold.
  abstract boolean valid(String value);

  /// Whether a value is as good as the wanted one; an empty one is that of a file that is not
  /// there.
  abstract boolean fulfilled(String value, String wanted);

  /// Whether a value is one that nobody sets by accident, so that only its author may end it.
  boolean forbidden(String value) {
    return false;
  }

  private static String chosen(String text) {
    int open = text.indexOf('[');
    int close = text.indexOf(']', open + 1);
    return open < 0 || close < 0 ? text : text.substring(open + 1, close);
  }

  private static boolean isCount(String value) {
    return value.matches("[0-9]{1,15}");
  }
}
