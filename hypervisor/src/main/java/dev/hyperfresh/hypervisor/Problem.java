// Long: the whole catalogue of errors, so that each of them has one source.
package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.MissingCallException;
import org.jspecify.annotations.Nullable;

/// The catalogue of errors. Each entry drives the command's exit code, the API's status and the
/// page `docs/ERRORS.md`, so a code means the same wherever a user meets it.
public enum Problem {
  /// The document is not YAML, or not the shape of a guest spec.
  SPEC_MALFORMED(
      "HF-SPEC-001",
      2,
      400,
      "The guest spec cannot be read.",
      "Correct the document; `hyperfresh guest create --help` shows a complete one."),
  /// One or more fields are out of range; all are reported together.
  SPEC_INVALID(
      "HF-SPEC-002",
      2,
      400,
      "The guest spec has invalid fields.",
      "Correct every field named and create the guest again."),
  /// A kernel, initrd or disk that the spec names is not there or not readable.
  SPEC_FILE_MISSING(
      "HF-SPEC-003",
      2,
      400,
      "A file that the guest spec names cannot be read.",
      "Give the path of a file that the daemon can read; relative paths start at the spec's folder."),
  /// The guest would not fit into the host's memory.
  SPEC_MEMORY(
      "HF-SPEC-004",
      2,
      400,
      "The guest's memory is larger than this host can give.",
      "Ask for less memory, or stop other guests."),
  /// A guest of that name exists already.
  GUEST_EXISTS(
      "HF-GUEST-001",
      3,
      409,
      "A guest of this name exists.",
      "Choose another name, or delete the guest with `hyperfresh guest delete NAME`."),
  /// No guest has that name.
  GUEST_UNKNOWN(
      "HF-GUEST-002",
      3,
      404,
      "There is no guest of this name.",
      "`hyperfresh guest list` shows the guests."),
  /// The operation needs a guest in another state.
  GUEST_STATE(
      "HF-GUEST-003",
      3,
      409,
      "The guest is not in a state that allows this.",
      "`hyperfresh guest show NAME` shows its state."),
  /// The hypervisor could not be started, so the guest does not exist.
  GUEST_START(
      "HF-GUEST-004",
      4,
      500,
      "The hypervisor could not start the guest.",
      "Read the hypervisor's own message above; its log stands in the guest's folder."),
  /// The process could not be moved later; all reasons are reported together.
  ADOPT_REFUSED(
      "HF-ADOPT-001",
      3,
      409,
      "The guest cannot be adopted.",
      "It runs on, untouched. Change what is named where it is started, start it anew and adopt it"
          + " then; `docs/ADOPT.md` lists what can be adopted."),
  /// The process does not answer, or it is not the one it should be.
  ADOPT_UNFIT(
      "HF-ADOPT-002",
      3,
      409,
      "The process does not answer, or does not fit what was said of it.",
      "Nothing was changed. Give the process and the control socket of one running QEMU, and free"
          + " the socket: it serves one client at a time."),
  /// No installed release has that name.
  RELEASE_UNKNOWN(
      "HF-RELEASE-001",
      3,
      404,
      "There is no release of this name.",
      "`hyperfresh release list` shows the releases; `hyperfresh release fetch NAME` brings one."),
  /// The release's files are not what they were when it was added.
  RELEASE_DAMAGED(
      "HF-RELEASE-002",
      4,
      409,
      "The release is damaged or cannot run.",
      "Remove it with `hyperfresh release remove NAME` and fetch or add it again."),
  /// The packages could not be had.
  RELEASE_FETCH(
      "HF-RELEASE-003",
      4,
      502,
      "The release could not be fetched.",
      "Check that `apt-get update` works on this host, then try again."),
  /// A guest or a machine still runs on the release.
  RELEASE_IN_USE(
      "HF-RELEASE-004",
      3,
      409,
      "The release is in use.",
      "Replace it under its guests first: `hyperfresh replace GUEST --to OTHER`; or replace or delete"
          + " the machine named."),
  /// A release of that name is there already, or the name fits several.
  RELEASE_NAME(
      "HF-RELEASE-005",
      3,
      409,
      "The release's name is taken or fits more than one release.",
      "Give the full name that `hyperfresh release list` shows."),
  /// The plan found obstacles; nothing was touched.
  REPLACE_OBSTACLES(
      "HF-REPLACE-001",
      5,
      409,
      "The guest cannot be moved to this release.",
      "Remove the obstacles listed; `hyperfresh replace GUEST --to RELEASE --dry-run` lists them"
          + " again."),
  /// The target could not be prepared; the source was never stopped.
  REPLACE_PREPARE(
      "HF-REPLACE-002",
      5,
      500,
      "The new hypervisor could not be prepared; the replacement was rolled back.",
      "The guest was not paused. Read the new hypervisor's message, correct it, try again."),
  /// The state did not arrive; the source goes on.
  REPLACE_SWITCH(
      "HF-REPLACE-003",
      5,
      500,
      "The new hypervisor refused the guest's state; the replacement was rolled back.",
      "The guest runs on its old hypervisor. Read the new one's message before you try again."),
  /// The blackout budget ran out; the source goes on.
  REPLACE_DEADLINE(
      "HF-REPLACE-004",
      5,
      504,
      "The switch took longer than the blackout budget; the replacement was rolled back.",
      "The guest runs on its old hypervisor. Try again, or allow more with --max-blackout."),
  /// Neither hypervisor runs the guest.
  REPLACE_LOST(
      "HF-REPLACE-005",
      6,
      500,
      "The guest was lost: neither hypervisor runs it.",
      "Its logs are in the guest's folder; keep them, remove the guest with `hyperfresh guest delete"
          + " NAME` and create it again."),
  /// A replacement of this guest is under way.
  REPLACE_BUSY(
      "HF-REPLACE-006",
      3,
      409,
      "A replacement of this guest is under way.",
      "Wait for it to end; `hyperfresh guest show NAME` shows it."),
  /// The source was kept and does not go on.
  REPLACE_STANDS(
      "HF-REPLACE-007",
      5,
      500,
      "The replacement was rolled back, and the old hypervisor does not go on.",
      "The guest stands still and nothing of it is lost. It goes on by itself when its hypervisor"
          + " answers again; otherwise correct what it names and use `hyperfresh guest resume NAME`."),
  /// The target may have run the guest, and is gone; the source has an older state of its vCPUs.
  REPLACE_DOUBT(
      "HF-REPLACE-008",
      6,
      500,
      "The new hypervisor ran the guest, or may have, and is gone; the old one has an older state.",
      "The guest stands, also over restarts of the daemon, until you decide. Its memory and disks may"
          + " be newer than the state that its old hypervisor has. `hyperfresh guest resume NAME` goes"
          + " on with that all the same; `hyperfresh guest delete NAME` ends it, and then it can be"
          + " created again and boots from its disks."),
  /// The guest powered off while it was being moved.
  REPLACE_OFF(
      "HF-REPLACE-009",
      5,
      409,
      "The guest powered itself off while it was being moved.",
      "The guest is stopped, as it asked to be. Nothing is wrong with either hypervisor."),
  /// A dry run is under way that this one would have to wait for.
  PLAN_BUSY(
      "HF-PLAN-001",
      3,
      409,
      "A dry run is not possible now.",
      "Try again in some seconds. There is one dry run of a guest at a time, and a small number of"
          + " all guests and of a user; none while the guest is being changed."),
  /// The dry run was given up.
  PLAN_GIVEN_UP(
      "HF-PLAN-002",
      3,
      409,
      "The dry run was given up.",
      "A dry run gives way to whoever changes the guest. Try again when that is over."),
  /// A rollout is under way.
  ROLLOUT_BUSY(
      "HF-ROLLOUT-001",
      3,
      409,
      "A rollout is under way on this daemon.",
      "Wait for it to end; `hyperfresh guest list` shows which guests are being moved."),
  /// A socket's path would be longer than the kernel allows.
  HOST_SOCKET_PATH(
      "HF-HOST-001",
      2,
      400,
      "The path of a socket would be too long for this host.",
      "Choose a shorter --state directory or guest name."),
  /// The user may not do this on this host.
  HOST_PERMISSION(
      "HF-HOST-002",
      4,
      403,
      "This host does not allow it to this user.",
      "Run the daemon as root, or give the user the device or capability named."),
  /// A device, bridge or kernel feature is missing.
  HOST_MISSING(
      "HF-HOST-003",
      4,
      409,
      "The host lacks something the guest needs.",
      "`hyperfresh doctor` shows what this host has."),
  /// The kernel or the C library is older than what was asked for, or was built without it.
  HOST_SYSTEM(
      "HF-HOST-004",
      4,
      409,
      "The kernel or the C library of this host lacks a call that this needs.",
      "The row `system` of `hyperfresh doctor` shows what is missing, what has it and what does not"
          + " work without it."),
  /// What was asked for is no setting, or not one that can be set while the host runs.
  TUNE_REQUEST(
      "HF-TUNE-001",
      2,
      400,
      "The settings asked for cannot be applied.",
      "Nothing was changed. `hyperfresh machine tune` lists the settings and says which of them it"
          + " can apply."),
  /// The host has no such setting, or lets nobody change it.
  TUNE_HOST(
      "HF-TUNE-002",
      4,
      409,
      "This host does not let its settings be changed so.",
      "Nothing was changed. Run the command as root on the host itself; `docs/NESTING.md` says what"
          + " needs the kernel's command line or the firmware."),
  /// The kernel refused a value; the values before it were put back.
  TUNE_WRITE(
      "HF-TUNE-003",
      4,
      500,
      "A setting could not be applied, and those applied before it were put back.",
      "The host is as it was. Apply the others by name, without the one that failed."),
  /// The kernel does not take an old value back.
  TUNE_STUCK(
      "HF-TUNE-004",
      4,
      500,
      "A setting could not be put back.",
      "Write the old value named into the file named, or try `hyperfresh machine tune --undo`"
          + " again."),
  /// No daemon answers.
  DAEMON_ABSENT(
      "HF-DAEMON-001",
      7,
      503,
      "No daemon answers.",
      "Start one with `hyperfresh daemon`, or name its directory with --state."),
  /// Another daemon owns the state directory.
  DAEMON_RUNNING(
      "HF-DAEMON-002",
      7,
      409,
      "Another daemon uses this state directory.",
      "Use that daemon, or start this one with another --state directory."),
  /// The state directory cannot be used.
  DAEMON_STATE(
      "HF-DAEMON-003",
      7,
      500,
      "The state directory cannot be used.",
      "Read what is named above: it has to belong to this user, and its disk needs room. `--state DIR`"
          + " names another directory."),
  /// A daemon was killed in the middle of a replacement.
  DAEMON_DIED(
      "HF-DAEMON-004",
      5,
      500,
      "The daemon ended in the middle of the replacement; the next one undid it.",
      "The guest runs on its old hypervisor. Try again; the daemon's log may tell why it ended."),
  /// A newer daemon takes over.
  DAEMON_UPGRADING(
      "HF-DAEMON-005",
      3,
      503,
      "This daemon hands over to a newer one and takes no new work.",
      "Try again in a moment; guests run on."),
  /// The running daemon keeps its guests.
  DAEMON_UPGRADE(
      "HF-DAEMON-006",
      7,
      409,
      "The running daemon did not hand over.",
      "It goes on as before. Correct what it names and try again; or end it, and start this one."),
  /// The request is not one the API knows.
  API_REQUEST(
      "HF-API-001",
      2,
      400,
      "The request is not one that this daemon knows.",
      "Use the same version of the command and the daemon."),
  /// The user's role does not allow the request.
  API_ROLE(
      "HF-API-002",
      3,
      403,
      "This user's role does not allow the request.",
      "Ask an administrator of the host for the role named; the file `roles` in the daemon's"
          + " directory gives roles to users and groups."),
  /// The path has another spelling than the one that it may have.
  API_PATH(
      "HF-API-003",
      2,
      400,
      "The path of the request is not spelled as a path of this API.",
      "A path is made of `/` and of segments of letters, digits and `-`, `.`, `_`, `~` and `+`, without"
          + " escapes; no name needs another character."),
  /// No route has such a path.
  API_UNKNOWN(
      "HF-API-004",
      2,
      404,
      "The API has nothing under this path.",
      "Use the same version of the command and the daemon."),
  /// There are routes of that path, with other methods.
  API_METHOD(
      "HF-API-005",
      2,
      405,
      "This path of the API does not know the method.",
      "The header `Allow` of the answer lists the methods that it knows."),
  /// A user has as many clients of that kind as it may.
  API_BUSY(
      "HF-API-006",
      3,
      429,
      "This user follows the events with too many clients.",
      "End one of them and try again."),
  /// A machine did not boot, or its agent is silent.
  MACHINE_START(
      "HF-MACHINE-001",
      4,
      500,
      "The machine did not come up.",
      "Nothing of it is left but its logs, in the folder `machines/NAME` of the state directory; no"
          + " guest was touched."),
  /// No machine has that name.
  MACHINE_UNKNOWN(
      "HF-MACHINE-002",
      3,
      404,
      "There is no machine of this name.",
      "`hyperfresh machine list` shows the machines."),
  /// A machine of that name exists already.
  MACHINE_EXISTS(
      "HF-MACHINE-003",
      3,
      409,
      "A machine of this name exists.",
      "Choose another name, or delete the machine with `hyperfresh machine delete NAME`."),
  /// Guests run in the machine.
  MACHINE_IN_USE(
      "HF-MACHINE-004",
      3,
      409,
      "Guests run in the machine.",
      "Move them with `hyperfresh replace --machine NAME --to RELEASE`, or delete them."),
  /// The machine has ended, and with it all guests that were in it.
  MACHINE_ENDED(
      "HF-MACHINE-005",
      3,
      409,
      "The machine has ended by itself, and its guests with it.",
      "Its logs are in `machines/NAME` of the state directory until `hyperfresh machine delete"
          + " NAME`; delete its guests and create them again."),
  /// The virtual machine of an OS did not start, or its agent did not answer.
  OS_START(
      "HF-OS-001",
      4,
      500,
      "The OS did not come up.",
      "Nothing of it is left but its logs, in the folder `os/NAME` of the state directory; no container was touched."),
  /// No OS has that name.
  OS_UNKNOWN(
      "HF-OS-002", 3, 404, "There is no OS of this name.", "`hyperfresh os list` shows them."),
  /// An OS of that name exists already.
  OS_EXISTS(
      "HF-OS-003",
      3,
      409,
      "An OS of this name exists.",
      "Choose another name, or delete the OS with `hyperfresh os delete NAME`."),
  /// Containers run in the OS, or their memory is still in it.
  OS_IN_USE(
      "HF-OS-004",
      3,
      409,
      "Containers are in the OS.",
      "Move them with `hyperfresh os replace NAME --to RELEASE`, or stop them. `hyperfresh os delete"
          + " NAME --force` ends an OS that hangs, and them with it."),
  /// The OS has as many containers as it can have.
  OS_FULL(
      "HF-OS-005",
      3,
      409,
      "The OS can take no more containers.",
      "Use another OS; `hyperfresh os list` shows them."),
  /// The bundle or an option of the container is not one that an OS can run.
  CONTAINER_SPEC(
      "HF-CONTAINER-001",
      2,
      400,
      "The container cannot be run like this.",
      "Correct what is named and run the container again; nothing was started."),
  /// A container of that name exists already, or its files do.
  CONTAINER_EXISTS(
      "HF-CONTAINER-002",
      3,
      409,
      "A container of this name exists.",
      "Nothing was touched. `hyperfresh container start NAME` starts one that has ended again, with"
          + " its files; `hyperfresh container rm NAME` removes it and them."),
  /// No container has that name.
  CONTAINER_UNKNOWN(
      "HF-CONTAINER-003",
      3,
      404,
      "There is no container of this name.",
      "`hyperfresh container list` shows them."),
  /// runc could not start the container.
  CONTAINER_START(
      "HF-CONTAINER-004",
      4,
      500,
      "The container could not be started.",
      "Read what runc said above. A new one is gone; one that was here before has its files."),
  /// The operation needs a container that runs.
  CONTAINER_STATE(
      "HF-CONTAINER-005",
      3,
      409,
      "The container is not in a state that allows this.",
      "`hyperfresh container list` shows its state. One that runs is removed with `--force` only."),
  /// No volume has that name.
  VOLUME_UNKNOWN(
      "HF-VOLUME-001",
      3,
      404,
      "There is no volume of this name.",
      "`hyperfresh volume list` shows them."),
  /// A volume of that name exists already.
  VOLUME_EXISTS(
      "HF-VOLUME-002",
      3,
      409,
      "A volume of this name exists.",
      "Nothing was touched. Use it, choose another name, or remove it with `hyperfresh volume rm"
          + " NAME`."),
  /// A container has the volume, also one that has ended.
  VOLUME_IN_USE(
      "HF-VOLUME-003",
      3,
      409,
      "A container has the volume.",
      "One container has a volume at a time, until it is removed: `hyperfresh container rm NAME`"
          + " leaves the volume and what is in it."),
  /// The container cannot be moved; all reasons are reported together.
  RELOCATE_PREFLIGHT(
      "HF-RELOCATE-001",
      3,
      409,
      "The container cannot be moved to the other OS.",
      "It runs on where it is, untouched. Remove what is named and try again."),
  /// The move failed before the new OS had the container.
  RELOCATE_ROLLED_BACK(
      "HF-RELOCATE-002",
      5,
      500,
      "The container was not moved.",
      "It runs on in the old OS, with its connections."),
  /// The container could neither be moved nor continued.
  RELOCATE_LOST(
      "HF-RELOCATE-003",
      6,
      500,
      "The container has ended.",
      "Start it again with `hyperfresh container start NAME`; its files are as it left them."),
  /// A container stands in an OS, and may have run in another one that is gone.
  RELOCATE_DOUBT(
      "HF-RELOCATE-004",
      5,
      409,
      "The container may have run in an OS that is gone.",
      "It stands in the OS that it was to leave. `hyperfresh container resume NAME` has it go on"
          + " there; what it did in the other OS may then be done once more."),
  /// A daemon that ends leaves a move to the next one, or nobody waits for it any more.
  RELOCATE_UNFINISHED(
      "HF-RELOCATE-005",
      5,
      503,
      "The move of the container is not over.",
      "It comes to its end without you, under the next daemon if need be: `hyperfresh container show"
          + " NAME` tells where the container runs."),
  /// The container came to the new OS, and its health check failed there.
  RELOCATE_UNHEALTHY(
      "HF-RELOCATE-006",
      5,
      500,
      "The container does not work in the new OS.",
      "Read what its check has said, and where it runs now. `hyperfresh container relocate NAME --to"
          + " OS --no-health` moves it whatever its check says."),
  /// A demonstration or a soak lost what it was to keep, or could not see that it was kept.
  RUN_LOST(
      "HF-RUN-001",
      6,
      500,
      "The run lost something that it was to keep.",
      "Guests, machines and systems were the run's own. Report what is named, with all that was"
          + " printed."),
  /// A defect of HyperFresh.
  INTERNAL(
      "HF-INTERNAL-001",
      70,
      500,
      "HyperFresh met a defect of its own.",
      "Guests go on running. Report it with the daemon's log.");

  private final String code;
  private final int exitCode;
  private final int httpStatus;
  private final String summary;
  private final String advice;

  Problem(String code, int exitCode, int httpStatus, String summary, String advice) {
    this.code = code;
    this.exitCode = exitCode;
    this.httpStatus = httpStatus;
    this.summary = summary;
    this.advice = advice;
  }

  /// The stable code, such as `HF-REPLACE-003`.
  public String code() {
    return code;
  }

  /// The exit code of a command that ends with this problem, 2 to 70.
  public int exitCode() {
    return exitCode;
  }

  /// The HTTP status of the API's answer, 400 to 599.
  public int httpStatus() {
    return httpStatus;
  }

  /// One sentence that holds for every occurrence.
  public String summary() {
    return summary;
  }

  /// What the user can do.
  public String advice() {
    return advice;
  }

  /// This problem as an exception; `detail` is one sentence about this occurrence.
  public HyperFreshException because(String detail) {
    return new HyperFreshException(this, detail, null);
  }

  /// As [#because(String)], with the failure that led here.
  public HyperFreshException because(String detail, Throwable cause) {
    return new HyperFreshException(this, detail, cause);
  }

  /// What a failure that nobody expected means to a user: this host lacks a call ([#HOST_SYSTEM]),
  /// or there is a defect ([#INTERNAL]).
  public static HyperFreshException unexpected(@Nullable Throwable failure) {
    return failure instanceof MissingCallException
        ? new HyperFreshException(HOST_SYSTEM, failure.getMessage() + ".", failure)
        : new HyperFreshException(INTERNAL, String.valueOf(failure), failure);
  }
}
