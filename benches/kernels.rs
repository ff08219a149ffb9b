//! Each kernel, and whole steps, compared with the loop that a training program without this crate would have, and with
//! the limit of the memory. Arrays begin at random places in a page.
//!
//! ```text
//! cargo bench --bench kernels                              # all
//! cargo bench --bench kernels -- norm/layerwise/65536      # one
//! RUSTFLAGS='--cfg layerwise_backend="portable"' cargo bench --bench kernels      # another backend
//! ```

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use layerwise::pieces::{LayerView, Planned};
use layerwise::rule::{Moments, Needs, Norms, Plan, Rule, Update};
use layerwise::{
    Error, Larc, LarcConfig, LayerConfig, LayerMemory, NovoGrad, NovoGradConfig, NovoGradState, Optimizer, Sgd,
    SgdConfig, SgdState, accumulate, l2_norm, max_norm,
};
use std::hint::black_box;
use std::time::Duration;

const SIZES: [usize; 6] = [256, 4 << 10, 16 << 10, 64 << 10, 1 << 20, 16 << 20];

/// An array that begins at another place in its page for each use, like arrays of a host.
struct Array {
    memory: Vec<f32>,
    len: usize,
    rng: fastrand::Rng,
}

impl Array {
    /// Numbers without a pattern, none of them small.
    fn new(len: usize, seed: u64) -> Self {
        const PAGE: usize = 4096 / size_of::<f32>();
        let mut rng = fastrand::Rng::with_seed(seed);
        let number = |_| (0.5 + rng.f32()) * if rng.bool() { 1.0 } else { -1.0 };
        Array { memory: (0..len + PAGE).map(number).collect(), len, rng }
    }

    fn get(&mut self) -> &mut [f32] {
        let start = self.rng.usize(..=self.memory.len() - self.len);
        &mut self.memory[start..start + self.len]
    }
}

/// The obvious loop.
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

/// The limit of the memory: `copy` moves 8 bytes per element, `triad` 12. A norm reads 4, an update with momentum moves
/// 20.
fn limits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("limit");
    for len in SIZES {
        let [mut a, mut b, mut c] = [1, 2, 3].map(|seed| Array::new(len, seed));
        group.throughput(Throughput::Elements(len as u64));
        group.bench_function(BenchmarkId::new("copy", len), |bench| {
            bench.iter(|| black_box(a.get()).copy_from_slice(b.get()))
        });
        group.bench_function(BenchmarkId::new("triad", len), |bench| {
            bench.iter(|| {
                for ((a, b), c) in black_box(a.get()).iter_mut().zip(b.get()).zip(c.get()) {
                    *a = *b + 3.0 * *c;
                }
            })
        });
    }
}

fn norms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("norm");
    for len in SIZES {
        let mut x = Array::new(len, 1);
        group.throughput(Throughput::Elements(len as u64));
        group.bench_function(BenchmarkId::new("naive", len), |b| b.iter(|| naive_norm(black_box(x.get()))));
        group.bench_function(BenchmarkId::new("layerwise", len), |b| b.iter(|| l2_norm(black_box(x.get()))));
        group.bench_function(BenchmarkId::new("maximum", len), |b| b.iter(|| max_norm(black_box(x.get()))));
    }
}

/// A rule that always plans the same update.
struct Fixed(Update);

impl Rule for Fixed {
    type State = ();
    const MOMENTS: Moments = Moments::First;

    fn moments(&self) -> Moments {
        if self.0.momentum == 0.0 { Moments::None } else { Moments::First }
    }

    fn needs(&self, _: &LayerConfig) -> Needs {
        Needs::GRADIENT
    }

    fn plan(&self, lr: f64, _: &LayerConfig, _: &Norms, (): ()) -> (Plan, ()) {
        (Plan::new(self.0, lr), ())
    }
}

/// An update without the norms before it.
fn planned(update: Update) -> Result<Planned<()>, Error> {
    let optimizer = Optimizer::from_rule(Fixed(update));
    let mut pass = optimizer.pass(1.0)?;
    let measured = pass.measure(LayerView::new(&[0.0; 0], &[0.0; 0]))?;
    pass.decide().plan(measured, &LayerConfig::DEFAULT, ())
}

fn updates(criterion: &mut Criterion) {
    let plain = Update { gradient: 1e-6, direct: 1.0, ..Update::ZERO };
    let momentum = Update { gradient: 1e-6, momentum: 0.9, rate: 1e-3, ..Update::ZERO };
    let decay = Update { decay: 1e-6, ..momentum };
    let all = Update { direct: 1e-3, shrink: 1e-9, ..decay };
    let [plain, momentum, decay, all] =
        [plain, momentum, decay, all].map(|update| planned(update).expect("a step of nothing"));
    let mut group = criterion.benchmark_group("update");
    for len in SIZES {
        let [mut w, mut g, mut m] = [1, 2, 3].map(|seed| Array::new(len, seed));
        group.throughput(Throughput::Elements(len as u64));
        group.bench_function(BenchmarkId::new("plain", len), |b| {
            b.iter(|| plain.apply(LayerMemory::new(black_box(w.get()), g.get(), &mut ())))
        });
        for (name, update) in [("momentum", &momentum), ("momentum and decay", &decay), ("everything", &all)] {
            group.bench_function(BenchmarkId::new(name, len), |b| {
                b.iter(|| update.apply(LayerMemory::new(black_box(w.get()), g.get(), &mut ()).momentum(m.get())))
            });
        }
        group.bench_function(BenchmarkId::new("accumulate", len), |b| {
            b.iter(|| accumulate(black_box(w.get()), g.get(), 1e-6))
        });
    }
}

fn steps(criterion: &mut Criterion) {
    let larc = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
    let larc = Sgd::new(larc).expect("valid settings");
    let novograd = NovoGradConfig { weight_decay: 0.001, ..NovoGradConfig::DEFAULT };
    let novograd = NovoGrad::new(novograd).expect("valid settings");
    let lr = 1e-6;
    let mut group = criterion.benchmark_group("step");
    for len in SIZES {
        let [mut w, mut g, mut m] = [1, 2, 3].map(|seed| Array::new(len, seed));
        group.throughput(Throughput::Elements(len as u64));
        group.bench_function(BenchmarkId::new("LARC, naive", len), |b| {
            b.iter(|| naive_larc(lr as f32, black_box(w.get()), g.get(), m.get()))
        });
        group.bench_function(BenchmarkId::new("LARC, layerwise", len), |b| {
            let mut state = SgdState::default();
            b.iter(|| larc.step_layer(lr, LayerMemory::new(black_box(w.get()), g.get(), &mut state).momentum(m.get())))
        });
        let front = Larc::new(LarcConfig { eta: 1e9, ..LarcConfig::DEFAULT }).expect("valid settings");
        group.bench_function(BenchmarkId::new("LARC in front of a host", len), |b| {
            b.iter(|| front.scale_gradients(lr, 0.0, black_box(w.get()), m.get()))
        });
        let mut v = 0.0;
        group.bench_function(BenchmarkId::new("NovoGrad, naive", len), |b| {
            b.iter(|| naive_novograd(lr as f32, black_box(w.get()), g.get(), m.get(), &mut v))
        });
        let mut state = NovoGradState::default();
        group.bench_function(BenchmarkId::new("NovoGrad, layerwise", len), |b| {
            b.iter(|| {
                novograd.step_layer(lr, LayerMemory::new(black_box(w.get()), g.get(), &mut state).momentum(m.get()))
            })
        });
    }
}

criterion_group! {
    name = kernels;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = limits, norms, updates, steps
}
criterion_main!(kernels);
