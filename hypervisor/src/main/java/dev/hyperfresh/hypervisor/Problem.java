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
  /// The hypervisor could not be started: a new guest does not exist, another one stays stopped.
  GUEST_START(
      "HF-GUEST-004",
      4,
      500,
      "The hypervisor could not start the guest.",
      "Read the hypervisor's own message above; its log is in the guest's folder."),
  /// The guest runs, and what was asked for would end it.
  GUEST_RUNS(
      "HF-GUEST-005",
      3,
      409,
      "The guest runs.",
      "Nothing was touched. Stop it first with `hyperfresh guest stop NAME`, or give --force to end"
          + " it at once."),
  /// A name means another disk by now, or somebody else has it.
  GUEST_DISK(
      "HF-GUEST-006",
      3,
      409,
      "A disk of the guest is not the one that was meant, or somebody else has it.",
      "Nothing was started or changed. Give the guest its disk back, or end who has it. To give it"
          + " another one, edit its spec and name that below /dev/disk/by-id: such a name keeps its"
          + " meaning."),
  /// The process could not be moved later; all reasons are reported together.
  ADOPT_REFUSED(
      "HF-ADOPT-001",
      3,
      409,
      "The guest cannot be adopted.",
      "It keeps running, untouched. Change what is named where the guest is started, restart it and"
          + " adopt it then; `docs/ADOPT.md` lists what can be adopted."),
  /// The process does not answer, or it is not the one it should be.
  ADOPT_UNFIT(
      "HF-ADOPT-002",
      3,
      409,
      "The process does not answer, or does not match its description.",
      "Nothing was changed. Give the process and the control socket of one running QEMU, and free"
          + " the socket: it serves one client at a time."),
  /// The copy of a guest's private memory did not come to an end within its limits.
  ADOPT_COPY(
      "HF-ADOPT-003",
      5,
      504,
      "The guest's memory could not be copied; the guest was not adopted.",
      "It runs on in its first process, as before. Try again when it writes less, or allow more with"
          + " --timeout or --max-downtime."),
  /// There is no such process or file, or not one with a command line of a QEMU.
  EXPLAIN_INPUT(
      "HF-EXPLAIN-001",
      2,
      400,
      "There is no command line of a QEMU to explain.",
      "Name the process of a running QEMU, or a file with a QEMU's command line, one argument a"
          + " line; `./123` is a file, `123` a process."),
  /// No domain of that name runs under libvirt.
  LIBVIRT_UNKNOWN(
      "HF-LIBVIRT-001",
      3,
      404,
      "No domain of this name runs under libvirt.",
      "`virsh list --name` shows those that run; the daemon must be root and in libvirt's own"
          + " namespaces."),
  /// The domain could not be moved, or not now; all reasons are reported together.
  LIBVIRT_REFUSED(
      "HF-LIBVIRT-002",
      5,
      409,
      "The domain cannot be replaced in place.",
      "It runs on, untouched. Remove what is named; `hyperfresh replace --libvirt NAME --to RELEASE"
          + " --dry-run` looks again, and `docs/LIBVIRT.md` says what is refused."),
  /// libvirt is not there, does not end, or does not come back.
  LIBVIRT_SERVICE(
      "HF-LIBVIRT-003",
      4,
      500,
      "The service of libvirt could not be ended and started.",
      "Guests run on. Look at libvirt's own log, and start it as on any other day if it is down."),
  /// A domain is HyperFresh's and could not be handed back.
  LIBVIRT_BETWEEN(
      "HF-LIBVIRT-004",
      5,
      500,
      "A domain was not handed back to libvirt, which stays down until it is.",
      "Its guest runs on, and so do all others. The daemon of HyperFresh tries again every few"
          + " seconds; correct what is named. libvirt would take the domain for ended if it were"
          + " started now."),
  /// Another request has ended libvirt.
  LIBVIRT_BUSY(
      "HF-LIBVIRT-005",
      3,
      409,
      "Domains of libvirt are being moved.",
      "Wait for it to end, and try again."),
  /// Somebody else has started libvirt while it was down because of us.
  LIBVIRT_STARTED(
      "HF-LIBVIRT-006",
      5,
      409,
      "Something else started libvirt while domains of it were being moved.",
      "Find out what starts it, such as an upgrade of packages, and move the other domains then. If"
          + " libvirt has forgotten a domain, shut its guest down from inside, or end the process that"
          + " is named, and start the domain again."),
  /// No installed release has that name.
  RELEASE_UNKNOWN(
      "HF-RELEASE-001",
      3,
      404,
      "There is no release of this name.",
      "`hyperfresh release list` shows the releases; `hyperfresh release fetch NAME` fetches one."),
  /// The release's files are not what they were when it was added.
  RELEASE_DAMAGED(
      "HF-RELEASE-002",
      4,
      409,
      "The release is damaged or cannot run.",
      "Remove it with `hyperfresh release remove NAME` and fetch or add it again."),
  /// The packages could not be downloaded.
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
      "Move its guests to another release first: `hyperfresh replace GUEST --to OTHER`. If a"
          + " machine is named, replace or delete the machine."),
  /// A release of that name exists already, or the name matches several.
  RELEASE_NAME(
      "HF-RELEASE-005",
      3,
      409,
      "The release's name is taken or matches more than one release.",
      "Give the full name that `hyperfresh release list` shows."),
  /// What was named is a release of another kind, or of none.
  RELEASE_KIND(
      "HF-RELEASE-006",
      2,
      400,
      "The name cannot be that of a release of this kind.",
      "Releases of QEMU are called like qemu-10.0, those of machines like machine-6.12, those of"
          + " operating systems like os-6.12; `hyperfresh release list` shows which are installed."),
  /// The plan found obstacles; nothing was touched.
  REPLACE_OBSTACLES(
      "HF-REPLACE-001",
      5,
      409,
      "The guest cannot be moved to this release.",
      "Remove the obstacles listed; `hyperfresh replace GUEST --to RELEASE --dry-run` lists them"
          + " again."),
  /// The target could not be prepared; the source was never paused.
  REPLACE_PREPARE(
      "HF-REPLACE-002",
      5,
      500,
      "The target could not be prepared; the replacement was rolled back.",
      "The guest was not paused. Read the target's message, correct the cause and try again."),
  /// The state did not arrive; the source continues.
  REPLACE_SWITCH(
      "HF-REPLACE-003",
      5,
      500,
      "The target refused the guest's state; the replacement was rolled back.",
      "The guest runs on the source. Read the target's message before you try again."),
  /// The blackout budget ran out; the source continues.
  REPLACE_DEADLINE(
      "HF-REPLACE-004",
      5,
      504,
      "The switch took longer than the blackout budget; the replacement was rolled back.",
      "The guest runs on the source. Try again, or allow more with --max-blackout."),
  /// Neither hypervisor runs the guest.
  REPLACE_LOST(
      "HF-REPLACE-005",
      6,
      500,
      "The guest was lost: neither hypervisor runs it.",
      "Its logs are in the guest's folder; keep them. `hyperfresh guest start NAME` boots it again"
          + " from its disks."),
  /// A replacement of this guest is under way.
  REPLACE_BUSY(
      "HF-REPLACE-006",
      3,
      409,
      "A replacement of this guest is under way.",
      "Wait for it to end; `hyperfresh guest show NAME` shows it."),
  /// The source was kept and does not resume the guest.
  REPLACE_STANDS(
      "HF-REPLACE-007",
      5,
      500,
      "The replacement was rolled back, but the source did not resume the guest.",
      "The guest is paused; nothing is lost. It resumes by itself when its hypervisor answers"
          + " again. If the hypervisor names a cause, correct it and use `hyperfresh guest resume"
          + " NAME`."),
  /// The target may have run the guest, and is gone; the source has an older state of its vCPUs.
  REPLACE_DOUBT(
      "HF-REPLACE-008",
      6,
      500,
      "The target ran the guest, or may have, and is gone; the source has an older state.",
      "The guest stays paused until you decide, even if the daemon restarts. Its memory and disks"
          + " may be newer than the state that the source has. `hyperfresh guest resume NAME`"
          + " resumes it from that state anyway. `hyperfresh guest stop NAME` ends it; then"
          + " `hyperfresh guest start NAME` boots it from its disks."),
  /// The guest powered off while it was being moved.
  REPLACE_OFF(
      "HF-REPLACE-009",
      5,
      409,
      "The guest powered itself off while it was being moved.",
      "The guest is stopped, as it requested. Nothing is wrong with either hypervisor."),
  /// A dry run is under way that this one would have to wait for.
  PLAN_BUSY(
      "HF-PLAN-001",
      3,
      409,
      "A dry run is not possible now.",
      "Try again in a few seconds. Each guest has one dry run at a time, each user and the host a"
          + " few; no dry run starts while its guest is being changed."),
  /// The dry run was given up.
  PLAN_GIVEN_UP(
      "HF-PLAN-002",
      3,
      409,
      "The dry run was given up.",
      "A dry run yields to any change of its guest. Try again when the change is over."),
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
      "This host does not allow this user to do it.",
      "Run the daemon as root, or give the user the device or capability named."),
  /// A device, bridge or kernel feature is missing.
  HOST_MISSING(
      "HF-HOST-003",
      4,
      409,
      "The host lacks something that the guest needs.",
      "`hyperfresh doctor` shows what this host has."),
  /// The kernel or the C library is older than what was asked for, or was built without it.
  HOST_SYSTEM(
      "HF-HOST-004",
      4,
      409,
      "The kernel or the C library of this host lacks a call that this needs.",
      "The row `system` of `hyperfresh doctor` shows what is missing, what provides it and what"
          + " does not work without it."),
  /// The daemon's configuration file cannot be read, or settings in it are wrong; all are reported
  /// together.
  CONFIG_INVALID(
      "HF-CONFIG-001",
      2,
      400,
      "The configuration file is not valid.",
      "Correct everything that is named; `hyperfresh config check` checks the file, and its manual"
          + " page is hyperfresh.yaml(5)."),
  /// The policy file cannot be read, or settings in it are wrong; all are reported together.
  POLICY_INVALID(
      "HF-POLICY-001",
      2,
      400,
      "The policy file is not valid.",
      "Correct everything that is named; `hyperfresh policy check` checks the file, and its manual"
          + " page is hyperfresh-policy.yaml(5)."),
  /// A run of the policy stopped at a failure, and nobody has looked at it yet.
  POLICY_HELD(
      "HF-POLICY-002",
      5,
      409,
      "The policy moves no guest, because its last run stopped at a failure or did not end.",
      "Look at `hyperfresh history`. When the cause is gone, `hyperfresh policy apply --again` tries"
          + " it again; a newer QEMU is tried without it."),
  /// Another run of the policy moves guests, or looks which to move.
  POLICY_RUNNING(
      "HF-POLICY-003",
      3,
      409,
      "Another run of the policy is under way.",
      "Wait until it has ended; `hyperfresh guest list` and `systemctl status hyperfresh-policy` show"
          + " how far it is."),
  /// What was asked for is not a setting, or not one that can be changed while the host runs.
  TUNE_REQUEST(
      "HF-TUNE-001",
      2,
      400,
      "The settings asked for cannot be applied.",
      "Nothing was changed. `hyperfresh machine tune` lists the settings and says which of them it"
          + " can apply."),
  /// The host has no such setting, or does not allow it to be changed.
  TUNE_HOST(
      "HF-TUNE-002",
      4,
      409,
      "This host does not allow its settings to be changed like this.",
      "Nothing was changed. Run the command as root on the host itself; `docs/NESTING.md` says what"
          + " needs the kernel's command line or the firmware."),
  /// The kernel refused a value; the values set before it were restored.
  TUNE_WRITE(
      "HF-TUNE-003",
      4,
      500,
      "A setting could not be applied, and those applied before it were restored.",
      "The host is as it was. Apply the others by name, without the one that failed."),
  /// The kernel refuses an old value.
  TUNE_STUCK(
      "HF-TUNE-004",
      4,
      500,
      "A setting could not be restored.",
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
      "Correct what is named above: the directory must belong to this user, and its disk needs free"
          + " space. `--state DIR` names another directory."),
  /// A daemon was killed in the middle of a replacement.
  DAEMON_DIED(
      "HF-DAEMON-004",
      5,
      500,
      "The daemon ended in the middle of the replacement; the next daemon rolled it back.",
      "The guest runs on the source. Try again; the daemon's log may say why it ended."),
  /// A newer daemon takes over.
  DAEMON_UPGRADING(
      "HF-DAEMON-005",
      3,
      503,
      "This daemon is handing over to a newer one and accepts no new work.",
      "Try again in a moment; guests keep running."),
  /// The running daemon keeps its guests.
  DAEMON_UPGRADE(
      "HF-DAEMON-006",
      7,
      409,
      "The running daemon did not hand over.",
      "It continues as before. Correct what it names and try again, or end it and start this one."),
  /// The daemon's socket is there, and this user may not connect to it.
  DAEMON_DENIED(
      "HF-DAEMON-007",
      3,
      403,
      "This user may not speak to the daemon.",
      "Run the command as the daemon's user or as root, or ask an administrator of the host for"
          + " access to the daemon's directory and for a role in its file `roles`."),
  /// The request is not one that the API knows.
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
  /// The path is not in its one permitted spelling.
  API_PATH(
      "HF-API-003",
      2,
      400,
      "The path of the request is not spelled as a path of this API.",
      "A path consists of `/` and segments of letters, digits, `-`, `.`, `_`, `~` and `+`, without"
          + " escapes; no name needs another character."),
  /// No route has such a path.
  API_UNKNOWN(
      "HF-API-004",
      2,
      404,
      "The API has nothing under this path.",
      "Use the same version of the command and the daemon."),
  /// The path has routes, but for other methods.
  API_METHOD(
      "HF-API-005",
      2,
      405,
      "This path of the API does not support the method.",
      "The header `Allow` of the response lists the methods that it supports."),
  /// A user has as many clients of that kind as permitted.
  API_BUSY(
      "HF-API-006",
      3,
      429,
      "This user follows events with too many clients.",
      "End one of them and try again."),
  /// A machine did not boot, or its agent is silent.
  MACHINE_START(
      "HF-MACHINE-001",
      4,
      500,
      "The machine did not start.",
      "Only its logs are left, in the folder `machines/NAME` of the state directory; no guest was"
          + " touched."),
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
      "The machine ended by itself, and its guests ended with it.",
      "Its logs are in `machines/NAME` of the state directory. Start it with `hyperfresh machine"
          + " start NAME`, then its guests with `hyperfresh guest start`."),
  /// The host has booted, and the machine is not up yet.
  MACHINE_COMING(
      "HF-MACHINE-006",
      3,
      409,
      "The machine is being started.",
      "Try again when `hyperfresh machine show NAME` says that it is running."),
  /// The virtual machine of an OS did not start, or its agent did not answer.
  OS_START(
      "HF-OS-001",
      4,
      500,
      "The OS did not start.",
      "Only its logs are left, in the folder `os/NAME` of the state directory; no container was"
          + " touched."),
  /// No OS has that name.
  OS_UNKNOWN(
      "HF-OS-002", 3, 404, "There is no OS of this name.", "`hyperfresh os list` shows all."),
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
          + " NAME --force` ends an OS that hangs, together with its containers."),
  /// The OS has as many containers as it can have.
  OS_FULL(
      "HF-OS-005",
      3,
      409,
      "The OS cannot hold any more containers.",
      "Use another OS; `hyperfresh os list` shows all."),
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
      "Nothing was touched. If it has ended, `hyperfresh container start NAME` starts it again with"
          + " its files; `hyperfresh container rm NAME` removes it and its files."),
  /// No container has that name.
  CONTAINER_UNKNOWN(
      "HF-CONTAINER-003",
      3,
      404,
      "There is no container of this name.",
      "`hyperfresh container list` shows all."),
  /// runc could not start the container.
  CONTAINER_START(
      "HF-CONTAINER-004",
      4,
      500,
      "The container could not be started.",
      "Read runc's message above. A new container is gone; one that existed before keeps its"
          + " files."),
  /// The operation needs a container that runs.
  CONTAINER_STATE(
      "HF-CONTAINER-005",
      3,
      409,
      "The container is not in a state that allows this.",
      "`hyperfresh container list` shows its state. A running container is removed only with"
          + " `--force`."),
  /// No volume has that name.
  VOLUME_UNKNOWN(
      "HF-VOLUME-001",
      3,
      404,
      "There is no volume of this name.",
      "`hyperfresh volume list` shows all."),
  /// A volume of that name exists already.
  VOLUME_EXISTS(
      "HF-VOLUME-002",
      3,
      409,
      "A volume of this name exists.",
      "Nothing was touched. Use it, choose another name, or remove it with `hyperfresh volume rm"
          + " NAME`."),
  /// A container has the volume; the container may have ended.
  VOLUME_IN_USE(
      "HF-VOLUME-003",
      3,
      409,
      "A container has the volume.",
      "A volume belongs to one container until that is removed; `hyperfresh container rm NAME`"
          + " keeps the volume and its contents."),
  /// The container cannot be moved; all reasons are reported together.
  RELOCATE_PREFLIGHT(
      "HF-RELOCATE-001",
      3,
      409,
      "The container cannot be moved to the other OS.",
      "It keeps running where it is, untouched. Correct what is named and try again."),
  /// The move failed before the new OS had the container.
  RELOCATE_ROLLED_BACK(
      "HF-RELOCATE-002",
      5,
      500,
      "The container was not moved.",
      "It keeps running in the old OS, with its connections."),
  /// The container could neither be moved nor resumed.
  RELOCATE_LOST(
      "HF-RELOCATE-003",
      6,
      500,
      "The container has ended.",
      "Start it again with `hyperfresh container start NAME`; its files are as it left them."),
  /// A container is paused in an OS, and may have run in another one that is gone.
  RELOCATE_DOUBT(
      "HF-RELOCATE-004",
      5,
      409,
      "The container may have run in an OS that is gone.",
      "It is paused in the OS that it was to leave. `hyperfresh container resume NAME` resumes it"
          + " there; it may then repeat what it did in the other OS."),
  /// A daemon that ends leaves a move to the next one, or its client has gone.
  RELOCATE_UNFINISHED(
      "HF-RELOCATE-005",
      5,
      503,
      "The container is still being moved.",
      "The move finishes without you, under the next daemon if necessary; `hyperfresh container"
          + " show NAME` shows where the container runs."),
  /// The container came to the new OS, and its health check failed there.
  RELOCATE_UNHEALTHY(
      "HF-RELOCATE-006",
      5,
      500,
      "The container does not work in the new OS.",
      "The message above has the output of its check and says where it runs now. `hyperfresh"
          + " container relocate NAME --to OS --no-health` moves it without a check."),
  /// What a command waits for did not come in time.
  WAIT_TIMEOUT(
      "HF-WAIT-001",
      3,
      504,
      "What the command waited for did not happen in time.",
      "Nothing was changed. Look with `show`, or wait longer with --timeout."),
  /// A demonstration or a soak lost what it was to keep, or could not see that it was kept.
  RUN_LOST(
      "HF-RUN-001",
      6,
      500,
      "The run lost something that it should have kept.",
      "All guests, machines and operating systems belonged to the run. Report what is named, with"
          + " the whole output."),
  /// A defect of HyperFresh.
  INTERNAL(
      "HF-INTERNAL-001",
      70,
      500,
      "HyperFresh has a defect.",
      "Guests keep running. Report the defect with the daemon's log.");

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
