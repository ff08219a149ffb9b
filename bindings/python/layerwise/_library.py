"""Finds and loads the shared library, and turns its refusals into exceptions."""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import os
import sys
from pathlib import Path
from typing import Any

from . import _c

_HERE = Path(__file__).resolve().parent
_NAME = {"win32": "layerwise.dll", "darwin": "liblayerwise.dylib"}.get(sys.platform, "liblayerwise.so")


class Error(ValueError):
    """A call that the library refused. Nothing was written.

    The message is the library's. ``status`` is its number, such as ``LW_BAD_SETTING`` of ``layerwise.h``. ``what`` is
    the setting or argument, ``value`` the refused number, ``layer`` the index of the layer; each is None if it does not
    apply.
    """

    def __init__(self, text: str, status: int, what: str | None, value: float | None, layer: int | None):
        super().__init__(text)
        self.status, self.what, self.value, self.layer = status, what, value, layer

    def __reduce__(self) -> tuple[Any, ...]:
        return Error, (self.args[0], self.status, self.what, self.value, self.layer)


Error.__module__ = "layerwise"


def refusal(error: _c.lw_error) -> Error:
    """The exception for a refusal."""
    value = None if math.isnan(error.value) else error.value
    layer = None if error.layer == _c.LW_NO_LAYER else error.layer
    text = error.text.decode(errors="replace")
    # The text has everything but the value.
    text = text if value is None else f"{text} ({value:g} was given)"
    return Error(text, error.status, error.what.decode() or None, value, layer)


def call(function: Any, *arguments: Any) -> int:
    """Calls a function whose last argument is an ``lw_error``; returns its status unless it is a refusal."""
    error = _c.lw_error()
    status: int = function(*arguments, ctypes.byref(error))
    if status < 0:
        raise refusal(error)
    return status


def _candidates() -> list[str]:
    """Where the library may be, in search order."""
    named = os.environ.get("LAYERWISE_LIBRARY")
    if named:
        return [named]
    built = _HERE.parent.parent / "c" / "target" / "release" / _NAME
    files = [str(path) for path in (_HERE / _NAME, built) if path.exists()]
    system = ctypes.util.find_library("layerwise")
    return files + ([system] if system else [])


def _load() -> ctypes.CDLL:
    candidates = _candidates()
    if not candidates:
        raise ImportError(
            f"layerwise: the library {_NAME} was not found. Build it with `cargo build --release --features std` in "
            f"bindings/c, and copy it to {_HERE} or set the environment variable LAYERWISE_LIBRARY to its path"
        )
    try:
        library = ctypes.CDLL(candidates[0])
        library.lw_abi_version.restype = ctypes.c_uint32
        version = library.lw_abi_version()
    except (OSError, AttributeError) as error:
        raise ImportError(f"layerwise: {candidates[0]} is not the library of layerwise: {error}") from error
    if version != _c.LW_ABI_VERSION:
        raise ImportError(
            f"layerwise: {candidates[0]} has version {version} of the C interface, and this module needs version "
            f"{_c.LW_ABI_VERSION}: take both from the same commit"
        )
    for name, (result, arguments) in _c.FUNCTIONS.items():
        function = getattr(library, name, None)  # builds without `std` have no recipes
        if function is not None:
            function.restype, function.argtypes = result, arguments
    return library


library = _load()
