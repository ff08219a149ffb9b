"""The torch class: bits of the owner in numpy, torch's own optimizers, groups, schedulers, resuming, refusals."""

import copy
import io
import pickle
import unittest

import numpy as np

import layerwise

try:
    import torch

    import layerwise.torch as lt
except ImportError:
    raise unittest.SkipTest("torch is not installed") from None

torch.set_num_threads(1)

RULES = {
    "sgd": (lt.SGD, {"lr": 0.1}),
    "momentum": (lt.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True}),
    "larc": (lt.LARC, {"lr": 0.5, "weight_decay": 1e-3}),
    "novograd": (lt.NovoGrad, {"lr": 0.01, "weight_decay": 1e-3}),
    "adam": (lt.Adam, {"lr": 0.01, "weight_decay": 1e-2}),
    "adamw": (lt.AdamW, {"lr": 0.01}),
    "lamb": (lt.Lamb, {"lr": 0.01, "weight_decay": 1e-2}),
    "clipped": (lt.NovoGrad, {"lr": 0.01, "clip_norm": 0.5, "skip_step": True, "luc": True}),
}


def model(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    layers = torch.nn.Linear(13, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    return torch.nn.Sequential(*layers).to(dtype)


def backward(net, seed, dtype=torch.float32):
    """Gradients of a fresh batch."""
    torch.manual_seed(seed)
    x, y = torch.randn(16, 13), torch.randint(3, (16,))
    net.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(x.to(dtype)).float(), y)
    loss.backward()
    return loss


def same_bits(one, other):
    bits = lambda net: [p.detach().contiguous().view(torch.uint8) for p in net.parameters()]
    return all(map(torch.equal, bits(one), bits(other)))


def trained(net, optimizer, steps, first=0, dtype=torch.float32):
    for step in range(first, first + steps):
        backward(net, step, dtype)
        optimizer.step()
    return net


class Rules(unittest.TestCase):
    def test_bits_of_the_owner_in_numpy(self):
        for name, (make, settings) in RULES.items():
            net, plain = model(), model()
            optimizer = make(net.parameters(), **settings)
            arrays = [p.detach().numpy() for p in plain.parameters()]
            rule = optimizer._base
            memory = rule.memory(arrays)
            for step in range(4):
                backward(net, step)
                backward(plain, step)
                optimizer.step()
                memory.step(rule, settings["lr"], arrays, [p.grad for p in plain.parameters()])
            self.assertTrue(same_bits(net, plain), name)
            self.assertEqual(optimizer.summaries[0].applied, 4)

    def test_optimizers_of_torch(self):
        """The same weights as torch's own, except for rounding."""
        for theirs, ours, settings in (
            (torch.optim.SGD, lt.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
            (torch.optim.SGD, lt.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
            (torch.optim.Adam, lt.Adam, {"lr": 0.01, "weight_decay": 0.1}),
            (torch.optim.AdamW, lt.AdamW, {"lr": 0.01, "betas": (0.8, 0.9)}),
        ):
            one, other = model(), model()
            trained(one, ours(one.parameters(), **settings), 20)
            trained(other, theirs(other.parameters(), **settings), 20)
            for a, b in zip(one.parameters(), other.parameters()):
                torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-5)

    def test_presets_and_optimizers(self):
        one, other = model(), model()
        trained(one, lt.Optimizer(one.parameters(), "novograd.nemo", 0.01, weight_decay=1e-3), 3)
        nemo = layerwise.preset("novograd.nemo", weight_decay=1e-3)
        trained(other, lt.Optimizer(other.parameters(), nemo, 0.01), 3)
        self.assertTrue(same_bits(one, other))

    def test_closures_and_loss_scales(self):
        net, plain = model(), model()
        scaled, optimizer = lt.NovoGrad(net.parameters()), lt.NovoGrad(plain.parameters())
        for step in range(3):
            backward(net, step)
            for p in net.parameters():
                p.grad *= 1024
            scaled.step(gradient_scale=1 / 1024)
            loss = optimizer.step(lambda step=step: backward(plain, step))
            self.assertTrue(loss.requires_grad)
        self.assertTrue(same_bits(net, plain))


class Groups(unittest.TestCase):
    def split(self, net, **of_biases):
        weights = [p for p in net.parameters() if p.ndim > 1]
        return [{"params": weights}, {"params": [p for p in net.parameters() if p.ndim == 1], **of_biases}]

    def test_groups_have_the_bits_of_optimizers_by_themselves(self):
        for of_biases in (
            {"lr": 0.003},
            {"weight_decay": 0.0},
            {"betas": (0.5, 0.6)},
            {"rate": 0.5, "decay": 0.5, "adapt": False},
            {"frozen": True},
        ):
            net, plain = model(), model()
            optimizer = lt.Lamb(self.split(net, **of_biases), weight_decay=0.1)
            alone = [lt.Lamb([group], weight_decay=0.1) for group in self.split(plain, **of_biases)]
            for step in range(3):
                backward(net, step)
                optimizer.step()
                backward(plain, step)
                for one in alone:
                    one.step()
            self.assertTrue(same_bits(net, plain), of_biases)
            self.assertEqual(len(optimizer.summaries), 2 if "betas" in of_biases else 1)
        self.assertTrue(torch.equal(net[0].bias, model()[0].bias))

    def test_multipliers(self):
        one, other = model(), model()
        trained(one, lt.NovoGrad(self.split(one, rate=0.5, decay=0.25), 0.01, weight_decay=0.5), 3)
        trained(other, lt.NovoGrad(self.split(other, lr=0.005, weight_decay=0.125), 0.01, weight_decay=0.5), 3)
        self.assertTrue(same_bits(one, other))

    def test_groups_that_are_added_and_changed(self):
        net = model()
        optimizer = lt.NovoGrad(net[0].parameters())
        backward(net, 0)
        optimizer.step()
        momentum = optimizer.state[net[0].weight]["momentum"].clone()
        optimizer.add_param_group({"params": net[2].parameters(), "lr": 0.5})
        with self.assertRaises(ValueError):
            optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "lr": -1.0})
        with self.assertRaises(layerwise.Error):
            optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "betas": (1.5, 0.9)})
        self.assertEqual(len(optimizer.param_groups), 2)
        backward(net, 1)
        optimizer.step()
        self.assertFalse(torch.equal(momentum, optimizer.state[net[0].weight]["momentum"]))
        rules = [optimizer.state_dict()["state"][i]["rule"][2] for i in range(4)]
        self.assertEqual(rules, [2.0, 2.0, 1.0, 1.0])
        optimizer.param_groups[0]["frozen"] = True
        optimizer.param_groups[1]["betas"] = (0.5, 0.5)
        before = net[0].weight.detach().clone()
        trained(net, optimizer, 1)
        self.assertTrue(torch.equal(before, net[0].weight))

    def test_a_clip_of_all_parameters_wants_one_rule(self):
        net = model()
        optimizer = lt.NovoGrad(self.split(net, betas=(0.5, 0.5)), clip_norm=1.0)
        backward(net, 0)
        with self.assertRaisesRegex(ValueError, "betas must be the same"):
            optimizer.step()

    def test_betas_that_change_in_place(self):
        p, q = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
        one, other = lt.AdamW([{"params": [p], "betas": [0.9, 0.99]}]), lt.AdamW([q], betas=(0.9, 0.99))
        for beta1 in (0.9, 0.5):
            one.param_groups[0]["betas"][0], other.param_groups[0]["betas"] = beta1, (beta1, 0.99)
            for x, optimizer in ((p, one), (q, other)):
                x.grad = torch.tensor([beta1, 1.0, -1.0])
                optimizer.step()
        self.assertTrue(torch.equal(p, q))

    def test_settings_that_groups_cannot_have(self):
        p, q = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
        for make, settings in ((lt.AdamW, {"eps": 0.1}), (lt.SGD, {"nesterov": True}), (lt.LARC, {"larc": None})):
            (name,) = settings
            with self.assertRaisesRegex(TypeError, f"{name} is the same in all groups"):
                make([{"params": [p]}, {"params": [q], **settings}])
        # Those of the optimizer, and what others keep in groups, are no settings of one group.
        lt.AdamW([{"params": [p], "eps": 1e-8, "name": "first"}])

    def test_schedulers(self):
        net, plain = model(), model()
        optimizer = lt.LARC(net.parameters(), lr=1.0)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
        by_hand = lt.LARC(plain.parameters(), lr=1.0)
        for step in range(5):
            trained(net, optimizer, 1, step)
            by_hand.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"]
            trained(plain, by_hand, 1, step)
            scheduler.step()
        self.assertTrue(same_bits(net, plain))
        self.assertAlmostEqual(optimizer.param_groups[0]["lr"], 0.0)
        for make in (lt.NovoGrad, lt.SGD):
            cycled = make(net.parameters(), **({"momentum": 0.9} if make is lt.SGD else {}))
            scheduler = torch.optim.lr_scheduler.OneCycleLR(cycled, max_lr=0.1, total_steps=10)
            for step in range(4):
                trained(net, cycled, 1, step)
                scheduler.step()
            group = cycled.param_groups[0]
            self.assertNotIn(0.9 if make is lt.SGD else 0.95, (group.get("momentum"), *group.get("betas", ())))


class Saved(unittest.TestCase):
    def test_training_that_is_resumed_has_the_same_bits(self):
        for name, (make, settings) in RULES.items():
            for dtype in (torch.float32, torch.bfloat16):
                for options in ({}, {"bf16_momentum": True}):
                    through = model(dtype=dtype)
                    trained(through, make(through.parameters(), **settings, **options), 8, dtype=dtype)
                    net = model(dtype=dtype)
                    optimizer = make(net.parameters(), **settings, **options)
                    trained(net, optimizer, 4, dtype=dtype)
                    file = io.BytesIO()
                    torch.save([net.state_dict(), optimizer.state_dict()], file)
                    file.seek(0)
                    weights, state = torch.load(file, weights_only=True)
                    net = model(seed=9, dtype=dtype)
                    net.load_state_dict(weights)
                    optimizer = make(net.parameters(), **settings, **options)
                    optimizer.load_state_dict(state)
                    trained(net, optimizer, 4, first=4, dtype=dtype)
                    self.assertTrue(same_bits(net, through), (name, dtype, options))

    def test_copies(self):
        for how in (copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))):
            net = model()
            optimizer = lt.NovoGrad(net.parameters())
            trained(net, optimizer, 3)
            other, of_other = how((net, optimizer))
            trained(other, of_other, 3, first=3)
            self.assertFalse(same_bits(net, other))
            trained(net, optimizer, 3, first=3)
            self.assertTrue(same_bits(net, other))

    def test_a_loaded_state_is_a_copy(self):
        net = model()
        optimizer = lt.NovoGrad(net.parameters())
        trained(net, optimizer, 1)
        saved = copy.deepcopy(optimizer.state_dict())
        other = lt.NovoGrad(net.parameters())
        other.load_state_dict(saved)
        momentum = saved["state"][0]["momentum"].clone()
        trained(net, other, 2)
        self.assertTrue(torch.equal(momentum, saved["state"][0]["momentum"]))

    def test_hooks_of_loading(self):
        """What a hook makes of a state is loaded, and a hook that comes after sees what has been loaded."""
        for dtype in (torch.float32, torch.bfloat16):
            net = model(dtype=dtype)
            optimizer = lt.SGD(net.parameters(), lr=0.1, momentum=0.9)
            trained(net, optimizer, 1, dtype=dtype)
            saved = copy.deepcopy(optimizer.state_dict())
            doubled = copy.deepcopy(saved)
            doubled["state"][0]["momentum"] *= 2
            weight = net[0].weight
            momentum = lambda state: state["state"][0]["momentum"]

            hook = optimizer.register_load_state_dict_pre_hook(lambda *_: copy.deepcopy(doubled))
            optimizer.load_state_dict(saved)
            self.assertTrue(torch.equal(optimizer.state[weight]["momentum"], momentum(doubled)))
            hook.remove()
            optimizer.register_load_state_dict_post_hook(lambda of: of.state[weight]["momentum"].zero_())
            optimizer.load_state_dict(saved)
            self.assertFalse(optimizer.state[weight]["momentum"].any())
            self.assertTrue(momentum(saved).any())

    def test_a_state_of_other_types_is_refused(self):
        net = model()
        optimizer = lt.AdamW(net.parameters())
        trained(net, optimizer, 1)
        saved = copy.deepcopy(optimizer.state_dict())
        saved["state"][0]["second_moment"] = saved["state"][0]["second_moment"].to(torch.bfloat16)
        optimizer.load_state_dict(saved)
        with self.assertRaisesRegex(TypeError, "second_moment of torch.bfloat16"):
            trained(net, optimizer, 1)

    def test_a_state_of_an_optimizer_of_torch_is_refused(self):
        net = model()
        theirs, ours = torch.optim.AdamW(net.parameters()), lt.AdamW(net.parameters())
        trained(net, theirs, 1)
        trained(net, ours, 1)
        ours.state[net[0].weight]["mine"] = torch.tensor(3.0)  # others may keep something there too
        before = copy.deepcopy(ours.state_dict())
        ours.load_state_dict(before)
        self.assertEqual(str(ours.state_dict()), str(before))
        with self.assertRaisesRegex(ValueError, "of another optimizer: it has .*exp_avg"):
            ours.load_state_dict(theirs.state_dict())
        self.assertEqual(str(ours.state_dict()), str(before))
        # Before its first step an optimizer has no state.
        ours.load_state_dict(lt.AdamW(net.parameters()).state_dict())
        self.assertEqual(len(ours.state), 0)

    def test_a_state_of_another_shape_is_refused(self):
        for shape in ((1, 5), (5,), (1,), (3, 4)):
            p, q = torch.nn.Parameter(torch.ones(4, 5)), torch.nn.Parameter(torch.ones(shape))
            one, other = lt.SGD([p], momentum=0.9), lt.SGD([q], momentum=0.9)
            q.grad = torch.ones(shape)
            other.step()
            with self.assertRaisesRegex(ValueError, "the state has shape"):
                one.load_state_dict(other.state_dict())

    def test_a_state_that_is_cleared_begins_anew(self):
        net = model()
        optimizer = lt.NovoGrad(net.parameters())
        trained(net, optimizer, 3)
        other = copy.deepcopy(net)
        optimizer.state.clear()
        trained(net, optimizer, 2)
        trained(other, lt.NovoGrad(other.parameters()), 2)
        self.assertTrue(same_bits(net, other))


class Tensors(unittest.TestCase):
    def test_channels_last(self):
        def trained_convolutions(memory_format):
            torch.manual_seed(0)
            net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
            net = net.to(memory_format=memory_format)
            optimizer = lt.AdamW(net.parameters(), lr=0.01)
            for step in range(3):
                torch.manual_seed(step)
                optimizer.zero_grad()
                gradients = [torch.randn(p.shape) for p in net.parameters()]
                for p, g in zip(net.parameters(), gradients):
                    p.grad = torch.empty_like(p).copy_(g)
                optimizer.step()
            return net, optimizer

        plain, _ = trained_convolutions(torch.contiguous_format)
        last, optimizer = trained_convolutions(torch.channels_last)
        self.assertFalse(last[0].weight.is_contiguous())
        self.assertEqual(optimizer.state[last[0].weight]["momentum"].stride(), last[0].weight.stride())
        self.assertTrue(same_bits(plain, last))
        other, of_other = trained_convolutions(torch.contiguous_format)
        of_other.load_state_dict(optimizer.state_dict())
        self.assertEqual(of_other.state[other[0].weight]["momentum"].stride(), other[0].weight.stride())

    def test_gradients_that_lie_otherwise(self):
        transposed, expanded = (lambda g: g.t().contiguous().t()), (lambda g: g[:1].expand(g.shape))
        for other in (transposed, expanded, lambda g: torch.stack([g, g])[1]):
            p, q = (torch.nn.Parameter(torch.ones(4, 5)) for _ in range(2))
            optimizers = lt.NovoGrad([p]), lt.NovoGrad([q])
            p.grad = other(torch.randn(4, 5, generator=torch.Generator().manual_seed(1)))
            q.grad = p.grad.contiguous().clone()
            for _ in range(3):
                for optimizer in optimizers:
                    optimizer.step()
                if p.grad.is_contiguous():
                    p.grad *= 0.5
                    q.grad *= 0.5
            self.assertTrue(torch.equal(p, q))

    def test_orders_that_change_under_the_same_objects(self):
        """`.data` may put memory of another order under a gradient, or a parameter, that has been seen."""
        as_it_is, turned = (lambda x: x), (lambda x: x.t().contiguous().t())
        for of_gradient, of_weights in ((turned, as_it_is), (as_it_is, turned), (turned, turned)):
            p, q = (torch.nn.Parameter(torch.ones(4, 5)) for _ in range(2))
            one, other = (lt.SGD([x], lr=0.1, momentum=0.9) for x in (p, q))
            p.grad, q.grad = torch.randn(4, 5), torch.zeros(4, 5)
            q.grad.copy_(p.grad)
            for _ in range(2):
                one.step()
                other.step()
                p.grad.data, p.data = of_gradient(p.grad.data), of_weights(p.data)
            one.step()
            other.step()
            self.assertTrue(torch.equal(p, q))

    def test_the_negative_bit(self):
        """Memory may have numbers of the opposite sign, as in the gradient of the imaginary part of a conjugate."""
        p, q = (torch.nn.Parameter(torch.tensor(0.5)) for _ in range(2))
        one = torch.tensor(1.0)
        for x in (p, q):
            (torch.complex(one, x).conj() * torch.complex(one, one)).imag.backward()
        q.grad = q.grad.resolve_neg().clone()
        self.assertTrue(p.grad.is_neg() and not q.grad.is_neg())
        for x in (p, q):
            lt.SGD([x], lr=1.0).step()
        self.assertEqual((p.item(), q.item()), (1.5, 1.5))
        with self.assertRaisesRegex(ValueError, "resolve_neg"):
            lt.SGD([torch.nn.Parameter(torch._neg_view(torch.ones(3)))])
        sgd, weights = layerwise.sgd(), torch.ones(3)
        with self.assertRaisesRegex(TypeError, "resolve_neg"):
            sgd.memory([weights]).step(sgd, 1.0, [weights], [torch._neg_view(torch.ones(3))])

    @unittest.skipUnless(hasattr(torch.Tensor, "grad_dtype"), "gradients have the type of their parameter")
    def test_a_gradient_that_comes_again(self):
        p, q = (torch.nn.Parameter(torch.ones(4, 5)) for _ in range(2))
        p.grad_dtype = q.grad_dtype = None  # of any type
        one, other = lt.NovoGrad([p]), lt.NovoGrad([q])
        first, second = torch.randn(4, 5), torch.randn(5, 4).t().to(torch.float16)
        for g in (first, second, first):
            p.grad, q.grad = g, g.contiguous().clone()
            one.step()
            other.step()
        self.assertTrue(torch.equal(p, q))

    def test_bfloat16(self):
        """bfloat16 weights train with the bits of float32 weights that start at the same numbers."""
        upper = torch.nn.Parameter(torch.randn(9, 5).to(torch.bfloat16))
        plain = torch.nn.Parameter(upper.detach().float())
        one, other = lt.LARC([upper], lr=0.1), lt.LARC([plain], lr=0.1)
        for step in range(5):
            torch.manual_seed(step)
            g = torch.randn(9, 5).to(torch.bfloat16)
            upper.grad, plain.grad = g, g.float()
            one.step()
            other.step()
        bits = upper.detach().view(torch.int16).int() << 16 | one.state[upper]["lower"].int() & 0xFFFF
        self.assertTrue(torch.equal(bits, plain.detach().view(torch.int32)))

    def test_memory_that_changes(self):
        """If the memory of a parameter changes, its state stays."""
        net, plain = model(), model()
        optimizers = lt.NovoGrad(net.parameters()), lt.NovoGrad(plain.parameters())
        for step in range(4):
            for one, optimizer in zip((net, plain), optimizers):
                torch.manual_seed(step)
                for p in one.parameters():
                    p.grad = torch.empty_like(p).copy_(torch.randn(p.shape))
                optimizer.step()
            w = net[0].weight
            w.data = w.data.clone() if step % 2 else w.data.t().contiguous().t()
        self.assertTrue(same_bits(net, plain))
        # Memory of another type, and back.
        before = net[0].weight.detach().clone()
        for dtype in (torch.bfloat16, torch.float32):
            net[0].weight.grad, net[0].weight.data = None, net[0].weight.data.to(dtype)
            net[0].weight.grad = torch.ones_like(net[0].weight)
            optimizers[0].step()
        self.assertFalse(torch.equal(before, net[0].weight))
        net[0].weight.grad = None
        net[0].weight.data = torch.ones(2, 2)
        net[0].weight.grad = torch.ones(2, 2)
        with self.assertRaises(ValueError):
            optimizers[0].step()

    def test_other_memory_at_the_same_address(self):
        storage = torch.ones(8)
        p = torch.nn.Parameter(storage[:6])
        optimizer = lt.SGD([p], lr=1.0)
        p.grad = torch.ones(6)
        optimizer.step()
        gradient = p.grad
        # As if the memory had been freed and reused for a tensor of another type.
        p.grad = None
        p.data = storage.view(torch.bfloat16)[:6]
        p.data.fill_(2.0)
        p.grad = torch.ones(6, dtype=torch.bfloat16)
        optimizer.step()
        self.assertTrue(torch.equal(p.detach(), torch.ones(6, dtype=torch.bfloat16)))
        self.assertTrue(torch.equal(storage[3:6], torch.zeros(3)))
        # The same objects, with less memory.
        p.grad = None
        p.data = storage[:6]
        p.grad = gradient
        optimizer.step()
        gradient.data = gradient.data[:3]
        with self.assertRaises(ValueError):
            optimizer.step()
        q = torch.nn.Parameter(torch.ones(6))
        optimizer = lt.SGD([q], lr=1.0)
        q.grad = torch.ones(6)
        optimizer.step()
        q.data = q.data[:3]
        with self.assertRaises(ValueError):
            optimizer.step()

    def test_a_parameter_that_shrinks_in_place(self):
        p = torch.nn.Parameter(torch.ones(6))
        optimizer = lt.NovoGrad([p])
        p.grad = torch.ones(6)
        optimizer.step()
        p.grad, p.data = None, p.data[:3]
        p.grad = torch.ones(3)
        with self.assertRaises(ValueError):
            optimizer.step()

    def test_parameters_without_gradients_or_elements(self):
        net, empty = model(), torch.nn.Parameter(torch.ones(0, 3))
        empty.grad = torch.ones(0, 3)
        optimizer = lt.AdamW([*net.parameters(), empty])
        optimizer.step()
        self.assertEqual(len(optimizer.state), 0)
        backward(net, 0)
        net[0].weight.grad = None
        optimizer.step()
        self.assertNotIn(net[0].weight, optimizer.state)
        self.assertEqual(optimizer.summaries[0].applied, 3)
        trained(net, optimizer, 1)
        self.assertEqual(optimizer.state_dict()["state"][0]["rule"][0], 1.0)

    def test_autograd_is_told(self):
        p = torch.nn.Parameter(torch.ones(3))
        optimizer = lt.SGD([p], lr=0.1)
        loss = (p * p).sum()
        p.grad = torch.ones(3)
        optimizer.step()
        with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
            loss.backward()

    def test_refusals(self):
        for p, error, words in (
            (torch.ones(3, dtype=torch.float64), TypeError, "float32 and bfloat16"),
            (torch.ones(3, dtype=torch.float16), TypeError, "float32 and bfloat16"),
            (torch.ones(3, dtype=torch.complex64), TypeError, "float32 and bfloat16"),
            (torch.ones(6)[::2], ValueError, "one piece"),
            (torch.ones(3, device="meta"), TypeError, "CPU"),
        ):
            with self.assertRaisesRegex(error, words):
                lt.NovoGrad([torch.nn.Parameter(p)])
        embedding = torch.nn.Embedding(5, 2, sparse=True)
        embedding(torch.tensor([1])).sum().backward()
        with self.assertRaisesRegex(RuntimeError, "sparse"):
            lt.NovoGrad(embedding.parameters()).step()
        p = torch.nn.Parameter(torch.ones(3))
        wrong = {"lr": -1.0}, {"lr": float("nan")}, {"weight_decay": -1.0}, {"betas": (1.0, 0.9)}, {"eps": -1.0}
        for settings in wrong:
            with self.assertRaises(ValueError, msg=settings):
                lt.NovoGrad([p], **settings)
        with self.assertRaisesRegex(TypeError, "no setting 'beta3'"):
            lt.NovoGrad([p], beta3=0.1)
        optimizer = lt.SGD([p], lr=0.1)
        p.grad = torch.ones(3)
        optimizer.param_groups[0]["lr"] = -0.5
        with self.assertRaises(layerwise.Error):
            optimizer.step()
        self.assertTrue(torch.equal(p, torch.ones(3)))


class Numpy(unittest.TestCase):
    def test_tensors_in_place_of_arrays(self):
        sgd = layerwise.sgd()
        weights, gradients = torch.ones(3), torch.full((3,), 0.5)
        memory = sgd.memory([weights])
        memory.step(sgd, 1.0, [weights], [gradients])
        self.assertTrue(torch.equal(weights, torch.full((3,), 0.5)))
        half, of_bf16 = gradients.to(torch.float16), gradients.to(torch.bfloat16)
        memory.step(sgd, 0.5, [weights], [half])
        memory.step(sgd, 0.5, [weights], [of_bf16.view(torch.uint16)])
        self.assertTrue(torch.equal(weights, torch.zeros(3)))
        self.assertEqual(layerwise.l2_norm(torch.tensor([3.0, 4.0])), 5.0)
        for bad in (of_bf16, torch.ones(3, requires_grad=True)):
            with self.assertRaisesRegex(TypeError, r"\.detach\(\)"):
                memory.step(sgd, 0.5, [weights], [bad])
        with self.assertRaisesRegex(ValueError, "one piece"):
            memory.step(sgd, 0.5, [weights], [torch.ones(6)[::2]])
        np.testing.assert_array_equal(weights.numpy(), np.zeros(3))


if __name__ == "__main__":
    unittest.main()
