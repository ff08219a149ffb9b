//! Draws the pictures in `docs` from the figures in `docs/data`, and writes the links with which rustdoc shows them.
//!
//! ```text
//! cargo run --release --features alloc,half --example charts
//! ```
//!
//! `docs/data/README.md` says where the figures come from. `tests/pictures.rs` checks that the pictures match the
//! figures.

mod pictures;

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = root.join("docs");
    let all = pictures::all(&docs)?;
    for (name, svg) in &all {
        std::fs::write(docs.join(name), svg)?;
    }
    std::fs::write(root.join("src/pictures.md"), pictures::links(&docs, &all)?)?;
    println!("{} pictures", all.len());
    println!("bytes a weight:");
    for bytes in pictures::bytes()? {
        println!("{:52} {:?} = {}", bytes.name, bytes.parts, bytes.parts.iter().sum::<usize>());
    }
    Ok(())
}
