"""Recipes: configurations of OpenSeq2Seq, in JSON."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from . import _c
from ._library import call, library
from .optimizers import Optimizer
from .schedules import LossScaler, Schedule
from .settings import whole


class Training(NamedTuple):
    """Everything that a recipe says about training."""

    optimizer: Optimizer
    schedule: Schedule
    loss_scaler: LossScaler | None  #: None where no loss is scaled
    iter_size: int  #: over how many batches the gradient of a step is averaged
    steps: int  #: how many steps the training has
    steps_per_epoch: int  #: 0 where the recipe does not count in epochs
    is_mixed: bool  #: whether it wants weights and gradients of 16 bits


def recipe(text: str | bytes, steps_per_epoch: int = 0) -> Training:
    """Reads a recipe. ``steps_per_epoch`` is the number of batches in an epoch, for recipes that count epochs."""
    if not hasattr(library, "lw_recipe"):
        raise NotImplementedError("this library was built without recipes: cargo build --release --features std")
    data = text.encode() if isinstance(text, str) else bytes(text)
    c = _c.lw_training()
    call(library.lw_recipe, data, len(data), whole("steps_per_epoch", steps_per_epoch), ctypes.byref(c))
    return Training(
        Optimizer(c.optimizer),
        Schedule(c.schedule),
        LossScaler(c.loss_scaler) if c.loss_scaler.kind else None,
        c.iter_size,
        c.steps,
        c.steps_per_epoch,
        bool(c.is_mixed),
    )
