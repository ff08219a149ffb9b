//! Steps over all layers of two models, beside what the memory bus allows.
//!
//! ```text
//! cargo bench --bench models
//! ```
//!
//! "copy" moves 8 bytes per parameter and "triad" (`a = b + s·c`) 12; a NovoGrad step moves 24 (the gradient is read for its
//! norm and again for the update), a LARC step 28, or 24 with the norm of the weights carried. Figures are per parameter.

#[path = "shared/tensors.rs"]
mod tensors;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use layerwise::{
    CarriedNorms, Larc, LarcConfig, Layer, LayerView, NovoGrad, NovoGradConfig, NovoGradState, Sgd, SgdConfig, SgdState,
};
use std::hint::black_box;
use std::time::Duration;
use tensors::{keyword_spotter, resnet50};

/// One layer with all that any optimizer here remembers of it.
#[derive(Default)]
struct Memory {
    weights: Vec<f32>,
    gradients: Vec<f32>,
    momentum: Vec<f32>,
    novograd: NovoGradState,
    sgd: SgdState,
    norms: CarriedNorms,
    second_moment: f32,
}

fn model(tensors: &[usize]) -> Vec<Memory> {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut numbers = |len| (0..len).map(|_| 0.5 + rng.f32()).collect();
    let layer =
        |&len| Memory { weights: numbers(len), gradients: numbers(len), momentum: vec![0.0; len], ..Memory::default() };
    tensors.iter().map(layer).collect()
}

/// NovoGrad as everybody writes it.
fn naive_novograd(lr: f32, layer: &mut Memory) {
    let s = layer.gradients.iter().map(|g| g * g).sum::<f32>();
    let v = &mut layer.second_moment;
    *v = if *v == 0.0 { s } else { 0.98 * *v + 0.02 * s };
    let scale = 1.0 / (v.sqrt() + 1e-8);
    for ((w, g), m) in layer.weights.iter_mut().zip(&layer.gradients).zip(&mut layer.momentum) {
        *m = 0.95 * *m + scale * g;
        *w -= lr * *m;
    }
}

fn models(criterion: &mut Criterion) {
    let larc = Larc::new(LarcConfig::DEFAULT).expect("valid settings");
    let larc = Sgd::new(SgdConfig { momentum: 0.9, larc: Some(larc), ..SgdConfig::DEFAULT }).expect("valid settings");
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
        group.bench_function(BenchmarkId::from_parameter("NovoGrad, naive"), |bench| {
            bench.iter(|| layers.iter_mut().for_each(|layer| naive_novograd(lr as f32, layer)))
        });
        group.bench_function(BenchmarkId::from_parameter("NovoGrad"), |bench| {
            bench.iter(|| {
                for l in &mut layers {
                    novograd
                        .step_layer(lr, &mut l.weights, &l.gradients, &mut l.momentum, &mut l.novograd)
                        .expect("slices of one length");
                }
            })
        });
        group.bench_function(BenchmarkId::from_parameter("LARC"), |bench| {
            bench.iter(|| {
                for l in &mut layers {
                    larc.step_layer(lr, &mut l.weights, &l.gradients, &mut l.momentum, &mut l.sgd)
                        .expect("slices of one length");
                }
            })
        });
        group.bench_function(BenchmarkId::from_parameter("LARC, norm carried"), |bench| {
            bench.iter(|| {
                for l in &mut layers {
                    let view = LayerView {
                        layer: Layer::DEFAULT,
                        weights: &mut l.weights,
                        gradients: &l.gradients,
                        momentum: &mut l.momentum,
                        state: &mut l.sgd,
                        norms: Some(&mut l.norms),
                    };
                    larc.step_view(lr, view).expect("slices of one length");
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
