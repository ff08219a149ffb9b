//! A host with its own threads: steps in pieces on four threads, with the bits of whole steps on one.
//!
//! ```text
//! cargo run --release --example own_threads
//! ```
//!
//! Each thread owns a chunk of the layer, which is whole leaves. It sums the leaves of its chunk, waits for the others,
//! and updates its chunk. In between, every thread makes the same decision from the same sums: how much to clip, and
//! whether to skip the step. A rule that limits its step needs the norm of the step first, which takes one more
//! exchange of sums. OpenMP teams, ggml's `ith` of `nth` and the cores of a PULP cluster work the same way.

use layerwise::pieces::{LEAF, LayerView, SUMS, chunk};
use layerwise::rule::Rule;
use layerwise::{
    Error, LarcConfig, LayerConfig, LayerMemory, Luc, NonFinite, NovoGrad, NovoGradConfig, Optimizer, Policy, Sgd,
    SgdConfig, Step,
};
use std::sync::{Barrier, Mutex};

const LEN: usize = 1_000_003;
const THREADS: usize = 4;
const STEPS: usize = 10;
/// A step in which the scaled loss overflows.
const BAD: usize = 5;
const LOSS_SCALE: f32 = 1024.0;

/// The gradient of `Σ (wᵢ − tᵢ)²/2` for some targets `t`, times the loss scale.
fn gradients(step: usize, start: usize, weights: &[f32], gradients: &mut [f32]) {
    for (i, (g, w)) in (start..).zip(gradients.iter_mut().zip(weights)) {
        *g = LOSS_SCALE * (w - (i as f32 * 0.37).sin());
        if step == BAD && i == LEN / 2 {
            *g = f32::INFINITY;
        }
    }
}

/// Sums of the leaves of the whole layer, collected from all threads.
struct Exchange<'b, T> {
    sums: Mutex<Vec<T>>,
    barrier: &'b Barrier,
}

impl<'b, T: Clone> Exchange<'b, T> {
    fn new(zero: T, barrier: &'b Barrier) -> Self {
        Exchange { sums: Mutex::new(vec![zero; LEN.div_ceil(LEAF)]), barrier }
    }

    /// Stores the sums of the leaves from `first` on, waits for the other threads, and returns all sums.
    fn all(&self, first: usize, own: &[T]) -> Vec<T> {
        self.sums.lock().expect("no thread panics")[first..first + own.len()].clone_from_slice(own);
        self.barrier.wait();
        let all = self.sums.lock().expect("no thread panics").clone();
        // No thread stores the next sums before all threads have read these.
        self.barrier.wait();
        all
    }
}

/// All steps of the chunk that begins at the element `start`.
fn work<R: Rule>(
    optimizer: &Optimizer<R>,
    step: Step,
    start: usize,
    (weights, momentum): (&mut [f32], &mut [f32]),
    (sums, step_sums): (&Exchange<[f64; SUMS]>, &Exchange<f64>),
) -> Result<R::State, Error> {
    let (config, mut state) = (LayerConfig::DEFAULT, R::State::default());
    let (first, leaves) = (start / LEAF, weights.len().div_ceil(LEAF));
    let mut g = vec![0.0; weights.len()];
    for i in 0..STEPS {
        gradients(i, start, weights, &mut g);
        let view = LayerView::new(&*weights, &g).momentum(&*momentum);
        let mut own = vec![[0.0; SUMS]; leaves];
        let mut pass = optimizer.pass(step)?;
        pass.leaf_sums(view, start, &mut own)?;
        // From the same sums every thread makes the same decision, and has the same state.
        let measured = pass.fold(&config, LEN, &sums.all(first, &own))?;
        let decided = pass.decide();
        let mut planned = decided.plan(measured, &config, state)?;
        if planned.needs_step() {
            let mut own = vec![0.0; leaves];
            planned.step_leaf_sums(view, start, &mut own)?;
            planned = decided.limit(planned, &step_sums.all(first, &own))?;
        }
        planned.apply(LayerMemory::new(&mut *weights, &g, &mut ()).momentum(&mut *momentum))?;
        (_, state) = planned.report();
    }
    Ok(state)
}

/// Trains a layer on one thread and on four, and compares weights, momentum and state.
fn compare<R: Rule + Sync>(name: &str, optimizer: &Optimizer<R>, lr: f64) -> Result<(), Error> {
    let step = Step::new(lr).gradient_scale(1.0 / f64::from(LOSS_SCALE));
    let (mut weights, mut momentum, mut g) = (vec![0.01; LEN], vec![0.0; LEN], vec![0.0; LEN]);
    let mut state = R::State::default();
    for i in 0..STEPS {
        gradients(i, 0, &weights, &mut g);
        optimizer.step_layer(step, LayerMemory::new(&mut weights, &g, &mut state).momentum(&mut momentum))?;
    }

    let (mut divided_weights, mut divided_momentum) = (vec![0.01; LEN], vec![0.0; LEN]);
    let barrier = Barrier::new(THREADS);
    let exchanges = &(Exchange::new([0.0; SUMS], &barrier), Exchange::new(0.0, &barrier));
    std::thread::scope(|scope| {
        let (mut weights_left, mut momentum_left) = (&mut divided_weights[..], &mut divided_momentum[..]);
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let own = chunk(LEN, thread, THREADS);
                let w = weights_left.split_off_mut(..own.len()).expect("chunks that together are the layer");
                let m = momentum_left.split_off_mut(..own.len()).expect("chunks that together are the layer");
                scope.spawn(move || work(optimizer, step, own.start, (w, m), (&exchanges.0, &exchanges.1)))
            })
            .collect();
        for thread in threads {
            assert!(thread.join().expect("no thread panics")? == state);
        }
        Ok(())
    })?;

    let differ = weights.iter().zip(&divided_weights).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    println!("{name}: {STEPS} steps of {LEN} weights on {THREADS} threads: {differ} differ from those on one thread");
    assert!(differ == 0 && momentum == divided_momentum && weights.iter().all(|w| w.is_finite() && *w != 0.01));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let skip = Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT };
    let larc = Some(LarcConfig { eta: 0.1, ..LarcConfig::DEFAULT });
    let larc = Sgd::new(SgdConfig { momentum: 0.9, larc, ..SgdConfig::DEFAULT })?.with_policy(skip)?;
    compare("LARC", &larc, 0.5)?;
    let luc = Some(Luc { trust: 0.1, ..Luc::DEFAULT });
    let novograd = NovoGrad::new(NovoGradConfig { luc, ..NovoGradConfig::DEFAULT })?;
    let novograd = novograd.with_policy(Policy { clip_norm: Some(1.0), ..skip })?;
    compare("NovoGrad with LUC, clipped", &novograd, 0.5)?;
    Ok(())
}
