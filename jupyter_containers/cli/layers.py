"""``layers`` and ``images --tree``: what is in an image, layer by layer. Ours; docker has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import ContainersError
from jupyter_containers.options import Flag
from jupyter_containers.text.layers import Layers, Tree
from jupyter_containers.text.result import Json, Text

from .common import INSPECT_FORMAT, JSON, form
from .inspection import filled, parsed
from .verb import Args, Spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine import Engine

    from .out import Out


def layers(engine: Engine, args: Args, out: Out) -> int:
    """The layers of one image: size, command, files added, changed and removed, wasted bytes."""
    wanted, files = form(args), bool(args.files)
    view = engine.images.get(args.words[0]).layers(files=files or (out.notebook and not wanted))
    if wanted == "json":
        from jupyter_containers.text.template.values import to_json

        out.show(Json(to_json(view) + "\n", view))
    elif wanted:
        out.show(Text(filled(parsed(wanted), view) + "\n"))
    else:
        out.show(Layers(view=view, files=files))
    return 0


def show_tree(found: Sequence[Any], out: Out) -> None:
    """``images --tree`` of these images; the host has no layers, and one that is damaged is named instead."""
    views = []
    for image in found:
        try:
            views += [] if image.is_host else [image.layers()]
        except ContainersError as error:
            out.warn(f"Error: {error}")
    out.show(Tree(views=views))


SPECS = {
    "layers": Spec(
        layers,
        (
            Flag("files", "", "", "files", "List the files that each layer adds, changes and removes"),
            INSPECT_FORMAT,
            JSON,
        ),
        1,
        1,
    )
}
