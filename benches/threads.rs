//! Steps over whole models on one and on two threads, beside copies of memory on as many.
//!
//! ```text
//! cargo bench --features rayon --bench threads
//! ```
//!
//! A copy moves 8 bytes per parameter; a NovoGrad step moves 24 (the gradient is read for its norm and again for the update)
//! and a LARC step 28. Figures are per parameter.

#[path = "shared/tensors.rs"]
mod tensors;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use layerwise::{
    Larc, LarcConfig, LayerSpan, Layers, ModelState, NovoGrad, NovoGradConfig, Optimizer, Report, Rule, Sgd, SgdConfig,
};
use rayon::ThreadPoolBuilder;
use std::hint::black_box;
use std::time::Duration;
use tensors::{keyword_spotter, resnet50};

/// The layers of a model in one buffer, with the memory of a rule.
struct Model<R: Rule> {
    spans: Vec<LayerSpan>,
    weights: Vec<f32>,
    gradients: Vec<f32>,
    momentum: Vec<f32>,
    states: Vec<R::State>,
    reports: Vec<Report>,
}

impl<R: Rule + Sync> Model<R>
where
    R::State: Send,
{
    fn new(tensors: &[usize]) -> Self {
        let mut len = 0;
        let mut spans = vec![];
        for &tensor in tensors {
            let [span] = LayerSpan::contiguous([tensor]);
            spans.push(LayerSpan { start: len, ..span });
            len += tensor;
        }
        let mut rng = fastrand::Rng::with_seed(1);
        let mut numbers = || (0..len).map(|_| 0.5 + rng.f32()).collect();
        let (weights, gradients) = (numbers(), numbers());
        let states = vec![R::State::default(); spans.len()];
        let reports = vec![Report::default(); spans.len()];
        Model { spans, weights, gradients, momentum: vec![0.0; len], states, reports }
    }

    fn step(&mut self, optimizer: &Optimizer<R>, parallel: bool) {
        let layers = Layers::new(&self.spans, self.weights.len()).expect("layers that follow each other");
        let state = ModelState { momentum: &mut self.momentum, states: &mut self.states, norms: &mut [] };
        let (weights, gradients, reports) = (&mut self.weights, &self.gradients, &mut self.reports);
        let summary = if parallel {
            optimizer.step_parallel(1e-6, &layers, weights, gradients, state, reports)
        } else {
            optimizer.step(1e-6, &layers, weights, gradients, state, reports)
        };
        assert_eq!(summary.expect("slices of the right lengths").skipped, 0);
    }
}

/// Copies both halves at once.
fn copy_on_two_threads(to: &mut [f32], from: &[f32]) {
    let (to1, to2) = to.split_at_mut(from.len() / 2);
    let (from1, from2) = from.split_at(from.len() / 2);
    rayon::join(|| to1.copy_from_slice(from1), || to2.copy_from_slice(from2));
}

fn threads(criterion: &mut Criterion) {
    let larc = Larc::new(LarcConfig::DEFAULT).expect("valid settings");
    let larc = Sgd::new(SgdConfig { momentum: 0.9, larc: Some(larc), ..SgdConfig::DEFAULT }).expect("valid settings");
    let novograd = NovoGrad::new(NovoGradConfig::DEFAULT).expect("valid settings");
    let pool = ThreadPoolBuilder::new().num_threads(2).build().expect("a pool of threads");
    for (name, tensors) in [
        ("keyword spotter", keyword_spotter()),
        ("ResNet-50", resnet50()),
        ("10,000 layers of 16", vec![16; 10_000]),
        ("one layer of 64 Mi", vec![64 << 20]),
    ] {
        let parameters: usize = tensors.iter().sum();
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(parameters as u64)).sample_size(10);
        {
            let (mut a, b) = (vec![0.0_f32; parameters], vec![1.0_f32; parameters]);
            group.bench_function(BenchmarkId::new("copy", 1), |bench| {
                bench.iter(|| black_box(&mut a).copy_from_slice(&b))
            });
            group.bench_function(BenchmarkId::new("copy", 2), |bench| {
                pool.install(|| bench.iter(|| copy_on_two_threads(black_box(&mut a), &b)))
            });
        }
        {
            let mut model = Model::new(&tensors);
            group.bench_function(BenchmarkId::new("NovoGrad", 1), |b| b.iter(|| model.step(&novograd, false)));
            group.bench_function(BenchmarkId::new("NovoGrad", 2), |b| {
                pool.install(|| b.iter(|| model.step(&novograd, true)))
            });
        }
        let mut model = Model::new(&tensors);
        group.bench_function(BenchmarkId::new("LARC", 1), |b| b.iter(|| model.step(&larc, false)));
        group.bench_function(BenchmarkId::new("LARC", 2), |b| pool.install(|| b.iter(|| model.step(&larc, true))));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = threads
}
criterion_main!(benches);
