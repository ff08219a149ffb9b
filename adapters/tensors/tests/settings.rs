//! The file names the optimizer and its settings, to the last bit.
#![cfg(target_endian = "little")]

mod common;

use common::{Directory, numbers};
use layerwise::rule::Rule;
use layerwise::{
    Adam, AdamConfig, AnyOptimizer, AnyRule, LarcConfig, LayerConfig, NonFinite, NovoGrad, NovoGradConfig, Optimizer,
    Policy, Sgd, SgdConfig,
};
use layerwise_tensors::{Checkpoint, Error, Layerwise, gradient, pair};
use ndarray::{Array1, Array2};
use std::fs;

/// Two steps in arrays and one in the file, opened with the optimizer that it names.
fn check<R: Rule + Into<AnyRule> + Copy + 'static>(optimizer: Optimizer<R>) -> Result<(), Error> {
    let any: AnyOptimizer = optimizer.any();
    let file = Directory::new();
    let mut weights = Array2::from_shape_vec((4, 5), numbers(20, 1)).unwrap();
    let gradients = Array2::from_shape_vec((4, 5), numbers(20, 2)).unwrap();
    let mut ours = Layerwise::new(optimizer, [("w", weights.view().into_dyn())])?;
    ours.configure(|_, _| LayerConfig { rate: 0.1 + 0.2, decay: 1.0 / 3.0, ..LayerConfig::DEFAULT })?;
    for _ in 0..2 {
        ours.step(0.1, &mut [pair(&mut weights, &gradients)?])?;
    }
    ours.save(file.file("saved"), [weights.view().into_dyn()])?;
    let mut saved = Checkpoint::new(fs::read(file.file("saved"))?)?;
    assert_eq!(*saved.optimizer(), any);
    assert_eq!(saved.names().collect::<Vec<_>>(), ["w"]);
    ours.step(0.1, &mut [pair(&mut weights, &gradients)?])?;
    saved.step(0.1, &[gradient(&gradients)?])?;
    assert_eq!(saved.weights(0).unwrap(), weights.view().into_dyn());
    assert_eq!((saved.steps(), ours.steps()), (3, 3));
    for ((name, found), (_, expected)) in saved.reports().zip(ours.reports()) {
        assert_eq!((name, found.effective_rate.to_bits()), ("w", expected.effective_rate.to_bits()));
    }
    Ok(())
}

#[test]
fn each_rule_is_read_as_it_was() -> Result<(), Error> {
    let policy = Policy { non_finite: NonFinite::SkipStep, clip_norm: Some(1.0 / 3.0) };
    let larc = LarcConfig { eta: 0.1 * 0.02, ..LarcConfig::DEFAULT };
    let sgd = SgdConfig { momentum: 1.0 - 0.1, weight_decay: 1e-3 / 3.0, ..SgdConfig::DEFAULT };
    let novograd = NovoGradConfig { beta2: 1.0 - 1.0 / 49.0, weight_decay: 1e-3, ..NovoGradConfig::DEFAULT };
    let adam = AdamConfig { beta2: 1.0 - 1e-3 / 3.0, ..AdamConfig::TIMM_LAMB };
    check(Sgd::new(sgd).unwrap().with_policy(policy).unwrap())?;
    check(Sgd::new(SgdConfig { larc: Some(larc), ..sgd }).unwrap())?;
    check(NovoGrad::new(novograd).unwrap().with_policy(policy).unwrap())?;
    check(Adam::new(adam).unwrap())?;
    check(Adam::new(adam).unwrap().any().with_policy(policy).unwrap())
}

/// Identical training runs write the same bytes.
#[test]
fn files_do_not_differ_from_run_to_run() -> Result<(), Error> {
    let directory = Directory::new();
    let (w, b) = (Array2::<f32>::ones((3, 4)), Array1::<f32>::ones(4));
    let views = || [("w", w.view().into_dyn()), ("b", b.view().into_dyn())];
    for name in ["one", "other"] {
        let ours = Layerwise::new(Adam::new(AdamConfig::DEFAULT).unwrap(), views())?;
        ours.save(directory.file(name), views().map(|(_, view)| view))?;
    }
    assert!(fs::read(directory.file("one"))? == fs::read(directory.file("other"))?);
    Ok(())
}
