//! Links only if nothing in the library can panic: the panic handler calls a function that does not exist. Every public
//! function that does work is called with numbers and lengths that are unknown to the compiler. With the feature `half`
//! the element types are unknown too.
//!
//! With the feature `control` there is a panic, and it must not link.

#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
#[cfg(feature = "half")]
use half::{bf16, f16};
use layerwise::pieces::{LayerView, SUMS, Tree, add, chunk, fold_leaf_sums, leaf_sums, subtree_sums};
use layerwise::rule::{Norms, Rule, RuleState};
use layerwise::{
    Adam, AdamConfig, CarriedNorms, Error, FlatModel, Floats, FloatsMut, GradientSum, Larc, LarcConfig, LayerConfig,
    LayerMemory, LayerSpan, Layers, Model, NovoGrad, NovoGradConfig, Optimizer, Policy, Report, Sgd, SgdConfig, Step,
    accumulate, accumulate_finite, accumulate_model, floats, floats_mut, l2_norm, lecun_rate, max_norm, sum_of_squares,
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

const LEN: usize = 100;

/// The arrays of a host, in every type. One type is lent.
struct Host {
    weights: [f32; LEN],
    gradients: [f32; LEN],
    momentum: [f32; LEN],
    second_moment: [f32; LEN],
    #[cfg(feature = "half")]
    halves: Halves,
}

/// The same in 16 bits.
#[cfg(feature = "half")]
struct Halves {
    upper: [bf16; LEN],
    lower: [u16; LEN],
    gradients: ([bf16; LEN], [f16; LEN]),
    momentum: [bf16; LEN],
    copy: ([bf16; LEN], [f16; LEN]),
}

/// The arrays that are lent. (The compiler does not know their type.)
struct Arrays<'a> {
    weights: FloatsMut<'a>,
    gradients: Floats<'a>,
    momentum: FloatsMut<'a>,
    second_moment: &'a mut [f32],
    #[cfg(feature = "half")]
    lower: Option<&'a mut [u16]>,
    #[cfg(feature = "half")]
    copy: Option<FloatsMut<'a>>,
}

impl Host {
    const ZEROS: Host = Host {
        weights: [0.0; LEN],
        gradients: [0.0; LEN],
        momentum: [0.0; LEN],
        second_moment: [0.0; LEN],
        #[cfg(feature = "half")]
        halves: Halves {
            upper: [bf16::ZERO; LEN],
            lower: [0; LEN],
            gradients: ([bf16::ZERO; LEN], [f16::ZERO; LEN]),
            momentum: [bf16::ZERO; LEN],
            copy: ([bf16::ZERO; LEN], [f16::ZERO; LEN]),
        },
    };

    #[cfg(not(feature = "half"))]
    fn lend(&mut self) -> Arrays<'_> {
        Arrays {
            weights: unknown(&mut self.weights).into(),
            gradients: unknown(&mut self.gradients).into(),
            momentum: unknown(&mut self.momentum).into(),
            second_moment: unknown(&mut self.second_moment),
        }
    }

    #[cfg(feature = "half")]
    fn lend(&mut self) -> Arrays<'_> {
        let Halves { upper, lower, gradients: (bf16_gradients, f16_gradients), momentum, copy } = &mut self.halves;
        let choice = || black_box(0);
        let (weights, lower) = match choice() {
            0 => (unknown(&mut self.weights).into(), None),
            _ => (unknown(upper).into(), Some(unknown(lower))),
        };
        let gradients = match choice() {
            0 => unknown(&mut self.gradients).into(),
            1 => unknown(bf16_gradients).into(),
            _ => unknown(f16_gradients).into(),
        };
        let momentum = match choice() {
            0 => unknown(&mut self.momentum).into(),
            _ => unknown(momentum).into(),
        };
        let copy = match choice() {
            0 => None,
            1 => Some(unknown(&mut copy.0).into()),
            _ => Some(unknown(&mut copy.1).into()),
        };
        Arrays { weights, gradients, momentum, second_moment: unknown(&mut self.second_moment), lower, copy }
    }
}

impl<'a> Arrays<'a> {
    fn reborrow(&mut self) -> Arrays<'_> {
        Arrays {
            weights: self.weights.reborrow(),
            gradients: self.gradients,
            momentum: self.momentum.reborrow(),
            second_moment: self.second_moment,
            #[cfg(feature = "half")]
            lower: self.lower.as_deref_mut(),
            #[cfg(feature = "half")]
            copy: self.copy.as_mut().map(FloatsMut::reborrow),
        }
    }

    fn layer<S>(self, state: &'a mut S) -> LayerMemory<'a, S> {
        let layer = LayerMemory::new(self.weights, self.gradients, state);
        let layer = layer.momentum(self.momentum).second_moment(self.second_moment);
        #[cfg(feature = "half")]
        let layer = if let Some(lower) = self.lower { layer.lower(lower) } else { layer };
        #[cfg(feature = "half")]
        let layer = match self.copy {
            Some(copy) if black_box(true) => layer.copy(copy),
            Some(copy) => layer.saturating_copy(copy),
            None => layer,
        };
        layer
    }

    fn view(&self) -> LayerView<'_> {
        let view = LayerView::new(self.weights.as_floats(), self.gradients);
        let view = view.momentum(self.momentum.as_floats()).second_moment(&*self.second_moment);
        #[cfg(feature = "half")]
        let view = if let Some(lower) = self.lower.as_deref() { view.lower(lower) } else { view };
        view
    }

    fn model<S>(self, layers: &Layers<'a>, states: &'a mut [S]) -> FlatModel<'a, S> {
        let model = FlatModel::new(layers, self.weights, self.gradients, states);
        let model = model.momentum(self.momentum).second_moment(self.second_moment);
        #[cfg(feature = "half")]
        let model = if let Some(lower) = self.lower { model.lower(lower) } else { model };
        #[cfg(feature = "half")]
        let model = match self.copy {
            Some(copy) if black_box(true) => model.copy(copy),
            Some(copy) => model.saturating_copy(copy),
            None => model,
        };
        model
    }
}

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
fn steps<R: Rule>(optimizer: &Optimizer<R>, mut arrays: Arrays) {
    let step = black_box(Step::new(0.1).gradient_scale(0.5));
    let (mut states, mut norms, mut reports) =
        ([R::State::default(); 2], [CarriedNorms::new(); 2], [Report::default(); 2]);
    let (states, norms, reports) = (black_box(&mut states), unknown(&mut norms), unknown(&mut reports));
    let config = black_box(LayerConfig::DEFAULT);
    _ = black_box((optimizer.moments(), optimizer.policy(), states[0].to_numbers()));
    _ = black_box(R::State::from_numbers(black_box([0.0; 3])));
    _ = black_box(optimizer.step_layer(0.1, arrays.reborrow().layer(&mut states[0])));

    let [state, other_state] = &mut *states;
    let layer = arrays.reborrow().layer(state).config(config);
    let layer = if let Some(norms) = norms.first_mut() { layer.norms(norms) } else { layer };
    let mut layers = [layer, LayerMemory::new(&mut [0.0; 0], &[0.0; 0], other_state)];
    // (Each call compiles the loops of all types, which takes long. These calls add no other code.)
    if cfg!(not(feature = "half")) {
        _ = black_box(optimizer.step(step, &mut layers, reports));
    }
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
        let mut model = arrays.reborrow().model(&layers, unknown(states)).norms(&mut *norms);
        _ = black_box(optimizer.step(step, &mut model, reports));
        _ = black_box(model.get(black_box(1)));
    }
    _ = black_box(pieces(optimizer, arrays, &config));
}

/// The same step in pieces: of a whole layer, and of a chunk.
fn pieces<R: Rule>(optimizer: &Optimizer<R>, mut arrays: Arrays, config: &LayerConfig) -> Result<bool, Error> {
    let (mut sums, mut step_sums) = ([[0.0; SUMS]; 4], [0.0; 4]);
    let (sums, step_sums) = (unknown(&mut sums), unknown(&mut step_sums));
    let mut state = black_box(R::State::default());
    let start = chunk(black_box(100), black_box(0), black_box(2)).start;

    let mut pass = optimizer.pass(black_box(0.1))?;
    let view = arrays.view().config(*config).norms(&black_box(CarriedNorms::new()));
    let whole = pass.measure(view)?;
    pass.leaf_sums(view, start, sums)?;
    let measured = pass.fold(config, arrays.weights.len(), sums)?;
    pass.subtree_sums(view, black_box(100), start, sums)?;
    let nodes = || Tree::of_len(black_box(100)).cover(black_box(0..1));
    _ = black_box(pass.fold_subtrees(config, black_box(100), nodes().zip(sums.iter().copied()))?);
    let mut decided = pass.decide();
    _ = black_box((decided.clip(), decided.skips(), decided.gradient_norm()));
    let mut planned = decided.plan(measured, config, state)?;
    if planned.needs_step() {
        planned.step_leaf_sums(view, start, step_sums)?;
        planned = decided.limit(planned, step_sums)?;
    }
    if planned.needs_step() {
        planned.step_subtree_sums(view, start, step_sums)?;
        planned = decided.limit_subtrees(planned, nodes().zip(step_sums.iter().copied()))?;
    }
    decided.confirm(&planned)?;
    let layer = arrays.reborrow().layer(&mut state);
    _ = black_box(layer.view());
    _ = black_box(decided.apply(whole, layer)?);
    let finite = planned.apply(arrays.layer(&mut ()))?;
    _ = black_box(planned.report());
    Ok(finite)
}

/// Norms and sums of slices.
fn slices(Arrays { weights: mut a, gradients: b, momentum: c, .. }: Arrays) {
    let scale = black_box(1.0);
    let (mut sums, mut bytes, mut norms) = ([0.0_f64; 4], [0_u8; 101], CarriedNorms::new());
    let (sums, bytes) = (unknown(&mut sums), unknown(&mut bytes));
    norms.set_gradient(black_box(1.0));
    norms.set_weights(black_box(1.0));
    _ = black_box((norms.gradient(), norms.weights()));
    _ = black_box((l2_norm(b), max_norm(b), sum_of_squares(b), lecun_rate(black_box(9))));
    _ = black_box((leaf_sums(b, black_box(0), sums), fold_leaf_sums(sums)));
    let tree = black_box(Tree::new(9));
    _ = black_box((tree.share(black_box(1), black_box(3)), tree.merges(black_box(2)), tree.left(), tree.leaves()));
    _ = black_box((subtree_sums(b, black_box(100), black_box(0), sums), add(a.reborrow(), b)));
    let pieces = tree.cover(black_box(1..7)).zip(sums.iter().copied());
    _ = black_box(tree.fold(pieces, |left, right| left + right));
    _ = black_box((accumulate(a.reborrow(), b, scale), accumulate_finite(a.reborrow(), b, scale)));
    let mut layers = [GradientSum::new(a.reborrow(), b).norms(&mut norms)];
    _ = black_box(accumulate_model(unknown(&mut layers), scale));
    _ = black_box((floats(bytes).map(l2_norm), floats_mut(bytes).map(|x| l2_norm(x))));
    _ = black_box(b.get(black_box(1..9)));
    _ = black_box((a.as_floats().len(), a.get(black_box(1..9)).is_some()));
    _ = black_box((a.split_at(black_box(5)), c.split_at(black_box(5))));
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut host = Host::ZEROS;
    slices(host.lend());
    let larc = black_box(LarcConfig::OPTAX);
    if let Ok(larc) = Larc::new(larc) {
        _ = black_box((larc.needs(black_box(0.1)), larc.factor(black_box(0.1), 0.0, &black_box(Norms::new(1.0, 2.0)))));
        let (weights, gradients) = (unknown(&mut host.weights), unknown(&mut host.gradients));
        _ = black_box(larc.scale_gradients(black_box(0.1), black_box(0.1), weights, gradients));
    }
    let policy = black_box(Policy::DEFAULT);
    let sgd = Sgd::new(black_box(SgdConfig { larc: Some(larc), ..SgdConfig::DEFAULT }));
    if let Ok(sgd) = sgd.and_then(|sgd| sgd.with_policy(policy)) {
        steps(&sgd, host.lend());
    }
    let novograd = NovoGrad::new(black_box(NovoGradConfig::DEFAULT));
    if let Ok(novograd) = novograd.and_then(|novograd| novograd.with_policy(policy)) {
        steps(&novograd, host.lend());
    }
    // The compiler does not know the settings, so this covers AdamW and LAMB too.
    let adam = Adam::new(black_box(AdamConfig { larc: Some(larc), ..AdamConfig::DEFAULT }));
    if let Ok(adam) = adam.and_then(|adam| adam.with_policy(policy)) {
        steps(&adam, host.lend());
        if cfg!(not(feature = "half")) {
            steps(&adam.any(), host.lend());
        }
    }
    if cfg!(feature = "control") {
        _ = black_box(host.weights[black_box(1000)]);
    }
    loop {}
}
