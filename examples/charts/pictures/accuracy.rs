//! Accuracy against learning rate, from the sweep of the example `digits`.

use super::paper::{Area, BLUE, Drawn, GREEN, GREY, ORANGE, PURPLE, RED, TEAL, font, legend, picture, size};
use plotters::prelude::*;
use std::cmp::Reverse;
use std::error::Error;

/// The accuracy of one training run.
#[derive(serde::Deserialize, serde::Serialize)]
pub struct Run {
    pub initial_weights: f64,
    pub optimizer: String,
    pub rate: f64,
    pub accuracy: f64,
}

/// Colours and widths, in the order of the optimizers. LARC is like SGD with momentum if the rate is small, and Adam is
/// like AdamW: one curve of each pair is wide and lies below the other.
const STYLES: [(RGBColor, u32); 7] = [(GREY, 2), (BLUE, 2), (RED, 5), (GREEN, 2), (ORANGE, 5), (PURPLE, 2), (TEAL, 2)];

/// One panel per initial scale, one curve per optimizer, and a legend.
pub fn draw(runs: &[Run]) -> Result<String, Box<dyn Error>> {
    let mut scales: Vec<f64> = runs.iter().map(|run| run.initial_weights).collect();
    scales.dedup();
    let mut names: Vec<&str> = runs.iter().map(|run| run.optimizer.as_str()).collect();
    names.dedup();
    names.truncate(STYLES.len());
    picture("Test accuracy against learning rate, for three sizes of the initial weights", (1200, 440), |root| {
        let (above, below) = root.split_vertically(400);
        for (area, scale) in above.split_evenly((1, scales.len())).iter().zip(&scales) {
            let runs: Vec<&Run> = runs.iter().filter(|run| run.initial_weights == *scale).collect();
            panel(area, *scale, &names, &runs)?;
        }
        let entries: Vec<_> = names.iter().zip(STYLES).map(|(name, (colour, width))| (*name, colour, width)).collect();
        legend(&below, 60, 8, &entries)
    })
}

fn panel(area: &Area, scale: f64, names: &[&str], runs: &[&Run]) -> Drawn {
    let (first, last) = (runs.first().ok_or("no runs")?.rate, runs.last().ok_or("no runs")?.rate);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("initial weights × {scale}"), font(22))
        .margin(10)
        .margin_right(26)
        .x_label_area_size(46)
        .y_label_area_size(52)
        .build_cartesian_2d((first..last).log_scale(), 0.0..100.0)?;
    chart
        .configure_mesh()
        .label_style(size(17))
        .x_desc("learning rate")
        .y_desc("test accuracy, %")
        .x_label_formatter(&|rate| format!("{rate}"))
        .y_label_formatter(&|accuracy| format!("{accuracy}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let mut styled: Vec<_> = names.iter().zip(STYLES).collect();
    styled.sort_by_key(|(_, (_, width))| Reverse(*width));
    for (name, (colour, width)) in styled {
        let curve = runs.iter().filter(|run| run.optimizer == *name);
        chart.draw_series(LineSeries::new(
            curve.map(|run| (run.rate, 100.0 * run.accuracy)),
            colour.stroke_width(width),
        ))?;
    }
    Ok(())
}
