//! Links only if nothing in the library can panic: the panic handler calls a function that does not exist. Every public
//! function that does work is called with numbers and lengths that the compiler does not know.
//!
//! With the feature `control` there is a panic, and it must not link.

#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
use layerwise::pieces::{LayerView, SUMS, chunk, fold_leaf_sums, leaf_sums};
use layerwise::rule::{Norms, Rule, RuleState};
use layerwise::{
    CarriedNorms, Error, FlatModel, Floats, FloatsMut, GradientSum, Larc, LarcConfig, LayerConfig, LayerMemory,
    LayerSpan, Layers, Model, NovoGrad, NovoGradConfig, Optimizer, Policy, Report, Sgd, SgdConfig, Step, accumulate,
    accumulate_finite, accumulate_model, floats, floats_mut, l2_norm, lecun_rate, max_norm, sum_of_squares,
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

type Arrays<'a> = [&'a mut [f32]; 3];

/// A host's own model: one layer, lent or not.
struct Lent<'a, S>(Option<LayerMemory<'a, S>>);

impl<S> Model<S> for Lent<'_, S> {
    fn count(&self) -> usize {
        black_box(1)
    }

    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>)) {
        if let (Some(layer), true) = (&mut self.0, black_box(index == 0)) {
            visit(layer.reborrow());
        }
    }
}

/// Whole steps, of one layer and of every kind of model.
fn steps<R: Rule>(optimizer: &Optimizer<R>, [a, b, c]: Arrays) {
    let step = black_box(Step::new(0.1).gradient_scale(0.5));
    let (mut states, mut norms, mut reports) =
        ([R::State::default(); 2], [CarriedNorms::new(); 2], [Report::default(); 2]);
    let (states, norms, reports) = (black_box(&mut states), unknown(&mut norms), unknown(&mut reports));
    let config = black_box(LayerConfig::DEFAULT);
    _ = black_box((optimizer.moments(), optimizer.policy(), states[0].to_numbers()));
    _ = black_box(R::State::from_numbers(black_box([0.0; 3])));
    _ = black_box(optimizer.step_layer(0.1, LayerMemory::new(&mut *a, &*b, &mut states[0]).momentum(&mut *c)));

    let [state, other_state] = &mut *states;
    let layer = LayerMemory::new(&mut *a, &*b, state).momentum(&mut *c).config(config);
    let layer = if let Some(norms) = norms.first_mut() { layer.norms(norms) } else { layer };
    let mut layers = [layer, LayerMemory::new(&mut [0.0; 0], &[0.0; 0], other_state)];
    _ = black_box(optimizer.step(step, &mut layers, reports));
    _ = black_box(optimizer.step(step, unknown(&mut layers), reports));
    let [layer, _] = layers;
    _ = black_box(optimizer.step(step, &mut Lent(black_box(Some(layer))), reports));

    let mut spans = LayerSpan::contiguous(black_box([10, 20]));
    let spans = unknown(&mut spans);
    for (span, next) in spans.iter_mut().zip(LayerSpan::follow(black_box([10, 20]))) {
        *span = next.config(config);
    }
    for layers in [Layers::new(spans, black_box(30)), Layers::with_gaps(spans, black_box(100))] {
        let Ok(layers) = layers else { continue };
        let model = FlatModel::new(&layers, &mut *a, &*b, unknown(states));
        let mut model = model.momentum(&mut *c).norms(&mut *norms);
        _ = black_box(optimizer.step(step, &mut model, reports));
        _ = black_box(model.get(black_box(1)));
    }
    _ = black_box(pieces(optimizer, [a, b, c], &config));
}

/// The same step in pieces: of a whole layer, and of a chunk.
fn pieces<R: Rule>(optimizer: &Optimizer<R>, [a, b, c]: Arrays, config: &LayerConfig) -> Result<bool, Error> {
    let (mut sums, mut step_sums) = ([[0.0; SUMS]; 4], [0.0; 4]);
    let (sums, step_sums) = (unknown(&mut sums), unknown(&mut step_sums));
    let mut state = black_box(R::State::default());
    let start = chunk(black_box(100), black_box(0), black_box(2)).start;

    let mut pass = optimizer.pass(black_box(0.1))?;
    let view = LayerView::new(&*a, &*b).momentum(&*c).config(*config).norms(&black_box(CarriedNorms::new()));
    let whole = pass.measure(view)?;
    pass.leaf_sums(view, start, sums)?;
    let measured = pass.fold(config, a.len(), sums)?;
    let mut decided = pass.decide();
    _ = black_box((decided.clip(), decided.skips(), decided.gradient_norm()));
    let mut planned = decided.plan(measured, config, state);
    if planned.needs_step() {
        planned.step_leaf_sums(view, start, step_sums)?;
        planned = decided.limit(planned, step_sums)?;
    }
    decided.confirm(&planned);
    let layer = LayerMemory::new(&mut *a, &*b, &mut state).momentum(&mut *c);
    _ = black_box(layer.view());
    _ = black_box(decided.apply(whole, layer)?);
    let finite = planned.apply(LayerMemory::new(a, b, &mut ()).momentum(c))?;
    _ = black_box(planned.report());
    Ok(finite)
}

/// Norms and sums of slices.
fn slices([a, b, _]: Arrays) {
    let scale = black_box(1.0);
    let (mut sums, mut bytes, mut norms) = ([0.0_f64; 4], [0_u8; 101], CarriedNorms::new());
    let (sums, bytes) = (unknown(&mut sums), unknown(&mut bytes));
    norms.set_gradient(black_box(1.0));
    norms.set_weights(black_box(1.0));
    _ = black_box((norms.gradient(), norms.weights()));
    _ = black_box((l2_norm(&*a), max_norm(&*a), sum_of_squares(&*a), lecun_rate(black_box(9))));
    _ = black_box((leaf_sums(&*a, black_box(0), sums), fold_leaf_sums(sums)));
    _ = black_box((accumulate(&mut *a, &*b, scale), accumulate_finite(&mut *a, &*b, scale)));
    let mut layers = [GradientSum::new(&mut *a, &*b).norms(&mut norms)];
    _ = black_box(accumulate_model(unknown(&mut layers), scale));
    _ = black_box((floats(bytes).map(l2_norm), floats_mut(bytes).map(|x| l2_norm(x))));
    _ = black_box(Floats::from(&*b).get(black_box(1..9)));
    let mut whole = FloatsMut::from(&mut *a);
    _ = black_box((whole.as_floats().len(), whole.get(black_box(1..9)).is_some()));
    _ = black_box(whole.split_at(black_box(5)));
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let [mut a, mut b, mut c] = [[0.0_f32; 100]; 3];
    let [a, b, c] = [unknown(&mut a), unknown(&mut b), unknown(&mut c)];
    slices([a, b, c]);
    let larc = black_box(LarcConfig::OPTAX);
    if let Ok(larc) = Larc::new(larc) {
        _ = black_box((larc.needs(black_box(0.1)), larc.factor(black_box(0.1), 0.0, &black_box(Norms::new(1.0, 2.0)))));
        _ = black_box(larc.scale_gradients(black_box(0.1), black_box(0.1), a, b));
    }
    let policy = black_box(Policy::DEFAULT);
    let sgd = Sgd::new(black_box(SgdConfig { larc: Some(larc), ..SgdConfig::DEFAULT }));
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
