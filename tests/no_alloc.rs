//! No call allocates, except those of `Memory`, which may allocate the list of layers that they lend.

mod harness;
mod reference;

use harness::optimizers::{lamb, larc, luc, skipping};
use layerwise::pieces::{
    LEAF, LayerView, SUMS, Tree, add as add_vector, chunk, fold_leaf_sums, leaf_sums, subtree_sums,
};
use layerwise::rule::{Moments, Rule};
use layerwise::{
    CarriedNorms, FlatModel, GradientSum, Larc, LarcConfig, LayerConfig, LayerMemory, LayerSpan, Layers, Model,
    NovoGradState, Optimizer, Report, SgdState, Step, accumulate, accumulate_finite, accumulate_model, l2_norm,
    max_norm,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

/// The allocations of all threads that are watched.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread's allocations count: the test harness has threads too, which allocate when they like.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// The number of allocations that the watched threads make during a call.
fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    let watched = WATCHED.replace(true);
    run();
    WATCHED.set(watched);
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

#[allow(unsafe_code)]
// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // The variable may be gone while a thread ends.
        if WATCHED.try_with(Cell::get).unwrap_or(false) {
            ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        }
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LENGTHS: [usize; 6] = [1, 2, 250_000, 0, 3, 49_997];
const LEN: usize = 300_003;

/// One test, because there is one counter.
#[test]
fn no_call_allocates() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1, "the counter counts");
    no_step_of_a_layer_allocates();
    no_step_of_a_model_allocates(&larc());
    no_step_of_a_model_allocates(&luc());
    no_step_of_a_model_allocates(&skipping(luc()));
    no_step_of_a_model_allocates(&skipping(lamb()));
    no_step_of_a_model_allocates(&skipping(lamb().any()));
    no_step_in_pieces_allocates();
    no_sum_allocates();
    #[cfg(feature = "alloc")]
    a_memory_allocates_as_it_says();
}

fn no_step_of_a_layer_allocates() {
    let (sgd, novograd, front) = (larc(), luc(), Larc::new(LarcConfig::DEFAULT).unwrap());
    let (mut weights, mut momentum, mut gradients) = (vec![0.5_f32; LEN], vec![0.0; LEN], vec![0.25; LEN]);
    let (mut sgd_state, mut novograd_state) = (SgdState::default(), NovoGradState::default());
    let count = allocations(|| {
        for scale in [1.0, 1e30, 1e-30, f32::NAN] {
            gradients[7] = scale;
            let layer = LayerMemory::new(&mut weights, &gradients, &mut sgd_state);
            sgd.step_layer(0.1, layer.momentum(&mut momentum)).unwrap();
            let layer = LayerMemory::new(&mut weights, &gradients, &mut novograd_state);
            novograd.step_layer(Step::new(0.1).gradient_scale(0.5), layer.momentum(&mut momentum)).unwrap();
            front.scale_gradients(0.1, 0.01, &weights, &mut gradients).unwrap();
            std::hint::black_box((l2_norm(&weights), max_norm(&weights)));
            let layer = LayerMemory::new(&mut weights, &gradients, &mut sgd_state);
            assert!(sgd.step_layer(-1.0, layer.momentum(&mut momentum)).is_err());
            assert!(sgd.step_layer(0.1, LayerMemory::new(&mut weights, &gradients, &mut sgd_state)).is_err());
        }
    });
    assert_eq!(count, 0);
}

/// A host's own type, which lends the layers of a flat model.
struct Lent<'m, 'a, S>(&'m mut FlatModel<'a, S>);

impl<S> Model<S> for Lent<'_, '_, S> {
    fn count(&self) -> usize {
        self.0.count()
    }

    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>)) {
        self.0.layer(index, visit);
    }
}

fn no_step_of_a_model_allocates<R: Rule + Sync>(optimizer: &Optimizer<R>) {
    let spans = LayerSpan::contiguous(LENGTHS);
    let layers = Layers::new(&spans, LEN).unwrap();
    let (mut weights, mut momentum, gradients) = (vec![0.5_f32; LEN], vec![0.0; LEN], vec![0.25; LEN]);
    let mut second_moment = vec![0.0; if optimizer.moments() == Moments::FirstAndSecond { LEN } else { 0 }];
    let (mut states, mut norms) = ([R::State::default(); 6], [CarriedNorms::default(); 6]);
    let mut reports = [Report::ABSENT; 6];
    let mut steps = || {
        let model = FlatModel::new(&layers, &mut weights, &gradients, &mut states);
        let mut model = model.momentum(&mut momentum).second_moment(&mut second_moment).norms(&mut norms);
        optimizer.step(0.1, &mut model, &mut reports).unwrap();
        optimizer.step(0.1, &mut Lent(&mut model), &mut reports).unwrap();
        assert!(optimizer.step(-1.0, &mut model, &mut reports).is_err());
        let layer = LayerMemory::new(&mut weights, &gradients, &mut states[0]).momentum(&mut momentum);
        let layer = layer.second_moment(&mut second_moment);
        optimizer.step(0.1, &mut [layer], &mut reports[..1]).unwrap();
        norms.iter_mut().for_each(CarriedNorms::forget_weights);
    };
    assert_eq!(allocations(&mut steps), 0);

    #[cfg(feature = "rayon")]
    {
        let mut steps = || {
            let model = FlatModel::new(&layers, &mut weights, &gradients, &mut states).momentum(&mut momentum);
            let model = model.second_moment(&mut second_moment);
            optimizer.step_parallel(0.1, &mut model.norms(&mut norms), &mut reports).unwrap();
            norms.iter_mut().for_each(CarriedNorms::forget_weights);
            let layer = LayerMemory::new(&mut weights, &gradients, &mut states[0]).momentum(&mut momentum);
            let layer = layer.second_moment(&mut second_moment);
            optimizer.step_parallel(0.1, &mut [layer], &mut reports[..1]).unwrap();
        };
        on_threads(&mut steps);
    }
}

/// Watched threads. They are kept, because a thread that ends may allocate.
#[cfg(feature = "rayon")]
static POOL: std::sync::LazyLock<rayon::ThreadPool> = std::sync::LazyLock::new(|| {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).start_handler(|_| WATCHED.set(true));
    pool.build().unwrap()
});

/// Fails if a call allocates on the threads of a pool.
///
/// Rayon itself allocates once when a thread first takes work from another. A call that allocates would do so in every
/// round.
#[cfg(feature = "rayon")]
fn on_threads(call: &mut (impl FnMut() + Send)) {
    let counts: Vec<_> = POOL.install(|| (0..20).map(|_| allocations(|| (0..10).for_each(|_| call()))).collect());
    assert!(counts.contains(&0), "{counts:?}");
}

fn no_step_in_pieces_allocates() {
    let optimizer = skipping(luc());
    let (mut weights, mut momentum, gradients) = (vec![0.5_f32; LEN], vec![0.0; LEN], vec![0.25; LEN]);
    let (mut state, config) = (NovoGradState::default(), LayerConfig::DEFAULT);
    let leaves = LEN.div_ceil(LEAF);
    let (mut sums, mut step_sums) = (vec![[0.0; SUMS]; leaves], vec![0.0; leaves]);
    let pieces = [0, 1, 2].map(|worker| chunk(LEN, worker, 3));
    let count = allocations(|| {
        let mut pass = optimizer.pass(0.1).unwrap();
        let measured = pass.measure(LayerView::new(&weights, &gradients).momentum(&momentum)).unwrap();
        let layer = LayerMemory::new(&mut weights, &gradients, &mut state).momentum(&mut momentum);
        pass.decide().apply(measured, layer).unwrap();

        let mut pass = optimizer.pass(0.1).unwrap();
        for piece in pieces.clone() {
            let (w, g, m) = (&weights[piece.clone()], &gradients[piece.clone()], &momentum[piece.clone()]);
            let sums = &mut sums[piece.start / LEAF..piece.end.div_ceil(LEAF)];
            pass.leaf_sums(LayerView::new(w, g).momentum(m), piece.start, sums).unwrap();
        }
        let measured = pass.fold(&config, weights.len(), &sums).unwrap();
        let decided = pass.decide();
        let planned = decided.plan(measured, &config, state).unwrap();
        for piece in pieces.clone() {
            let (w, g, m) = (&weights[piece.clone()], &gradients[piece.clone()], &momentum[piece.clone()]);
            let sums = &mut step_sums[piece.start / LEAF..piece.end.div_ceil(LEAF)];
            planned.step_leaf_sums(LayerView::new(w, g).momentum(m), piece.start, sums).unwrap();
        }
        let planned = decided.limit(planned, &step_sums).unwrap();
        for piece in pieces.clone() {
            let (w, g, m) = (&mut weights[piece.clone()], &gradients[piece.clone()], &mut momentum[piece]);
            assert!(planned.apply(LayerMemory::new(w, g, &mut ()).momentum(m)).unwrap());
        }
        state = planned.report().1;
        leaf_sums(&weights, 0, &mut step_sums).unwrap();
        std::hint::black_box(fold_leaf_sums(&step_sums));
    });
    assert_eq!((count, state.steps), (0, 2));
    let (view, tree) = (LayerView::new(&weights, &gradients).momentum(&momentum), Tree::of_len(LEN));
    let count = allocations(|| {
        let mut pass = optimizer.pass(0.1).unwrap();
        pass.subtree_sums(view, LEN, 0, &mut sums[..1]).unwrap();
        let all = || tree.cover(0..leaves);
        let measured = pass.fold_subtrees(&config, LEN, all().zip([sums[0]])).unwrap();
        let decided = pass.decide();
        let planned = decided.plan(measured, &config, state).unwrap();
        planned.step_subtree_sums(view, 0, &mut step_sums[..1]).unwrap();
        let planned = decided.limit_subtrees(planned, all().zip([step_sums[0]])).unwrap();
        subtree_sums(&weights[LEAF..], LEN, LEAF, &mut step_sums[..tree.cover(1..leaves).len()]).unwrap();
        assert!(planned.report().0.applied() && !tree.share(2, 7).is_empty());
    });
    assert_eq!(count, 0);
}

fn no_sum_allocates() {
    let (mut sum, gradients, mut norms) = (vec![0.5_f32; LEN], vec![0.25; LEN], CarriedNorms::new());
    let mut add = || {
        accumulate(&mut sum, &gradients, 0.5).unwrap();
        accumulate_finite(&mut sum, &gradients, 0.5).unwrap();
        add_vector(&mut sum, &gradients).unwrap();
        accumulate_model(&mut [GradientSum::new(&mut sum, &gradients).norms(&mut norms)], 0.5).unwrap();
        #[cfg(feature = "rayon")]
        layerwise::accumulate_model_parallel(&mut [GradientSum::new(&mut sum, &gradients)], 0.5).unwrap();
    };
    #[cfg(feature = "rayon")]
    on_threads(&mut add);
    #[cfg(not(feature = "rayon"))]
    assert_eq!(allocations(&mut add), 0);
}

#[cfg(feature = "alloc")]
fn a_memory_allocates_as_it_says() {
    let (optimizer, gradients) = (larc(), LENGTHS.map(|len| vec![0.25; len]));
    let mut weights = LENGTHS.map(|len| vec![0.5_f32; len]);
    let mut memory = optimizer.memory(LENGTHS);
    let list = allocations(|| drop(memory.layers(weights.iter_mut().zip(&gradients)).unwrap()));
    assert_eq!(list, 1);
    let step = allocations(|| {
        memory.step(&optimizer, 0.1, weights.iter_mut().zip(&gradients)).unwrap();
    });
    assert_eq!(step, list, "a step allocates the list and nothing else");
    let one_by_one = allocations(|| {
        for (layer, (w, g)) in weights.iter_mut().zip(&gradients).enumerate() {
            optimizer.step_layer(0.1, memory.layer(layer, w, g).unwrap()).unwrap();
        }
    });
    assert_eq!(one_by_one, 0);
    #[cfg(feature = "half")]
    a_memory_of_16_bits_allocates_no_more();
}

#[cfg(all(feature = "half", feature = "alloc"))]
fn a_memory_of_16_bits_allocates_no_more() {
    use half::bf16;
    let (optimizer, gradients) = (larc(), LENGTHS.map(|len| vec![bf16::ONE; len]));
    let (mut weights, mut masters) = (LENGTHS.map(|len| vec![bf16::ONE; len]), vec![0.0; LENGTHS[2]]);
    let mut memory = optimizer.memory(LENGTHS).bf16_momentum().split_weights(|_| true);
    let step = allocations(|| {
        memory.step(&optimizer, 0.1, weights.iter_mut().zip(&gradients)).unwrap();
    });
    let join = allocations(|| memory.join(2, &weights[2], &mut masters).unwrap());
    assert_eq!((step, join), (1, 0));
}
