package dev.hyperfresh.testkit;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// An object of which some methods are answered otherwise. A proxy instead of a class that passes
/// every method on by hand, so that what the interface gains later is passed on as well.
final class Overlay implements InvocationHandler {
  /// What answers instead.
  interface Answer {
    @Nullable Object to(@Nullable Object[] arguments);
  }

  private final Object real;
  private final Map<String, Answer> answers;

  private Overlay(Object real, Map<String, Answer> answers) {
    this.real = real;
    this.answers = Map.copyOf(answers);
  }

  /// `real`, but for the methods of interface `type` that are named.
  static <T> T on(Class<T> type, T real, Map<String, Answer> answers) {
    return type.cast(
        Proxy.newProxyInstance(
            type.getClassLoader(), new Class<?>[] {type}, new Overlay(real, answers)));
  }

  /// What is handed to the real object is real too: a hypervisor knows its own instances.
  private static @Nullable Object unlaid(@Nullable Object argument) {
    return argument != null
            && Proxy.isProxyClass(argument.getClass())
            && Proxy.getInvocationHandler(argument) instanceof Overlay overlay
        ? overlay.real
        : argument;
  }

  @Override
  public @Nullable Object invoke(Object proxy, Method method, @Nullable Object @Nullable [] given)
      throws Throwable {
    @Nullable Object[] arguments = given == null ? new Object[0] : given.clone();
    for (int i = 0; i < arguments.length; i++) {
      arguments[i] = unlaid(arguments[i]);
    }
    Answer answer = answers.get(method.getName());
    if (answer != null) {
      return answer.to(arguments);
    }
    try {
      return method.invoke(real, arguments);
    } catch (InvocationTargetException e) {
      throw e.getCause() == null ? e : e.getCause();
    }
  }
}
