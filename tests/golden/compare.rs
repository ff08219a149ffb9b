//! How far numbers are off.

/// The difference of two numbers: 0 for two NaNs, infinite for one.
fn difference(ours: f64, theirs: f64) -> f64 {
    if ours == theirs || ours.is_nan() && theirs.is_nan() {
        return 0.0;
    }
    let difference = (ours - theirs).abs();
    if difference.is_nan() { f64::INFINITY } else { difference }
}

/// The largest difference, in units of `scale`.
pub fn worst(ours: &[f64], theirs: &[f64], scale: f64) -> f64 {
    assert_eq!(ours.len(), theirs.len(), "so many numbers");
    let difference = ours.iter().zip(theirs).fold(0.0, |worst, (a, b)| difference(*a, *b).max(worst));
    if difference == 0.0 { 0.0 } else { difference / scale }
}

/// The largest difference, each in units of the number itself.
pub fn worst_relative(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len(), "so many numbers");
    ours.iter().zip(theirs).fold(0.0, |so_far, (a, b)| worst(&[*a], &[*b], b.abs()).max(so_far))
}

pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Fails if a deviation is above a tolerance.
pub fn assert_within(what: &str, deviation: f64, tolerance: f64) {
    assert!(deviation <= tolerance, "{what} is off by {deviation:e}");
}
