"""The layer view of an image as text and as HTML, from the engine's JSON. Pure.

Names, commands and labels come from images and are hostile: control characters are escaped, HTML too, and the HTML has
no script, no style of the image and no address to fetch. It folds by ``<details>`` and takes its colours from the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from .neutral import one_line
from .result import Text
from .table import columns
from .units import ellipsis, human_size, short_id

View = Mapping[str, Any]

HEAD = ("LAYER", "DIFF ID", "SIZE", "ADDED", "CHANGED", "REMOVED", "WASTED", "COMMAND")
MOST_FILES = 2_000  # of a layer in HTML
_WORDS = {"A": "added", "C": "changed", "D": "removed"}
_SIGNS = {"A": "+", "C": "~", "D": "−"}
_NOP = re.compile(r"^/bin/sh -c #\(nop\)\s+")
_ARGS = re.compile(r"^\|\d+ .*?(?=/bin/sh -c )")
_SHELL = re.compile(r"^(?:RUN )?/bin/sh -c ")
_BUILDKIT = re.compile(r"\s+# buildkit$")


@dataclass(frozen=True, repr=False)
class Layers(Text):
    """The view of one image; *view* is its JSON, *files* whether names are listed too."""

    text: str = ""
    view: View = field(default_factory=dict)
    files: bool = False

    def __post_init__(self) -> None:
        """Write the view out."""
        object.__setattr__(self, "text", self.text or written(self.view, self.files))

    def _repr_html_(self) -> str:
        return html(self.view)


def command(layer: View) -> str:
    """What made a layer, as its author wrote it: without docker's ``/bin/sh -c #(nop)`` and its like; one line."""
    said = " ".join(str(layer.get("CreatedBy") or "").split())
    bare = _BUILDKIT.sub("", _NOP.sub("", _ARGS.sub("", said)))
    if _SHELL.match(bare):
        bare = "RUN " + _SHELL.sub("", bare)
    return one_line(bare or str(layer.get("Comment") or ""))


# --- text ---


def written(view: View, files: bool = False, width: int = 60) -> str:
    """The table of layers, bottom first; with *files* the names of each beneath it."""
    rows = [HEAD, *(_cells(layer, width) for layer in view["Layers"])]
    lines = columns(rows, minimum=0, padding=2).splitlines()
    parts = [lines[0]]
    for line, layer in zip(lines[1:], view["Layers"], strict=True):
        parts.append(line)
        if files:
            parts += [f"  {row}" for row in columns(map(_file_cells, layer.get("Files", ())), 0, 2).splitlines()]
    return "\n".join([*parts, "", _total(view), ""])


def _cells(layer: View, width: int) -> Sequence[str]:
    counts = (str(layer[key]) for key in ("Added", "Changed", "Removed"))
    sizes = human_size(layer["Size"], 3), human_size(layer["WastedBytes"], 3)
    name = short_id(layer["DiffId"])
    return (str(layer["Layer"]), name, sizes[0], *counts, sizes[1], ellipsis(command(layer), width))


def _file_cells(row: View) -> Sequence[str]:
    size = human_size(row["Size"], 3) + (f" in {row['Count']} files" if row["Count"] > 1 else "")
    return (row["Kind"], size if row["Count"] else "", one_line(str(row["Path"])))


def _total(view: View) -> str:
    layers = view["Layers"]
    return (
        f"Total: {human_size(view['Size'], 3)} in {len(layers)} layer{'s' * (len(layers) != 1)}, "
        f"{human_size(view['WastedBytes'], 3)} wasted (efficiency {view['Efficiency']:.1%})"
    )


def tree(views: Iterable[View], width: int = 60) -> str:
    """``images --tree``: each image and its layers beneath it."""
    parts = []
    for view in views:
        names = ", ".join(map(one_line, view["RepoTags"] or ["<none>"]))
        wasted = f"  {human_size(view['WastedBytes'], 3)} wasted" if view["WastedBytes"] else ""
        parts.append(f"{names}  {short_id(view['Id'])}  {human_size(view['Size'], 3)}{wasted}")
        rows = columns([_tree_cells(layer, width) for layer in view["Layers"]], 0, 2).splitlines()
        marks = ["├──"] * (len(rows) - 1) + ["└──"]
        parts += [f"{mark} {row}" for mark, row in zip(marks, rows, strict=False)]
    return "".join(f"{part}\n" for part in parts)


def _tree_cells(layer: View, width: int) -> Sequence[str]:
    counts = f"+{layer['Added']} ~{layer['Changed']} −{layer['Removed']}"
    wasted = f"{human_size(layer['WastedBytes'], 3)} wasted" if layer["WastedBytes"] else ""
    shown = ellipsis(command(layer), width)
    return (short_id(layer["DiffId"]), human_size(layer["Size"], 3), counts, wasted, shown)


# --- HTML ---

_LINE = "border-top:1px solid var(--jp-border-color2, currentColor);padding:.2em 0"
_DIM = "opacity:.7"
_CODE = "font-family:var(--jp-code-font-family, monospace);white-space:pre-wrap;word-break:break-word"


def html(view: View) -> str:
    """The view as HTML: a line for each layer, its files folded beneath it where the JSON has them."""
    names = ", ".join(_safe(name) for name in view["RepoTags"] or ["<none>"])
    most = max([layer["Size"] for layer in view["Layers"]], default=0) or 1
    layers = "".join(_html_layer(layer, most) for layer in view["Layers"])
    return (
        f"<div class='jc-layers'><div><b>{names}</b> <code>{_safe(short_id(view['Id']))}</code></div>"
        f"{layers}<div style='{_LINE}'>{_safe(_total(view))}</div></div>"
    )


def _html_layer(layer: View, most: int) -> str:
    head = (
        f"<code>{layer['Layer']}</code> {_bar(layer, most)} <b>{_safe(human_size(layer['Size'], 3))}</b> "
        f"<span style='{_DIM}'>+{layer['Added']} ~{layer['Changed']} −{layer['Removed']}"
        f"{_wasted(layer)}</span> <span style='{_CODE}'>{_safe(command(layer))}</span>"
    )
    files = layer.get("Files") or ()
    if not files:
        return f"<div style='{_LINE}'>{head}</div>"
    body = _html_folder(_nested(files[:MOST_FILES]), 1)
    if len(files) > MOST_FILES:
        body += f"<div style='{_DIM}'>… and {len(files) - MOST_FILES} more</div>"
    return f"<details style='{_LINE}'><summary>{head}</summary>{body}</details>"


def _wasted(layer: View) -> str:
    if not layer["WastedBytes"]:
        return ""
    colour = "color:var(--jp-warn-color1, currentColor)"
    return f" · <span style='{colour}'>{_safe(human_size(layer['WastedBytes'], 3))} wasted</span>"


def _bar(layer: View, most: int) -> str:
    """The layer's share of the largest one, and of it what is wasted."""
    whole = round(100 * layer["Size"] / most)
    wasted = round(100 * layer["WastedBytes"] / layer["Size"]) if layer["Size"] else 0
    return (
        "<span style='display:inline-block;width:6em;height:.7em;border:1px solid currentColor;opacity:.8'"
        f" role='img' aria-label='{whole}% of the largest layer, {wasted}% of it wasted'>"
        f"<span style='display:block;width:{whole}%;height:100%;background:var(--jp-brand-color1, currentColor)'>"
        f"<span style='display:block;width:{wasted}%;height:100%;background:var(--jp-warn-color1, currentColor)'>"
        "</span></span></span>"
    )


Nested = dict[str, "Nested | View"]


def _nested(files: Iterable[View]) -> Nested:
    """Files by folder; what is a folder as a whole (new, removed) is a leaf of that name and a slash."""
    top: Nested = {}
    for row in files:
        path = str(row["Path"])
        *folders, name = path.removesuffix("/").split("/")
        here = top
        for folder in folders:
            below = here.setdefault(f"{folder}/", {})
            if "Kind" in below:  # listed itself; what is in it goes beneath
                below = here[f"{folder}/"] = {"": below}
            here = below  # type: ignore[assignment]
        key = f"{name}/" if path.endswith("/") else name
        if key in here and "Kind" not in here[key]:
            here[key][""] = row  # type: ignore[index]
        else:
            here[key] = row
    return top


def _html_folder(nested: Nested, depth: int) -> str:
    """Folders fold; beyond some depth a path is shown as one, so that a hostile tree can't exhaust the page or us."""
    parts = []
    for name, inner in nested.items():
        if name == "":
            continue
        if "Kind" in inner:
            parts.append(f"<div style='padding-left:1.2em;{_CODE}'>{_html_file(name, inner)}</div>")
        elif depth > 40:
            parts.append(f"<div style='padding-left:1.2em;{_DIM}'>{_safe(name)}…</div>")
        else:
            own = inner.get("")
            label = _html_file(name, own) if own else _safe(name)
            body = _html_folder(inner, depth + 1)  # type: ignore[arg-type]
            summary = f"<summary style='{_CODE}'>{label}</summary>"
            parts.append(f"<details style='padding-left:1.2em' open>{summary}{body}</details>")
    return "".join(parts)


def _html_file(name: str, row: Any) -> str:
    kind = str(row["Kind"])
    size = f" <span style='{_DIM}'>{_safe(_file_cells(row)[1])}</span>" if row["Count"] else ""
    return f"<span title='{_WORDS.get(kind, '')}'>{_SIGNS.get(kind, '?')}</span> {_safe(name)}{size}"


def _safe(text: object) -> str:
    return escape(one_line(str(text)).encode("utf-8", "backslashreplace").decode(), quote=True)


def forest(views: Sequence[View]) -> str:
    """``images --tree`` as HTML."""
    return "".join(html(view) for view in views)


@dataclass(frozen=True, repr=False)
class Tree(Text):
    """``images --tree``: *views* of several images."""

    text: str = ""
    views: Sequence[View] = ()

    def __post_init__(self) -> None:
        """Write the views out."""
        object.__setattr__(self, "text", self.text or tree(self.views))

    def _repr_html_(self) -> str:
        return forest(self.views)
