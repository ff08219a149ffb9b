"""Arrays in place: what is taken, what is refused, and that nothing is copied."""

import array
import itertools
import unittest

import numpy as np

import layerwise
from layerwise.arrays import Layout, layout_of, take, zeros_like

# Earlier numpy versions treat foreign arrays as read-only.
WRITES_DLPACK = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
SGD = layerwise.sgd(momentum=0.9)


def ones(*shape, dtype=np.float32, order="C"):
    return np.ones(shape, dtype, order)


class Lent:
    """An object that is not a numpy array but exports one through DLPack."""

    def __init__(self, x):
        self.x = x

    def __dlpack__(self, **options):
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


def step(weights, gradients, optimizer=SGD, lr=0.1):
    memory = optimizer.memory([weights])
    return memory.step(optimizer, lr, [weights], [gradients])


class Arrays(unittest.TestCase):
    def test_what_has_a_buffer_is_updated_in_place(self):
        expected = np.float32(1) - np.float32(0.1)
        for kind, make in (
            ("numpy", lambda: ones(7)),
            ("a part of one", lambda: ones(20)[5:12]),
            ("an array of Python", lambda: array.array("f", [1.0] * 7)),
            ("a view of bytes", lambda: memoryview(bytearray(ones(7).tobytes())).cast("f")),
            ("DLPack", lambda: Lent(ones(7))),
        ):
            weights = make()
            if kind == "DLPack" and not WRITES_DLPACK:
                with self.assertRaisesRegex(ValueError, r"read-only: pass .detach\(\).numpy\(\)"):
                    step(weights, make())
                continue
            self.assertEqual(step(weights, make()).applied, 1, kind)
            found = weights.x if isinstance(weights, Lent) else np.asarray(weights)
            np.testing.assert_array_equal(found, np.full(7, expected), kind)

    def test_no_dimensions_and_no_elements(self):
        weights = np.ones((), np.float32)
        self.assertEqual(step(weights, np.ones((), np.float32)).applied, 1)
        self.assertLess(weights, 1.0)
        self.assertEqual(step(ones(0, 3), ones(0, 3)).outcome, layerwise.Outcome.APPLIED)
        self.assertEqual(SGD.memory([]).step(SGD, 0.1, [], []).applied, 0)

    def test_what_would_have_to_be_copied_is_refused(self):
        good, read_only = ones(4, 4), ones(4, 4)
        read_only.flags.writeable = False
        for weights, gradients, error, words in (
            (ones(8, 4)[::2], good, ValueError, r"weights\[0\] does not lie in one piece.*ascontiguousarray"),
            (good, ones(8, 4)[::2], ValueError, r"gradients\[0\] does not lie in one piece"),
            (good, ones(4, 4)[::-1], ValueError, "one piece"),
            (good, np.broadcast_to(np.float32(1), (4, 4)), ValueError, "one piece"),
            (ones(4, 4, dtype=np.float64), good, TypeError, r"weights\[0\] must have elements of float32.*astype"),
            (good, ones(4, 4, dtype=np.float64), TypeError, "float16, not float64"),
            (good, ones(4, 4, dtype=">f4"), TypeError, "astype"),
            (ones(4, 4, dtype=np.float16), good, TypeError, "float32, bfloat16"),
            (read_only, good, ValueError, "read-only"),
            (good, ones(4, 4, order="F"), ValueError, r"another order .*\(1, 4\).*\(4, 1\)"),
            (good, ones(16), ValueError, r"shape \(16,\).*reshape"),
            (good, ones(4, 5), ValueError, "shape"),
            ([1.0] * 4, good, TypeError, "not list"),
            (good, 3.0, TypeError, "not float"),
            (good, bytearray(64), TypeError, "not uint8"),
        ):
            with self.assertRaisesRegex(error, words):
                step(weights, gradients)
        self.assertEqual(step(good, np.frombuffer(ones(4, 4).tobytes(), np.float32).reshape(4, 4)).applied, 1)

    def test_what_only_the_library_sees(self):
        both = ones(10)
        with self.assertRaisesRegex(layerwise.Error, "overlap"):
            step(both[1:], both[:-1])
        np.testing.assert_array_equal(both, ones(10))
        bytes_ = np.zeros(44, np.uint8)
        with self.assertRaisesRegex(layerwise.Error, "aligned"):
            step(bytes_[1:41].view(np.float32), ones(10))

    def test_orders(self):
        """Arrays in any order of their dimensions give the bits of flat arrays with the same memory."""
        random = np.random.default_rng(1)
        shape = (3, 4, 1, 5)
        for permutation in itertools.permutations(range(4)):
            flat = [random.standard_normal(60, np.float32) for _ in range(3)]
            laid = lambda x: x.copy().reshape([shape[i] for i in permutation]).transpose(np.argsort(permutation))
            weights, gradients = laid(flat[0]), [laid(flat[1]), laid(flat[2])]
            memory, of_flat = SGD.memory([weights]), SGD.memory([flat[0]])
            for g, f in zip(gradients, flat[1:]):
                memory.step(SGD, 0.1, [weights], [g])
                of_flat.step(SGD, 0.1, [flat[0]], [f])
            np.testing.assert_array_equal(weights, laid(flat[0]))
            self.assertEqual(layout_of(memory.momentum[0]), layout_of(weights))
            np.testing.assert_array_equal(memory.momentum[0], laid(of_flat.momentum[0]))

    def test_layouts(self):
        self.assertEqual(layout_of(ones(3, 1, 2)), Layout((3, 1, 2), (2, 0, 1)))
        self.assertEqual(layout_of(ones(3, 1, 2, order="F")), Layout((3, 1, 2), (1, 0, 3)))
        self.assertEqual(layout_of(ones(2, 3).T), Layout((3, 2), (1, 3)))
        self.assertEqual(layout_of(ones(1, 8)[:, ::8]), Layout((1, 1), (0, 0)))
        for gappy in (ones(3, 4)[:, :3], ones(9)[::3], ones(9)[::-1], np.broadcast_to(ones(3), (2, 3))):
            self.assertIsNone(layout_of(gappy))
        for x in (ones(3, 4), ones(3, 4, order="F"), ones(2, 3, 4).transpose(1, 0, 2), ones(0), ones()):
            self.assertEqual(layout_of(zeros_like(layout_of(x), np.uint16)), layout_of(x))

    def test_types_of_sixteen_bits(self):
        self.assertEqual(take(ones(2, dtype=np.uint16), "x").type, 1)
        self.assertEqual(take(ones(2, dtype=np.float16), "x").type, 2)
        try:
            from ml_dtypes import bfloat16
        except ImportError:
            return
        gradients = np.array([1.5, -2.0, 0.25], bfloat16)
        weights, same = ones(3), ones(3)
        step(weights, gradients)
        step(same, gradients.view(np.uint16))
        np.testing.assert_array_equal(weights, np.float32([0.85, 1.2, 0.975]))
        np.testing.assert_array_equal(weights, same)
        split = ones(3, dtype=bfloat16)
        memory = SGD.memory([split])
        memory.step(SGD, 0.1, [split], [gradients])
        np.testing.assert_array_equal(memory.join(0, split), weights)


class Norms(unittest.TestCase):
    def test_norms(self):
        x = np.array([[3.0, 0.0], [0.0, -4.0]], np.float32)
        self.assertEqual((layerwise.sum_of_squares(x), layerwise.l2_norm(x), layerwise.max_norm(x)), (25.0, 5.0, 4.0))
        self.assertEqual(layerwise.l2_norm(x.astype(np.float16)), 5.0)
        self.assertAlmostEqual(layerwise.l2_norm(np.full(4, 1e38, np.float32)) / 2e38, 1.0, places=6)
        self.assertTrue(np.isnan(layerwise.max_norm(np.array([1, np.nan], np.float32))))
        self.assertEqual(layerwise.l2_norm(ones(0)), 0.0)
        with self.assertRaisesRegex(ValueError, "one piece"):
            layerwise.l2_norm(ones(9)[::2])

    def test_accumulate(self):
        sum = np.zeros(3, np.float32)
        self.assertEqual(layerwise.accumulate(sum, np.array([1, 2, 2], np.float16), 0.5), 2.25)
        self.assertIsNone(layerwise.accumulate(sum, np.float32([1, np.inf, 0]), finite_only=True))
        np.testing.assert_array_equal(sum, [0.5, 1, 1])
        self.assertEqual(layerwise.accumulate(sum, np.float32([1, np.inf, 0])), np.inf)
        for bad in (np.zeros(3, np.float16), np.zeros(4, np.float32)):
            with self.assertRaises((TypeError, ValueError)):
                layerwise.accumulate(bad, np.zeros(3, np.float32))
        with self.assertRaises(layerwise.Error):
            layerwise.accumulate(np.zeros(3, np.float32), ones(3), float("nan"))


if __name__ == "__main__":
    unittest.main()
