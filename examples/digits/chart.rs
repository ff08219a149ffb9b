//! The chart of the sweep.

use crate::optimizers::ALL;
use crate::sweep::{RATES, SCALES};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::cmp::Reverse;
use std::error::Error;
use std::path::Path;

/// Colours and widths, in the order of the optimizers. LARC is like SGD with momentum where the rate is small, and Adam
/// like AdamW: of such a pair one is wide, and below the other.
const STYLES: [(RGBColor, u32); ALL.len()] = [
    (RGBColor(150, 150, 150), 2),
    (RGBColor(50, 110, 220), 2),
    (RGBColor(200, 30, 40), 5),
    (RGBColor(30, 140, 60), 2),
    (RGBColor(240, 170, 40), 5),
    (RGBColor(120, 40, 150), 2),
    (RGBColor(0, 180, 190), 2),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One panel per initial scale, one curve per optimizer, and what the colours mean.
pub fn draw(path: &Path, panels: &[&[&[f64]]]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1200, 440)).into_drawing_area();
    root.fill(&WHITE)?;
    let (above, below) = root.split_vertically(400);
    for ((area, scale), curves) in above.split_evenly((1, SCALES.len())).iter().zip(SCALES).zip(panels) {
        draw_panel(area, scale, curves)?;
    }
    draw_legend(&below)?;
    root.present()?;
    Ok(())
}

fn draw_panel(area: &Area, scale: f32, curves: &[&[f64]]) -> Result<(), Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(format!("initial weights × {scale}"), ("sans-serif", 22))
        .margin(10)
        .x_label_area_size(46)
        .y_label_area_size(52)
        .build_cartesian_2d((RATES[0]..RATES[RATES.len() - 1]).log_scale(), 0.0..100.0)?;
    chart
        .configure_mesh()
        .label_style(("sans-serif", 17))
        .x_desc("learning rate")
        .y_desc("test accuracy, %")
        .x_label_formatter(&|rate| format!("{rate}"))
        .y_label_formatter(&|accuracy| format!("{accuracy}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let mut styled: Vec<_> = curves.iter().zip(STYLES).collect();
    styled.sort_by_key(|(_, (_, width))| Reverse(*width));
    for (curve, (colour, width)) in styled {
        let points = RATES.iter().zip(*curve).map(|(&lr, &accuracy)| (lr, 100.0 * accuracy));
        chart.draw_series(LineSeries::new(points, colour.stroke_width(width)))?;
    }
    Ok(())
}

fn draw_legend(area: &Area) -> Result<(), Box<dyn Error>> {
    let mut x = 60;
    for (contender, (colour, width)) in ALL.iter().zip(STYLES) {
        area.draw(&PathElement::new([(x, 18), (x + 24, 18)], colour.stroke_width(width)))?;
        area.draw(&Text::new(contender.name, (x + 32, 10), ("sans-serif", 19)))?;
        x += 95 + 9 * contender.name.len() as i32;
    }
    Ok(())
}
