//! No call allocates.

use layerwise::{Larc, LarcConfig, Luc, NovoGrad, NovoGradConfig, NovoGradState, Sgd, SgdConfig, SgdState, l2_norm};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// The allocations of this thread; the test harness has others, which allocate when they like.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn allocations() -> usize {
    ALLOCATIONS.get()
}

#[allow(unsafe_code)]
// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // While a thread ends, its counter may be gone.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
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

#[test]
fn no_step_allocates() {
    let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
    let sgd = Sgd::new(SgdConfig { momentum: 0.9, larc: Some(larc), ..SgdConfig::DEFAULT }).unwrap();
    let novograd = NovoGrad::new(NovoGradConfig { luc: Some(Luc::DEFAULT), ..NovoGradConfig::DEFAULT }).unwrap();
    let (mut weights, mut momentum) = (vec![0.5_f32; 100_003], vec![0.0; 100_003]);
    let mut gradients = vec![0.25; 100_003];
    let (mut sgd_state, mut novograd_state) = (SgdState::default(), NovoGradState::default());

    let before = allocations();
    for scale in [1.0, 1e30, 1e-30, f32::NAN] {
        gradients[7] = scale;
        sgd.step_layer(0.1, &mut weights, &gradients, &mut momentum, &mut sgd_state).unwrap();
        novograd.step_layer(0.1, &mut weights, &gradients, &mut momentum, &mut novograd_state).unwrap();
        larc.scale_gradients(0.1, 0.01, &weights, &mut gradients).unwrap();
        std::hint::black_box(l2_norm(&weights));
        assert!(sgd.step_layer(-1.0, &mut weights, &gradients, &mut momentum, &mut sgd_state).is_err());
    }
    assert_eq!(allocations(), before);

    // The counter counts.
    drop(std::hint::black_box(Box::new(1)));
    assert!(allocations() > before);
}
