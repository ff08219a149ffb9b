//! Times the crate beside hand-written C with fused multiply-adds and no reproducibility, both for the same instruction
//! set, and prints a table of nanoseconds per element.

use layerwise::{
    CarriedNorms, Larc, LarcConfig, Layer, LayerView, NovoGrad, NovoGradConfig, NovoGradState, Sgd, SgdConfig,
    SgdState, sum_of_squares,
};
use std::hint::black_box;
use std::time::Instant;

const LR: f32 = 1e-6;

/// The functions of `kernels.c` for one instruction set.
struct C {
    name: &'static str,
    sum_of_squares: unsafe extern "C" fn(*const f32, usize) -> f32,
    novograd: unsafe extern "C" fn(*mut f32, *const f32, *mut f32, usize, f32, *mut f32),
    larc: unsafe extern "C" fn(*mut f32, *const f32, *mut f32, usize, f32),
    larc_carried: unsafe extern "C" fn(*mut f32, *const f32, *mut f32, usize, f32, *mut f32),
}

macro_rules! c {
    ($name:literal, $norm:ident, $novograd:ident, $larc:ident, $carried:ident) => {{
        unsafe extern "C" {
            fn $norm(x: *const f32, n: usize) -> f32;
            fn $novograd(w: *mut f32, g: *const f32, m: *mut f32, n: usize, lr: f32, v: *mut f32);
            fn $larc(w: *mut f32, g: *const f32, m: *mut f32, n: usize, lr: f32);
            fn $carried(w: *mut f32, g: *const f32, m: *mut f32, n: usize, lr: f32, weights: *mut f32);
        }
        C { name: $name, sum_of_squares: $norm, novograd: $novograd, larc: $larc, larc_carried: $carried }
    }};
}

/// The C for the instruction set that the crate uses.
fn c() -> C {
    let sse2 = c!("SSE2", sum_of_squares_sse2, novograd_sse2, larc_sse2, larc_carried_sse2);
    let avx2 = c!("AVX2", sum_of_squares_avx2, novograd_avx2, larc_avx2, larc_carried_avx2);
    let avx512 = c!("AVX-512", sum_of_squares_avx512, novograd_avx512, larc_avx512, larc_carried_avx512);
    if cfg!(layerwise_backend = "portable") || !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("fma") {
        sse2
    } else if cfg!(layerwise_backend = "avx2") || !is_x86_feature_detected!("avx512f") {
        avx2
    } else {
        avx512
    }
}

/// Weights, gradients and momentum of one layer, each at its own offset from a cache line.
struct Arrays {
    memory: [Vec<f32>; 3],
    starts: [usize; 3],
    len: usize,
}

impl Arrays {
    /// Numbers without a pattern.
    fn new(len: usize, offsets: [usize; 3]) -> Self {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut memory = [0; 3].map(|_| vec![0.0; len + 32]);
        let starts = [0, 1, 2].map(|i| memory[i].as_ptr().align_offset(64) + offsets[i]);
        for (memory, start) in memory.iter_mut().zip(starts) {
            memory[start..start + len].fill_with(|| 0.5 + rng.f32());
        }
        Arrays { memory, starts, len }
    }

    fn get(&mut self) -> (&mut [f32], &[f32], &mut [f32]) {
        let [w, g, m] = &mut self.memory;
        let [ws, gs, ms] = self.starts;
        black_box((&mut w[ws..ws + self.len], &g[gs..gs + self.len], &mut m[ms..ms + self.len]))
    }
}

/// The best of many times of several functions that take turns, in nanoseconds per element.
fn race(len: usize, functions: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let calls = (1 << 18) / len + 1;
    let mut best = vec![f64::INFINITY; functions.len()];
    for _ in 0..(1 << 25) / len.max(1 << 18) {
        for (function, best) in functions.iter_mut().zip(&mut best) {
            let start = Instant::now();
            for _ in 0..calls {
                function();
            }
            let time = start.elapsed().as_secs_f64() * 1e9 / (calls * len) as f64;
            if time < *best {
                *best = time;
            }
        }
    }
    best
}

fn main() {
    let c = c();
    let larc = Larc::new(LarcConfig::DEFAULT).expect("valid settings");
    let larc = Sgd::new(SgdConfig { momentum: 0.9, larc: Some(larc), ..SgdConfig::DEFAULT }).expect("valid settings");
    let novograd = NovoGrad::new(NovoGradConfig::DEFAULT).expect("valid settings");
    println!("ns per element, C with {} / layerwise / ratio; limit: a copy (8 bytes) and a triad (12 bytes)\n", c.name);
    println!("| elements | offsets | copy | triad | norm | NovoGrad step | LARC step | LARC step, norm carried |");
    println!("|---|---|---|---|---|---|---|---|");
    for len in [256, 4 << 10, 16 << 10, 64 << 10, 1 << 20, 16 << 20] {
        for offsets in [[0, 0, 0], [4, 4, 4], [1, 6, 11]] {
            let [mut theirs, mut ours] = [0; 2].map(|_| Arrays::new(len, offsets));
            let limits = race(
                len,
                &mut [
                    &mut || {
                        let (w, g, _) = theirs.get();
                        w.copy_from_slice(g);
                    },
                    &mut || {
                        let (w, g, m) = ours.get();
                        for ((m, g), w) in m.iter_mut().zip(g).zip(w) {
                            *m = g + LR * *w;
                        }
                    },
                ],
            );
            let (mut their_sum, mut our_sum) = (0.0, 0.0);
            let norms = race(
                len,
                &mut [
                    // SAFETY, here and below: the slices have `len` elements.
                    &mut || their_sum = f64::from(unsafe { (c.sum_of_squares)(theirs.get().1.as_ptr(), len) }),
                    &mut || our_sum = sum_of_squares(ours.get().1),
                ],
            );
            assert!((their_sum / our_sum - 1.0).abs() < 1e-3, "{their_sum} and {our_sum}");
            let (mut v, mut state) = (0.0, NovoGradState::default());
            let novograds = race(
                len,
                &mut [
                    &mut || {
                        let (w, g, m) = theirs.get();
                        unsafe { (c.novograd)(w.as_mut_ptr(), g.as_ptr(), m.as_mut_ptr(), len, LR, &mut v) }
                    },
                    &mut || {
                        let (w, g, m) = ours.get();
                        novograd.step_layer(LR.into(), w, g, m, &mut state).expect("slices of one length");
                    },
                ],
            );
            let mut state = SgdState::default();
            let larcs = race(
                len,
                &mut [
                    &mut || {
                        let (w, g, m) = theirs.get();
                        unsafe { (c.larc)(w.as_mut_ptr(), g.as_ptr(), m.as_mut_ptr(), len, LR) }
                    },
                    &mut || {
                        let (w, g, m) = ours.get();
                        larc.step_layer(LR.into(), w, g, m, &mut state).expect("slices of one length");
                    },
                ],
            );
            let mut sum = unsafe { (c.sum_of_squares)(theirs.get().0.as_ptr(), len) };
            let mut carried_norms = CarriedNorms::default();
            let carried = race(
                len,
                &mut [
                    &mut || {
                        let (w, g, m) = theirs.get();
                        unsafe { (c.larc_carried)(w.as_mut_ptr(), g.as_ptr(), m.as_mut_ptr(), len, LR, &mut sum) }
                    },
                    &mut || {
                        let (weights, gradients, momentum) = ours.get();
                        let (layer, state, norms) = (Layer::DEFAULT, &mut state, Some(&mut carried_norms));
                        let view = LayerView { layer, weights, gradients, momentum, state, norms };
                        larc.step_view(LR.into(), view).expect("slices of one length");
                    },
                ],
            );
            print!("| {len} | {offsets:?} | {:.3} | {:.3}", limits[0], limits[1]);
            for pair in [norms, novograds, larcs, carried] {
                print!(" | {:.3} / {:.3} / {:.2}", pair[0], pair[1], pair[1] / pair[0]);
            }
            println!(" |");
        }
    }
}
