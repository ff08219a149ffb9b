"""The caller's arrays, in place: which ones the library can use without a copy.

Nothing is copied. An array that cannot be used as it is is refused, and the message says what to do.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np

from . import _c

# Types of elements, in the byte order of the machine. numpy has no bfloat16: it is uint16, or a type of the package
# ml_dtypes, which is recognised by its name.
_TYPES = {np.dtype("f4"): _c.LW_F32, np.dtype("u2"): _c.LW_BF16, np.dtype("f2"): _c.LW_F16}
F32 = (_c.LW_F32,)
ANY = (_c.LW_F32, _c.LW_BF16, _c.LW_F16)
_NAMES = {_c.LW_F32: "float32", _c.LW_BF16: "bfloat16 (or its bits as uint16)", _c.LW_F16: "float16"}


class Layout(NamedTuple):
    """The shape of an array, and its strides in elements: equal layouts mean the same memory order."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]


    @property
    def is_c(self) -> bool:
        """Whether this is C order."""
        return self.strides == _c_strides(self.shape)


class Taken(NamedTuple):
    """An array that the library can use."""

    view: np.ndarray  # of the same memory, which it keeps alive
    data: int  # its address
    type: int  # LW_F32, LW_BF16 or LW_F16
    layout: Layout


def take(x: Any, name: str, types: tuple[int, ...] = ANY, *, written: bool = False) -> Taken:
    """An array as the library sees it, or a refusal that uses this name."""
    view = x if isinstance(x, np.ndarray) else _view(x, name)
    type_ = _TYPES.get(view.dtype, _c.LW_BF16 if view.dtype.name == "bfloat16" else None)
    if type_ not in types:
        wanted = ", ".join(_NAMES[type_] for type_ in types)
        raise TypeError(f"{name} must have elements of {wanted}, not {view.dtype}: convert it once, by .astype(..)")
    if written and not view.flags.writeable:
        hint = "an array that owns its memory" if isinstance(x, np.ndarray) else ".detach().numpy() of a torch tensor"
        # (Before 2.1, numpy treats all DLPack arrays as read-only.)
        raise ValueError(f"{name} would be written, and is read-only: pass {hint}")
    layout = layout_of(view)
    if layout is None:
        raise ValueError(
            f"{name} does not lie in one piece (shape {view.shape}, strides {view.strides}): "
            f"pass numpy.ascontiguousarray(..), and write the result back if it is {'written' if written else 'needed'}"
        )
    return Taken(view, view.__array_interface__["data"][0], type_, layout)


def take_usual(x: Any, types: tuple[int, ...], shape: tuple[int, ...], *, written: bool) -> tuple[int, int] | None:
    """The address and type of the usual array: numpy's, in C order. None if it needs :func:`take`."""
    if type(x) is not np.ndarray or x.shape != shape:
        return None
    flags, type_ = x.flags, _TYPES.get(x.dtype)
    if type_ not in types or not flags.c_contiguous or (written and not flags.writeable):
        return None
    return x.__array_interface__["data"][0], type_


def _view(x: Any, name: str) -> np.ndarray:
    """A numpy array on the memory of another object."""
    is_neg = getattr(x, "is_neg", None)
    if is_neg is not None and is_neg():
        raise TypeError(f"{name} is a torch tensor with the opposite signs in memory: pass .resolve_neg()")
    try:
        if hasattr(x, "__dlpack__"):
            return np.from_dlpack(x)
        return np.asarray(memoryview(x))
    except (BufferError, RuntimeError) as error:
        raise TypeError(
            f"{name} cannot be seen in place ({error}): of a torch tensor pass .detach(), and if it is bfloat16 "
            f".detach().view(torch.uint16)"
        ) from error
    except TypeError:
        raise TypeError(
            f"{name} must be an array (numpy, DLPack on the CPU, or the buffer protocol), not {type(x).__name__}"
        ) from None


def layout_of(view: np.ndarray) -> Layout | None:
    """The layout of a dense array: its elements fill one block of memory, in any order of its dimensions."""
    shape, size = view.shape, view.itemsize
    if view.flags.c_contiguous:
        # Strides of dimensions of length 1 mean nothing.
        return Layout(shape, _c_strides(shape))
    strides = tuple(stride // size if length > 1 else 0 for stride, length in zip(view.strides, shape))
    return Layout(shape, strides) if is_dense(strides, shape) else None


def is_dense(strides: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether the elements fill one block of memory, in any order of the dimensions. Strides are in elements."""
    expected = 1
    for stride, length in sorted(zip(strides, shape)):
        if length > 1:
            if stride != expected:
                return False
            expected *= length
    return True


def _c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step if length > 1 else 0)
        step *= length
    return tuple(reversed(strides))


def same_layout(found: Layout, wanted: Layout, name: str, other: str) -> None:
    """Refuses an array whose memory order differs from that of another one."""
    if found.shape != wanted.shape:
        raise ValueError(f"{name} has shape {found.shape}, and {other} {wanted.shape}: pass .reshape(..)")
    if found.strides != wanted.strides:
        raise ValueError(
            f"{name} lies in another order than {other} (strides {found.strides} and {wanted.strides} elements): "
            f"make a copy in its order, such as numpy.asfortranarray(..)"
        )


def zeros_like(layout: Layout, dtype: Any) -> np.ndarray:
    """Zeros with this layout."""
    order = sorted(range(len(layout.shape)), key=lambda i: (-layout.strides[i], i))
    dense = np.zeros([layout.shape[i] for i in order], dtype)
    return dense.transpose(np.argsort(order)) if order else dense
