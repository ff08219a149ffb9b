//! Whole models: the bits of single layers, for all model types and numbers of threads; policies, carried norms, layers
//! that take no part.

mod harness;
mod reference;

use harness::optimizers::{
    adam, adam_luc, clipping, lamb, larc, larc_adam, larc_novograd, luc, momentum, novograd, novograd_max, optax,
    plain, sgd_luc, skipping,
};
use harness::{Net, Walk, same, uniform, walks};
use layerwise::rule::{Moments, Rule, RuleState};
use layerwise::{
    AdamState, AnyRule, Argument, CarriedNorms, Error, LayerConfig, LayerMemory, Model, NovoGradState, Optimizer,
    Outcome, Policy, Report, SgdState, Step, accumulate, l2_norm, sum_of_squares,
};
use proptest::prelude::*;

/// Tables of small layers, some of them empty, with now and then a large one.
fn tables() -> impl Strategy<Value = Vec<(usize, LayerConfig)>> {
    let len = prop_oneof![8 => 1..100_usize, 1 => Just(0), 3 => 1000..3000_usize, 1 => 60_000..200_000_usize];
    let config = (any::<bool>(), 0..4_usize, 0..8_usize).prop_map(|(adapt, decay, n)| LayerConfig {
        adapt,
        decay: [1.0, 1.0, 0.0, 0.3][decay],
        rate: [1.0, 0.5][n % 2],
        frozen: n == 7,
    });
    prop::collection::vec((len, config), 1..60)
}

/// Steps with ordinary gradients and with gradients that are scaled.
fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![Just(1.0), 1e-3..1e3_f64].prop_map(|scale| Step::new(0.05).gradient_scale(scale))
}

/// A number that is not finite, somewhere in a model, or none.
#[derive(Clone, Copy, Debug)]
enum Bad {
    None,
    Gradient,
    Weight,
    Momentum,
    SecondMoment,
}

fn bads() -> impl Strategy<Value = (Bad, prop::sample::Index, f32)> {
    let kinds = vec![Bad::None, Bad::Gradient, Bad::Weight, Bad::Momentum, Bad::SecondMoment];
    (prop::sample::select(kinds), any::<prop::sample::Index>(), prop::sample::select(vec![f32::NAN, f32::INFINITY]))
}

fn spoil<S>(net: &mut Net<S>, (bad, at, value): &(Bad, prop::sample::Index, f32)) {
    let array = match bad {
        Bad::None => return,
        Bad::Gradient => &mut net.gradients,
        Bad::Weight => &mut net.weights,
        Bad::Momentum => &mut net.momentum,
        Bad::SecondMoment => &mut net.second_moment,
    };
    if !array.is_empty() {
        *at.get_mut(array) = *value;
    }
}

/// Compares every walk with the contract over three steps.
fn walks_are_identical<R: Rule<State = S> + Sync, S: RuleState + Sync>(
    optimizer: &Optimizer<R>,
    step: Step,
    start: &Net<S>,
) {
    let mut by_contract = start.without_norms();
    let totals: Vec<_> = (0..3).map(|_| by_contract.step_by_contract(optimizer, step)).collect();
    let mut first: Option<Net<S>> = None;
    for walk in walks() {
        let mut net = start.clone();
        for totals in &totals {
            net.step(optimizer, step, walk).assert_same(&format!("{walk:?}"), totals);
        }
        net.without_norms().assert_same(&format!("{walk:?}"), &by_contract);
        // The norms that are carried too.
        first.get_or_insert_with(|| net.clone()).assert_same(&format!("{walk:?}"), &net);
    }
}

fn any_is_the_same<R: Rule + Into<AnyRule> + Copy + Sync>(
    optimizer: Optimizer<R>,
    table: &[(usize, LayerConfig)],
    gap: usize,
    seed: u64,
    bad: &(Bad, prop::sample::Index, f32),
    step: Step,
) where
    R::State: Sync,
{
    let mut net = Net::<R::State>::new(table, gap, true, true, seed);
    if optimizer.moments() == Moments::FirstAndSecond {
        net = net.with_second_moment(seed);
    }
    spoil(&mut net, bad);
    let mut any = Net::<[f64; 3]>::new(table, gap, true, true, seed);
    any.second_moment.clone_from(&net.second_moment);
    spoil(&mut any, bad);
    for walk in walks().into_iter().cycle().take(3) {
        let totals = any.step(&optimizer.any(), step, walk);
        net.step(&optimizer, step, walk).assert_same("any", &totals);
        let states: Vec<[f64; 3]> = net.states.iter().map(|state| state.to_numbers()).collect();
        assert_eq!(any.states, states);
        for (ours, theirs) in any.reports.iter().zip(&net.reports) {
            harness::assert_same_report(ours, theirs);
        }
        harness::assert_same("weight", &any.weights, &net.weights);
        harness::assert_same("momentum", &any.momentum, &net.momentum);
        harness::assert_same("second moment", &any.second_moment, &net.second_moment);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn models_have_the_bits_of_the_contract(
        table in tables(), gap in 0..3_usize, carried: bool, seed: u64,
        bad in bads(), step in steps(), which in 0..6_usize,
    ) {
        let keeps_momentum = which != 0;
        let mut sgd = Net::new(&table, gap, keeps_momentum, carried, seed);
        spoil(&mut sgd, &bad);
        let mut novo = Net::new(&table, gap, true, carried, seed);
        spoil(&mut novo, &bad);
        match which {
            0 => walks_are_identical(&plain(), step, &sgd),
            1 => walks_are_identical(&larc(), step, &sgd),
            2 => walks_are_identical(&optax(), step, &sgd),
            3 => walks_are_identical(&novograd(), step, &novo),
            4 => walks_are_identical(&novograd_max(), step, &novo),
            _ => walks_are_identical(&luc(), step, &novo),
        }
    }

    #[test]
    fn policies_have_the_bits_of_the_contract(
        table in tables(), gap in 0..3_usize, carried: bool, seed: u64,
        bad in bads(), step in steps(), which in 0..5_usize,
    ) {
        let mut sgd = Net::new(&table, gap, true, carried, seed);
        spoil(&mut sgd, &bad);
        let mut novo = Net::new(&table, gap, true, carried, seed);
        spoil(&mut novo, &bad);
        match which {
            0 => walks_are_identical(&clipping(momentum(), 0.5), step, &sgd),
            1 => walks_are_identical(&skipping(optax()), step, &sgd),
            2 => walks_are_identical(&skipping(clipping(novograd(), 0.5)), step, &novo),
            3 => walks_are_identical(&skipping(novograd_max()), step, &novo),
            _ => walks_are_identical(&skipping(clipping(luc(), 0.5)), step, &novo),
        }
    }

    #[test]
    fn models_of_second_moments_have_the_bits_of_the_contract(
        table in tables(), gap in 0..3_usize, carried: bool, seed: u64,
        bad in bads(), step in steps(), which in 0..9_usize,
    ) {
        let mut net = Net::<AdamState>::new(&table, gap, true, carried, seed).with_second_moment(seed);
        spoil(&mut net, &bad);
        let optimizer = match which {
            0 => adam(),
            1 => clipping(adam(), 0.5),
            2 => larc_adam(),
            3 => lamb(),
            4 => skipping(lamb()),
            5 => skipping(clipping(lamb(), 0.5)),
            6 => adam_luc(),
            7 => skipping(adam_luc()),
            _ => skipping(larc_adam()),
        };
        walks_are_identical(&optimizer, step, &net);
    }

    #[test]
    fn limits_and_larc_in_front_have_the_bits_of_the_contract(
        table in tables(), gap in 0..3_usize, carried: bool, seed: u64,
        bad in bads(), step in steps(), which in 0..4_usize,
    ) {
        let mut sgd = Net::new(&table, gap, true, carried, seed);
        spoil(&mut sgd, &bad);
        let mut novo = Net::new(&table, gap, true, carried, seed);
        spoil(&mut novo, &bad);
        match which {
            0 => walks_are_identical(&sgd_luc(), step, &sgd),
            1 => walks_are_identical(&skipping(clipping(sgd_luc(), 0.5)), step, &sgd),
            2 => walks_are_identical(&larc_novograd(), step, &novo),
            _ => walks_are_identical(&skipping(larc_novograd()), step, &novo),
        }
    }

    /// A rule chosen at run time takes the same steps as the named rule; its states are the same numbers.
    #[test]
    fn any_rule_has_the_bits_of_its_name(
        table in tables(), gap in 0..3_usize, seed: u64, bad in bads(), step in steps(), which in 0..6_usize,
    ) {
        let policy = |clips: bool| Policy { clip_norm: clips.then_some(0.5), ..*skipping(plain()).policy() };
        match which {
            0 => any_is_the_same(skipping(sgd_luc()), &table, gap, seed, &bad, step),
            1 => any_is_the_same(larc(), &table, gap, seed, &bad, step),
            2 => any_is_the_same(novograd().with_policy(policy(true)).unwrap(), &table, gap, seed, &bad, step),
            3 => any_is_the_same(luc(), &table, gap, seed, &bad, step),
            4 => any_is_the_same(lamb().with_policy(policy(false)).unwrap(), &table, gap, seed, &bad, step),
            _ => any_is_the_same(larc_adam(), &table, gap, seed, &bad, step),
        }
    }

    #[test]
    fn models_have_the_bits_of_their_layers(
        table in tables(), gap in 0..3_usize, carried: bool, seed: u64, bad in bads(), step in steps(),
    ) {
        let mut net = Net::new(&table, gap, true, carried, seed);
        spoil(&mut net, &bad);
        let mut one_by_one = net.clone();
        for _ in 0..2 {
            net.step(&luc(), step, Walk::Flat);
            one_by_one.step_one_by_one(&luc(), step);
        }
        net.assert_same("one by one", &one_by_one);
    }

    /// A layer that is not lent takes no part: the others are the same as in a model without it.
    #[test]
    fn absent_layers_take_no_part(
        table in tables(), seed: u64, bad in bads(), absent in prop::collection::vec(any::<bool>(), 60), skips: bool,
    ) {
        let optimizer = clipping(novograd(), 0.5);
        let optimizer = if skips { skipping(optimizer) } else { optimizer };
        let mut net = Net::<NovoGradState>::new(&table, 0, true, true, seed);
        spoil(&mut net, &bad);
        net.absent = absent[..table.len()].to_vec();
        let start = net.clone();
        let mut by_contract = net.without_norms();
        let mut present = net.clone();
        let keep: Vec<usize> = (0..table.len()).filter(|&i| !net.absent[i]).collect();
        present.spans = keep.iter().map(|&i| net.spans[i]).collect();
        present.states.truncate(keep.len());
        present.norms.truncate(keep.len());
        present.reports.truncate(keep.len());
        present.absent = vec![false; keep.len()];

        let totals = net.step(&optimizer, 0.05, Walk::Lent);
        by_contract.step_by_contract(&optimizer, 0.05).assert_same("contract", &totals);
        by_contract.assert_same("contract", &net.without_norms());
        present.step(&optimizer, 0.05, Walk::Flat).assert_same("without the absent layers", &totals);
        prop_assert!(same(sum_of_squares(&net.weights), sum_of_squares(&present.weights)));
        for (i, span) in start.spans.iter().enumerate().filter(|(i, _)| start.absent[*i]) {
            prop_assert_eq!(net.reports[i].outcome, Outcome::Absent);
            let layer = span.start..span.start + span.len;
            harness::assert_same("weight", &net.weights[layer.clone()], &start.weights[layer.clone()]);
            harness::assert_same("momentum", &net.momentum[layer.clone()], &start.momentum[layer]);
            prop_assert_eq!((net.states[i], net.norms[i]), (start.states[i], start.norms[i]));
        }
    }

    #[test]
    fn accumulated_gradients_need_no_norm(len in 0..40_000_usize, seed: u64, scale in 0.01..2.0_f64) {
        let (mut sum, start) = (vec![0.0; len], uniform(len, 1.0, seed));
        let mut norms = CarriedNorms::default();
        for i in 1..4 {
            norms.set_gradient(accumulate(&mut sum, &uniform(len, 1.0, seed ^ i), scale).unwrap());
        }
        prop_assert_eq!(norms.gradient(), Some(l2_norm(&sum)).filter(|norm| *norm > 0.0));
        for optimizer in [larc(), momentum()] {
            let step = |norms| {
                let (mut weights, mut momentum, mut state) = (start.clone(), vec![0.0; len], SgdState::default());
                let layer = LayerMemory::new(&mut weights, &sum, &mut state).momentum(&mut momentum);
                let layer = match norms {
                    Some(norms) => layer.norms(norms),
                    None => layer,
                };
                let report = optimizer.step_layer(Step::new(0.1).gradient_scale(0.5), layer).unwrap();
                (weights, momentum, report.gradient_norm, report.weight_norm.to_bits())
            };
            let mut carried = norms;
            prop_assert_eq!(step(Some(&mut carried)), step(None));
            prop_assert_eq!(carried.gradient(), None);
        }
    }
}

/// Slices, arrays and `Vec`s of layers are one model.
#[test]
fn sequences_are_models() {
    let start = Net::<NovoGradState>::new(
        &[(5, LayerConfig::DEFAULT), (0, LayerConfig::DEFAULT), (70, LayerConfig::PLAIN)],
        1,
        true,
        true,
        1,
    );
    let optimizer = skipping(luc());
    let mut expected = start.clone();
    expected.step(&optimizer, 0.1, Walk::Flat);

    let mut net = start.clone();
    let (layers, reports) = net.layers();
    let mut array: [LayerMemory<'_, NovoGradState>; 3] = layers.try_into().unwrap();
    optimizer.step(0.1, &mut array, reports).unwrap();
    net.assert_same("array", &expected);

    #[cfg(feature = "alloc")]
    {
        let mut net = start.clone();
        let (mut layers, reports) = net.layers();
        optimizer.step(0.1, &mut layers, reports).unwrap();
        net.assert_same("Vec", &expected);
    }
    #[cfg(feature = "rayon")]
    {
        let mut net = start.clone();
        let (layers, reports) = net.layers();
        let mut array: [LayerMemory<'_, NovoGradState>; 3] = layers.try_into().unwrap();
        optimizer.step_parallel(0.1, &mut array, reports).unwrap();
        net.assert_same("array, parallel", &expected);
    }
}

#[test]
fn a_model_without_layers_is_stepped() {
    for walk in walks() {
        let mut net = Net::<SgdState>::new(&[], 0, true, false, 1);
        let totals = net.step(&skipping(larc()), 0.1, walk);
        assert_eq!((totals.applied, totals.skipped, totals.gradient_norm, totals.clip), (0, 0, 0.0, 1.0));
    }
}

#[test]
fn a_global_clip_scales_all_gradients_alike() {
    let clipping = clipping(plain(), 1.0);
    let table = [(2, LayerConfig::DEFAULT), (1, LayerConfig::FROZEN), (1, LayerConfig::DEFAULT)];
    let mut net = Net::new(&table, 0, false, false, 1);
    net.weights.fill(0.0);
    net.gradients.copy_from_slice(&[2.0, 3.0, f32::NAN, 6.0]);
    let totals = net.step(&clipping, 1.0, Walk::Flat);
    assert_eq!((totals.gradient_norm, totals.clip), (7.0, 1.0 / 7.0));
    assert_eq!((totals.applied, totals.skipped), (2, 0));
    let expected = [2.0, 3.0, 0.0, 6.0].map(|g: f32| -(1.0 / 7.0_f64) as f32 * g);
    assert_eq!(net.weights, expected);
    assert_eq!(net.reports[2].gradient_norm, 6.0);

    // Below the limit nothing is scaled.
    net.gradients.copy_from_slice(&[0.5, 0.5, 0.0, 0.5]);
    assert_eq!(net.step(&clipping, 1.0, Walk::Flat).clip, 1.0);
}

/// The norm and the clip of a step are decided before any update, so they agree even if a layer then cannot be updated.
#[test]
fn a_layer_out_of_range_counts_in_the_norm_that_clips() {
    let config = LayerConfig { rate: 1e200, ..LayerConfig::DEFAULT };
    let mut net = Net::new(&[(1, LayerConfig::DEFAULT), (1, config)], 0, true, false, 1);
    net.gradients.copy_from_slice(&[3.0, 4.0]);
    let totals = net.step(&clipping(momentum(), 1.0), 1.0, Walk::Flat);
    assert_eq!(net.reports[1].outcome, Outcome::OutOfRange);
    assert_eq!((totals.gradient_norm, totals.clip), (5.0, 1.0 / 5.0));
    assert_eq!((totals.applied, totals.skipped), (1, 1));
}

/// A step that is skipped is skipped whole, whether a gradient, a momentum that the rule reads, or a planned step is
/// bad.
#[test]
fn a_skipped_step_writes_nothing() {
    let far = LayerConfig { rate: 1e200, ..LayerConfig::DEFAULT };
    for walk in walks() {
        for (case, bad) in
            [("gradient", Outcome::NonFinite), ("momentum", Outcome::NonFinite), ("plan", Outcome::OutOfRange)]
        {
            let config = if case == "plan" { far } else { LayerConfig::DEFAULT };
            let mut net =
                Net::new(&[(40, LayerConfig::DEFAULT), (3, LayerConfig::FROZEN), (5, config)], 1, true, true, 1);
            match case {
                "gradient" => net.gradients[45] = f32::NAN,
                "momentum" => net.momentum[45] = f32::INFINITY,
                _ => {}
            }
            let before = net.clone();
            let totals = net.step(&skipping(clipping(luc(), 0.1)), 0.1, walk);
            let outcomes: Vec<_> = net.reports.iter().map(|report| report.outcome).collect();
            assert_eq!(outcomes, [Outcome::StepSkipped, Outcome::Frozen, bad], "{walk:?}, {case}");
            assert_eq!((totals.applied, totals.skipped, totals.clip), (0, 2, 1.0), "{walk:?}, {case}");
            net.reports.clone_from(&before.reports);
            net.assert_same(&format!("{walk:?}, {case}"), &before);
        }
    }
}

/// Plain momentum reads neither weights nor momentum before it writes, so a bad one is found when it is written.
#[test]
fn a_momentum_that_no_rule_reads_overflows_the_weights() {
    for walk in walks() {
        let mut net = Net::new(&[(40, LayerConfig::DEFAULT), (5, LayerConfig::DEFAULT)], 0, true, true, 1);
        net.momentum[41] = f32::NAN;
        let totals = net.step(&skipping(momentum()), 0.1, walk);
        assert_eq!(net.reports[1].outcome, Outcome::Overflowed);
        assert_eq!((totals.applied, totals.skipped, totals.overflowed), (1, 0, 1));
        assert!(net.weights[41].is_nan() && !net.weights[40].is_nan());
    }
}

#[test]
fn a_frozen_layer_is_neither_read_nor_written() {
    let table = [(3, LayerConfig::FROZEN), (3, LayerConfig::DEFAULT)];
    for walk in walks() {
        let mut net = Net::<SgdState>::new(&table, 0, true, true, 1);
        net.gradients[..3].fill(f32::NAN);
        let before = net.clone();
        let totals = net.step(&larc(), 0.1, walk);
        assert_eq!((totals.applied, totals.skipped), (1, 0));
        assert_eq!(net.reports[0].outcome, Outcome::Frozen);
        assert_eq!(net.weights[..3], before.weights[..3]);
        assert_eq!(net.momentum[..3], before.momentum[..3]);
        assert_ne!(net.weights[3..], before.weights[3..]);
        assert_eq!(net.norms[0], CarriedNorms::default());
    }
}

#[test]
fn gaps_are_not_touched() {
    for walk in walks() {
        let table = [(3, LayerConfig::DEFAULT), (2, LayerConfig::DEFAULT)];
        let mut net = Net::<NovoGradState>::new(&table, 2, true, false, 1);
        for gap in [3, 4, 7, 8] {
            net.weights[gap] = f32::NAN;
            net.gradients[gap] = f32::INFINITY;
            net.momentum[gap] = f32::NAN;
        }
        assert_eq!(net.step(&novograd(), 0.1, walk).applied, 2);
        for (i, w) in net.weights.iter().enumerate() {
            assert_eq!(w.is_nan(), [3, 4, 7, 8].contains(&i), "{walk:?}, {i}");
        }
    }
}

#[test]
fn the_global_norm_is_in_the_summary() {
    let table = [(3, LayerConfig::DEFAULT), (4, LayerConfig::DEFAULT)];
    let mut net = Net::<NovoGradState>::new(&table, 0, true, false, 1);
    let totals = net.step(&novograd(), Step::new(0.1).gradient_scale(0.5), Walk::Flat);
    assert!((totals.gradient_norm.powi(2) / (0.25 * sum_of_squares(&net.gradients)) - 1.0).abs() < 1e-6);
}

/// If a model's check fails, or one of its layers is wrong, the step is refused before any layer is written.
#[test]
fn a_model_that_refuses_is_not_stepped() {
    struct Refusing<'a> {
        layers: Vec<LayerMemory<'a, SgdState>>,
        error: Option<Error>,
    }
    impl Model<SgdState> for Refusing<'_> {
        fn count(&self) -> usize {
            self.layers.len()
        }
        fn check(&self) -> Result<(), Error> {
            self.error.map_or(Ok(()), Err)
        }
        fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, SgdState>)) {
            assert_eq!(self.error, None, "refused before a layer is asked for");
            visit(self.layers[index].reborrow());
        }
    }
    let wrong_length = Error::Length { layer: Some(1), what: Argument::Gradients, expected: 2, found: 1 };
    for (error, expected) in [(Some(Error::StepNotSeen), Error::StepNotSeen), (None, wrong_length)] {
        let (mut a, mut b, mut states) = ([1.0; 2], [1.0; 2], [SgdState::default(); 2]);
        let [one, two] = &mut states;
        let layers = vec![LayerMemory::new(&mut a, &[1.0; 2], one), LayerMemory::new(&mut b, &[1.0], two)];
        let mut reports = [Report::FROZEN; 2];
        assert_eq!(plain().step(0.1, &mut Refusing { layers, error }, &mut reports), Err(expected));
        assert_eq!((a, b, states), ([1.0; 2], [1.0; 2], [SgdState::default(); 2]));
        assert!(reports.iter().all(|report| report.outcome == Outcome::Frozen), "reports are written last");
    }
}
