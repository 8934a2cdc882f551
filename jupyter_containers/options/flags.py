"""The table of ``docker run``'s flags: each defined once, for the magic line, the command line and keywords.

Order and help texts are those of ``docker run --help``. A flag that docker has and we do not is in the table too,
with the reason, so that a lesson gets a sentence and not "unknown flag". Source: docker/cli reference of ``run``.

Not here: flags of other verbs (each stands beside its verb in ``cli``).
"""

from __future__ import annotations

from functools import cache

from . import mounts, pairs, ports, values, words
from .flag import Flag

RUN = "run create cell"
_EXEC = RUN + " exec"

_NETWORKS = "published ports come with bridge networks"
_NOT_YET = "this flag of docker's is not supported yet"
_GPUS = (
    "GPUs are not passed into containers yet (NVIDIA's container toolkit and its device list are missing here); "
    "without the flag the container runs on the CPU"
)

FLAGS: tuple[Flag, ...] = (
    Flag("cap-add", "", "list", "cap_add", "Add Linux capabilities", RUN, words.capability),
    Flag("cap-drop", "", "list", "cap_drop", "Drop Linux capabilities", RUN, words.capability),
    Flag("cpu-shares", "c", "int", "cpu_shares", "CPU shares (relative weight)", RUN),
    Flag("cpus", "", "decimal", "cpus", "Number of CPUs", RUN, values.cpus),
    Flag(
        "cpuset-cpus",
        "",
        "string",
        "cpuset_cpus",
        "CPUs in which to allow execution (0-3, 0,1)",
        RUN,
        values.cpu_set,
    ),
    Flag("detach", "d", "", "detach", "Run container in background and print container ID", "run cell"),
    Flag("device", "", "list", "devices", "Add a host device to the container", RUN, mounts.device),
    Flag(
        "entrypoint",
        "",
        "string",
        "entrypoint",
        "Overwrite the default ENTRYPOINT of the image",
        RUN,
        lambda word, _: (word,) if word else (),
    ),
    Flag("env", "e", "list", "env", "Set environment variables", _EXEC, pairs.env, "environment"),
    Flag("env-file", "", "list", "env_files", "Read in a file of environment variables", _EXEC, pairs.env_file),
    Flag("group-add", "", "list", "group_add", "Add additional groups to join", RUN),
    Flag("hostname", "h", "string", "hostname", "Container host name", RUN, words.hostname),
    Flag("init", "", "", "init", "Run an init inside the container that forwards signals and reaps processes", RUN),
    Flag("interactive", "i", "", "interactive", "Keep STDIN open even if not attached", _EXEC, None, "stdin_open"),
    Flag("label", "l", "list", "labels", "Set meta data on a container", RUN, pairs.label),
    Flag("label-file", "", "list", "label_files", "Read in a line delimited file of labels", RUN, pairs.label_file),
    Flag("memory", "m", "bytes", "memory", "Memory limit", RUN, None, "mem_limit"),
    Flag(
        "memory-swap",
        "",
        "bytes",
        "memory_swap",
        "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
        RUN,
        values.swap,
        "memswap_limit",
    ),
    Flag("mount", "", "mount", "volumes", "Attach a filesystem mount to the container", RUN, mounts.mount, "mounts"),
    Flag("name", "", "string", "name", "Assign a name to the container", RUN, words.container_name),
    Flag(
        "network",
        "",
        "network",
        "network",
        "Connect a container to a network",
        RUN,
        words.network,
        aliases=("net",),
    ),
    Flag("pids-limit", "", "int", "pids_limit", "Tune container pids limit (set -1 for unlimited)", RUN),
    Flag(
        "platform",
        "",
        "string",
        "platform",
        "Set platform if server is multi-platform capable",
        RUN,
        words.platform,
    ),
    Flag("privileged", "", "", "privileged", "Give extended privileges to this container", _EXEC),
    Flag(
        "publish",
        "p",
        "list",
        "publish",
        "Publish a container's port(s) to the host",
        RUN,
        ports.publish,
        "ports",
        refuse=_NETWORKS,
    ),
    Flag(
        "pull",
        "",
        "string",
        "pull",
        'Pull image before running ("always", "missing", "never") (default "missing")',
        RUN,
        words.pull,
    ),
    Flag("quiet", "q", "", "quiet", "Suppress the pull output", RUN),
    Flag("read-only", "", "", "read_only", "Mount the container's root filesystem as read only", RUN),
    Flag(
        "restart",
        "",
        "string",
        "restart",
        'Restart policy to apply when a container exits (default "no")',
        RUN,
        words.restart,
        "restart_policy",
    ),
    Flag(
        "rm",
        "",
        "",
        "rm",
        "Automatically remove the container and its associated anonymous volumes when it exits",
        RUN,
        None,
        "remove",
    ),
    Flag("security-opt", "", "list", "security_opt", "Security Options", RUN, words.security),
    Flag("shm-size", "", "bytes", "shm_size", "Size of /dev/shm", RUN),
    Flag("stop-signal", "", "string", "stop_signal", "Signal to stop the container", RUN, words.signal_name),
    Flag("stop-timeout", "", "int", "stop_timeout", "Timeout (in seconds) to stop a container", RUN),
    Flag("sysctl", "", "map", "sysctls", "Sysctl options (default map[])", RUN, pairs.sysctl),
    Flag("timeout", "", "duration", "timeout", "Stop the container after this time (30s, 5m)", RUN, values.timeout),
    Flag("tmpfs", "", "list", "volumes", "Mount a tmpfs directory", RUN, mounts.tmpfs, "tmpfs"),
    Flag("tty", "t", "", "tty", "Allocate a pseudo-TTY", _EXEC),
    Flag("ulimit", "", "ulimit", "ulimits", "Ulimit options (default [])", RUN, values.ulimit),
    Flag("user", "u", "string", "user", "Username or UID (format: <name|uid>[:<group|gid>])", _EXEC),
    Flag("volume", "v", "list", "volumes", "Bind mount a volume", RUN, mounts.volume, "volumes"),
    Flag(
        "workdir",
        "w",
        "string",
        "workdir",
        "Working directory inside the container",
        _EXEC,
        words.workdir,
        "working_dir",
    ),
)

CELL_FLAGS: tuple[Flag, ...] = (
    Flag("dry-run", "", "", "dry_run", "Print the equal docker run line and the OCI config, run nothing", "cell"),
    Flag("explain", "", "", "explain", "Tell step by step what makes the container", "cell"),
    Flag("in", "", "list", "in_", "Give the cell a Python variable", "cell", pairs.variables),
    Flag("keep", "", "", "keep", "Keep the container when it ends (the same as --rm=false)", "cell"),
    Flag("no-raise-error", "", "", "no_raise_error", "A non-zero exit raises no error", "cell"),
    Flag("out", "", "list", "out", "Bring a variable back from the cell", "cell", pairs.variables),
    Flag("result", "", "string", "result", "Keep the result under this name", "cell", pairs.variable),
    Flag("session", "", "string", "session", "Keep one interpreter alive under this name", "cell", pairs.session_name),
    Flag("stage", "", "string", "stage", "Run on the file system that the last cell left", "cell", pairs.session_name),
)

_REFUSED_NETWORK = (
    "add-host:list dns:list dns-option:list dns-search:list expose:list ip:string ip6:string link:list "
    "link-local-ip:list mac-address:string network-alias:list publish-all:"
)
_REFUSED = (
    "annotation:list attach:list blkio-weight:int blkio-weight-device:list cgroup-parent:string cgroupns:string "
    "cidfile:string cpu-count:int cpu-percent:int cpu-period:int cpu-quota:int cpu-rt-period:int cpu-rt-runtime:int "
    "cpuset-mems:string detach-keys:string device-cgroup-rule:list device-read-bps:list device-read-iops:list "
    "device-write-bps:list device-write-iops:list disable-content-trust: domainname:string health-cmd:string "
    "health-interval:string health-retries:int health-start-interval:string health-start-period:string "
    "health-timeout:string io-maxbandwidth:string io-maxiops:string ipc:string isolation:string kernel-memory:bytes "
    "log-driver:string log-opt:list memory-reservation:bytes memory-swappiness:int no-healthcheck: oom-kill-disable: "
    "oom-score-adj:int pid:string runtime:string sig-proxy: storage-opt:list use-api-socket: userns:string uts:string "
    "volume-driver:string volumes-from:list"
)
_SHORT = {"attach": "a", "publish-all": "P"}


def _refused(names: str, reason: str) -> tuple[Flag, ...]:
    pairs = (entry.split(":") for entry in names.split())
    return tuple(Flag(name, _SHORT.get(name, ""), kind, name, "", RUN, refuse=reason) for name, kind in pairs)


REFUSED: tuple[Flag, ...] = (
    Flag("gpus", "", "string", "gpus", "", RUN, refuse=_GPUS),
    *_refused(_REFUSED_NETWORK, "this flag comes with bridge networks"),
    *_refused(_REFUSED, _NOT_YET),
)


@cache
def flags_for(verb: str) -> tuple[Flag, ...]:
    """The flags that *verb* (``run``, ``create``, ``exec``, ``cell``) has, in the order of help."""
    found = (flag for flag in FLAGS + CELL_FLAGS + REFUSED if verb in flag.verbs.split())
    return tuple(sorted(found, key=lambda flag: flag.name))
