"""Learning rates that change from step to step, and loss scales: the rate policies and loss scalers of OpenSeq2Seq."""

from __future__ import annotations

import ctypes
from typing import Any, Sequence

from . import _c
from . import settings as _settings
from ._library import call, library

# The policies, and the settings of each besides the learning rate.
POLICIES: dict[str, tuple[str, ...]] = {
    "fixed_lr": (),
    "piecewise_constant": ("steps_per_epoch", "boundaries", "decay_rates"),
    "exp_decay": ("decay_steps", "decay_rate", "begin_decay_at", "min_lr", "use_staircase_decay"),
    "poly_decay": ("decay_steps", "power", "begin_decay_at", "min_lr", "warmup_steps"),
    "cosine_decay": ("decay_steps", "power", "begin_decay_at", "min_lr", "warmup_steps"),
    "transformer_policy": ("d_model", "warmup_steps", "max_lr", "coefficient"),
    "inv_poly_decay": ("decay_steps", "min_lr", "power", "begin_decay_at", "warmup_steps"),
}
_NAMES = list(POLICIES)  # in the order of the header's numbers, from 1

_SCALERS: dict[str, tuple[int, dict[str, Any]]] = {
    "static": (_c.LW_STATIC, {"scale": 0.0}),
    "backoff": (_c.LW_BACKOFF, {"scale_min": 1.0, "scale_max": 16384.0, "step_factor": 2.0, "step_window": 2000}),
    "log_max": (
        _c.LW_LOG_MAX,
        {
            "scale_min": 1.0,
            "scale_max": 16384.0,
            "log_max": 16.0,
            "beta1": 0.99,
            "beta2": 0.999,
            "overflow_std_dev": 3.09,
            "as_executed": False,
        },
    ),
}


def schedule(policy: str, learning_rate: float, **settings: Any) -> Schedule:
    """A rate policy: "fixed_lr", "piecewise_constant", "exp_decay", "poly_decay", "cosine_decay", "transformer_policy"
    or "inv_poly_decay"; :data:`POLICIES` has the settings of each. Without ``decay_steps``, call :meth:`Schedule.fill`
    with the length of the training run. ``min_lr`` is a rate, but for "cosine_decay" a fraction of ``learning_rate``.
    """
    if policy not in POLICIES:
        raise ValueError(f"there is no policy {policy!r}; there are {', '.join(POLICIES)}")
    c = _c.lw_schedule()
    call(library.lw_schedule_default, _NAMES.index(policy) + 1, learning_rate, ctypes.byref(c))
    for name, value in settings.items():
        if name not in POLICIES[policy]:
            raise _settings.unknown(name, policy, list(POLICIES[policy]))
        _write(c, name, value)
    if len(settings.get("boundaries", ())) != len(settings.get("decay_rates", ())):
        raise ValueError("boundaries and decay_rates must be as many")
    return Schedule(c)


def _write(c: _c.lw_schedule, name: str, value: Any) -> None:
    if name in ("boundaries", "decay_rates"):
        _write_list(c, name, value)
    elif name == "use_staircase_decay":
        c.use_staircase_decay = _settings.flag(name, value)
    elif isinstance(getattr(c, name), int):
        setattr(c, name, _settings.whole(name, value))
    else:
        setattr(c, name, 0.0 if name == "max_lr" and value is None else _settings.number(name, value))


def _write_list(c: _c.lw_schedule, name: str, values: Sequence[float]) -> None:
    if len(values) > _c.LW_BOUNDARIES:
        raise ValueError(f"there may be at most {_c.LW_BOUNDARIES} {name}")
    getattr(c, name)[: len(values)] = list(values)
    c.boundary_count = len(values)


class Schedule:
    """A learning rate for every step. :func:`schedule` creates one."""

    def __init__(self, c: _c.lw_schedule):
        self._c = _c.lw_schedule.from_buffer_copy(c)

    @property
    def policy(self) -> str:
        """The name of the policy."""
        return _NAMES[int(self._c.policy) - 1]

    def fill(self, steps: int, steps_per_epoch: int = 0) -> Schedule:
        """The same schedule, with settings filled in that depend on the length of the training run."""
        filled = Schedule(self._c)
        lengths = _settings.whole("steps", steps), _settings.whole("steps_per_epoch", steps_per_epoch)
        call(library.lw_schedule_fill, ctypes.byref(filled._c), *lengths)
        return filled

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0. A step that was skipped does not count."""
        rate = ctypes.c_double()
        call(library.lw_rate, ctypes.byref(self._c), _settings.whole("step", step), ctypes.byref(rate))
        return rate.value


def loss_scaler(kind: str, **settings: Any) -> LossScaler:
    """A loss scaler: "static" (with ``scale``), "backoff" (``scale_min``, ``scale_max``, ``step_factor``,
    ``step_window``) or "log_max" (``scale_min``, ``scale_max``, ``log_max``, ``beta1``, ``beta2``,
    ``overflow_std_dev``, ``as_executed``)."""
    if kind not in _SCALERS:
        raise ValueError(f"there is no loss scaler {kind!r}; there are {', '.join(_SCALERS)}")
    number, defaults = _SCALERS[kind]
    c = _c.lw_loss_scaler(kind=number)
    for name, value in {**defaults, **settings}.items():
        if name not in defaults:
            raise _settings.unknown(name, kind, list(defaults))
        convert = {"as_executed": _settings.flag, "step_window": _settings.whole}.get(name, _settings.number)
        setattr(c, name, convert(name, value))
    return LossScaler(c)


class LossScaler:
    """Scales the loss so that small gradients do not vanish in 16 bits. :func:`loss_scaler` creates one.

    In each step, multiply the loss by ``scale``; step with ``gradient_scale=1 / scale`` and an optimizer with
    ``skip_step``; then ``update`` with whether all gradients were finite. If that returns False the step does not
    count, and the schedule does not advance."""

    def __init__(self, c: _c.lw_loss_scaler):
        self._c = _c.lw_loss_scaler.from_buffer_copy(c)
        self._state = _c.lw_loss_state()
        _ = self.scale  # settings out of range are refused here

    @property
    def scale(self) -> float:
        """The scale for the loss of the next step."""
        scale = ctypes.c_double()
        call(library.lw_loss_scale, ctypes.byref(self._c), ctypes.byref(self._state), ctypes.byref(scale))
        return scale.value

    def update(self, finite: bool, max_norm: float = 0.0) -> bool:
        """Updates the state with a step; returns whether the step counts. ``max_norm``, the largest magnitude of the
        gradients divided by the scale, is for "log_max" only."""
        status = call(
            library.lw_loss_update, ctypes.byref(self._c), ctypes.byref(self._state), bool(finite), max_norm
        )
        return status != _c.LW_STEP_SKIPPED

    def state_dict(self) -> dict[str, list[float]]:
        """Its state."""
        return {"numbers": list(self._state.numbers)}

    def load_state_dict(self, saved: dict[str, list[float]]) -> None:
        """Loads the result of :meth:`state_dict`."""
        before, self._state = self._state, _c.lw_loss_state((ctypes.c_double * 4)(*saved["numbers"]))
        try:
            _ = self.scale
        except ValueError:
            self._state = before
            raise
