//! Norms of any numbers at any alignment.

use crate::input;
use crate::reference::oracle::{Array, same};
use crate::reference::{contract, exact};
use arbitrary::{Result, Unstructured};
use layerwise::{LEAF, fold_leaf_sums, l2_norm, l2_norms, leaf_sums, max_norm, sum_of_squares};

pub fn norms(u: &mut Unstructured) -> Result<()> {
    let (len, offsets) = (input::len(u)?, input::offsets(u)?);
    let other_len = input::perhaps_other_len(u, len)?;
    let x = Array::new(&input::numbers(u, len)?, offsets[0]);
    let y = Array::new(&input::numbers(u, other_len)?, offsets[1]);
    let (x, y) = (x.get(), y.get());

    let sum = sum_of_squares(x);
    assert!(same(sum, contract::sum_of_squares(x)));
    assert!(same(l2_norm(x), sum.sqrt()));
    assert_eq!(sum.is_finite(), x.iter().all(|x| x.is_finite()));
    if sum.is_finite() {
        let exact = exact::sum_of_squares(x).sqrt();
        let error = (sum.sqrt() - exact).abs();
        assert!(error <= 1.2e-6 * exact, "{} instead of {exact} for {len} elements", sum.sqrt());
    }

    match l2_norms(x, y) {
        Ok([a, b]) => assert!(len == other_len && same(a, sum.sqrt()) && same(b, l2_norm(y))),
        Err(_) => assert_ne!(len, other_len),
    }

    let max = max_norm(x);
    match x.iter().any(|x| x.is_nan()) {
        true => assert!(max.is_nan()),
        false => assert_eq!(max, x.iter().fold(0.0, |max: f32, x| max.max(x.abs()))),
    }

    // Chunks that begin where leaves do, and sums for them or for another number of leaves.
    let leaves = len.div_ceil(LEAF);
    let mut sums = vec![-1.0; leaves];
    for cut in input::cuts(u, leaves)?.windows(2) {
        let chunk = &x[(cut[0] * LEAF).min(len)..(cut[1] * LEAF).min(len)];
        leaf_sums(chunk, &mut sums[cut[0]..cut[1]]).unwrap();
    }
    assert!(same(fold_leaf_sums(&sums), sum));
    let mut sums = vec![-1.0; input::perhaps_other_len(u, leaves)?];
    if sums.len() != leaves {
        leaf_sums(x, &mut sums).unwrap_err();
        assert!(sums.iter().all(|sum| *sum == -1.0));
    }
    Ok(())
}
