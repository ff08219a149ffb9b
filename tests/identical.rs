//! Updates have the bits of the contract, whatever the alignment, the pieces, and the backend that this build uses.

mod reference;

use layerwise::{Update, sum_of_squares};
use reference::contract;

/// Lengths around every boundary: vectors, groups, leaves, tiles, the shortest update that is aligned.
const LENGTHS: [usize; 24] = [
    0, 1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 255, 256, 257, 300, 1023, 1024, 1025, 2049, 5000, 16384, 16400, 40001,
];

/// Every form that an update can take.
const UPDATES: [Update; 6] = [
    Update { gradient: 0.3, momentum: 0.9, rate: 0.1, ..Update::NONE },
    Update { gradient: 0.3, decay: 0.01, momentum: 0.9, rate: 0.1, ..Update::NONE },
    Update { gradient: 0.3, momentum: 0.9, rate: 0.1, direct: 0.7, ..Update::NONE },
    Update { gradient: -0.3, decay: 0.01, momentum: 0.5, rate: 0.1, direct: 0.7, shrink: 0.001 },
    Update { gradient: 1.0, momentum: 0.9, rate: 0.1, shrink: 0.01, ..Update::NONE },
    Update { gradient: 1.0, direct: 0.1, ..Update::NONE },
];

/// An array that begins `offset` elements behind a cache line.
struct Array {
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

impl Array {
    fn new(len: usize, offset: usize, scale: f32, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut memory = vec![0.0; len + 32];
        let start = memory.as_ptr().align_offset(64) + offset;
        memory[start..start + len].fill_with(|| scale * (2.0 * rng.f32() - 1.0));
        Array { memory, start, len }
    }

    fn get(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn updates_have_the_bits_of_the_contract_at_any_alignment() {
    for (seed, len) in (0..).zip(LENGTHS) {
        for offsets in [[0, 0, 0], [5, 5, 5], [15, 15, 15], [0, 4, 8], [3, 0, 0], [0, 0, 1]] {
            for update in UPDATES {
                for scale in [1.0, 1e30, 1e-30, 1e-41] {
                    let [mut w, mut g, mut m] =
                        [0, 1, 2].map(|i| Array::new(len, offsets[i], scale, 3 * seed + i as u64));
                    let (w, g, m) = (w.get(), g.get(), m.get());
                    let expected: (Vec<f32>, Vec<f32>) =
                        w.iter().zip(&*g).zip(&*m).map(|((w, g), m)| contract::update(&update, *w, *g, *m)).unzip();
                    let plain: Vec<f32> =
                        w.iter().zip(&*g).map(|(w, g)| contract::plain_update(&update, *w, *g)).collect();
                    let what = format!("{len} elements at {offsets:?}, scale {scale}, {update:?}");

                    let mut whole = w.to_vec();
                    update.apply(&mut whole, g).unwrap();
                    assert_eq!(bits(&whole), bits(&plain), "plain, {what}");

                    let before = (w.to_vec(), m.to_vec());
                    update.apply_with_momentum(w, g, m).unwrap();
                    assert_eq!(bits(w), bits(&expected.0), "weights, {what}");
                    assert_eq!(bits(m), bits(&expected.1), "momentum, {what}");

                    w.copy_from_slice(&before.0);
                    m.copy_from_slice(&before.1);
                    let sum = update.apply_and_sum(w, g, m).unwrap();
                    let (new, momentum) = if len == 0 { (&plain, &expected.1) } else { (&expected.0, &expected.1) };
                    assert_eq!(bits(w), bits(new), "weights summed, {what}");
                    assert_eq!(bits(m), bits(momentum), "momentum summed, {what}");
                    assert_eq!(sum.to_bits(), contract::sum_of_squares(new).to_bits(), "sum, {what}");

                    w.copy_from_slice(&before.0);
                    let sum = update.apply_and_sum(w, g, &mut []).unwrap();
                    assert_eq!(bits(w), bits(&plain), "plain summed, {what}");
                    assert_eq!(sum.to_bits(), sum_of_squares(&plain).to_bits(), "plain sum, {what}");
                }
            }
        }
    }
}

#[test]
fn pieces_make_the_whole() {
    let len = 3000;
    let [mut w, mut g, mut m] = [1, 2, 3].map(|seed| Array::new(len, 4, 1.0, seed));
    for update in UPDATES {
        let (mut whole, mut whole_momentum) = (w.get().to_vec(), m.get().to_vec());
        update.apply_with_momentum(&mut whole, g.get(), &mut whole_momentum).unwrap();
        for piece in [1, 7, 16, 100, 1024, 2999] {
            let (mut weights, mut momentum) = (w.get().to_vec(), m.get().to_vec());
            let pieces = weights.chunks_mut(piece).zip(momentum.chunks_mut(piece)).zip(g.get().chunks(piece));
            for ((weights, momentum), gradients) in pieces {
                update.apply_with_momentum(weights, gradients, momentum).unwrap();
            }
            assert_eq!(bits(&weights), bits(&whole), "pieces of {piece}, {update:?}");
            assert_eq!(bits(&momentum), bits(&whole_momentum), "pieces of {piece}, {update:?}");
        }
    }
}
