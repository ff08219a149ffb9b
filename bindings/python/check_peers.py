"""Runs the optimizer tests of torch, timm and pytorch_optimizer on the classes of ``layerwise.torch``.

    python check_peers.py [torch | timm | pytorch_optimizer]

Needs torch, timm, pytorch_optimizer, pytest and expecttest. The tests of timm and pytorch_optimizer come from the
source packages of the installed versions, which pip downloads; there the optimizers here replace theirs, under their
names and with their arguments. What is refused by design is skipped, with the reason. torch ships the settings of its
tests but not the tests: each setting is compared with torch's own optimizer.
"""

import collections
import contextlib
import dataclasses
import importlib.metadata
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
import torch

import layerwise.torch as lt

# Parts of the messages of intended errors, and the reason for each.
REFUSED = {
    "does not lie in one piece": "parameters with gaps",
    "a parameter of torch.float64": "parameters of float64",
    "a parameter of torch.float16": "parameters of float16",
    "a parameter of torch.complex64": "complex parameters",
    "momentum must be": "momentum of 1",
    "does not support sparse gradients": "sparse gradients",
    "no setting 'foreach'": "no foreach",
    "exp_avg": "names of torch's in the state",
    "momentum_buffer": "names of torch's in the state",
}


def reason(error):
    """Why an error is intended; None if it is a fault."""
    return next((why for words, why in REFUSED.items() if words in str(error)), None)


# ---- The arguments of others. What there is no setting for is skipped. ----


def only(given, *names):
    for name, value in given.items():
        if name not in names and value not in (None, False):
            pytest.skip(f"no {name}")


class TimmSGD(lt.SGD):
    def __init__(self, params, lr=1e-3, momentum=0.0, weight_decay=0.0, nesterov=False, **others):
        only(others)
        super().__init__(params, lr, momentum, 0.0, weight_decay, nesterov)


class TimmNovoGrad(lt.Optimizer):
    def __init__(
        self, params, lr=1e-3, betas=(0.95, 0.98), eps=1e-8, weight_decay=0.0, decoupled_decay=False, **others
    ):
        only(others)
        mode = {"decay_mode": "decoupled"} if decoupled_decay else {}
        settings = {"beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": weight_decay, **mode}
        super().__init__(params, "novograd.timm", lr, **settings)


class TimmLamb(lt.Optimizer):
    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-6,
        weight_decay=0.01,
        trust_clip=False,
        decoupled_decay=False,
        **others,
    ):
        only(others)
        mode = {"decay_mode": "decoupled"} if decoupled_decay else {}
        settings = {"beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": weight_decay, **mode}
        settings["max_ratio"] = 1.0 if trust_clip else None
        super().__init__(params, "adam.timm_lamb", lr, clip_norm=1.0, **settings)


class TimmLars(lt.Optimizer):
    def __init__(
        self, params, lr=1.0, momentum=0.0, weight_decay=0.0, nesterov=False, eps=1e-8, trust_clip=False, **others
    ):
        only(others)
        larc = {**lt.preset("sgd.timm_lars").settings["larc"], "eps": eps}
        larc["mode"] = "clip" if trust_clip else larc["mode"]
        settings = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(params, "sgd.timm_lars", lr, larc=larc, **settings)


class PytorchOptimizerLamb(lt.Optimizer):
    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        weight_decay=0.0,
        weight_decouple=True,
        grad_averaging=True,
        max_grad_norm=1.0,
        adam=False,
        pre_norm=False,
        eps=1e-6,
        **others,
    ):
        only(others)
        settings = {"beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": weight_decay}
        settings["decay_mode"] = "decoupled" if weight_decouple else "in_update"
        settings["clip_norm"] = max_grad_norm if pre_norm and max_grad_norm else None
        if max_grad_norm < 0.0:
            settings["clip_norm"] = max_grad_norm  # refused
        settings.update(grad_averaging=grad_averaging, trust_ratio=not adam)
        if adam:
            settings.update(ratio_eps=0.0, max_weights=None)
        super().__init__(params, "adam.pytorch_optimizer_lamb", lr, **settings)


class PytorchOptimizerLars(lt.Optimizer):
    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0.9,
        dampening=0.0,
        weight_decay=0.0,
        trust_coefficient=1e-3,
        nesterov=False,
        **others,
    ):
        only(others)
        larc = {**lt.preset("sgd.pytorch_optimizer_lars").settings["larc"], "eta": trust_coefficient}
        settings = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(params, "sgd.pytorch_optimizer_lars", lr, larc=larc, **settings)
        for group in self.param_groups:  # it leaves vectors alone
            group["adapt"] = all(p.ndim > 1 for p in group["params"])


class PytorchOptimizerNovoGrad(lt.Optimizer):
    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.95, 0.98),
        weight_decay=0.0,
        weight_decouple=False,
        grad_averaging=False,
        eps=1e-8,
        **others,
    ):
        only(others)
        settings = {"beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": weight_decay}
        settings.update(decay_mode="decoupled" if weight_decouple else "coupled", gradient_averaging=grad_averaging)
        super().__init__(params, "novograd.pytorch_optimizer", lr, **settings)


# ---- timm and pytorch_optimizer ----


class Peer:
    """A pytest plugin that replaces the optimizers of another project with those here, and runs their tests."""

    names: dict[str, type] = {}
    tests: list[str] = []
    whole: list[str] = []  # test files that use some of them without naming them
    apart: dict[str, str] = {}  # tests that cannot be run, and why

    def __init__(self):
        self.outcomes, self.reasons = collections.Counter(), collections.Counter()

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.path.name in self.whole or self.is_named(item)]

    def is_named(self, item):
        given = item.callspec.params.values() if hasattr(item, "callspec") else ()
        firsts = (x[0] if isinstance(x, tuple) and x else x for x in given)
        return any(isinstance(x, str) and x in self.names for x in firsts)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        if why := self.apart.get(getattr(item, "originalname", item.name)):
            pytest.skip(why)
        try:
            return (yield)
        except Exception as error:
            if (why := reason(error)) is None:
                raise
            pytest.skip(why)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.skipped:
            self.outcomes[report.outcome] += 1
        if report.skipped:
            self.reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1


class Timm(Peer):
    tests = ["tests/test_optim.py"]
    names = {
        "sgd": TimmSGD,
        "momentum": TimmSGD,
        "adam": lt.Adam,
        "adamw": lt.AdamW,
        **dict.fromkeys(["novograd", "novogradw"], TimmNovoGrad),
        **dict.fromkeys(["lamb", "lambc", "lambw", "lambcw"], TimmLamb),
        **dict.fromkeys(["lars", "larc", "nlars", "nlarc"], TimmLars),
    }

    def pytest_configure(self):
        from timm.optim._optim_factory import default_registry

        for name, made in self.names.items():
            info = default_registry.get_optimizer_info(name)
            default_registry.register(dataclasses.replace(info, opt_class=made))

    def pytest_collection_modifyitems(self, items):
        super().pytest_collection_modifyitems(items)
        for name in ("_test_state_dict", "_test_basic_cases_template"):
            setattr(items[0].module, name, self.passing_over(getattr(items[0].module, name)))

    def passing_over(self, part):
        """The parts of a test. The last part of one and all parts of another use refused features."""

        def run(*arguments):
            try:
                part(*arguments)
            except Exception as error:
                if (why := reason(error)) is None:
                    raise
                self.reasons[f"{why}, in {part.__name__}"] += 1

        return run


class PytorchOptimizer(Peer):
    tests = ["tests/test_optimizers.py", "tests/test_gradients.py", "tests/test_general_optimizer_parameters.py"]
    tests += ["tests/test_lr_schedulers.py", "tests/test_wrapper_optimizers.py", "tests/test_optimizer_parameters.py"]
    whole = ["test_lr_schedulers.py", "test_wrapper_optimizers.py"]
    names = {
        "sgd": TimmSGD,
        "adamw": lt.AdamW,
        "lamb": PytorchOptimizerLamb,
        "lars": PytorchOptimizerLars,
        "novograd": PytorchOptimizerNovoGrad,
    }

    apart = {"test_learning_rate": "an error of a class of pytorch_optimizer"}

    def pytest_configure(self):
        from pytorch_optimizer.optimizer import OPTIMIZERS
        from tests import optimizer_cases  # noqa: F401  (It tests all optimizers, with complex numbers too.)

        OPTIMIZERS.update(self.names)


def run(peer, package):
    """Runs the tests of a project, from the source of the installed version."""
    version = importlib.metadata.version(package)
    with tempfile.TemporaryDirectory() as folder:
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package]
        subprocess.run([*fetch, f"{package}=={version}", "--dest", folder], check=True)
        archive = next(Path(folder).glob("*.tar.gz"))
        subprocess.run(["tar", "xzf", archive, "-C", folder], check=True)
        root = next(path for path in Path(folder).iterdir() if path.is_dir())
        (root / package).rename(root / "aside")  # test the installed package
        sys.path.insert(0, str(root))
        with contextlib.chdir(root):
            options = ["-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", "-o", "addopts="]
            failed = pytest.main([*options, *peer.tests], plugins=[peer])
    print(f"{package} {version}: {', '.join(f'{times} {outcome}' for outcome, times in peer.outcomes.items())}")
    for why, times in sorted(peer.reasons.items()):
        print(f"    {times} times not tried: {why}")
    return bool(failed)


# ---- torch ----


def run_torch():
    """Compares the settings of torch's own tests with torch, and checks that what torch refuses is refused."""
    from torch.testing._internal import common_optimizers as common

    failed = compared = refused = 0
    for theirs, ours in ((torch.optim.SGD, lt.SGD), (torch.optim.Adam, lt.Adam), (torch.optim.AdamW, lt.AdamW)):
        info = next(info for info in common.optim_db if info.optim_cls is theirs)
        for case in info.optim_inputs_func("cpu"):
            if case.kwargs.get("amsgrad"):
                print(f"    {theirs.__name__}, {case.desc}: not tried, no amsgrad")
                continue
            difference = beside(theirs, ours, case.kwargs)
            compared += 1
            if difference > 1e-5:
                failed += 1
                print(f"    {theirs.__name__}, {case.desc}: differs by {difference}")
        for case in info.optim_error_inputs_func("cpu", torch.float32):
            case_ = case.optimizer_error_input
            # Here a beta may be a tensor, and there is no foreach.
            if "foreach" in case_.kwargs or any(isinstance(b, torch.Tensor) for b in case_.kwargs.get("betas", ())):
                continue
            if is_refused(ours, case_, case.error_type):
                refused += 1
            else:
                failed += 1
                print(f"    {theirs.__name__}, not refused: {case_.desc}")
    counts = f"{compared} settings like torch's own, {refused} mistakes refused, {failed} failed"
    print(f"torch {torch.__version__}: {counts}")
    return bool(failed)


def beside(theirs, ours, kwargs):
    """By how much the weights differ after 30 steps."""
    nets = []
    for make in (theirs, ours):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
        optimizer, x = make(net.parameters(), **kwargs), torch.randn(16, 6)
        for _ in range(30):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
        nets.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    return (nets[0] - nets[1]).abs().max().item()


def is_refused(ours, case, error):
    parameters = case.params if case.params is not None else [torch.nn.Parameter(torch.ones(2, 2))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            ours(parameters, **case.kwargs)
        except error:
            return True
        except Exception as other:
            print(f"    {case.desc}: {other!r} instead of {error.__name__}")
            return False
    return False


PEERS = {
    "torch": run_torch,
    "timm": lambda: run(Timm(), "timm"),
    "pytorch_optimizer": lambda: run(PytorchOptimizer(), "pytorch_optimizer"),
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(PEERS[sys.argv[1]]())
    # Each in its own process, because each has a package named `tests`.
    sys.exit(any([subprocess.run([sys.executable, __file__, name]).returncode for name in PEERS]))
