# ruff: noqa: E501 - a table
"""The table of verbs, in words only; a verb's flags and code are loaded when it is called.

Order and summaries are docker's help.
"""

from __future__ import annotations

from .verb import Verb

VERBS: tuple[Verb, ...] = (
    Verb("run", "container", "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create and run a new container from an image", "running", ("container run",), True),
    Verb("exec", "container", "[OPTIONS] CONTAINER COMMAND [ARG...]", "Execute a command in a running container", "running", ("container exec",), True),
    Verb("ps", "container", "[OPTIONS]", "List containers", "listing", ("container ls", "container list", "container ps"), True),
    Verb("build", "image", "[OPTIONS] PATH | -", "Build an image from a Dockerfile", "building", ("image build", "builder build", "buildx build"), True),
    Verb("pull", "image", "[OPTIONS] NAME[:TAG|@DIGEST]", "Download an image from a registry", "registry", ("image pull",), True),
    Verb("push", "image", "[OPTIONS] NAME[:TAG]", "Upload an image to a registry", "registry", ("image push",), True),
    Verb("images", "image", "[OPTIONS] [REPOSITORY[:TAG]]", "List images", "listing", ("image ls", "image list"), True),
    Verb("doctor", "", "[OPTIONS]", "Try every rung of isolation and say what is missing", "system", common=True),
    Verb("login", "", "[OPTIONS] [SERVER]", "Authenticate to a registry", "registry", common=True),
    Verb("logout", "", "[SERVER]", "Log out from a registry", "registry", common=True),
    Verb("version", "", "[OPTIONS]", "Show the version information", "system", common=True),
    Verb("info", "system", "[OPTIONS]", "Display system-wide information", "system", ("system info",), True),
    Verb("attach", "container", "[OPTIONS] CONTAINER", "Attach to the output of a running container", "running", ("container attach",)),
    Verb("create", "container", "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create a new container", "running", ("container create",)),
    Verb("export", "container", "[OPTIONS] CONTAINER", "Export a container's filesystem as a tar archive", "archives", ("container export",)),
    Verb("history", "image", "[OPTIONS] IMAGE", "Show the history of an image", "listing", ("image history",)),
    Verb("import", "image", "[OPTIONS] file|- [REPOSITORY[:TAG]]", "Import the contents from a tarball to create a filesystem image", "archives", ("image import",)),
    Verb("inspect", "", "[OPTIONS] NAME|ID [NAME|ID...]", "Return low-level information on objects", "inspection"),
    Verb("kill", "container", "[OPTIONS] CONTAINER [CONTAINER...]", "Kill one or more running containers", "lifecycle", ("container kill",)),
    Verb("layers", "image", "[OPTIONS] IMAGE", "Show what each layer of an image adds, changes, removes and wastes", "layers", ("image layers",)),
    Verb("load", "image", "[OPTIONS] [FILE]", "Load an image from a tar archive or STDIN", "archives", ("image load",)),
    Verb("logs", "container", "[OPTIONS] CONTAINER", "Fetch the logs of a container", "logs", ("container logs",)),
    Verb("pause", "container", "CONTAINER [CONTAINER...]", "Pause all processes within one or more containers", "lifecycle", ("container pause",)),
    Verb("port", "container", "CONTAINER [PRIVATE_PORT[/PROTO]]", "List port mappings or a specific mapping for the container", "listing", ("container port",)),
    Verb("rename", "container", "CONTAINER NEW_NAME", "Rename a container", "lifecycle", ("container rename",)),
    Verb("restart", "container", "[OPTIONS] CONTAINER [CONTAINER...]", "Restart one or more containers", "lifecycle", ("container restart",)),
    Verb("rm", "container", "[OPTIONS] CONTAINER [CONTAINER...]", "Remove one or more containers", "lifecycle", ("container rm", "container remove")),
    Verb("rmi", "image", "[OPTIONS] IMAGE [IMAGE...]", "Remove one or more images", "images", ("image rm", "image remove")),
    Verb("save", "image", "[OPTIONS] IMAGE [IMAGE...]", "Save one or more images to a tar archive (streamed to STDOUT by default)", "archives", ("image save",)),
    Verb("start", "container", "[OPTIONS] CONTAINER [CONTAINER...]", "Start one or more stopped containers", "running", ("container start",)),
    Verb("stats", "container", "[OPTIONS] [CONTAINER...]", "Display a live stream of container(s) resource usage statistics", "stats", ("container stats",)),
    Verb("stop", "container", "[OPTIONS] CONTAINER [CONTAINER...]", "Stop one or more running containers", "lifecycle", ("container stop",)),
    Verb("tag", "image", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE", "images", ("image tag",)),
    Verb("top", "container", "CONTAINER [ps OPTIONS]", "Display the running processes of a container", "listing", ("container top",)),
    Verb("unpause", "container", "CONTAINER [CONTAINER...]", "Unpause all processes within one or more containers", "lifecycle", ("container unpause",)),
    Verb("wait", "container", "CONTAINER [CONTAINER...]", "Block until one or more containers stop, then print their exit codes", "lifecycle", ("container wait",)),
    Verb("prune", "container", "[OPTIONS]", "Remove all stopped containers", "lifecycle", ("container prune",)),
    Verb("builder du", "builder", "[OPTIONS]", "Disk usage of the build cache", "buildcache", ("builder du", "buildx du"), short=False),
    Verb("builder prune", "builder", "[OPTIONS]", "Remove build cache", "buildcache", ("builder prune", "buildx prune"), short=False),
    Verb("container inspect", "container", "[OPTIONS] CONTAINER [CONTAINER...]", "Display detailed information on one or more containers", "inspection", ("container inspect",), short=False),
    Verb("image inspect", "image", "[OPTIONS] IMAGE [IMAGE...]", "Display detailed information on one or more images", "inspection", ("image inspect",), short=False),
    Verb("image prune", "image", "[OPTIONS]", "Remove unused images", "images", ("image prune",), short=False),
    Verb("system df", "system", "[OPTIONS]", "Show disk usage", "system", ("system df",), short=False),
    Verb("system prune", "system", "[OPTIONS]", "Remove unused data", "system", ("system prune",), short=False),
)  # fmt: skip

GROUPS = {
    "builder": "Manage builds", "buildx": "Manage builds", "container": "Manage containers", "image": "Manage images",
    "system": "Manage the store and this machine",
}  # fmt: skip

# docker's verbs that a later version brings: said so, instead of "unknown command"
LATER = (
    "bundle", "commit", "compose", "cp", "diff", "events", "explain", "kernel", "lock",
    "network", "search", "serve", "shim", "stage", "update", "volume",
)  # fmt: skip
