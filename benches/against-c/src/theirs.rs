//! The functions of `kernels.c`.

use crate::memory::Layer;

/// What the C remembers about a layer besides its moments.
#[derive(Default)]
pub(crate) struct State {
    second_moment: f32,
    steps: i32,
    weights: f32,
}

/// The C for one instruction set.
pub(crate) struct C {
    /// The backend of the crate for the same instructions.
    backend: &'static str,
    pub(crate) instructions: &'static str,
    norm: unsafe extern "C" fn(*const f32, usize) -> f32,
    novograd: unsafe extern "C" fn(*mut f32, *const f32, *mut f32, usize, f32, *mut f32),
    larc: unsafe extern "C" fn(*mut f32, *const f32, *mut f32, usize, f32),
    carried: unsafe extern "C" fn(*mut f32, *const f32, *mut f32, usize, f32, *mut f32),
    adamw: AdamW,
    adamw_unfused: AdamW,
}

type AdamW = unsafe extern "C" fn(*mut f32, *const f32, *mut f32, *mut f32, usize, f32, *mut i32);

macro_rules! c {
    ($backend:literal, $instructions:literal, $suffix:literal) => {{
        unsafe extern "C" {
            #[link_name = concat!("sum_of_squares_", $suffix)]
            fn norm(x: *const f32, n: usize) -> f32;
            #[link_name = concat!("novograd_", $suffix)]
            fn novograd(w: *mut f32, g: *const f32, m: *mut f32, n: usize, lr: f32, v: *mut f32);
            #[link_name = concat!("larc_", $suffix)]
            fn larc(w: *mut f32, g: *const f32, m: *mut f32, n: usize, lr: f32);
            #[link_name = concat!("larc_carried_", $suffix)]
            fn carried(w: *mut f32, g: *const f32, m: *mut f32, n: usize, lr: f32, weights: *mut f32);
            #[link_name = concat!("adamw_", $suffix)]
            fn adamw(w: *mut f32, g: *const f32, m: *mut f32, v: *mut f32, n: usize, lr: f32, steps: *mut i32);
            #[link_name = concat!("adamw_", $suffix, "_unfused")]
            fn adamw_unfused(w: *mut f32, g: *const f32, m: *mut f32, v: *mut f32, n: usize, lr: f32, steps: *mut i32);
        }
        let (backend, instructions) = ($backend, $instructions);
        C { backend, instructions, norm, novograd, larc, carried, adamw, adamw_unfused }
    }};
}

impl C {
    /// The C for the instruction set of a backend, if there is one that this processor can run.
    pub(crate) fn beside(backend: &str) -> Option<C> {
        let fma = is_x86_feature_detected!("fma");
        [c!("portable", "SSE2", "sse2"), c!("avx2", "AVX2", "avx2"), c!("avx512", "AVX-512", "avx512")]
            .into_iter()
            .find(|c| c.backend == backend && (fma || c.backend == "portable"))
    }

    // The arrays of a layer have equal lengths, and the processor has the instructions: `beside` and the crate's list
    // of backends ensure it.

    #[inline]
    pub(crate) fn norm(&self, layer: &Layer) -> f64 {
        // SAFETY: see above.
        unsafe { (self.norm)(layer.gradients.as_ptr(), layer.gradients.len()) }.into()
    }

    #[inline]
    pub(crate) fn novograd(&self, lr: f32, layer: &mut Layer) {
        let (w, g, m) = (layer.weights.as_mut_ptr(), layer.gradients.as_ptr(), layer.momentum.as_mut_ptr());
        // SAFETY: see above.
        unsafe { (self.novograd)(w, g, m, layer.weights.len(), lr, &mut layer.theirs.second_moment) }
    }

    #[inline]
    pub(crate) fn larc(&self, lr: f32, layer: &mut Layer) {
        let (w, g, m) = (layer.weights.as_mut_ptr(), layer.gradients.as_ptr(), layer.momentum.as_mut_ptr());
        // SAFETY: see above.
        unsafe { (self.larc)(w, g, m, layer.weights.len(), lr) }
    }

    /// Computes the sum of squares that `carried` starts with.
    pub(crate) fn carry(&self, layer: &mut Layer) {
        // SAFETY: see above.
        layer.theirs.weights = unsafe { (self.norm)(layer.weights.as_ptr(), layer.weights.len()) };
    }

    #[inline]
    pub(crate) fn carried(&self, lr: f32, layer: &mut Layer) {
        let (w, g, m) = (layer.weights.as_mut_ptr(), layer.gradients.as_ptr(), layer.momentum.as_mut_ptr());
        // SAFETY: see above.
        unsafe { (self.carried)(w, g, m, layer.weights.len(), lr, &mut layer.theirs.weights) }
    }

    #[inline]
    pub(crate) fn adamw(&self, lr: f32, layer: &mut Layer) {
        adamw(self.adamw, lr, layer);
    }

    /// The same without fused multiply-adds.
    #[inline]
    pub(crate) fn adamw_unfused(&self, lr: f32, layer: &mut Layer) {
        adamw(self.adamw_unfused, lr, layer);
    }
}

#[inline]
fn adamw(step: AdamW, lr: f32, layer: &mut Layer) {
    let (w, g, m) = (layer.weights.as_mut_ptr(), layer.gradients.as_ptr(), layer.momentum.as_mut_ptr());
    let v = layer.second_moment.as_mut_ptr();
    // SAFETY: see above.
    unsafe { step(w, g, m, v, layer.weights.len(), lr, &mut layer.theirs.steps) }
}
