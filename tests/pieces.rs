//! A step in pieces has the bits and the reports of a whole step, for any pieces; and a wrong piece is refused before
//! anything is written.
#![allow(clippy::single_range_in_vec_init, reason = "a list of ranges may have one")]

mod harness;
mod reference;

use harness::data::leaf_cuts;
use harness::optimizers::{
    Fixed, SECOND_UPDATES, UPDATES, adam, adam_luc, clipping, lamb, larc, larc_adam, larc_novograd, luc, momentum,
    novograd, novograd_max, optax, plain, sgd_luc, skipping,
};
use harness::{Host, KINDS, Net, Walk, assert_same, backends, numbers, on, same, uniform};
use layerwise::pieces::{LEAF, LayerView, SUMS, Tree, chunk, fold_leaf_sums, leaf_sums};
use layerwise::rule::{Rule, RuleState};
use layerwise::{
    AdamState, Argument, Error, LayerConfig, LayerMemory, Luc, NonFinite, NovoGrad, NovoGradConfig, NovoGradState,
    Optimizer, Outcome, Policy, Report, Sgd, SgdConfig, SgdState, Step,
};
use proptest::prelude::*;
use reference::contract;

/// Tables of layers of a few leaves, or of none.
fn tables() -> impl Strategy<Value = Vec<(usize, LayerConfig)>> {
    let len = prop_oneof![
        2 => 1..100_usize,
        1 => Just(0),
        1 => (1..6_usize).prop_map(|leaves| leaves * LEAF),
        4 => 1000..6000_usize,
        1 => 60_000..70_000_usize,
    ];
    let config = (any::<bool>(), 0..4_usize, 0..8_usize).prop_map(|(adapt, decay, n)| LayerConfig {
        adapt,
        decay: [1.0, 1.0, 0.0, 0.3][decay],
        rate: [1.0, 0.5][n % 2],
        frozen: n == 7,
    });
    prop::collection::vec((len, config), 1..6)
}

fn steps() -> impl Strategy<Value = Step> {
    let scale = prop_oneof![4 => Just(1.0), 4 => 1e-3..1e3_f64, 1 => Just(1e-60), 1 => Just(1e60)];
    scale.prop_map(|scale| Step::new(0.05).gradient_scale(scale))
}

/// What is done to a model before a step.
#[derive(Clone, Debug)]
struct Trouble {
    /// The array that gets a bad number: gradients, weights, momentum, second moment, or none; or a layer gets a rate
    /// beyond `f32`.
    array: usize,
    at: prop::sample::Index,
    bad: f32,
    absent: Option<prop::sample::Index>,
}

fn troubles() -> impl Strategy<Value = Trouble> {
    let bad = prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX]);
    let absent = prop::option::weighted(0.2, any::<prop::sample::Index>());
    (0..7_usize, any::<prop::sample::Index>(), bad, absent).prop_map(|(array, at, bad, absent)| Trouble {
        array,
        at,
        bad,
        absent,
    })
}

impl Trouble {
    /// The step, with an ordinary scale if a moment is bad. Pieces find a bad moment in the first phase, a whole step
    /// in the second; if the layer were also out of range, the two would report different reasons.
    fn step(&self, step: Step) -> Step {
        if self.array == 2 || self.array == 3 { step.gradient_scale(0.5) } else { step }
    }

    fn befall<S>(&self, net: &mut Net<S>) {
        let array = match self.array {
            0 => &mut net.gradients,
            1 => &mut net.weights,
            2 => &mut net.momentum,
            3 => &mut net.second_moment,
            4 => {
                self.at.get_mut(&mut net.spans).config.rate = 1e200;
                &mut vec![]
            }
            _ => &mut vec![],
        };
        if !array.is_empty() {
            *self.at.get_mut(array) = self.bad;
        }
        if let Some(layer) = &self.absent {
            *layer.get_mut(&mut net.absent) = true;
        }
    }
}

/// Two steps of a model as a whole, by whole layers, and by chunks on every backend.
fn pieces_make_the_whole<R: Rule<State = S> + Sync, S: RuleState + Sync>(
    optimizer: Optimizer<R>,
    step: Step,
    start: &Net<S>,
    seed: u64,
) where
    Optimizer<R>: Copy,
{
    let mut whole = start.clone();
    let totals: Vec<_> = (0..2).map(|_| whole.step(&optimizer, step, Walk::Lent)).collect();
    let mut by_pass = start.clone();
    for totals in &totals {
        by_pass.step_by_pass(&optimizer, step).assert_same("by pass", totals);
    }
    by_pass.assert_same("by pass", &whole);
    for (name, backend) in backends() {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut in_chunks = start.without_norms();
        for totals in &totals {
            in_chunks.step_in_chunks(&on(optimizer, backend), step, &mut rng).assert_same(name, totals);
        }
        in_chunks.assert_same(name, &whole.without_norms());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sgd_in_pieces(
        table in tables(), gap in 0..3_usize, carried: bool, seed: u64,
        trouble in troubles(), step in steps(), which in 0..8_usize,
    ) {
        let mut net = Net::<SgdState>::new(&table, gap, which != 0, carried, seed);
        trouble.befall(&mut net);
        let optimizer = match which {
            0 => clipping(plain(), 0.5),
            1 => clipping(momentum(), 0.5),
            2 => skipping(clipping(momentum(), 0.5)),
            3 => larc(),
            4 => optax(),
            5 => sgd_luc(),
            6 => skipping(sgd_luc()),
            _ => skipping(optax()),
        };
        pieces_make_the_whole(optimizer, trouble.step(step), &net, seed);
    }

    #[test]
    fn novograd_in_pieces(
        table in tables(), gap in 0..3_usize, carried: bool, seed: u64,
        trouble in troubles(), step in steps(), which in 0..7_usize,
    ) {
        let mut net = Net::<NovoGradState>::new(&table, gap, true, carried, seed);
        trouble.befall(&mut net);
        let optimizer = match which {
            0 => novograd(),
            1 => skipping(clipping(novograd(), 0.5)),
            2 => novograd_max(),
            3 => luc(),
            4 => skipping(luc()),
            5 => skipping(larc_novograd()),
            _ => skipping(clipping(luc(), 0.5)),
        };
        pieces_make_the_whole(optimizer, trouble.step(step), &net, seed);
    }

    #[test]
    fn adam_in_pieces(
        table in tables(), gap in 0..3_usize, carried: bool, seed: u64,
        trouble in troubles(), step in steps(), which in 0..7_usize,
    ) {
        let mut net = Net::<AdamState>::new(&table, gap, true, carried, seed).with_second_moment(seed);
        trouble.befall(&mut net);
        let optimizer = match which {
            0 => adam(),
            1 => skipping(clipping(adam(), 0.5)),
            2 => larc_adam(),
            3 => lamb(),
            4 => skipping(lamb()),
            5 => skipping(adam_luc()),
            _ => skipping(clipping(lamb(), 0.5)),
        };
        pieces_make_the_whole(optimizer, trouble.step(step), &net, seed);
    }

    /// Every element goes to one worker, chunks begin at a leaf, and their sizes differ by at most one leaf.
    #[test]
    fn chunks_cover_every_element_once(len in prop_oneof![0..10_000_usize, any::<usize>()], nth in 0..40_usize) {
        let mut end = 0;
        for ith in 0..nth {
            let own = chunk(len, ith, nth);
            prop_assert_eq!(own.start, end);
            prop_assert!(own.start <= own.end && (own.start.is_multiple_of(LEAF) || own.is_empty()));
            let leaves = own.len().div_ceil(LEAF);
            prop_assert!(leaves.abs_diff(len.div_ceil(LEAF) / nth) <= 1, "{own:?} of {len}");
            end = own.end;
        }
        prop_assert_eq!(end, if nth == 0 { 0 } else { len });
        for (ith, nth) in [(nth, nth), (usize::MAX, nth), (0, 0), (1, 0)] {
            prop_assert!(chunk(len, ith, nth).is_empty(), "no such worker");
        }
    }
}

#[test]
fn as_many_workers_as_there_can_be_have_chunks() {
    assert_eq!(chunk(usize::MAX, usize::MAX - 1, usize::MAX).end, usize::MAX);
    assert_eq!(chunk(0, 0, 1), 0..0);
    assert_eq!(chunk(5, 0, 1), 0..5);
    const HALF: std::ops::Range<usize> = chunk(2 * LEAF, 1, 2);
    assert_eq!(HALF, LEAF..2 * LEAF);
}

#[test]
fn norms_of_leaf_aligned_chunks_make_the_norm() {
    let mut rng = fastrand::Rng::with_seed(1);
    for len in [0, 1, LEAF - 1, LEAF, LEAF + 1, 3 * LEAF, 5 * LEAF + 7, 17 * LEAF + 1, 100_003, 163_841] {
        for kind in KINDS {
            let x = numbers(kind, len, 1);
            let expected = contract::sum_of_squares(&x).to_bits();
            for pieces in 1..10 {
                let cuts = leaf_cuts(len, pieces, &mut rng);
                let mut sums = vec![f64::NAN; len.div_ceil(LEAF)];
                for cut in cuts.windows(2) {
                    let sums = &mut sums[cut[0] / LEAF..cut[1].div_ceil(LEAF)];
                    leaf_sums(&x[cut[0]..cut[1]], cut[0], sums).unwrap();
                }
                assert_eq!(fold_leaf_sums(&sums).to_bits(), expected, "{len} {kind} elements cut at {cuts:?}");
            }
        }
    }
}

/// An update may be cut anywhere, and each form of it has the same bits.
#[test]
fn pieces_of_an_update_make_the_whole() {
    let len = 3000;
    let [w, g, m, v] = [1, 2, 3, 4].map(|seed| uniform(len, 1.0, seed));
    let v: Vec<f32> = v.into_iter().map(f32::abs).collect();
    let updates = || UPDATES.into_iter().chain(SECOND_UPDATES);
    for (update, (name, backend)) in updates().flat_map(|update| backends().map(move |on| (update, on))) {
        let v = if update.second.is_some() { &v[..] } else { &[] };
        for m in [&m[..], &[]].into_iter().filter(|m| v.is_empty() || !m.is_empty()) {
            let optimizer = on(Fixed::optimizer(update, !m.is_empty()), backend);
            let mut whole = Host::new(&w, &g, m, [4; 3]).second_moment(v, 4);
            whole.step(&optimizer, 0.1).unwrap();
            for piece in [1, 7, 16, 100, 1024, 2999] {
                let mut host = Host::<u32>::new(&w, &g, m, [5; 3]).second_moment(v, 5);
                let mut pass = optimizer.pass(0.1).unwrap();
                let measured = pass.measure(host.view()).unwrap();
                let planned = pass.decide().plan(measured, &LayerConfig::DEFAULT, 0).unwrap();
                for start in (0..len).step_by(piece) {
                    let own = start..len.min(start + piece);
                    let momentum = host.momentum.get_mut().get_mut(own.clone()).unwrap_or_default();
                    let second_moment = host.second_moment.get_mut().get_mut(own.clone()).unwrap_or_default();
                    let (weights, gradients) = (&mut host.weights.get_mut()[own.clone()], &host.gradients.get()[own]);
                    let mut nothing = ();
                    let chunk = LayerMemory::new(weights, gradients, &mut nothing).momentum(momentum);
                    planned.apply(chunk.second_moment(second_moment)).unwrap();
                }
                let what = format!("{name}, pieces of {piece}, {update:?}");
                assert_same(&format!("weight, {what},"), host.weights.get(), whole.weights.get());
                assert_same(&format!("momentum, {what},"), host.momentum.get(), whole.momentum.get());
                assert_same(&format!("second moment, {what},"), host.second_moment.get(), whole.second_moment.get());
            }
        }
    }
}

/// The clip and the norm that workers agree on are those of the whole model. Layers measured by several passes, with a
/// resumed decision, give the step of one pass.
#[test]
fn passes_of_several_workers_make_one() {
    let policy = Policy { clip_norm: Some(1.0), non_finite: NonFinite::SkipStep };
    let sgd = Sgd::new(SgdConfig::DEFAULT).and_then(|sgd| sgd.with_policy(policy)).unwrap();
    for gradients in [[3.0, 4.0], [3.0, f32::NAN]] {
        let [mut one, mut several] = [[[1.0], [1.0]]; 2];
        let mut states = [SgdState::default(); 2];

        let mut pass = sgd.pass(0.5).unwrap();
        let measured = [0, 1].map(|i| pass.measure(LayerView::new(&one[i], &[gradients[i]])).unwrap());
        let decided = pass.decide();
        for i in 0..2 {
            let _ = decided.apply(measured[i], LayerMemory::new(&mut one[i], &[gradients[i]], &mut states[i])).unwrap();
        }

        let mut states = [SgdState::default(); 2];
        let measured = [0, 1].map(|i| {
            let mut own = sgd.pass(0.5).unwrap();
            own.measure(LayerView::new(&several[i], &[gradients[i]])).unwrap()
        });
        let mut all = sgd.pass(0.5).unwrap();
        measured.into_iter().for_each(|measured| all.add(measured));
        let all = all.decide();
        assert_eq!(all.skips(), gradients[1].is_nan());
        for i in 0..2 {
            let decided = sgd.resume(0.5, all.clip(), all.skips()).unwrap();
            assert!(decided.gradient_norm().is_nan());
            let _ =
                decided.apply(measured[i], LayerMemory::new(&mut several[i], &[gradients[i]], &mut states[i])).unwrap();
        }
        assert_eq!(one, several);
    }
    for clip in [f64::NAN, -1.0, f64::INFINITY] {
        assert!(matches!(sgd.resume(0.5, clip, false), Err(Error::GradientScale(_))));
    }
    assert!(matches!(sgd.resume(-0.5, 1.0, false), Err(Error::LearningRate { .. })));
}

#[test]
fn a_decision_says_what_it_is() {
    let optimizer = skipping(clipping(novograd(), 1.0));
    let mut pass = optimizer.pass(Step::new(0.1).gradient_scale(0.5)).unwrap();
    for gradient in [6.0, 8.0] {
        let _ = pass.measure(LayerView::new(&[1.0], &[gradient])).unwrap();
    }
    let decided = pass.decide();
    assert_eq!((decided.gradient_norm(), decided.clip(), decided.skips()), (5.0, 0.2, false));

    let mut pass = optimizer.pass(0.1).unwrap();
    let healthy = pass.measure(LayerView::new(&[1.0], &[3.0])).unwrap();
    let _ = pass.measure(LayerView::new(&[1.0], &[f32::NAN])).unwrap();
    let decided = pass.decide();
    assert_eq!((decided.gradient_norm(), decided.clip(), decided.skips()), (3.0, 1.0, true));
    let planned = decided.plan(healthy, &LayerConfig::DEFAULT, NovoGradState::default()).unwrap();
    assert_eq!((planned.report().0.outcome, planned.report().1), (Outcome::StepSkipped, NovoGradState::default()));
    let (mut weights, mut momentum, mut nothing) = ([1.0], [0.0], ());
    let layer = LayerMemory::new(&mut weights, &[3.0], &mut nothing).momentum(&mut momentum);
    assert_eq!((planned.apply(layer), weights), (Ok(true), [1.0]));
}

/// Sums that no call writes to.
const UNTOUCHED: [f64; SUMS] = [7.0; SUMS];

/// Why a call was refused.
fn refused<T>(result: Result<T, Error>) -> Error {
    result.map(|_| ()).unwrap_err()
}

#[test]
fn chunks_that_begin_off_a_leaf_are_refused() {
    let (w, g, m) = ([1.0; 3000], [0.5; 3000], [0.1; 3000]);
    let optimizer = luc();
    let mut pass = optimizer.pass(0.1).unwrap();
    let (mut sums, mut one) = ([UNTOUCHED; 3], [7.0; 3]);
    let view = LayerView::new(&w, &g).momentum(&m);
    for start in [1, 16, LEAF - 1, LEAF + 1, usize::MAX] {
        let off = Error::OffLeaf { start };
        assert_eq!(refused(leaf_sums(&w, start, &mut one)), off);
        assert_eq!(refused(pass.leaf_sums(view, start, &mut sums)), off);
    }
    assert_eq!((sums, one), ([UNTOUCHED; 3], [7.0; 3]));
    let measured = pass.measure(view).unwrap();
    let planned = pass.decide().plan(measured, &LayerConfig::DEFAULT, NovoGradState::default()).unwrap();
    assert_eq!(refused(planned.step_leaf_sums(view, 5, &mut one)), Error::OffLeaf { start: 5 });
    assert_eq!(one, [7.0; 3]);
}

#[test]
fn pieces_of_wrong_lengths_are_refused() {
    let length = |what, expected, found| Error::Length { layer: None, what, expected, found };
    let missing = Error::Missing { layer: None, what: Argument::Momentum };
    let (w, g, m) = ([1.0; 3000], [0.5; 3000], [0.1; 3000]);
    let optimizer = skipping(luc());
    let mut pass = optimizer.pass(0.1).unwrap();
    let (mut sums, mut one) = ([UNTOUCHED; 4], [7.0; 4]);
    let view = LayerView::new(&w, &g).momentum(&m);
    assert_eq!(refused(leaf_sums(&w, 0, &mut one)), length(Argument::Sums, 3, 4));
    assert_eq!(refused(leaf_sums(&w, 0, &mut one[..2])), length(Argument::Sums, 3, 2));
    assert_eq!(refused(pass.leaf_sums(view, 0, &mut sums)), length(Argument::Sums, 3, 4));
    let short = LayerView::new(&w, &g[1..]).momentum(&m);
    assert_eq!(refused(pass.leaf_sums(short, 0, &mut sums[..3])), length(Argument::Gradients, 3000, 2999));
    // A policy that skips whole steps must see the momentum of a rule that limits its step.
    assert_eq!(refused(pass.leaf_sums(LayerView::new(&w, &g), 0, &mut sums[..3])), missing);
    assert_eq!(refused(pass.measure(LayerView::new(&w, &g))), missing);
    assert_eq!(refused(pass.measure(view.momentum(&m[1..]))), length(Argument::Momentum, 3000, 2999));
    assert_eq!(refused(pass.measure(short)), length(Argument::Gradients, 3000, 2999));
    assert_eq!(sums, [UNTOUCHED; 4]);

    let measured = pass.measure(view).unwrap();
    let decided = pass.decide();
    let planned = decided.plan(measured, &LayerConfig::DEFAULT, NovoGradState::default()).unwrap();
    assert_eq!(refused(planned.step_leaf_sums(view, 0, &mut one)), length(Argument::Sums, 3, 4));
    assert_eq!(refused(planned.step_leaf_sums(short, 0, &mut one[..3])), length(Argument::Gradients, 3000, 2999));
    assert_eq!(refused(planned.step_leaf_sums(LayerView::new(&w, &g), 0, &mut one[..3])), missing);
    assert_eq!(one, [7.0; 4]);

    let planned = decided.limit(planned, &[1.0; 3]).unwrap();
    let (mut weights, mut momentum, mut state) = (w, m, NovoGradState::default());
    let layer = LayerMemory::new(&mut weights, &g[1..], &mut state).momentum(&mut momentum);
    assert_eq!(refused(planned.apply(layer)), length(Argument::Gradients, 3000, 2999));
    assert_eq!(refused(planned.apply(LayerMemory::new(&mut weights, &g, &mut state))), missing);
    let layer = LayerMemory::new(&mut weights, &g, &mut state).momentum(&mut momentum[1..]);
    assert_eq!(refused(planned.apply(layer)), length(Argument::Momentum, 3000, 2999));
    let layer = LayerMemory::new(&mut weights, &g, &mut state).momentum(&mut momentum[1..]);
    assert_eq!(refused(decided.apply(measured, layer)), length(Argument::Momentum, 3000, 2999));
    assert_eq!((weights, momentum, state), (w, m, NovoGradState::default()));
}

/// Sums of nodes are refused where those of leaves are, and if the chunk is not one of the layer.
#[test]
fn wrong_sums_of_nodes_are_refused() {
    let length = |what, expected, found| Error::Length { layer: None, what, expected, found };
    let (w, g, m) = ([1.0; 3000], [0.5; 3000], [0.1; 3000]);
    let (optimizer, config) = (luc(), LayerConfig::DEFAULT);
    let mut pass = optimizer.pass(0.1).unwrap();
    let (mut sums, mut one) = ([UNTOUCHED; 2], [7.0; 2]);
    let view = LayerView::new(&w, &g).momentum(&m);
    let short = LayerView::new(&w, &g[1..]).momentum(&m);
    let measured = pass.measure(view).unwrap();
    let mut more = optimizer.pass(0.1).unwrap();
    let decided = pass.decide();
    let planned = decided.plan(measured, &config, NovoGradState::default()).unwrap();
    for (start, error) in [
        (5, Error::OffLeaf { start: 5 }),
        (1024, length(Argument::Chunk, 1976, 3000)),
        (usize::MAX - 1023, length(Argument::Chunk, 0, 3000)),
        (0, length(Argument::Sums, 1, 2)),
    ] {
        assert_eq!(refused(more.subtree_sums(view, 3000, start, &mut sums)), error);
        assert_eq!(refused(planned.step_subtree_sums(view, start, &mut one)), error);
    }
    assert_eq!(refused(more.subtree_sums(view, 5000, 0, &mut sums)), Error::OffLeaf { start: 3000 });
    assert_eq!(refused(more.subtree_sums(short, 3000, 0, &mut sums[..1])), length(Argument::Gradients, 3000, 2999));
    assert_eq!(refused(planned.step_subtree_sums(short, 0, &mut one[..1])), length(Argument::Gradients, 3000, 2999));
    assert_eq!((sums, one), ([UNTOUCHED; 2], [7.0; 2]));

    for (pieces, leaf) in [(&[0..2][..], 2), (&[0..2, 2..4], 2), (&[0..3, 3..4], 3), (&[1..3], 0)] {
        let of_norms = pieces.iter().cloned().map(|piece| (piece, [1.0; SUMS]));
        assert_eq!(refused(more.fold_subtrees(&config, 3000, of_norms)), Error::Pieces { leaf });
        let of_step = pieces.iter().cloned().map(|piece| (piece, 1.0));
        assert_eq!(refused(decided.limit_subtrees(planned, of_step)), Error::Pieces { leaf });
    }
    assert_eq!(more.decide().gradient_norm(), 0.0, "what was refused is not part of the model");
    // A rule that does not need the norm of its step, and a frozen layer, need no sums.
    let planned = decided.plan(measured, &LayerConfig::PLAIN, NovoGradState::default()).unwrap();
    assert!(!decided.limit_subtrees(planned, []).unwrap().needs_step());
    assert!(optimizer.pass(0.1).unwrap().fold_subtrees(&LayerConfig::FROZEN, 3000, []).is_ok());
    assert!(Tree::of_len(3000).cover(0..3).eq([0..3]));
}

/// The same for layers and for pieces of them.
#[test]
fn moments_that_a_rule_does_not_look_at_skip_no_step() {
    let (w, g, m) = ([1.0; 3000], [0.5; 3000], [f32::NAN; 3000]);
    let view = LayerView::new(&w, &g).momentum(&m);
    for (optimizer, looks) in [(skipping(novograd()), false), (skipping(luc()), true)] {
        let (mut whole, mut in_pieces) = (optimizer.pass(0.1).unwrap(), optimizer.pass(0.1).unwrap());
        let _ = whole.measure(view).unwrap();
        let mut sums = [UNTOUCHED; 3];
        in_pieces.leaf_sums(view, 0, &mut sums).unwrap();
        let _ = in_pieces.fold(&LayerConfig::DEFAULT, 3000, &sums).unwrap();
        assert_eq!((whole.decide().skips(), in_pieces.decide().skips()), (looks, looks));
    }
}

#[test]
fn a_step_that_its_rule_has_not_seen_is_refused() {
    let (mut weights, g, mut momentum, mut nothing) = ([1.0; 3], [0.5; 3], [0.1; 3], ());
    let optimizer = luc();
    let mut pass = optimizer.pass(0.1).unwrap();
    let measured = pass.measure(LayerView::new(&weights, &g).momentum(&momentum)).unwrap();
    let decided = pass.decide();
    let planned = decided.plan(measured, &LayerConfig::DEFAULT, NovoGradState::default()).unwrap();
    assert!(planned.needs_step());
    let layer = LayerMemory::new(&mut weights, &g, &mut nothing).momentum(&mut momentum);
    assert_eq!(planned.apply(layer), Err(Error::StepNotSeen));
    assert_eq!((weights, momentum), ([1.0; 3], [0.1; 3]));
    // A layer that LUC does not limit needs no sums.
    let config = LayerConfig::PLAIN;
    let planned = decided.plan(measured, &config, NovoGradState::default()).unwrap();
    assert!(!planned.needs_step());
    let layer = LayerMemory::new(&mut weights, &g, &mut nothing).momentum(&mut momentum);
    assert_eq!(planned.apply(layer), Ok(true));
}

#[test]
fn numbers_out_of_range_are_refused_before_anything_is_measured() {
    let optimizer = larc();
    for lr in [-1.0, f64::NAN, f64::INFINITY] {
        let error = refused(optimizer.pass(lr));
        assert!(matches!(error, Error::LearningRate { layer: None, rate } if same(rate, lr)));
    }
    for scale in [-1.0, 0.0, f64::NAN, f64::INFINITY] {
        let error = refused(optimizer.pass(Step::new(0.1).gradient_scale(scale)));
        assert!(matches!(error, Error::GradientScale(found) if same(found, scale)));
    }
    let mut pass = optimizer.pass(0.1).unwrap();
    let mut sums = [UNTOUCHED];
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        let rate = LayerConfig { rate: bad, ..LayerConfig::DEFAULT };
        let decay = LayerConfig { decay: bad, ..LayerConfig::DEFAULT };
        let view = LayerView::new(&[1.0], &[1.0]);
        assert!(matches!(pass.measure(view.config(rate)), Err(Error::LearningRate { layer: None, .. })));
        assert!(matches!(pass.measure(view.config(decay)), Err(Error::Decay { layer: None, .. })));
        assert!(matches!(pass.leaf_sums(view.config(rate), 0, &mut sums), Err(Error::LearningRate { .. })));
        assert!(matches!(pass.leaf_sums(view.config(decay), 0, &mut sums), Err(Error::Decay { .. })));
    }
    assert_eq!(sums, [UNTOUCHED]);
    // A refused layer does not count.
    assert_eq!(pass.decide().gradient_norm(), 0.0);
}

/// A frozen layer takes no part, and none of its slices is read.
#[test]
fn a_frozen_layer_takes_no_part() {
    let optimizer = skipping(clipping(luc(), 1.0));
    let mut pass = optimizer.pass(0.1).unwrap();
    let frozen = pass.measure(LayerView::new(&[f32::NAN; 2], &[f32::NAN]).config(LayerConfig::FROZEN)).unwrap();
    let folded = pass.fold(&LayerConfig::FROZEN, 2, &[]).unwrap();
    let decided = pass.decide();
    assert_eq!((decided.gradient_norm(), decided.clip(), decided.skips()), (0.0, 1.0, false));
    for measured in [frozen, folded] {
        let planned = decided.plan(measured, &LayerConfig::FROZEN, NovoGradState::default()).unwrap();
        assert_eq!((planned.needs_step(), planned.report().0.outcome), (false, Outcome::Frozen));
        let (mut weights, mut state) = ([0.0; 2], NovoGradState::default());
        let layer = LayerMemory::new(&mut weights, &[0.0; 0], &mut state).config(LayerConfig::FROZEN);
        harness::assert_same_report(&decided.apply(measured, layer).unwrap(), &Report::FROZEN);
        assert_eq!(planned.apply(LayerMemory::new(&mut weights, &[0.0; 0], &mut ())), Ok(true));
        assert_eq!(weights, [0.0; 2]);
    }
}

/// The same if it is frozen only after it was measured: its slices are not even checked.
#[test]
fn a_layer_that_is_frozen_after_it_was_measured_stays_as_it_was() {
    let optimizer = novograd();
    let (mut weights, mut state) = ([1.0; 2], NovoGradState::default());
    let mut pass = optimizer.pass(0.1).unwrap();
    let measured = pass.measure(LayerView::new(&weights, &[0.5; 2])).unwrap();
    let decided = pass.decide();
    let planned = decided.plan(measured, &LayerConfig::FROZEN, state).unwrap();
    let (report, next) = planned.report();
    harness::assert_same_report(&report, &Report::FROZEN);
    assert_eq!((planned.needs_step(), next), (false, state));

    let mut momentum = [0.0; 2];
    let whole = LayerMemory::new(&mut weights, &[0.5; 2], &mut state).momentum(&mut momentum);
    let report = decided.apply(measured, whole.config(LayerConfig::FROZEN)).unwrap();
    harness::assert_same_report(&report, &Report::FROZEN);
    let without_momentum = LayerMemory::new(&mut weights, &[0.5; 2], &mut state);
    let report = decided.apply(measured, without_momentum.config(LayerConfig::FROZEN)).unwrap();
    harness::assert_same_report(&report, &Report::FROZEN);
    assert_eq!((weights, momentum, state), ([1.0; 2], [0.0; 2], NovoGradState::default()));
}

/// If each plan is confirmed before the first is applied, a plan that overflows `f32` skips the whole step.
#[test]
fn a_confirmed_step_is_all_or_nothing() {
    let policy = Policy { non_finite: NonFinite::SkipStep, clip_norm: Some(0.5) };
    let optimizer = plain().with_policy(policy).unwrap();
    let (mut weights, gradients, mut states) = ([[1.0; 2]; 2], [[1.0; 2]; 2], [SgdState::default(); 2]);
    let configs = [LayerConfig::DEFAULT, LayerConfig { rate: 1e300, ..LayerConfig::DEFAULT }];
    let mut pass = optimizer.pass(0.1).unwrap();
    let views = [0, 1].map(|i| LayerView::new(&weights[i], &gradients[i]).config(configs[i]));
    let measured = views.map(|view| pass.measure(view).unwrap());
    let mut decided = pass.decide();
    for i in [0, 1] {
        assert_eq!((decided.skips(), decided.clip()), (false, 0.25));
        let planned = decided.plan(measured[i], &configs[i], states[i]).unwrap();
        decided.confirm(&planned).unwrap();
    }
    assert_eq!((decided.skips(), decided.clip()), (true, 1.0));
    let outcomes = [0, 1].map(|i| {
        let layer = LayerMemory::new(&mut weights[i], &gradients[i], &mut states[i]).config(configs[i]);
        decided.apply(measured[i], layer).unwrap().outcome
    });
    assert_eq!((weights, outcomes), ([[1.0; 2]; 2], [Outcome::StepSkipped; 2]));
}

/// If a rule limits its step, a non-finite value anywhere in either moment skips it.
#[test]
fn moments_that_are_not_finite_skip_the_step() {
    let (optimizer, numbers) = (skipping(lamb()), vec![0.5; 3000]);
    for (moment, at) in [(0, 0), (0, 2999), (1, 0), (1, 2999)] {
        let mut moments = [numbers.clone(), numbers.clone()];
        moments[moment][at] = f32::NAN;
        let [momentum, second] = &moments;
        let view = LayerView::new(&numbers, &numbers).momentum(momentum).second_moment(second);
        let mut pass = optimizer.pass(0.1).unwrap();
        let _ = pass.measure(view).unwrap();
        assert!(pass.decide().skips(), "moment {moment}, at {at}");

        let (mut pass, mut sums) = (optimizer.pass(0.1).unwrap(), [[0.0; SUMS]; 3]);
        pass.leaf_sums(view, 0, &mut sums).unwrap();
        let _ = pass.fold(&LayerConfig::DEFAULT, 3000, &sums).unwrap();
        assert!(pass.decide().skips(), "moment {moment}, at {at}");
    }
}

/// Where a second moment is infinite the step is 0: such a layer takes the step that it takes as a whole.
#[test]
fn an_infinite_second_moment_skips_no_step() {
    let (optimizer, numbers) = (skipping(lamb()), vec![0.5; 3000]);
    let mut second = numbers.clone();
    second[2999] = f32::INFINITY;
    let mut whole = Host::<AdamState>::new(&numbers, &numbers, &numbers, [0; 3]).second_moment(&second, 0);
    let expected = whole.step(&optimizer, 0.1).unwrap();
    assert_eq!(expected.outcome, Outcome::Applied);

    let view = LayerView::new(&numbers, &numbers).momentum(&numbers).second_moment(&second);
    let (mut pass, mut in_leaves) = (optimizer.pass(0.1).unwrap(), optimizer.pass(0.1).unwrap());
    let measured = pass.measure(view).unwrap();
    let mut sums = [[0.0; SUMS]; 3];
    in_leaves.leaf_sums(view, 0, &mut sums).unwrap();
    let folded = in_leaves.fold(&LayerConfig::DEFAULT, 3000, &sums).unwrap();
    for (measured, decided) in [(measured, pass.decide()), (folded, in_leaves.decide())] {
        assert!(!decided.skips());
        let (mut w, mut m, mut v, mut state) = (numbers.clone(), numbers.clone(), second.clone(), AdamState::default());
        let layer = LayerMemory::new(&mut w, &numbers, &mut state).momentum(&mut m).second_moment(&mut v);
        harness::assert_same_report(&decided.apply(measured, layer).unwrap(), &expected);
        assert_same("weight", &w, whole.weights.get());
    }
}

/// The step of an empty layer has a norm of 0, but its scalars may overflow `f32`.
#[test]
fn an_empty_layer_may_be_out_of_range() {
    let config = NovoGradConfig { luc: Some(Luc::NEMO), ..NovoGradConfig::DEFAULT };
    let (optimizer, mut state) = (NovoGrad::new(config).unwrap(), NovoGradState::default());
    let layer = LayerMemory::new(&mut [0.0; 0], &[0.0; 0], &mut state);
    assert_eq!(optimizer.step_layer(1e39, layer).unwrap().outcome, Outcome::OutOfRange);
    let mut pass = optimizer.pass(1e39).unwrap();
    let measured = pass.fold(&LayerConfig::DEFAULT, 0, &[]).unwrap();
    let decided = pass.decide();
    let planned = decided.plan(measured, &LayerConfig::DEFAULT, state).unwrap();
    let (report, next) = decided.limit(planned, &[]).unwrap().report();
    assert_eq!((report.outcome, next), (Outcome::OutOfRange, state));
}

/// A layer that was not measured, and missing sums, are refused.
#[test]
fn another_layer_and_missing_sums_are_refused() {
    let length = |what, expected, found| Error::Length { layer: None, what, expected, found };
    let optimizer = luc();
    let (mut w, g, mut m, mut state) = (vec![1.0; 3000], vec![1.0; 3000], vec![0.0; 3000], NovoGradState::default());
    let mut pass = optimizer.pass(0.1).unwrap();
    assert_eq!(pass.fold(&LayerConfig::DEFAULT, 3000, &[[1.0; SUMS]; 2]).unwrap_err(), length(Argument::Sums, 3, 2));
    let measured = pass.measure(LayerView::new(&w, &g)).unwrap();
    let decided = pass.decide();
    let planned = decided.plan(measured, &LayerConfig::DEFAULT, state).unwrap();
    assert_eq!(decided.limit(planned, &[1.0; 4]).unwrap_err(), length(Argument::Sums, 3, 4));
    let other = LayerMemory::new(&mut w[..5], &g[..5], &mut state).momentum(&mut m[..5]);
    assert_eq!(decided.apply(measured, other).unwrap_err(), length(Argument::Weights, 3000, 5));
    assert!(w.iter().all(|w| *w == 1.0));
}
