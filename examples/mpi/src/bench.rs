//! The time of a reduce-scatter compared with MPI's, in one run.

use crate::Result;
use crate::model;
use crate::net::Net;
use crate::plan::{Plan, Way};
use crate::ways::{SEGMENT, halving};
use layerwise::Backend;
use layerwise::pieces::LEAF;
use mpi::traits::*;
use std::time::Instant;

/// Best and median of `times` runs of each, in turns, in milliseconds.
pub fn bench(net: &Net, units: usize, times: usize) -> Result<()> {
    let leaves = net.ranks.next_power_of_two();
    let plan = Plan::new(Way::Halving, leaves, net.ranks, &model::layers(&[units * LEAF]))?;
    let block = units.div_ceil(net.ranks) * LEAF;
    let vector = || (0..block * net.ranks).map(|i| ((i + net.rank) % 1000) as f32 - 499.5).collect::<Vec<f32>>();
    let (mut sum, all, mut own, mut buffer) = (vector(), vector(), vec![0.0_f32; block], vec![0.0; SEGMENT]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let time = |run: &mut dyn FnMut() -> Result<()>, times: &mut Vec<f64>| -> Result<()> {
            net.world.barrier();
            let start = Instant::now();
            run()?;
            net.world.barrier();
            times.push(1e3 * start.elapsed().as_secs_f64());
            Ok(())
        };
        time(&mut || halving(net, &plan, Backend::best(), &mut sum[..units * LEAF], &mut buffer), &mut ours)?;
        let mpi = &mut || {
            net.reduce_scatter(&all, &mut own);
            Ok(())
        };
        time(mpi, &mut theirs)?;
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        (times[0], times[times.len() / 2])
    };
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    if net.rank == 0 {
        println!(
            "{:.1} M numbers, {} ranks, {times} runs: halving {:.1} ms (best {:.1}), MPI_Reduce_scatter_block {:.1} ms \
             (best {:.1}), ratio {:.2}",
            (units * LEAF) as f64 / 1e6,
            net.ranks,
            ours.1,
            ours.0,
            theirs.1,
            theirs.0,
            ours.1 / theirs.1
        );
    }
    Ok(())
}
