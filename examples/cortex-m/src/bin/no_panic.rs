//! Links only if nothing in the library can panic: the panic handler calls a function that does not exist. Every public function
//! that does work is called with numbers and lengths that the compiler does not know.
//!
//! With the feature `control` there is a panic, and it must not link.

#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
use layerwise::{
    CarriedNorms, Larc, LarcConfig, Layer, LayerSpan, LayerView, Layers, ModelState, NovoGrad, NovoGradConfig,
    Optimizer, Policy, Report, Rule, Sgd, SgdConfig, Update, accumulate, floats, floats_mut, fold_leaf_sums, l2_norm,
    l2_norms, leaf_sums,
    lecun_rate, max_norm, sum_of_squares,
};

unsafe extern "C" {
    fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    // SAFETY: an image with this call does not link.
    unsafe { a_panic_is_reachable() }
}

/// A slice whose length the compiler does not know.
fn unknown<T>(slice: &mut [T]) -> &mut [T] {
    let len = black_box(slice.len());
    slice.get_mut(..len).unwrap_or_default()
}

fn steps<R: Rule>(optimizer: &Optimizer<R>, [a, b, c]: [&mut [f32]; 3]) {
    let (mut states, mut norms, mut reports) =
        ([R::State::default(); 2], [CarriedNorms::default(); 2], [Report::default(); 2]);
    let lr = black_box(0.1);
    let state = black_box(&mut states);
    _ = black_box(optimizer.step_layer(lr, a, b, c, &mut state[0]));
    let layer = black_box(Layer::DEFAULT);
    let (state, carried) = (&mut state[0], Some(&mut norms[0]));
    let mut views = [LayerView { layer, weights: a, gradients: b, momentum: c, state, norms: carried }];
    _ = black_box(optimizer.step_views(lr, unknown(&mut views), unknown(&mut reports)));

    let mut spans = LayerSpan::contiguous(black_box([10, 20]));
    if let Ok(layers) = Layers::with_gaps(unknown(&mut spans), black_box(100)) {
        let state = ModelState { momentum: c, states: unknown(&mut states), norms: unknown(&mut norms) };
        _ = black_box(optimizer.step(lr, &layers, a, b, state, unknown(&mut reports)));
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let [mut a, mut b, mut c] = [[0.0_f32; 100]; 3];
    let mut sums = [0.0_f64; 4];
    let mut bytes = [0_u8; 101];
    let [a, b, c] = [unknown(&mut a), unknown(&mut b), unknown(&mut c)];
    _ = black_box((l2_norm(a), l2_norms(a, b), max_norm(a), sum_of_squares(a), lecun_rate(black_box(9))));
    _ = black_box((leaf_sums(a, unknown(&mut sums)), accumulate(a, b, black_box(1.0))));
    _ = black_box(fold_leaf_sums(unknown(&mut sums)));
    let bytes = unknown(&mut bytes);
    _ = black_box((floats(bytes).map(l2_norm), floats_mut(bytes).map(|x| l2_norm(x))));
    let update = black_box(Update::NONE);
    _ = black_box((update.apply(a, b), update.apply_with_momentum(a, b, c)));
    _ = black_box((update.apply_and_sum(a, b, c), update.new_momentum_norm(a, b, c)));
    let larc = Larc::new(black_box(LarcConfig::DEFAULT));
    if let Ok(larc) = larc {
        _ = black_box(larc.scale_gradients(black_box(0.1), black_box(0.1), a, b));
    }
    let policy = black_box(Policy::DEFAULT);
    let sgd = Sgd::new(black_box(SgdConfig { larc: larc.ok(), ..SgdConfig::DEFAULT }));
    if let Ok(sgd) = sgd.and_then(|sgd| sgd.with_policy(policy)) {
        steps(&sgd, [a, b, c]);
    }
    let novograd = NovoGrad::new(black_box(NovoGradConfig::DEFAULT));
    if let Ok(novograd) = novograd.and_then(|novograd| novograd.with_policy(policy)) {
        steps(&novograd, [a, b, c]);
    }
    if cfg!(feature = "control") {
        a[black_box(1000)] = 1.0;
    }
    loop {}
}
