package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;

/// A machine as managers and people write it: every piece in one of the forms that QEMU reads, with
/// names or without, and block nodes that stand on each other. Most can be adopted. It also says
/// what a QEMU would say that runs it.
final class RandomMachine {
  /// What nobody may see in a message.
  static final String SECRET = "hunter2";

  private static final Set<String> AS_JSON = Set.of("-device", "-blockdev", "-netdev", "-object");

  private final Random random;
  private final List<List<String>> pieces = new ArrayList<>();
  private final Set<String> devices = new TreeSet<>();
  private final List<String> files = new ArrayList<>();
  private int nameless;
  private int count;
  private boolean hasScsi;

  RandomMachine(Random random) {
    this.random = random;
    settings();
    repeat(4, this::disk);
    repeat(3, this::card);
    serial();
    repeat(3, this::channel);
    repeat(3, this::monitor);
    repeat(5, this::other);
    if (random.nextInt(8) == 0) {
      stuck();
    }
    if (random.nextBoolean()) {
      // Options are read by their kind; nodes must stand before what is on them.
      List<List<String>> first = pieces.stream().filter(RandomMachine::isBefore).toList();
      List<List<String>> rest = new ArrayList<>(pieces);
      rest.removeAll(first);
      pieces.clear();
      pieces.addAll(rest);
      pieces.addAll(random.nextInt(pieces.size() + 1), first);
    }
  }

  private static boolean isBefore(List<String> piece) {
    return Set.of("-name", "-smp", "-rtc", "-msg").contains(piece.getFirst());
  }

  /// Its command line.
  List<String> line() {
    List<String> line = new ArrayList<>(ForeignLines.BASE);
    pieces.forEach(line::addAll);
    return line;
  }

  /// What the QEMU says of itself.
  LiveMachine live() {
    return ForeignLines.live(devices, nameless, files);
  }

  // ---- forms ----

  private void repeat(int most, Runnable part) {
    for (int i = random.nextInt(most); i > 0; i--) {
      part.run();
    }
  }

  private <T> T any(List<T> choices) {
    return choices.get(random.nextInt(choices.size()));
  }

  /// A name that is used once.
  private String name(String kind) {
    count++;
    return any(List.of(kind, "libvirt-" + kind + "-", "drive-" + kind + "0-0-", "a.b_" + kind))
        + count;
  }

  private String file() {
    count++;
    String file = any(List.of("/var/lib/vm/", "/srv/a,b/", "sub/", "/img/sp ace/", "/v=1/"));
    files.add(file + count + any(List.of(".img", ".qcow2", "")));
    return files.getLast();
  }

  private void plain(String... words) {
    pieces.add(List.of(words));
  }

  /// @param pairs of keys and values; that of the first one may stand alone
  private void add(String option, String... pairs) {
    Map<String, String> all = new LinkedHashMap<>();
    for (String pair : pairs) {
      int equals = pair.indexOf('=');
      all.put(pair.substring(0, equals), pair.substring(equals + 1));
    }
    boolean json = AS_JSON.contains(option) && random.nextBoolean();
    plain(option, json ? json(all) : text(all));
  }

  /// Behind the first pair the others stand in any order.
  private String text(Map<String, String> pairs) {
    List<Map.Entry<String, String>> all = new ArrayList<>(pairs.entrySet());
    Collections.shuffle(all.subList(1, all.size()), random);
    String text = Suboptions.text(all);
    boolean bare = !all.getFirst().getValue().contains("=") && random.nextBoolean();
    return bare ? text.substring(text.indexOf('=') + 1) : text;
  }

  /// Dotted keys are nested, and numbers and switches may be such.
  private String json(Map<String, String> pairs) {
    Map<String, Object> root = new LinkedHashMap<>();
    List<String> keys = new ArrayList<>(pairs.keySet());
    Collections.shuffle(keys, random);
    for (String key : keys) {
      put(root, key, value(pairs.getOrDefault(key, "")));
    }
    return QmpMessage.JSON.writeValueAsString(root);
  }

  private Object value(String text) {
    boolean plain = random.nextBoolean();
    if (text.matches("on|off") && plain) {
      return text.equals("on");
    }
    return text.matches("[0-9]{1,9}") && plain ? (Object) Integer.valueOf(text) : text;
  }

  @SuppressWarnings("unchecked")
  private static void put(Map<String, Object> node, String key, Object value) {
    int dot = key.indexOf('.');
    if (dot < 0) {
      node.put(key, value);
    } else {
      Object below = node.computeIfAbsent(key.substring(0, dot), _ -> new LinkedHashMap<>());
      put((Map<String, Object>) below, key.substring(dot + 1), value);
    }
  }

  /// Half of those that need no name have none.
  private void device(String driver, String... pairs) {
    List<String> all = new ArrayList<>(List.of("driver=" + driver));
    all.addAll(List.of(pairs));
    if (random.nextBoolean()) {
      nameless++;
    } else {
      String id = name(driver.replace("-", ""));
      devices.add(id);
      all.add("id=" + id);
    }
    add("-device", all.toArray(String[]::new));
  }

  // ---- parts ----

  private void settings() {
    List<List<String>> all =
        List.of(
            List.of("-name", "guest=a,,b,debug-threads=on"),
            List.of("-name", "web1"),
            List.of("-smp", "2,sockets=1,cores=2"),
            List.of("-smp", "1,maxcpus=4"),
            List.of("-rtc", "base=utc,driftfix=slew"),
            List.of("-boot", "menu=on,strict=on,reboot-timeout=1000"),
            List.of("-no-shutdown"),
            List.of("--no-user-config"),
            List.of("-S"),
            List.of("-daemonize"),
            List.of("-pidfile", "/run/vm/1.pid"),
            List.of("-id", "8006"),
            List.of("-msg", "timestamp=on"),
            List.of("-uuid", "00000000-0000-4000-8000-000000000001"),
            List.of(
                "-smbios", "type=1,manufacturer=A,,B,uuid=00000000-0000-4000-8000-000000000001"),
            List.of("-global", "ICH9-LPC.disable_s3=1"),
            List.of("-global", "driver=cfi.pflash01,property=secure,value=on"),
            List.of("-machine", "usb=off,smm=on,dump-guest-core=off"),
            List.of("-machine", "hpet=off"),
            List.of("-overcommit", "mem-lock=off"),
            List.of("-watchdog-action", "reset"),
            List.of("-sandbox", "on,obsolete=deny,spawn=deny"),
            List.of("-add-fd", "set=2,fd=20,opaque=log"),
            List.of("-vga", "std"),
            List.of("-k", "de"),
            List.of("-iscsi", "initiator-name=iqn.1993-08.org.debian:01:aabbccddeeff"));
    repeat(8, () -> pieces.add(any(all)));
  }

  private void disk() {
    switch (random.nextInt(6)) {
      case 0 -> onDevice(format());
      case 1 -> onDevice(format("backing=" + format("read-only=on")));
      case 2 -> onDevice(throttled());
      case 3 -> {
        String id = name("d");
        add("-drive", "file=" + file(), "if=none", "id=" + id, "format=qcow2", "cache=none");
        onDevice(id);
      }
      case 4 -> {
        nameless++;
        add("-drive", "file=" + file(), "if=virtio", "format=raw", "throttling.iops-total=9");
      }
      default -> onDevice(nested());
    }
  }

  /// A node of a format on a node of its own.
  private String format(String... more) {
    String storage = name("storage");
    add(
        "-blockdev",
        "driver=file",
        "filename=" + file(),
        "node-name=" + storage,
        "cache.direct=on",
        "auto-read-only=on",
        "discard=unmap");
    String node = name("format");
    List<String> pairs = new ArrayList<>(List.of("driver=qcow2", "node-name=" + node));
    pairs.add("file=" + storage);
    pairs.addAll(List.of(more));
    add("-blockdev", pairs.toArray(String[]::new));
    return node;
  }

  /// Three nodes in one piece, as Proxmox VE writes them.
  private String throttled() {
    String group = name("throttle");
    String node = name("d");
    add("-object", "qom-type=throttle-group", "id=" + group, "limits.iops-total=100");
    add(
        "-blockdev",
        "driver=throttle",
        "node-name=" + node,
        "throttle-group=" + group,
        "file.driver=raw",
        "file.node-name=" + name("f"),
        "file.file.driver=file",
        "file.file.filename=" + file(),
        "file.file.node-name=" + name("e"),
        "file.file.aio=io_uring");
    return node;
  }

  private String nested() {
    String node = name("n");
    add(
        "-blockdev",
        "driver=raw",
        "node-name=" + node,
        "read-only=off",
        "file.driver=file",
        "file.filename=" + file());
    return node;
  }

  private void onDevice(String node) {
    switch (random.nextInt(4)) {
      case 0 -> {
        scsi();
        device("scsi-hd", "drive=" + node, "bus=scsi0.0", "scsi-id=" + count % 7);
      }
      case 1 -> device("ide-hd", "drive=" + node, "serial=s" + count, "bus=ide.1");
      case 2 -> {
        String thread = name("t");
        add("-object", "qom-type=iothread", "id=" + thread);
        device("virtio-blk-pci", "drive=" + node, "iothread=" + thread, "bootindex=1");
      }
      default ->
          device("virtio-blk-pci-non-transitional", "drive=" + node, "write-cache=on", "addr=4");
    }
  }

  private void scsi() {
    if (!hasScsi) {
      hasScsi = true;
      devices.add("scsi0");
      add("-device", "driver=virtio-scsi-pci", "id=scsi0", "num_queues=4");
    }
  }

  private void card() {
    String id = name("net");
    String number = Integer.toString(30 + count);
    switch (random.nextInt(5)) {
      case 0 -> add("-netdev", "type=tap", "id=" + id, "fd=" + number, "vhost=on", "vhostfd=9");
      case 1 -> add("-netdev", "type=tap", "id=" + id, "fds=" + number + ":7", "vhostfds=8:9");
      case 2 -> add("-netdev", "type=tap", "ifname=tap" + count, "id=" + id, "script=no");
      case 3 -> add("-netdev", "type=bridge", "br=br0", "id=" + id);
      default -> add("-netdev", "type=user", "id=" + id, "restrict=on", "net=10.0.2.0/24");
    }
    String mac = "52:54:00:00:01:%02x".formatted(count % 256);
    device(
        any(
            List.of(
                "virtio-net-pci", "virtio-net-pci-transitional", "e1000", "rtl8139", "vmxnet3")),
        "netdev=" + id,
        "mac=" + mac,
        "romfile=" + any(List.of("", "pxe-virtio.rom", "/usr/share/a,b/pxe.rom")));
  }

  // ---- character devices ----

  private void serial() {
    String id = name("serial");
    switch (random.nextInt(6)) {
      case 0 -> plain("-serial", any(List.of("none", "null", "stdio", "pty", "file:/v/c.log")));
      case 1 -> plain("-serial", "unix:/run/vm/c.sock,server,nowait");
      case 2 -> {
        chardev(id);
        plain("-serial", "chardev:" + id);
      }
      case 3 -> {
        chardev(id);
        device("isa-serial", "chardev=" + id, "index=0");
      }
      default -> {}
    }
  }

  private void chardev(String id) {
    switch (random.nextInt(5)) {
      case 0 -> add("-chardev", "backend=pty", "id=" + id);
      case 1 -> add("-chardev", "backend=null", "id=" + id, "logfile=/v/l,1.log");
      case 2 -> add("-chardev", "backend=ringbuf", "id=" + id, "size=65536");
      case 3 -> add("-chardev", "backend=file", "id=" + id, "path=/v/out.log");
      default -> socket(id);
    }
  }

  private void socket(String id) {
    switch (random.nextInt(4)) {
      case 0 -> add("-chardev", "backend=socket", "id=" + id, "path=/run/" + id, "reconnect=5");
      case 1 -> add("-chardev", "backend=socket", "id=" + id, "host=::1", "port=4444", "server=on");
      case 2 -> plain("-chardev", "socket,id=" + id + ",path=/run/a,,b" + count + ",server,nowait");
      default ->
          add(
              "-chardev",
              "backend=socket",
              "id=" + id,
              "path=/run/" + id,
              "server=on",
              "wait=off",
              "logfile=/dev/fdset/2",
              "logappend=on");
    }
  }

  private void channel() {
    String id = name("c");
    if (random.nextBoolean()) {
      socket(id);
    } else {
      chardev(id);
    }
    device("virtio-serial-pci", "max_ports=2");
    device(
        any(List.of("virtserialport", "virtconsole")), "chardev=" + id, "name=org.qemu.a," + count);
  }

  private void monitor() {
    String id = name("m");
    switch (random.nextInt(4)) {
      case 0 -> plain("-qmp", "unix:/run/q" + count + ",server=on,wait=off");
      case 1 -> plain("-monitor", any(List.of("none", "vc", "stdio", "telnet:127.0.0.1:5,server")));
      default -> {
        socket(id);
        if (random.nextBoolean()) {
          plain("-mon", "chardev=" + id + ",id=monitor" + count + ",mode=control");
        } else {
          plain("-qmp", "chardev:" + id);
        }
      }
    }
  }

  // ---- others ----

  private void other() {
    switch (random.nextInt(8)) {
      case 0 -> {
        String id = name("r");
        add("-object", "qom-type=" + any(List.of("rng-random", "rng-builtin")), "id=" + id);
        device("virtio-rng-pci", "rng=" + id, "max-bytes=1024");
      }
      case 1 -> device("virtio-balloon-pci", "free-page-reporting=on", "deflate-on-oom=on");
      case 2 ->
          device(
              "pcie-root-port",
              "port=" + (16 + count),
              "chassis=" + count,
              "bus=pcie.0",
              "multifunction=on",
              "addr=0x2.0x" + count % 8);
      case 3 -> device("vmgenid", "guid=00000000-0000-4000-8000-00000000000a");
      case 4 -> {
        String id = name("audio");
        add("-audiodev", "driver=" + any(List.of("none", "pa", "spice")), "id=" + id);
        device("ich9-intel-hda");
        device("hda-duplex", "audiodev=" + id, "cad=0");
      }
      case 5 ->
          add("-object", "qom-type=secret", "id=" + name("key"), "format=raw", "data=" + SECRET);
      case 6 -> device(any(List.of("usb-tablet", "usb-kbd")), "bus=usb.0", "port=1");
      default -> device(any(List.of("vmcoreinfo", "pvpanic", "i6300esb", "VGA", "qemu-xhci")));
    }
  }

  /// What cannot be taken over.
  private void stuck() {
    String id = name("x");
    switch (random.nextInt(7)) {
      case 0 -> device("vhost-vsock-pci", "guest-cid=42", "vhostfd=4");
      case 1 -> {
        plain("-chardev", "socket,id=" + id + ",path=/run/fs");
        device("vhost-user-fs-pci", "chardev=" + id, "tag=t", "queue-size=1024");
      }
      case 2 -> {
        plain("-fsdev", "local,id=" + id + ",path=/d,security_model=none");
        device("virtio-9p-pci", "fsdev=" + id, "mount_tag=t");
      }
      case 3 -> {
        plain("-chardev", "socket,id=" + id + ",path=/run/v,server=on");
        add("-netdev", "type=vhost-user", "chardev=" + id, "id=" + id + "n", "queues=4");
        device("virtio-net-pci", "netdev=" + id + "n", "mac=52:54:00:00:02:01");
      }
      case 4 -> device("vfio-pci", "host=0000:01:00.0");
      case 5 -> plain("-spice", "port=5900,password=" + SECRET);
      default -> {
        add("-object", "qom-type=memory-backend-ram", "id=" + id, "size=1073741824");
        device("virtio-mem-pci", "memdev=" + id);
      }
    }
  }
}
