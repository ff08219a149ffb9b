//! Groups of a module: configurations by shape and by path, and their own rates.

use super::*;
use burn::module::{Module, Param, ParamGroup};
use burn::optim::{GradientsParams, ModuleOptimizer};
use layerwise::LayerConfig;
use layerwise_burn::Counts;

/// A matrix and two vectors.
#[derive(Module, Debug)]
pub struct Small {
    pub kernel: Param<Tensor<2>>,
    pub bias: Param<Tensor<1>>,
    pub scale: Param<Tensor<1>>,
}

impl Small {
    pub fn new(device: &Device) -> Self {
        Small {
            kernel: Param::from_tensor(tensor(&numbers(1, 12), [3, 4], device)),
            bias: Param::from_tensor(tensor(&numbers(2, 4), [4], device)),
            scale: Param::from_tensor(tensor(&numbers(3, 4), [4], device)),
        }
    }

    /// A loss that depends on every parameter, and on the transposed kernel.
    pub fn loss(&self, step: usize) -> Tensor<1> {
        let device = self.kernel.val().device();
        let x = tensor(&numbers(step, 8), [2, 4], &device);
        let hidden = x.matmul(self.kernel.val().transpose()).matmul(self.kernel.val());
        let output = hidden * self.scale.val().unsqueeze() + self.bias.val().unsqueeze();
        (output - tensor(&numbers(step + 7, 8), [2, 4], &device)).square().sum()
    }

    pub fn gradients(&self, step: usize) -> GradientsParams {
        GradientsParams::from_grads(self.loss(step).backward(), self)
    }

    pub fn bits(&self) -> [Vec<u32>; 3] {
        [bits(&self.kernel.val()), bits(&self.bias.val()), bits(&self.scale.val())]
    }
}

fn trained(mut optimizer: ModuleOptimizer, device: &Device) -> [Vec<u32>; 3] {
    let mut model = Small::new(&device.clone().autodiff());
    for i in 0..5 {
        let gradients = model.gradients(i);
        model = optimizer.step(0.05, model, gradients);
    }
    model.bits()
}

#[test]
fn vectors_are_exempt_by_rank_or_by_name() {
    for device in devices() {
        let by_rank = wrap(larc()).with_configs(|shape| LayerConfig::of_rank(shape.len()));
        let by_rank = trained(by_rank.init(), &device);
        let plain = || wrap(larc()).with_config(LayerConfig::PLAIN);
        let by_name = ModuleOptimizer::from(wrap(larc()))
            .with_group(ParamGroup::from_predicate("bias"), plain(), None)
            .with_group(ParamGroup::from_predicate("scale"), plain(), None);
        assert_eq!(trained(by_name, &device), by_rank);

        // Without exemptions, all of them take another path.
        let default = trained(wrap(larc()).init(), &device);
        assert!((0..3).all(|i| default[i] != by_rank[i]));
        // A plain step neither decays nor adapts: it is that of momentum alone.
        let momentum = Sgd::new(SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT }).expect("valid settings");
        let all_plain = trained(plain().init(), &device);
        assert_eq!(all_plain, trained(wrap(momentum).init(), &device));
    }
}

#[test]
fn a_group_has_its_own_rate() {
    let device = Device::flex();
    let rate = |rate| wrap(sgd()).with_config(LayerConfig { rate, ..LayerConfig::DEFAULT });
    // Only one step, because the gradients of the second depend on the other parameters.
    let step = |mut optimizer: ModuleOptimizer, lr| {
        let model = Small::new(&device.clone().autodiff());
        let gradients = model.gradients(0);
        optimizer.step(lr, model, gradients).bits()
    };
    let slow = ModuleOptimizer::from(wrap(sgd())).with_group(ParamGroup::from_predicate("bias"), rate(0.25), None);
    let [kernel, bias, scale] = step(slow, 0.5);
    let [other_kernel, other_bias, other_scale] = step(wrap(sgd()).init(), 0.5);
    assert_eq!((kernel, scale), (other_kernel, other_scale));
    assert_ne!(bias, other_bias);
    assert_eq!(bias, step(wrap(sgd()).init(), 0.125)[1]);
}

#[test]
fn a_frozen_group_stays() {
    let device = Device::flex();
    let before = Small::new(&device).bits();
    let frozen = wrap(lamb());
    let handle = frozen.handle();
    let optimizer = ModuleOptimizer::from(frozen.clone()).with_group(
        ParamGroup::from_predicate("kernel"),
        frozen.with_config(LayerConfig::FROZEN),
        None,
    );
    let after = trained(optimizer, &device);
    assert_eq!((after[0] == before[0], after[1] == before[1], after[2] == before[2]), (true, false, false));
    // (Clones of one optimizer share their handle.)
    let Counts { applied, frozen, skipped, overflowed, .. } = handle.counts();
    assert_eq!((applied, frozen, skipped, overflowed), (10, 5, 0, 0));
}

/// The mean of four batches whose gradients were added up: four is a power of two, so no bit differs.
#[test]
fn a_gradient_scale_makes_means_of_sums() {
    let device = Device::flex();
    let run = |times: f32, scale: f64| {
        let adapter = wrap(lamb());
        let handle = adapter.handle();
        let (mut optimizer, mut model) = (adapter.init(), Small::new(&device.clone().autodiff()));
        for i in 0..5 {
            handle.set_gradient_scale(scale).expect("a valid scale");
            let loss = model.loss(i) * times;
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(0.05, model, gradients);
        }
        model.bits()
    };
    assert_eq!(run(4.0, 0.25), run(1.0, 1.0));
    // (LAMB's step hardly depends on the scale, but its bits do.)
    assert_ne!(run(3.0, 1.0), run(1.0, 1.0));
}
