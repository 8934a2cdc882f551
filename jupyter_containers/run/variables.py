"""``--in`` and ``--out``: values into a cell and back, as data. Nothing is ever unpickled (SPEC §7).

Inside, values lie as files under ``/run/cell/in``; what comes back is written under ``/run/cell/out``. A Python cell
sees them as variables of the same names: a few lines run before its body and after it. Other interpreters read the
files.

======================  ==========  ==================
value                   file        as
======================  ==========  ==================
JSON data               NAME.json   JSON
bytes                   NAME.bin    as they are
NumPy array             NAME.npy    ``numpy.save`` without pickle
======================  ==========  ==================
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_containers.errors import InvalidArgument, NotFound, suggest
from jupyter_containers.run.interpreter import SCRIPT

IN, OUT = "/run/cell/in", "/run/cell/out"
_MOST_BYTES = 1 << 30
_WRAPPER = "/run/cell/wrapper"
_PYTHON = ("python", "pypy", "ipython")

# Runs inside the container, under whatever Python is there: standard library only, NumPy where a value needs it.
_CODE = """\
import json as _json, os as _os, sys as _sys
def _load(path):
    if path.endswith(".json"):
        with open(path, encoding="utf-8") as f: return _json.load(f)
    if path.endswith(".bin"):
        with open(path, "rb") as f: return f.read()
    import numpy; return numpy.load(path, allow_pickle=False)
def _save(name, value):
    path = _os.path.join("/run/cell/out", name)
    if isinstance(value, (bytes, bytearray)):
        with open(path + ".bin", "wb") as f: f.write(value)
    elif type(value).__module__ == "numpy" and hasattr(value, "shape"):
        import numpy; numpy.save(path + ".npy", value, allow_pickle=False)
    else:
        text = _json.dumps(value)
        with open(path + ".json", "w", encoding="utf-8") as f: f.write(text)
_scope = {"__name__": "__main__", "__file__": "/run/cell/script"}
if _os.path.isdir("/run/cell/in"):
    for _file in _os.listdir("/run/cell/in"): _scope[_file.rpartition(".")[0]] = _load("/run/cell/in/" + _file)
_sys.argv = ["/run/cell/script"] + _sys.argv[1:]
with open("/run/cell/script", "rb") as _f: _code = compile(_f.read(), "/run/cell/script", "exec")
exec(_code, _scope)
for _name in OUT_NAMES:
    if _name not in _scope: _sys.exit("--out: the cell has no variable " + repr(_name))
    try: _save(_name, _scope[_name])
    except (TypeError, ValueError) as _error: _sys.exit("--out: " + repr(_name) + " is not data: " + str(_error))
"""


class Passing:
    """The values of one cell.

    Args:
        names_in, names_out: of variables. namespace: the kernel's. language: of the interpreter.

    Raises:
        NotFound: there is no such variable. InvalidArgument: it can't be sent as data.
    """

    def __init__(
        self, names_in: Sequence[str], names_out: Sequence[str], namespace: Mapping[str, Any], language: str
    ) -> None:
        self._out, self._python = tuple(names_out), language in _PYTHON
        for name in names_in:
            if name not in namespace:
                raise NotFound(f"--in {name}: there is no such variable", mend=suggest(name, namespace))
        self._in = dict(_encoded(name, namespace[name]) for name in names_in)
        self._folder = Path(tempfile.mkdtemp(prefix="jupyter-containers-")) if names_out else None

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Path inside -> content and mode."""
        found = {f"{IN}/{name}": (content, 0o644) for name, content in self._in.items()}
        if self._python and (self._in or self._out):
            found[_WRAPPER] = (_CODE.replace("OUT_NAMES", repr(self._out)).encode(), 0o644)
        return found

    def writable(self) -> dict[str, Path]:
        """Path inside -> folder of the host that the cell may write into."""
        if self._folder is None:
            return {}
        self._folder.chmod(0o777)
        return {OUT: self._folder}

    def wrap(self, args: Sequence[str]) -> list[str]:
        """The command line, for Python by way of the wrapper."""
        if self._python and (self._in or self._out):
            return [_WRAPPER if word == SCRIPT else word for word in args]
        return list(args)

    def collect(self) -> dict[str, Any]:
        """What came back, by name.

        Raises:
            NotFound: the cell wrote nothing for a name. InvalidArgument: it is not data.
        """
        return {name: self._decoded(name) for name in self._out}

    def close(self) -> None:
        """Remove the folder."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _decoded(self, name: str) -> Any:
        assert self._folder is not None
        for suffix, decode in _DECODERS.items():
            path = self._folder / f"{name}{suffix}"
            if path.is_symlink() or not path.is_file():
                continue
            if path.stat().st_size > _MOST_BYTES:
                raise InvalidArgument(f"--out {name}: more than {_MOST_BYTES >> 30} GiB")
            try:
                return decode(path.read_bytes())
            except (ValueError, EOFError) as error:
                raise InvalidArgument(f"--out {name}: {error}") from None
        plain = self._folder / name
        if plain.is_file() and not plain.is_symlink():
            return plain.read_text(errors="replace")
        mend = f"Write it to {OUT}/{name}.json (or .bin, .npy, or plain text without an ending)."
        raise NotFound(f"--out {name}: the cell gave nothing back", mend=mend)


def _encoded(name: str, value: Any) -> tuple[str, bytes]:
    if isinstance(value, (bytes, bytearray)):
        return f"{name}.bin", bytes(value)
    kind = type(value)
    if kind.__module__ == "numpy" and hasattr(value, "shape"):
        import numpy

        buffer = io.BytesIO()
        try:
            numpy.save(buffer, value, allow_pickle=False)
        except ValueError as error:
            raise InvalidArgument(
                f"--in {name}: {error}", mend="Only arrays of numbers and text can be sent."
            ) from None
        return f"{name}.npy", buffer.getvalue()
    try:
        return f"{name}.json", json.dumps(value).encode()
    except (TypeError, ValueError):
        mend = "JSON data, bytes, text and NumPy arrays can; of a data frame send `df.to_dict('list')`."
        raise InvalidArgument(f"--in {name}: a {kind.__name__} can't be sent as data", mend=mend) from None


def _decode_npy(data: bytes) -> Any:
    import numpy

    return numpy.load(io.BytesIO(data), allow_pickle=False)


_DECODERS: dict[str, Any] = {".json": json.loads, ".bin": bytes, ".npy": _decode_npy}
