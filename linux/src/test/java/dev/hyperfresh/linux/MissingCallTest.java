package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;
import static org.assertj.core.api.Assertions.tuple;

import java.lang.foreign.Arena;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class MissingCallTest {
  private static final SymbolLookup NO_LIBRARY = name -> Optional.empty();

  @Test
  void aHostThatRunsTheseTestsLacksNothingVital() {
    assertThat(SystemCalls.missing()).noneMatch(MissingCall::vital);
  }

  @Test
  void aLibraryWithoutAFunctionIsSaidToLackIt() {
    List<MissingCall> missing =
        SystemCalls.missing(without("pidfd_getfd"), SystemCalls.Uncertain::isInKernel);

    assertThat(missing)
        .containsExactly(
            new MissingCall("pidfd_getfd", "Linux 5.6 and glibc 2.36", "no daemon starts", true));
  }

  @Test
  void anOldFunctionIsMissedAsWell() {
    assertThat(SystemCalls.missing(without("ppoll"), _ -> true))
        .extracting(MissingCall::name, MissingCall::vital)
        .containsExactly(tuple("ppoll", true));
  }

  @Test
  void aKernelWithoutACallIsSaidToLackIt() {
    assertThat(
            SystemCalls.missing(
                Linker.nativeLinker().defaultLookup(),
                call -> call != SystemCalls.Uncertain.OPENAT2))
        .extracting(MissingCall::name, MissingCall::without, MissingCall::vital)
        .containsExactly(tuple("openat2", "no container can be run", false));
  }

  /// Not when its class is initialized: that would spoil all that the class has.
  @ParameterizedTest
  @EnumSource(Symbol.class)
  void aFunctionThatIsMissingThrowsWhenItIsCalled(Symbol symbol) {
    MethodHandle handle = symbol.link(NO_LIBRARY);

    assertThat(handle.type()).isEqualTo(symbol.link().type());
    Object[] arguments =
        handle.type().parameterList().stream().map(MissingCallTest::something).toArray();
    assertThatThrownBy(() -> handle.invokeWithArguments(arguments))
        .isInstanceOf(MissingCallException.class)
        .hasMessage(symbol.cName() + ": the C library of this host has no such function");
  }

  @Test
  void aMissingFunctionIsAFailedCallToWhoeverExpectsOne() {
    MethodHandle handle = Symbol.PIDFD_OPEN.link(NO_LIBRARY);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment errno = arena.allocate(Errno.CAPTURE);

      LinuxException missing =
          catchThrowableOfType(
              LinuxException.class,
              () -> {
                int _ = (int) handle.invokeExact(errno, 1, 0);
              });

      assertThat(missing.call()).isEqualTo("pidfd_open");
      assertThat(missing.errno()).isEqualTo(Constants.ENOSYS);
    }
  }

  @Test
  void aKernelThatAnswersNoSuchCallIsNamed() {
    assertThatThrownBy(() -> LinuxException.check(-Constants.ENOSYS, "openat2", "share"))
        .isInstanceOf(MissingCallException.class)
        .hasMessage("openat2 share: ENOSYS (38), the kernel of this host has no such call");
    assertThatThrownBy(() -> LinuxException.check(-Constants.EPERM, "openat2", "share"))
        .isExactlyInstanceOf(LinuxException.class);
  }

  /// They are made on every start of the doctor.
  @ParameterizedTest
  @EnumSource(SystemCalls.Uncertain.class)
  void askingTheKernelDoesNothing(SystemCalls.Uncertain call) {
    assertThatCode(call::isInKernel).doesNotThrowAnyException();
  }

  private static SymbolLookup without(String function) {
    SymbolLookup library = Linker.nativeLinker().defaultLookup();
    return name -> name.equals(function) ? Optional.empty() : library.find(name);
  }

  private static Object something(Class<?> type) {
    return type == MemorySegment.class
        ? MemorySegment.NULL
        : type == long.class ? 0L : type == short.class ? (short) 0 : (Object) 0;
  }
}
