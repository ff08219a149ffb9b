//! What several tests use.

#![allow(dead_code, reason = "no test uses all of it")]

use layerwise::{Adam, AdamConfig, AnyOptimizer, LarcConfig, NovoGrad, NovoGradConfig, Policy, Sgd, SgdConfig};
use std::path::PathBuf;

/// Numbers without a pattern, from -1 to 1.
pub fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i + 1) as f32 * 0.37 + seed as f32 * 1.7).sin()).collect()
}

pub fn bits<'a>(numbers: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    numbers.into_iter().map(|x| x.to_bits()).collect()
}

/// One optimizer of each kind, with momentum and decay where it has them.
pub fn optimizers() -> [(&'static str, AnyOptimizer); 7] {
    let decay = 1e-3;
    let sgd = SgdConfig { weight_decay: decay, ..SgdConfig::DEFAULT };
    let momentum = SgdConfig { momentum: 0.9, ..sgd };
    let larc = SgdConfig { larc: Some(LarcConfig::DEFAULT), ..momentum };
    let novograd = NovoGradConfig { weight_decay: decay, ..NovoGradConfig::DEFAULT };
    let clip = Policy { clip_norm: Some(0.01), ..Policy::DEFAULT };
    let sgd = |config| Sgd::new(config).expect("valid settings").any();
    let adam = |config| Adam::new(config).expect("valid settings").any();
    [
        ("sgd", sgd(SgdConfig { weight_decay: decay, ..SgdConfig::DEFAULT })),
        ("momentum", sgd(momentum)),
        ("larc", sgd(larc)),
        ("novograd", NovoGrad::new(novograd).expect("valid settings").any()),
        ("adamw", adam(AdamConfig { weight_decay: decay, ..AdamConfig::DEFAULT })),
        ("lamb", adam(AdamConfig::TIMM_LAMB)),
        ("clipped", sgd(momentum).with_policy(clip).expect("valid settings")),
    ]
}

/// A temporary directory for one test, which exists until it is dropped.
pub struct Directory(tempfile::TempDir);

impl Directory {
    pub fn new() -> Self {
        Directory(tempfile::tempdir().expect("a directory for temporary files"))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
