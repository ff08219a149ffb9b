//! No call allocates.

use layerwise::{
    CarriedNorms, Larc, LarcConfig, LayerSpan, Layers, Luc, ModelState, NovoGrad, NovoGradConfig, NovoGradState,
    Report, Sgd, SgdConfig, SgdState, accumulate, l2_norm,
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

/// How many allocations the watched threads make meanwhile.
fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    let watched = WATCHED.replace(true);
    run();
    WATCHED.set(watched);
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

#[allow(unsafe_code)]
// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // While a thread ends, its variable may be gone.
        if WATCHED.try_with(Cell::get).unwrap_or(false) {
            ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        }
        // SAFETY: the caller's promise is the one that `System` wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the one that `System` wants.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LEN: usize = 300_003;

fn larc() -> Sgd {
    let larc = Some(Larc::new(LarcConfig::DEFAULT).unwrap());
    Sgd::new(SgdConfig { momentum: 0.9, larc, ..SgdConfig::DEFAULT }).unwrap()
}

fn novograd() -> NovoGrad {
    NovoGrad::new(NovoGradConfig { luc: Some(Luc::DEFAULT), ..NovoGradConfig::DEFAULT }).unwrap()
}

/// One test, for there is one counter.
#[test]
fn no_call_allocates() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1, "the counter counts");
    no_step_of_a_layer_allocates();
    no_step_of_a_model_allocates();
}

fn no_step_of_a_layer_allocates() {
    let (sgd, novograd, front) = (larc(), novograd(), Larc::new(LarcConfig::DEFAULT).unwrap());
    let (mut weights, mut momentum, mut gradients) = (vec![0.5_f32; LEN], vec![0.0; LEN], vec![0.25; LEN]);
    let (mut sgd_state, mut novograd_state) = (SgdState::default(), NovoGradState::default());
    let count = allocations(|| {
        for scale in [1.0, 1e30, 1e-30, f32::NAN] {
            gradients[7] = scale;
            sgd.step_layer(0.1, &mut weights, &gradients, &mut momentum, &mut sgd_state).unwrap();
            novograd.step_layer(0.1, &mut weights, &gradients, &mut momentum, &mut novograd_state).unwrap();
            front.scale_gradients(0.1, 0.01, &weights, &mut gradients).unwrap();
            accumulate(&mut momentum, &gradients, 0.5).unwrap();
            std::hint::black_box(l2_norm(&weights));
            assert!(sgd.step_layer(-1.0, &mut weights, &gradients, &mut momentum, &mut sgd_state).is_err());
        }
    });
    assert_eq!(count, 0);
}

fn no_step_of_a_model_allocates() {
    let spans = LayerSpan::contiguous([1, 2, 250_000, 3, 49_997]);
    let layers = Layers::new(&spans, LEN).unwrap();
    let (mut weights, mut momentum, gradients) = (vec![0.5_f32; LEN], vec![0.0; LEN], vec![0.25; LEN]);
    let (mut states, mut norms) = ([SgdState::default(); 5], [CarriedNorms::default(); 5]);
    let mut reports = [Report::default(); 5];
    let optimizer = larc();
    let mut step = |parallel: bool| {
        let state = ModelState { momentum: &mut momentum, states: &mut states, norms: &mut norms };
        #[cfg(feature = "rayon")]
        if parallel {
            optimizer.step_parallel(0.1, &layers, &mut weights, &gradients, state, &mut reports).unwrap();
            return;
        }
        assert!(!parallel);
        optimizer.step(0.1, &layers, &mut weights, &gradients, state, &mut reports).unwrap();
    };
    assert_eq!(allocations(|| step(false)), 0);

    #[cfg(feature = "rayon")]
    {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).start_handler(|_| WATCHED.set(true));
        let pool = pool.build().unwrap();
        // Rayon itself allocates once when a thread first takes work from another. A step that allocates would do so in
        // every round.
        let counts: Vec<_> =
            pool.install(|| (0..20).map(|_| allocations(|| (0..10).for_each(|_| step(true)))).collect());
        assert!(counts.contains(&0), "{counts:?}");
    }
}
