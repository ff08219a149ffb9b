//! A step allocates nothing, neither over arrays nor inside a file.

mod common;

use common::{Directory, numbers, optimizers};
use layerwise::{NonFinite, Policy};
use layerwise_tensors::{Checkpoint, Error, Layerwise, gradient, pair};
use ndarray::{Array, Array1, Array4, ShapeBuilder};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;

/// An allocator that counts the allocations of each thread.
struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is forwarded unchanged to the system's allocator.
#[allow(unsafe_code, reason = "an allocator is unsafe by nature")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
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

#[test]
fn a_step_allocates_nothing() -> Result<(), Error> {
    let directory = Directory::new();
    let skip = Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT };
    for (name, optimizer) in optimizers() {
        for optimizer in [Some(optimizer), optimizer.with_policy(skip).ok()].into_iter().flatten() {
            let mut kernel = Array4::from_shape_vec((8, 3, 5, 5).f(), numbers(600, 1)).unwrap();
            let mut bias = Array1::from_vec(numbers(8, 2));
            let (of_kernel, of_bias) = (kernel.map(|x| x + 1.0), bias.map(|x| x - 1.0));
            let mut ours = Layerwise::new(optimizer, [("w", kernel.view().into_dyn()), ("b", bias.view().into_dyn())])?;
            let before = CALLS.get();
            for _ in 0..3 {
                ours.step(0.01, &mut [pair(&mut kernel, &of_kernel)?, pair(&mut bias, &of_bias)?])?;
            }
            assert_eq!(CALLS.get(), before, "{name}");

            if cfg!(target_endian = "big") {
                continue;
            }
            ours.save(directory.file("saved"), [kernel.view().into_dyn(), bias.view().into_dyn()])?;
            let mut file = Checkpoint::with_optimizer(fs::read(directory.file("saved"))?, optimizer)?;
            let of_kernel = Array::from_shape_vec((8, 3, 5, 5), numbers(600, 3)).unwrap();
            let before = CALLS.get();
            for _ in 0..3 {
                file.step(0.01, &[gradient(&of_kernel)?, gradient(&of_bias)?])?;
            }
            assert_eq!(CALLS.get(), before, "{name} in a file");
        }
    }
    assert!(CALLS.get() > 0, "nothing was counted");
    Ok(())
}
