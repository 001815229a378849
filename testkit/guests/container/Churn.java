import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;

/// Threads that fill the heap with rubbish and with maps whose contents are known, and check them:
/// what a JVM does in a container while its operating system is replaced.
///
/// Says "churn NUMBER rounds ROUNDS KERNEL" four times a second; any doubt ends it.
final class Churn {
  private static final int WORKERS = 3;
  private static final int ENTRIES = 2000;
  private static final int KEPT = 12;

  private static final AtomicLong ROUNDS = new AtomicLong();
  private static final ConcurrentLinkedQueue<Long> HANDED = new ConcurrentLinkedQueue<>();

  public static void main(String[] arguments) throws Exception {
    for (int i = 0; i < WORKERS; i++) {
      int seed = i;
      Thread.ofPlatform().name("churn-" + i).start(() -> guarded(() -> churn(seed)));
    }
    var virtual = Executors.newVirtualThreadPerTaskExecutor();
    for (long number = 1; ; number++) {
      long sent = number;
      virtual.submit(() -> HANDED.add(sent)).get();
      Long came = HANDED.poll();
      check(came != null && came == sent, "handed " + sent + ", got " + came);
      String kernel = Files.readString(Path.of("/proc/sys/kernel/osrelease")).strip();
      System.out.println("churn " + number + " rounds " + ROUNDS.get() + " " + kernel);
      Thread.sleep(250);
    }
  }

  private static void churn(int seed) throws Exception {
    var kept = new ArrayDeque<Map<String, Long>>();
    for (long round = 0; ; round++) {
      var map = new HashMap<String, Long>();
      for (int i = 0; i < ENTRIES; i++) {
        map.put("key-" + i, i * 31L + seed);
      }
      kept.add(map);
      if (kept.size() > KEPT) {
        var old = kept.remove();
        for (int i = 0; i < ENTRIES; i++) {
          check(old.get("key-" + i) == i * 31L + seed, "key-" + i + " of worker " + seed);
        }
      }
      ROUNDS.incrementAndGet();
      Thread.sleep(30);
    }
  }

  private interface Work {
    void run() throws Exception;
  }

  private static void guarded(Work work) {
    try {
      work.run();
    } catch (Throwable e) {
      e.printStackTrace();
      Runtime.getRuntime().halt(3);
    }
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      System.out.println("churn WRONG: " + what);
      Runtime.getRuntime().halt(4);
    }
  }
}
