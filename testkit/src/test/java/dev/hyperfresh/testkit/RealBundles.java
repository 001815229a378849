package dev.hyperfresh.testkit;

import dev.hyperfresh.release.DebianPackages;
import dev.hyperfresh.release.DebianPackages.Suite;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import tools.jackson.databind.json.JsonMapper;

/// OCI bundles with programs of Debian 13, as real containers have them: a configuration like that
/// of `runc spec`, and a root file system of packages, made once and kept in the cache.
final class RealBundles {
  /// Of which every container has the same.
  static final long MEMORY_MAX = 400L << 20;

  static final long PIDS_MAX = 64;
  static final long CPU_MICROS = 90_000;

  private static final int REDIS = 999;
  private static final int POSTGRES = 70;
  private static final int USER = 1000;

  /// Part of the names in the cache, with the sources: all is made again when it changes.
  private static final String RECIPE = "3";

  private static final List<String> FOLDERS =
      List.of("proc", "dev", "sys", "tmp", "run", "etc", "data", "var/tmp");

  /// Neither needed by a program.
  private static final List<String> LEFT_OUT =
      List.of("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/perl");

  private final Path cache;
  private final Path bundles;
  private final DebianPackages packages;
  private final Consumer<String> say;

  /// @param cache for root file systems
  /// @param bundles a new folder for the bundles
  RealBundles(Path cache, Path bundles, DebianPackages packages, Consumer<String> say) {
    this.cache = cache;
    this.bundles = bundles;
    this.packages = packages;
    this.say = say;
  }

  /// Redis, which writes to a file what it is told.
  Path redis() {
    Path root = root("redis", List.of("redis-server"), made -> own(made.resolve("data"), REDIS));
    return bundle(
        "redis",
        root,
        REDIS,
        Map.of(),
        List.of(
            "/usr/bin/redis-server",
            "--bind",
            "0.0.0.0",
            "--protected-mode",
            "no",
            "--dir",
            "/data",
            "--save",
            "",
            "--appendonly",
            "yes"));
  }

  /// What nginx serves as `/page`.
  static final String PAGE = "what stays stays\n".repeat(4000);

  /// Where it listens.
  static final int PAGE_PORT = 8080;

  /// nginx with a worker, which keeps connections for ever.
  Path nginx() {
    Path root = root("nginx", List.of("nginx-light"), RealBundles::configureNginx);
    return bundle(
        "nginx",
        root,
        USER,
        Map.of(),
        List.of("/usr/sbin/nginx", "-e", "/dev/stderr", "-c", "/data/nginx.conf"));
  }

  private static void configureNginx(Path root) throws IOException {
    Path data = root.resolve("data");
    Files.writeString(data.resolve("page"), PAGE);
    String temporary =
        Stream.of("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            .map(kind -> kind + "_temp_path /tmp/" + kind + ";")
            .collect(Collectors.joining("\n"));
    Files.writeString(
        data.resolve("nginx.conf"),
        """
        daemon off;
        worker_processes 1;
        pid /tmp/nginx.pid;
        events { worker_connections 64; }
        http {
          %s
          access_log off;
          keepalive_timeout 24h;
          keepalive_requests 100000000;
          server { listen %d; location = /page { root /data; } }
        }
        """
            .formatted(temporary, PAGE_PORT));
  }

  /// PostgreSQL with an empty cluster; user and database `postgres`, without a password.
  Path postgres() {
    Path root =
        root("postgres", List.of("postgresql-17", "busybox-static"), RealBundles::initialise);
    return bundle(
        "postgres",
        root,
        POSTGRES,
        Map.of("LC_ALL", "C.UTF-8"),
        List.of(
            "/usr/lib/postgresql/17/bin/postgres",
            "-D",
            "/data/pg",
            "-c",
            "listen_addresses=*",
            "-c",
            "unix_socket_directories=/tmp",
            "-c",
            "shared_buffers=4MB",
            "-c",
            "wal_level=minimal",
            "-c",
            "max_wal_senders=0",
            "-c",
            "max_connections=8"));
  }

  /// A JVM.
  Path java() {
    Path root = root("java", List.of("openjdk-21-jre-headless"), RealBundles::compileChurn);
    return bundle(
        "java",
        root,
        USER,
        Map.of(),
        List.of(
            "/usr/lib/jvm/java-21-openjdk-amd64/bin/java",
            "-Xmx32m",
            "-XX:+UseG1GC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            "/data",
            "Churn"));
  }

  /// busybox, with a pipeline that numbers its lines.
  Path shell() {
    Path root = root("shell", List.of("busybox-static"), RealBundles::linkShell);
    return bundle(
        "shell",
        root,
        USER,
        Map.of(),
        List.of(
            "/bin/sh",
            "-c",
            "trap 'echo asked to end; exit 0' TERM; yes moved | head -n 1000000 | (n=0; while read"
                + " -r word; do n=$((n+1)); echo \"line $n $word $(uname -r)\"; usleep 100000;"
                + " done) | cat & while :; do wait $!; done"));
  }

  /// The program `guests/container/odd.c`.
  ///
  /// @param held see there; none for what can be moved
  Path odd(String name, List<String> held) {
    Path root = root("odd", List.of("busybox-static"), RealBundles::compileOdd);
    List<String> arguments = new ArrayList<>(List.of("/data/program"));
    arguments.addAll(held);
    return bundle(name, root, USER, Map.of("ODD", "an environment"), arguments);
  }

  private interface Finish {
    void apply(Path root) throws IOException;
  }

  private Path root(String name, List<String> wanted, Finish finish) {
    Path home = cache.resolve("container-" + name + "-" + RECIPE + "-" + sources());
    if (Files.isDirectory(home)) {
      return home;
    }
    try {
      Files.createDirectories(cache);
      Path work = Files.createTempDirectory(cache, ".container-");
      try {
        // Packages of Debian 13 have everything below /usr.
        for (String folder : List.of("bin", "sbin", "lib", "lib64")) {
          Files.createDirectories(work.resolve("usr").resolve(folder));
          Files.createSymbolicLink(work.resolve(folder), Path.of("usr", folder));
        }
        packages.unpack(Suite.TRIXIE, wanted, true, work, say);
        for (String folder : FOLDERS) {
          Files.createDirectories(work.resolve(folder));
        }
        for (String folder : LEFT_OUT) {
          Workspace.delete(work.resolve(folder));
        }
        run("chmod", "755", work.toString());
        run("chmod", "1777", work.resolve("tmp").toString(), work.resolve("data").toString());
        finish.apply(work);
        GuestImages.keep(work, home);
      } finally {
        Workspace.delete(work);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return home;
  }

  private static void own(Path path, int user) {
    run("chown", "-R", user + ":" + user, path.toString());
  }

  private static void initialise(Path root) throws IOException {
    linkShell(root);
    own(root.resolve("data"), POSTGRES);
    Files.writeString(root.resolve("etc/passwd"), "postgres:x:70:70::/data:/bin/sh\n");
    Path null_ = root.resolve("dev/null");
    run("mknod", "-m", "666", null_.toString(), "c", "1", "3");
    run(
        "chroot",
        "--userspec=" + POSTGRES + ":" + POSTGRES,
        root.toString(),
        "/usr/lib/postgresql/17/bin/initdb",
        "-D",
        "/data/pg",
        "-U",
        "postgres",
        "-A",
        "trust",
        "--no-locale",
        "-E",
        "UTF8");
    Files.delete(null_);
    Files.writeString(root.resolve("data/pg/pg_hba.conf"), "host all all all trust\n");
  }

  private static void compileChurn(Path root) throws IOException {
    Path source = root.resolve("data/Churn.java");
    extract("Churn.java", source);
    run(
        Path.of(System.getProperty("java.home"), "bin", "javac").toString(),
        "--release",
        "21",
        "-d",
        root.resolve("data").toString(),
        source.toString());
  }

  private static void linkShell(Path root) throws IOException {
    for (String name : List.of("sh", "yes", "head", "cat", "usleep", "uname", "id", "hostname")) {
      Path link = root.resolve("bin").resolve(name);
      if (!Files.exists(link)) {
        Files.createSymbolicLink(link, Path.of("/usr/bin/busybox"));
      }
    }
  }

  private static void compileOdd(Path root) throws IOException {
    linkShell(root);
    // What the filter of devices of an ordinary container does not let it open.
    run("mknod", "-m", "666", root.resolve("data/fuse").toString(), "c", "10", "229");
    // And one that it does.
    run("mknod", "-m", "666", root.resolve("data/tun").toString(), "c", "10", "200");
    Path source = root.resolve("data/odd.c");
    extract("odd.c", source);
    run(
        "gcc",
        "-std=c11",
        "-O2",
        "-static",
        "-pthread",
        "-o",
        root.resolve("data/program").toString(),
        source.toString());
  }

  private static String sources() {
    int hash = 0;
    for (String name : List.of("odd.c", "Churn.java")) {
      try (InputStream in = RealBundles.class.getResourceAsStream("/guests/container/" + name)) {
        hash = hash * 31 + (in == null ? 0 : Arrays.hashCode(in.readAllBytes()));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    return Integer.toHexString(hash);
  }

  private static void extract(String name, Path to) throws IOException {
    try (InputStream in = RealBundles.class.getResourceAsStream("/guests/container/" + name)) {
      if (in == null) {
        throw new IOException("the resource guests/container/" + name + " is missing");
      }
      Files.copy(in, to);
    }
  }

  private static void run(String... command) {
    TestNetwork.run(command);
  }

  private Path bundle(
      String name, Path root, int user, Map<String, String> environment, List<String> arguments) {
    try {
      Path folder = Files.createDirectories(bundles.resolve(name));
      run("cp", "-a", "--reflink=auto", root.toString(), folder.resolve("rootfs").toString());
      Files.write(
          folder.resolve("config.json"),
          JsonMapper.shared().writeValueAsBytes(configuration(name, user, environment, arguments)));
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Map<String, Object> configuration(
      String name, int user, Map<String, String> environment, List<String> arguments) {
    List<String> variables = new ArrayList<>(List.of("PATH=/usr/sbin:/usr/bin:/sbin:/bin"));
    environment.forEach((key, value) -> variables.add(key + "=" + value));
    List<String> capabilities =
        List.of("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW");
    Map<String, Object> sets = new HashMap<>();
    for (String set : List.of("bounding", "effective", "permitted", "ambient", "inheritable")) {
      sets.put(set, capabilities);
    }
    return Map.of(
        "ociVersion",
        "1.0.2",
        "hostname",
        name + "-host",
        "root",
        Map.of("path", "rootfs"),
        "process",
        Map.of(
            "cwd",
            "/",
            "args",
            arguments,
            "env",
            variables,
            "user",
            Map.of("uid", user, "gid", user, "umask", 18),
            "capabilities",
            sets,
            "rlimits",
            List.of(Map.of("type", "RLIMIT_NOFILE", "hard", 1000, "soft", 1000)),
            "noNewPrivileges",
            true),
        "mounts",
        mounts(),
        "linux",
        Map.of(
            "resources",
            Map.of(
                "memory",
                Map.of("limit", MEMORY_MAX),
                "pids",
                Map.of("limit", PIDS_MAX),
                "cpu",
                Map.of("quota", CPU_MICROS, "period", 100_000)),
            "maskedPaths",
            List.of("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"),
            "readonlyPaths",
            List.of("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"),
            "seccomp",
            Map.of(
                "defaultAction",
                "SCMP_ACT_ALLOW",
                "architectures",
                List.of("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"),
                "syscalls",
                List.of(
                    Map.of(
                        "names",
                        List.of("personality", "reboot", "swapon", "kexec_load"),
                        "action",
                        "SCMP_ACT_ERRNO")))));
  }

  /// As `runc spec` writes them.
  private static List<Map<String, Object>> mounts() {
    return List.of(
        mount("/proc", "proc"),
        mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount(
            "/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
        mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
        mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
        mount("/tmp", "tmpfs", "nosuid", "nodev", "mode=1777", "size=16m"));
  }

  private static Map<String, Object> mount(String destination, String type, String... options) {
    return Map.of(
        "destination",
        destination,
        "type",
        type,
        "source",
        type.equals("devpts") ? "devpts" : type,
        "options",
        List.of(options));
  }
}
