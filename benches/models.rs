//! Steps over all layers of two models, compared with the limit of the memory bus.
//!
//! ```text
//! cargo bench --bench models
//! ```
//!
//! "copy" moves 8 bytes per parameter and "triad" (`a = b + s·c`) 12; a NovoGrad step moves 24 (the gradient is read
//! for its norm and again for the update), a LARC step 28, or 24 with the norm of the weights carried. Figures are per
//! parameter.

#[path = "shared/tensors.rs"]
mod tensors;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use layerwise::{
    CarriedNorms, LarcConfig, LayerMemory, NovoGrad, NovoGradConfig, NovoGradState, Sgd, SgdConfig, SgdState,
};
use std::hint::black_box;
use std::time::Duration;
use tensors::{keyword_spotter, resnet50};

/// Weights, gradients and momentum of each layer.
fn model(tensors: &[usize]) -> Vec<[Vec<f32>; 3]> {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut numbers = |len| (0..len).map(|_| 0.5 + rng.f32()).collect();
    tensors.iter().map(|&len| [numbers(len), numbers(len), vec![0.0; len]]).collect()
}

/// The obvious loop for NovoGrad.
fn naive_novograd(lr: f32, [w, g, m]: &mut [Vec<f32>; 3], v: &mut f32) {
    let s = g.iter().map(|g| g * g).sum::<f32>();
    *v = if *v == 0.0 { s } else { 0.98 * *v + 0.02 * s };
    let scale = 1.0 / (v.sqrt() + 1e-8);
    for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
        *m = 0.95 * *m + scale * *g;
        *w -= lr * *m;
    }
}

fn models(criterion: &mut Criterion) {
    let larc = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
    let larc = Sgd::new(larc).expect("valid settings");
    let novograd = NovoGrad::new(NovoGradConfig::DEFAULT).expect("valid settings");
    let lr = 1e-6;
    for (name, tensors) in [("keyword spotter", keyword_spotter()), ("ResNet-50", resnet50())] {
        let parameters: usize = tensors.iter().sum();
        let mut layers = model(&tensors);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(parameters as u64)).sample_size(20);

        let (mut a, b, c) = (vec![0.0_f32; parameters], vec![1.0_f32; parameters], vec![2.0_f32; parameters]);
        group.bench_function(BenchmarkId::from_parameter("limit: copy"), |bench| {
            bench.iter(|| black_box(&mut a).copy_from_slice(&b))
        });
        group.bench_function(BenchmarkId::from_parameter("limit: triad"), |bench| {
            bench.iter(|| {
                for ((a, b), c) in black_box(&mut a).iter_mut().zip(&b).zip(&c) {
                    *a = b + 3.0 * c;
                }
            })
        });
        let mut second_moments = vec![0.0; layers.len()];
        group.bench_function(BenchmarkId::from_parameter("NovoGrad, naive"), |bench| {
            bench.iter(|| {
                for (layer, v) in layers.iter_mut().zip(&mut second_moments) {
                    naive_novograd(lr as f32, layer, v);
                }
            })
        });
        let mut states = vec![NovoGradState::default(); layers.len()];
        group.bench_function(BenchmarkId::from_parameter("NovoGrad"), |bench| {
            bench.iter(|| {
                for ([w, g, m], state) in layers.iter_mut().zip(&mut states) {
                    let layer = LayerMemory::new(w, g, state).momentum(m);
                    novograd.step_layer(lr, layer).expect("slices of one length");
                }
            })
        });
        let mut states = vec![SgdState::default(); layers.len()];
        group.bench_function(BenchmarkId::from_parameter("LARC"), |bench| {
            bench.iter(|| {
                for ([w, g, m], state) in layers.iter_mut().zip(&mut states) {
                    let layer = LayerMemory::new(w, g, state).momentum(m);
                    larc.step_layer(lr, layer).expect("slices of one length");
                }
            })
        });
        let mut norms = vec![CarriedNorms::new(); layers.len()];
        group.bench_function(BenchmarkId::from_parameter("LARC, norm carried"), |bench| {
            bench.iter(|| {
                for (([w, g, m], state), norms) in layers.iter_mut().zip(&mut states).zip(&mut norms) {
                    let layer = LayerMemory::new(w, g, state).momentum(m).norms(norms);
                    larc.step_layer(lr, layer).expect("slices of one length");
                }
            })
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = models
}
criterion_main!(benches);
