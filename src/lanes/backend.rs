//! Which lanes a kernel runs on.

use super::ops::{Arithmetic, Kernel};
use super::portable::{ONE_BY_ONE, Portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// The instructions that kernels use. A value proves that the processor has them.
///
/// If there is only one choice, it is zero-sized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// What the target is compiled for.
    Portable,
}

impl Backend {
    const PORTABLE: Backend = Backend(Kind::Portable);

    /// The fastest backend of this processor.
    #[inline]
    pub fn best() -> Backend {
        Backend::avx512().or_else(Backend::avx2).unwrap_or(Backend::PORTABLE)
    }

    /// All backends of this processor, from the fastest to the one that every processor has.
    pub fn available() -> impl Iterator<Item = Backend> {
        [Backend::avx512(), Backend::avx2(), Some(Backend::PORTABLE)].into_iter().flatten()
    }

    /// The name of the instruction set.
    pub fn name(self) -> &'static str {
        match self.0 {
            _ if ONE_BY_ONE => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            Kind::Portable => "portable",
        }
    }

    /// Whether 16-bit floats are best converted as they are loaded and stored: by vector instructions, or one by one
    /// without vectors.
    #[cfg(feature = "half")]
    #[inline]
    pub(crate) fn converts(self) -> bool {
        ONE_BY_ONE || self.0 != Kind::Portable
    }

    #[inline]
    fn avx512() -> Option<Backend> {
        #[cfg(target_arch = "x86_64")]
        if !FORCED || cfg!(layerwise_backend = "avx512") {
            return Avx512::detect().map(|lanes| Backend(Kind::Avx512(lanes)));
        }
        None
    }

    #[inline]
    fn avx2() -> Option<Backend> {
        #[cfg(target_arch = "x86_64")]
        if !FORCED || cfg!(layerwise_backend = "avx2") {
            return Avx2::detect().map(|lanes| Backend(Kind::Avx2(lanes)));
        }
        None
    }
}

/// Whether one backend is forced.
#[cfg(target_arch = "x86_64")]
pub(super) const FORCED: bool = cfg!(any(
    layerwise_backend = "scalar",
    layerwise_backend = "portable",
    layerwise_backend = "avx2",
    layerwise_backend = "avx512"
));

/// Runs a kernel on the lanes of a backend, or one number at a time on targets without vectors.
#[inline]
pub(crate) fn dispatch<K: Kernel>(backend: Backend, kernel: K) -> K::Output {
    if ONE_BY_ONE {
        return kernel.run_one();
    }
    match backend.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512(lanes) => lanes.run(kernel),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2(lanes) => lanes.run(kernel),
        Kind::Portable => Portable.run(kernel),
    }
}
