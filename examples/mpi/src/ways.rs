//! Reduce-scatter: of the gradients of all micro-batches, every rank gets the sum of its shard.

use crate::Result;
use crate::integers;
use crate::model::elements;
use crate::net::Net;
use crate::plan::{Plan, Way};
use layerwise::pieces::{LEAF, Tree};
use layerwise::{Backend, on};
use mpi::traits::*;
use std::ops::Range;

/// Received data are added in segments of 256 KiB, which stay in the cache.
pub const SEGMENT: usize = 64 * LEAF;

/// The sum of the gradients of a node, whose leaves are computed one after the other. At most `⌊log2 n⌋ + 1` vectors
/// are alive.
pub fn sum_node(
    backend: Backend,
    node: Range<usize>,
    leaf: &mut dyn FnMut(usize) -> Result<Vec<f32>>,
) -> Result<Vec<f32>> {
    let (tree, mut sums) = (Tree::new(node.len()), Vec::<Vec<f32>>::new());
    for i in node.clone() {
        sums.push(leaf(i)?);
        for _ in 0..tree.merges(i - node.start) {
            let right = sums.pop().ok_or("a sum on the right")?;
            on::add(backend, sums.last_mut().ok_or("a sum on the left")?, &right)?;
        }
    }
    Ok(sums.pop().ok_or("a node has a leaf")?)
}

/// The rank's shard of the sum over all micro-batches.
pub fn reduce(
    net: &Net,
    plan: &Plan,
    backend: Backend,
    leaf: &mut dyn FnMut(usize) -> Result<Vec<f32>>,
) -> Result<Vec<f32>> {
    if plan.way == Way::Integers {
        let leaves = plan.ranges[net.rank].clone().map(leaf).collect::<Result<Vec<_>>>()?;
        return Ok(integers::reduce(net, plan, &leaves));
    }
    let nodes = plan.nodes(net.rank).into_iter();
    let mut sums = nodes.map(|node| sum_node(backend, node, leaf)).collect::<Result<Vec<_>>>()?;
    match (plan.way, &mut sums[..]) {
        (Way::Halving, [sum]) => {
            halving(net, plan, backend, sum, &mut vec![0.0; SEGMENT])?;
            Ok(take(sum, &plan.shards[net.rank]))
        }
        (Way::Mpi, _) => by_mpi(net, plan, backend, sums),
        _ => direct(net, plan, backend, &sums),
    }
}

/// The elements of a shard, one part after the other.
pub fn take(x: &[f32], shard: &[Range<usize>]) -> Vec<f32> {
    shard.iter().flat_map(|units| &x[elements(units)]).copied().collect()
}

/// Two nodes exchange halves, on the way up the tree. At the end the rank's shard is the sum; the rest of `sum` is
/// garbage.
///
/// The parts sent and received are different parts of one vector, so the only copy is into `buffer`. All messages of a
/// join are sent before waiting for the first, so ranks of unequal nodes cannot deadlock.
pub fn halving(net: &Net, plan: &Plan, backend: Backend, sum: &mut [f32], buffer: &mut [f32]) -> Result<()> {
    for join in &plan.joins {
        let mut messages: Vec<_> = join.iter().filter(|m| m.from == net.rank || m.to == net.rank).collect();
        messages.sort_by_key(|message| message.units.start);
        let (mut to_send, mut to_add) = (Vec::new(), Vec::new());
        let (mut rest, mut done) = (&mut *sum, 0);
        for message in messages {
            let at = elements(&message.units);
            let (part, tail) = rest.split_at_mut(at.start - done).1.split_at_mut(at.len());
            (rest, done) = (tail, at.end);
            if message.from == net.rank {
                to_send.push((message.to, &*part))
            } else {
                to_add.push((message.from, part))
            }
        }
        mpi::request::scope(|scope| {
            let mut requests = Vec::new();
            for (to, part) in to_send {
                let to = net.world.process_at_rank(to as i32);
                requests.extend(part.chunks(buffer.len()).map(|segment| to.immediate_send(scope, segment)));
            }
            let added = add_all(net, backend, to_add, buffer);
            for request in requests {
                request.wait();
            }
            added
        })?;
    }
    Ok(())
}

/// Adds what is received. Addition is commutative, so it does not matter who is on the left.
fn add_all(net: &Net, backend: Backend, to_add: Vec<(usize, &mut [f32])>, buffer: &mut [f32]) -> Result<()> {
    for (from, part) in to_add {
        let from = net.world.process_at_rank(from as i32);
        for segment in part.chunks_mut(buffer.len()) {
            let came = &mut buffer[..segment.len()];
            from.receive_into(came);
            on::add(backend, segment, &*came)?;
        }
    }
    Ok(())
}

/// The owner of a shard gets that part of the sums of all nodes, and folds them.
pub fn direct(net: &Net, plan: &Plan, backend: Backend, sums: &[Vec<f32>]) -> Result<Vec<f32>> {
    let len = |rank| plan.shard_units(rank) * LEAF;
    let sent: Vec<f32> =
        plan.shards.iter().flat_map(|shard| sums.iter().flat_map(move |sum| take(sum, shard))).collect();
    let own = len(net.rank);
    let nodes: Vec<_> = (0..net.ranks).map(|rank| plan.nodes(rank)).collect();
    let to_all = (0..net.ranks).map(|rank| sums.len() * len(rank));
    let came = net.all_to_all(&sent, to_all, nodes.iter().map(|nodes| nodes.len() * own));
    let mut added = Ok(0.0);
    let pieces = nodes.into_iter().flatten().zip(came.chunks(own.max(1)).map(<[f32]>::to_vec));
    if own == 0 {
        return Ok(Vec::new());
    }
    let sum = Tree::new(plan.leaves).fold(pieces, |mut left, right| {
        added = added.and_then(|_| on::add(backend, &mut left, &right));
        left
    })?;
    added?;
    Ok(sum.unwrap_or_default())
}

/// MPI's own sum of `f32`, in an order that it chooses.
fn by_mpi(net: &Net, plan: &Plan, backend: Backend, sums: Vec<Vec<f32>>) -> Result<Vec<f32>> {
    let block = plan.units.div_ceil(net.ranks) * LEAF;
    let mut all = vec![0.0; plan.units * LEAF];
    for sum in sums {
        on::add(backend, &mut all, &sum)?;
    }
    all.resize(block * net.ranks, 0.0);
    let mut own = vec![0.0; block];
    net.reduce_scatter(&all, &mut own);
    own.truncate(plan.shard_units(net.rank) * LEAF);
    Ok(own)
}
