//! Whole models: the bits of single layers whatever the table and the threads, policies, carried norms, bad tables.

mod reference;

use layerwise::{
    CarriedNorms, Larc, LarcConfig, Layer, LayerView, Luc, NonFinite, NovoGrad, NovoGradConfig, NovoGradState,
    Optimizer, Outcome, Policy, Rule, Sgd, SgdConfig, SgdState, accumulate, l2_norm, sum_of_squares,
};
use proptest::prelude::*;
use reference::model::{Model, Walk, assert_same_summary, walks};

fn larc() -> Sgd {
    let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
    Sgd::new(SgdConfig { momentum: 0.9, weight_decay: 0.01, larc: Some(larc), ..SgdConfig::DEFAULT }).unwrap()
}

fn novograd() -> NovoGrad {
    NovoGrad::new(NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT }).unwrap()
}

fn luc() -> NovoGrad {
    NovoGrad::new(NovoGradConfig { luc: Some(Luc::DEFAULT), ..NovoGradConfig::DEFAULT }).unwrap()
}

/// Tables of small layers with now and then a large one.
fn tables() -> impl Strategy<Value = Vec<(usize, Layer)>> {
    let len = prop_oneof![8 => 1..100_usize, 3 => 1000..3000_usize, 1 => 60_000..200_000_usize];
    let layer = (any::<bool>(), any::<bool>(), 0..8_usize).prop_map(|(adapt, decay, n)| Layer {
        adapt,
        decay,
        rate: [1.0, 0.5][n % 2],
        frozen: n == 7,
    });
    prop::collection::vec((len, layer), 1..60)
}

/// Compares every walk with the layers stepped one by one, and with the contract, over three steps.
fn walks_are_identical<R: Rule<State = S> + Sync, S: Copy + Default + Send + Sync + PartialEq + std::fmt::Debug>(
    optimizer: &Optimizer<R>,
    start: &Model<S>,
) {
    let mut expected = start.clone();
    for _ in 0..3 {
        expected.step_one_by_one(optimizer, 0.05);
    }
    for walk in walks() {
        let mut model = start.clone();
        for _ in 0..3 {
            model.step(optimizer, 0.05, walk);
        }
        model.assert_same(&format!("{walk:?}"), &expected);
    }
    let mut by_contract = Model { norms: vec![], ..start.clone() };
    for _ in 0..3 {
        by_contract.step_by_contract(optimizer, 0.05);
    }
    Model { norms: vec![], ..expected }.assert_same("contract", &by_contract);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn models_have_the_bits_of_their_layers(table in tables(), gap in 0..3_usize, carried: bool, seed: u64, nan: bool) {
        let mut model = Model::new(&table, gap, true, carried, seed);
        if nan {
            let middle = model.spans[model.spans.len() / 2].start;
            model.gradients[middle] = f32::NAN;
        }
        walks_are_identical(&larc(), &model);
        let mut model = Model::new(&table, gap, true, carried, seed);
        if nan {
            let last = model.gradients.len() - 1 - gap;
            model.gradients[last] = f32::INFINITY;
        }
        walks_are_identical(&novograd(), &model);
        walks_are_identical(&luc(), &model);
    }

    #[test]
    fn policies_have_the_same_bits_on_all_walks(table in tables(), gap in 0..3_usize, seed: u64, nan: bool) {
        let policy = Policy { non_finite: NonFinite::SkipStep, clip_norm: Some(0.5) };
        let optimizer = novograd().with_policy(policy).unwrap();
        let mut start = Model::new(&table, gap, true, true, seed);
        if nan {
            let first = start.spans[0].start;
            start.gradients[first] = f32::NAN;
        }
        let mut expected = start.clone();
        let summary = expected.step(&optimizer, 0.05, Walk::Serial);
        for walk in walks() {
            let mut model = start.clone();
            assert_same_summary(&model.step(&optimizer, 0.05, walk), &summary);
            model.assert_same(&format!("{walk:?}"), &expected);
        }
        let mut by_contract = Model { norms: vec![], ..start.clone() };
        assert_same_summary(&by_contract.step_by_contract(&optimizer, 0.05), &summary);
        Model { norms: vec![], ..expected.clone() }.assert_same("contract", &by_contract);
        if nan && !table[0].1.frozen {
            prop_assert_eq!(summary.applied, 0);
            prop_assert!(expected.weights == start.weights && expected.momentum == start.momentum);
        } else {
            prop_assert_eq!(summary.skipped, 0);
        }
    }

    #[test]
    fn accumulated_gradients_need_no_norm(len in 0..40_000_usize, seed: u64, scale in 0.01..2.0_f64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut numbers = || (0..len).map(|_| 2.0 * rng.f32() - 1.0).collect::<Vec<_>>();
        let (mut sum, start) = (vec![0.0; len], numbers());
        let mut norms = CarriedNorms::default();
        for _ in 0..3 {
            norms.set_gradient(accumulate(&mut sum, &numbers(), scale).unwrap());
        }
        prop_assert_eq!(norms.gradient(), Some(l2_norm(&sum)));
        for optimizer in [larc(), Sgd::new(SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT }).unwrap()] {
            let step = |norms| {
                let (mut weights, mut momentum, mut state) = (start.clone(), vec![0.0; len], SgdState::default());
                let (layer, weights_, momentum_) = (Layer::DEFAULT, &mut weights, &mut momentum);
                let report = optimizer.step_view(0.1, LayerView {
                    layer, weights: weights_, gradients: &sum, momentum: momentum_, state: &mut state, norms,
                }).unwrap();
                (weights, momentum, report.gradient_norm, report.weight_norm.to_bits())
            };
            let mut carried = norms;
            prop_assert_eq!(step(Some(&mut carried)), step(None));
            prop_assert_eq!(carried.gradient(), None);
        }
    }
}

#[test]
fn a_global_clip_scales_all_gradients_alike() {
    let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
    let clipping = sgd.with_policy(Policy { clip_norm: Some(1.0), ..Policy::DEFAULT }).unwrap();
    let table = [(2, Layer::DEFAULT), (1, Layer::FROZEN), (1, Layer::DEFAULT)];
    let mut model = Model::new(&table, 0, false, false, 1);
    model.weights.fill(0.0);
    model.gradients.copy_from_slice(&[2.0, 3.0, f32::NAN, 6.0]);
    let summary = model.step(&clipping, 1.0, Walk::Serial);
    assert_eq!((summary.gradient_norm, summary.clip), (7.0, 1.0 / 7.0));
    assert_eq!((summary.applied, summary.skipped), (2, 0));
    let expected = [2.0, 3.0, 0.0, 6.0].map(|g: f32| -(1.0 / 7.0_f64) as f32 * g);
    assert_eq!(model.weights, expected);
    assert_eq!(model.reports[2].gradient_norm, 6.0);

    // Below the limit nothing is scaled.
    model.gradients.copy_from_slice(&[0.5, 0.5, 0.0, 0.5]);
    assert_eq!(model.step(&clipping, 1.0, Walk::Serial).clip, 1.0);
}

#[test]
fn a_frozen_layer_is_neither_read_nor_written() {
    let table = [(3, Layer::FROZEN), (3, Layer::DEFAULT)];
    let mut model = Model::<SgdState>::new(&table, 0, true, true, 1);
    model.gradients[..3].fill(f32::NAN);
    let before = model.clone();
    let summary = model.step(&larc(), 0.1, Walk::Serial);
    assert_eq!((summary.applied, summary.skipped), (1, 0));
    assert_eq!(model.reports[0].outcome, Outcome::Frozen);
    assert_eq!(model.weights[..3], before.weights[..3]);
    assert_eq!(model.momentum[..3], before.momentum[..3]);
    assert_ne!(model.weights[3..], before.weights[3..]);
    assert_eq!(model.norms[0], CarriedNorms::default());
}

#[test]
fn gaps_are_not_touched() {
    let mut model = Model::<NovoGradState>::new(&[(3, Layer::DEFAULT), (2, Layer::DEFAULT)], 2, true, false, 1);
    for gap in [3, 4, 7, 8] {
        model.weights[gap] = f32::NAN;
        model.gradients[gap] = f32::INFINITY;
        model.momentum[gap] = f32::NAN;
    }
    let summary = model.step(&novograd(), 0.1, Walk::Serial);
    assert_eq!(summary.applied, 2);
    for (i, w) in model.weights.iter().enumerate() {
        assert_eq!(w.is_nan(), [3, 4, 7, 8].contains(&i), "{i}");
    }
}

#[test]
fn the_global_norm_is_in_the_summary() {
    let mut model = Model::<NovoGradState>::new(&[(3, Layer::DEFAULT), (4, Layer::DEFAULT)], 0, true, false, 1);
    let summary = model.step(&novograd(), 0.1, Walk::Serial);
    assert!((summary.gradient_norm.powi(2) / sum_of_squares(&model.gradients) - 1.0).abs() < 1e-6);
}
