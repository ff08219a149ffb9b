//! Whether two results are the same, bit for bit. All NaNs count as equal.

use layerwise::{Report, Summary};

/// Whether two numbers are the same.
pub fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Fails unless two arrays are the same.
pub fn assert_same(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!(same((*a).into(), (*b).into()), "{what} {i} of {}: {a:e} instead of {b:e}", ours.len());
    }
}

/// Fails unless two reports are the same.
pub fn assert_same_report(ours: &Report, theirs: &Report) {
    let numbers = |r: &Report| [r.gradient_norm, r.weight_norm, r.factor, r.effective_rate];
    let numbers_agree = numbers(ours).into_iter().zip(numbers(theirs)).all(|(a, b)| same(a, b));
    let agree = numbers_agree && (ours.outcome, ours.clipped) == (theirs.outcome, theirs.clipped);
    assert!(agree, "{ours:?} instead of {theirs:?}");
}

/// The numbers of a [`Summary`], which only the crate can make.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    pub applied: usize,
    pub skipped: usize,
    pub overflowed: usize,
    pub gradient_norm: f64,
    pub clip: f64,
}

impl From<Summary> for Totals {
    fn from(summary: Summary) -> Self {
        let Summary { applied, skipped, overflowed, gradient_norm, clip, .. } = summary;
        Totals { applied, skipped, overflowed, gradient_norm, clip }
    }
}

impl Totals {
    /// Fails unless both are the same.
    pub fn assert_same(&self, what: &str, theirs: &Totals) {
        let counts = |t: &Totals| [t.applied, t.skipped, t.overflowed];
        let agree = same(self.gradient_norm, theirs.gradient_norm) && same(self.clip, theirs.clip);
        assert!(agree && counts(self) == counts(theirs), "{what}: {self:?} instead of {theirs:?}");
    }
}

/// The bits of an array, to compare it as a whole.
pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// An array in `f64`.
pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Whether a rate or a setting is finite and at least 0.
pub fn non_negative(x: f64) -> bool {
    (0.0..=f64::MAX).contains(&x)
}
