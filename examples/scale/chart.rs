//! Charts of the model: the fraction of time in which all ranks compute, and the bytes of norms.

use crate::model::{Model, Way};
use crate::svg::Svg;

const WIDTH: f64 = 270.0;
const HEIGHT: f64 = 190.0;
const MOST: f64 = 100_000.0;

const WAYS: [(Way, &str, &str); 3] = [
    (Way::Owners, "d", "every micro-batch to its owner"),
    (Way::Ring, "b", "a ring (bits depend on the ranks)"),
    (Way::Tree, "a", "the tree, best cuts (bits of one process)"),
];

pub fn draw(models: &[Model]) -> String {
    let mut svg = Svg::new(1080.0, 640.0);
    svg.text(20.0, 30.0, "title", "Share of the time in which all ranks compute (model)");
    for ((_, class, name), x) in WAYS.iter().rev().zip([20.0, 350.0, 740.0]) {
        svg.line(&[(x, 52.0), (x + 26.0, 52.0)], &format!("{class} line"));
        svg.text(x + 34.0, 57.0, "small", name);
    }
    for (model, x) in models.iter().zip([60.0, 410.0, 760.0]) {
        efficiency(&mut svg, model, x, 90.0);
        bytes(&mut svg, model, x, 400.0);
    }
    svg.text(20.0, 350.0, "title", "Bytes of norms that every rank gets in a step (counted)");
    for ((class, name), x) in
        [("c", "one group for each node"), ("d", "one group for each leaf")].into_iter().zip([20.0, 350.0])
    {
        svg.line(&[(x, 372.0), (x + 26.0, 372.0)], &format!("{class} line"));
        svg.text(x + 34.0, 377.0, "small", name);
    }
    svg.finish("Training on 1 to 100,000 ranks, modelled")
}

/// Numbers of ranks that make whole replicas: powers of two, three times those, and the maximum.
fn ranks(model: &Model) -> impl Iterator<Item = usize> {
    let all = (0..17).flat_map(|height| [1 << height, 3 << height >> 1]).filter(|ranks| *ranks > 0);
    let mut all: Vec<usize> = all.chain([MOST as usize]).filter(|r| *r <= MOST as usize).collect();
    all.sort_unstable();
    all.dedup();
    let parallel = model.parallel;
    all.into_iter()
        .filter(move |ranks| *ranks >= parallel && (ranks.is_multiple_of(parallel) || *ranks == MOST as usize))
}

/// Where a number of ranks is, on a logarithmic axis.
fn across(x: f64, ranks: f64) -> f64 {
    x + WIDTH * ranks.log10() / MOST.log10()
}

/// The frame of a chart, with numbers of ranks below it.
fn frame(svg: &mut Svg, name: &str, x: f64, y: f64) {
    svg.line(&[(x, y), (x, y + HEIGHT), (x + WIDTH, y + HEIGHT)], "ink");
    for (ranks, label) in [(1.0, "1"), (10.0, "10"), (100.0, "100"), (1e3, "1,000"), (1e4, "10,000"), (1e5, "100,000")]
    {
        let at = across(x, ranks);
        svg.line(&[(at, y), (at, y + HEIGHT)], "faint");
        svg.text(at, y + HEIGHT + 18.0, "small middle", label);
    }
    svg.text(x + WIDTH / 2.0, y - 8.0, "small middle", name);
    svg.text(x + WIDTH / 2.0, y + HEIGHT + 34.0, "small middle", "ranks");
}

fn efficiency(svg: &mut Svg, model: &Model, x: f64, y: f64) {
    frame(svg, model.name, x, y);
    for percent in [0, 25, 50, 75, 100] {
        let at = y + HEIGHT * (1.0 - f64::from(percent) / 100.0);
        svg.line(&[(x, at), (x + WIDTH, at)], "faint");
        svg.text(x - 6.0, at + 4.0, "small end", &format!("{percent} %"));
    }
    for (way, class, _) in WAYS {
        let share = |ranks| Some((ranks, model.ideal(ranks) / model.step(way, ranks)?.seconds));
        let point = |(ranks, share)| (across(x, ranks as f64), y + HEIGHT * (1.0 - share));
        let points: Vec<_> = ranks(model).filter_map(share).map(point).collect();
        svg.line(&points, &format!("{class} line"));
    }
}

fn bytes(svg: &mut Svg, model: &Model, x: f64, y: f64) {
    frame(svg, model.name, x, y);
    let up = |bytes: f64| y + HEIGHT * (1.0 - (bytes.log10() - 3.0) / 6.0);
    for (bytes, label) in
        [(1e3, "1 kB"), (1e4, "10 kB"), (1e5, "100 kB"), (1e6, "1 MB"), (1e7, "10 MB"), (1e8, "100 MB"), (1e9, "1 GB")]
    {
        svg.line(&[(x, up(bytes)), (x + WIDTH, up(bytes))], "faint");
        svg.text(x - 6.0, up(bytes) + 4.0, "small end", label);
    }
    let nodes: Vec<_> = ranks(model).map(|ranks| (across(x, ranks as f64), up(model.norm_bytes(ranks)))).collect();
    let leaves: Vec<_> = ranks(model).map(|ranks| (across(x, ranks as f64), up(model.leaf_sum_bytes()))).collect();
    svg.line(&leaves, "d line");
    svg.line(&nodes, "c line");
}
