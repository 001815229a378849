package dev.hyperfresh.testkit;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.Qemu;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/// A daemon that kills itself, as `kill -9` does, right before or after one call of a hypervisor,
/// such as `after 1.handOver`. The number is the generation of the instance.
///
/// Arguments: the state directory, and the two words.
final class MortalDaemon {
  static final String SERVING = "serving";

  private final String when;
  private final String call;

  private MortalDaemon(String when, String call) {
    this.when = when;
    this.call = call;
  }

  public static void main(String[] arguments) throws InterruptedException {
    MortalDaemon fate = new MortalDaemon(arguments[1], arguments[2]);
    Daemon daemon =
        Daemon.start(
            DaemonConfig.under(Path.of(arguments[0])), new Kinds(fate.hypervisor(new Qemu())));
    System.out.println(SERVING + " on " + daemon.config().socket());
    new CountDownLatch(1).await();
  }

  /// The command that starts one.
  static List<String> command(Path state, String when, String call) {
    List<String> line = CommandRun.command();
    line.set(line.size() - 1, MortalDaemon.class.getName());
    line.addAll(List.of(state.toString(), when, call));
    return line;
  }

  /// A hypervisor that kills this process, right before or after one call of it.
  static Hypervisor mortal(Hypervisor real, String when, String call) {
    return new MortalDaemon(when, call).hypervisor(real);
  }

  private Hypervisor hypervisor(Hypervisor real) {
    InvocationHandler handler =
        (_, method, arguments) -> {
          if (arguments == null || !(arguments[0] instanceof Launch launch)) {
            return invoke(real, method, arguments);
          }
          String name = launch.generation() + "." + method.getName();
          Object answer = mortally(name, real, method, arguments);
          return answer instanceof Instance instance ? instance(instance) : answer;
        };
    return (Hypervisor)
        Proxy.newProxyInstance(
            MortalDaemon.class.getClassLoader(), new Class<?>[] {Hypervisor.class}, handler);
  }

  private Instance instance(Instance real) {
    InvocationHandler handler =
        (_, method, arguments) ->
            mortally(real.generation() + "." + method.getName(), real, method, arguments);
    return (Instance)
        Proxy.newProxyInstance(
            MortalDaemon.class.getClassLoader(), new Class<?>[] {Instance.class}, handler);
  }

  private Object mortally(String name, Object real, Method method, Object[] arguments)
      throws Throwable {
    die("before", name);
    Object answer = invoke(real, method, arguments);
    die("after", name);
    return answer;
  }

  private void die(String moment, String name) {
    if (moment.equals(when) && name.equals(call)) {
      die();
    }
  }

  /// Kills this process.
  static void die() {
    try (PidFd self = PidFd.open((int) ProcessHandle.current().pid())) {
      self.signal(Signals.KILL);
    }
  }

  private static Object invoke(Object real, Method method, Object[] arguments) throws Throwable {
    try {
      return method.invoke(real, arguments);
    } catch (InvocationTargetException e) {
      throw e.getCause();
    }
  }
}
