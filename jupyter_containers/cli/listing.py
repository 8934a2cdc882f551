"""``ps``, ``images``, ``history``, ``top``, ``port``: tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import InvalidArgument, NotFound
from jupyter_containers.options import Flag
from jupyter_containers.text import containers as container_text
from jupyter_containers.text import filters
from jupyter_containers.text import images as image_text
from jupyter_containers.text.result import Table, Text
from jupyter_containers.text.table import columns

from .common import FILTER, FORMAT, JSON, NO_TRUNC, form
from .verb import Args, Spec

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.containers import Container

    from .out import Out


def ps(engine: Engine, args: Args, out: Out) -> int:
    """``docker ps``."""
    wanted = filters.parse(args.get("filter", ()), filters.CONTAINER_KEYS)
    last = 1 if args.latest else args.get("last", -1)
    every = bool(args.all) or last > 0 or filters.implies_all(wanted)
    found = list(engine.containers.list(all=True))
    shown = filters.containers([_Snapshot(container) for container in found], wanted)
    shown = container_text.newest_first([one for one in shown if every or one.attrs["State"].get("Running")])
    if last > 0:
        shown = shown[:last]
    _warn_of_both(args, out)
    now, no_trunc = time.time(), bool(args.no_trunc)
    sizes = _Sizes(engine)
    rows = [container_text.row(one.attrs, now, no_trunc, sizes.of(one.attrs)) for one in shown]
    out.show(container_text.listing(bool(args.size)).show(rows, form(args), bool(args.quiet)))
    return 0


class _Snapshot:
    """A container's JSON, read once."""

    def __init__(self, container: Container) -> None:
        self.attrs = container.attrs


class _Sizes:
    """The SIZE cells, worked out only when one is asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._found: tuple[dict[str, int], dict[str, int]] | None = None

    def of(self, attrs: Mapping[str, Any]) -> Callable[[], str]:
        """The cell of one container."""

        def cell() -> str:
            written, images = self._measured()
            own = written.get(attrs["Id"], 0)
            whole = images.get(str(attrs.get("Image")), 0)
            return container_text.size_cell(own, own + whole if whole else 0)

        return cell

    def _measured(self) -> tuple[dict[str, int], dict[str, int]]:
        if self._found is None:
            report = self._engine.df()
            written = {one["Id"]: int(one.get("SizeRw") or 0) for one in report["Containers"]}
            self._found = written, {one["Id"]: int(one.get("Size") or 0) for one in report["Images"]}
        return self._found


def _warn_of_both(args: Args, out: Out) -> None:
    if args.quiet and args.format and not str(args.format).startswith("table"):
        out.warn("WARNING: Ignoring custom format, because both --format and --quiet are set.")


def images(engine: Engine, args: Args, out: Out) -> int:
    """``docker images``."""
    wanted = filters.parse(args.get("filter", ()), filters.IMAGE_KEYS)
    if args.words:
        wanted.setdefault("reference", []).append(args.words[0])
    found = image_text.newest_first(filters.images(list(engine.images.list()), wanted))
    if args.tree:
        from .layers import show_tree

        show_tree(found, out)
        return 0
    _warn_of_both(args, out)
    digests, now = bool(args.digests), time.time()
    rows = []
    for image in found:
        attrs = _only_named(image.attrs, wanted.get("reference", []))
        rows += image_text.rows(attrs, now, bool(args.no_trunc), digests)
    out.show(image_text.listing(digests).show(rows, form(args), bool(args.quiet)))
    return 0


def _only_named(attrs: dict[str, Any], patterns: list[str]) -> dict[str, Any]:
    """The image with those of its tags only that were asked for."""
    if not patterns:
        return attrs
    tags = [tag for pattern in patterns for tag in filters.matching_tags(attrs, pattern)]
    return {**attrs, "RepoTags": list(dict.fromkeys(tags)), "RepoDigests": []}


def history(engine: Engine, args: Args, out: Out) -> int:
    """``docker history``."""
    entries = engine.images.get(args.words[0]).history()
    human, now = bool(args.get("human", True)), time.time()
    rows = [image_text.history_row(entry, now, bool(args.no_trunc), human) for entry in entries]
    out.show(image_text.history_listing(human).show(rows, form(args), bool(args.quiet)))
    return 0


def top(engine: Engine, args: Args, out: Out) -> int:
    """``docker top``."""
    name, *options = args.words
    if options:
        raise InvalidArgument("options of ps are not taken here", mend="Write the container's name only.")
    found = engine.containers.get(name).top()
    titles, rows = found["Titles"], [[str(cell) for cell in row] for row in found["Processes"]]
    out.show(Table(columns([titles, *rows], minimum=20), titles, rows))
    return 0


def port(engine: Engine, args: Args, out: Out) -> int:
    """``docker port``."""
    from jupyter_containers.text.ports import port_lines

    container = engine.containers.get(args.words[0])
    ports = container.attrs["NetworkSettings"].get("Ports") or {}
    lines = port_lines(ports)
    if len(args.words) > 1:
        wanted = args.words[1] if "/" in args.words[1] else f"{args.words[1]}/tcp"
        lines = [line.partition(" -> ")[2] for line in lines if line.startswith(f"{wanted} -> ")]
        if not lines:
            raise NotFound(f"No public port '{args.words[1]}' published for {args.words[0]}")
    out.show(Text("".join(f"{line}\n" for line in lines)))
    return 0


SPECS = {
    "ps": Spec(
        ps,
        (
            Flag("all", "a", "", "all", "Show all containers (default shows just running)"),
            FILTER,
            FORMAT,
            JSON,
            Flag("last", "n", "int", "last", "Show n last created containers (includes all states) (default -1)"),
            Flag("latest", "l", "", "latest", "Show the latest created container (includes all states)"),
            NO_TRUNC,
            Flag("quiet", "q", "", "quiet", "Only display container IDs"),
            Flag("size", "s", "", "size", "Display total file sizes"),
        ),
    ),
    "images": Spec(
        images,
        (
            Flag("all", "a", "", "all", "Show all images (default hides intermediate images)"),
            Flag("digests", "", "", "digests", "Show digests"),
            FILTER,
            FORMAT,
            JSON,
            NO_TRUNC,
            Flag("quiet", "q", "", "quiet", "Only show image IDs"),
            Flag("tree", "", "", "tree", "List each image with its layers"),
        ),
        0,
        1,
    ),
    "history": Spec(
        history,
        (
            FORMAT,
            Flag("human", "H", "", "human", "Print sizes and dates in human readable format (default true)"),
            JSON,
            NO_TRUNC,
            Flag("quiet", "q", "", "quiet", "Only show image IDs"),
        ),
        1,
        1,
    ),
    "top": Spec(top, (), 1, None, interspersed=False),
    "port": Spec(port, (), 1, 2),
}
