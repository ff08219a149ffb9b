//! Layers at chosen addresses.

use crate::{ours, theirs};

/// Floats in a cache line and in a page.
const LINE: usize = 16;
const PAGE: usize = 1024;

/// The arrays of one layer, and what each side remembers of it.
pub(crate) struct Layer<'a> {
    pub(crate) weights: &'a mut [f32],
    pub(crate) gradients: &'a [f32],
    pub(crate) momentum: &'a mut [f32],
    pub(crate) second_moment: &'a mut [f32],
    pub(crate) ours: ours::State,
    pub(crate) theirs: theirs::State,
}

/// Memory that is large enough for layers of these lengths in any of several places.
pub(crate) fn memory(lengths: &[usize], places: usize) -> Vec<f32> {
    vec![0.0; lengths.iter().map(|len| 4 * (len + places * PAGE + LINE)).sum()]
}

/// Layers with numbers without a pattern. Weights, gradients and both moments begin at `offsets`, in floats from a
/// cache line. As with `malloc`, arrays of a page or more begin on a page, and smaller ones lie side by side: addresses are
/// the same in every run, modulo a page.
///
/// The rest of an address matters too, since a first-level cache may distinguish lines by a few of its bits: a step can
/// take twice as long in one place as in another. So each place has other distances between arrays of a page or more.
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
