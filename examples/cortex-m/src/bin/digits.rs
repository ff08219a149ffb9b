//! Trains with four optimizers and prints loss, accuracy and a hash of the weights: on a microcontroller over semihosting, on a
//! desktop to the terminal.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(clippy::deref_addrof)] // A reference to a mutable static is made by way of a pointer.

use layerwise::{Larc, LarcConfig, NovoGrad, NovoGradConfig, NovoGradState, Optimizer, Rule, Sgd, SgdConfig, SgdState};
use layerwise_cortex_m::{Memory, PARAMETERS, train};
#[cfg(target_os = "none")]
use semihosting::{println, process};
#[cfg(not(target_os = "none"))]
use std::process;

/// How often the training digits are seen; machines without a floating-point unit see them less often.
const EPOCHS: usize = match option_env!("EPOCHS") {
    Some(epochs) => (epochs.as_bytes()[0] - b'0') as usize,
    None => 8,
};

const fn larc(momentum: f64) -> Sgd {
    let Ok(larc) = Larc::new(LarcConfig { eta: 0.02, ..LarcConfig::DEFAULT }) else { panic!("settings out of range") };
    let Ok(sgd) = Sgd::new(SgdConfig { momentum, larc: Some(larc), ..SgdConfig::DEFAULT }) else {
        panic!("settings out of range")
    };
    sgd
}

const fn novograd(beta1: f64) -> NovoGrad {
    let Ok(novograd) = NovoGrad::new(NovoGradConfig { beta1, ..NovoGradConfig::DEFAULT }) else {
        panic!("settings out of range")
    };
    novograd
}

const LARC: Sgd = larc(0.9);
const LARC_WITHOUT_MOMENTUM: Sgd = larc(0.0);
const NOVOGRAD: NovoGrad = novograd(0.95);
const NOVOGRAD_WITHOUT_MOMENTUM: NovoGrad = novograd(0.0);

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
