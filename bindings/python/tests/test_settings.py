"""Optimizers: settings by name, presets, and refusals."""

import copy
import pickle
import unittest

import layerwise

PRESETS = """sgd sgd.timm_lars sgd.bolts_lars sgd.pytorch_optimizer_lars sgd.pytorch_optimizer_3_lars sgd.optax_lars
sgd.lars_paper novograd novograd.openseq2seq novograd.openseq2seq_larc novograd.nemo novograd.timm novograd.optax
novograd.tfa novograd.pytorch_optimizer novograd.pytorch_optimizer_3 novograd.apex adam adam.torch_adam adam.torch_adamw
adam.tensorflow adam.optax_adam adam.optax_adamw adam.optax_lamb adam.timm_lamb adam.apex_lamb
adam.pytorch_optimizer_lamb""".split()


class Settings(unittest.TestCase):
    def test_defaults(self):
        novograd = layerwise.novograd().settings
        self.assertEqual((novograd["beta1"], novograd["beta2"], novograd["eps"]), (0.95, 0.98, 1e-8))
        words = novograd["decay_mode"], novograd["v_init"], novograd["norm"]
        self.assertEqual(words, ("coupled", "while_zero", "l2"))
        self.assertIs(novograd["amsgrad"], False)
        self.assertIsNone(novograd["larc"])
        self.assertIsNone(novograd["clip_norm"])
        self.assertEqual(layerwise.lamb().settings["trust_ratio"], True)
        self.assertEqual(layerwise.adam().settings["decay_mode"], "decoupled")

    def test_settings_make_the_same_optimizer(self):
        seen = set()
        for name in PRESETS:
            optimizer = layerwise.preset(name, clip_norm=2.0) if name == "adam" else layerwise.preset(name)
            again = layerwise.preset(optimizer.rule, **optimizer.settings)
            self.assertEqual(again, optimizer, name)
            self.assertEqual(hash(again), hash(optimizer))
            self.assertEqual(eval(repr(optimizer)), optimizer, name)
            self.assertEqual(pickle.loads(pickle.dumps(optimizer)), optimizer)
            self.assertEqual(copy.deepcopy(optimizer), optimizer)
            seen.add(repr(optimizer))
        self.assertGreater(len(seen), 15)

    def test_larc_and_luc(self):
        timm = layerwise.larc("larc.timm", eta=0.01)
        self.assertEqual((timm["mode"], timm["eta"], timm["only_with_decay"]), ("scale", 0.01, True))
        for larc in (True, "larc", {}, layerwise.larc()):
            self.assertEqual(layerwise.sgd(larc=larc).settings["larc"]["eta"], 0.002)
        self.assertEqual(layerwise.sgd(larc={"eta": 0.5}).settings["larc"]["eta"], 0.5)
        self.assertEqual(layerwise.sgd(larc=True).replace(larc=None), layerwise.sgd())
        self.assertEqual(layerwise.preset("novograd.nemo", luc="luc.nemo").settings["luc"]["freezes_zeros"], True)
        self.assertIsNone(layerwise.sgd(luc=False).settings["luc"])

    def test_changes(self):
        sgd = layerwise.sgd(momentum=0.9)
        changed = sgd.replace(nesterov=True, clip_norm=None, skip_step=True)
        self.assertEqual(sgd.settings["nesterov"], False)
        self.assertEqual((changed.settings["momentum"], changed.settings["skip_step"]), (0.9, True))
        self.assertNotEqual(sgd, changed)
        self.assertNotEqual(sgd, "sgd")
        self.assertEqual([o.moments for o in (layerwise.sgd(), sgd, layerwise.adam())], [0, 1, 2])
        self.assertEqual(repr(sgd), "layerwise.sgd(momentum=0.9)")

    def test_names_that_are_unknown(self):
        for make in (layerwise.sgd, layerwise.novograd, layerwise.adam, layerwise.lamb, layerwise.larc, layerwise.luc):
            with self.assertRaisesRegex(TypeError, "no setting 'bata1'; it has "):
                make(bata1=0.9)
        with self.assertRaisesRegex(TypeError, "no setting 'beta1'"):
            layerwise.sgd(beta1=0.9)
        with self.assertRaisesRegex(TypeError, "no setting 'etta'"):
            layerwise.sgd(larc={"etta": 0.1})
        with self.assertRaises(layerwise.Error):
            layerwise.preset("novograd.unheard_of")
        for name in ("larc", "larc.timm", "luc"):
            with self.assertRaisesRegex(ValueError, "larc="):
                layerwise.preset(name)
        for name in ("luc.nemo", "sgd"):
            with self.assertRaisesRegex(ValueError, "larc has no preset"):
                layerwise.larc(name)

    def test_values_of_another_type(self):
        for settings in ({"nesterov": 256}, {"nesterov": "yes"}, {"momentum": "a"}, {"momentum": None}, {"larc": 3}):
            with self.assertRaises(TypeError, msg=settings):
                layerwise.sgd(**settings)
        for settings in ({"decay_mode": "fast"}, {"decay_mode": 1}, {"norm": None}, {"gradient_averaging": "maybe"}):
            with self.assertRaises((TypeError, ValueError), msg=settings):
                layerwise.novograd(**settings)
        with self.assertRaisesRegex(ValueError, "'clip', 'scale'"):
            layerwise.larc(mode=None)
        with self.assertRaisesRegex(ValueError, "greater than 0, or None"):
            layerwise.sgd(clip_norm=0)
        for make in (layerwise.luc, lambda **settings: layerwise.sgd(luc=settings)):
            with self.assertRaisesRegex(ValueError, "luc=None"):
                make(trust=0.0)

    def test_values_out_of_range_are_refused_by_the_library(self):
        with self.assertRaises(layerwise.Error) as raised:
            layerwise.novograd(beta1=1.0)
        error = raised.exception
        self.assertIsInstance(error, ValueError)
        self.assertEqual((error.what, error.value, error.layer, error.status), ("beta1", 1.0, None, -8))
        self.assertIn("beta1", str(error))
        self.assertEqual(pickle.loads(pickle.dumps(error)).value, 1.0)
        nan = float("nan")
        for settings in ({"eps": -1.0}, {"decay_mode": "corrected"}, {"clip_norm": -1.0}, {"weight_decay": nan}):
            with self.assertRaises(layerwise.Error, msg=settings):
                layerwise.novograd(**settings)
        with self.assertRaises(layerwise.Error):
            layerwise.sgd(larc=True, clip_norm=1.0)
        with self.assertRaises(layerwise.Error):
            layerwise.sgd().replace(luc={"trust": -1.0})
        with self.assertRaises(layerwise.Error):
            layerwise.sgd(larc={"eta": -0.1})


if __name__ == "__main__":
    unittest.main()
