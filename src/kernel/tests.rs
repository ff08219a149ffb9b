//! Kernels write and sum the same bits as plain loops, on every backend of this processor.

extern crate std;

use super::any;
use super::formulas::{Affine, Apart, TwoMoments};
use super::machine::{Machine, Threads};
use super::max::max_abs;
use super::numbers::Numbers;
use super::shape::LEAF;
use super::squares::{sum_of_squares, sums_of_squares};
use super::stream::{Memory, Written};
use super::terms::{Decayed, NewMomentum, Plain, StepOf, Term};
use crate::lanes::Backend;
use std::{vec, vec::Vec};

/// (Miri is slow, and needs each kind of access once. So it gets few lengths and scalars, and only the best backend.)
const LENGTHS: &[usize] = if cfg!(miri) {
    &[0, 1, 2, 3, 7, 12, 15, 16, 17, 40]
} else {
    &[0, 1, 2, 3, 7, 15, 16, 17, 31, 100, 255, 256, 300, 1007, 1009, 1024, 1025, 2049, 3000, 5000, 65_537, 131_077]
};

/// The scalars of the updates, with and without each term.
const SCALARS: &[[f32; 3]] =
    if cfg!(miri) { &[ALL_TERMS] } else { &[[0.0; 3], [0.1, 0.0, 0.0], [0.0, 0.0, 0.01], ALL_TERMS] };

const ALL_TERMS: [f32; 3] = [0.1, 0.2, -0.01];

fn machines() -> impl Iterator<Item = Machine> {
    Backend::available().take(if cfg!(miri) { 1 } else { 3 }).flat_map(|backend| {
        let machine = Machine { backend, threads: Threads::One };
        #[cfg(feature = "rayon")]
        return [machine, Machine { threads: Threads::Pool, ..machine }];
        #[cfg(not(feature = "rayon"))]
        [machine]
    })
}

fn affine([decay, direct, shrink]: [f32; 3]) -> Affine<Apart> {
    let [gradient, decay, momentum, rate, direct, shrink] = [0.5, decay, 0.9, 0.1, direct, shrink].map(Apart);
    Affine { gradient, decay, momentum, rate, direct, shrink }
}

fn two_moments(terms: [f32; 3]) -> TwoMoments<Apart> {
    let [share, keep, fresh, unbias, eps_root, eps] = [0.1, 0.99, 0.01, 1.5, 1e-12, 1e-8].map(Apart);
    TwoMoments { affine: affine(terms), share, keep, fresh, unbias, eps_root, eps }
}

/// Numbers from -1 to 1; those of a second moment are not negative.
fn arrays(len: usize) -> [Vec<f32>; 4] {
    let mut random = fastrand::Rng::with_seed(len as u64);
    let mut array = |low: f32| (0..len).map(|_| low + (1.0 - low) * random.f32()).collect();
    [array(-1.0), array(-1.0), array(-1.0), array(0.0)]
}

/// An array that begins `offset` elements after a cache line.
struct Placed {
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

impl Placed {
    fn new(x: &[f32], offset: usize) -> Placed {
        let mut memory = vec![f32::NAN; x.len() + 32];
        let start = memory.as_ptr().align_offset(64) % 16 + offset;
        memory[start..start + x.len()].copy_from_slice(x);
        Placed { memory, start, len: x.len() }
    }

    fn get(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.len]
    }

    /// Whether the elements around the array are unchanged.
    fn is_alone(&self) -> bool {
        let (before, rest) = self.memory.split_at(self.start);
        before.iter().chain(&rest[self.len..]).all(|x| x.is_nan())
    }
}

/// The step and the new states of one element, in the order of the contract. Without momentum there is no state.
fn step(k: &TwoMoments<Apart>, states: usize, prescale: f32, [w, g, m, v]: [f32; 4]) -> [f32; 3] {
    let Affine { gradient, decay, momentum, rate, direct, shrink } = k.affine;
    let mut h = gradient.0 * (prescale * g);
    if decay.0 != 0.0 {
        h += decay.0 * w;
    }
    let (m, v, mut u) = match states {
        0 => return [h, m, v],
        1 => {
            let m = momentum.0 * m + h;
            (m, v, rate.0 * m)
        }
        _ => {
            let m = momentum.0 * m + k.share.0 * h;
            let v = k.keep.0 * v + k.fresh.0 * h * h;
            let d = (v * k.unbias.0 + k.eps_root.0).sqrt() + k.eps.0;
            (m, v, if d == 0.0 { 0.0 } else { rate.0 * m / d })
        }
    };
    let both = states == 1 && (direct.0 != 0.0 || shrink.0 != 0.0);
    if both || direct.0 != 0.0 {
        u += direct.0 * h;
    }
    if both || shrink.0 != 0.0 {
        u += shrink.0 * w;
    }
    [u, m, v]
}

/// The steps and new states of all elements.
fn steps(k: &TwoMoments<Apart>, states: usize, prescale: f32, [w, g, m, v]: &[Vec<f32>; 4]) -> Vec<[f32; 3]> {
    (0..w.len()).map(|i| step(k, states, prescale, [w[i], g[i], m[i], v[i]])).collect()
}

/// The sum of squares of the contract, without its scales: for numbers whose squares neither overflow nor underflow.
fn plain_sum(x: &[f32]) -> f64 {
    let leaf = |leaf: &[f32]| {
        let mut lanes = [0.0_f32; 32];
        leaf.iter().enumerate().for_each(|(i, x)| lanes[i % 32] += x * x);
        for half in [16, 8, 4, 2, 1] {
            (0..half).for_each(|i| lanes[i] += lanes[i + half]);
        }
        f64::from(lanes[0])
    };
    tree_sum(&x.chunks(LEAF).map(leaf).collect::<Vec<_>>())
}

/// The sum of the sums of all leaves, along the tree.
fn tree_sum(sums: &[f64]) -> f64 {
    match sums {
        [] => 0.0,
        [sum] => *sum,
        _ => {
            let (left, right) = sums.split_at(sums.len().next_power_of_two() / 2);
            tree_sum(left) + tree_sum(right)
        }
    }
}

/// Updates the first of four arrays, with the given number of states.
fn apply(
    machine: Machine,
    k: &TwoMoments<Apart>,
    states: usize,
    prescale: f32,
    [w, g, m, v]: [&mut [f32]; 4],
    sum: bool,
) -> Written {
    let (weights, gradients) = (w, &*g);
    match states {
        0 => Memory { weights, gradients, states: [] }.apply(machine, prescale, &k.affine, sum),
        1 => Memory { weights, gradients, states: [m] }.apply(machine, prescale, &k.affine, sum),
        _ => Memory { weights, gradients, states: [m, v] }.apply(machine, prescale, k, sum),
    }
}

fn same(found: &[f32], expected: impl Iterator<Item = f32>) -> bool {
    found.iter().map(|x| x.to_bits()).eq(expected.map(f32::to_bits))
}

#[test]
fn updates_have_the_bits_of_plain_loops() {
    for (len, prescale) in LENGTHS.iter().flat_map(|&len| [(len, 1.0), (len, 0.25)]) {
        let old = arrays(len);
        for (terms, states) in SCALARS.iter().flat_map(|&terms| (0..3).map(move |states| (terms, states))) {
            let k = two_moments(terms);
            let steps = steps(&k, states, prescale, &old);
            let weights: Vec<f32> = old[0].iter().zip(&steps).map(|(w, [u, ..])| w - u).collect();
            let expected_sum = plain_sum(&weights);
            for (machine, offsets, sum) in cases() {
                let name = || std::format!("{machine:?}, {len}, {offsets:?}, {terms:?}, {states}, {sum}");
                let mut new = [0, 1, 2, 3].map(|i| Placed::new(&old[i], offsets[i]));
                let written = apply(machine, &k, states, prescale, new.each_mut().map(Placed::get), sum);
                assert!(written.finite && new.iter().all(Placed::is_alone), "{}", name());
                assert!(!sum || written.sum_of_squares.to_bits() == expected_sum.to_bits(), "{}", name());
                let [w, g, m, v] = new.each_mut().map(Placed::get);
                assert!(same(w, weights.iter().copied()) && same(g, old[1].iter().copied()), "{}", name());
                assert!(
                    same(m, steps.iter().map(|new| new[1])) && same(v, steps.iter().map(|new| new[2])),
                    "{}",
                    name()
                );
            }
        }
    }
}

/// Backends, alignments, with and without a sum.
fn cases() -> impl Iterator<Item = (Machine, [usize; 4], bool)> {
    let with_offsets = |machine| [(machine, [0; 4]), (machine, [5; 4]), (machine, [1, 4, 6, 15])];
    machines().flat_map(with_offsets).flat_map(|(machine, offsets)| [false, true].map(|sum| (machine, offsets, sum)))
}

/// The sum of squares of a term; also checks that its pieces add up to it.
fn sum_of_term<T: Term<N>, const N: usize>(machine: Machine, term: T, arrays: [&[f32]; N]) -> f64 {
    let sum = sum_of_squares(machine, term, arrays);
    let (count, all) = (arrays[0].len().div_ceil(LEAF), arrays.map(Numbers::F32));
    // Leaf by leaf, and two by two.
    for leaves in [1, 2] {
        let mut rows = vec![[7.0; 3]; count.div_ceil(leaves)];
        any::each_piece(all, core::iter::repeat(leaves), &mut rows, 1, |piece| any::sum_of_term(machine, term, piece));
        let sums: Vec<f64> = rows.iter().map(|row| row[1]).collect();
        assert_eq!(tree_sum(&sums).to_bits(), sum.to_bits());
        assert!(rows.iter().all(|row| [row[0], row[2]] == [7.0; 2]));
    }
    sum
}

#[test]
fn sums_have_the_bits_of_plain_loops() {
    for &len in LENGTHS {
        let old = arrays(len);
        let k = two_moments(ALL_TERMS);
        let sums = [0, 1, 2].map(|states| {
            let steps = steps(&k, states, 0.5, &old);
            let moments = plain_sum(&steps.iter().map(|new| new[1]).collect::<Vec<_>>());
            [plain_sum(&steps.iter().map(|new| new[0]).collect::<Vec<_>>()), moments]
        });
        for (machine, offsets, _) in cases() {
            let mut placed = [0, 1, 2, 3].map(|i| Placed::new(&old[i], offsets[i]));
            let [w, g, m, v] = placed.each_mut().map(|array| &*array.get());
            let (affine, moments) = (StepOf { prescale: 0.5, k: &k.affine }, StepOf { prescale: 0.5, k: &k });
            let momentum = NewMomentum { prescale: 0.5, k: &k.affine };
            let decayed = Decayed { scale: 0.25, decay: 0.1 };
            let found = [
                sum_of_term(machine, affine, [w, g]),
                sum_of_term(machine, affine, [w, g, m]),
                sum_of_term(machine, moments, [w, g, m, v]),
                sum_of_term(machine, decayed, [w, g]),
                sum_of_term(machine, momentum, [w, g, m]),
                sum_of_term(machine, Plain, [g]),
            ];
            let expected = [sums[0][0], sums[1][0], sums[2][0], sums[0][0], sums[1][1], plain_sum(g)];
            assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits), "{machine:?}, {len}, {offsets:?}");
            let both = sums_of_squares(machine, [w, g]).map(f64::to_bits);
            assert_eq!(both, [w, g].map(|array| plain_sum(array).to_bits()), "{machine:?}, {len}, {offsets:?}");
        }
    }
}

#[test]
fn maxima_are_those_of_plain_loops() {
    for (machine, len) in machines().flat_map(|machine| LENGTHS.iter().map(move |&len| (machine, len))) {
        let [x, ..] = arrays(len);
        let max = |x: &[f32]| x.iter().fold(0.0_f32, |max, x| if x.abs() > max { x.abs() } else { max });
        assert_eq!(max_abs(machine, Numbers::F32(&x)), max(&x));
        let mut leaves = vec![[7.0; 2]; len.div_ceil(LEAF)];
        let one = core::iter::repeat(1);
        any::each_piece([Numbers::F32(&x)], one, &mut leaves, 1, |[leaf]| max_abs(machine, leaf).into());
        let expected: Vec<[f64; 2]> = x.chunks(LEAF).map(|leaf| [7.0, max(leaf).into()]).collect();
        assert_eq!(leaves, expected);
    }
}

/// Numbers that are not finite are found wherever they are; a sum that overflows is not mistaken for one.
#[test]
fn what_is_not_finite_is_found() {
    for len in [1, 2, 3, 12, 16, 17, 40, 256, 300, 1025, 5000] {
        for (machine, _, sum) in cases() {
            for states in 0..3 {
                let k = two_moments([0.0; 3]);
                let large: Vec<f32> = (0..len).map(|i| if i % 2 == 0 { 2e38 } else { 3e38 }).collect();
                let update = |array: usize, bad: f32, at: usize| {
                    let mut arrays = [large.clone(), vec![0.0; len], vec![0.0; len], vec![0.0; len]];
                    arrays[array][at] = bad;
                    apply(machine, &k, states, 1.0, arrays.each_mut().map(|array| &mut array[..]), sum).finite
                };
                assert!(update(0, 3e38, 0), "{machine:?}, {len}, {states}");
                for at in (0..len).step_by(1 + len / 40).chain([len - 1]) {
                    // A NaN in the second moment makes the weight NaN, as in all other arrays.
                    for (array, bad) in (0..2 + states).flat_map(|i| [(i, f32::NAN), (i % 3, f32::INFINITY)]) {
                        assert!(!update(array, bad, at), "{machine:?}, {len}, {states}: {bad} at {at} of {array}");
                    }
                }
            }
        }
    }
}

/// Zeros are summed and updated without scales, and 0 / 0 is 0, in partial vectors too.
#[test]
fn zeros_stay_zeros() {
    let mut k = two_moments(ALL_TERMS);
    (k.eps_root, k.eps) = (Apart(0.0), Apart(0.0));
    for (machine, len) in machines().flat_map(|machine| LENGTHS.iter().map(move |&len| (machine, len))) {
        let mut zeros = [(); 4].map(|()| vec![0.0_f32; len]);
        let views = zeros.each_ref().map(|array| &array[..]);
        assert_eq!(sum_of_term(machine, StepOf { prescale: 1.0, k: &k }, views).to_bits(), 0);
        let written = apply(machine, &k, 2, 1.0, zeros.each_mut().map(|array| &mut array[..]), true);
        assert_eq!(written, Written { sum_of_squares: 0.0, finite: true });
        assert!(zeros.iter().all(|array| array.iter().all(|x| x.to_bits() == 0)));
    }
}

/// One number, however small, among leaves of zeros.
#[test]
fn numbers_among_zeros_are_summed() {
    for machine in machines() {
        let places = [1030, 0, 3, 5 * LEAF + 17, 9 * LEAF + 2];
        for at in places.into_iter().take(if cfg!(miri) { 1 } else { places.len() }) {
            let mut x = vec![0.0; 9 * LEAF + 3];
            x[at] = f32::from_bits(1 << 9);
            let square = f64::from(x[at]) * f64::from(x[at]);
            assert_eq!(sum_of_term(machine, Plain, [&x]), square, "{machine:?}, {at}");
            x[2] = 2.0;
            assert_eq!(sum_of_term(machine, Plain, [&x]), 4.0 + square, "{machine:?}, {at}");
        }
    }
}
