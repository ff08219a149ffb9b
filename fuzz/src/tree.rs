//! The tree of every sum: any range, any number of workers, complete and incomplete pieces.

use crate::harness::{bits, same};
use crate::input;
use crate::reference::{contract, tree};
use arbitrary::{Result, Unstructured};
use layerwise::pieces::{LEAF, Tree, add, subtree_sums};
use layerwise::{Argument, Backend, Error, on};
use std::ops::Range;

pub fn tree(u: &mut Unstructured) -> Result<()> {
    ranges(u)?;
    pieces(u)?;
    sums(u)?;
    addition(u)
}

/// Nodes and shares of small trees match the contract; those of large trees are in order.
fn ranges(u: &mut Unstructured) -> Result<()> {
    let (leaves, range) = (u.int_in_range(0..=300)?, u.int_in_range(0..=310)?..u.int_in_range(0..=310)?);
    let small = Tree::new(leaves);
    assert!(small.cover(range.clone()).eq(tree::cover(0..leaves, &range)), "{range:?} of {leaves}");
    let parts = u.int_in_range(0..=310)?;
    assert!((0..parts).map(|part| small.share(part, parts)).eq(tree::shares(leaves, parts)), "{parts} of {leaves}");

    let (leaves, range) = (u.arbitrary()?, u.arbitrary()?..u.arbitrary()?);
    let (large, mut at) = (Tree::new(leaves), range.start);
    for node in large.cover(range.clone()) {
        assert!(node.start == at && node.end > at && large.cover(node.clone()).eq([node.clone()]));
        at = node.end;
    }
    assert!(at == range.end.min(leaves).max(range.start));
    let parts = u.arbitrary()?;
    let (part, merges) = (u.arbitrary()?, large.merges(u.arbitrary()?));
    let (one, next) = (large.share(part, parts), large.share(part.saturating_add(1), parts));
    assert!(one.end == next.start && one.end <= leaves && merges <= usize::BITS);
    Ok(())
}

/// Pieces between any cuts make the whole; a missing, moved or extra piece is detected.
fn pieces(u: &mut Unstructured) -> Result<()> {
    let leaves = u.int_in_range(1..=300)?;
    let whole = Tree::new(leaves);
    let (leaf, join) =
        (|leaf| vec![leaf], |left: Vec<usize>, right: Vec<usize>| [vec![right[0]], left, right].concat());
    let value = |node: Range<usize>| (node.clone(), tree::fold(node, &leaf, &join));
    let cuts = input::cuts(u, leaves)?;
    let mut pieces: Vec<_> = cuts.windows(2).flat_map(|cut| whole.cover(cut[0]..cut[1])).map(value).collect();
    assert_eq!(whole.fold(pieces.clone(), join), Ok(Some(tree::fold(0..leaves, &leaf, &join))));
    let at = u.choose_index(pieces.len())?;
    match u.int_in_range(0..=2)? {
        0 => drop(pieces.remove(at)),
        1 => pieces.insert(at, pieces[at].clone()),
        _ => pieces[at].0.end += u.int_in_range(1..=3)?,
    }
    assert!(matches!(whole.fold(pieces, join), Err(Error::Pieces { .. })));
    Ok(())
}

/// Sums of the nodes of chunks give the norm on every backend; invalid chunks are refused.
fn sums(u: &mut Unstructured) -> Result<()> {
    let len = input::len(u)?;
    let x = input::numbers(u, len)?;
    let (whole, cuts) = (Tree::of_len(len), input::cuts(u, len.div_ceil(LEAF))?);
    for backend in Backend::available() {
        let mut pieces = vec![];
        for cut in cuts.windows(2) {
            let (chunk, nodes) = (&x[(cut[0] * LEAF).min(len)..(cut[1] * LEAF).min(len)], whole.cover(cut[0]..cut[1]));
            let mut sums = vec![-1.0; nodes.len()];
            on::subtree_sums(backend, chunk, len, cut[0] * LEAF, &mut sums).unwrap();
            pieces.extend(nodes.zip(sums));
        }
        let sum = whole.fold(pieces, |left, right| left + right).unwrap().unwrap_or(0.0);
        assert!(same(sum, contract::sum_of_squares(&x)), "{}", backend.name());
    }

    let (start, of) = (u.int_in_range(0..=2 * LEAF)?, u.int_in_range(0..=len + 2 * LEAF)?);
    let nodes = Tree::of_len(of).cover(start / LEAF..start / LEAF + len.div_ceil(LEAF)).len();
    let mut sums = vec![-1.0; input::perhaps_other_len(u, nodes)?];
    // A worker without leaves may begin after the end, which need not be a multiple of a leaf.
    let is_empty = len == 0 && start >= of;
    let is_chunk = is_empty || start + len == of || start + len < of && (start + len).is_multiple_of(LEAF);
    match subtree_sums(&x, of, start, &mut sums) {
        Ok(()) => {
            assert!((start.is_multiple_of(LEAF) || start == of) && is_chunk && sums.len() == nodes);
        }
        Err(error) => {
            match error {
                Error::OffLeaf { start } => assert!(!start.is_multiple_of(LEAF)),
                Error::Length { what: Argument::Chunk, .. } => assert!(start + len > of),
                _ => assert_ne!(sums.len(), nodes),
            }
            assert!(sums.iter().all(|sum| *sum == -1.0));
        }
    }
    Ok(())
}

/// A sum is rounded once, in either order.
fn addition(u: &mut Unstructured) -> Result<()> {
    let len = input::len(u)?;
    let (a, b) = (input::numbers(u, len)?, input::numbers(u, len)?);
    let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    for (a, b) in [(&a, &b), (&b, &a)] {
        let mut sum = a.clone();
        assert!(same(add(&mut sum, b).unwrap(), contract::sum_of_squares(&expected)));
        if expected.iter().all(|sum| !sum.is_nan()) {
            assert_eq!(bits(&sum), bits(&expected));
        }
    }
    Ok(())
}
