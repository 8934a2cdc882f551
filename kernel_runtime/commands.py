"""The command line of the runtime: ``launcher``, ``probe``, ``unshare``, ``sweep`` and runc's verbs.

runc's verbs (``run state kill delete exec list spec features``) work on one bundle and need no launcher; front ends
use :mod:`kernel_runtime.client`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from kernel_runtime import __version__
from kernel_runtime.errors import RuntimeFault, SpecError

_USAGE = """usage: python -m kernel_runtime VERB [ARGUMENT...]

  run [--bundle DIR] ID     run the bundle's config.json in the foreground (as runc run)
  state ID                  print the state of a container as JSON
  list                      print the containers of the store
  kill ID [SIGNAL]          send a signal to its first process
  exec ID CMD...            run one more command in it
  delete ID                 remove a stopped container
  sweep                     end and remove what killed monitors left behind
  probe                     try every rung of isolation and print what was found
  unshare -- CMD...         run CMD in the user namespace of this machine's rung (as podman unshare)
  launcher                  serve (used by the client)

  --root DIR                the store (default: $JUPYTER_CONTAINERS_HOME)
"""


def main(arguments: list[str]) -> int:
    """Run one verb; the exit code is runc's."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_USAGE)
        return 0
    if arguments[0] in ("--version", "version"):
        sys.stdout.write(f"kernel_runtime {__version__}\nspec: 1.2.0\n")
        return 0
    options, words = _options(arguments)
    verb = _VERBS.get(words[0] if words else "")
    try:
        if verb is None:
            raise SpecError("run", words[0] if words else "", "unknown verb", "See --help.")
        return verb(options, words[1:])
    except RuntimeFault as fault:
        sys.stderr.write(f"kernel_runtime: {fault}\n")
        return getattr(fault, "exit_code", 125)


def _options(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    words: list[str] = []
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if word == "--" or (words and words[0] == "exec" and len(words) >= 2):
            words += arguments[position + (word == "--") :]
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals:
                position += 1
                if position >= len(arguments):
                    raise SpecError("read option", word, "its value is missing", "See --help.")
                value = arguments[position]
            options[name] = value
        else:
            words.append(word)
        position += 1
    return options, words


def _store(options: dict[str, str]) -> str:
    given = options.get("root") or os.environ.get("JUPYTER_CONTAINERS_HOME")
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.abspath(given or os.path.join(data, "jupyter-containers"))


def _launcher(options: dict[str, str], _words: list[str]) -> int:
    from kernel_runtime import service

    return service.main(options)


def _probe(options: dict[str, str], _words: list[str]) -> int:
    from kernel_runtime import probe

    store = _store(options)
    os.makedirs(store, mode=0o700, exist_ok=True)
    json.dump([report.to_dict() for report in probe.ladder(store)], sys.stdout)
    return 0


def _unshare(options: dict[str, str], words: list[str]) -> int:
    from kernel_runtime import probe

    rung = probe.Rung(options["rung"]) if "rung" in options else probe.choose(_store(options))
    if rung is not probe.Rung.ROOT:
        probe.enter(rung)
    try:
        os.execvp(words[0], words)
    except OSError as error:
        raise SpecError("execute", words[0], error.strerror or str(error)) from error


def _client_verb(name: str) -> Callable[[dict[str, str], list[str]], int]:
    def verb(options: dict[str, str], words: list[str]) -> int:
        from kernel_runtime import runc

        return runc.VERBS[name](_store(options), options, words)

    return verb


_VERBS: dict[str, Callable[[dict[str, str], list[str]], int]] = {
    "launcher": _launcher,
    "probe": _probe,
    "unshare": _unshare,
    **{name: _client_verb(name) for name in ("run", "state", "list", "kill", "exec", "delete", "sweep")},
}
