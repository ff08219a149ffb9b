//! Training with split weights is training in `f32`.

use crate::backends::{Case, backends, on};
use crate::host::{bits, joined, lower, random, upper};
use layerwise::rule::{Moments, Rule};
use layerwise::{Adam, AdamConfig, LarcConfig, LayerMemory, NovoGrad, NovoGradConfig, Optimizer, Sgd, SgdConfig};

/// The same thousand steps on split weights and on whole ones.
fn check<R: Rule + Copy>(optimizer: Optimizer<R>, name: &str) {
    for ((backend_name, backend), len) in backends().flat_map(|backend| [37, 1100].map(|len| (backend, len))) {
        let _case = Case(|| format!("{name}, {backend_name}, {len}"));
        let optimizer = on(optimizer, backend);
        let moment = |least| vec![0.0; if optimizer.moments() >= least { len } else { 0 }];
        let moments = || (moment(Moments::First), moment(Moments::FirstAndSecond), R::State::default());
        let mut whole = random(len, 1, 1.0);
        let (mut upper, mut lower) = (upper(&whole), lower(&whole));
        let ((mut m1, mut v1, mut state1), (mut m2, mut v2, mut state2)) = (moments(), moments());
        for step in 0..1000 {
            let gradients = random(len, 2 + step, 1.0);
            let lr = 0.1 / (1.0 + step as f64);
            let layer = LayerMemory::new(&mut upper, &gradients, &mut state1).lower(&mut lower);
            let ours = optimizer.step_layer(lr, layer.momentum(&mut m1).second_moment(&mut v1)).unwrap();
            let layer = LayerMemory::new(&mut whole, &gradients, &mut state2);
            let theirs = optimizer.step_layer(lr, layer.momentum(&mut m2).second_moment(&mut v2)).unwrap();
            assert!(ours.applied());
            assert_eq!(ours.effective_rate.to_bits(), theirs.effective_rate.to_bits(), "{step}");
            assert_eq!(bits(&joined(&upper, &lower)), bits(&whole), "{step}");
        }
        assert_eq!([bits(&m1), bits(&v1)], [bits(&m2), bits(&v2)]);
    }
}

#[test]
fn a_thousand_steps_of_every_rule_have_the_bits_of_f32() {
    let larc = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), weight_decay: 0.01, ..SgdConfig::DEFAULT };
    check(Sgd::new(SgdConfig::DEFAULT).unwrap(), "SGD");
    check(Sgd::new(larc).unwrap(), "LARC");
    check(NovoGrad::new(NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT }).unwrap(), "NovoGrad");
    check(Adam::new(AdamConfig::DEFAULT).unwrap(), "Adam");
    check(Adam::new(AdamConfig::TORCH_ADAMW).unwrap(), "AdamW");
    check(Adam::new(AdamConfig::TIMM_LAMB).unwrap(), "LAMB");
}
