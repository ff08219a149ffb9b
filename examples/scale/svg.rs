//! Pictures that read well on light and dark pages.

use std::fmt::Write;

pub struct Svg {
    body: String,
    width: f64,
    height: f64,
}

/// Colours of lines and areas by name, on light and on dark pages.
const STYLE: &str = "\
    svg { --ink: #1f2328; --faint: #8b949e; --page: #ffffff; --a: #0969da; --b: #bc4c00; --c: #1a7f37; --d: #8250df }
    @media (prefers-color-scheme: dark) {
        svg { --ink: #e6edf3; --faint: #7d8590; --page: #0d1117; --a: #58a6ff; --b: #f0883e; --c: #3fb950; --d: #bc8cff }
    }
    text { font: 14px system-ui, sans-serif; fill: var(--ink) }
    .small { font-size: 12px } .title { font-weight: 600 } .middle { text-anchor: middle } .end { text-anchor: end }
    .ink { stroke: var(--ink); fill: none } .faint { stroke: var(--faint); fill: none; stroke-width: 0.5 }
    .a { stroke: var(--a) } .b { stroke: var(--b) } .c { stroke: var(--c) } .d { stroke: var(--d) }
    .line { fill: none; stroke-width: 2.2 }
    .a.area { fill: var(--a) } .b.area { fill: var(--b) } .c.area { fill: var(--c) } .d.area { fill: var(--d) }
    .area { fill-opacity: 0.3; stroke-width: 1.2 }
";

impl Svg {
    pub fn new(width: f64, height: f64) -> Svg {
        Svg { body: String::new(), width, height }
    }

    pub fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(self.body, r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{text}</text>"#);
    }

    pub fn area(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" class="{class} area"/>"#
        );
    }

    /// A line through points.
    pub fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.body, r#"<polyline points="{}" class="{class}"/>"#, points.join(" "));
    }

    /// A line with a head at its end.
    pub fn arrow(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = (dx * dx + dy * dy).sqrt();
        let (dx, dy) = (6.0 * dx / length, 6.0 * dy / length);
        self.line(&[from, to], class);
        let head = [(to.0 - dx - dy / 2.0, to.1 - dy + dx / 2.0), to, (to.0 - dx + dy / 2.0, to.1 - dy - dx / 2.0)];
        self.line(&head, class);
    }

    pub fn finish(self, title: &str) -> String {
        let Svg { body, width, height } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"var(--page)\"/>\n{body}</svg>\n"
        )
    }
}
