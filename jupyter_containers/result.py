"""What a cell, or a container run in the foreground, gave back."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ContainerResult:
    """The outcome of one container.

    Attributes:
        exit_code: Docker's: the program's own, 128 + signal, 125 could not start, 126 not executable, 127 not found.
        reason: why it ended: ``exit``, ``signal``, ``timeout``, ``oom``, ``pids``, ``interrupted``.
        stdout, stderr: what it printed, at most the first 10 MiB, decoded as UTF-8 (others as U+FFFD).
        outputs: the same in order: pairs of stream name and text.
        duration: seconds from the first process to its end. total: seconds as the caller saw it.
        peak_memory: bytes, of all processes where there is a cgroup. cpu_seconds: likewise.
        image: the reference asked for. image_digest: the id of the image, ``host`` for the host image.
        container_id: 64 hex digits.
        steps: with ``--explain``: what was done, and the seconds that each step took.
    """

    exit_code: int
    reason: str = "exit"
    outputs: list[tuple[str, str]] = field(default_factory=list)
    duration: float = 0.0
    total: float = 0.0
    peak_memory: int | None = None
    cpu_seconds: float | None = None
    image: str = ""
    image_digest: str = ""
    container_id: str = ""
    truncated: bool = False
    steps: list[tuple[str, float]] = field(default_factory=list)
    _hidden: bool = field(default=False, repr=False, compare=False)

    @property
    def stdout(self) -> str:
        """All of standard output."""
        return "".join(text for name, text in self.outputs if name == "stdout")

    @property
    def stderr(self) -> str:
        """All of standard error."""
        return "".join(text for name, text in self.outputs if name == "stderr")

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0

    def __repr__(self) -> str:
        """One line."""
        memory = f", peak {self.peak_memory / 2**20:.1f} MiB" if self.peak_memory else ""
        text = f"exit_code={self.exit_code}, reason={self.reason!r}, {self.duration * 1000:.0f} ms{memory}"
        return f"ContainerResult({text}, image={self.image!r}, container_id={self.container_id[:12]!r})"

    def without_display(self) -> ContainerResult:
        """The result, which shows nothing the first time it is displayed: the cell's output has been seen already."""
        self._hidden = True
        return self

    def _ipython_display_(self) -> None:
        if self._hidden:
            self._hidden = False
        else:
            print(repr(self))
