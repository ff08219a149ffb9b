//! Each kernel, and whole steps, beside the loop that a training program without this crate has.
//!
//! ```text
//! cargo bench --bench kernels                 # all
//! cargo bench --bench kernels -- norm/65536   # one
//! ```

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use layerwise::{
    Larc, LarcConfig, NovoGrad, NovoGradConfig, NovoGradState, Sgd, SgdConfig, SgdState, Update, l2_norm, l2_norms,
    max_norm,
};
use std::hint::black_box;
use std::time::Duration;

const SIZES: [usize; 4] = [256, 4 << 10, 64 << 10, 1 << 20];

/// Numbers without a pattern, none of them small.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| (0.5 + rng.f32()) * if rng.bool() { 1.0 } else { -1.0 }).collect()
}

/// What everybody writes.
fn naive_norm(x: &[f32]) -> f32 {
    x.iter().map(|x| x * x).sum::<f32>().sqrt()
}

fn naive_larc(lr: f32, w: &mut [f32], g: &[f32], m: &mut [f32]) {
    let local = 0.002 * naive_norm(w) / (naive_norm(g) + 1e-8);
    let factor = (local / lr).min(1.0);
    for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
        *m = 0.9 * *m + factor * g;
        *w -= lr * *m;
    }
}

fn naive_novograd(lr: f32, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut f32) {
    let s = g.iter().map(|g| g * g).sum::<f32>();
    *v = if *v == 0.0 { s } else { 0.98 * *v + 0.02 * s };
    let scale = 1.0 / (v.sqrt() + 1e-8);
    for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
        *m = 0.95 * *m + (scale * g + 0.001 * *w);
        *w -= lr * *m;
    }
}

fn norms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("norm");
    for len in SIZES {
        let (x, y) = (numbers(len, 1), numbers(len, 2));
        group.throughput(Throughput::Elements(len as u64));
        group.bench_function(BenchmarkId::new("naive", len), |b| b.iter(|| naive_norm(black_box(&x))));
        group.bench_function(BenchmarkId::new("layerwise", len), |b| b.iter(|| l2_norm(black_box(&x))));
        group.bench_function(BenchmarkId::new("layerwise, two at once", len), |b| {
            b.iter(|| l2_norms(black_box(&x), black_box(&y)))
        });
        group.bench_function(BenchmarkId::new("maximum", len), |b| b.iter(|| max_norm(black_box(&x))));
    }
}

fn updates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("update");
    for len in SIZES {
        let (mut w, g, mut m) = (numbers(len, 1), numbers(len, 2), vec![0.0; len]);
        group.throughput(Throughput::Elements(len as u64));
        let plain = Update { gradient: 1e-6, direct: 1.0, ..Update::NONE };
        group.bench_function(BenchmarkId::new("plain", len), |b| b.iter(|| plain.apply(black_box(&mut w), &g)));
        let momentum = Update { gradient: 1e-6, momentum: 0.9, rate: 1e-3, ..Update::NONE };
        group.bench_function(BenchmarkId::new("momentum", len), |b| {
            b.iter(|| momentum.apply_with_momentum(black_box(&mut w), &g, &mut m))
        });
        let decay = Update { decay: 1e-6, ..momentum };
        group.bench_function(BenchmarkId::new("momentum and decay", len), |b| {
            b.iter(|| decay.apply_with_momentum(black_box(&mut w), &g, &mut m))
        });
        let all = Update { direct: 1e-3, shrink: 1e-9, ..decay };
        group.bench_function(BenchmarkId::new("everything", len), |b| {
            b.iter(|| all.apply_with_momentum(black_box(&mut w), &g, &mut m))
        });
    }
}

fn steps(criterion: &mut Criterion) {
    let larc = Larc::new(LarcConfig::DEFAULT).expect("valid settings");
    let larc = Sgd::new(SgdConfig { momentum: 0.9, larc: Some(larc), ..SgdConfig::DEFAULT }).expect("valid settings");
    let novograd = NovoGradConfig { weight_decay: 0.001, ..NovoGradConfig::DEFAULT };
    let novograd = NovoGrad::new(novograd).expect("valid settings");
    let lr = 1e-6;
    let mut group = criterion.benchmark_group("step");
    for len in SIZES {
        let (mut w, g, mut m) = (numbers(len, 1), numbers(len, 2), vec![0.0; len]);
        group.throughput(Throughput::Elements(len as u64));
        group.bench_function(BenchmarkId::new("LARC, naive", len), |b| {
            b.iter(|| naive_larc(lr as f32, black_box(&mut w), &g, &mut m))
        });
        group.bench_function(BenchmarkId::new("LARC, layerwise", len), |b| {
            b.iter(|| larc.step_layer(lr, black_box(&mut w), &g, &mut m, &mut SgdState::default()))
        });
        let front = Larc::new(LarcConfig { eta: 1e9, ..LarcConfig::DEFAULT }).expect("valid settings");
        let mut scaled = g.clone();
        group.bench_function(BenchmarkId::new("LARC in front of a host", len), |b| {
            b.iter(|| front.scale_gradients(lr, 0.0, black_box(&w), &mut scaled))
        });
        let mut v = 0.0;
        group.bench_function(BenchmarkId::new("NovoGrad, naive", len), |b| {
            b.iter(|| naive_novograd(lr as f32, black_box(&mut w), &g, &mut m, &mut v))
        });
        let mut state = NovoGradState::default();
        group.bench_function(BenchmarkId::new("NovoGrad, layerwise", len), |b| {
            b.iter(|| novograd.step_layer(lr, black_box(&mut w), &g, &mut m, &mut state))
        });
    }
}

criterion_group! {
    name = kernels;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = norms, updates, steps
}
criterion_main!(kernels);
