//! Numbers in memory.
//!
//! Kernels compute in `f32`. Other types are converted in registers, as they are loaded and stored.

use super::ops::{Element, Lanes, WIDTH};

impl Element for f32 {
    const SIGN: u32 = 1 << 31;

    #[inline(always)]
    fn load<L: Lanes>(lanes: L, from: &[f32; WIDTH]) -> L::Vector {
        lanes.load(from)
    }

    #[inline(always)]
    fn load_up_to<L: Lanes>(lanes: L, from: &[f32]) -> L::Vector {
        if let Some(whole) = from.first_chunk() { lanes.load(whole) } else { lanes.load_partial(from) }
    }

    #[inline(always)]
    fn load_last<L: Lanes>(lanes: L, from: &[f32]) -> L::Vector {
        lanes.load_last(from)
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn store<L: Lanes>(lanes: L, vector: L::Vector, to: &mut [f32; WIDTH]) {
        lanes.store(vector, to);
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        self.to_bits()
    }

    #[inline(always)]
    fn of_size(size: u32) -> f32 {
        f32::from_bits(size)
    }

    #[inline(always)]
    fn get(self) -> f32 {
        self
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn of(x: f32) -> f32 {
        x
    }
}
