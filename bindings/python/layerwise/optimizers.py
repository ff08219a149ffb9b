"""Optimizers: a rule with its settings, a policy, LARC and LUC."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from . import _c, settings as _settings
from ._library import call, library

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .memory import Memory
    from .settings import AdamSettings, LarcSettings, LucSettings, NovoGradSettings, SgdSettings


def sgd(**settings: Unpack[SgdSettings]) -> Optimizer:
    """Gradient descent, plain or with momentum: :class:`~layerwise.settings.SgdSettings`."""
    return preset("sgd", **settings)


def novograd(**settings: Unpack[NovoGradSettings]) -> Optimizer:
    """NovoGrad: :class:`~layerwise.settings.NovoGradSettings`."""
    return preset("novograd", **settings)


def adam(**settings: Unpack[AdamSettings]) -> Optimizer:
    """Adam, and with ``weight_decay`` AdamW: :class:`~layerwise.settings.AdamSettings`."""
    return preset("adam", **settings)


def lamb(**settings: Unpack[AdamSettings]) -> Optimizer:
    """LAMB as in its paper, with eps 1e-6: ``preset("adam.optax_lamb")``."""
    return preset("adam.optax_lamb", **settings)


def preset(name: str, /, **settings: Any) -> Optimizer:
    """Settings that reproduce another system, such as "novograd.nemo" or "adam.timm_lamb", and changes to them.

    ``layerwise.h`` has the list, and the Rust documentation the numbers.
    """
    if name.split(".")[0] in ("larc", "luc"):
        raise ValueError(f"{name!r} is in front of a rule or after it: write sgd(larc={name!r}), or luc=")
    c = _c.lw_optimizer()
    call(library.lw_preset, name.encode(), ctypes.byref(c))
    return Optimizer(c, settings)


def larc(name: str = "larc", /, **settings: Unpack[LarcSettings]) -> dict[str, Any]:
    """LARC's settings, by default or those of a preset such as "larc.timm", with changes, for ``larc=``."""
    return _part("larc", name, settings)


def luc(name: str = "luc", /, **settings: Unpack[LucSettings]) -> dict[str, Any]:
    """The settings of the limit of the step, by default or those of "luc.nemo", with changes, for ``luc=``."""
    return _part("luc", name, settings)


def _part(part: str, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    if name.split(".")[0] != part:
        raise ValueError(f"{part} has no preset {name!r}")
    c = _c.lw_optimizer()
    call(library.lw_preset, name.encode(), ctypes.byref(c))
    struct = getattr(c, part)
    _settings.write_all(struct, settings, part)
    return _settings.read(struct)


class Optimizer:
    """A rule with its settings. It is immutable and has no state: that is in a :class:`~layerwise.memory.Memory`."""

    def __init__(self, c: _c.lw_optimizer, changes: Mapping[str, Any] = {}):
        """From the C structure, which is copied. :func:`preset` is easier."""
        self._c = _c.lw_optimizer.from_buffer_copy(c)
        for name, value in changes.items():
            self._write(name, value)
        self.address = ctypes.addressof(self._c)
        call(library.lw_check, self.address)

    def _write(self, name: str, value: Any) -> None:
        if name in ("larc", "luc"):
            struct = {"larc": _c.lw_larc, "luc": _c.lw_luc}[name]()
            if value is not None and value is not False:
                preset, changes = _asked_for(name, value)
                _settings.write_all(struct, _part(name, preset, changes), name)
            setattr(self._c, name, struct)
        elif name == "clip_norm":
            self._c.clip_norm = _settings.number(name, value)
        elif name == "skip_step":
            self._c.non_finite = _settings.flag(name, value)
        elif name in _settings.names_of(type(self._rule)):
            _settings.write(self._rule, name, value)
        else:
            known = _settings.names_of(type(self._rule)) + ["larc", "luc", "clip_norm", "skip_step"]
            raise _settings.unknown(name, self.rule, known)

    @property
    def rule(self) -> str:
        """The name of the rule: "sgd", "novograd" or "adam"."""
        return _settings.RULES[self._c.rule]

    @property
    def _rule(self) -> ctypes.Structure:
        rule: ctypes.Structure = getattr(self._c, self.rule)
        return rule

    @property
    def settings(self) -> dict[str, Any]:
        """All settings: ``preset(optimizer.rule, **optimizer.settings)`` is equal to the optimizer."""
        c = self._c
        return {
            **_settings.read(self._rule),
            "larc": _settings.read(c.larc) if c.larc.mode else None,
            "luc": _settings.read(c.luc) if c.luc.trust else None,
            "clip_norm": c.clip_norm or None,
            "skip_step": bool(c.non_finite),
        }

    @property
    def moments(self) -> int:
        """How many moments the rule keeps for each weight: 0, 1 or 2."""
        return call(library.lw_moments, self.address)

    def replace(self, **settings: Any) -> Optimizer:
        """The same optimizer with these settings changed."""
        return Optimizer(self._c, settings)

    def memory(self, weights: Sequence[Any], **options: Any) -> Memory:
        """The memory for a model: ``Memory(optimizer, weights, ...)``."""
        from .memory import Memory

        return Memory(self, weights, **options)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Optimizer):
            return NotImplemented
        return self.rule == other.rule and self.settings == other.settings

    def __hash__(self) -> int:
        return hash((self.rule, self._c.clip_norm))

    def __repr__(self) -> str:
        usual = preset(self.rule).settings
        changed = (f"{name}={value!r}" for name, value in self.settings.items() if value != usual[name])
        return f"layerwise.{self.rule}({', '.join(changed)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self.rule, self.settings)


def _asked_for(part: str, value: Any) -> tuple[str, Mapping[str, Any]]:
    """The preset and the changes that ``larc=`` or ``luc=`` ask for."""
    if value is True:
        return part, {}
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping):
        return part, value
    raise TypeError(f"{part} must be settings, True, the name of a preset or None, not {value!r}")


def _made(rule: str, settings: Mapping[str, Any]) -> Optimizer:
    return preset(rule, **settings)
