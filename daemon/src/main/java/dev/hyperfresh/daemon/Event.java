package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.StartReason;
import dev.hyperfresh.relocation.ContainerView;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.vm.VmKind;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Something that has happened. Each is published once, to every sink of [Events].
sealed interface Event {
  /// A guest is made, running, being replaced, stopped or in doubt.
  record GuestChanged(GuestView guest) implements Event {
    @Override
    public String type() {
      return "guest.changed";
    }

    @Override
    public String subject() {
      return guest.spec().name();
    }

    @Override
    public Map<String, ? extends @Nullable Object> data() {
      return Views.guest(guest);
    }
  }

  /// A guest was booted.
  ///
  /// @param guest as it is now
  record GuestStarted(GuestView guest, StartReason why) implements Event {
    @Override
    public String type() {
      return "guest.started";
    }

    @Override
    public String subject() {
      return guest.spec().name();
    }

    @Override
    public Map<String, ? extends @Nullable Object> data() {
      return Views.start(guest, why);
    }
  }

  /// A guest is gone, with its files.
  record GuestDeleted(String subject) implements Event {
    @Override
    public String type() {
      return "guest.deleted";
    }

    @Override
    public Map<String, ? extends @Nullable Object> data() {
      return Map.of();
    }
  }

  /// A guest that was borrowed is its manager's again, and goes on.
  record GuestHandedBack(String subject) implements Event {
    @Override
    public String type() {
      return "guest.handed-back";
    }

    @Override
    public Map<String, ? extends @Nullable Object> data() {
      return Map.of();
    }
  }

  /// A replacement has ended, whatever came of it.
  record GuestReplaced(ReplacementRecord record) implements Event {
    @Override
    public String type() {
      return "guest.replaced";
    }

    @Override
    public String subject() {
      return record.guest();
    }

    @Override
    public Map<String, ? extends @Nullable Object> data() {
      return Views.replacement(record);
    }
  }

  /// A container runs, has come to another OS, has ended, or its health is another one.
  record ContainerChanged(ContainerView container) implements Event {
    @Override
    public String type() {
      return "container.changed";
    }

    @Override
    public String subject() {
      return container.name();
    }

    @Override
    public Map<String, ? extends @Nullable Object> data() {
      return Views.container(container);
    }
  }

  /// A container is gone, with its files.
  record ContainerRemoved(String subject) implements Event {
    @Override
    public String type() {
      return "container.removed";
    }

    @Override
    public Map<String, ? extends @Nullable Object> data() {
      return Map.of();
    }
  }

  /// The move of a container has ended, whatever came of it.
  record ContainerMoved(RelocationRecord record) implements Event {
    @Override
    public String type() {
      return "container.moved";
    }

    @Override
    public String subject() {
      return record.container();
    }

    @Override
    public Map<String, ? extends @Nullable Object> data() {
      return Views.relocation(record);
    }
  }

  /// A machine or an OS runs or has ended.
  ///
  /// @param kind `machine` or `os`
  /// @param runs whether it runs
  record VmChanged(String kind, VmKind.Member<?> vm, boolean runs) implements Event {
    @Override
    public String type() {
      return kind + (runs ? ".running" : ".ended");
    }

    @Override
    public String subject() {
      return vm.settings().name();
    }

    @Override
    public Map<String, ? extends @Nullable Object> data() {
      return Views.vm(vm);
    }
  }

  /// A machine or an OS is stopped or gone, or is to be started or not, unlike before.
  ///
  /// @param kind `machine` or `os`
  record VmAltered(String kind, String subject) implements Event {
    @Override
    public String type() {
      return kind + ".changed";
    }

    @Override
    public Map<String, ? extends @Nullable Object> data() {
      return Map.of();
    }
  }

  /// A release was installed or removed.
  record ReleaseChanged(String subject, boolean here) implements Event {
    @Override
    public String type() {
      return here ? "release.added" : "release.removed";
    }

    @Override
    public Map<String, ? extends @Nullable Object> data() {
      return Map.of();
    }
  }

  /// What kind of event it is: two words with a dot between them.
  String type();

  /// The name of the guest, container, machine, OS or release.
  String subject();

  /// What the API shows of it.
  Map<String, ? extends @Nullable Object> data();
}
