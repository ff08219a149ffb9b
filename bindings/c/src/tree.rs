//! The tree of every sum, and sums of its nodes.

use crate::layer::{State, config, lw_array, lw_const_array, lw_layer, lw_layer_config, overlap};
use crate::pieces::{Kept, LW_SUMS, lw_decision, lw_measured, lw_planned, lw_range, sums_of};
use crate::pointer::{self, Extent};
use crate::refusal::{Refusal, end, lw_error, lw_status, status};
use crate::settings::{lw_optimizer, optimizer};
use crate::step::step;
use core::ops::Range;
use core::slice;
use lw::pieces::{LEAF, Planned, Tree, subtree_sums};

impl From<Range<usize>> for lw_range {
    fn from(range: Range<usize>) -> Self {
        lw_range { start: range.start, end: range.end }
    }
}

impl From<lw_range> for Range<usize> {
    fn from(range: lw_range) -> Self {
        range.start..range.end
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_tree_cover(leaves: usize, range: lw_range, nodes: *mut lw_range, room: usize) -> usize {
    let cover = Tree::new(leaves).cover(range.into());
    if let Ok(()) = pointer::check("nodes", nodes, room)
        && room > 0
    {
        // SAFETY: not null, aligned and within the address space; the C caller guarantees that there is room.
        let places = unsafe { slice::from_raw_parts_mut(nodes.cast::<core::mem::MaybeUninit<lw_range>>(), room) };
        for (place, node) in places.iter_mut().zip(cover.clone()) {
            place.write(node.into());
        }
    }
    cover.len()
}

#[unsafe(no_mangle)]
pub extern "C" fn lw_tree_share(leaves: usize, ith: usize, nth: usize) -> lw_range {
    Tree::new(leaves).share(ith, nth).into()
}

#[unsafe(no_mangle)]
pub extern "C" fn lw_tree_merges(leaves: usize, leaf: usize) -> u32 {
    Tree::new(leaves).merges(leaf)
}

/// How many nodes cover a chunk of an array of `len` elements.
fn count(len: usize, start: usize, chunk: usize) -> usize {
    let first = start / LEAF;
    Tree::of_len(len).cover(first..first + chunk.div_ceil(LEAF)).len()
}

/// Pieces from C: nodes, and `N` sums for each.
///
/// # Safety
///
/// The C caller must guarantee each pointer.
unsafe fn pieces<'a, const N: usize>(
    nodes: *const lw_range,
    sums: *const f64,
    count: usize,
) -> Result<impl Iterator<Item = (Range<usize>, [f64; N])> + 'a, Refusal<'static>> {
    // SAFETY: guaranteed by the caller.
    let (nodes, sums) = unsafe {
        (pointer::elements("nodes", nodes, count)?, pointer::elements("sums", sums, count.saturating_mul(N))?)
    };
    Ok(nodes.iter().map(|node| Range::from(*node)).zip(sums.as_chunks().0.iter().copied()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_tree_fold(
    leaves: usize,
    nodes: *const lw_range,
    sums: *const f64,
    count: usize,
    result: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        let place = pointer::place("result", result)?;
        // SAFETY: the C caller guarantees each pointer.
        unsafe {
            let sum = Tree::new(leaves).fold(pieces(nodes, sums, count)?, |[left], [right]| [left + right])?;
            place.set(sum.map_or(0.0, |[sum]| sum));
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_subtree_sums(
    settings: *const lw_optimizer,
    lr: f64,
    gradient_scale: f64,
    layer: *const lw_layer,
    len: usize,
    start: usize,
    sums: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer; that nothing overlaps the sums is checked.
        unsafe {
            let optimizer = optimizer(settings)?;
            let layer = pointer::read("chunk", layer)?;
            let nodes = count(len, start, layer.len);
            let sums = sums_of(layer, sums, nodes.saturating_mul(LW_SUMS as usize))?.as_chunks_mut().0;
            optimizer.pass(step(lr, gradient_scale))?.subtree_sums(layer.view()?, len, start, sums)?;
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_fold_subtrees(
    settings: *const lw_optimizer,
    lr: f64,
    gradient_scale: f64,
    of: *const lw_layer_config,
    len: usize,
    nodes: *const lw_range,
    sums: *const f64,
    count: usize,
    measured: *mut lw_measured,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer.
        unsafe {
            let optimizer = optimizer(settings)?;
            let place = pointer::place("measured", measured)?;
            let pieces = pieces(nodes, sums, count)?;
            let found = optimizer.pass(step(lr, gradient_scale))?.fold_subtrees(&config(of)?, len, pieces)?;
            place.set(Kept::of(found));
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_step_subtree_sums(
    planned: *const lw_planned,
    layer: *const lw_layer,
    len: usize,
    start: usize,
    sums: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer; that nothing overlaps the sums is checked.
        unsafe {
            let planned: Planned<State> = Kept::value("planned", planned)?;
            let layer = pointer::read("chunk", layer)?;
            let sums = sums_of(layer, sums, count(len, start, layer.len))?;
            planned.step_subtree_sums(layer.view()?, start, sums)?;
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_limit_subtrees(
    settings: *const lw_optimizer,
    decision: *const lw_decision,
    nodes: *const lw_range,
    sums: *const f64,
    count: usize,
    planned: *mut lw_planned,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer.
        unsafe {
            let optimizer = optimizer(settings)?;
            let decided = pointer::read("decision", decision)?.resume(&optimizer)?;
            let plan: Planned<State> = Kept::value("planned", planned)?;
            let pieces = pieces(nodes, sums, count)?.map(|(node, [sum])| (node, sum));
            let limited = decided.limit_subtrees(plan, pieces)?;
            pointer::place("planned", planned)?.set(Kept::of(limited));
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_array_subtree_sums(
    x: lw_const_array,
    len: usize,
    array_len: usize,
    start: usize,
    sums: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        let nodes = count(array_len, start, len);
        if Extent::of(sums, nodes).overlaps(x.extent(len)) {
            return Err(overlap("sums"));
        }
        // SAFETY: the C caller guarantees the pointers, and the two do not overlap.
        unsafe { subtree_sums(x.floats("x", len)?, array_len, start, pointer::elements_mut("sums", sums, nodes)?) }?;
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_add(
    sum: lw_array,
    other: lw_const_array,
    len: usize,
    sum_of_squares: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    end(unsafe { crate::norms::add(sum, other, len, 1.0, false, sum_of_squares) }, error)
}
