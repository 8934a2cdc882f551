"""``RUN --mount``: the mounts that one step has and the image doesn't.

Not here: making them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mount:
    """One ``--mount`` of a ``RUN``.

    Args:
        text: the flag's value as written.
        type: ``bind``, ``cache``, ``tmpfs``, ``secret`` or ``ssh``.
        from_: a stage's name, or an image; empty for the context (``bind``) or an empty folder (``cache``).
        source: path in *from_*; empty for its root.
        target: where it appears; relative to the working directory.
        readonly: as written, or ``cache`` and ``tmpfs`` false, all others true.
        size: bytes at most, of a ``tmpfs``; 0 for no limit.
        id: which cache, secret or agent, docker's default filled in.
        sharing: ``shared``, ``private`` or ``locked``, of a ``cache``.
        required: the step fails where the secret or agent is missing.
        env: name of a variable that has the secret; with it a file is made only where *target* is written.
        mode, uid, gid: of a ``cache``'s folder, a secret's file or an agent's socket; ``None`` where not written.
    """

    text: str
    type: str = "bind"
    from_: str = ""
    source: str = ""
    target: str = ""
    readonly: bool = True
    size: int = 0
    id: str = ""
    sharing: str = ""
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
