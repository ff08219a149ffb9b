//! The tree of rule 5 of the contract, as the contract states it.

use std::ops::Range;

/// The two parts of a node.
pub fn parts(node: &Range<usize>) -> Option<[Range<usize>; 2]> {
    let mut left = 1;
    while left * 2 < node.len() {
        left *= 2;
    }
    let middle = node.start + left;
    (node.len() > 1).then_some([node.start..middle, middle..node.end])
}

/// The largest nodes within a range of leaves.
pub fn cover(node: Range<usize>, range: &Range<usize>) -> Vec<Range<usize>> {
    if node.end <= range.start || range.end <= node.start {
        return vec![];
    }
    if range.start <= node.start && node.end <= range.end {
        return vec![node];
    }
    parts(&node).into_iter().flatten().flat_map(|part| cover(part, range)).collect()
}

/// One node for each of several workers: the largest is split, the rightmost if there are several, until there are
/// enough.
pub fn shares(leaves: usize, workers: usize) -> Vec<Range<usize>> {
    let mut nodes: Vec<_> = std::iter::once(0..leaves).collect();
    while nodes.len() < workers {
        let (i, _) = nodes.iter().enumerate().max_by_key(|(i, node)| (node.len(), *i)).unwrap();
        let Some(parts) = parts(&nodes[i]) else { break };
        nodes.splice(i..=i, parts);
    }
    nodes.retain(|node| !node.is_empty());
    nodes.resize(workers, leaves..leaves);
    nodes
}

/// The value of a node, from those of its leaves.
pub fn fold<T>(node: Range<usize>, leaf: &dyn Fn(usize) -> T, add: &dyn Fn(T, T) -> T) -> T {
    match parts(&node) {
        None => leaf(node.start),
        Some([left, right]) => add(fold(left, leaf, add), fold(right, leaf, add)),
    }
}
