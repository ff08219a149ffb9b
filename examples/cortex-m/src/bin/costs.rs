//! Counts instructions per element of norms and steps, compared with the loops that one would write without this crate.
//!
//! With the feature `half`, it counts the same steps with 16-bit momentum instead.
//!
//! With QEMU's `-icount shift=0` one instruction takes one nanosecond, so timers count instructions.

#![no_std]
#![no_main]
#![allow(clippy::deref_addrof)] // A reference to a mutable static is made by way of a pointer.

use core::hint::black_box;
use layerwise::{
    Adam, AdamConfig, AdamState, LarcConfig, LayerMemory, LayerSpan, NovoGrad, NovoGradConfig, NovoGradState, Report,
    Sgd, SgdConfig, SgdState, TrustRatio, l2_norm,
};
use layerwise_cortex_m::{adam, larc, novograd, sgd};
use moment::Moment;
use semihosting::{println, process};

const LEN: usize = 4096;

/// The element type of the momentum.
#[cfg(not(feature = "half"))]
mod moment {
    pub type Moment = f32;
    pub const ZERO: f32 = 0.0;

    pub fn get(m: f32) -> f32 {
        m
    }

    pub fn of(x: f32) -> f32 {
        x
    }
}
#[cfg(feature = "half")]
mod moment {
    pub type Moment = half::bf16;
    pub const ZERO: Moment = half::bf16::ZERO;

    pub fn get(m: Moment) -> f32 {
        m.to_f32()
    }

    pub fn of(x: f32) -> Moment {
        half::bf16::from_f32(x)
    }
}

struct Arrays {
    weights: [f32; LEN],
    gradients: [f32; LEN],
    momentum: [Moment; LEN],
    second_moment: [f32; LEN],
}

static mut ARRAYS: Arrays =
    Arrays { weights: [0.5; LEN], gradients: [0.25; LEN], momentum: [moment::ZERO; LEN], second_moment: [0.0; LEN] };

const LARC: Sgd = larc(LarcConfig::DEFAULT, 0.9);
const SGD: Sgd = sgd(SgdConfig::DEFAULT);
const NOVOGRAD: NovoGrad = novograd(NovoGradConfig { weight_decay: 0.001, ..NovoGradConfig::DEFAULT });
const ADAMW: Adam = adam(AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT });
const PLAIN_LARC: Sgd = larc(LarcConfig::DEFAULT, 0.0);
const PLAIN_NOVOGRAD: NovoGrad = novograd(NovoGradConfig { beta1: 0.0, ..*NOVOGRAD.config() });
const LAMB: Adam = adam(AdamConfig { trust_ratio: Some(TrustRatio::DEFAULT), ..*ADAMW.config() });

/// The obvious loop.
fn naive_norm(x: &[f32]) -> f32 {
    libm::sqrtf(x.iter().map(|x| x * x).sum::<f32>())
}

fn naive_larc(lr: f32, w: &mut [f32], g: &[f32], m: &mut [Moment]) {
    let local = 0.002 * naive_norm(w) / (naive_norm(g) + 1e-8);
    let factor = if local < lr { local / lr } else { 1.0 };
    for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
        let new = 0.9 * moment::get(*m) + factor * g;
        *m = moment::of(new);
        *w -= lr * new;
    }
}

fn naive_novograd(lr: f32, w: &mut [f32], g: &[f32], m: &mut [Moment], v: &mut f32) {
    let s = g.iter().map(|g| g * g).sum::<f32>();
    *v = if *v == 0.0 { s } else { 0.98 * *v + 0.02 * s };
    let scale = 1.0 / (libm::sqrtf(*v) + 1e-8);
    for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
        let new = 0.95 * moment::get(*m) + (scale * g + 0.001 * *w);
        *m = moment::of(new);
        *w -= lr * new;
    }
}

/// The bias corrections of moments that start at zero.
struct Start([f32; 2]);

impl Start {
    fn next(&mut self) -> [f32; 2] {
        let Start([beta1, beta2]) = self;
        (*beta1, *beta2) = (0.9 * *beta1, 0.999 * *beta2);
        [1.0 / (1.0 - *beta1), 1.0 / (1.0 - *beta2)]
    }
}

/// Updates the moments of an element and returns its step.
fn naive_adam(g: f32, m: &mut Moment, v: &mut f32, [c1, c2]: [f32; 2]) -> f32 {
    let new = 0.9 * moment::get(*m) + 0.1 * g;
    *m = moment::of(new);
    *v = 0.999 * *v + 0.001 * g * g;
    c1 * new / (libm::sqrtf(c2 * *v) + 1e-8)
}

fn naive_adamw(lr: f32, w: &mut [f32], g: &[f32], m: &mut [Moment], v: &mut [f32], start: &mut Start) {
    let start = start.next();
    for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        *w -= lr * (naive_adam(*g, m, v, start) + 0.01 * *w);
    }
}

/// The layer for all steps except plain gradient descent.
fn layer<'a, S>(w: &'a mut [f32], g: &'a [f32], m: &'a mut [Moment], state: &'a mut S) -> LayerMemory<'a, S> {
    LayerMemory::new(w, g, state).momentum(m)
}

#[cfg(all(feature = "c", not(feature = "half")))]
unsafe extern "C" {
    fn c_sgd(lr: f32, len: u32, weights: *mut f32, gradients: *const f32);
    fn c_sgd_momentum(lr: f32, momentum: f32, len: u32, weights: *mut f32, gradients: *const f32, velocity: *mut f32);
}

/// Gradient descent written in C.
#[cfg(all(feature = "c", not(feature = "half")))]
fn count_c(w: &mut [f32], g: &[f32], m: &mut [f32]) {
    let (len, lr) = (w.len() as u32, black_box(1e-3));
    // SAFETY: all three are as long as the weights.
    count("SGD, C", w.len(), || unsafe { c_sgd(lr, len, w.as_mut_ptr(), g.as_ptr()) });
    // SAFETY: as above.
    count("SGD with momentum, C", w.len(), || unsafe {
        c_sgd_momentum(lr, 0.9, len, w.as_mut_ptr(), g.as_ptr(), m.as_mut_ptr());
    });
}

#[cfg(not(all(feature = "c", not(feature = "half"))))]
fn count_c(_: &mut [f32], _: &[f32], _: &mut [Moment]) {}

/// A counter of instructions.
#[cfg(target_arch = "arm")]
mod counter {
    use cortex_m::peripheral::{Peripherals, SYST, syst::SystClkSource};

    /// Starts the timer, whose ticks are 40 instructions at the machine's 25 MHz.
    pub fn start() {
        if let Some(mut peripherals) = Peripherals::take() {
            peripherals.SYST.set_clock_source(SystClkSource::Core);
            peripherals.SYST.set_reload(0xff_ffff);
            peripherals.SYST.clear_current();
            peripherals.SYST.enable_counter();
        }
    }

    pub fn instructions(from: u32, to: u32) -> u32 {
        40 * (from.wrapping_sub(to) & 0xff_ffff)
    }

    pub fn now() -> u32 {
        SYST::get_current()
    }
}

#[cfg(target_arch = "riscv32")]
mod counter {
    pub fn start() {}

    pub fn instructions(from: u32, to: u32) -> u32 {
        to.wrapping_sub(from)
    }

    pub fn now() -> u32 {
        riscv::register::minstret::read() as u32
    }
}

/// Prints how many bytes of stack a function uses: those below this frame that it has overwritten.
#[cfg(target_arch = "arm")]
fn stack(name: &str, run: impl FnOnce()) {
    const BYTES: usize = 4096;
    const MARK: u32 = 0xa5c3_5a3c;
    let below = cortex_m::register::msp::read() as usize - BYTES;
    let words = core::ptr::with_exposed_provenance_mut::<u32>(below);
    for i in 0..BYTES / 4 {
        // SAFETY: the stack has megabytes below this frame, none of them in use.
        unsafe { words.add(i).write_volatile(MARK) };
    }
    run();
    // SAFETY: as above.
    let untouched = (0..BYTES / 4).take_while(|&i| unsafe { words.add(i).read_volatile() } == MARK).count();
    println!("{name}, bytes of stack\t\t{}", BYTES - 4 * untouched);
}

#[cfg(target_arch = "riscv32")]
fn stack(_: &str, _: impl FnOnce()) {}

/// Runs a function a few times and prints its cost per element, or in total if there are few elements.
fn count(name: &str, len: usize, mut run: impl FnMut()) {
    const TIMES: u32 = 8;
    run();
    let start = counter::now();
    for _ in 0..TIMES {
        run();
    }
    let instructions = counter::instructions(start, counter::now()) / TIMES;
    println!("{name}\t{len}\t{}.{:02}", instructions / len as u32, 100 * (instructions % len as u32) / len as u32);
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    counter::start();
    // SAFETY: this function runs once, and nothing else knows the arrays.
    let Arrays { weights, gradients, momentum, second_moment } = unsafe { &mut *&raw mut ARRAYS };
    let (larc, novograd, sgd, adamw, lamb) = black_box((LARC, NOVOGRAD, SGD, ADAMW, LAMB));
    let (plain_larc, plain_novograd) = black_box((PLAIN_LARC, PLAIN_NOVOGRAD));
    for len in [16, LEN] {
        let (w, g, m) = (&mut weights[..len], &gradients[..len], &mut momentum[..len]);
        let (v2, mut start, mut adam_state) = (&mut second_moment[..len], Start([1.0; 2]), AdamState::default());
        count_c(w, g, m);
        let (mut v, mut sgd_state, mut state) = (0.0, SgdState::default(), NovoGradState::default());
        count("norm, naive", len, || _ = black_box(naive_norm(black_box(g))));
        count("norm", len, || _ = black_box(l2_norm(black_box(g))));
        count("SGD", len, || _ = black_box(sgd.step_layer(1e-3, LayerMemory::new(&mut *w, g, &mut sgd_state))));
        count("LARC, naive", len, || naive_larc(black_box(1e-3), w, g, m));
        count("LARC", len, || _ = black_box(larc.step_layer(1e-3, layer(w, g, m, &mut sgd_state))));
        count("NovoGrad, naive", len, || naive_novograd(black_box(1e-3), w, g, m, &mut v));
        count("NovoGrad", len, || _ = black_box(novograd.step_layer(1e-3, layer(w, g, m, &mut state))));
        count("LARC without momentum", len, || {
            _ = black_box(plain_larc.step_layer(1e-3, LayerMemory::new(&mut *w, g, &mut sgd_state)));
        });
        count("NovoGrad without momentum", len, || {
            _ = black_box(plain_novograd.step_layer(1e-3, LayerMemory::new(&mut *w, g, &mut state)));
        });
        count("AdamW, naive", len, || naive_adamw(black_box(1e-3), w, g, m, v2, &mut start));
        for (name, adam) in [("AdamW", &adamw), ("LAMB", &lamb)] {
            let state = &mut adam_state;
            count(name, len, || {
                _ = black_box(adam.step_layer(1e-3, layer(w, g, m, state).second_moment(&mut *v2)));
            });
        }
    }
    let (w, g, m) = (&mut weights[..], &gradients[..], &mut momentum[..]);
    stack("LARC", || _ = black_box(larc.step_layer(1e-3, layer(w, g, m, &mut SgdState::default()))));
    stack("NovoGrad", || _ = black_box(novograd.step_layer(1e-3, layer(w, g, m, &mut NovoGradState::default()))));
    stack("LARC without momentum", || {
        _ = black_box(plain_larc.step_layer(1e-3, LayerMemory::new(&mut *w, g, &mut SgdState::default())));
    });
    stack("NovoGrad without momentum", || {
        _ = black_box(plain_novograd.step_layer(1e-3, LayerMemory::new(&mut *w, g, &mut NovoGradState::default())));
    });
    for (name, adam) in [("AdamW", &adamw), ("LAMB", &lamb)] {
        stack(name, || {
            let (v, state) = (&mut second_moment[..], &mut AdamState::default());
            _ = black_box(adam.step_layer(1e-3, layer(w, g, m, state).second_moment(v)));
        });
    }
    println!(
        "state, bytes for a layer of LARC, of NovoGrad, of Adam\t\t{}, {}, {}",
        size_of::<SgdState>(),
        size_of::<NovoGradState>(),
        size_of::<AdamState>()
    );
    println!("momentum, bytes for an element\t\t{}", size_of::<Moment>());
    println!("table, bytes for a layer; report\t\t{}, {}", size_of::<LayerSpan>(), size_of::<Report>());
    process::exit(0)
}
