"""Norms of arrays, and sums of gradients."""

from __future__ import annotations

import ctypes
from typing import Any

from . import _c
from ._library import call, library
from .arrays import F32, Taken, same_layout, take


def sum_of_squares(x: Any) -> float:
    """The sum of the squares of an array. It does not overflow; if there is a NaN, it is NaN."""
    return _norm(library.lw_sum_of_squares, x)


def l2_norm(x: Any) -> float:
    """The L2 norm of an array."""
    return _norm(library.lw_l2_norm, x)


def max_norm(x: Any) -> float:
    """The largest magnitude in an array."""
    return _norm(library.lw_max_norm, x)


def accumulate(sum: Any, gradients: Any, scale: float = 1.0, *, finite_only: bool = False) -> float | None:
    """Adds ``scale`` times the gradients of a micro-batch to ``sum``, an array of float32.

    Returns the sum of squares of the new sum. With ``finite_only``, gradients with a NaN or an infinity are not added,
    and it returns None."""
    to, of = take(sum, "sum", F32, written=True), take(gradients, "gradients")
    same_layout(of.layout, to.layout, "gradients", "sum")
    squares = ctypes.c_double()
    status = call(
        library.lw_accumulate,
        _c.lw_array(to.data, to.type),
        _c.lw_const_array(of.data, of.type),
        to.view.size,
        scale,
        bool(finite_only),
        ctypes.byref(squares),
    )
    return None if status == _c.LW_NON_FINITE else squares.value


def _norm(function: Any, x: Any) -> float:
    taken: Taken = take(x, "the array")
    result = ctypes.c_double()
    call(function, _c.lw_const_array(taken.data, taken.type), taken.view.size, ctypes.byref(result))
    return result.value
