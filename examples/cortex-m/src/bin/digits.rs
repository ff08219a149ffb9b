//! Trains with six optimizers and prints loss, accuracy and a hash of the weights: on a microcontroller over
//! semihosting, on a desktop to the terminal. With the feature `half`, also with 16-bit momentum.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(clippy::deref_addrof)] // A reference to a mutable static is made by way of a pointer.

#[cfg(feature = "half")]
use half::bf16;
use layerwise::rule::Rule;
use layerwise::{Adam, AdamConfig, Element, LarcConfig, NovoGrad, NovoGradConfig, Optimizer, Sgd, TrustRatio};
use layerwise_cortex_m::{Arrays, PARAMETERS, adam, larc, novograd, state_bytes, train};
#[cfg(target_os = "none")]
use semihosting::{println, process};
#[cfg(not(target_os = "none"))]
use std::process;

/// The number of epochs; there are fewer on machines without a floating-point unit.
const EPOCHS: usize = match option_env!("EPOCHS") {
    Some(epochs) => (epochs.as_bytes()[0] - b'0') as usize,
    None => 8,
};

const TRUST: LarcConfig = LarcConfig { eta: 0.02, ..LarcConfig::DEFAULT };
const LARC: Sgd = larc(TRUST, 0.9);
const LARC_WITHOUT_MOMENTUM: Sgd = larc(TRUST, 0.0);
const NOVOGRAD: NovoGrad = novograd(NovoGradConfig::DEFAULT);
const NOVOGRAD_WITHOUT_MOMENTUM: NovoGrad = novograd(NovoGradConfig { beta1: 0.0, ..NovoGradConfig::DEFAULT });
const ADAMW: Adam = adam(AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT });
const LAMB: Adam = adam(AdamConfig { trust_ratio: Some(TrustRatio::DEFAULT), ..*ADAMW.config() });

static mut ARRAYS: Arrays = [[0.0; PARAMETERS]; 2];
static mut MOMENTUM: [f32; PARAMETERS] = [0.0; PARAMETERS];
static mut SECOND_MOMENT: [f32; PARAMETERS] = [0.0; PARAMETERS];
#[cfg(feature = "half")]
static mut HALF_MOMENTUM: [bf16; PARAMETERS] = [bf16::ZERO; PARAMETERS];

fn run<R: Rule, M: Element + Default>(
    name: &str,
    optimizer: &Optimizer<R>,
    lr: f64,
    arrays: &mut Arrays,
    moments: (&mut [M; PARAMETERS], &mut [f32; PARAMETERS]),
) {
    println!("{name}: {} bytes of state for {PARAMETERS} parameters", state_bytes(optimizer, moments.0));
    let hash = train(optimizer, lr, EPOCHS, arrays, moments, |progress| {
        println!(
            "epoch {}: loss {:.4}, {} of {} right",
            progress.epoch + 1,
            progress.loss,
            progress.right,
            progress.tested
        );
    });
    match hash {
        Ok(hash) => println!("weights {hash:016x}"),
        Err(_) => process::exit(1),
    }
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn start() -> ! {
    // SAFETY: this function runs once, and nothing else knows the arrays.
    let (arrays, m, v) = unsafe { (&mut *&raw mut ARRAYS, &mut *&raw mut MOMENTUM, &mut *&raw mut SECOND_MOMENT) };
    run("LARC", &LARC, 0.5, arrays, (m, v));
    run("LARC without momentum", &LARC_WITHOUT_MOMENTUM, 2.0, arrays, (m, v));
    run("NovoGrad", &NOVOGRAD, 0.02, arrays, (m, v));
    run("NovoGrad without momentum", &NOVOGRAD_WITHOUT_MOMENTUM, 0.2, arrays, (m, v));
    run("AdamW", &ADAMW, 0.01, arrays, (m, v));
    run("LAMB", &LAMB, 0.02, arrays, (m, v));
    #[cfg(feature = "half")]
    {
        // SAFETY: as above.
        let m = unsafe { &mut *&raw mut HALF_MOMENTUM };
        run("LARC with 16-bit momentum", &LARC, 0.5, arrays, (m, v));
        run("NovoGrad with 16-bit momentum", &NOVOGRAD, 0.02, arrays, (m, v));
    }
    process::exit(0)
}

#[cfg(not(target_os = "none"))]
fn main() {
    start()
}
