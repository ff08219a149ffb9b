"""The array of layers that a step of the library takes, and the results.

It is built once. Later steps only write addresses that have changed: filling it field by field through ctypes would
take longer than the step of a small model.
"""

from __future__ import annotations

import ctypes
import enum
from typing import Any, NamedTuple, Sequence

import numpy as np

from . import _c
from ._library import library, refusal


def _record(struct: type[ctypes.Structure], **formats: str) -> np.dtype:
    """A structure as a numpy record, without the reserved bytes."""
    return np.dtype(
        {
            "names": list(formats),
            "formats": list(formats.values()),
            "offsets": [getattr(struct, name).offset for name in formats],
            "itemsize": ctypes.sizeof(struct),
        }
    )


CONFIG = _record(_c.lw_layer_config, rate="f8", decay="f8", adapt="?", frozen="?")
REPORT = _record(
    _c.lw_report, gradient_norm="f8", weight_norm="f8", factor="f8", effective_rate="f8", clipped="?", outcome="u1"
)


class Outcome(enum.IntEnum):
    """The outcome of a step for a layer."""

    APPLIED = _c.LW_APPLIED
    OVERFLOWED = _c.LW_OVERFLOWED  # updated, but a new weight is not finite
    NON_FINITE = _c.LW_NON_FINITE  # not updated: a NaN or an infinity
    OUT_OF_RANGE = _c.LW_OUT_OF_RANGE  # not updated: the step overflows float32
    FROZEN = _c.LW_FROZEN  # left as it was
    ABSENT = _c.LW_ABSENT  # not updated: it had no gradients
    STEP_SKIPPED = _c.LW_STEP_SKIPPED  # not updated: another layer could not be updated


_OUTCOMES = tuple(Outcome)


class Summary(NamedTuple):
    """What a step did. Stop if ``overflowed`` is not 0, and if ``skipped`` is not 0 in 20 steps in a row."""

    outcome: Outcome  #: APPLIED, or the outcome of the first layer that was skipped or overflowed
    applied: int  #: how many layers were updated
    skipped: int  #: how many could not be
    overflowed: int  #: how many were updated, and have a weight that is not finite now
    gradient_norm: float  #: of the whole model, before clipping
    clip: float  #: what gradients were multiplied by to clip them


class Table:
    """Layers, their configurations, norms and reports. The code that fills it keeps the arrays alive."""

    def __init__(self, lengths: Sequence[int], *, saturate: bool = False, carry_norms: bool = False):
        count = len(lengths)
        self.layers = (_c.lw_layer * max(count, 1))()
        self.norms = (_c.lw_norms * count)()
        self._reports = (_c.lw_report * count)()
        self._configs = (_c.lw_layer_config * count)()
        self._summary, self._error = _c.lw_summary(), _c.lw_error()
        reports: Any = self._reports
        configs: Any = self._configs
        layers: Any = self.layers
        self.reports = np.ndarray(count, REPORT, reports)
        self.configs = np.ndarray(count, CONFIG, configs)
        size, struct = ctypes.sizeof(_c.lw_layer), _c.lw_layer
        self.states = np.ndarray((count, 4), np.float64, layers, struct.state.offset, (size, 8))
        # Columns of addresses.
        self.weights = np.ndarray(count, np.uintp, layers, struct.weights.offset, size)
        self.gradients = np.ndarray(count, np.uintp, layers, struct.gradients.offset, size)
        self.configs["rate"], self.configs["decay"], self.configs["adapt"] = 1.0, 1.0, True
        self.reports["outcome"] = Outcome.ABSENT
        for layer, config, norms, length in zip(self.layers, self._configs, self.norms, lengths):
            layer.len, layer.saturate = length, saturate
            layer.config = ctypes.addressof(config)
            layer.norms = ctypes.addressof(norms) if carry_norms else None
        self._arguments = (
            ctypes.addressof(self.layers),
            count,
            ctypes.addressof(self._reports),
            ctypes.addressof(self._summary),
            ctypes.addressof(self._error),
        )

    def step(self, optimizer: int, lr: float, gradient_scale: float) -> Summary:
        """A step of all layers with the optimizer at this address."""
        try:
            status = library.lw_step(optimizer, lr, gradient_scale, *self._arguments)
        except ctypes.ArgumentError:
            raise TypeError(f"lr and gradient_scale must be numbers, not {lr!r} and {gradient_scale!r}") from None
        if status < 0:
            raise refusal(self._error)
        s = self._summary
        return Summary(_OUTCOMES[status], s.applied, s.skipped, s.overflowed, s.gradient_norm, s.clip)

    def forget_norms(self) -> None:
        """Makes norms unknown."""
        ctypes.memset(self.norms, 0, ctypes.sizeof(self.norms))
