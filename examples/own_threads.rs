//! A host with threads of its own: the pieces of a LARC step on four threads, with the bits of the step on one.
//!
//! ```text
//! cargo run --release --example own_threads
//! ```
//!
//! Each thread owns a chunk of the layer that begins and ends at a leaf. It sums the leaves of its chunk, waits for the others,
//! and applies the update to its chunk. Between the two, every thread makes the same decision from the same sums. OpenMP
//! teams, ggml's `ith` of `nth` and the cores of a PULP cluster work alike.

use layerwise::{LEAF, Larc, LarcConfig, Layer, Norms, Rule, Sgd, SgdConfig, SgdState, fold_leaf_sums, leaf_sums};
use std::sync::{Barrier, Mutex};

const LEN: usize = 1_000_003;
const THREADS: usize = 4;
const STEPS: u32 = 10;

/// The gradient of `Σ (wᵢ − tᵢ)²/2` for some targets `t`.
fn gradients(weights: &[f32], start: usize, gradients: &mut [f32]) {
    for (i, (g, w)) in gradients.iter_mut().zip(weights).enumerate() {
        *g = w - ((start + i) as f32 * 0.37).sin();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let larc = Larc::new(LarcConfig { eta: 0.1, ..LarcConfig::DEFAULT })?;
    let sgd = Sgd::new(SgdConfig { momentum: 0.9, larc: Some(larc), ..SgdConfig::DEFAULT })?;
    let (layer, lr) = (Layer::DEFAULT, 0.5);

    // On one thread, by one call.
    let (mut weights, mut momentum, mut g) = (vec![0.01; LEN], vec![0.0; LEN], vec![0.0; LEN]);
    let mut state = SgdState::default();
    for _ in 0..STEPS {
        gradients(&weights, 0, &mut g);
        sgd.step_layer(lr, &mut weights, &g, &mut momentum, &mut state)?;
    }

    // On four.
    let (mut shared_weights, mut shared_momentum) = (vec![0.01_f32; LEN], vec![0.0; LEN]);
    let chunk = LEN.div_ceil(LEAF).div_ceil(THREADS) * LEAF;
    // The sums of all leaves of gradient and weights, which each thread fills in part.
    let sums = Mutex::new([vec![0.0; LEN.div_ceil(LEAF)], vec![0.0; LEN.div_ceil(LEAF)]]);
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        let chunks = shared_weights.chunks_mut(chunk).zip(shared_momentum.chunks_mut(chunk)).enumerate();
        for (thread, (weights, momentum)) in chunks {
            let (sums, barrier, sgd) = (&sums, &barrier, &sgd);
            scope.spawn(move || {
                let mut g = vec![0.0; weights.len()];
                let mut mine = vec![0.0; weights.len().div_ceil(LEAF)];
                let first = thread * chunk / LEAF;
                let mut state = SgdState::default();
                for _ in 0..STEPS {
                    gradients(weights, thread * chunk, &mut g);
                    for (which, x) in [&g[..], weights].into_iter().enumerate() {
                        leaf_sums(x, &mut mine).expect("one sum for each leaf");
                        let all = &mut sums.lock().expect("no thread panics")[which];
                        all[first..first + mine.len()].copy_from_slice(&mine);
                    }
                    barrier.wait();
                    let norms = {
                        let sums = sums.lock().expect("no thread panics");
                        let [gradient, weights] = [0, 1].map(|which| fold_leaf_sums(&sums[which]).sqrt());
                        Norms { gradient, weights: Some(weights) }
                    };
                    barrier.wait();
                    // Every thread sees the same norms, so all skip a step with a NaN, or none.
                    if norms.are_finite() {
                        let plan = sgd.rule().plan(lr, &layer, &norms, &mut state);
                        plan.update.apply_with_momentum(weights, &g, momentum).expect("slices of one length");
                    }
                }
            });
        }
    });

    let differ = weights.iter().zip(&shared_weights).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    println!("{STEPS} steps of {LEN} weights on {THREADS} threads: {differ} differ from those on one thread");
    assert!(differ == 0 && momentum == shared_momentum);
    Ok(())
}
