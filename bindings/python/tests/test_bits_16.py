"""Gradients, momentum, split weights and copies of 16 bits have the bits that the Rust library stores."""

import unittest

import numpy as np

import layerwise
from layerwise import adam, novograd, sgd
from test_bits import LARC, LAMB, NOVOGRAD, SGD
from tripwire import LEN, MASK, Replay, bits_of, bits_of_norm, bits_of_report, constant, hash_of, numbers


def to_bf16(x):
    """Rounds to nearest, ties to even."""
    bits = x.view(np.uint32)
    return (bits + np.uint32(0x7FFF) + (bits >> 16 & 1) >> 16).astype(np.uint16)


def to_f16(x):
    return x.astype(np.float16)


TYPES = {"bf16": (to_bf16, np.uint16, 0x7F80), "f16": (to_f16, np.float16, 0x7C00)}


class Bits(Replay):
    def test_everything(self):
        for name in TYPES:
            self.widened(name)
            self.copied(name, saturate=False)
            self.copied(name, saturate=True)
            self.sums(name)
        self.all_steps()
        self.check_all_were_met(lambda name: name.startswith("16 bits"))

    def widened(self, name):
        """All finite numbers of a type, as gradients of a step that adds them to weights of -0."""
        _, dtype, infinity = TYPES[name]
        add, words = sgd(maximize=True), 0
        for start in range(0, 1 << 16, LEN):
            bits = (np.arange(start, start + LEN) & 0xFFFF).astype(np.uint16)
            gradients = np.where(bits & 0x7FFF < infinity, bits, 0).astype(np.uint16).view(dtype)
            weights = np.full(LEN, -0.0, np.float32)
            add.memory([weights]).step(add, 1.0, [weights], [gradients])
            words ^= rotated(hash_of(weights), start)
        self.check(f"16 bits of {name}, {name} widened", words)

    def copied(self, name, saturate):
        """Copies of many weights, which a step at a rate of 0 does not change."""
        _, dtype, _ = TYPES[name]
        words, gradients, copy = 0, np.zeros(LEN, np.float32), np.zeros(LEN, dtype)
        for part in range(14):
            i = np.arange(part * LEN, (part + 1) * LEN, dtype=np.uint64)
            weights = (i * 0x9E3779B1 & 0xFFFFFFFF).astype(np.uint32).view(np.float32)
            memory = sgd().memory([weights], copies=[copy], saturate=saturate)
            memory.step(sgd(), 0.0, [weights], [gradients])
            words ^= rotated(hash_of(self.one_nan(copy, name)), part)
        self.check(f"16 bits of {name}, {name} copied{', saturating' if saturate else ''}", words)

    def one_nan(self, copy, name):
        """All NaNs count as equal."""
        infinity, bits = TYPES[name][2], copy.view(np.uint16)
        return np.where(bits & 0x7FFF > infinity, infinity + 1, bits)

    def sums(self, name):
        gradients = TYPES[name][0](numbers(8, lambda i: 14 - i % 39))
        for length in (1, 31, 1025, LEN):
            self.check(f"16 bits of {name}, of {length}", bits_of(layerwise.sum_of_squares(gradients[:length])))
        weights = numbers(9, constant(0))
        squares = layerwise.accumulate(weights, gradients, 0.3)
        self.check(f"16 bits of {name}, accumulated", bits_of(squares) ^ hash_of(weights))

    def all_steps(self):
        split = {"gradients": "f16", "bf16_momentum": False, "split": True}
        self.steps("novograd", NOVOGRAD["novograd decay"])
        self.steps("novograd luc", NOVOGRAD["novograd luc"], scale=0.3, lr=0.5)
        self.steps("larc", sgd(**LARC), scale=0.3, **split)
        self.steps("larc without momentum", SGD["larc without momentum"], scale=0.3, **split)
        self.steps("lars norm of sum", SGD["lars norm of sum"], scale=0.3, **split)
        self.steps("lamb", adam(**LAMB), scale=0.3, **split)
        adamw = adam(weight_decay=0.01)
        self.steps("adamw, bf16 copy", adamw, copy="bf16")
        self.steps("adamw, f16 copy", adamw, copy="f16")
        self.steps("scaled up", SGD["sgd nesterov"], scale=1e33, **split)
        self.steps("scaled down", SGD["sgd nesterov"], scale=1e-33, **split)

    def steps(self, name, optimizer, scale=1.0, lr=0.01, gradients="bf16", bf16_momentum=True, split=False, copy=None):
        """Three steps of one layer."""
        weights = numbers(10, lambda i: i % (22 if copy else 1) - 4)
        tensor = np.zeros(LEN, np.uint16) if split else weights
        copies = [np.zeros(LEN, TYPES[copy][1])] if copy else None
        memory = optimizer.memory(
            [tensor], bf16_momentum=bf16_momentum, carry_norms=True, copies=copies, saturate=copy == "f16"
        )
        if split:
            memory.split(0, weights, tensor)
        reports = 0
        for step in range(3):
            memory.step(optimizer, lr, [tensor], [TYPES[gradients][0](numbers(11 + step, constant(1)))], scale)
            reports ^= bits_of_report(memory)
        zeros = np.zeros(LEN, np.float32)
        self.check(f"16 bits {name}, reports", reports ^ bits_of_norm(memory))
        self.check(f"16 bits {name}, weights", hash_of(memory.join(0, tensor) if split else weights))
        if copy:
            self.check(f"16 bits {name}, copy", hash_of(self.one_nan(copies[0], copy)))
        self.check(f"16 bits {name}, momentum", hash_of(memory.momentum[0] if memory.momentum else zeros))
        second_moment = memory.second_moment[0] if memory.second_moment else zeros
        self.check(f"16 bits {name}, second moment", hash_of(second_moment))


def rotated(word, by):
    by %= 64
    return (word << by | word >> (64 - by)) & MASK


if __name__ == "__main__":
    unittest.main()
