//! A step by the adapter has the bits of a step on plain slices, and, if the formulas agree, those of burn's own step.

use super::*;
use burn::optim::SgdConfig as BurnSgdConfig;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::tensor::Shape;
use layerwise::rule::{Moments, Rule};
use layerwise::{LayerConfig, LayerMemory, Outcome, Step};

const STEPS: usize = 20;
const SCALE: f64 = 1.0 / 3.0;

/// Steps of plain slices: the weights after them.
fn plain<R: Rule>(optimizer: &layerwise::Optimizer<R>, config: LayerConfig, len: usize) -> Vec<f32> {
    let (mut weights, mut state) = (numbers(0, len), R::State::default());
    let (mut first, mut second) = (vec![0.0; len], vec![0.0; len]);
    for i in 0..STEPS {
        let gradients = numbers(i + 1, len);
        let mut layer = LayerMemory::new(&mut weights, &gradients, &mut state).config(config);
        if optimizer.moments() >= Moments::First {
            layer = layer.momentum(&mut first);
        }
        if optimizer.moments() >= Moments::FirstAndSecond {
            layer = layer.second_moment(&mut second);
        }
        let report = optimizer.step_layer(Step::new(0.1).gradient_scale(SCALE), layer).expect("a valid layer");
        assert_eq!(report.outcome, Outcome::Applied);
    }
    assert_ne!(weights, numbers(0, len));
    weights
}

/// The same for a tensor.
fn adapted<O: Optimizer, const D: usize>(optimizer: &O, shape: [usize; D], device: &Device) -> Vec<u32> {
    let len = Shape::from(shape).num_elements();
    let (mut weights, mut state) = (tensor(&numbers(0, len), shape, device), None);
    for i in 0..STEPS {
        let gradients = tensor(&numbers(i + 1, len), shape, device);
        let (next, remembered) = optimizer.step(0.1, weights, gradients, state);
        (weights, state) = (next, remembered);
        assert_eq!((weights.dims(), weights.device()), (shape, device.clone()));
    }
    bits(&weights)
}

fn compare<R: Rule + Clone + Send + Sync + 'static>(name: &str, optimizer: layerwise::Optimizer<R>) {
    let config = LayerConfig { rate: 0.5, decay: 2.0, ..LayerConfig::DEFAULT };
    let adapter = wrap(optimizer.clone()).with_config(config);
    adapter.handle().set_gradient_scale(SCALE).expect("a valid scale");
    for device in devices() {
        // (One number, less than a vector, and more than a leaf.)
        let name = format!("{name} on {device:?}");
        assert_eq!(adapted(&adapter, [1], &device), to_bits(&plain(&optimizer, config, 1)), "{name}");
        assert_eq!(adapted(&adapter, [3, 5], &device), to_bits(&plain(&optimizer, config, 15)), "{name}");
        assert_eq!(adapted(&adapter, [33, 101], &device), to_bits(&plain(&optimizer, config, 3333)), "{name}");
        assert_eq!(adapted(&adapter, [7, 5, 3, 2], &device), to_bits(&plain(&optimizer, config, 210)), "{name}");
    }
    assert_eq!(adapter.handle().counts().applied, 2 * 4 * STEPS);
}

#[test]
fn a_step_has_the_bits_of_plain_slices() {
    compare("SGD", sgd());
    compare("momentum", momentum());
    compare("LARC", larc());
    compare("NovoGrad", novograd());
    compare("LAMB", lamb());
    compare("NovoGrad, chosen at run time", novograd().any());
    compare("LAMB, chosen at run time", lamb().any());
}

/// The gradients of transposed and broadcast weights have other strides.
#[test]
fn gradients_need_not_be_contiguous() {
    let step = |weights: Tensor<2>, gradients: Tensor<2>| first_step(&wrap(novograd()), 0.1, weights, gradients);
    for device in devices() {
        let weights = || tensor(&numbers(0, 15), [3, 5], &device);
        let gradients = tensor(&numbers(1, 60), [6, 10], &device);
        let views = [
            gradients.clone().slice([0..5, 0..3]).transpose(),
            gradients.clone().slice([2..5, 4..9]),
            gradients.clone().slice([0..3, 0..1]).expand([3, 5]),
            gradients.clone().slice([0..3, 0..5]).flip([0, 1]),
            gradients.slice([0..3, 0..5]),
        ];
        for view in views {
            let copy = Tensor::from_data(view.to_data(), (&device, DType::F32));
            assert_eq!(bits(&step(weights(), view)), bits(&step(weights(), copy)));
        }
    }
}

/// Weights that are a view, or shared with other code: the other tensors do not change.
#[test]
fn only_the_weights_of_the_parameter_change() {
    for device in devices() {
        let all = tensor(&numbers(0, 60), [6, 10], &device);
        let before = bits(&all);
        for view in [all.clone().slice([2..4, 0..10]), all.clone().slice([0..10, 0..2]), all.clone().transpose()] {
            let gradients = view.clone() * 0.5;
            let copy = Tensor::from_data(view.to_data(), (&device, DType::F32));
            let stepped = first_step(&wrap(momentum()), 0.1, view.clone(), gradients.clone());
            assert_eq!(bits(&stepped), bits(&first_step(&wrap(momentum()), 0.1, copy, gradients)));
            assert_ne!(bits(&stepped), bits(&view));
            assert_eq!(bits(&all), before);
        }
    }
}

#[test]
fn a_bad_gradient_changes_nothing_and_is_counted() {
    for device in devices() {
        let optimizer = wrap(lamb());
        let weights = tensor(&numbers(0, 6), [2, 3], &device);
        let (weights, state) = optimizer.step(0.1, weights, tensor(&numbers(1, 6), [2, 3], &device), None);
        let before = bits(&weights);
        let (weights, state) = optimizer.step(0.1, weights, tensor(&[f32::NAN; 6], [2, 3], &device), state);
        assert_eq!(bits(&weights), before);
        let counts = optimizer.handle().counts();
        assert_eq!((counts.applied, counts.skipped), (1, 1));

        let (weights, _) = optimizer.step(0.1, weights, tensor(&numbers(2, 6), [2, 3], &device), state);
        assert_ne!(bits(&weights), before);
    }
}

/// 100 steps of burn's own optimizer and of ours.
fn beside_burn(burn: &BurnSgdConfig, ours: SgdConfig) -> usize {
    let ours = wrap(Sgd::new(ours).expect("valid settings"));
    let device = Device::flex();
    let run = |step: &mut dyn FnMut(Tensor<2>, Tensor<2>) -> Tensor<2>| {
        let mut weights = tensor(&numbers(0, 3333), [33, 101], &device);
        for i in 0..100 {
            let gradients = tensor(&numbers(i, 3333), [33, 101], &device) + weights.clone() * 0.5;
            weights = step(weights, gradients);
        }
        bits(&weights)
    };
    let (burn, mut of_burn, mut of_ours) = (burn.build(), None, None);
    let theirs = run(&mut |weights, gradients| {
        let (weights, state) = burn.step(0.05, weights, gradients, of_burn.take());
        of_burn = state;
        weights
    });
    let ours = run(&mut |weights, gradients| {
        let (weights, state) = ours.step(0.05, weights, gradients, of_ours.take());
        of_ours = state;
        weights
    });
    theirs.iter().zip(&ours).filter(|(a, b)| a != b).count()
}

#[test]
fn sgd_has_the_bits_of_burn() {
    let config = |momentum, nesterov| {
        let momentum = MomentumConfig { momentum, dampening: 0.0, nesterov };
        BurnSgdConfig::new().with_momentum(Some(momentum))
    };
    let decay = |config: BurnSgdConfig| config.with_weight_decay(Some(WeightDecayConfig::new(1e-3)));
    let ours = SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT };
    // burn holds the penalty and the momentum in f32.
    let weight_decay = f64::from(1e-3_f32);
    assert_eq!(beside_burn(&BurnSgdConfig::new(), SgdConfig::DEFAULT), 0);
    assert_eq!(beside_burn(&config(0.9, false), ours), 0);
    assert_eq!(beside_burn(&decay(config(0.9, false)), SgdConfig { weight_decay, ..ours }), 0);
    // Here burn adds terms in another order, or multiplies by the rate earlier. Only the formula is the same.
    assert_ne!(beside_burn(&config(0.9, true), SgdConfig { nesterov: true, ..ours }), 0);
    assert_ne!(beside_burn(&decay(BurnSgdConfig::new()), SgdConfig { weight_decay, ..SgdConfig::DEFAULT }), 0);
}
