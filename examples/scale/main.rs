//! What training on many machines costs: the tables and pictures of `docs/scale.md`.
//!
//! ```text
//! cargo run --release --example scale               prints the tables
//! cargo run --release --example scale -- --draw     also writes docs/scale.svg and docs/scale_model.svg
//! cargo run --release --example scale -- --check    fails unless they are what it would write
//! ```
//!
//! Vectors, pieces and bytes are counted with the crate's own tree. Times come from a model, whose parameters are at
//! the top of `model.rs`.

#[path = "chart.rs"]
mod chart;
#[path = "model.rs"]
mod model;
#[path = "picture.rs"]
mod picture;
#[path = "svg.rs"]
mod svg;

use model::{Way, models};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mode = std::env::args().nth(1);
    let pictures = [("scale.svg", picture::draw()), ("scale_model.svg", chart::draw(&models()))];
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (name, picture) in &pictures {
        match mode.as_deref() {
            Some("--draw") => std::fs::write(docs.join(name), picture)?,
            Some("--check") if std::fs::read_to_string(docs.join(name))? != *picture => {
                return Err(format!("docs/{name} is not current: draw it anew with --draw").into());
            }
            None | Some("--check") => {}
            Some(other) => return Err(format!("{other}: --draw or --check").into()),
        }
    }
    if mode.as_deref() != Some("--check") {
        models().iter().for_each(table);
    }
    Ok(())
}

/// Times and bytes of a model on some numbers of ranks.
fn table(model: &model::Model) {
    println!(
        "\n{}, {} micro-batches of {}, {} ranks for a replica",
        model.name, model.leaves, model.leaf, model.parallel
    );
    println!(
        "|   ranks | cuts | busiest | vectors | step, tree | ring | all to owners | sent GB | norms, nodes | leaves |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for ranks in [1, 2, 3, 6, 8, 64, 96, 1000, 1024, 10_000, 16_384, 100_000] {
        let Some(tree) = model.step(Way::Tree, ranks) else { continue };
        let seconds = |way| model.step(way, ranks).map_or(String::new(), |step| format!("{:.4}", step.seconds));
        println!(
            "| {ranks:7} | {} | {} | {:.2} | {:.4} s | {} s | {} s | {:.2} | {:.0} kB | {:.0} kB |",
            tree.cuts,
            tree.busiest,
            tree.vectors,
            tree.seconds,
            seconds(Way::Ring),
            seconds(Way::Owners),
            tree.sent / 1e9,
            model.norm_bytes(ranks) / 1e3,
            model.leaf_sum_bytes() / 1e3
        );
    }
}
