//! Files of traces.

use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{BufReader, Read};
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
pub fn parse(path: &Path) -> Value {
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    let reader: Box<dyn Read> =
        if path.extension().is_some_and(|e| e == "gz") { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    serde_json::from_reader(BufReader::new(reader)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files of a directory in order, or one file. Only pages to read (`*.md`, `*.txt`) are passed over.
pub fn all(path: &Path) -> Vec<File> {
    let mut paths = vec![path.to_path_buf()];
    if path.is_dir() {
        paths = path.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
    }
    let is_page = |path: &PathBuf| path.extension().is_some_and(|e| e == "md" || e == "txt");
    let file = |path: PathBuf| {
        let name = path.file_name().expect("the name of a file").to_string_lossy().into_owned();
        let is_trace = name.ends_with(".json") || name.ends_with(".json.gz");
        assert!(is_trace, "{name}: its kind is not known: traces end in .json or .json.gz");
        File { name, value: parse(&path), path }
    };
    paths.into_iter().filter(|path| !is_page(path)).map(file).collect()
}
