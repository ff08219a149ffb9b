//! Measures the relative error of norms against an exact sum, for this crate and others, and of a step against `f64`,
//! and prints tables. If the argument names a file, it gets the figures of the chart in docs, for the first kind of
//! data: `docs/data/norms.csv`.

#[path = "../../../tests/reference/exact.rs"]
mod exact;

use faer::ColRef;
use layerwise::{LayerMemory, NovoGrad, NovoGradConfig, NovoGradState, Sgd, SgdConfig, SgdState, l2_norm};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Cauchy, Distribution, LogNormal, StandardNormal, StandardUniform};
use std::fs::File;
use std::io::Write;

unsafe extern "C" {
    fn cblas_snrm2(n: i32, x: *const f32, step: i32) -> f32;
}

type Rng = Xoshiro256PlusPlus;

/// A kind of data: its name, and a function that makes a given number of elements.
type Data = (&'static str, fn(usize, &mut Rng) -> Vec<f32>);

const DATA: [Data; 6] = [
    ("uniform", |len, rng| draw(len, rng, StandardUniform)),
    ("normal", |len, rng| draw(len, rng, StandardNormal)),
    ("log-normal, σ 3", |len, rng| draw(len, rng, LogNormal::new(0.0, 3.0).expect("a positive deviation"))),
    ("Cauchy", |len, rng| draw(len, rng, Cauchy::new(0.0, 1.0).expect("a positive scale"))),
    ("uniform, sorted", |len, rng| {
        let mut x = draw(len, rng, StandardUniform);
        x.sort_unstable_by(f32::total_cmp);
        x
    }),
    ("subnormal", |len, rng| (0..len).map(|_| f32::from_bits(rng.random_range(1..1 << 23))).collect()),
];

fn draw(len: usize, rng: &mut Rng, distribution: impl Distribution<f32>) -> Vec<f32> {
    distribution.sample_iter(rng).take(len).collect()
}

/// The norm that all others are compared with.
fn exact_norm(x: &[f32]) -> f64 {
    exact::sum_of_squares(x).sqrt()
}

/// A way to compute a norm.
type Norm = (&'static str, fn(&[f32]) -> f64);

const NORMS: [Norm; 5] = [
    ("layerwise", |x| l2_norm(x)),
    ("serial f32", |x| x.iter().map(|x| x * x).sum::<f32>().sqrt().into()),
    ("serial f64", |x| x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()),
    ("faer", |x| ColRef::from_slice(x).norm_l2().into()),
    // SAFETY: the pointer is to as many elements.
    ("OpenBLAS", |x| unsafe { cblas_snrm2(x.len() as i32, x.as_ptr(), 1) }.into()),
];

fn norms(csv: Option<&str>) -> std::io::Result<()> {
    let mut figures = csv.map(File::create).transpose()?;
    if let Some(file) = &mut figures {
        writeln!(file, "elements,norm,worst")?;
    }
    println!("Relative error of norms, worst and mean of several arrays (\"ulp\" of an f32 is 6e-8 to 1.2e-7)\n");
    print!("| data | elements |");
    NORMS.iter().for_each(|(name, _)| print!(" {name} |"));
    println!("\n|---|---|{}", "---|".repeat(NORMS.len()));
    for (name, make) in DATA {
        for exponent in [3, 4, 5, 6, 7, 8] {
            let len = 10_usize.pow(exponent);
            let arrays = 10_usize.pow(7) / len;
            let arrays = if arrays > 100 {
                100
            } else if arrays == 0 {
                1
            } else {
                arrays
            };
            let mut errors = NORMS.map(|_| (0.0, 0.0));
            for seed in 0..arrays {
                let x = make(len, &mut Rng::seed_from_u64(seed as u64));
                let exact = exact_norm(&x);
                for ((_, norm), (worst, mean)) in NORMS.iter().zip(&mut errors) {
                    let error = (norm(&x) / exact - 1.0).abs();
                    *worst = if error > *worst { error } else { *worst };
                    *mean += error / arrays as f64;
                }
            }
            print!("| {name} | 10^{exponent} |");
            errors.iter().for_each(|(worst, mean)| print!(" {worst:.0e} / {mean:.0e} |"));
            println!();
            if let Some(file) = figures.as_mut().filter(|_| name == DATA[0].0) {
                for ((norm, _), (worst, _)) in NORMS.iter().zip(&errors) {
                    writeln!(file, "{len},{norm},{worst:.0e}")?;
                }
            }
        }
    }
    println!("\nThe ends of the range:\n");
    println!("| data | exact |{}", NORMS.map(|(name, _)| format!(" {name} |")).concat());
    println!("|---|---|{}", "---|".repeat(NORMS.len()));
    for (name, x) in [
        ("[1e20; 4]", vec![1e20; 4]),
        ("[1e-23; 4]", vec![1e-23; 4]),
        ("[1e30, 1e-30, 1e-30, 1e-30]", vec![1e30, 1e-30, 1e-30, 1e-30]),
    ] {
        print!("| `{name}` | {:.8e} |", exact_norm(&x));
        NORMS.iter().for_each(|(_, norm)| print!(" {:.8e} |", norm(&x)));
        println!();
    }
    Ok(())
}

/// The worst error of the weights after a step, relative to the sizes of the terms that are added up.
fn steps() {
    println!(
        "\nOne step of 10^6 weights against the same in f64: the largest error as a part of the sizes of what is added \
         up\n"
    );
    println!("| rule | largest error |\n|---|---|");
    let rng = &mut Rng::seed_from_u64(1);
    let [w, g, m] = [(); 3].map(|()| draw(1_000_000, rng, StandardNormal));
    let worst = |exact: &dyn Fn(f64, f64, f64) -> f64, found: &[f32]| {
        let errors = found.iter().zip(&w).zip(&g).zip(&m).map(|(((&found, &w), &g), &m)| {
            let (w, found) = (f64::from(w), f64::from(found));
            // With this sign no terms of the sum cancel.
            let size = exact(-w.abs(), f64::from(g).abs(), f64::from(m).abs()).abs();
            (found - exact(w, g.into(), m.into())).abs() / size
        });
        errors.fold(0.0, |worst, error| if error > worst { error } else { worst })
    };

    let sgd = SgdConfig { momentum: 0.9, weight_decay: 0.01, ..SgdConfig::DEFAULT };
    let (mut weights, mut momentum) = (w.clone(), m.clone());
    let mut state = SgdState { steps: 1 };
    let layer = LayerMemory::new(&mut weights, &g, &mut state).momentum(&mut momentum);
    let report = Sgd::new(sgd).expect("valid settings").step_layer(0.1, layer);
    assert!(report.is_ok_and(|report| report.applied()));
    let expected = |w: f64, g: f64, m: f64| w - 0.1 * (0.9 * m + (g + 0.01 * w));
    println!("| SGD with momentum and decay | {:.1e} |", worst(&expected, &weights));

    let novograd = NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT };
    let (mut weights, mut momentum) = (w.clone(), m.clone());
    let mut state = NovoGradState::default();
    let layer = LayerMemory::new(&mut weights, &g, &mut state).momentum(&mut momentum);
    let report = NovoGrad::new(novograd).expect("valid settings").step_layer(0.1, layer);
    assert!(report.is_ok_and(|report| report.applied()));
    let norm = exact_norm(&g);
    let expected = |w: f64, g: f64, m: f64| w - 0.1 * (0.95 * m + (g / (norm + 1e-8) + 0.01 * w));
    println!("| NovoGrad with decay | {:.1e} |", worst(&expected, &weights));
}

fn main() -> std::io::Result<()> {
    norms(std::env::args().nth(1).as_deref())?;
    steps();
    Ok(())
}
