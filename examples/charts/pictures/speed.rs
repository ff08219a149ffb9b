//! The time of a step against the size of the layer, compared with C and a triad, from `benches/against-c`.

use super::paper::{Area, BLUE, Drawn, GREEN, GREY, font, legend, picture, size};
use plotters::prelude::*;
use std::error::Error;

#[derive(serde::Deserialize)]
pub struct Figure {
    backend: String,
    elements: f64,
    offsets: String,
    work: String,
    /// Nanoseconds per element.
    c: f64,
    layerwise: f64,
}

/// Steps, and how many bytes they move per element if the arrays are not in a cache.
const STEPS: [(&str, f64); 3] = [("NovoGrad", 24.0), ("LARC", 28.0), ("AdamW", 32.0)];
/// The bytes that a triad moves: it reads two arrays and writes one, whose cache lines are read first.
const TRIAD: f64 = 16.0;
const LENGTHS: std::ops::RangeInclusive<f64> = 4096.0..=16_777_216.0;

const STYLES: [(&str, RGBColor, u32); 3] =
    [("layerwise", GREEN, 4), ("C by hand, with fused multiply-adds", BLUE, 2), ("a triad of as many bytes", GREY, 2)];

pub fn draw(figures: &[Figure]) -> Result<String, Box<dyn Error>> {
    picture("Time of a step against the length of the layer, beside C and a triad", (1100, 400), |root| {
        let (above, below) = root.split_vertically(360);
        for (area, (step, bytes)) in above.split_evenly((1, STEPS.len())).iter().zip(STEPS) {
            panel(area, step, bytes, figures)?;
        }
        legend(&below, 70, 6, &STYLES)
    })
}

fn panel(area: &Area, step: &str, bytes: f64, figures: &[Figure]) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{step} step, ns an element"), font(20))
        .margin(10)
        .margin_right(26)
        .x_label_area_size(46)
        .y_label_area_size(46)
        .build_cartesian_2d((*LENGTHS.start()..*LENGTHS.end()).log_scale(), 0.0..1.2)?;
    let label = |elements: &f64| match elements.log2().round() as u32 {
        power @ 20.. => format!("{} Mi", 1 << (power - 20)),
        power @ 10.. => format!("{} Ki", 1 << (power - 10)),
        power => (1 << power).to_string(),
    };
    chart
        .configure_mesh()
        .label_style(size(16))
        .x_desc("elements")
        .x_label_formatter(&label)
        .light_line_style(TRANSPARENT)
        .draw()?;
    let of = |backend: &str, work: &str| -> Vec<&Figure> {
        let wanted = |figure: &&Figure| {
            figure.backend == backend
                && figure.work == work
                && figure.offsets == "0 0 0 0"
                && LENGTHS.contains(&figure.elements)
        };
        figures.iter().filter(wanted).collect()
    };
    let curves: [Vec<(f64, f64)>; 3] = [
        of("avx512", step).iter().map(|figure| (figure.elements, figure.layerwise)).collect(),
        of("avx512", step).iter().map(|figure| (figure.elements, figure.c)).collect(),
        of("any", "copy and triad").iter().map(|figure| (figure.elements, figure.layerwise * bytes / TRIAD)).collect(),
    ];
    for (points, (_, colour, width)) in curves.into_iter().zip(STYLES) {
        chart.draw_series(LineSeries::new(points, colour.stroke_width(width)))?;
    }
    Ok(())
}
