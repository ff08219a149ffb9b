//! The pictures in `docs` are drawn from the figures in `docs/data`, and the tables next to them have the same figures.
#![cfg(all(feature = "alloc", feature = "half"))]

#[path = "../examples/charts/pictures/mod.rs"]
mod pictures;

use std::fs::read_to_string;
use std::path::Path;

const DRAW: &str = "draw it again: cargo run --release --features alloc,half --example charts";

fn docs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"))
}

fn page(name: &str) -> String {
    read_to_string(docs().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn pictures_are_drawn_from_the_figures() {
    let all = pictures::all(docs()).unwrap();
    for (name, svg) in &all {
        assert!(page(name) == *svg, "docs/{name} is not what its figures are: {DRAW}");
        // Rustdoc would end the picture at an empty line.
        assert!(!svg.contains("\n\n"));
    }
    assert!(page("../src/pictures.md") == pictures::links(docs(), &all).unwrap(), "src/pictures.md: {DRAW}");
}

/// Each row of the table in `docs/memory.md` has the bytes that the crate keeps.
#[test]
fn the_table_of_bytes_is_right() {
    let page = page("memory.md");
    for bytes in pictures::bytes().unwrap() {
        let parts: Vec<String> = bytes.parts.iter().map(usize::to_string).collect();
        let row = format!("| {} | {} | {} |", bytes.name, parts.join(" | "), bytes.parts.iter().sum::<usize>());
        assert!(page.contains(&row), "docs/memory.md lacks the row\n{row}");
    }
}

/// Each time in the table of the comparison with C, in `docs/speed.md`, is one that its picture is drawn from.
#[test]
fn the_table_beside_c_has_the_figures_of_the_picture() {
    let page = page("speed.md");
    let (figures, mut label, mut found) = (times(), String::new(), 0);
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")).filter(|row| row.matches(" / ").count() == 12);
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if !cells[0].is_empty() {
            label = cells[0].into();
        }
        let backend = if label.starts_with("AVX-512,") { "avx512" } else { "avx2" };
        let offsets = if label.ends_with("offset by 16 bytes") { "4 4 4 4" } else { "0 0 0 0" };
        let (count, unit) = cells[1].split_once(' ').unwrap();
        let elements = count.parse::<usize>().unwrap() << if unit == "Ki" { 10 } else { 20 };
        for (work, cell) in WORK.iter().zip(&cells[2..]) {
            let what = format!("{backend},{elements},{offsets},{work}");
            let times = figures.get(&what).unwrap_or_else(|| panic!("docs/data/against_c.csv has no {what}"));
            assert!(
                cell.starts_with(times),
                "{what} is {times} in docs/data/against_c.csv, and {cell} in docs/speed.md"
            );
            found += 1;
        }
    }
    assert_eq!(found, 12 * WORK.len());
}

const WORK: [&str; 6] = ["norm", "NovoGrad", "LARC", "LARC norm carried", "AdamW", "LAMB beside AdamW"];

/// What was timed, and the two times as the table writes them.
fn times() -> std::collections::HashMap<String, String> {
    let figures = page("data/against_c.csv");
    let figure = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let time = |cell: &str| cell.parse::<f64>().unwrap();
        (cells[..4].join(","), format!("{:.3} / {:.3} /", time(cells[4]), time(cells[5])))
    };
    figures.lines().skip(1).map(figure).collect()
}

/// Each error in the table of norms of uniform numbers, in `docs/accuracy.md`, is the one in its picture.
#[test]
fn the_table_of_norms_has_the_figures_of_the_picture() {
    let (page, figures) = (page("accuracy.md"), page("data/norms.csv"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| uniform | 10^"));
    let mut found = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let elements = 10_u64.pow(cells[0].parse().unwrap());
        for (norm, cell) in ["layerwise", "serial f32", "serial f64", "faer", "OpenBLAS"].iter().zip(&cells[1..]) {
            let what = format!("{elements},{norm},");
            let worst = figures.lines().find_map(|line| line.strip_prefix(&what)).expect("a figure for each cell");
            let worst = format!("{:.0e} / ", worst.parse::<f64>().unwrap());
            assert!(cell.starts_with(&worst), "{what} {worst} in docs/data/norms.csv, and {cell} in docs/accuracy.md");
            found += 1;
        }
    }
    assert_eq!(found, 20);
}

/// What `docs/memory.md` says of each layer.
#[test]
fn the_bytes_of_a_layer_are_right() {
    use layerwise::norms::CarriedNorms;
    use layerwise::{AdamState, LayerSpan, NovoGradState, Report, SgdState};
    assert_eq!((size_of::<SgdState>(), size_of::<AdamState>(), size_of::<NovoGradState>()), (4, 4, 24));
    assert_eq!((size_of::<Report>(), size_of::<CarriedNorms>()), (40, 16));
    #[cfg(target_pointer_width = "64")]
    assert_eq!(size_of::<LayerSpan>(), 40);
}
