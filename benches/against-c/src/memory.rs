//! Layers at chosen addresses.

use crate::{ours, theirs};

/// Floats in a cache line and in a page.
const LINE: usize = 16;
const PAGE: usize = 1024;

/// The arrays of one layer, and the state of each side.
pub(crate) struct Layer<'a> {
    pub(crate) weights: &'a mut [f32],
    pub(crate) gradients: &'a [f32],
    pub(crate) momentum: &'a mut [f32],
    pub(crate) second_moment: &'a mut [f32],
    pub(crate) ours: ours::State,
    pub(crate) theirs: theirs::State,
}

/// Memory large enough for layers of these lengths in any of several places.
pub(crate) fn memory(lengths: &[usize], places: usize) -> Vec<f32> {
    vec![0.0; lengths.iter().map(|len| 4 * (len + places * PAGE + LINE)).sum()]
}

/// Layers of numbers without a pattern. Weights, gradients and both moments begin at `offsets`, in floats from a cache
/// line. As with `malloc`, arrays of a page or more begin at a page, and smaller ones are adjacent. Addresses are the
/// same in every run, modulo a page.
///
/// The upper bits of an address matter too, because a first-level cache may distinguish lines by only a few of them: a
/// step can take twice as long in one place as in another. So each place has different distances between arrays of a
/// page or more.
pub(crate) fn layers<'a>(
    memory: &'a mut [f32],
    lengths: &[usize],
    offsets: [usize; 4],
    place: usize,
) -> Vec<Layer<'a>> {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut rest = memory;
    let mut take = |len: usize, offset: usize| {
        let start = match len {
            ..PAGE => rest.as_ptr().align_offset(4 * LINE),
            _ => rest.as_ptr().align_offset(4 * PAGE) + place * PAGE,
        };
        let (taken, after) = std::mem::take(&mut rest)[start + offset..].split_at_mut(len);
        rest = after;
        taken.fill_with(|| 0.5 + rng.f32());
        taken
    };
    let layer = |&len| Layer {
        weights: take(len, offsets[0]),
        gradients: take(len, offsets[1]),
        momentum: take(len, offsets[2]),
        second_moment: take(len, offsets[3]),
        ours: ours::State::default(),
        theirs: theirs::State::default(),
    };
    lengths.iter().map(layer).collect()
}
