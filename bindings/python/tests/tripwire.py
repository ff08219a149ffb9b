"""Shared code for replaying ``tests/data/tripwire.txt``: its numbers, its hash, and its lines."""

import struct
import unittest
from pathlib import Path

import numpy as np

STORED = Path(__file__).resolve().parents[3] / "tests" / "data" / "tripwire.txt"
LEN = 5000
MASK = (1 << 64) - 1


def numbers(seed, exponent):
    """Numbers with any mantissa, from a linear congruential generator, times powers of two: number i times 2 to the
    exponent(i)."""
    bits, state = np.zeros(LEN, np.uint32), seed
    for i in range(LEN):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        bits[i] = state >> 32
    exponents = np.zeros(LEN, np.uint32) + (127 + exponent(np.arange(LEN))).astype(np.uint32)
    return (bits & np.uint32(0x807FFFFF) | exponents << np.uint32(23)).view(np.float32)


def constant(exponent):
    return lambda i: np.int64(exponent)


def hash_of(words):
    """FNV-1a over words, or over the bits of numbers."""
    words = words.view(np.uint32) if words.dtype == np.float32 else words
    mixed = 0xCBF29CE484222325
    for word in words.tolist():
        mixed = (mixed ^ word) * 0x100000001B3 & MASK
    return mixed


def bits_of(*doubles):
    """A hash of the bits of numbers."""
    mixed = 0
    for x in doubles:
        mixed ^= struct.unpack("<Q", struct.pack("<d", x))[0]
    return mixed


def bits_of_report(memory):
    report = memory.reports[0]
    return bits_of(report["gradient_norm"], report["factor"], report["effective_rate"])


def bits_of_norm(memory):
    """A hash of the norm of the weights after the last step."""
    return bits_of(memory._table.norms[0].weights)


@unittest.skipUnless(STORED.exists(), "not in a checkout")
class Replay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lines = (line.split(" ", 1) for line in STORED.read_text().splitlines())
        cls.stored = {name: int(bits, 16) for bits, name in lines}

    def setUp(self):
        self.met = set()

    def check(self, name, bits):
        self.met.add(name)
        self.assertEqual(f"{bits:016x}", f"{self.stored[name]:016x}", name)

    def check_all_were_met(self, is_meant):
        """Checks that no line was forgotten."""
        self.assertEqual({name for name in self.stored if is_meant(name)} - self.met, set())
