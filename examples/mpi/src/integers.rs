//! Sums of integers: any library may add them, in any order, with the same result.
//!
//! The elements of a unit share an exponent: that of the largest one over all micro-batches, which all ranks get by a
//! max-reduction. Each element becomes a multiple of `2^(exponent − bits)`, where `bits = 31 − ⌈log2(M + 1)⌉`, so that
//! `M` of them cannot overflow. MPI's own reduce-scatter adds these.
//!
//! Limits:
//! - The exponent is known only after all micro-batches. So a rank keeps `M/P` vectors, where the tree needs
//!   `⌊log2(M/P)⌋ + 1`, or computes them twice.
//! - An element is rounded to half of `2^(exponent − bits)`, where each `f32` has its own 24 bits: small elements next
//!   to large ones lose theirs. The error of a sum is at most `M/2` of these, plus the rounding to `f32`. With a few
//!   hundred micro-batches that is still about 10⁻⁶ of the largest element.
//! - A NaN or an infinity has the exponent 255. All elements of its unit become NaN, and the step is skipped.

use crate::model::elements;
use crate::net::Net;
use crate::plan::Plan;
use layerwise::pieces::LEAF;

/// The exponent of a unit with a number that is not finite.
const NOT_FINITE: u8 = 255;

/// The bits of an element, without its sign.
pub fn bits(leaves: usize) -> i32 {
    31 - (leaves + 1).next_power_of_two().ilog2() as i32
}

/// The largest exponent of each unit: that of the bits of an `f32`.
pub fn exponents(x: &[f32]) -> Vec<u8> {
    let exponent = |x: &f32| (x.to_bits() >> 23) as u8;
    x.chunks(LEAF).map(|unit| unit.iter().map(exponent).max().unwrap_or(0)).collect()
}

/// `2^(exponent − bits)`, for a unit in which no element is beyond `2^exponent`.
fn quantum(exponent: u8, bits: i32) -> f64 {
    let exponent = i32::from(exponent.max(1)) - 126;
    f64::from_bits(((1023 + exponent - bits) as u64) << 52)
}

/// Adds a vector to sums of integers. A number that is not finite adds garbage: its unit will be NaN.
pub fn add_quantised(sums: &mut [i32], x: &[f32], exponents: &[u8], bits: i32) {
    for ((sums, x), exponent) in sums.chunks_mut(LEAF).zip(x.chunks(LEAF)).zip(exponents) {
        let quantum = quantum(*exponent, bits);
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum = sum.wrapping_add((f64::from(*x) / quantum).round_ties_even() as i32);
        }
    }
}

/// Sums as numbers.
pub fn numbers(sums: &[i32], exponents: &[u8], bits: i32) -> Vec<f32> {
    let unit = |(sums, exponent): (&[i32], &u8)| -> Vec<f32> {
        let quantum = if *exponent == NOT_FINITE { f64::NAN } else { quantum(*exponent, bits) };
        sums.iter().map(|sum| (f64::from(*sum) * quantum) as f32).collect()
    };
    sums.chunks(LEAF).zip(exponents).flat_map(unit).collect()
}

/// The sum in one process.
pub fn sum(leaves: &[Vec<f32>]) -> Vec<f32> {
    let units = leaves.first().map_or(0, Vec::len) / LEAF;
    let (exponents, bits) = (largest(leaves, units), bits(leaves.len()));
    let mut sums = vec![0; units * LEAF];
    leaves.iter().for_each(|leaf| add_quantised(&mut sums, leaf, &exponents, bits));
    numbers(&sums, &exponents, bits)
}

/// The rank's shard of the sum over all ranks.
pub fn reduce(net: &Net, plan: &Plan, leaves: &[Vec<f32>]) -> Vec<f32> {
    let (exponents, bits) = (net.max(&largest(leaves, plan.units)), bits(plan.leaves));
    let block = plan.units.div_ceil(net.ranks) * LEAF;
    let mut sums = vec![0; block * net.ranks];
    leaves.iter().for_each(|leaf| add_quantised(&mut sums, leaf, &exponents, bits));
    let mut own = vec![0; block];
    net.reduce_scatter(&sums, &mut own);
    let shard = &plan.shards[net.rank][0];
    numbers(&own[..elements(shard).len()], &exponents[shard.clone()], bits)
}

/// The largest exponents of several vectors.
fn largest(leaves: &[Vec<f32>], units: usize) -> Vec<u8> {
    let mut largest = vec![0; units];
    for leaf in leaves {
        largest.iter_mut().zip(exponents(leaf)).for_each(|(max, exponent)| *max = exponent.max(*max));
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u64, spread: i32) -> Vec<f32> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut number = || (2.0 * rng.f32() - 1.0) * f32::from_bits(((127 + rng.i32(-spread..=0)) as u32) << 23);
        (0..2 * LEAF).map(|_| number()).collect()
    }

    /// The largest numbers do not overflow even if all elements have that size.
    #[test]
    fn equal_maxima_do_not_overflow() {
        for leaves in [1, 2, 3, 24, 32, 255, 256, 257] {
            for x in [1.0_f32.next_down(), 1.0, -1.0, 3e38 / leaves as f32] {
                let sum = sum(&vec![vec![x; LEAF]; leaves])[0];
                let exact = f64::from(x) * leaves as f64;
                assert!((f64::from(sum) - exact).abs() <= 1e-6 * exact.abs(), "{leaves} times {x} is {sum}");
            }
        }
    }

    /// The stated error bound holds, and is nearly reached if numbers differ greatly in size.
    #[test]
    fn errors_are_within_their_limit() {
        for (leaves, spread) in [1, 24, 32, 256].into_iter().flat_map(|leaves| [(leaves, 0), (leaves, 20)]) {
            let all: Vec<_> = (0..leaves).map(|leaf| random(leaf as u64, spread)).collect();
            let (found, bits) = (sum(&all), bits(leaves));
            let mut worst = 0.0_f64;
            for (unit, exponent) in largest(&all, 2).into_iter().enumerate() {
                for i in unit * LEAF..(unit + 1) * LEAF {
                    let exact: f64 = all.iter().map(|leaf| f64::from(leaf[i])).sum();
                    let rounding = f64::from(f32::EPSILON) * exact.abs();
                    let limit = leaves as f64 / 2.0 * quantum(exponent, bits);
                    let error = ((f64::from(found[i]) - exact).abs() - rounding) / limit;
                    worst = if error > worst { error } else { worst };
                }
            }
            assert!(worst <= 1.0, "{leaves} leaves: {worst} of the limit");
        }
        // Small numbers next to large ones lose all their bits: that is the limit of this method.
        let mut unit = vec![1e-9; LEAF];
        unit[0] = 1.0;
        assert_eq!(sum(&vec![unit; 32])[1], 0.0);
    }

    /// The order does not matter, nor how leaves are divided between ranks.
    #[test]
    fn any_order_has_the_same_bits() {
        let mut all: Vec<_> = (0..24).map(|leaf| random(leaf, 20)).collect();
        let before = sum(&all);
        all.reverse();
        assert_eq!(sum(&all), before);
    }

    #[test]
    fn what_is_not_finite_is_found() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut all = vec![vec![1.0; 2 * LEAF]; 3];
            all[1][5] = bad;
            let sum = sum(&all);
            assert!(sum[..LEAF].iter().all(|x| x.is_nan()) && sum[LEAF..] == [3.0; LEAF]);
        }
        assert_eq!(sum(&vec![vec![0.0; LEAF]; 3]), [0.0; LEAF]);
        let subnormal = f32::from_bits(1);
        assert!(sum(&vec![vec![subnormal; LEAF]; 3])[0] <= 3.0 * subnormal);
    }
}
