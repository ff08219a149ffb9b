//! Which cuts, and how many micro-batches: a choice in numbers.

use crate::Result;
use crate::plan::{moved, one_node_each, vectors};
use std::ops::Range;

/// What a choice costs.
pub struct Costs {
    /// Bytes of a gradient.
    pub bytes: f64,
    /// Seconds of a micro-batch, forward and backward.
    pub leaf: f64,
    /// Bytes per second that a rank sends.
    pub bandwidth: f64,
}

/// One way to divide the micro-batches.
pub struct Cuts {
    pub name: String,
    /// Micro-batches of the busiest rank.
    pub busiest: usize,
    /// Vectors that ranks send in the reduce-scatter, on average and at most, before they are divided by shards.
    pub mean: f64,
    pub most: usize,
}

impl Cuts {
    fn new(name: String, leaves: usize, ranges: &[Range<usize>]) -> Cuts {
        let vectors: Vec<usize> = ranges.iter().map(|range| vectors(leaves, range)).collect();
        Cuts {
            name,
            busiest: ranges.iter().map(|range| range.len()).max().unwrap_or(0),
            mean: vectors.iter().sum::<usize>() as f64 / ranges.len() as f64,
            most: vectors.into_iter().max().unwrap_or(0),
        }
    }

    /// Seconds per step, without the costs that all choices share.
    fn seconds(&self, ranks: usize, costs: &Costs) -> f64 {
        let sent = self.most as f64 * costs.bytes * (1.0 - 1.0 / ranks as f64);
        self.busiest as f64 * costs.leaf + sent / costs.bandwidth
    }
}

/// All choices: one node each, and cuts at multiples of powers of two.
pub fn choices(leaves: usize, ranks: usize) -> Vec<Cuts> {
    let mut all = vec![Cuts::new("one node each".into(), leaves, &one_node_each(leaves, ranks))];
    for grid in (0..).map(|height| 1 << height).take_while(|grid| grid * ranks <= leaves) {
        if let Ok(ranges) = moved(leaves, ranks, grid) {
            let name = if grid == 1 { "equal ranges".into() } else { format!("cuts at multiples of {grid}") };
            all.push(Cuts::new(name, leaves, &ranges));
        }
    }
    all
}

/// Explains the choices for this number of micro-batches and ranks.
pub fn explain(leaves: usize, ranks: usize, costs: &Costs) -> Result<()> {
    if ranks == 0 || leaves < ranks {
        return Err(format!("{leaves} micro-batches on {ranks} ranks: every rank needs one").into());
    }
    println!("{leaves} micro-batches on {ranks} ranks, {:.1} on average", leaves as f64 / ranks as f64);
    println!("{:24} {:>8} {:>8} {:>16} {:>12}", "cuts", "busiest", "load", "vectors (most)", "seconds");
    let all = choices(leaves, ranks);
    let load = |cuts: &Cuts| cuts.busiest as f64 * ranks as f64 / leaves as f64;
    for cuts in &all {
        let (vectors, seconds) = (format!("{:.2} ({})", cuts.mean, cuts.most), cuts.seconds(ranks, costs));
        println!("{:24} {:8} {:8.2} {vectors:>16} {seconds:12.4}", cuts.name, cuts.busiest, load(cuts));
    }
    let best = all.iter().min_by(|a, b| a.seconds(ranks, costs).total_cmp(&b.seconds(ranks, costs)));
    let best = best.ok_or("there always is a choice")?;
    println!("fastest: {}", best.name);
    if load(&all[0]) == 1.0 {
        println!("every rank has one node of the tree, and all are equal: nothing is better");
        return Ok(());
    }
    println!(
        "Nodes have sizes of the tree, so equal shares are no nodes. One node each sends one vector, as any \
         reduce-scatter does, and the busiest rank has {} micro-batches; equal ranges send a vector for each node among them.",
        all[0].busiest
    );
    let fitting: Vec<String> = (0..)
        .map(|height| leaves >> height)
        .take_while(|p| *p > 0 && leaves.is_multiple_of(*p))
        .map(|p| p.to_string())
        .collect();
    println!("{leaves} micro-batches fit {} ranks", fitting.join(", "));
    let near = ranks << ((leaves as f64 / ranks as f64).log2().round() as u32);
    println!("{ranks} ranks fit {near} micro-batches, and any power of two times {ranks}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(leaves: usize, ranks: usize, name: &str) -> (f64, usize, usize) {
        let all = choices(leaves, ranks);
        let cuts = all.iter().find(|cuts| cuts.name == name).unwrap();
        ((100.0 * cuts.mean).round() / 100.0, cuts.most, cuts.busiest)
    }

    #[test]
    fn choices_have_the_counts_of_their_ranges() {
        assert_eq!(found(24, 4, "equal ranges"), (2.0, 2, 6));
        assert_eq!(found(24, 4, "one node each"), (1.0, 1, 8));
        assert_eq!(found(24, 3, "equal ranges"), (1.0, 1, 8));
        assert_eq!(found(1024, 3, "equal ranges"), (6.33, 9, 342));
        assert_eq!(found(1024, 1000, "one node each"), (1.0, 1, 2));
        assert!(explain(3, 4, &Costs { bytes: 1.0, leaf: 1.0, bandwidth: 1.0 }).is_err());
    }

    /// The program picks by time: equal ranges if a micro-batch takes long, one node each if the network is slow.
    #[test]
    fn the_fastest_choice_depends_on_the_costs() {
        let best = |leaf, bandwidth| {
            let costs = Costs { bytes: 1e9, leaf, bandwidth };
            let all = choices(1024, 6);
            all.into_iter().min_by(|a, b| a.seconds(6, &costs).total_cmp(&b.seconds(6, &costs))).unwrap().name
        };
        assert_eq!(best(1e-6, 1e9), "one node each");
        assert_eq!(best(10.0, 1e12), "equal ranges");
    }
}
