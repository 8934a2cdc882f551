"""The ladder of isolation, and what is too weak for whom. Not here: which rungs this machine allows (:mod:`probe`)."""

from __future__ import annotations

from enum import StrEnum

from kernel_runtime.errors import ProbeError, SpecError


class Rung(StrEnum):
    """The ladder of isolation, strongest first. (``proot`` joins it with kernels in images.)"""

    ROOT = "root"
    ROOTLESS = "rootless"
    ROOTLESS_SINGLE = "rootless-single"


def refuse_without(minimum: str, rung: str) -> None:
    """Raise where *rung* is weaker than *minimum* (``Runtime.minimum_isolation``; empty: anything will do).

    Raises:
        ProbeError: it is. SpecError: *minimum* is no rung.
    """
    order = [str(known) for known in Rung]
    if not minimum:
        return
    if minimum not in order:
        raise SpecError("isolate", f"at least as {minimum!r}", "there is no such rung", f"Write {', '.join(order)}.")
    if order.index(rung) > order.index(minimum):
        mend = "`%container doctor` tells what would make the better one work."
        raise ProbeError("isolate", f"at least as {minimum}", f"this machine allows only {rung}", mend)
