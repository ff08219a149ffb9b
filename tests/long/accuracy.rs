//! Many steps of every rule, compared with the same steps in `f64`: `LAYERWISE_STEPS=1000000 cargo test --release
//! --test long -- --nocapture accuracy`.
//!
//! Both get the same gradients, so nothing corrects rounding errors in `f32`, and they add up like a random walk. But
//! if LARC shortens the steps of a small layer, the rate follows the norm of the weights. A small error in one norm
//! would then grow, because its gradients are of the other's weights. (After 10⁶ steps of 16 weights the two are 19 %
//! apart.) In that case each gets the gradients of its own weights, as in two separate runs.

use super::count;
use super::harness::Host;
use super::reference::{self, Memory, l2_norm, tolerances};
use layerwise::rule::{Rule, RuleState};
use layerwise::{
    Adam, AdamConfig, AdamDecay, LarcConfig, LarcMode, LayerConfig, Luc, NovoGrad, NovoGradConfig, Optimizer, Outcome,
    Sgd, SgdConfig, Step, TrustRatio,
};

/// A partial vector, a layer without adaptation and decay, and one of several leaves.
const LAYERS: [(usize, LayerConfig); 3] =
    [(16, LayerConfig::DEFAULT), (257, LayerConfig::PLAIN), (2000, LayerConfig::DEFAULT)];

/// A layer in a noisy bowl: each weight is pulled to its own target, with noise.
struct Bowl {
    places: Vec<f32>,
    rng: fastrand::Rng,
}

impl Bowl {
    fn new(len: usize) -> (Self, Vec<f32>) {
        let mut rng = fastrand::Rng::with_seed(len as u64);
        let mut numbers = || (0..len).map(|_| 2.0 * rng.f32() - 1.0).collect::<Vec<f32>>();
        let (places, weights) = (numbers(), numbers());
        (Bowl { places, rng }, weights)
    }

    /// Gradients of our weights in `f32`, and of theirs in `f64`, with the same noise. (If `theirs` is `None`, those of
    /// ours.)
    fn gradients(&mut self, ours: &[f32], theirs: Option<&[f64]>, to: &mut [f32], wide: &mut [f64]) {
        for i in 0..to.len() {
            let (place, push) = (self.places[i], self.rng.f32() - 0.5);
            to[i] = ours[i] - place + push;
            wide[i] = match theirs {
                Some(theirs) => theirs[i] - f64::from(place) + f64::from(push),
                None => f64::from(to[i]),
            };
        }
    }
}

/// Whose gradients the steps in `f64` get.
#[derive(Clone, Copy, PartialEq)]
enum Gradients {
    Same,
    Own,
}

/// Runs a rule over all layers. Prints the percentage of steps whose rate was adapted, and the deviation of the weights
/// from `f64` after 100 steps, 1000 and so on.
fn run<R: Rule<State = S>, S: RuleState>(
    name: &str,
    optimizer: Optimizer<R>,
    rate: f64,
    gradients: Gradients,
    step_in_f64: impl Fn(&LayerConfig, Step, &[f64], &mut Memory),
) {
    let steps = count("LAYERWISE_STEPS", 300);
    for (len, config) in LAYERS {
        let (mut bowl, weights) = Bowl::new(len);
        let mut host = Host::for_optimizer(&optimizer, &weights);
        host.config = config;
        let mut memory = Memory::new(&weights);
        let (mut wide, mut line) = (vec![0.0; len], String::new());
        let (mut next, mut adapted) = (100, 0);
        for step in 1..=steps {
            let theirs = if gradients == Gradients::Own { Some(&memory.weights[..]) } else { None };
            bowl.gradients(host.weights.get(), theirs, host.gradients.get_mut(), &mut wide);
            let report = optimizer.step_layer(rate, host.memory()).unwrap();
            assert_eq!(report.outcome, Outcome::Applied);
            adapted += u64::from(report.effective_rate != rate || report.factor != 1.0);
            step_in_f64(&config, Step::new(rate), &wide, &mut memory);
            if step == next || step == steps {
                let deviation = deviation(host.weights.get(), &memory.weights);
                line += &format!(" {deviation:9.1e}");
                assert!(deviation <= tolerances::of_steps(step), "{name}, {len} weights, step {step}: {deviation:e}");
                next *= 10;
            }
        }
        let adapts = optimizer.rule().needs(&config).weights;
        assert!(adapted > steps / 2 || !adapts, "{name}, {len} weights: hardly a step is adapted");
        println!("{name:24} {len:5} {:4} %{line}", 100 * adapted / steps);
    }
}

/// The norm of the difference, relative to that of the weights in `f64`.
fn deviation(ours: &[f32], theirs: &[f64]) -> f64 {
    let differences: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| f64::from(*a) - b).collect();
    l2_norm(&differences) / l2_norm(theirs)
}

const MOMENTUM: SgdConfig = SgdConfig { momentum: 0.9, weight_decay: 1e-4, ..SgdConfig::DEFAULT };
const CLIP: LarcConfig = LarcConfig { eta: 0.005, ..LarcConfig::DEFAULT };
const LARS: LarcConfig = LarcConfig { mode: LarcMode::Scale, eta: 0.1, ..LarcConfig::DEFAULT };
const LUC: Luc = Luc { trust: 1e-3, ..Luc::DEFAULT };
/// The same at a tenth of the rate, or for steps of another size.
const CLIP_MORE: LarcConfig = LarcConfig { eta: 0.0005, ..CLIP };
const LUC_MORE: Luc = Luc { trust: 1e-5, ..LUC };

#[test]
fn accuracy_of_gradient_descent() {
    for (name, config, rate) in [
        ("SGD", SgdConfig { momentum: 0.0, ..MOMENTUM }, 0.01),
        ("SGD, momentum", MOMENTUM, 0.01),
        ("SGD, Nesterov", SgdConfig { nesterov: true, ..MOMENTUM }, 0.01),
        ("SGD, momentum, LUC", SgdConfig { luc: Some(LUC), ..MOMENTUM }, 0.01),
        ("LARC, momentum", SgdConfig { larc: Some(CLIP), ..MOMENTUM }, 0.01),
        ("LARS, momentum", SgdConfig { larc: Some(LARS), ..MOMENTUM }, 0.01),
    ] {
        let gradients = if config.larc == Some(CLIP) { Gradients::Own } else { Gradients::Same };
        run(name, Sgd::new(config).unwrap(), rate, gradients, |layer, step, gradients, memory| {
            reference::sgd(&config, layer, step, gradients, memory);
        });
    }
}

const NOVO: NovoGradConfig = NovoGradConfig { weight_decay: 1e-3, ..NovoGradConfig::DEFAULT };

#[test]
fn accuracy_of_novograd() {
    for (name, config) in [
        ("NovoGrad", NOVO),
        ("NovoGrad, LUC", NovoGradConfig { luc: Some(LUC_MORE), ..NOVO }),
        ("NovoGrad, LARC", NovoGradConfig { larc: Some(CLIP_MORE), ..NOVO }),
    ] {
        run(name, NovoGrad::new(config).unwrap(), 0.001, Gradients::Same, |layer, step, gradients, memory| {
            reference::novograd(&config, layer, step, gradients, memory);
        });
    }
}

const ADAMW: AdamConfig = AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT };

#[test]
fn accuracy_of_adam() {
    let trust_ratio = Some(TrustRatio::DEFAULT);
    for (name, config) in [
        ("Adam", AdamConfig { weight_decay: 1e-4, decay_mode: AdamDecay::L2, ..ADAMW }),
        ("AdamW", ADAMW),
        ("Adam, LARC", AdamConfig { larc: Some(CLIP_MORE), decay_mode: AdamDecay::L2, ..ADAMW }),
        ("LAMB", AdamConfig { eps: 1e-6, decay_mode: AdamDecay::InUpdate, trust_ratio, ..ADAMW }),
    ] {
        run(name, Adam::new(config).unwrap(), 0.001, Gradients::Same, |layer, step, gradients, memory| {
            reference::adam(&config, layer, step, gradients, memory);
        });
    }
}
