"""The owner of everything that an optimizer remembers about a model, and its steps."""

from __future__ import annotations

import math
from operator import is_
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from . import _c
from .arrays import ANY, F32, Taken, same_layout, take, take_usual, zeros_like
from .optimizers import Optimizer
from .table import Summary, Table

# The configuration of a layer: (multiplier of the rate, of the decay, whether it is adapted, whether it is frozen).
DEFAULT = (1.0, 1.0, True, False)
#: Biases and normalisation scales: neither decayed nor adapted.
PLAIN = (1.0, 0.0, False, False)
FROZEN = (1.0, 1.0, True, True)

# Marks an array about which nothing is known.
_UNKNOWN: Any = object()


class Memory:
    """Moments, states and norms of a model's layers. The caller keeps the weights and gradients.

    ``weights`` are the arrays that will be updated; only their shapes, strides and types are used here. bfloat16
    weights are the upper halves of float32 weights, and the memory keeps the lower halves.

    ``configs`` has a tuple for each layer, such as :data:`PLAIN`, or is None. ``bf16_momentum`` keeps momentum in 16
    bits. ``carry_norms`` saves a pass if only steps change the weights; call :meth:`forget_norms` when something else
    does. ``copies`` are 16-bit arrays to which each step writes the new weights; with ``saturate``, weights beyond
    the range of a copy become its largest finite number there.

    Arrays of numpy and of the buffer protocol are checked only when they are new, and kept alive until others replace
    them: a step with the same arrays as before takes microseconds. Only one thread at a time may step a memory.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        weights: Sequence[Any],
        *,
        configs: Sequence[tuple[float, float, bool, bool]] | None = None,
        bf16_momentum: bool = False,
        carry_norms: bool = False,
        copies: Sequence[Any] | None = None,
        saturate: bool = False,
    ):
        taken = [take(w, f"weights[{i}]", (_c.LW_F32, _c.LW_BF16), written=True) for i, w in enumerate(weights)]
        count, moments = len(taken), optimizer.moments
        self._layouts = [array.layout for array in taken]
        self._weight_types = [(array.type,) for array in taken]
        self._gradient_types = [_c.LW_F32] * count
        self._is_c = [layout.is_c for layout in self._layouts]
        #: The momentum of each layer; empty where the rule keeps none. bfloat16 is uint16 here.
        self.momentum = self._zeros(moments >= 1, np.uint16 if bf16_momentum else np.float32)
        #: The moment of the squares of each layer; empty where the rule keeps none.
        self.second_moment = self._zeros(moments >= 2, np.float32)
        #: The lower halves of split weights, of layers whose weights are bfloat16; None for the others.
        self.lower = tuple(
            zeros_like(array.layout, np.uint16) if array.type == _c.LW_BF16 else None for array in taken
        )
        if copies is not None and len(copies) != count:
            raise ValueError(f"copies must be {count} arrays, one for each layer, not {len(copies)}")
        self._attached: list[Taken] = []  # the arrays whose addresses are in the table
        lengths = [math.prod(layout.shape) for layout in self._layouts]
        self._table = Table(lengths, saturate=saturate, carry_norms=carry_norms)
        for i in range(count):
            self._fill(i, copies[i] if copies is not None else None)
        #: What the last step did to each layer: an array of records.
        self.reports = self._table.reports
        #: What is particular about each layer, to be changed: an array of records.
        self.configs = self._table.configs
        if configs is not None:
            # (numpy would spread a single one over all layers, and a single number over a whole configuration.)
            if len(configs) != count or not all(isinstance(config, (tuple, np.void)) for config in configs):
                raise ValueError(f"configs must be {count} tuples, one for each layer, not {configs!r}")
            self.configs[:] = list(configs)
        #: What the rule remembers of each layer: rows of four numbers.
        self.states = self._table.states
        self._addresses = {"weights": self._table.weights, "gradients": self._table.gradients}
        self.release()

    def _fill(self, i: int, copy: Any) -> None:
        """Puts everything about a layer except its weights and gradients into the table."""
        layer = self._table.layers[i]
        (layer.weights.type,) = self._weight_types[i]
        if self.lower[i] is not None:
            layer.lower = self._attach(i, self.lower[i], "lower").data
        for to, array, name in (
            (layer.momentum, self.momentum[i] if self.momentum else None, "momentum"),
            (layer.second_moment, self.second_moment[i] if self.second_moment else None, "second_moment"),
            (layer.copy, copy, f"copies[{i}]"),
        ):
            if array is not None:
                taken = self._attach(i, array, name)
                to.data, to.type = taken.data, taken.type

    def _attach(self, i: int, array: Any, name: str) -> Taken:
        """Checks an array that is part of every step, and keeps it alive."""
        taken = take(array, name, written=True)
        same_layout(taken.layout, self._layouts[i], name, f"weights[{i}]")
        self._attached.append(taken)
        return taken

    def _zeros(self, kept: bool, dtype: Any) -> tuple[np.ndarray, ...]:
        return tuple(zeros_like(layout, dtype) for layout in self._layouts) if kept else ()

    def __len__(self) -> int:
        return len(self._layouts)

    def step(
        self,
        optimizer: Optimizer,
        lr: float,
        weights: Sequence[Any],
        gradients: Sequence[Any],
        gradient_scale: float = 1.0,
    ) -> Summary:
        """One step of all layers. Gradients are multiplied by ``gradient_scale``: 1, or one over the loss scale. A
        layer whose gradient is None is not updated.

        :class:`~layerwise.Error` says why a call was refused; then nothing was written."""
        if not _same(weights, self._seen["weights"]):
            self._renew("weights", weights)
        if not _same(gradients, self._seen["gradients"]):
            self._renew("gradients", gradients)
        return self._table.step(optimizer.address, lr, gradient_scale)

    def _renew(self, name: str, arrays: Sequence[Any]) -> None:
        """Checks arrays that differ from those of the previous step."""
        arrays = list(arrays)
        if len(arrays) != len(self):
            raise ValueError(f"{name} must be {len(self)} arrays, one for each layer, not {len(arrays)}")
        seen, kept, addresses = self._seen[name], self._kept[name], self._addresses[name]
        for i, array in enumerate(arrays):
            if array is seen[i]:
                continue
            if array is None and name == "gradients":
                addresses[i], kept[i], seen[i] = 0, None, None
                continue
            seen[i] = _UNKNOWN
            before = addresses[i]
            addresses[i], type_, kept[i] = self._look_at(name, i, array)
            if name == "weights" and addresses[i] != before:
                self._table.norms[i].weights = 0.0  # a carried norm is of the array before
            if name == "gradients" and type_ != self._gradient_types[i]:
                self._table.layers[i].gradients.type = self._gradient_types[i] = type_
            # The memory of a tensor may change under the same object, so it is checked in each step.
            if kept[i] is array or not hasattr(array, "__dlpack__"):
                seen[i] = array

    def _look_at(self, name: str, i: int, array: Any) -> tuple[int, int, Any]:
        """The address and type of an array, and what keeps it alive."""
        if self._is_c[i]:
            written = name == "weights"
            types = self._weight_types[i] if written else ANY
            usual = take_usual(array, types, self._layouts[i].shape, written=written)
            if usual is not None:
                return *usual, array
        taken = self._take(name, i, array)
        return taken.data, taken.type, taken.view

    def _take(self, name: str, i: int, array: Any) -> Taken:
        types = ANY if name == "gradients" else self._weight_types[i]
        taken = take(array, f"{name}[{i}]", types, written=name == "weights")
        same_layout(taken.layout, self._layouts[i], f"{name}[{i}]", "the memory")
        return taken

    def release(self) -> None:
        """Drops the weights and gradients of the last step."""
        for addresses in self._addresses.values():
            addresses[:] = 0
        self._seen: dict[str, list[Any]] = {name: [_UNKNOWN] * len(self) for name in self._addresses}
        self._kept: dict[str, list[Any]] = {name: [None] * len(self) for name in self._addresses}

    def forget_norms(self) -> None:
        """Makes carried norms unknown. Call it when something other than a step has changed weights."""
        self._table.forget_norms()

    @property
    def nbytes(self) -> int:
        """How many bytes are kept from step to step."""
        lower = [array for array in self.lower if array is not None]
        return self.states.nbytes + sum(array.nbytes for array in [*self.momentum, *self.second_moment, *lower])

    def split(self, layer: int, weights: np.ndarray, upper: Any) -> None:
        """Splits float32 weights: ``upper``, the bfloat16 tensor of the layer, gets the upper halves of their bits, and
        the memory keeps the lower ones."""
        lower = self._lower(layer)
        taken = self._take("weights", layer, upper)
        same_layout(take(weights, "the float32 weights", F32).layout, taken.layout, "the float32 weights", "upper")
        bits = weights.view(np.uint32)
        taken.view.view(np.uint16)[...] = bits >> 16
        lower[...] = bits & 0xFFFF
        self.forget_norms()

    def join(self, layer: int, upper: Any) -> np.ndarray:
        """The float32 weights of a layer whose tensor is ``upper``."""
        lower = self._lower(layer)
        view = self._take("weights", layer, upper).view.view(np.uint16)
        joined: np.ndarray = view.astype(np.uint32) << 16 | lower
        return joined.view(np.float32)

    def _lower(self, layer: int) -> np.ndarray:
        lower = self.lower[layer]
        if lower is None:
            raise ValueError(f"layer {layer} is not split: its weights are float32")
        return lower

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of everything that is remembered, for ``numpy.savez(path, **memory.state_dict())``. It does not
        include configurations, which the caller sets again, and norms, which are measured again."""
        saved = {"states": self.states.copy()}
        for name, array in self._named():
            saved[name] = array.copy()
        return saved

    def load_state_dict(self, saved: Mapping[str, np.ndarray]) -> None:
        """Loads the result of :meth:`state_dict`, or ``numpy.load(path)``: training resumes with the same bits. If
        something does not match, nothing is changed."""
        wanted = {"states": self.states, **dict(self._named())}
        if set(saved) != set(wanted):
            raise ValueError(f"what was saved differs in {', '.join(sorted(set(saved) ^ set(wanted)))}")
        arrays = {name: np.asarray(saved[name]) for name in wanted}
        for name, array in arrays.items():
            if array.shape != wanted[name].shape or array.dtype != wanted[name].dtype:
                raise ValueError(
                    f"{name} was saved with shape {array.shape} of {array.dtype}, and is {wanted[name].shape} of "
                    f"{wanted[name].dtype} here"
                )
        for name, array in arrays.items():
            wanted[name][...] = array
        self.forget_norms()

    def _named(self) -> Iterator[tuple[str, np.ndarray]]:
        for name in ("momentum", "second_moment", "lower"):
            for i, array in enumerate(getattr(self, name)):
                if array is not None:
                    yield f"{name}.{i}", array


def _same(arrays: Sequence[Any], seen: list[Any]) -> bool:
    return len(arrays) == len(seen) and all(map(is_, arrays, seen))
