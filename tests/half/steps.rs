//! Steps of single layers, of all combinations of types.

use crate::backends::{Case, backends, on};
use crate::host::{Array, Host, Type, bits, lower, random, upper};
use half::bf16;
use layerwise::rule::{Moments, Rule};
use layerwise::{
    Adam, AdamConfig, CarriedNorms, LarcConfig, NovoGrad, NovoGradConfig, Optimizer, Report, Sgd, SgdConfig, Step,
};

const LENGTHS: [usize; 14] = [0, 1, 7, 15, 16, 17, 31, 33, 255, 300, 1025, 5000, 65_537, 70_000];

/// Steps with 16-bit floats against the same steps in `f32` with rounded gradients and momentum.
fn check<R: Rule>(optimizer: &Optimizer<R>, name: &str)
where
    R::State: Default,
{
    let keeps = |moments| if optimizer.moments() >= moments { 1 } else { 0 };
    for len in LENGTHS {
        for (gradients, momentum) in [
            (Type::F32, Type::F32),
            (Type::F32, Type::Bf16),
            (Type::Bf16, Type::F32),
            (Type::Bf16, Type::Bf16),
            (Type::F16, Type::F32),
            (Type::F16, Type::Bf16),
        ] {
            for (split, copy) in [
                (false, None),
                (true, None),
                (false, Some((Type::Bf16, false))),
                (false, Some((Type::F16, false))),
                (true, Some((Type::F16, true))),
            ] {
                let _case = Case(|| format!("{name}, {len}, {gradients:?} {momentum:?} {split} {copy:?}"));
                let w = random(len, 1, if copy.is_some() { 1e5 } else { 1.0 });
                let mut ours = Host {
                    weights: if split { Array::Bf16(upper(&w)) } else { Array::F32(w.clone()) },
                    lower: split.then(|| lower(&w)),
                    gradients: Array::F32(vec![]),
                    momentum: Array::new(momentum, &vec![0.0; len * keeps(Moments::First)]),
                    second: vec![0.0; len * keeps(Moments::FirstAndSecond)],
                    copy: copy.map(|(kind, saturating)| (Array::new(kind, &vec![0.0; len]), saturating)),
                    state: R::State::default(),
                    norms: CarriedNorms::new(),
                };
                let mut theirs = Host {
                    weights: Array::F32(w),
                    lower: None,
                    gradients: Array::F32(vec![]),
                    momentum: Array::F32(vec![0.0; len * keeps(Moments::First)]),
                    second: ours.second.clone(),
                    copy: None,
                    state: R::State::default(),
                    norms: CarriedNorms::new(),
                };
                for step in 0..3 {
                    ours.gradients = Array::new(gradients, &random(len, 2 + step, 1.0));
                    theirs.gradients = Array::F32(ours.gradients.widened());
                    theirs.momentum = Array::F32(ours.momentum.widened());
                    let step = Step::new(0.1).gradient_scale(0.5);
                    let report = optimizer.step_layer(step, ours.layer()).unwrap();
                    let expected: Report = optimizer.step_layer(step, theirs.layer()).unwrap();
                    assert_eq!(format!("{report:?}"), format!("{expected:?}"));
                    let new = theirs.weights.widened();
                    assert_eq!(bits(&ours.joined()), bits(&new));
                    assert_eq!(ours.norms.weights(), theirs.norms.weights());
                    let rounded = Array::new(momentum, &theirs.momentum.widened());
                    assert_eq!(ours.momentum.bits(), rounded.bits());
                    assert_eq!(bits(&ours.second), bits(&theirs.second));
                    assert_eq!(ours.state, theirs.state);
                    if let (Some((copied, saturating)), Some((kind, _))) = (&ours.copy, copy) {
                        let largest = if kind == Type::F16 { 65504.0 } else { bf16::MAX.to_f32() };
                        let clamp = |x: &f32| if *saturating { x.clamp(-largest, largest) } else { *x };
                        let expected = Array::new(kind, &new.iter().map(clamp).collect::<Vec<_>>());
                        assert_eq!(copied.bits(), expected.bits());
                    }
                }
            }
        }
    }
}

#[test]
fn a_step_is_that_of_widened_numbers() {
    let larc = Some(LarcConfig::DEFAULT);
    let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
    let larc = Sgd::new(SgdConfig { momentum: 0.9, larc, weight_decay: 0.01, ..SgdConfig::DEFAULT }).unwrap();
    let novograd = NovoGrad::new(NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT }).unwrap();
    for (name, backend) in backends() {
        check(&on(sgd, backend), &format!("SGD, {name}"));
        check(&on(larc, backend), &format!("LARC, {name}"));
        check(&on(novograd, backend), &format!("NovoGrad, {name}"));
        check(&on(Adam::new(AdamConfig::TORCH_ADAMW).unwrap(), backend), &format!("AdamW, {name}"));
        check(&on(Adam::new(AdamConfig::TIMM_LAMB).unwrap(), backend), &format!("LAMB, {name}"));
    }
}
