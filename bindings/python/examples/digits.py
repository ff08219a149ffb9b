"""Learns to read handwritten digits with LARC, NovoGrad, AdamW and LAMB, and prints a hash of the weights of each.

    python examples/digits.py [digits.csv.gz]

The weights are those of the same training in Rust (examples/cortex-m) and C, bit for bit. So numbers are added one
after another where numpy would choose its own order, and the exponential is not numpy's.
"""

import sys
from pathlib import Path

import numpy as np

import layerwise

DATA = Path(__file__).resolve().parents[3] / "examples" / "data" / "digits.csv.gz"
PIXELS, HIDDEN, CLASSES = 64, 32, 10
DIGITS, TRAINED, BATCH, EPOCHS = 700, 500, 20, 8
MASK = (1 << 64) - 1
RULES = {
    "LARC": (layerwise.sgd(momentum=0.9, larc={"eta": 0.02}), 0.5),
    "LARC without momentum": (layerwise.sgd(larc={"eta": 0.02}), 2.0),
    "NovoGrad": (layerwise.novograd(), 0.02),
    "NovoGrad without momentum": (layerwise.novograd(beta1=0.0), 0.2),
    "AdamW": (layerwise.adam(weight_decay=0.01), 0.01),
    "LAMB": (layerwise.adam(weight_decay=0.01, trust_ratio=True), 0.02),
}


def load(path):
    """Pixels from 0 to 1, and labels. The rows are sorted by writer; a prime stride mixes them."""
    rows = np.loadtxt(path, delimiter=",", dtype=np.int64)
    rows = rows[np.arange(DIGITS) * 1013 % len(rows)]
    return (rows[:, :PIXELS] / 16).astype(np.float32), rows[:, PIXELS]


def initialised():
    """Uniform weights of variance 2 / inputs, and biases of zero: of the hidden units, and of the output."""
    seed, made = 1, []
    for inputs, outputs in ((PIXELS, HIDDEN), (HIDDEN, CLASSES)):
        weights, bound = np.zeros(inputs * outputs, np.float32), np.sqrt(np.float32(6) / np.float32(inputs))
        for i in range(len(weights)):
            seed = (seed * 6364136223846793005 + 1442695040888963407) & MASK
            weights[i] = bound * (np.float32(seed >> 40) / np.float32(1 << 23) - np.float32(1))
        made += [weights.reshape(inputs, outputs), np.zeros(outputs, np.float32)]
    return made


def affine(weights, biases, inputs):
    """inputs @ weights + biases, added input by input."""
    outputs = np.repeat(biases[None], len(inputs), axis=0)
    for row, column in zip(weights, inputs.T):
        outputs += row * column[:, None]
    return outputs


def forward(weights, pixels):
    hidden = np.maximum(affine(*weights[:2], pixels), np.float32(0))
    return hidden, affine(*weights[2:], hidden)


def exponential(x):
    """e to the power x, which is at most 0, with the bits of Rust's libm: 2^k e^r, where x = k ln 2 + r, and e^r is
    computed from a polynomial in r^2. The constants are FreeBSD's."""
    f = np.float32
    k = np.trunc(f(1.4426950216) * x - f(0.5))
    high, low = x - k * f(0.69314575195), k * f(1.4286067653e-6)
    r = high - low
    c = r - r * r * (f(0.16666625440) + r * r * f(-2.7667332906e-3))
    near = np.ldexp(f(1) + (r * c / (f(2) - c) - low + high), k.astype(np.int32))
    return np.where(x < f(-103.9720840), f(0), np.where(x >= f(-(2.0**-13)), f(1) + x, near))


def gradients(weights, pixels, labels):
    """The gradients of the mean cross-entropy of a batch, added digit by digit."""
    hidden, output = forward(weights, pixels)
    d_output = exponential(output - output.max(axis=1, keepdims=True))
    total = np.zeros(len(labels), np.float32)
    for column in d_output.T:
        total += column
    d_output = d_output / total[:, None] / np.float32(BATCH)
    d_output[np.arange(len(labels)), labels] -= np.float32(1) / np.float32(BATCH)
    d_hidden = np.zeros_like(hidden)
    for column, row in zip(weights[2].T, d_output.T):
        d_hidden += column * row[:, None]
    d_hidden[hidden <= 0] = 0
    sums = [np.zeros_like(w) for w in weights]
    for x, h, dh, do in zip(pixels, hidden, d_hidden, d_output):
        for to, add in zip(sums, (x[:, None] * dh, dh, h[:, None] * do, do)):
            to += add
    return sums


def train(optimizer, lr, pixels, labels):
    """Trains a new network with a learning rate that falls to 0."""
    weights = initialised()
    memory, batches = optimizer.memory(weights), TRAINED // BATCH
    for step in range(EPOCHS * batches):
        epoch, batch = divmod(step, batches)
        # Every epoch has the digits in a different order, by a prime stride.
        chosen = ((batch * BATCH + np.arange(BATCH)) * 191 + 37 * epoch) % TRAINED
        rate = lr * (1.0 - step / (EPOCHS * batches))
        memory.step(optimizer, rate, weights, gradients(weights, pixels[chosen], labels[chosen]))
    return weights


def hash_of(weights):
    """FNV-1a over the bits of the weights, word by word."""
    mixed = 0xCBF29CE484222325
    for word in np.concatenate([w.ravel() for w in weights]).view(np.uint32).tolist():
        mixed = (mixed ^ word) * 0x100000001B3 & MASK
    return mixed


def main():
    pixels, labels = load(sys.argv[1] if len(sys.argv) > 1 else DATA)
    for name, (optimizer, lr) in RULES.items():
        weights = train(optimizer, lr, pixels, labels)
        right = (forward(weights, pixels[TRAINED:])[1].argmax(axis=1) == labels[TRAINED:]).sum()
        print(f"{name}: {right} of {DIGITS - TRAINED} right\nweights {hash_of(weights):016x}", flush=True)


if __name__ == "__main__":
    main()
