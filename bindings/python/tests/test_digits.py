"""Training in numpy ends with the same bits as in Rust."""

import sys
import unittest
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "examples"
sys.path.insert(0, str(FOLDER))

try:
    import digits
except ImportError:
    raise unittest.SkipTest("not in a checkout") from None

# The output of `cargo run --release --bin digits` in examples/cortex-m.
WEIGHTS = {
    "LARC": "4fd953327eb8e230",
    "LARC without momentum": "8fc4d9929eeba87d",
    "NovoGrad": "469f7915d29efe34",
    "NovoGrad without momentum": "8d3d0c8064667956",
    "AdamW": "467c324bed166924",
    "LAMB": "26f8df3056cc1a51",
}


@unittest.skipUnless(digits.DATA.exists(), "not in a checkout")
class Digits(unittest.TestCase):
    def test_weights(self):
        pixels, labels = digits.load(digits.DATA)
        self.assertEqual(set(digits.RULES), set(WEIGHTS))
        for name, (optimizer, lr) in digits.RULES.items():
            weights = digits.train(optimizer, lr, pixels, labels)
            self.assertEqual(f"{digits.hash_of(weights):016x}", WEIGHTS[name], name)


if __name__ == "__main__":
    unittest.main()
