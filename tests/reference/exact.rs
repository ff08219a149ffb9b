//! Sums as exactly as `f64` can add them.

/// The sum of squares by Neumaier's compensated summation; every square of an `f32` is exact in `f64`.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for x in x {
        let square = f64::from(*x) * f64::from(*x);
        let next = sum + square;
        lost += if sum >= square { (sum - next) + square } else { (square - next) + sum };
        sum = next;
    }
    sum + lost
}
