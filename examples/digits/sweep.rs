//! Accuracy against learning rate: how far from the best rate may one be?

use crate::data::Digits;
use crate::{optimizers, progress_bar, train};
use plotters::prelude::*;
use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const RATES: [f64; 11] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0];
const SCALES: [f32; 3] = [0.1, 1.0, 5.0];
const GOOD: f64 = 0.9;

/// Runs every optimizer at every rate and scale, prints a table, and draws a chart.
pub fn run(digits: &Digits, epochs: usize) -> Result<(), Box<dyn Error>> {
    let mut jobs = Vec::new();
    for scale in SCALES {
        for contender in &optimizers::ALL {
            jobs.extend(RATES.map(|lr| (scale, contender, lr)));
        }
    }
    let bar = progress_bar(jobs.len() * epochs, "epochs");
    let next = AtomicUsize::new(0);
    let accuracies = Mutex::new(vec![0.0; jobs.len()]);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(scale, contender, lr)) = jobs.get(job) else { return };
                    let run = train(digits, 0, contender, lr, scale, epochs, &bar);
                    accuracies.lock().expect("no thread panics")[job] = run.right as f64 / run.tested as f64;
                }
            });
        }
    });
    bar.finish_and_clear();

    let accuracies = accuracies.into_inner()?;
    let curves: Vec<&[f64]> = accuracies.chunks(RATES.len()).collect();
    let panels: Vec<&[&[f64]]> = curves.chunks(optimizers::ALL.len()).collect();
    println!("rates of {} at which {:.0} % of the test digits are read, {epochs} epochs\n", RATES.len(), 100.0 * GOOD);
    print!("optimizer     ");
    for scale in SCALES {
        print!("   scale {scale:3}");
    }
    println!();
    for (i, contender) in optimizers::ALL.iter().enumerate() {
        print!("{:14}", contender.name);
        for panel in &panels {
            print!("{:>12}", panel[i].iter().filter(|&&accuracy| accuracy >= GOOD).count());
        }
        println!();
    }
    let path = std::env::current_dir()?.join("digits.svg");
    draw(&path, &panels)?;
    println!("\nThe chart is in {}", path.display());
    Ok(())
}

/// One panel per initial scale, one curve per optimizer.
fn draw(path: &std::path::Path, panels: &[&[&[f64]]]) -> Result<(), Box<dyn Error>> {
    const COLOURS: [RGBColor; 5] = [
        RGBColor(150, 150, 150),
        RGBColor(70, 130, 200),
        RGBColor(200, 30, 40),
        RGBColor(30, 140, 60),
        RGBColor(220, 140, 0),
    ];
    let root = SVGBackend::new(path, (1200, 400)).into_drawing_area();
    root.fill(&WHITE)?;
    for ((area, scale), panel) in root.split_evenly((1, SCALES.len())).iter().zip(SCALES).zip(panels) {
        let mut chart = ChartBuilder::on(area)
            .caption(format!("initial weights × {scale}"), ("sans-serif", 18))
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d((RATES[0]..RATES[RATES.len() - 1]).log_scale(), 0.0..100.0)?;
        chart
            .configure_mesh()
            .x_desc("learning rate")
            .y_desc("test accuracy, %")
            .x_label_formatter(&|rate| format!("{rate}"))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for ((contender, curve), colour) in optimizers::ALL.iter().zip(*panel).zip(COLOURS) {
            let style = colour.stroke_width(if contender.name == "LARC" { 4 } else { 2 });
            let points = RATES.iter().zip(*curve).map(|(&lr, &accuracy)| (lr, 100.0 * accuracy));
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(contender.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerMiddle)
            .background_style(WHITE.mix(0.8))
            .draw()?;
    }
    root.present()?;
    Ok(())
}
