"""Run a command in a user namespace of 65536 ids that begin at a given one: as newuidmap makes them, by root.

python layers_namespace.py FIRST COMMAND...
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000


def main(first: str, command: list[str]) -> int:
    ready, mapped = os.pipe(), os.pipe()
    if (pid := os.fork()) == 0:
        os.close(ready[0])
        os.close(mapped[1])
        os.setgroups([])
        ctypes.CDLL(None).unshare(CLONE_NEWUSER)
        os.close(ready[1])
        os.read(mapped[0], 1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.execvp(command[0], command)  # noqa: S606 - a test's own command
    os.close(ready[1])
    os.read(ready[0], 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 {first} 65536")
    os.close(mapped[1])
    os.close(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
