//! Bytes that ranks send, counted by Open MPI's monitoring, compared with the formula.
//!
//! Traffic that occurs once per run would be counted too, so it compares two runs with different numbers of steps.

use crate::Result;
use crate::model;
use crate::plan::{Plan, Way};
use layerwise::pieces::LEAF;

/// The bytes that each rank has sent, from the files `PREFIX.RANK.prof`.
fn sent(prefix: &str, ranks: usize) -> Result<Vec<u64>> {
    (0..ranks).map(|rank| of_file(&std::fs::read_to_string(format!("{prefix}.{rank}.prof"))?)).collect()
}

/// The sum of lines such as `E  0  1  4096 bytes  2 msgs sent ...`: from rank 0 to rank 1, by any call.
fn of_file(text: &str) -> Result<u64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("E\t"));
    lines.map(|line| Ok(line.split(['\t', ' ']).nth(2).ok_or("bytes")?.parse::<u64>()?)).sum()
}

/// How many whole gradients a rank sends in a step, on average, by the formula: each of its vectors except its own
/// shard, and its shard of the new weights to all others.
pub fn expected(plan: &Plan, ranks: usize) -> f64 {
    let vectors: usize = (0..ranks).map(|rank| plan.nodes(rank).len()).sum();
    let vectors = if plan.way == Way::Mpi { 1.0 } else { vectors as f64 / ranks as f64 };
    (vectors + 1.0) * (1.0 - 1.0 / ranks as f64)
}

/// Prints what was counted, and returns an error if it is more than 1 % off the formula. For MPI's own sum, which has
/// no such formula, it only prints.
pub fn compare(way: Way, leaves: usize, ranks: usize, prefixes: [&str; 2], steps: usize) -> Result<()> {
    let plan = Plan::new(way, leaves, ranks, &model::of_this_example())?;
    let [short, long] = prefixes.map(|prefix| sent(prefix, ranks));
    let per_step = (steps * plan.units * LEAF * size_of::<f32>()) as f64;
    let sent: Vec<f64> = long?.iter().zip(short?).map(|(long, short)| (long - short) as f64 / per_step).collect();
    let (mean, expected) = (sent.iter().sum::<f64>() / ranks as f64, expected(&plan, ranks));
    let most = sent.iter().fold(0.0, |most, sent| if *sent > most { *sent } else { most });
    println!(
        "{way:?}, {leaves} micro-batches, {ranks} ranks: {mean:.4} gradients sent by a rank in a step \
         (most {most:.4}), {expected:.4} by the formula; 2(1 - 1/P) is {:.4}",
        2.0 * (1.0 - 1.0 / ranks as f64)
    );
    if way != Way::Mpi && (mean / expected - 1.0).abs() > 0.01 {
        return Err("the bytes are not those of the formula".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_from_the_lines_of_sums() {
        let text = "# POINT TO POINT\nE\t0\t1\t100 bytes\t2 msgs sent\t0,1\n\
                    E\t0\t2\t23 bytes\t1 msgs sent\t0\nC\t0\t1\t5 bytes\n";
        assert_eq!(of_file(text).unwrap(), 123);
        assert!(of_file("E\t0\t1\n").is_err());
    }
}
