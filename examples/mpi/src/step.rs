//! The optimizer's step, on shards (ZeRO-1): a rank updates what it owns.
//!
//! Norms take one message per step for all layers and all norms: a few numbers for each node that covers a part of a
//! layer. A rule that needs the norm of its planned step (LAMB, LUC) takes a second message.

use crate::Result;
use crate::model::Layer;
use crate::net::Net;
use crate::plan::{Part, Plan};
use crate::state::{Gather, Shard, widen};
use half::bf16;
use layerwise::pieces::{LEAF, LayerView, SUMS};
use layerwise::{AnyOptimizer, LayerConfig, LayerMemory, Step};
use std::ops::Range;

/// The elements of a part of a layer in the shard, whose arrays consist of whole leaves.
fn place(part: &Part, layer: &Layer) -> Range<usize> {
    let len = (part.leaves.end * LEAF).min(layer.len) - part.leaves.start * LEAF;
    part.at * LEAF..part.at * LEAF + len
}

/// Sums of all nodes of a layer, from left to right.
type Pieces<const N: usize> = Vec<(Range<usize>, [f64; N])>;

/// Gathers the sums of all ranks, layer by layer. `own` are those of the rank's parts.
fn gather_sums<const N: usize>(net: &Net, plan: &Plan, own: &[[f64; N]]) -> Vec<Pieces<N>> {
    let nodes = |rank: usize| plan.parts[rank].iter().flat_map(|part| plan.norm_nodes(part).map(|n| (part.layer, n)));
    let all = net.all_gather(own.as_flattened(), (0..net.ranks).map(|rank| N * nodes(rank).count()));
    let mut layers = vec![Vec::new(); plan.layers.len()];
    for ((layer, node), sums) in (0..net.ranks).flat_map(nodes).zip(all.as_chunks::<N>().0) {
        layers[layer].push((node, *sums));
    }
    // When halves are exchanged, shards are not in order.
    layers.iter_mut().for_each(|pieces| pieces.sort_by_key(|piece| piece.0.start));
    layers
}

/// The sums of the rank's parts; `measure` computes those of one part.
fn own_sums<const N: usize>(
    net: &Net,
    plan: &Plan,
    mut measure: impl FnMut(&Part, &mut [[f64; N]]) -> std::result::Result<(), layerwise::Error>,
) -> Result<Vec<[f64; N]>> {
    let mut own = Vec::new();
    for part in &plan.parts[net.rank] {
        let from = own.len();
        own.resize(from + plan.norm_nodes(part).len(), [0.0; N]);
        measure(part, &mut own[from..])?;
    }
    Ok(own)
}

/// A step with the gradient of the shard. Afterwards all ranks have the new weights.
pub fn step(
    net: &Net,
    plan: &Plan,
    optimizer: &AnyOptimizer,
    step: Step,
    shard: &mut Shard,
    gradient: &[f32],
) -> Result<()> {
    let config = LayerConfig::DEFAULT;
    let view = |shard: &Shard, part: &Part| -> (usize, usize, Range<usize>) {
        let layer = &plan.layers[part.layer];
        debug_assert!(shard.weights.len() == gradient.len());
        (layer.len, part.leaves.start * LEAF, place(part, layer))
    };

    let mut pass = optimizer.pass(step)?;
    let sums = own_sums::<SUMS>(net, plan, |part, sums| {
        let (len, start, at) = view(shard, part);
        pass.subtree_sums(shard.view(gradient, at), len, start, sums)
    })?;
    let mut measured = Vec::new();
    for (layer, pieces) in plan.layers.iter().zip(gather_sums(net, plan, &sums)) {
        measured.push(pass.fold_subtrees(&config, layer.len, pieces)?);
    }
    let mut decided = pass.decide();

    let states = shard.states.iter();
    let plans = measured.into_iter().zip(states).map(|(m, s)| decided.plan(m, &config, *s));
    let mut planned = plans.collect::<std::result::Result<Vec<_>, _>>()?;
    if planned.iter().any(|plan| plan.needs_step()) {
        let sums = own_sums::<1>(net, plan, |part, sums| {
            let (_, start, at) = view(shard, part);
            planned[part.layer].step_subtree_sums(shard.view(gradient, at), start, sums.as_flattened_mut())
        })?;
        for (planned, pieces) in planned.iter_mut().zip(gather_sums(net, plan, &sums)) {
            *planned = decided.limit_subtrees(*planned, pieces.into_iter().map(|(node, [sum])| (node, sum)))?;
        }
    }
    planned.iter().try_for_each(|planned| decided.confirm(planned))?;
    // All layers or none.
    if !decided.skips() {
        for part in &plan.parts[net.rank] {
            let at = place(part, &plan.layers[part.layer]);
            planned[part.layer].apply(shard.memory(gradient, at))?;
        }
        shard.states = planned.iter().map(|planned| planned.report().1).collect();
    }
    gather_weights(net, plan, shard);
    Ok(())
}

/// Sends all ranks the new weights, or their 16-bit copies.
fn gather_weights(net: &Net, plan: &Plan, shard: &mut Shard) {
    let lengths = (0..net.ranks).map(|rank| plan.shard_units(rank) * LEAF);
    let all = match shard.gather {
        Gather::F32 => net.all_gather(&shard.weights, lengths),
        Gather::Bf16 => {
            let own: Vec<u16> = shard.copy.iter().map(|x| x.to_bits()).collect();
            let all: Vec<bf16> = net.all_gather(&own, lengths).into_iter().map(bf16::from_bits).collect();
            widen(&all)
        }
    };
    scatter(plan, &all, &mut shard.model);
}

/// Copies the shards of all ranks, which follow one another, to their places in the flat buffer.
pub fn scatter(plan: &Plan, all: &[f32], flat: &mut [f32]) {
    let mut rest = all;
    for units in plan.shards.iter().flatten() {
        let (part, tail) = rest.split_at(units.len() * LEAF);
        flat[crate::model::elements(units)].copy_from_slice(part);
        rest = tail;
    }
}

impl Shard {
    /// A read-only view of elements of the shard.
    fn view<'a>(&'a self, gradient: &'a [f32], at: Range<usize>) -> LayerView<'a> {
        LayerView::new(&self.weights[at.clone()], &gradient[at.clone()])
            .momentum(self.momentum.get(at.clone()).unwrap_or_default())
            .second_moment(self.second_moment.get(at).unwrap_or_default())
    }

    /// Elements of the shard, for an update.
    fn memory<'a>(&'a mut self, gradient: &'a [f32], at: Range<usize>) -> LayerMemory<'a, ()> {
        let layer = LayerMemory::new(&mut self.weights[at.clone()], &gradient[at.clone()], &mut self.nothing)
            .momentum(self.momentum.get_mut(at.clone()).unwrap_or_default())
            .second_moment(self.second_moment.get_mut(at.clone()).unwrap_or_default());
        match self.gather {
            Gather::F32 => layer,
            Gather::Bf16 => layer.copy(&mut self.copy[at]),
        }
    }
}
