"""``inspect``: the JSON of containers and images, or what a template takes from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import ContainersError, InvalidArgument, NotFound
from jupyter_containers.options import Flag
from jupyter_containers.text.result import Json, Text
from jupyter_containers.text.template import Template, TemplateError
from jupyter_containers.text.template.values import to_json

from .common import INSPECT_FORMAT, JSON, form
from .verb import Args, Spec

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine

    from .out import Out

_TYPES = ("container", "image")


class BadTemplate(InvalidArgument):
    """A ``--format`` that cannot be used; docker's exit code for it is 64."""

    exit_code = 64


def inspect(engine: Engine, args: Args, out: Out) -> int:
    """``docker inspect``: containers first, then images."""
    kind = args.get("type", "")
    if kind and kind not in _TYPES:
        raise InvalidArgument(f'"{kind}" is not a valid value for --type', mend="Write container or image.")
    return _inspect(engine, args, out, (kind,) if kind else _TYPES)


def inspect_containers(engine: Engine, args: Args, out: Out) -> int:
    """``docker container inspect``."""
    return _inspect(engine, args, out, ("container",))


def inspect_images(engine: Engine, args: Args, out: Out) -> int:
    """``docker image inspect``."""
    return _inspect(engine, args, out, ("image",))


def _inspect(engine: Engine, args: Args, out: Out, kinds: tuple[str, ...]) -> int:
    wanted = form(args)
    template = parsed(wanted) if wanted not in ("", "json") else None
    found: list[Any] = []
    failures: list[ContainersError] = []
    for word in args.words:
        try:
            found.append(_find(engine, word, kinds, bool(args.size)))
        except NotFound as error:
            failures.append(error)
    if found or not failures or not out.notebook:
        out.show(_shown(found, wanted, template))
    for failure in failures[:-1]:
        out.warn(f"Error: {failure}")
    if failures:
        raise failures[-1]
    return 0


def _find(engine: Engine, word: str, kinds: tuple[str, ...], size: bool) -> dict[str, Any]:
    mend = ""
    for kind in kinds:
        try:
            if kind == "image":
                return engine.images.get(word).attrs
            attrs = engine.containers.get(word).attrs
            return attrs | _sizes(engine, attrs) if size else attrs
        except NotFound as error:
            mend = error.mend or mend
    what = "object" if len(kinds) > 1 else kinds[0]
    raise NotFound(f"No such {what}: {word}", mend=mend)


def _sizes(engine: Engine, attrs: dict[str, Any]) -> dict[str, int]:
    report = engine.df()
    own = next((int(one.get("SizeRw") or 0) for one in report["Containers"] if one["Id"] == attrs["Id"]), 0)
    image = next((int(one.get("Size") or 0) for one in report["Images"] if one["Id"] == attrs.get("Image")), 0)
    return {"SizeRw": own, "SizeRootFs": own + image}


def parsed(text: str) -> Template:
    """*text* as a template."""
    try:
        return Template(text)
    except TemplateError as error:
        raise BadTemplate(f"template parsing error: {error.what}", mend=error.mend) from None


def _shown(found: list[Any], wanted: str, template: Template | None) -> Text:
    if wanted == "json":
        return Json(to_json(found) + "\n", found)
    if template is None:
        return Json(data=found)
    return Text("".join(filled(template, one) + "\n" for one in found))


def filled(template: Template, data: Any) -> str:
    """*template* with *data*."""
    try:
        return template.render(data)
    except TemplateError as error:
        raise BadTemplate(f"template parsing error: {error.what}", mend=error.mend) from None


_SIZE = Flag("size", "s", "", "size", "Display total file sizes if the type is container")
_TYPE = Flag("type", "", "string", "type", "Only inspect objects of the given type")

SPECS = {
    "inspect": Spec(inspect, (INSPECT_FORMAT, JSON, _SIZE, _TYPE), 1, None),
    "container inspect": Spec(
        inspect_containers, (INSPECT_FORMAT, JSON, Flag("size", "s", "", "size", "Display total file sizes")), 1, None
    ),
    "image inspect": Spec(inspect_images, (INSPECT_FORMAT, JSON), 1, None),
}
