//! Files of traces.

use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::read_to_string;
use std::path::{Path, PathBuf};

/// A file, and what is in it.
pub struct File {
    pub name: String,
    #[allow(dead_code)] // Only a build without recipes reads it.
    pub path: PathBuf,
    pub value: Value,
}

impl File {
    /// What is in the file, with the fields that it must have.
    pub fn parse<T: DeserializeOwned>(&self) -> T {
        T::deserialize(&self.value).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The directory `tests/data`.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Reads a file `*.json` or `*.json.gz`.
fn read(path: PathBuf) -> Result<File, String> {
    let name = path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let is_packed = name.ends_with(".json.gz");
    if !is_packed && !name.ends_with(".json") {
        return Err(format!("{name}: its kind is not known: traces end in .json or .json.gz"));
    }
    let text = text(&path, is_packed).map_err(|error| format!("{name}: {error}"))?;
    let value = serde_json::from_str(&with_text_for_nan(&text)).map_err(|error| format!("{name}: {error}"))?;
    Ok(File { name, path, value })
}

fn text(path: &Path, is_packed: bool) -> std::io::Result<String> {
    if is_packed { read_to_string(GzDecoder::new(std::fs::File::open(path)?)) } else { std::fs::read_to_string(path) }
}

/// Some writers emit NaN and infinities, which JSON does not have. They become strings, as in the stored files.
fn with_text_for_nan(json: &str) -> String {
    let mut parts = json.split('"');
    let mut text = parts.next().map_or(String::new(), quoted);
    // Between two quotes there is text, unless the second of them is escaped.
    let mut is_text = true;
    for part in parts {
        text.push('"');
        text.push_str(&if is_text { part.to_string() } else { quoted(part) });
        let backslashes = part.len() - part.trim_end_matches('\\').len();
        is_text = !is_text || backslashes % 2 == 1;
    }
    text
}

fn quoted(part: &str) -> String {
    part.replace("NaN", "\"nan\"").replace("-Infinity", "\"-inf\"").replace("Infinity", "\"inf\"")
}

/// A file of `tests/data`.
pub fn stored(name: &str) -> File {
    read(data().join(name)).unwrap()
}

/// All files of a directory in order, or one file; for a file that cannot be read, the reason. Only pages (`*.md`,
/// `*.txt`) are left out.
pub fn all(path: &Path) -> Vec<Result<File, String>> {
    let mut paths = vec![path.to_path_buf()];
    if path.is_dir() {
        paths = path.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
    }
    let is_page = |path: &PathBuf| path.extension().is_some_and(|e| e == "md" || e == "txt");
    paths.into_iter().filter(|path| !is_page(path)).map(read).collect()
}
