"""Optimizers for torch parameters on the CPU: subclasses of ``torch.optim.Optimizer`` that call the library.

Parameters are float32 or bfloat16, gradients also float16. Schedulers of torch, parameter groups, closures, hooks and
``state_dict`` work as usual.
"""

from __future__ import annotations

from operator import is_
from typing import Any, Callable, Iterable

import torch
from torch.autograd.graph import increment_version

from . import _c
from .arrays import is_dense
from .optimizers import Optimizer as Settings
from .optimizers import preset
from .table import Summary, Table

_TYPES = {torch.float32: _c.LW_F32, torch.bfloat16: _c.LW_BF16, torch.float16: _c.LW_F16}
# The options of groups besides the rate, the decay and the betas.
_MULTIPLIERS = {"rate": 1.0, "decay": 1.0, "adapt": True, "frozen": False}


class Optimizer(torch.optim.Optimizer):
    """Any rule of the library, given as an optimizer of :mod:`layerwise` or the name of a preset, with changes.

    Groups may differ in ``lr``, ``weight_decay`` and ``betas`` (for gradient descent: ``momentum``), and in

    - ``rate`` and ``decay``, multipliers of the first two,
    - ``adapt``, whether LARC, LUC and trust ratios apply to the group,
    - ``frozen``, whether it is not updated.

    Usual for biases and normalisation scales: ``{"params": biases, "decay": 0.0, "adapt": False}``.

    bfloat16 parameters train with the bits of float32: their lower halves are part of the state. A gradient whose
    memory order differs from that of its parameter is copied in each step, which takes time.
    """

    def __init__(
        self,
        params: Iterable[Any],
        optimizer: Settings | str,
        lr: float,
        *,
        bf16_momentum: bool = False,
        **settings: Any,
    ):
        base = preset(optimizer, **settings) if isinstance(optimizer, str) else optimizer.replace(**settings)
        #: What the last step did: a summary for each set of groups with the same betas, and most often one.
        self.summaries: list[Summary] = []
        self._base, self._bf16_momentum = base, bf16_momentum
        self._forget_parts()
        known = base.settings
        group = {"lr": lr, "weight_decay": known["weight_decay"]}
        if base.rule == "sgd":
            group["momentum"] = known["momentum"]
        else:
            group["betas"] = (known["beta1"], known["beta2"])
        super().__init__(params, {**group, **_MULTIPLIERS})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        try:
            group = self.param_groups[-1]
            for name, value in self._base.settings.items():
                if name not in self.defaults and group.get(name, value) != value:
                    raise TypeError(f"{name} is the same in all groups, and cannot be {group[name]!r} in one")
            self._of(group)
            self._base.replace(weight_decay=_decay(group))
            if not 0.0 <= _rate(group) < float("inf"):
                raise ValueError(f"lr (times the rate of the group) must be finite and >= 0, not {_rate(group)}")
            for p in group["params"]:
                _check(p)
        except Exception:
            del self.param_groups[-1]
            raise
        self._save_rules()
        self._forget_parts()

    def _forget_parts(self) -> None:
        """The next step rebuilds them from the groups and the state at that time."""
        self._parts: list[_Part] | None = None
        self._made_of: list[Any] = []
        self._seen: tuple[Any, ...] = ()
        self._remembered = 0  # how many parameters have a state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None, *, gradient_scale: float = 1.0) -> Any:
        """One step. Gradients are multiplied by ``gradient_scale``: 1, or one over a loss scale."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.summaries = [part.step(gradient_scale) for part in self._current_parts()]
        self._remembered = len(self.state)
        return loss

    def _current_parts(self) -> list[_Part]:
        """The groups by rule: all with the same betas are updated in one step."""
        groups = self.param_groups
        parameters = [p for group in groups for p in group["params"]]
        # (A copy of the betas: a list may be changed in place.)
        made_of = [(*group.get("betas", ()), group.get("momentum"), len(group["params"])) for group in groups]
        seen = (*groups, *parameters, self.state)
        is_known = made_of == self._made_of and _are_same(seen, self._seen) and len(self.state) == self._remembered
        if is_known and self._parts is not None:
            return self._parts
        self._save_rules()
        self._made_of, self._seen, self._remembered = made_of, seen, len(self.state)
        by_rule: dict[Settings, list[dict[str, Any]]] = {}
        for group in groups:
            by_rule.setdefault(self._of(group), []).append(group)
        if len(by_rule) > 1 and (self._base.settings["clip_norm"] or self._base.settings["skip_step"]):
            raise ValueError("clip_norm and skip_step look at all parameters: betas must be the same in all groups")
        self._parts = [_Part(self, rule, alike) for rule, alike in by_rule.items()]
        return self._parts

    def _of(self, group: dict[str, Any]) -> Settings:
        """The rule of a group. Its decay is 1 here, and the layers' multipliers set the actual decay."""
        if self._base.rule == "sgd":
            return self._base.replace(weight_decay=1.0, momentum=group["momentum"])
        beta1, beta2 = group["betas"]
        return self._base.replace(weight_decay=1.0, beta1=beta1, beta2=beta2)

    def _save_rules(self) -> None:
        """Writes the states of rules where torch saves them: as lists, because torch rounds state tensors to the type
        of their parameter."""
        for part in self._parts or ():
            part.save_rules()

    def state_dict(self) -> dict[str, Any]:
        self._save_rules()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        loaded: list[dict[str, Any]] = []

        def before(_: Any, given: dict[str, Any]) -> None:  # after the hooks of others
            states = [state for state in given["state"].values() if isinstance(state, dict) and state]
            if states and not any("rule" in state for state in states):
                raise ValueError(f"a state of another optimizer: it has {', '.join(map(str, states[0]))}")
            loaded.append(given)

        hooks = [
            self.register_load_state_dict_pre_hook(before),
            self.register_load_state_dict_post_hook(lambda _: self._restore(loaded[-1]), prepend=True),
        ]
        try:
            super().load_state_dict(state_dict)
        finally:
            for hook in hooks:
                hook.remove()

    def _restore(self, state_dict: dict[str, Any]) -> None:
        """Puts back the tensors of a loaded state as they were saved: torch rounds them to the type of their
        parameter."""
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        parameters = [p for group in self.param_groups for p in group["params"]]
        for number, p in zip(numbers, parameters):
            saved = state_dict["state"].get(number, {})
            for name in ("momentum", "second_moment", "lower"):
                if name in saved:
                    self.state[p][name] = _laid_out_as(p, saved[name])

    def __getstate__(self) -> dict[str, Any]:
        self._save_rules()
        own = {"_base": self._base, "_bf16_momentum": self._bf16_momentum, "summaries": self.summaries}
        return {**super().__getstate__(), **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._forget_parts()
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in _MULTIPLIERS.items():
                group.setdefault(name, value)


class _Part:
    """The groups that share a rule, and the table of their layers."""

    def __init__(self, owner: Optimizer, rule: Settings, groups: list[dict[str, Any]]):
        self.owner, self.rule, self.groups = owner, rule, groups
        self.parameters = [p for group in groups for p in group["params"] if p.numel()]
        self.lengths = [p.numel() for p in self.parameters]
        self.table = Table(self.lengths)
        count = len(self.parameters)
        self.types = [_c.LW_F32] * count  # of gradients
        self.weights, self.gradients = [0] * count, [0] * count  # addresses
        # `.data` may put other memory under the same object, even at an address that another tensor had before.
        self.weight_bytes, self.gradient_bytes = [0] * count, [0] * count
        self.attached: list[tuple[Any, ...] | None] = [None] * count  # type, shape and strides
        self.seen: list[torch.Tensor | None] = [None] * count
        self.states: list[dict[str, Any] | None] = [None] * count  # for parameters that have had a gradient
        self.kept: list[list[torch.Tensor]] = [[] for _ in self.parameters]  # keeps the tensors of the table alive
        self.configs: list[tuple[float, float, bool, bool]] = []

    def step(self, gradient_scale: float) -> Summary:
        self._renew_configs()
        parameters = self.parameters
        gradients = [p.grad for p in parameters]
        for i, (p, g, seen, size) in enumerate(zip(parameters, gradients, self.seen, self.gradient_bytes)):
            if g is not seen or g is None or g.nbytes != size or g.stride() != p.stride():
                gradients[i] = self._look_at(i, p, g)
        weights, sizes = [p.data_ptr() for p in parameters], [p.nbytes for p in parameters]
        if weights != self.weights or sizes != self.weight_bytes:
            self._renew_weights(weights, sizes)
        addresses = [0 if g is None else g.data_ptr() for g in gradients]
        if addresses != self.gradients:
            self.table.gradients[:], self.gradients = addresses, addresses
        # The rate is 1, and the rates of groups become those of layers: the products have the same bits.
        summary = self.table.step(self.rule.address, 1.0, gradient_scale)
        increment_version([p for p, g in zip(parameters, gradients) if g is not None])
        return summary

    def _renew_configs(self) -> None:
        configs = [(_rate(g), _decay(g), bool(g["adapt"]), bool(g["frozen"])) for g in self.groups]
        if configs != self.configs:
            start = 0
            for group, config in zip(self.groups, configs):
                end = start + sum(p.numel() > 0 for p in group["params"])
                self.table.configs[start:end] = config
                start = end
            self.configs = configs

    def _look_at(self, i: int, p: torch.Tensor, g: torch.Tensor | None) -> torch.Tensor | None:
        """Handles a new gradient: its type, its address, and what its parameter needs for a step."""
        self.seen[i] = None
        if g is None:
            return None
        type_ = _type_of_gradient(g)
        if (p.dtype, p.shape, p.stride()) != self.attached[i]:
            self._attach(i, p)
        if g.shape != p.shape:
            raise ValueError(f"a gradient of shape {tuple(g.shape)} for a parameter of shape {tuple(p.shape)}")
        if type_ != self.types[i]:
            self.table.layers[i].gradients.type = self.types[i] = type_
        # (A tensor with the negative bit, such as the imaginary part of a conjugate, has the wrong sign in memory.)
        if g.is_neg() or (g.stride() != p.stride() and _strides(g) != _strides(p)):
            return _laid_out_as(p, g)  # anew in each step
        self.seen[i], self.gradient_bytes[i] = g, g.nbytes
        return g

    def _renew_weights(self, addresses: list[int], sizes: list[int]) -> None:
        before = zip(self.weights, self.weight_bytes)
        for i, (old, new) in enumerate(zip(before, zip(addresses, sizes))):
            if old != new and self.states[i] is not None:
                self._attach(i, self.parameters[i])
        self.table.weights[:], self.weights, self.weight_bytes = addresses, addresses, sizes

    def _attach(self, i: int, p: torch.Tensor) -> None:
        """Puts the state of a parameter into the table. The first time, it is zeros."""
        _check(p)
        if p.numel() != self.lengths[i]:
            raise ValueError("a parameter has another number of elements than in the step before")
        state, layer = self.owner.state[p], self.table.layers[i]
        layer.weights.type, layer.lower = _TYPES[p.dtype], None
        moments, kept = self.rule.moments, []
        if moments >= 1:
            usual = torch.bfloat16 if self.owner._bf16_momentum else torch.float32
            kept.append(_remembered(state, "momentum", p, usual, torch.float32, torch.bfloat16))
            layer.momentum.data, layer.momentum.type = kept[-1].data_ptr(), _TYPES[kept[-1].dtype]
        if moments >= 2:
            kept.append(_remembered(state, "second_moment", p, torch.float32))
            layer.second_moment.data = kept[-1].data_ptr()
        if p.dtype == torch.bfloat16:
            kept.append(_remembered(state, "lower", p, torch.int16))
            layer.lower = kept[-1].data_ptr()
        self.kept[i], self.attached[i] = kept, (p.dtype, p.shape, p.stride())
        if self.states[i] is None:
            self.states[i] = state
            self.table.states[i] = state.setdefault("rule", [0.0] * 4)

    def save_rules(self) -> None:
        for state, numbers in zip(self.states, self.table.states):
            if state is not None:
                state["rule"] = numbers.tolist()


def _remembered(state: dict[str, Any], name: str, p: torch.Tensor, *types: torch.dtype) -> torch.Tensor:
    """The state of a parameter under a name: initially zeros of the first of these types."""
    if name not in state:
        state[name] = torch.zeros_like(p, dtype=types[0], requires_grad=False)
    if state[name].dtype not in types:
        raise TypeError(f"the state has {name} of {state[name].dtype}, where {types[0]} is wanted")
    if state[name].shape != p.shape or _strides(state[name]) != _strides(p):
        state[name] = _laid_out_as(p, state[name])
    remembered: torch.Tensor = state[name]
    return remembered


def _are_same(found: tuple[Any, ...], seen: tuple[Any, ...]) -> bool:
    return len(found) == len(seen) and all(map(is_, found, seen))


def _rate(group: dict[str, Any]) -> float:
    return float(group["lr"]) * float(group["rate"])


def _decay(group: dict[str, Any]) -> float:
    return float(group["weight_decay"]) * float(group["decay"])


def _check(p: torch.Tensor) -> None:
    """Refuses a parameter that the library cannot step in place."""
    if p.device.type != "cpu":
        raise TypeError(f"a parameter on {p.device}: layerwise works on the CPU")
    if p.layout != torch.strided or p.dtype not in (torch.float32, torch.bfloat16):
        raise TypeError(f"a parameter of {p.dtype}, {p.layout}: layerwise takes dense float32 and bfloat16")
    if p.is_neg():
        raise ValueError("a parameter with the opposite signs in memory: make it of .resolve_neg()")
    if not is_dense(p.stride(), p.shape):
        raise ValueError("a parameter that does not lie in one piece: give it memory of its own by .contiguous()")


def _type_of_gradient(g: torch.Tensor) -> int:
    if g.layout != torch.strided:
        raise RuntimeError("layerwise does not support sparse gradients")  # as torch does
    type_ = _TYPES.get(g.dtype)
    if type_ is None or not g.is_cpu:
        raise TypeError(f"a gradient of {g.dtype} on {g.device}: it must be float32, bfloat16 or float16, on the CPU")
    return type_


def _strides(x: torch.Tensor) -> list[int]:
    """The strides of dimensions with more than one element: the others mean nothing."""
    return [stride for stride, length in zip(x.stride(), x.shape) if length != 1]


def _laid_out_as(p: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A copy with the memory order of a parameter, and the same type."""
    if x.numel() != p.numel():  # `copy_` would repeat a smaller one
        raise ValueError(f"the state has shape {tuple(x.shape)}, and its parameter {tuple(p.shape)}")
    return torch.empty_like(p, dtype=x.dtype, requires_grad=False).copy_(x)


class SGD(Optimizer):
    """``torch.optim.SGD`` with the settings of :class:`~layerwise.settings.SgdSettings`, LARC and LARS included."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **settings: Any,
    ):
        own: dict[str, Any] = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, "sgd", lr, nesterov=nesterov, **own, **settings)


class LARC(SGD):
    """Gradient descent with LARC, for which the learning rate is an upper limit: never raise it, or set
    ``rate_in_momentum=True``. LARC does not lower the rate of parameters that are not adapted: add ``"rate": 0.1`` to
    their group.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, momentum: float = 0.9, larc: Any = True, **settings: Any
    ):
        super().__init__(params, lr, momentum, larc=larc, **settings)


class NovoGrad(Optimizer):
    """NovoGrad with the settings of :class:`~layerwise.settings.NovoGradSettings`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.95, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **settings: Any,
    ):
        super().__init__(params, "novograd", lr, **_of_betas(betas, eps, weight_decay), **settings)


class Adam(Optimizer):
    """``torch.optim.Adam``: its decay is L2 regularisation. Settings of :class:`~layerwise.settings.AdamSettings`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **settings: Any,
    ):
        super().__init__(params, "adam.torch_adam", lr, **_of_betas(betas, eps, weight_decay), **settings)


class AdamW(Optimizer):
    """``torch.optim.AdamW``. Settings of :class:`~layerwise.settings.AdamSettings`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        **settings: Any,
    ):
        super().__init__(params, "adam.torch_adamw", lr, **_of_betas(betas, eps, weight_decay), **settings)


class Lamb(Optimizer):
    """LAMB as in its paper. Settings of :class:`~layerwise.settings.AdamSettings`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **settings: Any,
    ):
        super().__init__(params, "adam.optax_lamb", lr, **_of_betas(betas, eps, weight_decay), **settings)


def _of_betas(betas: tuple[float, float], eps: float, weight_decay: float) -> dict[str, Any]:
    return {"beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": weight_decay}
