//! The optimizers, and the learning rates to try.

use layerwise::{Adam, AdamConfig, AnyOptimizer, LarcConfig, NovoGrad, NovoGradConfig, Sgd, SgdConfig};

/// The stops of the page's slider.
pub const RATES: [f64; 11] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0];

/// One of the optimizers.
pub struct Contender {
    /// What the page calls it.
    pub name: &'static str,
    /// A good rate for it, one of [`RATES`].
    pub rate: f64,
    make: fn() -> AnyOptimizer,
}

impl Contender {
    /// The optimizer with its settings.
    pub fn optimizer(&self) -> AnyOptimizer {
        (self.make)()
    }
}

const MOMENTUM: SgdConfig = SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT };

// Settings out of range do not compile.
const LARC: Sgd = match Sgd::new(SgdConfig { larc: Some(LarcConfig::DEFAULT), ..MOMENTUM }) {
    Ok(larc) => larc,
    Err(_) => panic!("settings out of range"),
};
const NOVOGRAD: NovoGrad = match NovoGrad::new(NovoGradConfig::DEFAULT) {
    Ok(novograd) => novograd,
    Err(_) => panic!("settings out of range"),
};
const SGD: Sgd = match Sgd::new(MOMENTUM) {
    Ok(sgd) => sgd,
    Err(_) => panic!("settings out of range"),
};
const ADAMW: Adam = match Adam::new(AdamConfig::TORCH_ADAMW) {
    Ok(adamw) => adamw,
    Err(_) => panic!("settings out of range"),
};

/// All of them. The page refers to them by index.
pub const CONTENDERS: [Contender; 4] = [
    Contender { name: "LARC", rate: 1.0, make: || LARC.any() },
    Contender { name: "NovoGrad", rate: 0.01, make: || NOVOGRAD.any() },
    Contender { name: "SGD", rate: 0.1, make: || SGD.any() },
    Contender { name: "AdamW", rate: 0.003, make: || ADAMW.any() },
];
