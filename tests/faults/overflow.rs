//! A step that overflows `f32` is written and reported as overflowed; any other step is not.

use crate::harness::optimizers::{Fixed, clipping, larc, momentum, novograd, plain};
use crate::harness::{Host, Net, Totals, Walk, backends, on, walks};
use layerwise::pieces::LayerView;
use layerwise::rule::{Moments, Rule, Update};
use layerwise::{CarriedNorms, LayerConfig, LayerMemory, NovoGradState, Optimizer, Outcome, SgdState, Step};

const HUGE: f32 = 3e38;
const NON_FINITE: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// Lengths around a vector, two, the shortest update that is aligned, a leaf and a tile.
const LENGTHS: [usize; 16] = [1, 2, 15, 16, 17, 31, 32, 33, 255, 257, 1023, 1024, 1025, 16_383, 16_384, 17_425];

/// Places in a layer: at both ends, and next to every boundary.
fn places(len: usize) -> Vec<usize> {
    let boundaries = [0, 8, 16, 32, 1008, 1024, 2048, 16_384, len / 2, len];
    let mut places: Vec<_> = boundaries.iter().flat_map(|at| [at.wrapping_sub(1), *at, at + 1]).collect();
    places.retain(|at| *at < len);
    places.sort_unstable();
    places.dedup();
    places
}

/// Updates of every form: with momentum and without, with decay and Nesterov's step, with the sum of the new weights
/// and without.
fn forms() -> Vec<(Optimizer<Fixed>, bool)> {
    let plain = Update { gradient: 1.0, momentum: 0.9, rate: 10.0, ..Update::ZERO };
    let decay = Update { decay: 0.01, ..plain };
    let every = Update { direct: 0.5, shrink: 0.001, ..decay };
    let forms = [plain, decay, every].into_iter().flat_map(|update| [(update, true), (update, false)]);
    forms.flat_map(|(update, m)| [(Fixed::optimizer(update, m), m), (Fixed::summing(update, m), m)]).collect()
}

/// A layer of ones, at any offset from a cache line.
fn host(len: usize, momentum: bool, offset: usize) -> Host<u32> {
    let momentum = vec![0.5; if momentum { len } else { 0 }];
    let mut host = Host::new(&vec![1.0; len], &vec![1.0; len], &momentum, [offset, 3 * offset, 5 * offset]);
    host.norms = Some(CarriedNorms::new());
    host
}

#[test]
fn one_weight_that_overflows_is_found_wherever_it_is() {
    for ((name, backend), (optimizer, momentum)) in
        backends().flat_map(|backend| forms().into_iter().map(move |form| (backend, form)))
    {
        let optimizer = on(optimizer, backend);
        for (turn, (len, at)) in
            LENGTHS.into_iter().flat_map(|len| places(len).into_iter().map(move |at| (len, at))).enumerate()
        {
            let mut host = host(len, momentum, turn % 5);
            host.gradients.get_mut()[at] = HUGE;
            // The oracle compares all bits, and the carried norm, with the contract.
            let report = host.step(&optimizer, 0.1).unwrap();
            assert_eq!(report.outcome, Outcome::Overflowed, "{name}, {len} elements, at {at}");
            assert_eq!(host.weights.get()[at], f32::NEG_INFINITY);
            assert_eq!(host.weights.get().iter().filter(|w| w.is_finite()).count(), len - 1);
            assert_eq!(host.state, 1, "the step was taken");
        }
    }
}

#[test]
fn gradient_descent_at_rate_10_overflows() {
    for (name, backend) in backends() {
        let sgd = on(plain(), backend);
        let (mut weights, mut state) = ([1.0], SgdState::default());
        let report = sgd.step_layer(10.0, LayerMemory::new(&mut weights, &[HUGE], &mut state)).unwrap();
        assert_eq!(
            (report.outcome, weights, report.applied()),
            (Outcome::Overflowed, [f32::NEG_INFINITY], false),
            "{name}"
        );
        assert_eq!(report.effective_rate, 10.0);
        // The next step finds it again.
        let report = sgd.step_layer(0.1, LayerMemory::new(&mut weights, &[1.0], &mut state)).unwrap();
        assert_eq!((report.outcome, state.steps), (Outcome::Overflowed, 2), "{name}");
    }
}

#[test]
fn momentum_that_is_not_finite_spreads_to_weights() {
    for (name, backend) in backends() {
        for bad in NON_FINITE {
            for (len, at) in LENGTHS.into_iter().flat_map(|len| places(len).into_iter().map(move |at| (len, at))) {
                let optimizer = on(forms()[1].0, backend);
                let mut host = host(len, true, at % 3);
                host.momentum.get_mut()[at] = bad;
                let report = host.step(&optimizer, 0.1).unwrap();
                assert_eq!(report.outcome, Outcome::Overflowed, "{name}, {len} elements, {bad} at {at}");
            }
        }
    }
}

#[test]
fn an_overflowed_norm_of_the_weights_is_forgotten() {
    for (name, backend) in backends() {
        let optimizer = on(larc(), backend);
        let (mut weights, mut momentum, mut state) = (vec![1.0; 5000], vec![0.0; 5000], SgdState::default());
        let mut norms = CarriedNorms::new();
        let gradients = vec![1.0; 5000];
        let mut step = |momentum: &mut Vec<f32>, weights: &mut Vec<f32>| {
            let layer = LayerMemory::new(weights, &gradients, &mut state).momentum(momentum).norms(&mut norms);
            (optimizer.step_layer(0.1, layer).unwrap().outcome, norms.weights().is_some())
        };
        assert_eq!(step(&mut momentum, &mut weights), (Outcome::Applied, true), "{name}");
        momentum[4999] = f32::NAN;
        assert_eq!(step(&mut momentum, &mut weights), (Outcome::Overflowed, false), "{name}");
        // LARC needs the norm of the weights, so the next step is not taken.
        assert_eq!(step(&mut momentum, &mut weights), (Outcome::NonFinite, false), "{name}");
    }
}

#[test]
fn large_weights_are_no_overflow() {
    for ((name, backend), (optimizer, momentum)) in
        backends().flat_map(|backend| forms().into_iter().map(move |form| (backend, form)))
    {
        let optimizer = on(optimizer, backend);
        for len in LENGTHS {
            // The sum of two such weights, and the square of one, overflow `f32`.
            for sign in [1.0, -1.0] {
                let mut host = host(len, momentum, len % 4);
                host.weights.get_mut().fill(sign * f32::MAX);
                host.gradients.get_mut().fill(sign);
                host.momentum.get_mut().fill(sign);
                let report = host.step(&optimizer, 0.1).unwrap();
                assert_eq!(report.outcome, Outcome::Applied, "{name}, {len} elements");
                assert!(host.weights.get().iter().all(|w| w.abs() > 3e38));
            }
        }
    }
}

const LAYERS: [usize; 4] = [40, 70_000, 1025, 3];

/// Layers, one of which overflows at this element, and the place of the element in the model.
fn net<R: Rule>(optimizer: &Optimizer<R>, layer: usize, at: usize) -> (Net<R::State>, usize) {
    let has_momentum = optimizer.moments() != Moments::None;
    let net = Net::new(&LAYERS.map(|len| (len, LayerConfig::DEFAULT)), 0, has_momentum, true, 4);
    let at = net.spans[layer].start + at;
    (net, at)
}

fn counts_one<R: Rule<State = SgdState> + Sync>(optimizer: &Optimizer<R>, spoil: fn(&mut Net<SgdState>, usize)) {
    for (bad, at) in [(0, 0), (1, 0), (1, 69_999), (2, 1024), (3, 2)] {
        let (mut net, at) = net(optimizer, bad, at);
        spoil(&mut net, at);
        let check = |what: &str, net: &Net<SgdState>, totals: Totals| {
            assert_eq!([totals.applied, totals.skipped, totals.overflowed], [3, 0, 1], "{what}");
            let overflowed = net.reports.iter().map(|report| report.outcome == Outcome::Overflowed);
            assert!(overflowed.eq((0..4).map(|layer| layer == bad)), "{what}: {:?}", net.reports);
        };
        for walk in walks() {
            let mut net = net.clone();
            let totals = net.step(optimizer, 10.0, walk);
            check(&format!("{walk:?}"), &net, totals);
        }
        let mut by_pass = net.without_norms();
        let totals = by_pass.step_by_pass(optimizer, 10.0);
        check("a pass", &by_pass, totals);
        let mut in_chunks = net.without_norms();
        let totals = in_chunks.step_in_chunks(optimizer, 10.0, &mut fastrand::Rng::with_seed(2));
        check("chunks", &in_chunks, totals);
        in_chunks.assert_same("chunks", &by_pass);
    }
}

#[test]
fn a_model_counts_the_layer_that_overflows() {
    // A clip far above the gradient, so that it does nothing.
    for sgd in [plain(), momentum(), clipping(plain(), 1e39)] {
        counts_one(&sgd, |net, at| net.gradients[at] = HUGE);
    }
    for sgd in [larc(), momentum()] {
        counts_one(&sgd, |net, at| net.momentum[at] = f32::NAN);
    }
}

#[test]
fn a_chunk_says_whether_it_overflows() {
    let sgd = plain();
    let (mut weights, mut gradients) = (vec![1.0; 100], vec![1.0; 100]);
    gradients[70] = HUGE;
    let mut pass = sgd.pass(10.0).unwrap();
    let measured = pass.measure(LayerView::new(&weights, &gradients)).unwrap();
    let planned = pass.decide().plan(measured, &LayerConfig::DEFAULT, SgdState::default()).unwrap();
    let mut apply = |chunk: std::ops::Range<usize>| {
        planned.apply(LayerMemory::new(&mut weights[chunk.clone()], &gradients[chunk], &mut ())).unwrap()
    };
    assert_eq!([apply(0..33), apply(33..71), apply(71..71), apply(71..100)], [true, false, true, true]);
}

/// It would stay in NovoGrad's state.
#[test]
fn a_norm_whose_square_is_beyond_f64_is_out_of_range() {
    let mut host: Host<NovoGradState> = Host::new(&[1.0; 20], &[1.0; 20], &[0.5; 20], [0; 3]);
    let before = host.clone();
    let report = host.step(&novograd(), Step::new(0.1).gradient_scale(1e200)).unwrap();
    assert!(report.gradient_norm.is_finite() && report.outcome == Outcome::OutOfRange);
    host.assert_same(&before);
}

#[test]
fn a_rule_that_normalises_does_not_overflow() {
    let (mut net, at) = net(&novograd(), 2, 1000);
    net.gradients[at] = HUGE;
    assert_eq!(net.step(&novograd(), 10.0, Walk::Flat).applied, 4);
}

#[test]
fn larc_in_front_of_a_host_says_so_too() {
    // The decay adds weights to a gradient.
    let larc = layerwise::Larc::new(layerwise::LarcConfig::DEFAULT).unwrap();
    let (weights, mut gradients) = ([HUGE, 1.0], [HUGE, 1.0]);
    let report = larc.scale_gradients(1e-30, 1.0, &weights, &mut gradients).unwrap();
    assert_eq!((report.outcome, gradients[0]), (Outcome::Overflowed, f32::INFINITY));
}
