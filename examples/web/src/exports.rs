//! The functions that the page calls. No address comes from the page: the module owns its arrays, and returns where to
//! put the digits. It never grows its memory, so the page's views stay valid.

// The only unsafe code: exported names, and access to static memory.
#![allow(unsafe_code)]

use crate::digits::{DIGITS, Digits, PIXELS};
use crate::training::{Refusal, TESTED, Training};
use core::cell::UnsafeCell;

struct Page {
    digits: Digits,
    training: Training,
}

struct Static(UnsafeCell<Page>);

#[cfg(target_feature = "atomics")]
compile_error!("this module is for one thread");

// SAFETY: a module without atomics has one thread.
unsafe impl Sync for Static {}

static PAGE: Static = Static(UnsafeCell::new(Page { digits: [[0; PIXELS + 1]; DIGITS], training: Training::new() }));

/// The only access to static memory. `run` must not call an export or the page.
fn page<T>(run: impl FnOnce(&mut Page) -> T) -> T {
    // SAFETY: there is one thread, and an export returns before another is called.
    run(unsafe { &mut *PAGE.0.get() })
}

/// Where the page puts the digits.
#[unsafe(no_mangle)]
extern "C" fn digits() -> *mut u8 {
    page(|page| page.digits.as_flattened_mut().as_mut_ptr())
}

/// How many bytes they are.
#[unsafe(no_mangle)]
extern "C" fn digits_len() -> usize {
    size_of::<Digits>()
}

/// Starts training; returns 0, or the number of a refusal.
#[unsafe(no_mangle)]
extern "C" fn start(optimizer: usize, lr: f64, epochs: usize) -> u32 {
    match page(|Page { training, digits }| training.start(optimizer, lr, epochs, digits)) {
        Ok(()) => 0,
        Err(Refusal::Optimizer) => 1,
        Err(Refusal::Rate) => 2,
        Err(Refusal::Epochs) => 3,
        Err(Refusal::Digits) => 4,
    }
}

/// Takes up to `steps` steps, and returns how many have been taken since the start.
#[unsafe(no_mangle)]
extern "C" fn train(steps: usize) -> usize {
    page(|Page { training, digits }| {
        let left = training.steps() - training.taken();
        (0..steps.min(left)).for_each(|_| training.step(digits));
        training.taken()
    })
}

/// Steps of the whole training.
#[unsafe(no_mangle)]
extern "C" fn steps() -> usize {
    page(|page| page.training.steps())
}

/// How many of the test digits are classified correctly.
#[unsafe(no_mangle)]
extern "C" fn right() -> usize {
    page(|Page { training, digits }| training.right(digits))
}

/// The number of test digits.
#[unsafe(no_mangle)]
extern "C" fn tested() -> usize {
    TESTED
}

/// A hash of the weights.
#[unsafe(no_mangle)]
extern "C" fn hash() -> u64 {
    page(|page| page.training.hash())
}

/// Repeats the optimizer's part of the last step, at the lowest rate, so that the page can time it. It spoils the
/// weights.
#[unsafe(no_mangle)]
extern "C" fn repeat_update(times: usize) {
    page(|page| (0..times).for_each(|_| page.training.update(1e-6)));
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
