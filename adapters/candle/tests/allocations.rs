//! A step allocates nothing beyond what candle's in-place operations allocate, however long the variables are.

mod common;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, Var};
use candle_nn::Optimizer as _;
use common::{CPU, numbers, optimizers, store, variable};
use layerwise::{NonFinite, Policy};
use layerwise_candle::Layerwise;
use std::alloc::{GlobalAlloc, System};
use std::cell::Cell;

/// An allocator that counts the allocations of each thread.
struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is forwarded unchanged to the system's allocator.
#[allow(unsafe_code, reason = "an allocator is unsafe by nature")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        BYTES.set(BYTES.get() + layout.size());
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: std::alloc::Layout) {
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts the allocations and bytes of a call.
fn allocated(run: impl FnOnce() -> Result<()>) -> Result<(usize, usize)> {
    let before = (CALLS.get(), BYTES.get());
    run()?;
    Ok((CALLS.get() - before.0, BYTES.get() - before.1))
}

/// The in-place operation that does nothing.
struct Nothing;

impl InplaceOp1 for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_step_allocates_no_more_than_candle() -> Result<()> {
    let clip = Policy { clip_norm: Some(1.0), ..Policy::DEFAULT };
    let skip = Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT };
    for (name, optimizer) in optimizers() {
        // A layer is lent once for the check and once for the step; with a clip also for measuring, and if a step may
        // be skipped also for planning.
        let [clip, skip] = [clip, skip].map(|policy| optimizer.with_policy(policy).ok());
        let lent = [(Some(optimizer), 2), (clip, 3), (skip, 4)];
        for (optimizer, times) in lent.into_iter().filter_map(|(optimizer, times)| Some((optimizer?, times))) {
            for len in [10, 10_000] {
                let vars = [variable(&[len, 3], 1)?, variable(&[len], 2)?];
                let of_candle = allocated(|| vars.iter().try_for_each(|var| var.inplace_op1(&Nothing)))?;
                let gradient = |var: &Var| Tensor::from_vec(numbers(var.elem_count(), 3), var.shape(), &CPU);
                let grads = store([(&vars[0], gradient(&vars[0])?), (&vars[1], gradient(&vars[1])?)])?;
                let mut ours = Layerwise::new(vars.to_vec(), (optimizer, 0.01))?;
                for _ in 0..3 {
                    let of_ours = allocated(|| ours.step(&grads))?;
                    assert_eq!(of_ours, (times * of_candle.0, times * of_candle.1), "{name}");
                }
            }
        }
    }
    Ok(())
}
