//! How three ranks add 24 micro-batches: who computes what, and who sends what to whom.

use crate::svg::Svg;

const RANKS: [(&str, &str); 3] = [("rank 0", "a"), ("rank 1", "b"), ("rank 2", "c")];
const LEFT: f64 = 150.0;
const WIDTH: f64 = 540.0;
const BAR: f64 = 26.0;

pub fn draw() -> String {
    let mut svg = Svg::new(760.0, 560.0);
    svg.text(20.0, 30.0, "title", "24 micro-batches on 3 ranks: a tree, and exchanges of halves");
    micro_batches(&mut svg, 60.0);
    svg.text(20.0, 176.0, "small", "each rank adds up its node, and has a whole vector");
    for (rank, y) in [0, 1, 2].into_iter().zip([190.0, 222.0, 254.0]) {
        bar(&mut svg, y, RANKS[rank].0, &[(0.0, 6.0, rank)], false);
    }
    svg.text(20.0, 316.0, "small", "ranks 0 and 1 exchange halves: each sends 1/2 of a vector, and adds what comes");
    halves(&mut svg, 330.0);
    svg.text(20.0, 426.0, "small", "rank 2 joins: it sends 1/3 to each of them, and each sends 1/6 back");
    bar(&mut svg, 440.0, "sum of all", &[(0.0, 2.0, 0), (2.0, 4.0, 2), (4.0, 6.0, 1)], true);
    svg.text(20.0, 500.0, "", "Sent by ranks 0 and 1: 1/2 + 1/6 = 2/3 of a vector. By rank 2: 1/3 + 1/3 = 2/3.");
    svg.text(
        20.0,
        522.0,
        "",
        "On P ranks each sends 1 − 1/P, whatever P is. Every sum is that of a node of one tree, so it",
    );
    svg.text(20.0, 544.0, "", "has the same bits on 1 rank, on 3 and on 24.");
    svg.finish("How three ranks add 24 micro-batches along a tree")
}

/// The leaves, and the nodes above them.
fn micro_batches(svg: &mut Svg, y: f64) {
    let place = |leaf: f64| LEFT + WIDTH * leaf / 24.0;
    svg.text(20.0, y + 84.0, "", "micro-batches");
    for leaf in 0..24 {
        let rank = leaf / 8;
        svg.area(place(f64::from(leaf)) + 2.0, y + 68.0, WIDTH / 24.0 - 4.0, 20.0, RANKS[rank as usize].1);
    }
    // The root has 0..16 and 16..24 below it, and 0..16 has two nodes of 8.
    let (root, left) = ((place(14.0), y + 6.0), (place(8.0), y + 30.0));
    for (from, to) in
        [(root, left), (root, (place(20.0), y + 58.0)), (left, (place(4.0), y + 58.0)), (left, (place(12.0), y + 58.0))]
    {
        svg.line(&[from, to], "ink");
    }
    for (rank, (name, class)) in RANKS.into_iter().enumerate() {
        let from = place(8.0 * rank as f64);
        svg.line(&[(from + 2.0, y + 64.0), (from + WIDTH / 3.0 - 2.0, y + 64.0)], &format!("{class} line"));
        svg.text(from + 4.0, y + 56.0, "small", name);
    }
}

/// A vector whose parts belong to ranks: from, to, in sixths, and the rank.
fn bar(svg: &mut Svg, y: f64, name: &str, parts: &[(f64, f64, usize)], named: bool) {
    svg.text(20.0, y + 18.0, "", name);
    for &(from, to, rank) in parts {
        let (x, width) = (LEFT + WIDTH * from / 6.0, WIDTH * (to - from) / 6.0);
        svg.area(x, y, width, BAR, RANKS[rank].1);
        if named {
            svg.text(x + width / 2.0, y + 18.0, "middle", RANKS[rank].0);
        }
    }
}

/// The sum of ranks 0 and 1, and that of rank 2 next to it, with the parts that go to other ranks.
fn halves(svg: &mut Svg, y: f64) {
    bar(svg, y, "sum of 0 and 1", &[(0.0, 3.0, 0), (3.0, 6.0, 1)], true);
    bar(svg, y + 34.0, "rank 2", &[(0.0, 6.0, 2)], false);
    let at = |sixths: f64| LEFT + WIDTH * sixths / 6.0;
    // Rank 2 keeps the middle third.
    for (sixths, down) in [(1.0, false), (2.5, true), (3.5, true), (5.0, false)] {
        let (top, bottom) = (y + 22.0, y + 42.0);
        let (from, to) = if down { (top, bottom) } else { (bottom, top) };
        svg.arrow((at(sixths), from), (at(sixths), to), "ink");
    }
}
