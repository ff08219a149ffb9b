//! LARC with momentum under restarts of the rate, and two fixes, from the example `digits`.

use super::paper::{Area, BLUE, Drawn, GREEN, RED, font, legend, picture, size};
use plotters::prelude::*;
use std::error::Error;

/// The result of one training run.
#[derive(serde::Deserialize, serde::Serialize)]
pub struct Run {
    pub case: String,
    /// The highest rate.
    pub rate: f64,
    pub accuracy: f64,
    /// The largest step of a layer, relative to the norm of its weights.
    pub largest_step: f64,
}

/// One per case.
const COLOURS: [RGBColor; 3] = [RED, GREEN, BLUE];

/// Accuracy, and the largest step.
pub fn draw(runs: &[Run]) -> Result<String, Box<dyn Error>> {
    let mut cases: Vec<&str> = runs.iter().map(|run| run.case.as_str()).collect();
    cases.dedup();
    picture(
        "LARC with a rate that restarts: accuracy and largest step, as published and with two cures",
        (1000, 420),
        |root| {
            let (above, below) = root.split_vertically(380);
            let [left, right] = &above.split_evenly((1, 2))[..] else { return Err("no panels".into()) };
            panel(left, "test accuracy, %", &cases, runs, false)?;
            panel(right, "largest step / |w|", &cases, runs, true)?;
            let entries: Vec<_> = cases.iter().zip(COLOURS).map(|(case, colour)| (*case, colour, 3)).collect();
            legend(&below, 70, 6, &entries)
        },
    )
}

fn panel(area: &Area, what: &str, cases: &[&str], runs: &[Run], steps: bool) -> Drawn {
    let (first, last) = (runs.first().ok_or("no runs")?.rate, runs.last().ok_or("no runs")?.rate);
    let mut builder = ChartBuilder::on(area);
    let builder =
        builder.caption(what, font(22)).margin(10).margin_right(26).x_label_area_size(46).y_label_area_size(60);
    let rates = (first..last).log_scale();
    let series = |case: &str| -> Vec<(f64, f64)> {
        let curve = runs.iter().filter(|run| run.case == case);
        curve.map(|run| (run.rate, if steps { run.largest_step } else { 100.0 * run.accuracy })).collect()
    };
    // The chart of one panel has a logarithmic axis and is of another type.
    macro_rules! draw {
        ($range:expr) => {{
            let mut chart = builder.build_cartesian_2d(rates, $range)?;
            chart
                .configure_mesh()
                .label_style(size(17))
                .x_desc("highest learning rate")
                .x_label_formatter(&|rate| format!("{rate}"))
                .y_label_formatter(&|y| format!("{y}"))
                .light_line_style(TRANSPARENT)
                .draw()?;
            for (case, colour) in cases.iter().zip(COLOURS) {
                chart.draw_series(LineSeries::new(series(case), colour.stroke_width(3)))?;
            }
        }};
    }
    if steps {
        draw!((0.001..1.0).log_scale())
    } else {
        draw!(60.0..100.0)
    }
    Ok(())
}
