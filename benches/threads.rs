//! Steps over whole models on one and on two threads, compared with memory copies on the same number of threads.
//!
//! ```text
//! cargo bench --features rayon --bench threads
//! ```
//!
//! A copy moves 8 bytes per parameter; a NovoGrad step moves 24 (the gradient is read for its norm and again for the
//! update) and a LARC step 28. Figures are per parameter.

#[path = "shared/tensors.rs"]
mod tensors;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use layerwise::rule::Rule;
use layerwise::{
    FlatModel, LarcConfig, LayerSpan, Layers, NovoGrad, NovoGradConfig, Optimizer, Report, Sgd, SgdConfig,
};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::hint::black_box;
use std::time::Duration;
use tensors::{keyword_spotter, resnet50};

/// Steps over a model with one buffer for each kind of array, on one thread and on two.
fn steps<R: Rule + Sync>(
    name: &str,
    optimizer: &Optimizer<R>,
    tensors: &[usize],
    group: &mut BenchmarkGroup<'_, WallTime>,
    pool: &ThreadPool,
) {
    let spans: Vec<LayerSpan> = LayerSpan::follow(tensors.iter().copied()).collect();
    let layers = Layers::new(&spans, tensors.iter().sum()).expect("layers that follow each other");
    let mut rng = fastrand::Rng::with_seed(1);
    let mut numbers = || (0..layers.elements()).map(|_| 0.5 + rng.f32()).collect::<Vec<f32>>();
    let (mut weights, gradients, mut momentum) = (numbers(), numbers(), vec![0.0; layers.elements()]);
    let mut states = vec![R::State::default(); layers.count()];
    let mut reports = vec![Report::ABSENT; layers.count()];
    let mut model = FlatModel::new(&layers, &mut weights, &gradients, &mut states).momentum(&mut momentum);
    group.bench_function(BenchmarkId::new(name, 1), |bench| {
        bench.iter(|| optimizer.step(1e-6, &mut model, &mut reports).expect("slices of the right lengths"))
    });
    group.bench_function(BenchmarkId::new(name, 2), |bench| {
        pool.install(|| {
            bench.iter(|| optimizer.step_parallel(1e-6, &mut model, &mut reports).expect("slices of the right lengths"))
        })
    });
    assert!(reports.iter().all(Report::applied));
}

/// Copies both halves at once.
fn copy_on_two_threads(to: &mut [f32], from: &[f32]) {
    let (to1, to2) = to.split_at_mut(from.len() / 2);
    let (from1, from2) = from.split_at(from.len() / 2);
    rayon::join(|| to1.copy_from_slice(from1), || to2.copy_from_slice(from2));
}

fn threads(criterion: &mut Criterion) {
    let larc = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
    let larc = Sgd::new(larc).expect("valid settings");
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
        steps("NovoGrad", &novograd, &tensors, &mut group, &pool);
        steps("LARC", &larc, &tensors, &mut group, &pool);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = threads
}
criterion_main!(benches);
