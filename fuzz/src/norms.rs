//! Norms of any numbers at any alignment.

use crate::harness::{Array, same};
use crate::input;
use crate::reference::{contract, exact};
use arbitrary::{Result, Unstructured};
use layerwise::pieces::{LEAF, fold_leaf_sums, leaf_sums};
use layerwise::{Backend, Error, l2_norm, max_norm, on, sum_of_squares};

pub fn norms(u: &mut Unstructured) -> Result<()> {
    let (len, offsets) = (input::len(u)?, input::offsets(u)?);
    let array = Array::new(&input::numbers(u, len)?, offsets[0]);
    let x = array.get();

    let sum = sum_of_squares(x);
    assert!(same(sum, contract::sum_of_squares(x)));
    assert!(same(l2_norm(x), sum.sqrt()));
    assert_eq!(sum.is_finite(), x.iter().all(|x| x.is_finite()));
    if sum.is_finite() {
        let exact = exact::sum_of_squares(x).sqrt();
        let error = (sum.sqrt() - exact).abs();
        assert!(error <= 1.2e-6 * exact, "{} instead of {exact} for {len} elements", sum.sqrt());
    }

    let max = max_norm(x);
    match x.iter().any(|x| x.is_nan()) {
        true => assert!(max.is_nan()),
        false => assert_eq!(max, x.iter().fold(0.0, |max: f32, x| max.max(x.abs()))),
    }

    for backend in Backend::available() {
        assert!(same(on::sum_of_squares(backend, x), sum), "{}", backend.name());
        assert!(same(on::max_norm(backend, x).into(), max.into()), "{}", backend.name());
    }
    sums_of_leaves(u, x, sum)
}

/// Chunks that begin where leaves do, and sums for them; then for another number of leaves, or another start.
fn sums_of_leaves(u: &mut Unstructured, x: &[f32], sum: f64) -> Result<()> {
    let (len, leaves) = (x.len(), x.len().div_ceil(LEAF));
    let mut sums = vec![-1.0; leaves];
    for cut in input::cuts(u, leaves)?.windows(2) {
        let chunk = &x[(cut[0] * LEAF).min(len)..(cut[1] * LEAF).min(len)];
        leaf_sums(chunk, cut[0] * LEAF, &mut sums[cut[0]..cut[1]]).unwrap();
    }
    assert!(same(fold_leaf_sums(&sums), sum));

    let mut sums = vec![-1.0; input::perhaps_other_len(u, leaves)?];
    let start = u.int_in_range(0..=2 * LEAF)?;
    match leaf_sums(x, start, &mut sums) {
        Ok(()) => assert!(start.is_multiple_of(LEAF) && sums.len() == leaves),
        Err(error) => {
            let off_leaf = error == Error::OffLeaf { start } && !start.is_multiple_of(LEAF);
            assert!(off_leaf || sums.len() != leaves, "{error}");
            assert!(sums.iter().all(|sum| *sum == -1.0));
        }
    }
    Ok(())
}
