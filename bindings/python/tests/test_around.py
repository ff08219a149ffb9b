"""Schedules, loss scalers and recipes."""

import math
import unittest
from pathlib import Path

import numpy as np

import layerwise

RECIPES = Path(__file__).resolve().parents[3] / "examples" / "recipe"


class Schedules(unittest.TestCase):
    def test_rates(self):
        poly = layerwise.schedule("poly_decay", 1.0, power=2.0, min_lr=0.1, decay_steps=10)
        self.assertEqual(poly.policy, "poly_decay")
        for step in range(12):
            s = min(step, 10) / 10
            self.assertAlmostEqual(poly.rate(step), 0.9 * (1 - s) ** 2 + 0.1, places=14)
        cosine = layerwise.schedule("cosine_decay", 0.5).fill(steps=100)
        self.assertAlmostEqual(cosine.rate(25), 0.25 * (1 + math.cos(math.pi / 4)), places=14)
        steps = layerwise.schedule(
            "piecewise_constant", 1.0, boundaries=[2, 4], decay_rates=[0.5, 0.25], steps_per_epoch=10
        )
        self.assertEqual([steps.rate(t) for t in (0, 19, 21, 39, 41)], [1.0, 1.0, 0.5, 0.5, 0.25])
        staircase = layerwise.schedule("exp_decay", 1.0, decay_steps=10, decay_rate=0.5, use_staircase_decay=True)
        self.assertEqual([staircase.rate(t) for t in (0, 9, 10)], [1.0, 1.0, 0.5])
        warm = layerwise.schedule("transformer_policy", 2.0, d_model=64, warmup_steps=4, max_lr=None)
        self.assertAlmostEqual(warm.rate(0), 2.0 / 8 / 4**1.5, places=14)
        self.assertEqual(layerwise.schedule("fixed_lr", 0.3).rate(10**18), 0.3)
        self.assertLess(layerwise.schedule("inv_poly_decay", 1.0, decay_steps=10, min_lr=0.1).rate(9), 0.2)

    def test_refusals(self):
        with self.assertRaisesRegex(ValueError, "there is no policy 'linear'; there are fixed_lr"):
            layerwise.schedule("linear", 1.0)
        with self.assertRaisesRegex(TypeError, "no setting 'boundaries'"):
            layerwise.schedule("poly_decay", 1.0, boundaries=[1])
        with self.assertRaisesRegex(TypeError, "whole number"):
            layerwise.schedule("poly_decay", 1.0, decay_steps=1.5)
        with self.assertRaisesRegex(ValueError, "out of range"):
            layerwise.schedule("poly_decay", 1.0, decay_steps=-1)
        with self.assertRaisesRegex(ValueError, "as many"):
            layerwise.schedule("piecewise_constant", 1.0, boundaries=[1, 2], decay_rates=[0.1])
        with self.assertRaisesRegex(ValueError, "at most 32"):
            layerwise.schedule("piecewise_constant", 1.0, boundaries=range(33), decay_rates=[0.1] * 33)
        with self.assertRaises(layerwise.Error):
            layerwise.schedule("poly_decay", -1.0).fill(10).rate(0)
        with self.assertRaises(ValueError):
            layerwise.schedule("fixed_lr", 1.0).rate(-1)
        with self.assertRaisesRegex(layerwise.Error, "decay_steps"):
            layerwise.schedule("poly_decay", 1.0).rate(0)


class LossScalers(unittest.TestCase):
    def test_backoff(self):
        scaler = layerwise.loss_scaler("backoff", step_window=2)
        scales, counted = [], []
        for finite in (True, False, False, True, True):
            counted.append(scaler.update(finite))
            scales.append(scaler.scale)
        self.assertEqual(scales, [16384.0, 8192.0, 4096.0, 4096.0, 8192.0])
        self.assertEqual(counted, [True, False, False, True, True])
        other = layerwise.loss_scaler("backoff", step_window=2)
        other.load_state_dict(scaler.state_dict())
        self.assertEqual(other.scale, 8192.0)
        with self.assertRaises(layerwise.Error):
            other.load_state_dict({"numbers": [-1.0, 0.0, 0.0, 0.0]})
        self.assertEqual(other.scale, 8192.0)

    def test_log_max_and_static(self):
        scaler = layerwise.loss_scaler("log_max")
        for norm in (16.0, 16.0, 0.0):
            scaler.update(True, norm)
            self.assertAlmostEqual(scaler.scale, 4096.0, places=8)
        self.assertFalse(scaler.update(False, math.inf))
        self.assertLess(scaler.scale, 1024.0)
        self.assertEqual(layerwise.loss_scaler("static", scale=512.0).scale, 512.0)

    def test_refusals(self):
        for kind, settings in (
            ("static", {}),
            ("static", {"scale": -1.0}),
            ("backoff", {"step_factor": 1.0}),
            ("log_max", {"beta1": 1.0}),
            ("dynamic", {}),
        ):
            with self.assertRaises(ValueError, msg=kind):
                layerwise.loss_scaler(kind, **settings)
        for settings in ({"log_max": 1.0}, {"step_window": 2.5}):
            with self.assertRaises(TypeError):
                layerwise.loss_scaler("backoff", **settings)

    def test_training_with_a_loss_scale(self):
        scaler = layerwise.loss_scaler("backoff", step_window=50)
        sgd = layerwise.sgd(momentum=0.5, skip_step=True)
        weights, target = np.zeros(8, np.float32), np.linspace(0.1, 20, 8).astype(np.float32)
        memory, skipped = sgd.memory([weights]), 0
        for _ in range(100):
            with np.errstate(over="ignore"):
                gradients = ((weights - target) * np.float32(scaler.scale)).astype(np.float16)
            summary = memory.step(sgd, 0.1, [weights], [gradients], 1 / scaler.scale)
            skipped += not scaler.update(summary.skipped == 0)
        self.assertGreater(skipped, 0)
        np.testing.assert_allclose(weights, target, rtol=1e-3)


@unittest.skipUnless(RECIPES.exists(), "not in a checkout")
class Recipes(unittest.TestCase):
    def test_recipes_of_the_example(self):
        training = layerwise.recipe((RECIPES / "novograd.json").read_text(), steps_per_epoch=100)
        self.assertEqual(training.optimizer, layerwise.novograd(weight_decay=0.001))
        self.assertEqual(training.schedule.policy, "cosine_decay")
        self.assertIsNone(training.loss_scaler)
        mixed = layerwise.recipe((RECIPES / "mixed.json").read_bytes(), steps_per_epoch=100)
        self.assertTrue(mixed.is_mixed)
        self.assertEqual((mixed.optimizer.settings["larc"]["eta"], mixed.loss_scaler.scale), (0.001, 16777216.0))
        self.assertTrue(mixed.optimizer.settings["skip_step"])
        self.assertEqual((mixed.steps, mixed.steps_per_epoch, mixed.iter_size), (4000, 100, 1))
        self.assertEqual(mixed.schedule.rate(0), 0.02)
        self.assertAlmostEqual(mixed.schedule.rate(4000), 1e-5)
        adam = layerwise.recipe((RECIPES / "adam.json").read_text())
        self.assertEqual((adam.optimizer.settings["clip_norm"], adam.steps), (1.0, 1500))

    def test_refusals(self):
        for text in ("", "{", '{"optimizer": "Unheard"}', '{"optimizer": "NovoGrad", "optimiser_params": {}}'):
            with self.assertRaises(layerwise.Error) as raised:
                layerwise.recipe(text, 100)
            self.assertEqual(raised.exception.status, -17, text)
        with self.assertRaises(ValueError):
            layerwise.recipe((RECIPES / "adam.json").read_text(), -1)


if __name__ == "__main__":
    unittest.main()
