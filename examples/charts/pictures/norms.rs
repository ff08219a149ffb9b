//! The error of a norm against the length of its array, from `benches/accuracy`.

use super::paper::{BLUE, GREEN, GREY, ORANGE, RED, font, legend, picture, size};
use plotters::prelude::*;
use std::error::Error;

#[derive(serde::Deserialize)]
pub struct Figure {
    elements: f64,
    norm: String,
    /// The largest relative error of several arrays.
    worst: f64,
}

const STYLES: [(&str, RGBColor, u32); 5] = [
    ("serial f32", RED, 3),
    ("faer", ORANGE, 2),
    ("OpenBLAS", BLUE, 2),
    ("layerwise", GREEN, 4),
    ("serial f64", GREY, 2),
];

pub fn draw(figures: &[Figure]) -> Result<String, Box<dyn Error>> {
    picture("Relative error of an L2 norm against the length of the array", (720, 420), |root| {
        let (above, below) = root.split_vertically(380);
        let mut chart = ChartBuilder::on(&above)
            .caption("worst relative error of a norm, uniform numbers", font(20))
            .margin(10)
            .margin_right(26)
            .x_label_area_size(46)
            .y_label_area_size(64)
            .build_cartesian_2d((1e3..1e8).log_scale(), (1e-15..1.0).log_scale())?;
        chart
            .configure_mesh()
            .label_style(size(17))
            .x_desc("elements")
            .x_label_formatter(&|elements| format!("{elements:.0e}"))
            .y_label_formatter(&|error| format!("{error:.0e}"))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (name, colour, width) in STYLES {
            let curve = figures.iter().filter(|figure| figure.norm == name);
            let points = curve.map(|figure| (figure.elements, figure.worst));
            chart.draw_series(LineSeries::new(points, colour.stroke_width(width)))?;
        }
        legend(&below, 70, 6, &STYLES)
    })
}
