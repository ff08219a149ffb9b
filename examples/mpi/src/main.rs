//! Sharded data-parallel training over MPI at the price of an all-reduce, with the bits of one process on any number of
//! ranks.
//!
//! ```text
//! mpirun -n P layerwise-mpi check [--all]          every way on P ranks, against one process
//! mpirun -n P layerwise-mpi train RULE WAY [--leaves M] [--steps S] [--bf16] [--mixed]
//!                           [--from FILE] [--to FILE] [--every K] [--lose RANK@STEP]
//! mpirun -n P layerwise-mpi bench [--units U] [--times T]
//! layerwise-mpi alone RULE [--leaves M] [--steps S]      the same training in one process
//! layerwise-mpi traffic WAY P SHORT LONG --steps S       bytes counted in S more steps, and by the formula
//! layerwise-mpi plan M P [--bytes B] [--leaf SECONDS] [--bandwidth BYTES]
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `model` | what is trained, and by which rules |
//! | `plan` | who computes, owns and sends what |
//! | `ways` | the reduce-scatter: halving, direct, MPI's own |
//! | `integers` | the reduce-scatter of integers, which any library may add in any order |
//! | `step` | the optimizer's step on shards |
//! | `state`, `checkpoint` | the training state, and its file |
//! | `train`, `check` | training runs, and their comparison with one process |
//! | `choose` | which cuts, and how many micro-batches |
//! | `traffic` | bytes counted by monitoring, compared with the formula |
//! | `bench` | the time of a reduce-scatter |
//! | `net` | the few MPI calls that are needed |

mod bench;
mod check;
mod checkpoint;
mod choose;
mod integers;
mod model;
mod net;
mod plan;
mod state;
mod step;
mod traffic;
mod train;
mod ways;

use mpi::traits::*;
use net::Net;
use plan::Way;
use state::{Gather, Whole};
use std::path::{Path, PathBuf};
use train::Job;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The arguments of the command line.
struct Words(Vec<String>);

impl Words {
    fn at(&self, i: usize) -> Result<&str> {
        let word = self.0.get(i).filter(|word| !word.starts_with("--"));
        word.map(String::as_str).ok_or_else(|| "a word is missing: see the first lines of src/main.rs".into())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|word| word == name)
    }

    fn option(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|word| word == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T> {
        self.option(name).map_or(Ok(default), |word| number(word))
    }

    fn job(&self) -> Result<Job> {
        let rule = self.at(1)?;
        let rule = model::RULES.into_iter().find(|other| *other == rule).ok_or_else(|| format!("no rule {rule}"))?;
        let way = self.at(2).map_or(Ok(Way::Halving), Way::of)?;
        let lose = self.option("--lose").map(|lose| {
            let (rank, step) = lose.split_once('@').ok_or("--lose RANK@STEP")?;
            Result::Ok((number(rank)?, number(step)?))
        });
        Ok(Job {
            gather: if self.has("--bf16") { Gather::Bf16 } else { Gather::F32 },
            every: self.number("--every", usize::MAX)?,
            to: self.option("--to").map(PathBuf::from),
            lose: lose.transpose()?,
            mixed: self.has("--mixed"),
            ..Job::new(rule, way, self.number("--leaves", 24)?, self.number("--steps", 24)?)
        })
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T> {
    word.parse().map_err(|_| format!("{word} is not a number").into())
}

/// A training run from the beginning, or from a checkpoint.
fn train_from(net: &Net, words: &Words) -> Result<()> {
    let mut job = words.job()?;
    let start = match words.option("--from") {
        Some(path) => checkpoint::load(Path::new(path), job.rule)?,
        None => job.start()?,
    };
    // Bits depend on the number of micro-batches, so take the checkpoint's.
    job.leaves = start.leaves;
    let whole = train::train(net, &job, &start)?;
    if net.rank == 0 {
        print_hash(&whole, &format!("{} to {} on {} ranks", start.step, job.end, net.ranks));
    }
    Ok(())
}

fn print_hash(whole: &Whole, how: &str) {
    println!("{:016x} steps {how}", whole.hash());
}

/// Commands that need no other ranks.
fn run_alone(words: &Words) -> Result<bool> {
    match words.at(0)? {
        "alone" => {
            let job = words.job()?;
            let whole = train::alone(&job, &job.start()?)?;
            print_hash(&whole, &format!("0 to {} in one process", job.end));
        }
        "plan" => {
            let costs = choose::Costs {
                bytes: words.number("--bytes", 100e6)?,
                leaf: words.number("--leaf", 0.1)?,
                bandwidth: words.number("--bandwidth", 10e9)?,
            };
            choose::explain(number(words.at(1)?)?, number(words.at(2)?)?, &costs)?;
        }
        "traffic" => {
            let (way, ranks, files) = (Way::of(words.at(1)?)?, number(words.at(2)?)?, [words.at(3)?, words.at(4)?]);
            traffic::compare(way, words.number("--leaves", 24)?, ranks, files, words.number("--steps", 1)?)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn run(net: &Net, words: &Words) -> Result<()> {
    match words.at(0)? {
        "check" => check::check(net, words.has("--all")),
        "train" => train_from(net, words),
        "bench" => bench::bench(net, words.number("--units", 24_415)?, words.number("--times", 15)?),
        other => Err(format!("no command {other}: see the first lines of src/main.rs").into()),
    }
}

fn main() -> Result<()> {
    let words = Words(std::env::args().skip(1).collect());
    if run_alone(&words)? {
        return Ok(());
    }
    let universe = mpi::initialize().ok_or("MPI is initialised already")?;
    let net = Net::new(universe.world());
    if let Err(error) = run(&net, &words) {
        // Otherwise the other ranks might wait for this one indefinitely.
        eprintln!("rank {} of {}: {error}", net.rank, net.ranks);
        net.world.abort(1);
    }
    Ok(())
}
