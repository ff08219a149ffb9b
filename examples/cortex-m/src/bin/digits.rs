//! Trains with four optimizers and prints loss, accuracy and a hash of the weights: on a microcontroller over semihosting, on a
//! desktop to the terminal.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(clippy::deref_addrof)] // A reference to a mutable static is made by way of a pointer.

use layerwise::{LarcConfig, NovoGrad, NovoGradConfig, NovoGradState, Optimizer, Rule, Sgd, SgdState};
use layerwise_cortex_m::{Memory, PARAMETERS, larc, novograd, train};
#[cfg(target_os = "none")]
use semihosting::{println, process};
#[cfg(not(target_os = "none"))]
use std::process;

/// How often the training digits are seen; machines without a floating-point unit see them less often.
const EPOCHS: usize = match option_env!("EPOCHS") {
    Some(epochs) => (epochs.as_bytes()[0] - b'0') as usize,
    None => 8,
};

const TRUST: LarcConfig = LarcConfig { eta: 0.02, ..LarcConfig::DEFAULT };
const LARC: Sgd = larc(TRUST, 0.9);
const LARC_WITHOUT_MOMENTUM: Sgd = larc(TRUST, 0.0);
const NOVOGRAD: NovoGrad = novograd(NovoGradConfig::DEFAULT);
const NOVOGRAD_WITHOUT_MOMENTUM: NovoGrad = novograd(NovoGradConfig { beta1: 0.0, ..NovoGradConfig::DEFAULT });

static mut SGD: Memory<SgdState> = Memory::new(SgdState { steps: 0 });
static mut NOVO: Memory<NovoGradState> =
    Memory::new(NovoGradState { second_moment: 0.0, max_second_moment: 0.0, steps: 0 });

fn run<R: Rule>(name: &str, optimizer: &Optimizer<R>, lr: f64, memory: &mut Memory<R::State>) {
    let bytes = 4 * optimizer.momentum_len(PARAMETERS) + 4 * size_of::<R::State>();
    println!("{name}: {bytes} bytes of state for {PARAMETERS} parameters");
    let hash = train(optimizer, lr, EPOCHS, memory, |progress| {
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
    // SAFETY: this function runs once, and nothing else knows the memory.
    let (sgd, novograd) = unsafe { (&mut *&raw mut SGD, &mut *&raw mut NOVO) };
    run("LARC", &LARC, 0.5, sgd);
    run("LARC without momentum", &LARC_WITHOUT_MOMENTUM, 2.0, sgd);
    run("NovoGrad", &NOVOGRAD, 0.02, novograd);
    run("NovoGrad without momentum", &NOVOGRAD_WITHOUT_MOMENTUM, 0.2, novograd);
    process::exit(0)
}

#[cfg(not(target_os = "none"))]
fn main() {
    start()
}
