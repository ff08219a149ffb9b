"""The time of a step from Python, compared with the library call alone, and with torch's own steps if torch is
installed.

    python bench.py [--torch] [--check]

Prints microseconds, the minimum of many steps on one thread. With --check it fails if a step of the keyword spotter's
24 tensors takes more than 1.3 times the call alone, or one of the digits network more than 12 microseconds.
"""

import ctypes
import math
import sys
import time

import numpy as np

import layerwise
from layerwise._library import library

C = 132
MODELS = {
    "digits": [(64, 64), (64,), (64, 10), (10,)],
    "keyword spotter": [(C, 1, 10, 4), (C,)] + 5 * [(C, 1, 3, 3), (C,), (C, C, 1, 1), (C,)] + [(12, C), (12,)],
    "4.2 M": 4 * [(1024, 1024), (1024,)],
}
RULES = {
    "SGD with momentum": layerwise.sgd(momentum=0.9),
    "LARC": layerwise.sgd(momentum=0.9, weight_decay=1e-4, larc=True),
    "NovoGrad": layerwise.novograd(),
    "AdamW": layerwise.adam(weight_decay=0.01),
}


def least(step, seconds=0.7):
    """The minimum of many runs, in microseconds."""
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(20):
            start = time.perf_counter_ns()
            step()
            best = min(best, time.perf_counter_ns() - start)
    return best / 1000


def of_numpy(shapes, optimizer):
    """A step with the same arrays as before, one with new gradients, and the call alone."""
    random = np.random.default_rng(1)
    weights = [random.random(shape, np.float32) + np.float32(0.5) for shape in shapes]
    gradients = [random.random(shape, np.float32) + np.float32(0.5) for shape in shapes]
    others = [g.copy() for g in gradients]
    memory = optimizer.memory(weights)
    step = lambda: memory.step(optimizer, 1e-6, weights, gradients)

    def anew():
        gradients[:], others[:] = others, list(gradients)
        memory.step(optimizer, 1e-6, weights, gradients)

    known = least(step)
    arguments = [ctypes.c_void_p(optimizer.address), ctypes.c_double(1e-6), ctypes.c_double(1.0)]
    arguments += [kind(x) for kind, x in zip(library.lw_step.argtypes[3:], memory._table._arguments)]
    return known, least(anew), least(lambda: library.lw_step(*arguments))


def of_torch(shapes):
    """Steps of torch's optimizers and of the class here, with the same and with new gradients."""
    import torch

    import layerwise.torch as lt

    torch.set_num_threads(1)
    for name, make in {
        "torch SGD, fused": lambda p: torch.optim.SGD(p, lr=1e-6, momentum=0.9, fused=True),
        "layerwise.torch.SGD": lambda p: lt.SGD(p, lr=1e-6, momentum=0.9),
        "torch AdamW, fused": lambda p: torch.optim.AdamW(p, lr=1e-6, fused=True),
        "layerwise.torch.AdamW": lambda p: lt.AdamW(p, lr=1e-6),
        "layerwise.torch.NovoGrad": lambda p: lt.NovoGrad(p, lr=1e-6),
    }.items():
        parameters = [torch.nn.Parameter(torch.rand(shape) + 0.5) for shape in shapes]
        gradients = [[torch.rand_like(p) for p in parameters] for _ in range(2)]
        for p, g in zip(parameters, gradients[0]):
            p.grad = g
        optimizer = make(parameters)
        known = least(optimizer.step)
        best, end = math.inf, time.perf_counter() + 0.7
        while time.perf_counter() < end:
            gradients.reverse()
            for p, g in zip(parameters, gradients[0]):
                p.grad = g.detach()
            start = time.perf_counter_ns()
            optimizer.step()
            best = min(best, time.perf_counter_ns() - start)
        print(f"    {name:26} {known:10.1f} {best / 1000:12.1f}")


def main():
    passed = True
    for model, shapes in MODELS.items():
        print(f"{model}, {sum(map(math.prod, shapes))} parameters in {len(shapes)} tensors")
        print(f"    {'':26} {'a step':>10} {'new gradients':>13} {'call alone':>12} {'ratio':>7}")
        for name, optimizer in RULES.items():
            known, anew, alone = of_numpy(shapes, optimizer)
            print(f"    {name:26} {known:10.1f} {anew:13.1f} {alone:12.1f} {known / alone:7.2f}", flush=True)
            passed &= model != "keyword spotter" or known <= 1.3 * alone
            passed &= model != "digits" or known <= 12
        if "--torch" in sys.argv:
            of_torch(shapes)
    if "--check" in sys.argv and not passed:
        sys.exit("slower than it may be")


if __name__ == "__main__":
    main()
