package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class BundleTest {
  private static final JsonMapper JSON = JsonMapper.builder().build();

  /// Everything that a container here may have.
  static final String FULL =
      """
      {"ociVersion": "1.0.2",
       "root": {"path": "rootfs", "readonly": true},
       "hostname": "shop",
       "domainname": "example",
       "process": {
         "terminal": false,
         "user": {"uid": 1000, "gid": 100, "umask": 18, "additionalGids": [5, 2147483647]},
         "args": ["/bin/app", "--verbose"],
         "env": ["A=b", "PATH=/bin"],
         "cwd": "/srv",
         "capabilities": {
           "bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL"],
           "inheritable": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]},
         "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 1024}],
         "noNewPrivileges": true,
         "oomScoreAdj": -17},
       "mounts": [
         {"destination": "/proc", "type": "proc", "source": "proc"},
         {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
          "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
         {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
          "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
         {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nodev"]},
         {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
         {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
          "options": ["relatime", "ro"]}],
       "linux": {
         "resources": {
           "devices": [{"allow": false, "access": "rwm"}],
           "memory": {"limit": 1048576, "reservation": 4096, "swap": 2097152},
           "cpu": {"shares": 512, "quota": 90000, "period": 100000, "cpus": "0-1,3"},
           "pids": {"limit": 64}},
         "maskedPaths": ["/proc/kcore"],
         "readonlyPaths": ["/proc/sys"],
         "sysctl": {"kernel.shmmax": "65536", "net.core.somaxconn": "99"},
         "seccomp": {
           "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
           "architectures": ["SCMP_ARCH_X86_64"],
           "syscalls": [
             {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
             {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
              "args": [{"index": 0, "value": 18446744073709551615, "valueTwo": 7,
                        "op": "SCMP_CMP_EQ"}]}]}},
       "annotations": {"org.opencontainers.image.os": "linux"}}\
      """;

  @TempDir Path folder;

  private Bundle bundle(String config) throws IOException {
    Files.createDirectories(folder.resolve("rootfs"));
    Files.writeString(folder.resolve("config.json"), config);
    return Bundle.read(folder);
  }

  private static JsonNode made(Bundle bundle) {
    return JSON.readTree(bundle.configuration("web1", "/run/netns/web1", List.of()));
  }

  /// A tmpfs that stands for a volume of an image gives way; what a volume would hide is refused.
  @Test
  void volumesComeAfterAllOtherMounts() throws IOException {
    Bundle bundle =
        bundle(
            """
            {"process": {"args": ["/bin/app"]},
             "mounts": [{"destination": "/data", "type": "tmpfs", "source": "tmpfs"},
                        {"destination": "/proc", "type": "proc", "source": "proc"}]}\
            """);
    List<VolumeMount> volumes =
        List.of(new VolumeMount("kept", "/data", false), new VolumeMount("read", "/r", true));
    bundle.require(volumes);
    JsonNode mounts =
        JSON.readTree(bundle.configuration("web1", "/run/netns/web1", volumes)).path("mounts");
    assertThat(mounts.valueStream().map(mount -> mount.path("destination").asString()))
        .containsExactly("/proc", "/data", "/r");
    assertThat(mounts.get(1).path("type").asString()).isEqualTo("bind");
    assertThat(mounts.get(1).path("source").asString()).isEqualTo("/containers/web1/volumes/kept");
    assertThat(mounts.get(1).path("options").toString())
        .isEqualTo("[\"bind\",\"rprivate\",\"nodev\",\"rw\"]");
    assertThat(mounts.get(2).path("options").toString()).contains("\"ro\"");
    Bundle below =
        bundle(
            """
            {"process": {"args": ["/bin/app"]},
             "mounts": [{"destination": "/data/cache", "type": "tmpfs", "source": "tmpfs"}]}\
            """);
    assertThatThrownBy(() -> below.require(volumes))
        .hasMessageContaining("/data would hide /data/cache");
  }

  @Test
  void theContainersPlaceIsTheOs() throws IOException {
    JsonNode made =
        made(
            bundle(
                """
                {"process": {"args": ["/bin/app"], "env": ["A=b"]},
                 "linux": {"resources": {"memory": {"limit": 1000}},
                           "namespaces": [{"type": "pid"}, {"type": "network"}]}}\
                """));
    assertThat(made.path("root").path("path").asString()).isEqualTo("rootfs");
    assertThat(made.path("hostname").asString()).isEqualTo("web1");
    assertThat(made.path("process").path("env").get(0).asString()).isEqualTo("A=b");
    assertThat(made.path("linux").path("cgroupsPath").asString()).isEqualTo("/web1");
    assertThat(made.path("linux").path("resources").path("memory").path("limit").asInt())
        .isEqualTo(1000);
    assertThat(made.path("linux").path("resources").path("devices").toString())
        .isEqualTo("[{\"allow\":false,\"access\":\"rwm\"}]");
    assertThat(made.path("linux").path("namespaces").valueStream().map(JsonNode::toString))
        .containsExactly(
            "{\"type\":\"pid\"}",
            "{\"type\":\"ipc\"}",
            "{\"type\":\"uts\"}",
            "{\"type\":\"mount\"}",
            "{\"type\":\"cgroup\"}",
            "{\"type\":\"network\",\"path\":\"/run/netns/web1\"}");
  }

  @Test
  void allThatMayBeThereIsWrittenAsItWas() throws IOException {
    Bundle bundle = bundle(FULL);
    assertThat(bundle.remarks()).isEmpty();
    JsonNode given = JSON.readTree(FULL);
    JsonNode made = made(bundle);
    for (String part :
        List.of(
            "/root",
            "/hostname",
            "/mounts",
            "/annotations",
            "/process/user",
            "/process/args",
            "/process/env",
            "/process/cwd",
            "/process/capabilities",
            "/process/rlimits",
            "/process/noNewPrivileges",
            "/process/oomScoreAdj",
            "/linux/resources/memory",
            "/linux/resources/cpu",
            "/linux/resources/pids",
            "/linux/maskedPaths",
            "/linux/readonlyPaths",
            "/linux/seccomp/syscalls/0",
            "/linux/seccomp/syscalls/1/args",
            "/linux/seccomp/defaultErrnoRet")) {
      assertThat(made.at(part)).as(part).isEqualTo(given.at(part));
    }
    assertThat(made.path("linux").path("sysctl").toString())
        .isEqualTo(
            "{\"kernel.domainname\":\"example\",\"kernel.shmmax\":\"65536\",\"net.core.somaxconn\":\"99\"}");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          "process":{"args":[]}                                  | process.args: there is no program
          "process":{"args":[""]}                                | process.args: there is no program
          "process":{"args":["a"],"Args":["b"]}                  | process.Args: containers here
          "process":{"args":["a"],"scheduler":{"policy":"x"}}    | process.scheduler: containers here
          "process":{"args":["a","b\\u0000c"]}                   | process.args: 'b?c' is not a valid string
          "process":{"args":["a\\ud800"]}                        | process.args: 'a?' is not a valid string
          "process":{"args":["a"],"env":["=b"]}                  | process.env: '=b' is not a valid NAME=VALUE
          "process":{"args":["a"],"cwd":"srv"}                   | process.cwd: 'srv' is not a valid absolute
          "process":{"args":["a"],"terminal":"yes"}              | process.terminal: it is neither
          "process":{"args":["a"],"user":{"uid":-1}}             | process.user.uid: '-1' is not a whole
          "process":{"args":["a"],"user":{"gid":2147483648}}     | process.user.gid: '2147483648' is not a whole
          "process":{"args":["a"],"user":{"username":"b"}}       | process.user.username: containers here
          "process":{"args":["a"],"oomScoreAdj":1001}            | process.oomScoreAdj: '1001' is not a
          "process":{"args":["a"],"capabilities":{"bounding":["CAP_SYS_ADMIN"]}} | 'CAP_SYS_ADMIN' is not a valid capability inside a container
          "process":{"args":["a"],"rlimits":[{"type":"RLIMIT_X"}]} | process.rlimits.type: 'RLIMIT_X' is not a valid
          "process":{"args":["a"],"rlimits":[{"type":"RLIMIT_CPU","soft":2,"hard":1}]} | 2 is more than the hard
          "hooks":{"prestart":[{"path":"/x"}]}                   | hooks: they would run
          "Hooks":{}                                             | Hooks: containers here cannot have it
          "vm":{"kernel":{"path":"/x"}}                          | vm: containers here
          "ociVersion":"2.0.0"                                   | ociVersion: '2.0.0' is not a valid OCI version
          "hostname":"a b"                                       | hostname: 'a b' is not a valid host name
          "root":{"path":"nowhere"}                              | root.path: 'nowhere' is not a folder
          "root":{"path":"/usr"}                                 | root.path: '/usr' is not in the bundle
          "root":{"path":"rootfs/../.."}                         | is not in the bundle
          "root":{"path":"."}                                    | is not in the bundle
          "root":{"path":"out"}                                  | root.path: 'out' is not in the bundle
          "mounts":[{"destination":"/d","type":"bind","source":"/"}] | mounts.type: /d is of type 'bind', which not every OS has
          "mounts":[{"destination":"/d","type":"tmpfs","source":"/","options":["rbind"]}] | mounts.type: /d is bound
          "mounts":[{"destination":"/d","type":"tmpfs","options":["size=0"]}] | mounts.options: /d has 'size=0'
          "mounts":[{"destination":"/d","type":"tmpfs","options":["size=2000g"]}] | has 'size=2000g', which a tmpfs
          "mounts":[{"destination":"/d","type":"proc","options":["mode=1"]}] | has 'mode=1', which a proc
          "mounts":[{"destination":"/d","type":"tmpfs","options":["shared"]}] | has 'shared'
          "mounts":[{"destination":"/","type":"tmpfs"}]          | mounts.destination: '/' is not a valid mount point
          "mounts":[{"destination":"/a/../b","type":"tmpfs"}]    | '/a/../b' is not a valid mount point
          "mounts":[{"destination":"/d","type":"tmpfs"},{"destination":"//d/","type":"proc"}] | mounts: //d/ is given twice
          "mounts":[{"type":"tmpfs"}]                            | mounts.destination: a mount needs one
          "mounts":7                                             | mounts: it is not a list
          "linux":{"devices":[{"path":"/dev/kvm"}]}              | linux.devices: a device cannot move
          "linux":{"namespaces":[{"type":"user"}]}               | linux.namespaces.type: a user namespace
          "linux":{"namespaces":[{"type":"time"}]}               | linux.namespaces.type: a time namespace
          "linux":{"namespaces":[{"type":"network","path":"/x"}]} | linux.namespaces.path: containers here
          "linux":{"uidMappings":[{"containerID":0,"hostID":0,"size":1}]} | linux.uidMappings: a user namespace
          "linux":{"sysctl":{"kernel.core_pattern":"x"}}         | linux.sysctl.kernel.core_pattern: containers here cannot have this one
          "linux":{"resources":{"devices":[{"allow":true,"access":"rwm"}]}} | linux.resources.devices.allow: a *:* cannot be allowed
          "linux":{"resources":{"devices":[{"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"}]}} | c 10:229 cannot be allowed
          "linux":{"resources":{"unified":{"memory.max":"1"}}}   | linux.resources.unified: containers here
          "linux":{"resources":{"cpu":{"shares":1}}}             | linux.resources.cpu.shares: 1 is less
          "linux":{"resources":{"memory":{"limit":9,"swap":8}}}  | linux.resources.memory.swap: it counts
          "linux":{"resources":{"memory":{"limit":1e3}}}         | linux.resources.memory.limit: '1000.0' is not a whole
          "linux":{"seccomp":{"defaultAction":"SCMP_ACT_NOTIFY"}} | linux.seccomp.defaultAction: 'SCMP_ACT_NOTIFY' is not a valid action
          "linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}} | linux.seccomp.listenerPath: the listener
          "linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]}} | linux.seccomp.flags: runc in
          "annotations":{"org.systemd.property.X":"1"}           | annotations.org.systemd.property.X: containers here cannot have this one
          "annotations":{"a":1}                                  | annotations.a: '1' is not a valid string
          """)
  void whatNoContainerHereCanHaveIsRefusedByItsName(String field, String why) throws IOException {
    Files.createSymbolicLink(folder.resolve("out"), Path.of("/usr"));
    String config =
        "{"
            + (field.startsWith("\"process\"") ? "" : "\"process\":{\"args\":[\"a\"]},")
            + field
            + "}";
    assertRefused(config, why);
    Files.delete(folder.resolve("out"));
  }

  private void assertRefused(String config, String why) {
    assertThatThrownBy(() -> bundle(config))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> {
              assertThat(e.problem()).isEqualTo(Problem.CONTAINER_SPEC);
              assertThat(e.detail()).contains(why);
            });
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          "process":{"args":["a"],"terminal":true}          | process.terminal: it runs without a terminal.
          "process":{"args":["a"],"apparmorProfile":"x"}    | process.apparmorProfile: it runs without one, because the kernel of an OS has no AppArmor.
          "process":{"args":["a"],"selinuxLabel":"x"}       | process.selinuxLabel: it runs without one, because the kernel of an OS has no SELinux.
          "linux":{"mountLabel":"x"}                        | linux.mountLabel: its mounts have none, because the kernel of an OS has no SELinux.
          "linux":{"cgroupsPath":"/x"}                      | linux.cgroupsPath: its control group is named after the container.
          "mounts":[{"destination":"/sys","type":"sysfs"}]  | mounts.options: /sys is read-only.
          "mounts":[{"destination":"/c","type":"cgroup2","options":["ro","rw"]}] | mounts.options: /c is read-only.
          "hooks":{}                                        | ``
          "hooks":{"prestart":[]}                           | ``
          "linux":{"uidMappings":[],"devices":null}         | ``
          "linux":{"rootfsPropagation":"rprivate"}          | ``
          "linux":{"resources":{"blockIO":{"weight":0},"memory":{"disableOOMKiller":false}}} | ``
          "linux":{"resources":{"devices":[{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},{"allow":true,"type":"b","access":"m"}]}} | ``
          "process":{"args":["a"],"apparmorProfile":""}     | ``
          """)
  void whatAContainerIsAsGoodWithoutIsLeftOutAndSaid(String field, String remark)
      throws IOException {
    String config =
        "{"
            + (field.startsWith("\"process\"") ? "" : "\"process\":{\"args\":[\"a\"]},")
            + field
            + "}";
    Bundle bundle = bundle(config);
    assertThat(bundle.remarks()).isEqualTo(remark.isEmpty() ? List.of() : List.of(remark));
    String made = made(bundle).toString();
    assertThat(made)
        .doesNotContain("apparmor", "selinux", "Label", "hooks", "\"/x\"", "\"rw\"", "true");
    if (field.contains("mounts")) {
      assertThat(made).contains("\"options\":[\"ro\"]");
    }
  }

  @Test
  void everyReasonIsSaidAtOnceAndNotMoreThanAnybodyReads() {
    assertRefused("{\"hooks\":{\"a\":1},\"linux\":{\"x\":1}}", "hooks: they");
    assertRefused("{\"hooks\":{\"a\":1},\"linux\":{\"x\":1}}", "linux.x: containers");
    StringBuilder many = new StringBuilder("{");
    for (int i = 0; i < 5000; i++) {
      many.append("\"field").append(i).append("\":1,");
    }
    many.append("\"process\":{\"args\":[\"a\"]}}");
    assertThatThrownBy(() -> bundle(many.toString()))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.detail()).contains("field1:").hasSizeLessThan(3000));
  }

  @Test
  void aFileThatIsNoConfigurationIsRefused() throws IOException {
    assertRefused("[]", "not a JSON object");
    assertRefused("", "not a JSON object");
    assertRefused("{", "cannot be read");
    assertRefused("{\"process\":{\"args\":[\"a\"]},\"process\":{}}", "cannot be read: Duplicate");
    assertRefused("{\"process\":{\"args\":[\"a\"]}} x", "cannot be read");
    assertRefused("{\"a\":" + "[".repeat(100) + "]".repeat(100) + "}", "cannot be read");
    assertRefused("{\"a\":[" + "1,".repeat(100_000) + "1]}", "cannot be read");
    assertRefused(" ".repeat(2 << 20), "has more than");
    Files.delete(folder.resolve("config.json"));
    Path elsewhere = Files.writeString(folder.resolve("other.json"), FULL);
    Files.createSymbolicLink(folder.resolve("config.json"), elsewhere);
    assertThatThrownBy(() -> Bundle.read(folder)).hasMessageContaining("is not a file");
    assertThatThrownBy(() -> Bundle.read(folder.resolve("nowhere")))
        .hasMessageContaining("is not a file");
  }

  @Test
  void theRootFileSystemMayHaveAnyNameInTheBundle() throws IOException {
    Files.createSymbolicLink(folder.resolve("latest"), Path.of("rootfs"));
    Path root = folder.toRealPath().resolve("rootfs");
    for (String path : List.of("rootfs", "./rootfs/", "latest", root.toString())) {
      Bundle bundle =
          bundle("{\"process\":{\"args\":[\"a\"]},\"root\":{\"path\":\"" + path + "\"}}");
      assertThat(bundle.root()).isEqualTo(root);
      assertThat(made(bundle).path("root").path("path").asString()).isEqualTo("rootfs");
    }
  }

  /// An image says nothing of capabilities, and umoci gives too few for most.
  @Test
  void aContainerOfAnImageHasTheUsualCapabilities() throws IOException {
    JsonNode capabilities = made(bundle(FULL).ofImage()).path("process").path("capabilities");
    assertThat(capabilities.path("bounding").valueStream().map(JsonNode::asString))
        .contains("CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE")
        .isSubsetOf(ConfigReader.CAPABILITIES);
    assertThat(capabilities.path("effective")).isEqualTo(capabilities.path("bounding"));
    assertThat(capabilities.has("ambient")).isFalse();
  }
}
