"""The settings of optimizers, by name, and how they are written into the structures of the library.

The names are those of the Rust documentation, which says what each does: ``SgdConfig``, ``NovoGradConfig``,
``AdamConfig``, ``LarcConfig`` and ``Luc``.
"""

from __future__ import annotations

import ctypes
from typing import Any, Literal, Mapping, TypedDict, Union

from . import _c


class LarcSettings(TypedDict, total=False):
    """LARC or LARS, in front of any rule."""

    mode: Literal["clip", "scale"]
    eta: float
    eps: float
    min_update: float
    max_update: float | None
    min_norm: float
    zero_norm: Literal["plain_step", "plain_step_without_decay", "plain_step_unless_decaying", "formula"]
    decay_in_ratio: Literal["no", "sum_of_norms", "norm_of_sum"]
    only_with_decay: bool


class LucSettings(TypedDict, total=False):
    """A limit of the step by the norm of the weights, after any rule."""

    trust: float
    eps: float
    freezes_zeros: bool


class CommonSettings(TypedDict, total=False):
    """Settings that every rule has.

    ``larc`` and ``luc`` are settings, True for the defaults, the name of a preset, or None. ``clip_norm`` is the
    largest norm of the gradient of the whole model. With ``skip_step``, a NaN or an infinity in one layer skips the
    whole step.
    """

    larc: Union[LarcSettings, Mapping[str, Any], str, bool, None]
    luc: Union[LucSettings, Mapping[str, Any], str, bool, None]
    clip_norm: float | None
    skip_step: bool


class SgdSettings(CommonSettings, total=False):
    """Gradient descent, plain or with momentum."""

    momentum: float
    dampening: float
    weight_decay: float
    dampen_first_step: bool
    nesterov: bool
    rate_in_momentum: bool
    maximize: bool
    starts_at_gradient: bool


class NovoGradSettings(CommonSettings, total=False):
    """NovoGrad. ``max_rate`` belongs to the decay mode "corrected"."""

    beta1: float
    beta2: float
    eps: float
    eps_root: float
    weight_decay: float
    max_rate: float | None
    decay_mode: Literal["coupled", "decoupled", "corrected", "fixed"]
    v_init: Literal["while_zero", "first_step", "zero"]
    gradient_averaging: Union[bool, Literal["off", "on", "after_first_step"]]
    bias_correction: Literal["off", "moments", "step_size", "rate"]
    norm: Literal["l2", "max"]
    amsgrad: bool
    starts_at_gradient: bool
    raw_momentum: bool
    rate_in_momentum: bool
    maximize: bool


class AdamSettings(CommonSettings, total=False):
    """Adam, AdamW, and with ``trust_ratio`` LAMB. The next four are of the trust ratio."""

    beta1: float
    beta2: float
    eps: float
    eps_root: float
    weight_decay: float
    max_rate: float | None
    decay_mode: Literal["l2", "in_update", "decoupled", "corrected", "fixed"]
    bias_correction: Literal["off", "moments", "rate", "tensorflow"]
    grad_averaging: bool
    maximize: bool
    trust_ratio: bool
    ratio_eps: float
    max_weights: float | None
    max_ratio: float | None
    ratio_only_with_decay: bool


# The names of each enumeration, in the order of the header's numbers. LARC's mode is never off here: without LARC there
# are no settings.
CHOICES: dict[tuple[type, str], tuple[str | None, ...]] = {
    (_c.lw_larc, "mode"): (None, "clip", "scale"),
    (_c.lw_larc, "zero_norm"): (
        "plain_step",
        "plain_step_without_decay",
        "plain_step_unless_decaying",
        "formula",
    ),
    (_c.lw_larc, "decay_in_ratio"): ("no", "sum_of_norms", "norm_of_sum"),
    (_c.lw_novograd, "decay_mode"): ("coupled", "decoupled", "corrected", "fixed"),
    (_c.lw_novograd, "v_init"): ("while_zero", "first_step", "zero"),
    (_c.lw_novograd, "gradient_averaging"): ("off", "on", "after_first_step"),
    (_c.lw_novograd, "bias_correction"): ("off", "moments", "step_size", "rate"),
    (_c.lw_novograd, "norm"): ("l2", "max"),
    (_c.lw_adam, "decay_mode"): ("l2", "in_update", "decoupled", "corrected", "fixed"),
    (_c.lw_adam, "bias_correction"): ("off", "moments", "rate", "tensorflow"),
}

# Numbers for which 0 means none.
OPTIONAL = {"max_update", "max_rate", "max_weights", "max_ratio", "clip_norm"}

# The rules by their numbers.
RULES = {_c.LW_SGD: "sgd", _c.LW_NOVOGRAD: "novograd", _c.LW_ADAM: "adam"}


def names_of(struct: type[ctypes.Structure]) -> list[str]:
    """The settings of a structure."""
    return [field[0] for field in struct._fields_ if field[0] != "reserved"]


def write(struct: ctypes.Structure, name: str, value: Any) -> None:
    """Writes a setting. The library checks that numbers are in range."""
    kind = dict((field[0], field[1]) for field in struct._fields_)[name]
    choices = CHOICES.get((type(struct), name))
    if choices and (isinstance(value, str) or "on" not in choices):
        if value is None or value not in choices:
            words = ", ".join(repr(choice) for choice in choices if choice)
            raise ValueError(f"{name} must be one of {words}, not {value!r}")
        setattr(struct, name, choices.index(value))
    elif kind is not ctypes.c_double:
        setattr(struct, name, flag(name, value))
    else:
        setattr(struct, name, number(name, value))


def flag(name: str, value: Any) -> int:
    """A flag. Only True and False are accepted: 256 would become 0 in a byte."""
    if value not in (False, True):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return int(value)


def number(name: str, value: Any) -> float:
    """A number. None becomes 0, which means none."""
    if value is None and name in OPTIONAL:
        return 0.0
    try:
        converted = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, not {value!r}") from None
    if name in OPTIONAL and converted == 0.0:
        raise ValueError(f"{name} must be greater than 0, or None")
    if name == "trust" and converted == 0.0:  # for C this is no limit at all
        raise ValueError("trust must be greater than 0; for no limit use luc=None")
    return converted


def read(struct: ctypes.Structure) -> dict[str, Any]:
    """All settings of a structure."""
    return {name: _read(struct, name) for name in names_of(type(struct))}


def _read(struct: ctypes.Structure, name: str) -> Any:
    value = getattr(struct, name)
    if choices := CHOICES.get((type(struct), name)):
        return choices[value]
    if isinstance(value, float):
        return None if name in OPTIONAL and value == 0.0 else value
    return bool(value)


def write_all(struct: ctypes.Structure, settings: Mapping[str, Any], of: str) -> None:
    """Writes settings by name."""
    known = names_of(type(struct))
    for name, value in settings.items():
        if name not in known:
            raise unknown(name, of, known)
        write(struct, name, value)


def unknown(name: str, of: str, known: list[str]) -> TypeError:
    return TypeError(f"{of} has no setting {name!r}; it has {', '.join(known)}")


def whole(name: str, value: Any) -> int:
    """A count, which C would take modulo its range."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if not 0 <= value < 1 << (32 if name == "step_window" else 64):
        raise ValueError(f"{name} is out of range: {value}")
    return value
