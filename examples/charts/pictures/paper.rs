//! What all pictures share: colours that are readable on a light and on a dark page, and labels.

use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Drawn = Result<(), Box<dyn Error>>;

pub const GREY: RGBColor = RGBColor(140, 140, 140);
pub const BLUE: RGBColor = RGBColor(60, 130, 230);
pub const RED: RGBColor = RGBColor(214, 60, 70);
pub const GREEN: RGBColor = RGBColor(40, 155, 80);
pub const ORANGE: RGBColor = RGBColor(235, 160, 40);
pub const PURPLE: RGBColor = RGBColor(160, 90, 200);
pub const TEAL: RGBColor = RGBColor(0, 170, 185);

/// A picture has its own background, which is dark if the reader's pages are.
const STYLE: &str = "<style>text{font-family:system-ui,sans-serif}@media(prefers-color-scheme:dark){\
    [fill=\"#FFFFFF\"]{fill:#16191d}[fill=\"#000000\"]{fill:#e4e6e8}[stroke=\"#000000\"]{stroke:#e4e6e8}}</style>";

/// The text of an SVG picture of this size, drawn by `draw`; `title` is for screen readers.
pub fn picture(title: &str, size: (u32, u32), draw: impl FnOnce(&Area) -> Drawn) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        area.present()?;
    }
    let (tag, rest) = svg.split_once('\n').ok_or("an empty picture")?;
    Ok(format!("{tag}\n<title>{title}</title>\n{STYLE}\n{rest}"))
}

/// A label, in the colour of the text around it.
pub fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}

pub fn size(size: u32) -> (&'static str, u32) {
    ("sans-serif", size)
}

/// The legend, side by side from `x` on.
pub fn legend(area: &Area, mut x: i32, y: i32, entries: &[(&str, RGBColor, u32)]) -> Drawn {
    for (name, colour, width) in entries {
        area.draw(&PathElement::new([(x, y + 8), (x + 24, y + 8)], colour.stroke_width(*width)))?;
        area.draw(&Text::new((*name).to_string(), (x + 32, y), font(17)))?;
        x += 62 + 17 * name.chars().count() as i32 / 2;
    }
    Ok(())
}
