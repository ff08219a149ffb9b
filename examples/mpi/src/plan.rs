//! Who does what: which micro-batches a rank computes, which part of the flat buffer it owns, and what it sends to
//! whom.
//!
//! Everything follows from the number of micro-batches, the number of ranks and the lengths of the layers. So every
//! rank computes the whole plan by itself, without communication.

use crate::Result;
use crate::model::Layer;
use layerwise::pieces::Tree;
use std::ops::Range;

/// How gradients are added across ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// Every rank computes one node of the tree; two nodes exchange halves on the way up.
    Halving,
    /// Every rank computes one node; the owner of a shard receives its part of all nodes, and adds.
    Direct,
    /// All ranks compute about the same number of micro-batches, with cuts at multiples of a number, and send a vector
    /// for each node in their range.
    Ranges(usize),
    /// Integers with common exponents, added by MPI in any order.
    Integers,
    /// `f32` numbers added by MPI: the control, whose bits depend on the number of ranks.
    Mpi,
}

pub const WAYS: [(&str, Way); 6] = [
    ("halving", Way::Halving),
    ("direct", Way::Direct),
    ("ranges", Way::Ranges(1)),
    ("ranges4", Way::Ranges(4)),
    ("integers", Way::Integers),
    ("mpi", Way::Mpi),
];

impl Way {
    /// A way by its name, or `ranges` with a number: the multiples at which ranges are cut.
    pub fn of(name: &str) -> Result<Way> {
        let grid = name.strip_prefix("ranges").and_then(|grid| grid.parse().ok());
        if let Some(grid) = grid.filter(|grid| *grid > 0) {
            return Ok(Way::Ranges(grid));
        }
        let way = WAYS.iter().find(|(other, _)| *other == name);
        Ok(way.ok_or_else(|| format!("no way {name}: one of {}", WAYS.map(|(name, _)| name).join(", ")))?.1)
    }
}

/// What one rank sends to another when two nodes are added.
#[derive(Clone, Debug)]
pub struct Message {
    pub from: usize,
    pub to: usize,
    pub units: Range<usize>,
}

/// A part of a layer that a rank owns.
#[derive(Clone, Debug)]
pub struct Part {
    pub layer: usize,
    /// Leaves of the layer.
    pub leaves: Range<usize>,
    /// Where its leaves begin in the rank's shard.
    pub at: usize,
}

/// The whole plan. A unit is a leaf of the flat buffer.
pub struct Plan {
    pub way: Way,
    pub leaves: usize,
    pub units: usize,
    pub layers: Vec<Layer>,
    /// The micro-batches that each rank computes.
    pub ranges: Vec<Range<usize>>,
    /// The units of each rank, in the order in which it keeps them.
    pub shards: Vec<Vec<Range<usize>>>,
    /// For each addition of two nodes, from the leaves up: what ranks exchange.
    pub joins: Vec<Vec<Message>>,
    /// The parts of layers in each shard.
    pub parts: Vec<Vec<Part>>,
}

impl Plan {
    pub fn new(way: Way, leaves: usize, ranks: usize, layers: &[Layer]) -> Result<Plan> {
        if leaves < ranks {
            return Err(format!(
                "{leaves} micro-batches are too few for {ranks} ranks: {} would idle. Let the number of micro-batches \
                 be that of the most ranks you will ever want, times a power of two",
                ranks - leaves
            )
            .into());
        }
        let units = layers.last().map_or(0, |layer| layer.units.end);
        let mut joins = Vec::new();
        let (ranges, shards) = match way {
            Way::Halving => {
                let ranges = one_node_each(leaves, ranks);
                let held = join_node(0..leaves, &ranges, 0, units, &mut joins);
                let of = |rank| held.iter().filter(|part| part.rank == rank).map(|part| part.units.clone()).collect();
                (ranges, (0..ranks).map(of).collect())
            }
            Way::Direct => (one_node_each(leaves, ranks), contiguous(units, ranks)),
            Way::Ranges(grid) => (moved(leaves, ranks, grid)?, contiguous(units, ranks)),
            Way::Integers | Way::Mpi => (equal(leaves, ranks), blocks(units, ranks)),
        };
        let parts = shards.iter().map(|shard: &Vec<_>| parts(shard, layers)).collect();
        Ok(Plan { way, leaves, units, layers: layers.to_vec(), ranges, shards, joins, parts })
    }

    /// The nodes whose sums a rank has.
    pub fn nodes(&self, rank: usize) -> Vec<Range<usize>> {
        Tree::new(self.leaves).cover(self.ranges[rank].clone()).collect()
    }

    /// The units of a shard.
    pub fn shard_units(&self, rank: usize) -> usize {
        self.shards[rank].iter().map(|units| units.len()).sum()
    }

    /// The nodes of norms that cover a part of a layer.
    pub fn norm_nodes(&self, part: &Part) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        Tree::of_len(self.layers[part.layer].len).cover(part.leaves.clone())
    }
}

/// One node of the tree for each rank.
pub fn one_node_each(leaves: usize, ranks: usize) -> Vec<Range<usize>> {
    (0..ranks).map(|rank| Tree::new(leaves).share(rank, ranks)).collect()
}

/// Ranges of leaves that are as equal as possible.
pub fn equal(leaves: usize, ranks: usize) -> Vec<Range<usize>> {
    (0..ranks).map(|rank| leaves * rank / ranks..leaves * (rank + 1) / ranks).collect()
}

/// The same, with cuts moved to the next multiple of `grid`: fewer nodes, but less equal ranges.
pub fn moved(leaves: usize, ranks: usize, grid: usize) -> Result<Vec<Range<usize>>> {
    let cut = |rank: usize| match rank {
        0 => 0,
        _ if rank == ranks => leaves,
        _ => ((leaves * rank / ranks + grid / 2) / grid * grid).min(leaves),
    };
    let ranges: Vec<_> = (0..ranks).map(|rank| cut(rank)..cut(rank + 1)).collect();
    if ranges.iter().any(|range| range.is_empty()) {
        return Err(format!("cuts at multiples of {grid} leave ranks without one of {leaves} micro-batches").into());
    }
    Ok(ranges)
}

/// How many vectors a rank sends in the reduce-scatter: one for each node.
pub fn vectors(leaves: usize, range: &Range<usize>) -> usize {
    Tree::new(leaves).cover(range.clone()).len()
}

fn contiguous(units: usize, ranks: usize) -> Vec<Vec<Range<usize>>> {
    in_one_part(equal(units, ranks))
}

/// Blocks of equal length; the last ones may be short or empty.
fn blocks(units: usize, ranks: usize) -> Vec<Vec<Range<usize>>> {
    let block = units.div_ceil(ranks);
    in_one_part((0..ranks).map(|rank| (rank * block).min(units)..((rank + 1) * block).min(units)))
}

fn in_one_part(shards: impl IntoIterator<Item = Range<usize>>) -> Vec<Vec<Range<usize>>> {
    shards.into_iter().map(|units| Vec::from([units])).collect()
}

/// The parts of layers in a shard.
fn parts(shard: &[Range<usize>], layers: &[Layer]) -> Vec<Part> {
    let mut at = 0;
    let mut parts = Vec::new();
    for units in shard {
        for (index, layer) in layers.iter().enumerate() {
            let (start, end) = (units.start.max(layer.units.start), units.end.min(layer.units.end));
            if start < end {
                let leaves = start - layer.units.start..end - layer.units.start;
                parts.push(Part { layer: index, leaves, at: at + start - units.start });
            }
        }
        at += units.len();
    }
    parts
}

/// A part of the sum of a node, and the rank that holds it.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    units: Range<usize>,
    rank: usize,
}

/// Plans the exchanges below a node whose ranges belong to the ranks from `first` on; returns who holds which part of
/// its sum.
///
/// For two nodes with `l` and `r` ranks, those on the left hold their sum in parts of `1/l`, keep `l/(l + r)` of it,
/// and send the rest. Each rank's part shrinks from `1/l`, or `1/r`, to `1/(l + r)`. So on the whole way up each rank
/// sends `1 − 1/P` of a vector, for any tree and any number of ranks.
fn join_node(
    node: Range<usize>,
    ranges: &[Range<usize>],
    first: usize,
    units: usize,
    joins: &mut Vec<Vec<Message>>,
) -> Vec<Held> {
    if ranges.len() == 1 {
        return vec![Held { units: 0..units, rank: first }];
    }
    let middle = node.start + Tree::new(node.len()).left().expect("a node of two ranks has two leaves");
    let l = ranges.iter().take_while(|range| range.end <= middle).count();
    let left = join_node(node.start..middle, &ranges[..l], first, units, joins);
    let right = join_node(middle..node.end, &ranges[l..], first + l, units, joins);
    let (held, messages) = exchange(&left, &right, l, ranges.len() - l);
    joins.push(messages);
    held
}

/// Overlays two divisions of a vector, and divides each cell between its two holders. A holder of the previous cell
/// takes the head, so that shards have few parts.
fn exchange(left: &[Held], right: &[Held], l: usize, r: usize) -> (Vec<Held>, Vec<Message>) {
    let (mut held, mut messages): (Vec<Held>, Vec<Message>) = Default::default();
    let mut keep = |units: Range<usize>, keeper: usize, sender: usize| {
        if units.is_empty() {
            return;
        }
        messages.push(Message { from: sender, to: keeper, units: units.clone() });
        match held.last_mut() {
            Some(last) if last.rank == keeper && last.units.end == units.start => last.units.end = units.end,
            _ => held.push(Held { units, rank: keeper }),
        }
    };
    let (mut i, mut j, mut at) = (0, 0, 0);
    while let (Some(a), Some(b)) = (left.get(i), right.get(j)) {
        let end = a.units.end.min(b.units.end);
        // The holder that began before this cell, or else the one that ends with it.
        let left_first = a.units.start < at || (b.units.start == at && a.units.end == end);
        let share = if left_first { l } else { r };
        let cut = at + ((end - at) * share + (l + r) / 2) / (l + r);
        let (head, tail) = if left_first { (a.rank, b.rank) } else { (b.rank, a.rank) };
        keep(at..cut, head, tail);
        keep(cut..end, tail, head);
        i += usize::from(a.units.end == end);
        j += usize::from(b.units.end == end);
        at = end;
    }
    (held, messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    /// Ranks send exactly N(1 − 1/P) units of a vector on average.
    #[test]
    fn every_rank_sends_one_vector_but_for_its_part() {
        for (leaves, ranks) in (1..40).flat_map(|leaves| (1..=leaves).map(move |ranks| (leaves, ranks))) {
            let units = 5040;
            let layers = model::layers(&[units * layerwise::pieces::LEAF]);
            let plan = Plan::new(Way::Halving, leaves, ranks, &layers).unwrap();
            let (mut sent, mut received) = (vec![0; ranks], vec![0; ranks]);
            for message in plan.joins.iter().flatten() {
                sent[message.from] += message.units.len();
                received[message.to] += message.units.len();
            }
            assert_eq!(sent.iter().sum::<usize>(), units * (ranks - 1), "{leaves} {ranks}");
            let most = units as f64 * (1.0 - 1.0 / ranks as f64);
            for rank in 0..ranks {
                let rounding = 4.0 * ranks as f64;
                assert!((sent[rank] as f64 - most).abs() <= rounding, "{leaves} {ranks}: {} {most}", sent[rank]);
                assert!(received[rank] as f64 <= 1.28 * units as f64 + rounding, "{leaves} {ranks}");
                assert!(plan.shard_units(rank).abs_diff(units / ranks) as f64 <= rounding);
            }
        }
    }

    /// Every way divides all units between the ranks, and every part of a layer has an owner.
    #[test]
    fn shards_are_the_whole_buffer() {
        let layers = model::of_this_example();
        for (_, way) in WAYS {
            for (leaves, ranks) in [24, 32, 21].into_iter().flat_map(|leaves| (1..=8).map(move |ranks| (leaves, ranks)))
            {
                let Ok(plan) = Plan::new(way, leaves, ranks, &layers) else {
                    assert!(way == Way::Ranges(4) && leaves / ranks < 4);
                    continue;
                };
                let mut owners = vec![0; plan.units];
                for units in plan.shards.iter().flatten() {
                    owners[units.clone()].iter_mut().for_each(|owners| *owners += 1);
                }
                assert!(owners.iter().all(|owners| *owners == 1), "{way:?} {leaves} {ranks}");
                let parts = plan.parts.iter().flatten().map(|part| part.leaves.len());
                assert_eq!(parts.sum::<usize>(), plan.units);
                assert_eq!(plan.ranges.iter().map(|range| range.len()).sum::<usize>(), leaves);
            }
        }
    }

    /// The ranks send one vector in total, plus one for each node that a cut divides.
    #[test]
    fn vectors_are_counted_by_divided_nodes() {
        for (leaves, ranks) in (1..70).flat_map(|leaves| (1..=leaves).map(move |ranks| (leaves, ranks))) {
            let ranges = equal(leaves, ranks);
            let mut divided = std::collections::BTreeSet::new();
            for cut in ranges[1..].iter().map(|range| range.start) {
                let mut node = 0..leaves;
                while node.start < cut && cut < node.end {
                    divided.insert((node.start, node.end));
                    let middle = node.start + Tree::new(node.len()).left().unwrap();
                    node = if cut < middle { node.start..middle } else { middle..node.end };
                }
            }
            let sent: usize = ranges.iter().map(|range| vectors(leaves, range)).sum();
            assert_eq!(sent, 1 + divided.len(), "{leaves} {ranks}");
            assert!(one_node_each(leaves, ranks).iter().all(|range| vectors(leaves, range) == 1));
        }
    }

    #[test]
    fn too_many_ranks_are_refused() {
        let error = Plan::new(Way::Halving, 3, 4, &model::of_this_example()).err().unwrap().to_string();
        assert!(error.starts_with("3 micro-batches are too few for 4 ranks"), "{error}");
    }
}
