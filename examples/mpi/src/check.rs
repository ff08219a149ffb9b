//! Compares every way on this number of ranks with one process.

use crate::Result;
use crate::model::RULES;
use crate::net::Net;
use crate::plan::Way;
use crate::state::{Gather, Whole};
use crate::train::{Job, alone, train};

const STEPS: usize = 8;

/// Trains in every way. Returns an error unless each has the bits of one process, and MPI's own sum over several ranks
/// does not.
pub fn check(net: &Net, all: bool) -> Result<()> {
    let leaves: &[usize] = if all { &[24, 32, 21] } else { &[24, 21] };
    let (mut runs, mut differing) = (0, 0);
    for rule in RULES {
        for &leaves in leaves {
            for gather in [Gather::F32, Gather::Bf16] {
                let job = Job { gather, ..Job::new(rule, Way::Halving, leaves, STEPS) };
                let expected = expected(net, &job)?;
                let more = all && gather == Gather::F32;
                let ways: &[Way] =
                    if more { &[Way::Halving, Way::Direct, Way::Ranges(1)] } else { &[Way::Halving, Way::Direct] };
                for &way in ways {
                    for mixed in [false, true].into_iter().take(if all { 2 } else { 1 }) {
                        same(net, &Job { way, mixed, ..job.clone() }, expected.as_ref())?;
                        runs += 1;
                    }
                }
                if gather == Gather::F32 {
                    let integers = Job { way: Way::Integers, ..job.clone() };
                    same(net, &integers, self::expected(net, &integers)?.as_ref())?;
                    runs += 1;
                    differing += usize::from(control(net, &job, expected.as_ref())?);
                }
            }
        }
    }
    // One more, in which ranks use different instruction sets.
    let mixed = Job { mixed: true, ..Job::new("lamb", Way::Halving, 24, STEPS) };
    same(net, &mixed, expected(net, &mixed)?.as_ref())?;
    // A single rank adds like the tree.
    if net.rank == 0 && net.ranks > 1 && differing == 0 {
        return Err("MPI's own sums have the bits of the tree: the control shows nothing".into());
    }
    if net.rank == 0 {
        let controls = RULES.len() * leaves.len();
        println!(
            "{} ranks: {} trainings of {STEPS} steps have the bits of one process; with MPI's own sum {differing} of \
             {controls} differ",
            net.ranks,
            runs + 1
        );
    }
    Ok(())
}

/// The result of one process; only the first rank needs it.
fn expected(net: &Net, job: &Job) -> Result<Option<Whole>> {
    if net.rank > 0 {
        return Ok(None);
    }
    let start = job.start()?;
    let whole = alone(job, &start)?;
    let moved = whole.weights.iter().zip(&start.weights).filter(|(a, b)| a != b).count();
    if moved < whole.weights.len() / 2 || !whole.weights.iter().all(|w| w.is_finite()) {
        return Err(format!("{job:?}: the training has not moved the weights, or not skipped the bad example").into());
    }
    Ok(Some(whole))
}

/// Returns an error unless a run has the bits of one process.
fn same(net: &Net, job: &Job, expected: Option<&Whole>) -> Result<()> {
    let found = train(net, job, &job.start()?)?;
    match expected.map_or(0, |expected| found.differ(expected)) {
        0 => Ok(()),
        wrong => {
            Err(format!("{job:?} on {} ranks: {wrong} numbers differ from those of one process", net.ranks).into())
        }
    }
}

/// Whether MPI's own sum has other bits.
fn control(net: &Net, job: &Job, expected: Option<&Whole>) -> Result<bool> {
    let job = Job { way: Way::Mpi, ..job.clone() };
    let found = train(net, &job, &job.start()?)?;
    Ok(expected.is_some_and(|expected| found.differ(expected) > 0))
}
