package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Card;
import dev.hyperfresh.hypervisor.Devices;
import dev.hyperfresh.hypervisor.DiskDrive;
import dev.hyperfresh.hypervisor.DiskDrive.Bus;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.UserMode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/// The devices of a spec as arguments. Their order decides where the guest finds them.
///
/// @param disks with the seed, if there is one
/// @param backends what they are attached to
record DeviceWords(GuestSpec spec, List<Disk> disks, Backends backends) {
  private static final String DEVICE = "-device";

  /// The adapters that disks share, and the thread of the first one.
  private static final String SCSI = "scsi";

  private static final String SATA = "sata";
  private static final String SCSI_THREAD = "thread-scsi";

  DeviceWords {
    disks = List.copyOf(disks);
  }

  /// All of them.
  List<String> all() {
    List<String> line = new ArrayList<>();
    disks(line);
    cards(line);
    if (spec.agent()) {
      agent(line);
    }
    Devices devices = spec.devices();
    if (devices.rng()) {
      // The host's, without a file.
      add(
          line,
          "-object",
          "rng-builtin,id=randomness",
          DEVICE,
          "virtio-rng-pci,id=rng,rng=randomness");
    }
    if (devices.balloon()) {
      add(line, DEVICE, "virtio-balloon-pci,id=balloon,free-page-reporting=on");
    }
    devices
        .screen()
        .ifPresent(screen ->
            // It listens nowhere until its instance is alone.
            add(
                line,
                DEVICE,
                "VGA,id=screen",
                VncServer.OPTION,
                server(List.of(), screen).silent().text()));
    return line;
  }

  /// What one process alone can have, as the words of an adopted guest have it.
  static AdoptedWords takenLater(GuestSpec spec) {
    List<String> words = new ArrayList<>();
    for (int i = 0; i < spec.nics().size(); i++) {
      int index = i;
      spec.nics()
          .get(i)
          .user()
          .ifPresent(user -> add(words, "-netdev", network(index) + ports(user)));
    }
    spec.devices()
        .screen()
        .ifPresent(screen -> {
          if (screen.address() instanceof Devices.Address.Port at) {
            var port = new VncServer.Address.Port(at.host(), at.port());
            add(words, VncServer.OPTION, server(List.of(port), screen).text());
          }
        });
    return new AdoptedWords(words);
  }

  /// Nobody is let in who does not know the password, also before it is known.
  private static VncServer server(List<VncServer.Address> addresses, Devices.Screen screen) {
    Map<String, String> options =
        screen.password().isPresent() ? Map.of("password", "on") : Map.of();
    return new VncServer(addresses, new Suboptions(options, false));
  }

  private static String network(int index) {
    return "user,id=net" + index;
  }

  private static String ports(UserMode user) {
    StringBuilder rules = new StringBuilder();
    user.forwards()
        .forEach(forward ->
            rules
                .append(",hostfwd=")
                .append(
                    new HostPort(
                            forward.udp() ? "udp" : "tcp",
                            forward.address(),
                            forward.port(),
                            ":" + forward.guestPort())
                        .rule()));
    return rules.toString();
  }

  // ---- disks ----

  private void disks(List<String> line) {
    for (int i = 0; i < disks.size(); i++) {
      Disk disk = disks.get(i);
      int place = place(i);
      if (place == 0) {
        adapter(line, disk.drive().bus());
      }
      line.addAll(backends.disk(i, disk));
      if (hasThread(disk)) {
        add(line, "-object", "iothread,id=thread" + i);
      }
      add(line, DEVICE, device(i, disk, place));
    }
  }

  /// The place of a disk among those on its bus.
  private int place(int index) {
    Bus bus = disks.get(index).drive().bus();
    return (int) disks.subList(0, index).stream().filter(disk -> disk.drive().bus() == bus).count();
  }

  private void adapter(List<String> line, Bus bus) {
    switch (bus) {
      case VIRTIO -> {}
      case SCSI -> {
        boolean thread =
            disks.stream()
                .anyMatch(disk -> disk.drive().bus() == Bus.SCSI && disk.access().ioThread());
        if (thread) {
          add(line, "-object", "iothread,id=" + SCSI_THREAD);
        }
        add(
            line,
            DEVICE,
            "virtio-scsi-pci,id=" + SCSI + (thread ? ",iothread=" + SCSI_THREAD : ""));
      }
      case SATA -> add(line, DEVICE, "ich9-ahci,id=" + SATA);
    }
  }

  private static boolean hasThread(Disk disk) {
    return disk.access().ioThread() && disk.drive().bus() == Bus.VIRTIO;
  }

  private static String device(int index, Disk disk, int place) {
    DiskDrive drive = disk.drive();
    StringBuilder device = new StringBuilder();
    device.append(
        switch (drive.bus()) {
          case VIRTIO -> "virtio-blk-pci";
          case SCSI -> drive.cdrom() ? "scsi-cd" : "scsi-hd";
          case SATA -> drive.cdrom() ? "ide-cd" : "ide-hd";
        });
    device.append(",id=blk" + index + ",drive=disk" + index);
    switch (drive.bus()) {
      case VIRTIO -> {}
      case SCSI -> device.append(",bus=" + SCSI + ".0,scsi-id=" + place);
      case SATA -> device.append(",bus=" + SATA + "." + place);
    }
    // QEMU counts those of this bus where nothing is said, and each release by itself.
    drive
        .serial()
        .or(() -> drive.bus() == Bus.SATA ? Optional.of("disk" + index) : Optional.empty())
        .ifPresent(serial -> device.append(",serial=" + serial));
    if (!disk.access().cache().writeCache()) {
      device.append(",write-cache=off");
    }
    if (hasThread(disk)) {
      device.append(",iothread=thread" + index);
    }
    drive.boot().ifPresent(boot -> device.append(",bootindex=" + boot));
    return device.toString();
  }

  // ---- cards ----

  private void cards(List<String> line) {
    int queue = 0;
    for (int i = 0; i < spec.nics().size(); i++) {
      Nic nic = spec.nics().get(i);
      if (nic.user().isPresent()) {
        add(line, "-netdev", network(i));
      } else {
        int last = queue + nic.card().queues();
        List<Integer> places = IntStream.range(queue, last).boxed().toList();
        List<Integer> queues = places.stream().map(Descriptors::queue).toList();
        queue = last;
        String vhost =
            nic.card().vhost()
                ? backends.vhost(places.stream().map(Descriptors::vhost).toList())
                : "";
        add(line, "-netdev", backends.network(queues) + ",id=net" + i + vhost);
      }
      add(line, DEVICE, card(i, nic));
    }
  }

  private static String card(int index, Nic nic) {
    Card card = nic.card();
    StringBuilder device = new StringBuilder();
    device.append(
        switch (card.model()) {
          case VIRTIO -> "virtio-net-pci";
          case E1000E, E1000, RTL8139 -> card.model().label();
        });
    // romfile= empty: a boot ROM would be one more image that must match between releases.
    device.append(",id=nic" + index + ",netdev=net" + index + ",mac=" + nic.mac() + ",romfile=");
    card.mtu().ifPresent(mtu -> device.append(",host_mtu=" + mtu));
    if (card.queues() > 1) {
      // An interrupt for each queue, and two for what is of the whole card.
      device.append(",mq=on,vectors=" + (2 * card.queues() + 2));
    }
    return device.toString();
  }

  /// Under the name by which qemu-guest-agent looks for its port.
  private void agent(List<String> line) {
    add(line, "-chardev", backends.agent());
    add(line, DEVICE, "virtio-serial-pci,id=ports,max_ports=2");
    add(line, DEVICE, "virtserialport,bus=ports.0,nr=1,chardev=agent,name=org.qemu.guest_agent.0");
  }

  private static void add(List<String> line, String... arguments) {
    line.addAll(List.of(arguments));
  }
}
