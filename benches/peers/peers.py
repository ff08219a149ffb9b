"""Optimizer steps of PyTorch, timm and optax. One line per measurement: name, model, ns per parameter, peak bytes.

With an argument, only those whose names contain it. THREADS sets the number of threads, one by default; any other
number means all. Libraries that are not installed are left out.
"""

import os

THREADS = int(os.environ.get("THREADS", "1"))
if THREADS == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = str(THREADS)

import math
import sys
import threading
import time

try:
    import torch
    from timm.optim import Lamb, Lars, NvNovoGrad

    torch.set_num_threads(THREADS)
except ImportError as error:
    torch = None
    print(f"without PyTorch and timm: {error}", file=sys.stderr)
try:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
except ImportError as error:
    optax = None
    print(f"without optax: {error}", file=sys.stderr)


def resnet50():
    tensors = [(64, 3, 7, 7), (64,), (64,)]
    inputs = 64
    for planes, blocks in [(64, 3), (128, 4), (256, 6), (512, 3)]:
        for block in range(blocks):
            outputs = 4 * planes
            for shape in [(planes, inputs, 1, 1), (planes, planes, 3, 3), (outputs, planes, 1, 1)]:
                tensors += [shape, (shape[0],), (shape[0],)]
            if block == 0:
                tensors += [(outputs, inputs, 1, 1), (outputs,), (outputs,)]
            inputs = outputs
    return tensors + [(1000, 2048), (1000,)]


def keyword_spotter():
    c = 132
    return [(c, 1, 10, 4), (c,)] + 5 * [(c, 1, 3, 3), (c,), (c, c, 1, 1), (c,)] + [(12, c), (12,)]


def perceptron():
    return [(2048, 1024), (2048,), (1024, 2048), (1024,)]


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_of(step):
    """The largest growth of the process during a step, sampled by another thread."""
    before, peak, done = resident(), 0, False

    def watch():
        nonlocal peak
        while not done:
            peak = max(peak, resident())
            time.sleep(0.0002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(5):
        step()
    done = True
    watcher.join()
    return max(0, peak - before)


def measure(name, model, parameters, step):
    if not all(part in name for part in sys.argv[1:]):
        return
    for _ in range(3):
        step()
    peak = peak_of(step)
    best = float("inf")
    end = time.perf_counter() + 3.0
    while time.perf_counter() < end:
        start = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - start)
    print(f"{name}\t{model}\t{best / parameters * 1e9:.4f}\t{peak}", flush=True)


def torch_optimizers(model, shapes, parameters):
    optimizers = {
        "PyTorch SGD, fused": lambda p: torch.optim.SGD(p, lr=1e-6, momentum=0.9, fused=True),
        "PyTorch AdamW": lambda p: torch.optim.AdamW(p, lr=1e-6),
        "PyTorch AdamW, fused": lambda p: torch.optim.AdamW(p, lr=1e-6, fused=True),
        "timm NvNovoGrad": lambda p: NvNovoGrad(p, lr=1e-6),
        "timm Lars, trust_clip": lambda p: Lars(p, lr=1e-6, trust_clip=True, weight_decay=1e-4),
        "timm Lamb": lambda p: Lamb(p, lr=1e-6, weight_decay=0.01),
    }
    for name, make in optimizers.items():
        tensors = [torch.nn.Parameter(torch.rand(shape) + 0.5) for shape in shapes]
        for tensor in tensors:
            tensor.grad = torch.rand_like(tensor) + 0.5
        measure(name, model, parameters, make(tensors).step)


def optax_optimizers(model, shapes, parameters):
    random = np.random.default_rng(1)
    numbers = lambda: [jnp.asarray(random.random(shape, np.float32) + 0.5) for shape in shapes]
    optimizers = {
        "optax novograd, jit": optax.novograd(1e-6),
        "optax lars, jit": optax.lars(1e-6),
        "optax AdamW, jit": optax.adamw(1e-6),
        "optax lamb, jit": optax.lamb(1e-6),
    }
    for name, optimizer in optimizers.items():

        def update(weights, state, gradients, optimizer=optimizer):
            updates, state = optimizer.update(gradients, state, weights)
            return optax.apply_updates(weights, updates), state

        # Weights and state are donated, so that XLA may write in place.
        update = jax.jit(update, donate_argnums=(0, 1))
        weights, gradients = numbers(), numbers()
        memory = [weights, optimizer.init(weights)]

        def step():
            memory[:] = update(memory[0], memory[1], gradients)
            jax.block_until_ready(memory)

        measure(name, model, parameters, step)


for model, shapes in {"keyword spotter": keyword_spotter(), "perceptron": perceptron(), "ResNet-50": resnet50()}.items():
    parameters = sum(math.prod(shape) for shape in shapes)
    if torch:
        torch_optimizers(model, shapes, parameters)
    if optax:
        optax_optimizers(model, shapes, parameters)
