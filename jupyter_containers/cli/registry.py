"""``pull``, ``push``, ``login``, ``logout``: verbs that speak with a registry."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from jupyter_containers.errors import InvalidArgument
from jupyter_containers.options import Flag
from jupyter_containers.options import words as word_rules

from .progress import PROGRESS, shown
from .verb import Args, Spec

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine
    from jupyter_containers.image.reference import Reference
    from jupyter_containers.image.registry.secret import Secret
    from jupyter_containers.options import RunOptions

    from .out import Out

_STORED = (
    "\nWARNING! Your credentials are stored unencrypted in '{path}'.\n"
    "Configure a credential helper to remove this warning. See\n"
    "https://docs.docker.com/go/credential-store/\n"
)


def ensure(engine: Engine, options: RunOptions, out: Out) -> None:
    """``docker run``'s first step: the image is there, or is pulled, which is told on standard error."""
    say = None if options.quiet else lambda text: out.warn(text.rstrip("\n"))
    with shown(out, "quiet" if options.quiet else "", on_stderr=True) as on_event:
        engine.images.registries.ensure(options, on_event, say)


def pull(engine: Engine, args: Args, out: Out) -> int:
    """``docker pull``."""
    from jupyter_containers.image import reference

    name, every = args.words[0], bool(args.all_tags)
    named = reference.parse_name(name)
    mode = _mode(args)
    with shown(out, mode) as on_event:
        _say_default_tag(named, every, mode, out)
        pulled = engine.images.registries.pull(name, args.get("platform", ""), every, on_event)
    if mode == "json":
        return 0
    if every and mode != "quiet":
        newer = any(one.newer for one in pulled)
        what = "Downloaded newer image for" if newer else "Image is up to date for"
        out.write(f"Status: {what} {named.familiar_name}\n")
    out.write(f"{named.name if every else named.tagged()}\n")
    return 0


def push(engine: Engine, args: Args, out: Out) -> int:
    """``docker push``."""
    from jupyter_containers.image import reference

    name, every = args.words[0], bool(args.all_tags)
    named = reference.parse_name(name)
    mode = _mode(args)
    with shown(out, mode) as on_event:
        _say_default_tag(named, every, mode, out)
        engine.images.registries.push(name, every, on_event)
    if mode == "quiet":
        out.write(f"{named.name if every else named.tagged()}\n")
    return 0


def _mode(args: Args) -> str:
    return "quiet" if args.quiet else str(args.get("progress", ""))


def _say_default_tag(named: Reference, every: bool, mode: str, out: Out) -> None:
    if not (named.tag or named.digest or every or mode in ("quiet", "json")):
        out.write("Using default tag: latest\n")


def login(engine: Engine, args: Args, out: Out) -> int:
    """``docker login``; in a notebook the password is asked for in a field that hides it."""
    from jupyter_containers.image.registry.secret import Secret

    server = args.words[0] if args.words else ""
    if args.password and args.password_stdin:
        raise InvalidArgument("--password and --password-stdin are mutually exclusive")
    if args.password_stdin and not args.username:
        raise InvalidArgument("Must provide --username with --password-stdin")
    if args.password:
        out.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    username = args.username or _asked("Username: ", hidden=False, out=out).reveal()
    if args.password_stdin:
        password = _from_stdin(out)
    else:
        password = Secret(args.password) if args.password else _asked("Password: ", hidden=True, out=out)
    if not username or not password:
        raise InvalidArgument("username and password are required", mend="Leave neither empty.")
    registries = engine.images.registries
    helper = registries.login(server, username, password)
    if not helper:
        out.warn(_STORED.format(path=registries.access.docker_config))
    out.write("Login Succeeded\n")
    return 0


def _from_stdin(out: Out) -> Secret:
    from jupyter_containers.image.registry.secret import Secret

    if out.notebook:
        raise InvalidArgument("a cell has no standard input", "--password-stdin", "Leave the flag away: you are asked.")
    return Secret(sys.stdin.read().rstrip("\r\n"))


def _asked(question: str, hidden: bool, out: Out) -> Secret:
    from getpass import getpass

    from jupyter_containers.image.registry.secret import Secret

    if not out.notebook and not sys.stdin.isatty():
        mend = "Give --username and --password-stdin."
        raise InvalidArgument("Cannot perform an interactive login from a non TTY device", mend=mend)
    try:
        return Secret(getpass(question) if hidden else input(question).strip())
    except (EOFError, RuntimeError, NotImplementedError):
        mend = "Log in from a terminal: `jupyter containers login`."
        raise InvalidArgument("nobody can be asked for credentials here", mend=mend) from None


def logout(engine: Engine, args: Args, out: Out) -> int:
    """``docker logout``."""
    from jupyter_containers.image.registry.credentials import key_of
    from jupyter_containers.image.registry.login import domain_of

    server = args.words[0] if args.words else ""
    shown_as = key_of(domain_of(server))
    if engine.images.registries.logout(server):
        out.write(f"Removing login credentials for {shown_as}\n")
    else:
        out.write(f"Not logged in to {shown_as}\n")
    return 0


_TRUST = Flag("disable-content-trust", "", "", "disable_content_trust", "Skip image verification (default true)")
_PLATFORM = Flag(
    "platform", "", "string", "platform", "Set platform if server is multi-platform capable", "", word_rules.platform
)
SPECS = {
    "pull": Spec(
        pull,
        (
            Flag("all-tags", "a", "", "all_tags", "Download all tagged images in the repository"),
            _TRUST,
            _PLATFORM,
            PROGRESS,
            Flag("quiet", "q", "", "quiet", "Suppress verbose output"),
        ),
        1,
        1,
    ),
    "push": Spec(
        push,
        (
            Flag("all-tags", "a", "", "all_tags", "Push all tags of an image to the repository"),
            _TRUST,
            PROGRESS,
            Flag("quiet", "q", "", "quiet", "Suppress verbose output"),
        ),
        1,
        1,
    ),
    "login": Spec(
        login,
        (
            Flag("password", "p", "string", "password", "Password or Personal Access Token (PAT)"),
            Flag(
                "password-stdin",
                "",
                "",
                "password_stdin",
                "Take the Password or Personal Access Token (PAT) from stdin",
            ),
            Flag("username", "u", "string", "username", "Username"),
        ),
        0,
        1,
    ),
    "logout": Spec(logout, (), 0, 1),
}
