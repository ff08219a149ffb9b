//! The pictures of the documentation, and the figures that they are drawn from.

mod accuracy;
mod bytes;
mod norms;
mod paper;
mod restarts;
mod speed;

pub use bytes::table as bytes;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::path::Path;

/// A picture's file in `docs`, and its text.
pub type Picture = (&'static str, String);

/// Drawn by hand, and by the example `scale`.
const OTHERS: [&str; 3] = ["floors.svg", "scale.svg", "scale_model.svg"];

/// All pictures of this example, drawn from the figures in `docs/data`. The picture of bytes measures the crate
/// instead.
pub fn all(docs: &Path) -> Result<Vec<Picture>, Box<dyn Error>> {
    let data = docs.join("data");
    Ok(vec![
        ("digits.svg", accuracy::draw(&read(&data.join("digits.csv"))?)?),
        ("restarts.svg", restarts::draw(&read(&data.join("restarts.csv"))?)?),
        ("against_c.svg", speed::draw(&read(&data.join("against_c.csv"))?)?),
        ("norms.svg", norms::draw(&read(&data.join("norms.csv"))?)?),
        ("bytes.svg", bytes::draw()?),
    ])
}

/// The pictures in a form that rustdoc can show without a file: each name that a page uses, with the picture in base64.
/// This includes pictures that are not drawn here.
pub fn links(docs: &Path, pictures: &[Picture]) -> Result<String, Box<dyn Error>> {
    let link = |name: &str, svg: &str| format!("[{name}]: data:image/svg+xml;base64,{}\n", base64(svg.as_bytes()));
    let mut links: String = pictures.iter().map(|(name, svg)| link(name, svg)).collect();
    for name in OTHERS {
        links.push_str(&link(name, &std::fs::read_to_string(docs.join(name))?));
    }
    Ok(links)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Box<dyn Error>> {
    Ok(csv::Reader::from_path(path)?.deserialize().collect::<Result<_, _>>()?)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= chunk.len() { DIGITS[value as usize] as char } else { '=' });
        }
    }
    text
}
