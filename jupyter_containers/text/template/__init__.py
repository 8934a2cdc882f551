"""Go's text/template, as much of it as ``docker --format`` is used with; docker's functions and error texts.

``Template(text).render(data)``: actions, pipelines, variables, ``if``/``else``, ``range``, ``with``, ``break``,
``continue``, comments, trim marks, Go's functions and docker's (``json join split upper lower title pad truncate``).
Data are JSON values, and :class:`Fields` for the rows of tables. Left out: ``define``, ``template``, ``block``.

Source: pkg.go.dev/text/template and docker/cli ``templates``. Not here: tables (``formatting``).
"""

from .errors import TemplateError
from .execute import Template
from .values import Fields

__all__ = ["Fields", "Template", "TemplateError"]
