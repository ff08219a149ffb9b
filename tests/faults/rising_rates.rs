//! A rising rate multiplies momentum from gradients that LARC did not need to reduce at the lower rate: with LARC in
//! clip mode, the first steps of a warm-up and those after a restart are many times too long. A limit of the step fixes
//! this.

use crate::harness::data::uniform;
use crate::harness::optimizers::{keeps_momentum, keeps_second_moment};
use layerwise::rule::Rule;
use layerwise::{
    Adam, AdamConfig, AdamDecay, LarcConfig, LayerMemory, Luc, NovoGrad, NovoGradConfig, Optimizer, Sgd, SgdConfig,
    l2_norm,
};

const TRUST: f64 = 0.002;
const LUC: Option<Luc> = Some(Luc { trust: TRUST, eps: 0.0, freezes_zeros: false });
const LARC: Option<LarcConfig> = Some(LarcConfig { eta: TRUST, ..LarcConfig::DEFAULT });

/// A long and a short warm-up from 0, and a restart after the rate has fallen to nothing.
fn schedules() -> [(&'static str, Vec<f64>); 3] {
    let rising = |steps: u32| (0..=steps).map(move |step| f64::from(step) / f64::from(steps));
    let falling = (0..40).map(|step| 0.5 * (1.0 + (std::f64::consts::PI * f64::from(step) / 39.0).cos()));
    [
        ("a long warm-up", rising(40).chain([1.0; 10]).collect()),
        ("a warm-up of one step", rising(1).chain([1.0; 20]).collect()),
        ("a restart", falling.chain([0.0; 10]).chain([1.0; 10]).collect()),
    ]
}

/// The largest step of a schedule, in units of the norm of the weights before it. Gradients are large, and hardly
/// change.
fn largest_step<R: Rule>(optimizer: &Optimizer<R>, rates: &[f64]) -> f64 {
    let len = 300;
    let (mut weights, gradients) = (uniform(len, 1.0, 1), uniform(len, 100.0, 2));
    let zeros = |keeps: bool| vec![0.0; if keeps { len } else { 0 }];
    let (mut momentum, mut second_moment) = (zeros(keeps_momentum(optimizer)), zeros(keeps_second_moment(optimizer)));
    let (mut state, mut largest) = (R::State::default(), 0.0_f64);
    for rate in rates {
        let before = weights.clone();
        let layer = LayerMemory::new(&mut weights, &gradients, &mut state).momentum(&mut momentum);
        let report = optimizer.step_layer(*rate, layer.second_moment(&mut second_moment)).unwrap();
        assert!(report.applied(), "{report:?}");
        let moved: Vec<f32> = weights.iter().zip(&before).map(|(w, before)| w - before).collect();
        largest = largest.max(l2_norm(&moved) / l2_norm(&before));
    }
    largest
}

#[test]
fn a_rising_rate_multiplies_what_the_momentum_has_kept() {
    let sgd = SgdConfig { momentum: 0.9, larc: LARC, ..SgdConfig::DEFAULT };
    for (name, rates) in schedules() {
        let without = largest_step(&Sgd::new(sgd).unwrap(), &rates);
        assert!(without > 20.0 * TRUST, "{name}: {without}");
        let limited = largest_step(&Sgd::new(SgdConfig { luc: LUC, ..sgd }).unwrap(), &rates);
        assert!(limited <= 1.01 * TRUST, "{name}: {limited}");
        // The rate inside the momentum fixes it too: the momentum is then at most ten gradients of LARC's size.
        let inside = largest_step(&Sgd::new(SgdConfig { rate_in_momentum: true, ..sgd }).unwrap(), &rates);
        assert!(inside <= 10.1 * TRUST, "{name}: {inside}");
    }
}

#[test]
fn a_limit_bounds_the_steps_of_every_rule() {
    for (name, rates) in schedules() {
        for (nesterov, rate_in_momentum) in [(false, false), (true, false), (false, true), (true, true)] {
            let config = SgdConfig { momentum: 0.9, nesterov, rate_in_momentum, luc: LUC, ..SgdConfig::DEFAULT };
            let largest = largest_step(&Sgd::new(config).unwrap(), &rates);
            assert!(largest <= 1.01 * TRUST && largest > 0.5 * TRUST, "{name}, {config:?}: {largest}");
        }
        for larc in [None, LARC] {
            let config = NovoGradConfig { luc: LUC, larc, ..NovoGradConfig::DEFAULT };
            let largest = largest_step(&NovoGrad::new(config).unwrap(), &rates);
            assert!(largest <= 1.01 * TRUST && largest > 0.5 * TRUST, "{name}, {config:?}: {largest}");
            for (decay_mode, weight_decay) in [(AdamDecay::L2, 0.0), (AdamDecay::InUpdate, 0.1)] {
                let config = AdamConfig { luc: LUC, larc, decay_mode, weight_decay, ..AdamConfig::DEFAULT };
                let largest = largest_step(&Adam::new(config).unwrap(), &rates);
                assert!(largest <= 1.01 * TRUST && largest > 0.5 * TRUST, "{name}, {config:?}: {largest}");
            }
        }
    }
}
