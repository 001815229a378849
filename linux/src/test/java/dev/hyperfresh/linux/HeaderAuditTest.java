package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.Layouts.CType;
import dev.hyperfresh.linux.Layouts.Member;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Asks a C compiler, with the headers of this host, about every number and every declaration that
/// the bindings use. The claims are read from the tables that the code itself uses.
class HeaderAuditTest {
  private static final List<String> HEADERS =
      List.of(
          "errno.h",
          "fcntl.h",
          "poll.h",
          "sched.h",
          "sys/resource.h",
          "signal.h",
          "spawn.h",
          "stddef.h",
          "stdio.h",
          "string.h",
          "time.h",
          "unistd.h",
          "sys/ioctl.h",
          "sys/fsuid.h",
          "sys/mman.h",
          "sys/pidfd.h",
          "sys/prctl.h",
          "sys/socket.h",
          "sys/stat.h",
          "sys/statfs.h",
          "sys/syscall.h",
          "sys/time.h",
          "sys/uio.h",
          "sys/un.h",
          "sys/wait.h",
          "dirent.h",
          "netinet/in.h",
          "linux/bpf.h",
          "linux/capability.h",
          "linux/magic.h",
          "linux/openat2.h",
          "linux/if.h",
          "linux/if_tun.h",
          "linux/netlink.h",
          "linux/rtnetlink.h",
          "linux/kvm.h",
          "linux/netlink.h",
          "linux/rtnetlink.h",
          "linux/sockios.h");

  @TempDir Path folder;

  @BeforeEach
  void needsCompiler() {
    Here.requireProgram("gcc");
  }

  @Test
  void constantsAreThoseOfTheHeaders() throws Exception {
    List<String> claims = constants();

    assertThat(claims).hasSizeGreaterThan(120);
    assertThat(refusals(claims)).isEmpty();
  }

  @Test
  void structuresAreThoseOfTheHeaders() throws Exception {
    List<String> claims = structures();

    assertThat(claims).hasSizeGreaterThan(150);
    assertThat(refusals(claims)).isEmpty();
  }

  @Test
  void functionsAreThoseOfTheLibrary() throws Exception {
    List<String> claims = functions();

    assertThat(claims).hasSize(Symbol.values().length * 2);
    assertThat(refusals(claims)).isEmpty();
  }

  @Test
  void valuesOfEachCTypeAreAsWideAsTheirJavaLayout() throws Exception {
    List<String> claims = new ArrayList<>();
    for (Symbol symbol : Symbol.values()) {
      for (String type : symbol.types()) {
        claims.add(claim("sizeof(" + type + ")", Symbol.layout(type).byteSize()));
      }
    }

    assertThat(refusals(claims)).isEmpty();
  }

  @Test
  void arraysOfControlMessagesStartWhereTheCodeSays() throws Exception {
    assertThat(
            refusals(
                List.of(
                    claim("CMSG_LEN(0)", Layouts.Cmsghdr.TYPE.bytes()),
                    claim("CMSG_SPACE(4)", Layouts.Cmsghdr.TYPE.bytes() + 8))))
        .isEmpty();
  }

  @Test
  void aWrongClaimOfEachKindIsFoundWithItsName() throws Exception {
    List<String> claims = new ArrayList<>(constants());
    claims.add(claim("O_APPEND", Constants.O_APPEND + 1));
    claims.add(claim("O_NEVER_HEARD_OF", 1));
    claims.add(claim("offsetof(struct msghdr, msg_flags)", 44));
    claims.add("int fdatasync(long);");
    claims.add("int no_such_function(int); void *at_none = (void *)&no_such_function;");

    List<String> refusals = refusals(claims);

    assertThat(refusals).anyMatch(line -> line.contains("O_APPEND is not 1025"));
    assertThat(refusals).anyMatch(line -> line.contains("O_NEVER_HEARD_OF"));
    assertThat(refusals).anyMatch(line -> line.contains("msg_flags) is not 44"));
    assertThat(refusals).anyMatch(line -> line.contains("fdatasync"));
    assertThat(refusals(claims.subList(claims.size() - 1, claims.size())))
        .anyMatch(line -> line.contains("undefined reference to `no_such_function'"));
  }

  private static List<String> constants() throws IllegalAccessException {
    List<String> claims = new ArrayList<>();
    for (Field field : Constants.class.getDeclaredFields()) {
      if (Modifier.isStatic(field.getModifiers()) && !field.isSynthetic()) {
        claims.add(claim(field.getName(), ((Number) field.get(null)).longValue()));
      }
    }
    return claims;
  }

  private static List<String> structures() throws ReflectiveOperationException {
    List<String> claims = new ArrayList<>();
    for (Class<?> nested : Layouts.class.getDeclaredClasses()) {
      if (!nested.isRecord() && !nested.isInterface()) {
        CType type = (CType) nested.getDeclaredField("TYPE").get(null);
        claims.add(
            type.whole()
                ? claim("sizeof(" + type.name() + ")", type.bytes())
                : claim("sizeof(" + type.name() + ") >= " + type.bytes(), 1));
        for (Field field : nested.getDeclaredFields()) {
          if (field.get(null) instanceof Member member) {
            claims.addAll(member(type, field.getName(), member));
          }
        }
      }
    }
    return claims;
  }

  private static List<String> member(CType type, String name, Member member) {
    return List.of(
        claim("offsetof(" + type.name() + ", " + name + ")", member.at()),
        claim("sizeof(((" + type.name() + " *)0)->" + name + ")", member.bytes()),
        claim(member.at() + member.bytes() + " <= " + type.bytes(), 1));
  }

  private static List<String> functions() {
    return Stream.of(Symbol.values())
        .flatMap(symbol ->
            Stream.of(
                symbol.declaration() + ";",
                "void *at_" + symbol.name() + " = (void *)&" + symbol.cName() + ";"))
        .toList();
  }

  private static String claim(String expression, long value) {
    return "_Static_assert((long long)(%s) == %dLL, \"%s is not %d\");"
        .formatted(expression, value, expression, value);
  }

  private List<String> refusals(List<String> claims) throws IOException, InterruptedException {
    List<String> lines = new ArrayList<>();
    lines.add("#define _GNU_SOURCE");
    HEADERS.forEach(header -> lines.add("#include <" + header + ">"));
    lines.addAll(claims);
    lines.add("int main(void) { return 0; }");
    Path source = Files.write(folder.resolve("audit.c"), lines);
    Path program = folder.resolve("audit");
    Process compiler =
        new ProcessBuilder(
                "gcc",
                "-std=gnu11",
                "-O0",
                "-w",
                "-fmax-errors=0",
                "-o",
                program.toString(),
                source.toString())
            .redirectErrorStream(true)
            .start();
    String output = new String(compiler.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    int code = compiler.waitFor();
    List<String> found =
        output
            .lines()
            .filter(line -> line.contains("error:") || line.contains("undefined reference"))
            .toList();
    assertThat(found.isEmpty()).as(output).isEqualTo(code == 0);
    return found;
  }
}
