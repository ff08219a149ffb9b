//! Runs the page's training natively, and prints the results as the JSON that the page compares with.
//!
//! ```text
//! cargo run --release --bin native >page/native.json
//! cargo run --release --bin native -- --speed         # microseconds of a step, of all of it and of its update
//! ```

use flate2::read::GzDecoder;
use layerwise_web::{CONTENDERS, Contender, DIGITS, Digits, PARAMETERS, RATES, TESTED, TRAINED, Training};
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::thread;
use std::time::Instant;

/// The number of epochs: of a short run, and of the page's.
const EPOCHS: [usize; 2] = [2, 30];

fn read_digits() -> Result<Box<Digits>, Box<dyn Error>> {
    let mut text = String::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/digits.csv.gz");
    GzDecoder::new(File::open(path)?).read_to_string(&mut text)?;
    let mut digits = Box::new([[0; _]; DIGITS]);
    let mut numbers = text.split_ascii_whitespace().flat_map(|row| row.split(','));
    for place in digits.as_flattened_mut() {
        *place = numbers.next().ok_or("too few digits")?.parse()?;
    }
    if numbers.next().is_some() {
        return Err("too many digits".into());
    }
    Ok(digits)
}

fn start(contender: usize, rate: f64, epochs: usize, digits: &Digits) -> Box<Training> {
    let mut training = Box::new(Training::new());
    training.start(contender, rate, epochs, digits).expect("settings in range");
    training
}

/// The hash of the weights and how many digits are classified correctly, after training at each of the rates.
fn at_all_rates(contender: usize, epochs: usize, digits: &Digits) -> [(u64, usize); RATES.len()] {
    RATES.map(|rate| {
        let mut training = start(contender, rate, epochs, digits);
        (0..training.steps()).for_each(|_| training.step(digits));
        (training.hash(), training.right(digits))
    })
}

fn join(separator: &str, items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<Vec<_>>().join(separator)
}

/// A list of lists, one per line.
fn table<T>(rows: &[[T; RATES.len()]], cell: impl Fn(&T) -> String) -> String {
    join(",\n      ", rows.iter().map(|row| format!("[{}]", join(", ", row.iter().map(&cell)))))
}

fn run_as_json(epochs: usize, digits: &Digits) -> String {
    let run = |contender| move || at_all_rates(contender, epochs, digits);
    let runs: [_; CONTENDERS.len()] = thread::scope(|scope| {
        let threads: [_; CONTENDERS.len()] = std::array::from_fn(|contender| scope.spawn(run(contender)));
        threads.map(|thread| thread.join().expect("no thread panics"))
    });
    let hashes = table(&runs, |(hash, _)| format!("\"{hash:016x}\""));
    let right = table(&runs, |(_, right)| right.to_string());
    format!("    {{ \"epochs\": {epochs}, \"hashes\": [\n      {hashes}\n    ], \"right\": [\n      {right}\n    ] }}")
}

fn print_json(digits: &Digits) {
    let optimizer = |c: &Contender| format!("    {{ \"name\": \"{}\", \"rate\": {} }}", c.name, c.rate);
    println!("{{");
    println!("  \"parameters\": {PARAMETERS}, \"trained\": {TRAINED}, \"tested\": {TESTED},");
    println!("  \"rates\": [{}],", join(", ", RATES.map(|rate| rate.to_string())));
    println!("  \"optimizers\": [\n{}\n  ],", join(",\n", CONTENDERS.iter().map(optimizer)));
    println!("  \"runs\": [\n{}\n  ]\n}}", join(",\n", EPOCHS.map(|epochs| run_as_json(epochs, digits))));
}

/// The shortest of many times, in microseconds.
fn time(times: usize, mut run: impl FnMut()) -> f64 {
    let times = (0..times).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap_or_default().as_secs_f64() * 1e6
}

fn print_speed(digits: &Digits) {
    for (i, Contender { name, rate, .. }) in CONTENDERS.iter().enumerate() {
        let mut training = start(i, *rate, 20, digits);
        let whole = time(training.steps(), || training.step(digits));
        let update = time(500, || (0..10).for_each(|_| training.update(1e-6))) / 10.0;
        println!("{name}: {whole:.1} µs, of which the update {update:.2} µs");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let digits = read_digits()?;
    match std::env::args().nth(1).as_deref() {
        None => print_json(&digits),
        Some("--speed") => print_speed(&digits),
        Some(other) => return Err(format!("not {other}; there is --speed").into()),
    }
    Ok(())
}
