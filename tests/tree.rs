//! The tree of every sum, as hosts see it: its nodes are those of the contract, and sums of nodes give the sum of the
//! whole, however they are divided between workers.
#![allow(clippy::single_range_in_vec_init, reason = "a list of ranges may have one")]

mod harness;
mod reference;

use harness::data::leaf_cuts;
use harness::{KINDS, backends, bits, numbers};
use layerwise::pieces::{LEAF, Tree, add, subtree_sums};
use layerwise::{Argument, Backend, Error, sum_of_squares};
use proptest::prelude::*;
use reference::{contract, tree};
use std::ops::Range;

#[test]
fn every_range_is_covered_by_the_largest_nodes() {
    for leaves in 0..70 {
        for start in 0..leaves + 3 {
            for end in 0..leaves + 3 {
                let cover = Tree::new(leaves).cover(start..end);
                let expected = tree::cover(0..leaves, &(start..end));
                let count = cover.len();
                assert_eq!(cover.size_hint(), (count, Some(count)));
                assert!(cover.eq(expected.iter().cloned()), "{start}..{end} of {leaves}");
                assert_eq!(count, expected.len(), "{start}..{end} of {leaves}");
                let len = end.min(leaves).saturating_sub(start);
                let most = if len == 0 { 0 } else { 2 * len.ilog2() };
                assert!(count <= most.max(1) as usize, "{start}..{end} of {leaves}");
            }
        }
        let halves = tree::parts(&(0..leaves)).map(|[left, _]| left.len());
        assert_eq!(Tree::new(leaves).left(), halves);
    }
}

#[test]
fn every_worker_has_one_node() {
    for leaves in 0..70 {
        let tree = Tree::new(leaves);
        for workers in 0..75 {
            let expected = tree::shares(leaves, workers);
            for (worker, expected) in expected.into_iter().enumerate() {
                let share = tree.share(worker, workers);
                assert_eq!(share, expected, "worker {worker} of {workers}, {leaves} leaves");
                let most = leaves.div_ceil(workers).next_power_of_two();
                assert!(share.len() <= most, "worker {worker} of {workers}, {leaves} leaves");
            }
            for nobody in [workers, workers + 1, usize::MAX] {
                assert_eq!(tree.share(nobody, workers), leaves..leaves);
            }
        }
    }
}

/// The sum of a node, adding leaf by leaf; and the largest number of pending sums.
fn counted<T>(node: Range<usize>, leaf: impl Fn(usize) -> T, add: impl Fn(T, T) -> T) -> (T, usize) {
    let (mut sums, mut most) = (Vec::new(), 0);
    for i in node.clone() {
        sums.push(leaf(i));
        most = most.max(sums.len());
        for _ in 0..Tree::new(node.len()).merges(i - node.start) {
            let right = sums.pop().unwrap();
            let left = sums.pop().unwrap();
            sums.push(add(left, right));
        }
    }
    assert_eq!(sums.len(), 1);
    (sums.pop().unwrap(), most)
}

/// The order of the additions, as text.
fn words(leaf: usize) -> String {
    leaf.to_string()
}

fn join(left: String, right: String) -> String {
    format!("({left} {right})")
}

#[test]
fn leaves_are_added_in_the_order_of_the_tree() {
    for leaves in 1..200 {
        let expected = tree::fold(0..leaves, &words, &join);
        let (found, most) = counted(0..leaves, words, join);
        assert_eq!(found, expected);
        assert!(most <= leaves.ilog2() as usize + 1, "{most} sums of {leaves} leaves");
    }
    for leaf in [0, 5, 6, usize::MAX] {
        assert_eq!((Tree::new(0).merges(leaf), Tree::new(5).merges(leaf.max(5))), (0, 0));
    }
}

#[test]
fn pieces_of_every_two_ranges_make_the_whole() {
    for leaves in 1..70 {
        let whole = Tree::new(leaves);
        let expected = tree::fold(0..leaves, &words, &join);
        let value = |node: Range<usize>| (node.clone(), counted(node, words, join).0);
        for cut in 0..=leaves {
            let pieces = whole.cover(0..cut).chain(whole.cover(cut..leaves)).map(value);
            assert_eq!(whole.fold(pieces, join), Ok(Some(expected.clone())), "{leaves} leaves cut at {cut}");
        }
    }
    assert_eq!(Tree::new(0).fold([], join), Ok(None));
}

#[test]
fn pieces_that_do_not_make_the_whole_are_refused() {
    let fold = |leaves, pieces: &[Range<usize>]| {
        Tree::new(leaves).fold(pieces.iter().map(|piece| (piece.clone(), 1)), |left, right| left + right)
    };
    let refused = |leaf| Err(Error::Pieces { leaf });
    assert_eq!(fold(6, &[0..4, 4..6]), Ok(Some(2)));
    assert_eq!(fold(6, &[]), refused(0));
    assert_eq!(fold(6, &[0..4]), refused(4));
    assert_eq!(fold(6, &[0..4, 4..5]), refused(5));
    assert_eq!(fold(6, &[0..3, 3..6]), refused(0)); // no nodes
    assert_eq!(fold(6, &[4..6, 0..4]), refused(0));
    assert_eq!(fold(6, &[0..4, 4..7]), refused(4));
    assert_eq!(fold(6, &[0..4, 4..6, 6..7]), refused(6));
    assert_eq!(fold(6, &[0..4, 3..6]), refused(4));
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = 4..0;
    assert_eq!(fold(6, &[backwards]), refused(0));
    assert_eq!(fold(0, &[0..0]), refused(0));
    assert_eq!(fold(usize::MAX, &[0..1]), refused(1));
}

#[test]
fn trees_may_have_as_many_leaves_as_there_are_numbers() {
    let tree = Tree::new(usize::MAX);
    assert!(tree.cover(0..usize::MAX).eq([0..usize::MAX]));
    assert!(tree.cover(usize::MAX..usize::MAX).eq([]));
    assert_eq!(tree.cover(1..usize::MAX).len(), usize::BITS as usize);
    assert_eq!(tree.cover(1..usize::MAX - 1).len(), 2 * usize::BITS as usize - 3);
    assert_eq!(tree.share(usize::MAX - 1, usize::MAX), usize::MAX - 1..usize::MAX);
    assert_eq!(tree.share(0, 2), 0..1 << (usize::BITS - 1));
    assert_eq!(Tree::of_len(usize::MAX).leaves(), usize::MAX / LEAF + 1);
}

/// The sum of squares of nodes on a backend.
fn sums_on(backend: Option<Backend>, chunk: &[f32], len: usize, start: usize, sums: &mut [f64]) {
    match backend {
        Some(backend) => layerwise::on::subtree_sums(backend, chunk, len, start, sums),
        None => subtree_sums(chunk, len, start, sums),
    }
    .unwrap();
}

#[test]
fn sums_of_nodes_are_norms_of_arrays() {
    let mut rng = fastrand::Rng::with_seed(1);
    for len in [0, 1, LEAF, LEAF + 1, 5 * LEAF + 7, 17 * LEAF + 1, 100_003, 163_841, 66 * LEAF] {
        let tree = Tree::of_len(len);
        for (kind, (name, backend)) in KINDS.into_iter().flat_map(|kind| backends().map(move |on| (kind, on))) {
            let x = numbers(kind, len, 1);
            let expected = contract::sum_of_squares(&x).to_bits();
            for chunks in [1, 2, 3, 9] {
                let (cuts, mut pieces) = (leaf_cuts(len, chunks, &mut rng), Vec::new());
                for cut in cuts.windows(2) {
                    let nodes = tree.cover(cut[0] / LEAF..cut[1].div_ceil(LEAF));
                    let mut sums = vec![f64::NAN; nodes.len()];
                    sums_on(backend, &x[cut[0]..cut[1]], len, cut[0], &mut sums);
                    for (node, sum) in nodes.zip(&sums) {
                        let part = &x[node.start * LEAF..len.min(node.end * LEAF)];
                        assert_eq!(sum.to_bits(), contract::sum_of_squares(part).to_bits(), "{name}");
                        pieces.push((node, *sum));
                    }
                }
                let sum = tree.fold(pieces, |left, right| left + right).unwrap().unwrap_or(0.0);
                assert_eq!(sum.to_bits(), expected, "{name}, {len} {kind} elements cut at {cuts:?}");
            }
        }
    }
}

#[test]
fn chunks_that_are_none_are_refused() {
    let (x, mut sums) = ([1.0; 3000], [7.0; 3]);
    let length = |what, expected, found| Err(Error::Length { layer: None, what, expected, found });
    // The last leaf of 3000 elements, and the third of more.
    assert_eq!(subtree_sums(&x[2048..], 3000, 2048, &mut sums[..1]), Ok(()));
    assert_eq!(subtree_sums(&[0.0_f32; 0], 3000, 3000, &mut []), Ok(()), "a worker without a leaf");
    assert_eq!(subtree_sums(&[0.0_f32; 0], 3000, 3 * LEAF, &mut []), Ok(()), "the same, where its leaves would begin");
    sums = [7.0; 3];
    assert_eq!(subtree_sums(&[0.0_f32; 0], 3000, 2999, &mut []), Err(Error::OffLeaf { start: 2999 }));
    assert_eq!(subtree_sums(&x[2048..], 5000, 2048, &mut sums[..1]), Err(Error::OffLeaf { start: 3000 }));
    assert_eq!(subtree_sums(&x, 3000, 5, &mut sums), Err(Error::OffLeaf { start: 5 }));
    assert_eq!(subtree_sums(&x, 2999, 0, &mut sums), length(Argument::Chunk, 2999, 3000));
    assert_eq!(subtree_sums(&x, 3000, 1024, &mut sums), length(Argument::Chunk, 1976, 3000));
    assert_eq!(subtree_sums(&x, 3000, 1 << 20, &mut sums), length(Argument::Chunk, 0, 3000));
    assert_eq!(subtree_sums(&x, 3000, 0, &mut sums[..2]), length(Argument::Sums, 1, 2));
    assert_eq!(subtree_sums(&x[1024..], 3000, 1024, &mut sums[..1]), length(Argument::Sums, 2, 1));
    assert_eq!(sums, [7.0; 3]);
}

#[test]
fn an_addition_is_one_rounding_and_commutes() {
    for (kind, (name, backend)) in KINDS.into_iter().flat_map(|kind| backends().map(move |on| (kind, on))) {
        for len in [0, 1, 17, 1024, 3000, 70_000] {
            let (a, b) = (numbers(kind, len, 1), numbers(kind, len, 2));
            let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            for (a, b) in [(&a, &b), (&b, &a)] {
                let mut sum = a.clone();
                let squares = match backend {
                    Some(backend) => layerwise::on::add(backend, &mut sum, b),
                    None => add(&mut sum, b),
                };
                assert_eq!(bits(&sum), bits(&expected), "{name}, {len} {kind} elements");
                let of_sum = sum_of_squares(&expected);
                assert!(squares.unwrap().to_bits() == of_sum.to_bits() || of_sum.is_nan(), "{name}, {len} {kind}");
            }
        }
    }
    // The zeros are those of an addition too.
    for (a, b) in [(0.0, -0.0), (-0.0, 0.0), (-0.0, -0.0), (1.0, -1.0), (f32::MAX, f32::MAX)] {
        let mut sum = [a];
        add(&mut sum, &[b]).unwrap();
        assert_eq!(sum[0].to_bits(), (a + b).to_bits());
    }
    let short = Error::Length { layer: None, what: Argument::Gradients, expected: 2, found: 1 };
    assert_eq!(add(&mut [1.0; 2], &[1.0]), Err(short));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Vectors of micro-batches: any number of workers, each with a range or a node, get the sum of a single worker.
    #[test]
    fn the_number_of_workers_does_not_show(leaves in 1..300_usize, workers in 1..40_usize, shares: bool, seed: u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let vector = |leaf: usize| numbers(KINDS[leaf % KINDS.len()], 7, seed ^ leaf as u64);
        let vectors: Vec<Vec<f32>> = (0..leaves).map(vector).collect();
        let leaf = |i: usize| vectors[i].clone();
        let sum = |mut left: Vec<f32>, right: Vec<f32>| {
            add(&mut left, &right).unwrap();
            left
        };
        let tree = Tree::new(leaves);
        let mut cuts: Vec<usize> = (1..workers).map(|_| rng.usize(0..=leaves)).chain([0, leaves]).collect();
        cuts.sort_unstable();
        let mut ranges: Vec<_> = cuts.windows(2).map(|cut| cut[0]..cut[1]).collect();
        if shares {
            ranges = (0..workers).map(|worker| tree.share(worker, workers)).collect();
            prop_assert!(ranges.iter().all(|range| tree.cover(range.clone()).len() == usize::from(!range.is_empty())));
        }
        let pieces = ranges.into_iter().flat_map(|range| tree.cover(range)).map(|node| {
            (node.clone(), counted(node, leaf, sum).0)
        });
        let found = tree.fold(pieces, sum).unwrap().unwrap();
        let expected = tree::fold(0..leaves, &leaf, &sum);
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        prop_assert!(found.iter().zip(&expected).all(same), "{found:?} instead of {expected:?}");
    }

    /// For trees of any size: shares are consecutive nodes, and as equal as documented.
    #[test]
    fn shares_are_nodes_in_order(leaves in any::<usize>(), shift in 0..64_u32, parts in 1..200_usize) {
        let leaves = leaves >> shift;
        let tree = Tree::new(leaves);
        let mut end = 0;
        let most = leaves.div_ceil(parts).checked_next_power_of_two().unwrap_or(usize::MAX);
        for part in 0..parts {
            let share = tree.share(part, parts);
            prop_assert_eq!(share.start, end.min(leaves));
            prop_assert!(share.len() <= most && tree.cover(share.clone()).len() <= 1);
            end = share.end;
        }
        prop_assert_eq!(end, leaves);
    }
}
