//! The crate: every call of it is here.

use crate::memory::Layer;
use layerwise::{Backend, CarriedNorms, LarcConfig, LayerMemory, NovoGrad, NovoGradConfig, NovoGradState};
use layerwise::{Sgd, SgdConfig, SgdState};

/// What the crate remembers of a layer beside its momentum.
#[derive(Default)]
pub(crate) struct State {
    novograd: NovoGradState,
    sgd: SgdState,
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
}

impl Ours {
    pub(crate) fn on(backend: Backend) -> Self {
        let larc = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
        Ours {
            backend,
            novograd: NovoGrad::new(NovoGradConfig::DEFAULT).expect("valid settings").on(backend),
            larc: Sgd::new(larc).expect("valid settings").on(backend),
        }
    }

    #[inline]
    pub(crate) fn norm(&self, layer: &Layer) -> f64 {
        layerwise::on::sum_of_squares(self.backend, layer.gradients)
    }

    #[inline]
    pub(crate) fn novograd(&self, lr: f32, layer: &mut Layer) {
        let memory = LayerMemory::new(&mut *layer.weights, layer.gradients, &mut layer.ours.novograd);
        self.novograd.step_layer(f64::from(lr), memory.momentum(&mut *layer.momentum)).expect("slices of one length");
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
