//! Compares the crate with hand-written C with fused multiply-adds and no reproducibility, for each instruction set of
//! this processor, and prints tables of nanoseconds per element. AdamW is also compared with C that rounds each
//! product, and two steps of the crate with cheaper ones: LAMB with AdamW, NovoGrad with LARC with LARC alone.
//!
//! ```text
//! cargo run --release                   # all, about six minutes
//! cargo run --release -- avx2 4096      # one backend, layers of one length
//! cargo run --release -- avx2 models    # one backend, the two models
//! cargo run --release -- --short        # shows that it works
//! cargo run --release -- --csv FILE     # all, and the figures of the chart in docs into docs/data/against_c.csv
//! cargo run --release -- --csv FILE avx512 16777216 limits    # once more, on a busy machine: the lower times count
//! ```

mod memory;
mod ours;
#[path = "../../shared/tensors.rs"]
mod tensors;
mod theirs;

use memory::{Layer, layers, memory};
use ours::Ours;
use std::hint::black_box;
use std::time::{Duration, Instant};
use theirs::C;

const LR: f32 = 1e-6;
const LENGTHS: [usize; 10] = [12, 132, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 16 << 20];
const OFFSETS: [[usize; 4]; 3] = [[0; 4], [4; 4], [1, 6, 11, 14]];
/// From this length on, arrays are in memory shared by all cores, whose speed is the limit.
const SHARED: usize = 256 << 10;

/// What to time, and for how long.
struct Args {
    backend: Option<String>,
    lengths: Vec<usize>,
    models: Vec<(&'static str, Vec<usize>)>,
    limits: bool,
    pace: Pace,
    csv: Figures,
}

/// The file for the figures of the chart, if requested. It keeps the lower of the old and the new figure, so on a busy
/// machine several runs help.
#[derive(Default)]
struct Figures {
    path: Option<String>,
    /// Each line without its two times, and the times.
    lines: Vec<(String, [f64; 2])>,
}

impl Figures {
    const HEAD: &str = "backend,elements,offsets,work,c,layerwise";

    /// Reads the file, if it exists.
    fn open(path: String) -> Self {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let figure = |line: &str| {
            let (line, ours) = line.rsplit_once(',')?;
            let (line, c) = line.rsplit_once(',')?;
            Some((line.to_string(), [c.parse().ok()?, ours.parse().ok()?]))
        };
        Figures { path: Some(path), lines: text.lines().filter_map(figure).collect() }
    }

    fn add(&mut self, what: String, times: [f64; 2]) {
        match self.lines.iter_mut().find(|(line, _)| *line == what) {
            Some((_, best)) => {
                for (best, time) in best.iter_mut().zip(times).filter(|(best, time)| *time < **best) {
                    *best = time;
                }
            }
            None => self.lines.push((what, times)),
        }
        let Some(path) = &self.path else { return };
        let lines = self.lines.iter().map(|(line, [c, ours])| format!("{line},{c:.4},{ours:.4}\n"));
        std::fs::write(path, format!("{}\n{}", Self::HEAD, lines.collect::<String>())).expect("a file to write to");
    }
}

/// How long two functions take turns: for `time` in each of several places in memory, and at least `turns` times.
#[derive(Clone, Copy)]
struct Pace {
    places: usize,
    time: Duration,
    turns: usize,
}

impl Args {
    fn parse() -> Args {
        let models = vec![("keyword spotter", tensors::keyword_spotter()), ("ResNet-50", tensors::resnet50())];
        let pace = Pace { places: 8, time: Duration::from_millis(40), turns: 5 };
        let mut args =
            Args { backend: None, lengths: LENGTHS.to_vec(), models, limits: true, pace, csv: Figures::default() };
        let mut given = std::env::args().skip(1);
        while let Some(arg) = given.next() {
            if arg == "--csv" {
                args.csv = Figures::open(given.next().expect("the name of a file"));
                continue;
            } else if arg == "--short" {
                args.lengths = vec![12, 4 << 10];
                args.models.truncate(1);
                args.pace = Pace { places: 2, time: Duration::from_millis(1), turns: 1 };
            } else if arg == "limits" {
                args.limits = true;
                continue;
            } else if arg == "models" {
                args.lengths.clear();
            } else if let Ok(len) = arg.parse() {
                args.lengths = vec![len];
                args.models.clear();
            } else {
                args.backend = Some(arg);
            }
            args.limits = false;
        }
        args
    }
}

/// Calls `step` on all layers in turn, several times if they are small; in nanoseconds per element.
fn time(layers: &mut [Layer], step: impl Fn(&mut Layer)) -> f64 {
    let elements: usize = layers.iter().map(|layer| layer.weights.len()).sum();
    // About fifty microseconds: long enough for the clock, and short enough that many runs are not interrupted.
    let calls = 1 + (1 << 20) / (elements + 512 * layers.len());
    let start = Instant::now();
    for _ in 0..calls {
        for layer in &mut *layers {
            // Passes a single pointer: with slices that go through memory, the processor would wait for both halves.
            step(black_box(layer));
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / (calls * elements) as f64
}

/// Lowers the best times so far of two functions that take turns on the same memory.
fn race(best: &mut [f64; 2], layers: &mut [Layer], pace: Pace, theirs: impl Fn(&mut Layer), ours: impl Fn(&mut Layer)) {
    let (start, mut turns) = (Instant::now(), 0);
    while turns < pace.turns || start.elapsed() < pace.time {
        for (best, time) in best.iter_mut().zip([time(layers, &theirs), time(layers, &ours)]) {
            if time < *best {
                *best = time;
            }
        }
        turns += 1;
    }
}

const WORK: [&str; 8] = [
    "norm",
    "NovoGrad",
    "LARC",
    "LARC norm carried",
    "AdamW",
    "AdamW not fused",
    "LAMB beside AdamW",
    "NovoGrad with LARC beside LARC",
];

/// A row of a table: layers of these lengths.
fn row(name: &str, lengths: &[usize], offsets: [usize; 4], pace: Pace, (c, ours): (&C, &Ours)) -> [[f64; 2]; 8] {
    let mut memory = memory(lengths, pace.places);
    let mut best = [[f64::INFINITY; 2]; 8];
    let [norm, novograd, larc, carried, adamw, adamw_unfused, lamb, novograd_larc] = &mut best;
    let sum = |sum: f64| {
        black_box(sum);
    };
    for place in 0..pace.places {
        let l = &mut layers(&mut memory, lengths, offsets, place)[..];
        race(norm, l, pace, |layer| sum(c.norm(layer)), |layer| sum(ours.norm(layer)));
        race(novograd, l, pace, |layer| c.novograd(LR, layer), |layer| ours.novograd(LR, layer));
        race(larc, l, pace, |layer| c.larc(LR, layer), |layer| ours.larc(LR, layer));
        l.iter_mut().for_each(|layer| c.carry(layer));
        race(carried, l, pace, |layer| c.carried(LR, layer), |layer| ours.carried(LR, layer));
        race(adamw, l, pace, |layer| c.adamw(LR, layer), |layer| ours.adamw(LR, layer));
        race(adamw_unfused, l, pace, |layer| c.adamw_unfused(LR, layer), |layer| ours.adamw(LR, layer));
        race(lamb, l, pace, |layer| ours.adamw(LR, layer), |layer| ours.lamb(LR, layer));
        race(novograd_larc, l, pace, |layer| ours.larc(LR, layer), |layer| ours.novograd_larc(LR, layer));
    }
    print!("| {name} | {offsets:?}");
    for [c, ours] in best {
        print!(" | {c:.3} / {ours:.3} / {:.2}", ours / c);
    }
    println!(" |");
    best
}

/// The limit of the memory: a copy moves 8 bytes per element, a triad 12, a NovoGrad step 24.
fn limits(pace: Pace, csv: &mut Figures) {
    println!("\n## Limits of memory\n\n| elements | copy | triad |\n|---|---|---|");
    for len in LENGTHS.into_iter().filter(|&len| len >= SHARED) {
        let mut memory = memory(&[len], pace.places);
        let mut best = [f64::INFINITY; 2];
        for place in 0..pace.places {
            let mut layers = layers(&mut memory, &[len], [0; 4], place);
            let copy = |layer: &mut Layer| layer.weights.copy_from_slice(layer.gradients);
            let triad = |layer: &mut Layer| {
                for ((m, g), w) in layer.momentum.iter_mut().zip(layer.gradients).zip(&*layer.weights) {
                    *m = g + LR * w;
                }
            };
            race(&mut best, &mut layers, pace, copy, triad);
        }
        println!("| {len} | {:.3} | {:.3} |", best[0], best[1]);
        csv.add(format!("any,{len},0 0 0 0,copy and triad"), best);
    }
}

/// Checks that both sides compute the same, except for rounding.
fn check(c: &C, ours: &Ours) {
    let lengths = [12, 1000, 5000];
    type Steps = (fn(&C, f32, &mut Layer), fn(&Ours, f32, &mut Layer));
    let steps: [Steps; 5] = [
        (C::novograd, Ours::novograd),
        (C::larc, Ours::larc),
        (C::carried, Ours::carried),
        (C::adamw, Ours::adamw),
        (C::adamw_unfused, Ours::adamw),
    ];
    for (their_step, our_step) in steps {
        let mut both = [memory(&lengths, 1), memory(&lengths, 1)];
        let [mut a, mut b] = both.each_mut().map(|memory| layers(memory, &lengths, OFFSETS[2], 0));
        for (a, b) in a.iter_mut().zip(&mut b) {
            assert!((c.norm(a) / ours.norm(b) - 1.0).abs() < 1e-5);
            for moment in [&mut a.momentum, &mut b.momentum, &mut a.second_moment, &mut b.second_moment] {
                moment.fill(0.0);
            }
            c.carry(a);
            for _ in 0..3 {
                their_step(c, 0.1, a);
                our_step(ours, 0.1, b);
                assert!(a.weights.iter().zip(&*b.weights).all(|(a, b)| (a - b).abs() < 1e-5));
            }
        }
    }
}

fn main() {
    let mut args = Args::parse();
    println!("Nanoseconds per element: C / layerwise / ratio. Offsets of weights, gradients and both moments from a");
    println!("cache line, in floats. The last two columns compare with AdamW and LARC of this crate instead of C.");
    if args.limits {
        limits(args.pace, &mut args.csv);
    }
    for backend in ours::backends().filter(|b| args.backend.as_ref().is_none_or(|name| name == b.name())) {
        let (Some(c), ours) = (C::beside(backend.name()), Ours::on(backend)) else { continue };
        check(&c, &ours);
        println!("\n## {} ({})\n", c.instructions, backend.name());
        print!("| elements | offsets | norm | NovoGrad | LARC | LARC, norm carried | AdamW | AdamW, C not fused");
        println!(" | LAMB beside AdamW | NovoGrad with LARC |\n|---|---|---|---|---|---|---|---|---|---|");
        for &len in &args.lengths {
            for offsets in OFFSETS {
                let best = row(&len.to_string(), &[len], offsets, args.pace, (&c, &ours));
                let [a, b, d, e] = offsets;
                for (work, times) in WORK.iter().zip(best) {
                    let backend = backend.name();
                    args.csv.add(format!("{backend},{len},{a} {b} {d} {e},{work}"), times);
                }
            }
        }
        for (name, lengths) in &args.models {
            row(name, lengths, [4; 4], args.pace, (&c, &ours));
        }
    }
}
