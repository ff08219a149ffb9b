"""Steps from Python have the bits that the Rust library stores in ``tests/data/tripwire.txt``.

Those are three steps each for settings that reach every branch of every rule, plain and scaled, and norms of numbers of
every size. The cases are written again here with this package.
"""

import unittest

import numpy as np

import layerwise
from layerwise import adam, larc, luc, novograd, sgd
from tripwire import LEN, Replay, bits_of, bits_of_norm, bits_of_report, constant, hash_of, numbers

LARC = {"momentum": 0.9, "weight_decay": 0.01, "larc": {"eta": 0.02}}
NOVO = {"weight_decay": 0.01}
LUC = luc(trust=0.01)
EAGER = larc(eta=0.02)
ADAM = {"weight_decay": 0.01}
LAMB = {**ADAM, "decay_mode": "in_update", "trust_ratio": True, "eps": 1e-6}

SGD = {
    "sgd": sgd(),
    "sgd decay": sgd(weight_decay=0.01, maximize=True),
    "sgd momentum": sgd(momentum=0.9),
    "sgd nesterov": sgd(momentum=0.9, nesterov=True, dampening=0.1, weight_decay=0.01),
    "larc": sgd(**LARC),
    "larc without momentum": sgd(**{**LARC, "momentum": 0.0}),
    "larc nesterov": sgd(**LARC, nesterov=True),
    "larc apex": sgd(**{**LARC, "larc": "larc.apex"}),
    "larc openseq2seq": sgd(**{**LARC, "larc": "larc.openseq2seq"}),
    "lars": sgd(**{**LARC, "larc": larc(mode="scale")}, rate_in_momentum=True),
    "lars norm of sum": sgd(**{**LARC, "larc": larc("larc.optax", decay_in_ratio="norm_of_sum")}),
}
NOVOGRAD = {
    "novograd": novograd(),
    "novograd decay": novograd(**NOVO),
    "novograd without momentum": novograd(**NOVO, beta1=0.0),
    "novograd decoupled": novograd(**NOVO, decay_mode="decoupled", v_init="first_step"),
    "novograd corrected": novograd(**NOVO, decay_mode="corrected", max_rate=0.1),
    "novograd fixed": novograd(**NOVO, decay_mode="fixed", v_init="zero", amsgrad=True),
    "novograd averaging": novograd(**NOVO, gradient_averaging=True),
    "novograd moments": novograd(**NOVO, bias_correction="moments"),
    "novograd step size": novograd(**NOVO, bias_correction="step_size", maximize=True),
    "novograd raw": novograd(**NOVO, raw_momentum=True),
    "novograd maximum": novograd(**NOVO, norm="max"),
    "novograd luc": novograd(**NOVO, luc=LUC),
    "novograd tfa": novograd(
        **NOVO, rate_in_momentum=True, gradient_averaging="after_first_step", luc="luc.nemo"
    ),
}
MORE = {
    "sgd luc": sgd(luc=LUC),
    "sgd momentum luc": sgd(momentum=0.9, weight_decay=0.01, luc=LUC),
    "sgd nesterov luc": sgd(momentum=0.9, nesterov=True, dampening=0.1, luc=LUC),
    "larc luc": sgd(**LARC, luc="luc.nemo", rate_in_momentum=True),
    "larc starts at gradient": sgd(**LARC, starts_at_gradient=True, dampen_first_step=True),
    "lars at most": sgd(
        **{**LARC, "larc": larc(eta=0.02, mode="scale", max_update=0.0015)}, starts_at_gradient=True, nesterov=True
    ),
    "novograd larc": novograd(**NOVO, larc=EAGER),
    "novograd larc luc": novograd(**NOVO, larc=EAGER, luc=LUC),
    "novograd lars": novograd(**NOVO, larc="larc.optax", beta1=0.0),
    "novograd rate": novograd(
        **NOVO, bias_correction="rate", starts_at_gradient=True, gradient_averaging="on"
    ),
    "adam": adam(),
    "adam l2": adam(**ADAM, decay_mode="l2"),
    "adamw": adam(**ADAM),
    "adam in update": adam(**ADAM, decay_mode="in_update", eps_root=0.01),
    "adam corrected": adam(**ADAM, decay_mode="corrected", max_rate=0.1, maximize=True),
    "adam fixed": adam(**ADAM, decay_mode="fixed", bias_correction="off"),
    "adam rate": adam(**ADAM, bias_correction="rate"),
    "adam tensorflow": adam(**ADAM, bias_correction="tensorflow", grad_averaging=False),
    "adam without momentum": adam(**ADAM, beta1=0.0, beta2=0.0, eps=0.0),
    "adam luc": adam(**ADAM, luc=LUC),
    "adam larc": adam(**ADAM, larc=EAGER, decay_mode="l2"),
    "adam larc norm of sum": adam(**ADAM, larc="larc.optax", decay_mode="l2", maximize=True),
    "lamb": adam(**LAMB),
    "lamb decoupled": adam(
        **{**LAMB, "decay_mode": "decoupled"},
        bias_correction="rate",
        ratio_eps=1e-6,
        max_weights=3.0,
        ratio_only_with_decay=True,
    ),
    "lamb at most": adam(**LAMB, max_ratio=0.05, luc=LUC, larc=EAGER),
    "any larc": sgd(**LARC),
    "any novograd luc": novograd(**NOVO, luc=LUC),
    "any lamb": adam(**LAMB),
}
# The exponent of number i.
SIZES = {
    "ordinary": constant(0),
    "huge": constant(127),
    "tiny": constant(-120),
    "large and small": lambda i: np.where(i % 3 == 0, 100, -100),
    "leaf by leaf": lambda i: np.where(i < 1024, 90, -90),
    "first leaf large": lambda i: np.where(i < 1024, 0, -15),
    "second leaf large": lambda i: np.where(i // 1024 == 1, 0, -16),
    "third leaf large": lambda i: np.where(i // 1024 == 2, 0, -17),
    "first leaf huge": lambda i: np.where(i < 1024, 0, -21),
}

INITIAL = numbers(4, constant(-4))
GRADIENTS = [numbers(5 + step, constant(1)) for step in range(3)]


class Bits(Replay):
    def steps(self, name, optimizer, scale, decay, suffix):
        weights = INITIAL.copy()
        memory = optimizer.memory([weights], configs=[(1.0, decay, True, False)], carry_norms=True)
        reports = 0
        for gradients in GRADIENTS:
            memory.step(optimizer, 0.01, [weights], [gradients], scale)
            reports ^= bits_of_report(memory)
        self.check(f"{name}, weights{suffix}", hash_of(weights))
        momentum = memory.momentum[0] if optimizer.moments >= 1 else np.zeros(0, np.float32)
        if f"{name}, momentum{suffix}" in self.stored:
            self.check(f"{name}, momentum{suffix}", hash_of(momentum))
        if optimizer.moments == 2:
            self.check(f"{name}, second moment{suffix}", hash_of(memory.second_moment[0]))
        self.check(f"{name}, reports{suffix}", reports ^ bits_of_norm(memory))

    def test_steps(self):
        for name, optimizer in {**SGD, **NOVOGRAD, **MORE}.items():
            self.steps(name, optimizer, 1.0, 1.0, "")
            self.steps(name, optimizer, 0.3, 0.7, ", scaled")
        for name in ("sgd", "sgd nesterov"):
            self.steps(name, SGD[name], 1e33, 0.7, ", scaled up")
            self.steps(name, SGD[name], 1e-33, 0.7, ", scaled down")
        self.norms()
        # (16 bits have their own test, and this interface has no pieces of a step.)
        self.check_all_were_met(lambda name: not name.startswith(("16 bits", "nodes")))

    def norms(self):
        look = sgd(larc=True)
        for name, exponent in SIZES.items():
            weights, gradients = numbers(1, exponent), numbers(2, exponent)
            for length in (1, 31, 1025, 3000, LEN):
                self.check(f"{name}, of {length}", bits_of(layerwise.sum_of_squares(weights[:length])))
            memory = look.memory([weights])
            memory.step(look, 0.0, [weights], [gradients])
            self.check(f"{name}, two norms", bits_of(*memory.reports[0][["weight_norm", "gradient_norm"]]))
            maximum = np.float32(layerwise.max_norm(weights))
            self.check(f"{name}, maximum", int(maximum.view(np.uint32)))
        weights = np.arange(1, LEN + 1, dtype=np.uint32).view(np.float32)
        self.check("subnormal, of 5000", bits_of(layerwise.sum_of_squares(weights)))
        gradients = numbers(3, constant(-126))
        sgd().memory([weights]).step(sgd(), 0.3, [weights], [gradients])
        self.check("subnormal, update", hash_of(weights))
        sum = layerwise.accumulate(weights, gradients, 0.3)
        self.check("subnormal, accumulated", bits_of(sum) ^ hash_of(weights))


if __name__ == "__main__":
    unittest.main()
