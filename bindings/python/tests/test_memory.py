"""The owner of moments and states: steps of a model, policies, resuming, and arrays that change from step to step."""

import gc
import io
import unittest
import weakref

import numpy as np

import layerwise
from layerwise import PLAIN, Outcome

SHAPES = [(20, 7), (7,), (7, 3), (3,)]
RULES = {
    "sgd": layerwise.sgd(),
    "larc": layerwise.sgd(momentum=0.9, weight_decay=1e-3, larc=True),
    "novograd": layerwise.novograd(weight_decay=1e-3, bias_correction="moments"),
    "adam": layerwise.adam(weight_decay=1e-2),
    "lamb": layerwise.lamb(weight_decay=1e-2),
    "clipped": layerwise.novograd(clip_norm=0.5, skip_step=True, luc=True),
}


def arrays(seed, dtype=np.float32):
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(dtype) for shape in SHAPES]


def same_bits(one, other):
    return all(np.array_equal(a.view(np.uint8), b.view(np.uint8)) for a, b in zip(one, other))


class Steps(unittest.TestCase):
    def test_a_model_has_the_bits_of_its_layers(self):
        for name in ("sgd", "larc", "novograd", "adam", "lamb"):
            together, alone = arrays(1), arrays(1)
            memory = RULES[name].memory(together)
            memories = [RULES[name].memory([w]) for w in alone]
            for step in range(3):
                memory.step(RULES[name], 0.01, together, arrays(2 + step))
                for w, g, of_one in zip(alone, arrays(2 + step), memories):
                    of_one.step(RULES[name], 0.01, [w], [g])
            self.assertTrue(same_bits(together, alone), name)
            self.assertFalse(same_bits(together, arrays(1)), name)

    def test_summary_and_reports(self):
        weights, gradients = arrays(1), arrays(2)
        larc = layerwise.sgd(larc=True)
        memory = larc.memory(weights)
        self.assertEqual(list(memory.reports["outcome"]), [Outcome.ABSENT] * 4)
        norms = [np.linalg.norm(w.astype(np.float64)) for w in weights]
        summary = memory.step(larc, 0.1, weights, gradients)
        self.assertEqual(summary[:4], (Outcome.APPLIED, 4, 0, 0))
        self.assertIs(summary.outcome, Outcome.APPLIED)
        total = np.linalg.norm(np.concatenate([g.ravel() for g in gradients]).astype(np.float64))
        self.assertAlmostEqual(summary.gradient_norm, total, places=5)
        np.testing.assert_allclose(memory.reports["weight_norm"], norms, rtol=1e-6)
        np.testing.assert_allclose(memory.reports["effective_rate"], memory.reports["factor"] * 0.1)
        self.assertTrue(memory.reports["clipped"].all())

    def test_configurations(self):
        weights, gradients, adamw = arrays(1), arrays(2), layerwise.adam(weight_decay=0.5)
        memory = adamw.memory(weights, configs=[layerwise.DEFAULT, PLAIN, layerwise.FROZEN, (0.5, 1.0, True, False)])
        self.assertEqual(list(memory.configs["decay"]), [1.0, 0.0, 1.0, 1.0])
        memory.step(adamw, 0.01, weights, gradients)
        before = arrays(1)
        self.assertEqual(list(memory.reports["outcome"]), [0, 0, Outcome.FROZEN, 0])
        self.assertEqual(list(memory.reports["effective_rate"]), [0.01, 0.01, 0.0, 0.005])
        np.testing.assert_array_equal(weights[2], before[2])
        memory.configs["frozen"][0] = True
        memory.configs["rate"][1] = -1.0
        with self.assertRaises(layerwise.Error) as raised:
            memory.step(adamw, 0.01, weights, gradients)
        self.assertEqual((raised.exception.layer, raised.exception.value), (1, -1.0))

    def test_layers_without_gradients(self):
        weights, novograd = arrays(1), RULES["novograd"]
        memory = novograd.memory(weights)
        for gradients in ([None, *arrays(2)[1:]], [None] * 4, arrays(2)):
            memory.step(novograd, 0.01, weights, gradients)
            absent = [g is None for g in gradients]
            self.assertEqual(list(memory.reports["outcome"] == Outcome.ABSENT), absent)
        self.assertEqual(memory.states[0, 2], 1.0)
        self.assertEqual(memory.states[1, 2], 2.0)

    def test_a_step_that_is_skipped(self):
        skipping = RULES["clipped"]
        weights, gradients = arrays(1), arrays(2)
        memory = skipping.memory(weights)
        summary = memory.step(skipping, 0.01, weights, gradients)
        self.assertLess(summary.clip, 1.0)
        before, states = [w.copy() for w in weights], memory.states.copy()
        gradients[1][3] = np.inf
        summary = memory.step(skipping, 0.01, weights, gradients)
        self.assertEqual((summary.outcome, summary.applied, summary.skipped), (Outcome.STEP_SKIPPED, 0, 4))
        self.assertEqual(memory.reports["outcome"][1], Outcome.NON_FINITE)
        self.assertTrue(same_bits(weights, before))
        np.testing.assert_array_equal(memory.states, states)

    def test_the_scale_of_gradients(self):
        for name, optimizer in RULES.items():
            plain, scaled = arrays(1), arrays(1)
            optimizer.memory(plain).step(optimizer, 0.01, plain, arrays(2))
            larger = [g * 1024 for g in arrays(2)]
            optimizer.memory(scaled).step(optimizer, 0.01, scaled, larger, 1 / 1024)
            self.assertTrue(same_bits(plain, scaled), name)

    def test_refusals(self):
        weights, gradients, sgd = arrays(1), arrays(2), RULES["sgd"]
        memory = sgd.memory(weights)
        for lr, scale in ((-0.1, 1.0), (float("nan"), 1.0), (0.1, 0.0), (0.1, float("inf"))):
            with self.assertRaises(layerwise.Error):
                memory.step(sgd, lr, weights, gradients, scale)
        with self.assertRaisesRegex(layerwise.Error, "layer 0: momentum"):
            memory.step(RULES["novograd"], 0.1, weights, gradients)
        for bad in (weights[:3], [*weights, weights[0]], []):
            with self.assertRaisesRegex(ValueError, "must be 4 arrays"):
                memory.step(sgd, 0.1, bad, gradients)
        with self.assertRaises(ValueError):
            memory.step(sgd, 0.1, weights, [*gradients[:3], np.zeros(4, np.float32)])
        with self.assertRaises(TypeError):
            memory.step(sgd, 0.1, [*weights[:3], None], gradients)
        with self.assertRaises(TypeError):
            memory.step(sgd, "fast", weights, gradients)
        with self.assertRaisesRegex(ValueError, "copies must be 4"):
            sgd.memory(weights, copies=[None])
        for bad in ([PLAIN], PLAIN, [PLAIN] * 3, [PLAIN, PLAIN, PLAIN, 1.0]):
            with self.assertRaisesRegex(ValueError, "configs must be 4 tuples"):
                sgd.memory(weights, configs=bad)
        self.assertEqual(list(sgd.memory(weights, configs=memory.configs).configs), list(memory.configs))
        read_only = weights[2].copy()
        read_only.flags.writeable = False
        with self.assertRaisesRegex(ValueError, "read-only"):
            memory.step(sgd, 0.1, [*weights[:2], read_only, weights[3]], gradients)
        self.assertTrue(same_bits(weights, arrays(1)))
        # A step that was refused because of one array has no effect on later steps.
        self.assertEqual(memory.step(sgd, 0.1, weights, gradients).applied, 4)
        self.assertTrue(same_bits(weights, [w - np.float32(0.1) * g for w, g in zip(arrays(1), gradients)]))


class Kept(unittest.TestCase):
    def test_new_arrays_are_noticed(self):
        """Any mixture of old and new array objects gives the bits of fresh copies."""
        random = np.random.default_rng(3)
        novograd = RULES["novograd"]
        weights, plain = arrays(1), arrays(1)
        memory, of_plain = novograd.memory(weights), novograd.memory(plain)
        gradients = arrays(2)
        for step in range(40):
            for i in range(4):
                kind = random.integers(5)
                if kind == 0:
                    gradients[i] = arrays(100 + step)[i].astype(random.choice([np.float32, np.float16]))
                elif kind == 1:
                    gradients[i] = None
                elif kind == 2:
                    weights[i] = weights[i].copy()
                elif gradients[i] is not None:
                    gradients[i] *= np.asarray(0.5, gradients[i].dtype)
            memory.step(novograd, 0.01, weights, gradients)
            of_plain.step(novograd, 0.01, plain, [None if g is None else g.copy() for g in gradients])
            self.assertTrue(same_bits(weights, plain), step)

    def test_arrays_live_as_long_as_their_addresses(self):
        sgd = layerwise.sgd(momentum=0.9)
        weights, gradients = [np.ones(1000, np.float32)], [np.ones(1000, np.float32)]
        memory = sgd.memory(weights)
        memory.step(sgd, 0.1, weights, gradients)
        alive = [weakref.ref(weights[0]), weakref.ref(gradients[0])]
        del weights, gradients
        gc.collect()
        self.assertTrue(all(x() is not None for x in alive))
        memory.release()
        self.assertTrue(all(x() is None for x in alive))
        copy = np.zeros(1000, np.float16)
        memory = sgd.memory([np.ones(1000, np.float32)], copies=[copy])
        alive = weakref.ref(copy)
        del copy
        gc.collect()
        self.assertIsNotNone(alive())
        memory.step(sgd, 0.1, [np.ones(1000, np.float32)], [np.ones(1000, np.float32)])
        self.assertEqual(alive()[999], np.float16(0.9))
        reports = memory.reports
        del memory
        gc.collect()
        self.assertEqual(reports["outcome"][0], Outcome.APPLIED)

    @unittest.skipIf(np.lib.NumpyVersion(np.__version__) < "2.1.0", "numpy takes tensors to be read only")
    def test_memory_that_is_lent_again(self):
        """The memory of a tensor object may change in each step."""

        class Tensor:
            def __init__(self, x):
                self.x = x

            def __dlpack__(self, **options):
                return self.x.__dlpack__(**options)

            def __dlpack_device__(self):
                return self.x.__dlpack_device__()

        sgd, tensor, gradients = layerwise.sgd(), Tensor(np.ones(3, np.float32)), np.ones(3, np.float32)
        memory = sgd.memory([tensor])
        memory.step(sgd, 0.5, [tensor], [gradients])
        first, tensor.x = tensor.x, np.full(3, 9, np.float32)
        memory.step(sgd, 0.5, [tensor], [gradients])
        self.assertEqual((first[0], tensor.x[0]), (0.5, 8.5))

    def test_norms_that_are_carried(self):
        larc = RULES["larc"]
        weights, plain = arrays(1), arrays(1)
        memory, of_plain = larc.memory(weights, carry_norms=True), larc.memory(plain)
        for step in range(4):
            if step == 2:
                for w in (*weights, *plain):
                    w *= 2
                memory.forget_norms()
            memory.step(larc, 0.1, weights, arrays(2 + step))
            of_plain.step(larc, 0.1, plain, arrays(2 + step))
        self.assertTrue(same_bits(weights, plain))

    def test_a_carried_norm_is_of_one_array(self):
        larc = RULES["larc"]
        weights, plain = arrays(1), arrays(1)
        memory, of_plain = larc.memory(weights, carry_norms=True), larc.memory(plain)
        for step in range(3):
            if step == 1:  # other arrays, with other weights
                weights, plain = ([w * np.float32(3) for w in old] for old in (weights, plain))
            memory.step(larc, 0.1, weights, arrays(2 + step))
            of_plain.step(larc, 0.1, plain, arrays(2 + step))
        self.assertTrue(same_bits(weights, plain))


class Saved(unittest.TestCase):
    def run_of(self, optimizer, cut, **options):
        dtype = options.pop("dtype", np.float32)
        weights = [w.astype(np.float32).view(np.uint32) >> 16 for w in arrays(1)]
        weights = [w.astype(np.uint16) for w in weights] if dtype == np.uint16 else arrays(1)
        memory = optimizer.memory(weights, **options)
        for step in range(8):
            if step == cut:
                file = io.BytesIO()
                np.savez(file, **memory.state_dict())
                file.seek(0)
                weights = [w.copy() for w in weights]
                memory = optimizer.memory(weights, **options)
                memory.load_state_dict(np.load(file))
            memory.step(optimizer, 0.01, weights, arrays(2 + step))
        return weights, memory

    def test_training_that_is_resumed_has_the_same_bits(self):
        for name, optimizer in RULES.items():
            for options in ({}, {"bf16_momentum": True}, {"carry_norms": True}, {"dtype": np.uint16}):
                (through, memory), (resumed, of_resumed) = (self.run_of(optimizer, cut, **options) for cut in (None, 4))
                self.assertTrue(same_bits(through, resumed), (name, options))
                saved, again = memory.state_dict(), of_resumed.state_dict()
                self.assertEqual(list(saved), list(again))
                self.assertTrue(same_bits(saved.values(), again.values()), name)
                self.assertEqual(memory.nbytes, sum(x.nbytes for x in saved.values()))

    def test_what_does_not_fit_is_refused_before_anything_is_written(self):
        adam = layerwise.adam()
        memory = adam.memory(arrays(1))
        memory.step(adam, 0.1, arrays(1), arrays(2))
        saved = memory.state_dict()
        for bad in (
            {**saved, "second_moment.3": saved["second_moment.3"][:2]},
            {**saved, "second_moment.3": saved["second_moment.3"].astype(np.float64)},
            {name: x for name, x in saved.items() if name != "momentum.0"},
            {**saved, "lower.0": saved["states"]},
        ):
            fresh = adam.memory(arrays(1))
            with self.assertRaises(ValueError):
                fresh.load_state_dict(bad)
            self.assertFalse(any(x.any() for x in fresh.state_dict().values()))
        fresh.load_state_dict({**saved, "states": saved["states"] * np.nan})
        with self.assertRaises(layerwise.Error) as raised:
            fresh.step(adam, 0.1, arrays(1), arrays(2))
        self.assertEqual(raised.exception.status, -12)

    def test_what_is_loaded_belongs_to_other_weights(self):
        larc, weights = RULES["larc"], arrays(1)
        memory = larc.memory(weights, carry_norms=True)
        memory.step(larc, 0.1, weights, arrays(2))
        saved = memory.state_dict()
        for w in weights:
            w *= 3
        plain, of_plain = [w.copy() for w in weights], larc.memory(weights)
        for m, w in ((memory, weights), (of_plain, plain)):
            m.load_state_dict(saved)
            m.step(larc, 0.1, w, arrays(3))
        self.assertTrue(same_bits(weights, plain))

    def test_a_saved_state_does_not_change(self):
        sgd, weights = layerwise.sgd(momentum=0.9), arrays(1)
        memory = sgd.memory(weights)
        memory.step(sgd, 0.1, weights, arrays(2))
        saved = memory.state_dict()
        copies = {name: x.copy() for name, x in saved.items()}
        memory.step(sgd, 0.1, weights, arrays(3))
        self.assertTrue(same_bits(saved.values(), copies.values()))

    def test_other_orders(self):
        """A state saved for arrays in C order can be loaded for arrays in Fortran order."""
        adam = layerwise.adam()
        in_c, in_fortran = arrays(1), [np.asfortranarray(w) for w in arrays(1)]
        one, other = adam.memory(in_c), adam.memory(in_fortran)
        one.step(adam, 0.1, in_c, arrays(2))
        other.step(adam, 0.1, in_fortran, [np.asfortranarray(g) for g in arrays(2)])
        fresh = adam.memory(in_fortran)
        fresh.load_state_dict(one.state_dict())
        self.assertTrue(all(np.array_equal(a, b) for a, b in zip(fresh.second_moment, other.second_moment)))


class Split(unittest.TestCase):
    def test_split_and_join(self):
        weights, sgd = arrays(1), layerwise.sgd(momentum=0.9)
        upper = [np.zeros(w.shape, np.uint16) for w in weights]
        memory = sgd.memory(upper)
        for i, w in enumerate(weights):
            memory.split(i, w, upper[i])
            np.testing.assert_array_equal(memory.join(i, upper[i]), w)
        of_f32 = sgd.memory(weights)
        for step in range(3):
            memory.step(sgd, 0.1, upper, arrays(2 + step))
            of_f32.step(sgd, 0.1, weights, arrays(2 + step))
        self.assertTrue(same_bits([memory.join(i, u) for i, u in enumerate(upper)], weights))
        with self.assertRaisesRegex(ValueError, "not split"):
            of_f32.join(0, weights[0])
        with self.assertRaises(TypeError):
            memory.step(sgd, 0.1, weights, arrays(2))

    def test_copies(self):
        weights, sgd = arrays(1), layerwise.sgd()
        copies = [np.zeros(w.shape, np.float16) for w in weights[:3]] + [None]
        memory = sgd.memory(weights, copies=copies)
        memory.step(sgd, 0.1, weights, arrays(2))
        for w, copy in zip(weights[:3], copies):
            np.testing.assert_array_equal(copy, w.astype(np.float16))


if __name__ == "__main__":
    unittest.main()
