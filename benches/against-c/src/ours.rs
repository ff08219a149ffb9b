//! The crate: every call of it is here.

use crate::memory::Layer;
use layerwise::{Adam, AdamConfig, AdamDecay, AdamState, Backend, CarriedNorms, LarcConfig, LayerMemory};
use layerwise::{NovoGrad, NovoGradConfig, NovoGradState, Sgd, SgdConfig, SgdState, TrustRatio};

/// What the crate remembers about a layer besides its moments.
#[derive(Default)]
pub(crate) struct State {
    novograd: NovoGradState,
    sgd: SgdState,
    adam: AdamState,
    norms: CarriedNorms,
}

/// The backends that this processor has.
pub(crate) fn backends() -> impl Iterator<Item = Backend> {
    Backend::available()
}

/// The optimizers on one backend.
pub(crate) struct Ours {
    backend: Backend,
    novograd: NovoGrad,
    larc: Sgd,
    novograd_larc: NovoGrad,
    adamw: Adam,
    lamb: Adam,
}

impl Ours {
    pub(crate) fn on(backend: Backend) -> Self {
        let larc = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
        let novograd_larc = NovoGradConfig { larc: Some(LarcConfig::DEFAULT), ..NovoGradConfig::DEFAULT };
        let adamw = AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT };
        let lamb = AdamConfig { decay_mode: AdamDecay::InUpdate, trust_ratio: Some(TrustRatio::DEFAULT), ..adamw };
        Ours {
            backend,
            novograd: NovoGrad::new(NovoGradConfig::DEFAULT).expect("valid settings").on(backend),
            larc: Sgd::new(larc).expect("valid settings").on(backend),
            novograd_larc: NovoGrad::new(novograd_larc).expect("valid settings").on(backend),
            adamw: Adam::new(adamw).expect("valid settings").on(backend),
            lamb: Adam::new(lamb).expect("valid settings").on(backend),
        }
    }

    #[inline]
    pub(crate) fn norm(&self, layer: &Layer) -> f64 {
        layerwise::on::sum_of_squares(self.backend, layer.gradients)
    }

    #[inline]
    pub(crate) fn novograd(&self, lr: f32, layer: &mut Layer) {
        novograd(&self.novograd, lr, layer);
    }

    /// NovoGrad with LARC in front.
    #[inline]
    pub(crate) fn novograd_larc(&self, lr: f32, layer: &mut Layer) {
        novograd(&self.novograd_larc, lr, layer);
    }

    #[inline]
    pub(crate) fn adamw(&self, lr: f32, layer: &mut Layer) {
        adam(&self.adamw, lr, layer);
    }

    #[inline]
    pub(crate) fn lamb(&self, lr: f32, layer: &mut Layer) {
        adam(&self.lamb, lr, layer);
    }

    #[inline]
    pub(crate) fn larc(&self, lr: f32, layer: &mut Layer) {
        let memory = LayerMemory::new(&mut *layer.weights, layer.gradients, &mut layer.ours.sgd);
        self.larc.step_layer(f64::from(lr), memory.momentum(&mut *layer.momentum)).expect("slices of one length");
    }

    #[inline]
    pub(crate) fn carried(&self, lr: f32, layer: &mut Layer) {
        let memory = LayerMemory::new(&mut *layer.weights, layer.gradients, &mut layer.ours.sgd);
        let memory = memory.momentum(&mut *layer.momentum).norms(&mut layer.ours.norms);
        self.larc.step_layer(f64::from(lr), memory).expect("slices of one length");
    }
}

#[inline]
fn novograd(novograd: &NovoGrad, lr: f32, layer: &mut Layer) {
    let memory = LayerMemory::new(&mut *layer.weights, layer.gradients, &mut layer.ours.novograd);
    novograd.step_layer(f64::from(lr), memory.momentum(&mut *layer.momentum)).expect("slices of one length");
}

#[inline]
fn adam(adam: &Adam, lr: f32, layer: &mut Layer) {
    let memory = LayerMemory::new(&mut *layer.weights, layer.gradients, &mut layer.ours.adam);
    let memory = memory.momentum(&mut *layer.momentum).second_moment(&mut *layer.second_moment);
    adam.step_layer(f64::from(lr), memory).expect("slices of one length");
}
