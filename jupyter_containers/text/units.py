"""Sizes, durations and moments in docker's words (the rules of docker/go-units).

Not here: reading such words (``options.values``).
"""

from __future__ import annotations

from typing import Final

DECIMAL: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def human_size(size: float, precision: int = 4) -> str:
    """Bytes in powers of 1000: ``1.98MB`` with *precision* 3 (tables), ``1.982MB`` with 4.

    >>> human_size(1982319, 3)
    '1.98MB'
    """
    return _scaled(size, 1000.0, DECIMAL, precision)


def bytes_size(size: float) -> str:
    """Bytes in powers of 1024: ``23.4GiB``."""
    return _scaled(size, 1024.0, BINARY, 4)


def _scaled(size: float, base: float, units: tuple[str, ...], precision: int) -> str:
    step = 0
    while size >= base and step < len(units) - 1:
        size /= base
        step += 1
    return f"{general(size, precision)}{units[step]}"


def general(value: float, precision: int) -> str:
    """C's and Go's ``%.*g``; Python's has the same exponent form."""
    return f"{value:.{precision}g}"


def human_duration(seconds: float) -> str:
    """A length of time as ``docker ps`` says it.

    >>> human_duration(90), human_duration(3600 * 26)
    ('About a minute', '26 hours')
    """
    whole, minutes, hours = int(seconds), int(seconds / 60), int(seconds / 3600 + 0.5)
    if whole < 60:
        return _seconds(whole)
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit, unit, name in _LONG:
        if hours < limit:
            return f"{hours // unit} {name}"
    return f"{int(seconds / 3600) // 24 // 365} years"


_LONG = ((24 * 7 * 2, 24, "days"), (24 * 30 * 2, 24 * 7, "weeks"), (24 * 365 * 2, 24 * 30, "months"))


def _seconds(whole: int) -> str:
    return "Less than a second" if whole < 1 else "1 second" if whole == 1 else f"{whole} seconds"


def moment(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time; 0 for docker's "never" (year 1), for "" and for what is no time."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return 0.0
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found.timestamp() if found.year > 1 else 0.0


def created_at(text: str) -> str:
    """``CreatedAt`` of a table: ``2026-11-24 09:32:11 +0000 UTC``."""
    from datetime import datetime

    when = moment(text)
    if not when:
        return "N/A"
    local = datetime.fromtimestamp(when).astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S %z %Z")


def ago(text: str, now: float) -> str:
    """``3 minutes ago`` of an RFC 3339 time; docker's lists count from whole seconds."""
    when = moment(text)
    return f"{human_duration(max(0.0, now - int(when)))} ago" if when else "N/A"


def ellipsis(text: str, length: int) -> str:
    """*text* cut to *length* characters with ``…`` as the last one where it was longer."""
    return text if len(text) <= length else text[: max(0, length - 1)] + "…"


def short_id(text: str) -> str:
    """The first 12 digits of an id, without its algorithm."""
    return text.partition(":")[2][:12] if ":" in text else text[:12]
