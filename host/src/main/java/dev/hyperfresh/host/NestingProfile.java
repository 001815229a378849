package dev.hyperfresh.host;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.LinuxException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

/// The settings of a host that keep nested guests cheap: whether it has them, and a way to apply
/// those that a running kernel takes. Nothing is applied that was not asked for by name.
///
/// Everything read and written lies below one root folder. One user at a time; not for several
/// threads.
public final class NestingProfile {
  private static final int PAGE_MIB = 2;

  /// What a reservation of huge pages leaves of the memory that is available, at least: a quarter.
  private static final int LEAVES_ONE_OF = 4;

  private final Sysfs sysfs;
  private final UndoRecord undo;

  /// The profile of a host.
  ///
  /// @param root `/` for this host; any other folder that looks like it
  public NestingProfile(Path root) {
    this(root, Sysfs::writeOnce);
  }

  NestingProfile(Path root, Sysfs.Writer writer) {
    this.sysfs = new Sysfs(root, writer);
    this.undo = new UndoRecord(sysfs);
  }

  /// Looks at every setting. Changes nothing.
  public List<Knob> knobs() {
    return new HostKnobs(sysfs).all();
  }

  /// The names of the settings that are not as they should be and that [#apply] can set here. Huge
  /// pages are not among them, since how many is for the user to say.
  public Set<String> applicable() {
    return knobs().stream()
        .filter(knob -> knob.state() == Knob.State.NOT_SET && knob.settable())
        .map(Knob::name)
        .filter(name -> !name.equals(Setting.HUGE_PAGES.knob()))
        .collect(Collectors.toCollection(TreeSet::new));
  }

  /// Applies settings. All are checked before any is written, and when the kernel refuses one,
  /// those written before it are put back. The old values are kept for [#undo], also for another
  /// process, until the host reboots.
  ///
  /// @param names of knobs; those that are as they should be already are left as they are
  /// @param hugePagesMib how much memory `huge-pages` shall reserve in all, a multiple of 2; other
  ///   settings do not look at it
  /// @return what was changed
  /// @throws HyperFreshException [Problem#TUNE_REQUEST] for names or sizes that cannot be meant,
  ///   [Problem#TUNE_HOST] when this host cannot, both with every reason and nothing changed;
  ///   [Problem#TUNE_WRITE] when the kernel refused a value and all is as before;
  ///   [Problem#TUNE_STUCK] when it did not take an old value back
  public List<Change> apply(Set<String> names, long hugePagesMib) {
    refuseWhatCannotBeMeant(names, hugePagesMib);
    Map<Setting, UndoRecord.Values> wanted = plan(names, hugePagesMib / PAGE_MIB);
    if (wanted.isEmpty()) {
      return List.of();
    }
    Map<Setting, UndoRecord.Values> recorded = undo.read();
    // Written first: a process that is killed half way leaves a record that undoes what it did.
    record(merged(recorded, wanted), Problem.TUNE_HOST);
    List<Change> done = new ArrayList<>();
    for (Map.Entry<Setting, UndoRecord.Values> entry : wanted.entrySet()) {
      Setting setting = entry.getKey();
      UndoRecord.Values values = entry.getValue();
      // Also when the write fails: a file may have taken part of it.
      done.add(change(setting, values.before(), values.after()));
      try {
        put(setting, values.after());
      } catch (LinuxException | Refused refused) {
        throw putBack(done, recorded, refused);
      }
    }
    return List.copyOf(done);
  }

  /// Puts back what [#apply] changed since the host started, the oldest value of each setting. A
  /// setting that somebody changed after that is left alone.
  ///
  /// @return what was changed and what was left; both empty when there is nothing to undo
  /// @throws HyperFreshException [Problem#TUNE_HOST] when a file may not be written, with nothing
  ///   changed; [Problem#TUNE_STUCK] when the kernel does not take a value back, the others being
  ///   put back, or the record is damaged
  public Undone undo() {
    Map<Setting, UndoRecord.Values> recorded = undo.read();
    Map<Setting, UndoRecord.Values> due = new EnumMap<>(Setting.class);
    List<String> left = new ArrayList<>();
    recorded.forEach((setting, values) -> {
      String now = setting.current(sysfs).orElse("nothing");
      if (now.equals(values.after())) {
        due.put(setting, values);
      } else if (!now.equals(values.before())) {
        left.add(
            "%s now holds %s, not the %s that was written; before that, it held %s."
                .formatted(sysfs.at(setting.file()), now, values.after(), values.before()));
      }
    });
    refuse(Problem.TUNE_HOST, due.keySet().stream().flatMap(s -> locked(s).stream()).toList());
    List<Change> changed = new ArrayList<>();
    Map<Setting, UndoRecord.Values> stuck = new EnumMap<>(Setting.class);
    List<String> reasons = new ArrayList<>();
    due.forEach((setting, values) -> {
      try {
        sysfs.write(setting.file(), values.before());
        String now = setting.current(sysfs).orElse("");
        changed.add(change(setting, values.after(), now));
      } catch (LinuxException refused) {
        stuck.put(setting, values);
        reasons.add(refused.getMessage() + " (old value: " + values.before() + ")");
      }
    });
    record(stuck, Problem.TUNE_STUCK);
    refuse(Problem.TUNE_STUCK, reasons);
    return new Undone(changed, left);
  }

  private void refuseWhatCannotBeMeant(Set<String> names, long hugePagesMib) {
    Set<String> known = knobs().stream().map(Knob::name).collect(Collectors.toSet());
    List<String> faults = new ArrayList<>();
    for (String name : new TreeSet<>(names)) {
      if (!known.contains(name)) {
        faults.add("There is no setting \"" + name + "\"");
      } else if (Setting.of(name).isEmpty()) {
        faults.add(name + " cannot be set while the host runs");
      }
    }
    if (names.contains(Setting.HUGE_PAGES.knob())
        && (hugePagesMib < PAGE_MIB || hugePagesMib % PAGE_MIB != 0)) {
      faults.add("huge-pages needs to know how many MiB to reserve, a multiple of 2");
    }
    refuse(Problem.TUNE_REQUEST, faults);
  }

  /// What has to be written, checked; in the order of the settings.
  private Map<Setting, UndoRecord.Values> plan(Set<String> names, long hugePages) {
    Map<Setting, UndoRecord.Values> wanted = new EnumMap<>(Setting.class);
    List<String> faults = new ArrayList<>();
    for (Setting setting : Setting.values()) {
      if (!names.contains(setting.knob())) {
        continue;
      }
      String now = setting.current(sysfs).orElse("");
      String value = setting.wanted(hugePages);
      if (setting.fulfilled(now, value)) {
        continue;
      }
      faults.addAll(now.isEmpty() ? List.of(absent(setting)) : locked(setting));
      faults.addAll(unfit(setting, now, value));
      wanted.put(setting, new UndoRecord.Values(now, value));
    }
    refuse(Problem.TUNE_HOST, faults);
    return wanted;
  }

  private String absent(Setting setting) {
    return setting.knob() + ": " + sysfs.at(setting.file()) + " is not there";
  }

  private List<String> locked(Setting setting) {
    return sysfs.writable(setting.file())
        ? List.of()
        : List.of(setting.knob() + ": " + sysfs.at(setting.file()) + " may not be written");
  }

  private List<String> unfit(Setting setting, String now, String value) {
    if (!now.isEmpty() && !setting.valid(now)) {
      return List.of(
          "%s: %s holds \"%s\", which could not be restored"
              .formatted(setting.knob(), sysfs.at(setting.file()), now));
    }
    if (setting.forbidden(now)) {
      return List.of(
          "%s: %s holds \"%s\", which an administrator chose"
              .formatted(setting.knob(), sysfs.at(setting.file()), now));
    }
    if (setting != Setting.HUGE_PAGES || now.isEmpty()) {
      return List.of();
    }
    long needed = (Long.parseLong(value) - Long.parseLong(now)) * PAGE_MIB;
    long available = HostMemory.of(sysfs).map(HostMemory::availableMib).orElse(0L);
    long allowed = available - available / LEAVES_ONE_OF;
    return needed <= allowed
        ? List.of()
        : List.of(
            "huge-pages: %d MiB more are asked for; of %d MiB available, at most %d may be reserved"
                .formatted(needed, available, allowed));
  }

  private void put(Setting setting, String value) {
    sysfs.write(setting.file(), value);
    String now = setting.current(sysfs).orElse("nothing");
    if (!setting.fulfilled(now, value)) {
      throw new Refused(
          "%s was given %s but holds %s".formatted(sysfs.at(setting.file()), value, now));
    }
  }

  private HyperFreshException putBack(
      List<Change> done, Map<Setting, UndoRecord.Values> recorded, RuntimeException cause) {
    List<String> stuck = new ArrayList<>();
    for (Change change : done.reversed()) {
      Setting setting = Setting.of(change.knob()).orElseThrow();
      try {
        if (!setting.current(sysfs).orElse("").equals(change.before())) {
          sysfs.write(setting.file(), change.before());
        }
      } catch (LinuxException refused) {
        stuck.add(refused.getMessage() + " (old value: " + change.before() + ")");
      }
    }
    if (!stuck.isEmpty()) {
      // The record stays as it is: it knows the old values.
      return Problem.TUNE_STUCK.because(
          cause.getMessage() + "; then " + String.join("; ", stuck) + ".", cause);
    }
    record(recorded, Problem.TUNE_WRITE);
    return Problem.TUNE_WRITE.because(cause.getMessage() + ".", cause);
  }

  private static Map<Setting, UndoRecord.Values> merged(
      Map<Setting, UndoRecord.Values> recorded, Map<Setting, UndoRecord.Values> wanted) {
    Map<Setting, UndoRecord.Values> all = new EnumMap<>(Setting.class);
    all.putAll(recorded);
    wanted.forEach((setting, values) -> {
      UndoRecord.Values old = recorded.getOrDefault(setting, values);
      // Somebody who changed it in between made a value of their own the one to go back to.
      String before = old.after().equals(values.before()) ? old.before() : values.before();
      all.put(setting, new UndoRecord.Values(before, values.after()));
    });
    return all;
  }

  private void record(Map<Setting, UndoRecord.Values> values, Problem otherwise) {
    try {
      undo.write(values);
    } catch (IOException e) {
      throw otherwise.because(
          "The old values cannot be saved in " + sysfs.at(UndoRecord.FILE) + ": " + e + ".", e);
    }
  }

  private Change change(Setting setting, String before, String after) {
    return new Change(setting.knob(), sysfs.at(setting.file()), before, after);
  }

  private static void refuse(Problem problem, List<String> reasons) {
    if (!reasons.isEmpty()) {
      throw problem.because(String.join("; ", reasons) + ".");
    }
  }

  /// The kernel took a value and kept another.
  private static final class Refused extends RuntimeException {
    private static final long serialVersionUID = 1;

    Refused(String message) {
      super(message);
    }
  }
}
