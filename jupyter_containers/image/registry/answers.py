"""Reading what registries answer: error documents, Retry-After, ranges, links.

Pure: texts in, values out; nothing of an answer is trusted, everything is bounded.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from jupyter_containers.text.neutral import one_line

ERROR_LIMIT = 64 << 10
_SHOWN = 300
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_RANGE = re.compile(r"(?:bytes=)?(\d{1,19})-(\d{1,19})")
_NEXT = re.compile(r"""<([^<>\s]{1,2048})>\s*;\s*rel="?next"?""")


def error_text(body: bytes) -> str:
    """What an error document says, for people; "" where it is none.

    >>> error_text(b'{"errors":[{"code":"DENIED","message":"no access"}]}')
    'denied: no access'
    """
    try:
        errors = json.loads(body[:ERROR_LIMIT]).get("errors")
        rows = [error for error in errors if isinstance(error, dict)][:3]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""
    texts = [f"{_word(row.get('code'))}: {_sentence(row.get('message'))}".strip(": ") for row in rows]
    return one_line("; ".join(text for text in texts if text))[:_SHOWN]


def _word(code: object) -> str:
    return code.lower().replace("_", " ")[:60] if isinstance(code, str) else ""


def _sentence(message: object) -> str:
    return message.strip()[:_SHOWN] if isinstance(message, str) else ""


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait that a ``Retry-After`` header asks for: a number or a date; None where it says neither."""
    text = (header or "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def content_range(header: str | None) -> tuple[int, int, int | None] | None:
    """First byte, last byte and whole size of ``Content-Range: bytes 5-9/10``; None where it is not one."""
    found = _CONTENT_RANGE.fullmatch((header or "").strip())
    if not found or int(found[2]) < int(found[1]):
        return None
    return int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])


def uploaded(header: str | None) -> int:
    """How many bytes of an upload the registry has, by its ``Range: 0-N``; ``0-0`` means none, as docker takes it."""
    found = _RANGE.fullmatch((header or "").strip())
    return int(found[2]) + 1 if found and int(found[1]) == 0 and int(found[2]) > 0 else 0


def next_page(header: str | None) -> str:
    """The URL of the next page in a ``Link`` header; "" where there is none."""
    found = _NEXT.search((header or "")[:4096])
    return found[1] if found else ""


def length(header: str | None) -> int | None:
    """A ``Content-Length``; None where there is none."""
    text = (header or "").strip()
    return int(text) if re.fullmatch(r"\d{1,19}", text) else None
