"""Layer-wise adaptive optimizers (LARC, LARS, NovoGrad, LAMB; SGD and Adam too) on arrays, in place.

>>> import layerwise, numpy
>>> weights = [numpy.ones((4, 3), numpy.float32), numpy.ones(3, numpy.float32)]
>>> gradients = [numpy.full_like(w, 0.5) for w in weights]
>>> novograd = layerwise.novograd(weight_decay=0.001)
>>> memory = novograd.memory(weights)
>>> memory.step(novograd, 0.01, weights, gradients).applied
2
"""

from . import _library
from ._library import Error
from .memory import DEFAULT, FROZEN, PLAIN, Memory
from .norms import accumulate, l2_norm, max_norm, sum_of_squares
from .optimizers import Optimizer, adam, lamb, larc, luc, novograd, preset, sgd
from .recipes import Training, recipe
from .schedules import LossScaler, Schedule, loss_scaler, schedule
from .table import Outcome, Summary

__version__ = _library.library.lw_version().decode()

__all__ = [
    "DEFAULT",
    "FROZEN",
    "PLAIN",
    "Error",
    "LossScaler",
    "Memory",
    "Optimizer",
    "Outcome",
    "Schedule",
    "Summary",
    "Training",
    "accumulate",
    "adam",
    "l2_norm",
    "lamb",
    "larc",
    "loss_scaler",
    "luc",
    "max_norm",
    "novograd",
    "preset",
    "recipe",
    "schedule",
    "sgd",
    "sum_of_squares",
]
