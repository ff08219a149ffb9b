//! Dependencies go down only: no file of `src` uses a floor above its own, files of a folder do not use each other in a
//! cycle, and nothing is imported through `lib.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The floors, and those that each may use.
const FLOORS: [(&str, &[&str]); 6] = [
    ("driver", &["memory", "rules", "kernel", "lanes", "error"]),
    ("memory", &["rules", "error"]),
    ("rules", &["error"]),
    ("kernel", &["lanes"]),
    ("lanes", &[]),
    ("error", &[]),
];

#[test]
fn calls_go_down_only() {
    let mut files = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    assert!(files.contains_key("lib.rs") && files.len() > 20, "src is not where it was");
    let faults = faults(&files);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Reads all files of a folder, by their paths below `src`.
fn read(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            read(&path, &format!("{name}/"), files);
        } else if name.ends_with(".rs") {
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// Everything that is wrong with these files.
fn faults(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = vec![];
    let mut neighbours: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, source) in files.iter().filter(|(from, _)| *from != "lib.rs") {
        let Some((_, allowed)) = FLOORS.iter().find(|(floor, _)| *floor == floor_of(from)) else {
            faults.push(format!("{from} is on no floor"));
            continue;
        };
        for path in paths(source) {
            let Some(to) = target(from, &path, files).filter(|to| *to != from) else { continue };
            if to == "lib.rs" {
                faults.push(format!("{from} imports {} through lib.rs", path.segments.join("::")));
            } else if floor_of(to) != floor_of(from) {
                if !allowed.contains(&floor_of(to)) {
                    faults.push(format!("{from} uses {to}, which is not below it"));
                }
            } else if !(path.is_reexport && from.ends_with("/mod.rs")) {
                neighbours.entry(from).or_default().insert(to);
            }
        }
    }
    while let Some(files) = circle(&neighbours) {
        faults.push(format!("a circle: {}", files.join(" uses ")));
        if let [.., from, to] = files[..] {
            neighbours.entry(from).or_default().remove(to);
        }
    }
    faults.dedup();
    faults
}

/// The folder of a file, or the file itself where there is none.
fn floor_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// The first cycle, if there is one.
fn circle<'a>(uses: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    fn walk<'a>(uses: &BTreeMap<&'a str, BTreeSet<&'a str>>, way: &mut Vec<&'a str>) -> Option<Vec<&'a str>> {
        for next in uses.get(way.last()?).into_iter().flatten() {
            let seen = way.iter().position(|file| file == next);
            way.push(next);
            if let Some(start) = seen {
                return Some(way.split_off(start));
            }
            if let Some(circle) = walk(uses, way) {
                return Some(circle);
            }
            way.pop();
        }
        None
    }
    uses.keys().find_map(|file| walk(uses, &mut vec![file]))
}

/// A path in a source file, starting with `crate`, `super` or `self`, or in a `use`.
#[derive(Debug, PartialEq)]
struct Item {
    segments: Vec<String>,
    /// The modules in the file around it.
    within: Vec<String>,
    /// Whether it occurs only in a `pub use`, as where a `mod.rs` lists what its folder exports.
    is_reexport: bool,
}

/// The file that the item of a path is in; `None` if it is in another crate.
fn target<'a>(from: &str, path: &Item, files: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let folder_or_file = from.trim_end_matches(".rs").trim_end_matches("/mod");
    let mut module: Vec<&str> = folder_or_file.split('/').collect();
    module.extend(path.within.iter().map(String::as_str));
    let mut rest = path.segments.iter().map(String::as_str).peekable();
    match *rest.peek()? {
        "crate" => module.clear(),
        "self" | "super" => {}
        // The name of a module in the same folder, or of a crate.
        name => {
            let child = [&module[..], &[name]].concat();
            file_of(&child, files).filter(|file| file_of(&module, files) != Some(file))?;
        }
    }
    for segment in rest {
        match segment {
            "super" => drop(module.pop()),
            "crate" | "self" => {}
            name => module.push(name),
        }
    }
    file_of(&module, files)
}

/// The file of a module, or of the innermost module around it that has a file.
fn file_of<'a>(module: &[&str], files: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let name = module.join("/");
    let names =
        if name.is_empty() { ["lib.rs".to_string(), String::new()] } else { [name.clone() + ".rs", name + "/mod.rs"] };
    let file = names.iter().find_map(|name| files.get_key_value(name)).map(|(file, _)| file.as_str());
    file.or_else(|| file_of(module.split_last()?.1, files))
}

/// All paths of a source that may lead to another file.
fn paths(source: &str) -> Vec<Item> {
    let tokens = tokens(source);
    let token = |i: usize| tokens.get(i).map_or("", String::as_str);
    let mut paths = vec![];
    // The modules around a token, each with the depth of its braces.
    let mut within: Vec<(String, usize)> = vec![];
    let (mut depth, mut i) = (0, 0);
    while i < tokens.len() {
        let names = || within.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        match token(i) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                within.retain(|(_, at)| *at <= depth);
            }
            "mod" if token(i + 2) == "{" => within.push((token(i + 1).to_string(), depth + 1)),
            "use" if token(i + 1) != "<" => {
                let has_visibility = i > 0 && ["pub", ")"].contains(&token(i - 1));
                let mut trees = vec![];
                i = tree(&tokens, i + 1, &[], &mut trees);
                paths.extend(trees.into_iter().map(|segments| {
                    let occurs = tokens.iter().filter(|token| segments.last() == Some(token)).count();
                    Item { segments, within: names(), is_reexport: has_visibility && occurs == 1 }
                }));
                continue;
            }
            "crate" | "super" | "self" if token(i + 1) == "::" && (i == 0 || token(i - 1) != "::") => {
                let mut segments = vec![token(i).to_string()];
                while token(i + 1) == "::" && is_name(token(i + 2)) {
                    segments.push(token(i + 2).to_string());
                    i += 2;
                }
                paths.push(Item { segments, within: names(), is_reexport: false });
            }
            _ => {}
        }
        i += 1;
    }
    paths
}

/// Reads a tree of a `use`, adds its paths, and returns the index of the token after it.
fn tree(tokens: &[String], mut i: usize, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(i).map(String::as_str) {
            Some("::") => i += 1,
            Some("{") => {
                i += 1;
                while !matches!(tokens.get(i).map(String::as_str), None | Some("}")) {
                    i = tree(tokens, i, &path, paths);
                    if tokens.get(i).is_some_and(|token| token == ",") {
                        i += 1;
                    }
                }
                return i + 1;
            }
            Some("as") => i += 2,
            Some(name) if name == "*" || is_name(name) => {
                path.push(name.to_string());
                i += 1;
            }
            _ => {
                paths.push(path);
                return i;
            }
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The tokens of a source file, without comments and string literals. (Strings that are paths, as in attributes, are
/// read.)
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = vec![];
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let len = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => {
                let text = text(rest);
                if text.starts_with("\"super::") || text.starts_with("\"crate::") {
                    tokens.extend(self::tokens(text.trim_matches('"')));
                }
                text.len()
            }
            // A character literal or a lifetime.
            '\'' if rest[1..].starts_with('\\') => rest[3..].find('\'').map_or(rest.len(), |end| end + 4),
            '\'' => rest.char_indices().nth(2).filter(|(_, c)| *c == '\'').map_or(1, |(end, _)| end + 1),
            _ if is_name(rest) => rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            _ => c.len_utf8(),
        };
        let (token, after) = rest.split_at(len);
        if is_name(token) || (!c.is_whitespace() && !['/', '"', '\''].contains(&c)) {
            tokens.push(token.to_string());
        }
        rest = after;
    }
    tokens
}

/// The string literal at the beginning of a source.
fn text(source: &str) -> &str {
    let mut escaped = false;
    let end = source.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(source, |(end, _)| &source[..=end])
}

/// What is wrong with a crate that has these files and a few others.
fn faults_of(files: &[(&str, &str)]) -> Vec<String> {
    let others =
        ["lib.rs", "error.rs", "driver/mod.rs", "driver/step.rs", "rules/mod.rs", "rules/larc.rs", "lanes/mod.rs"];
    let all = others.iter().map(|name| (*name, "")).chain(files.iter().copied());
    faults(&all.map(|(name, source)| (name.to_string(), source.to_string())).collect())
}

#[test]
fn arrows_that_run_down_are_right() {
    let source = "
        //! use crate::driver::step::Step;
        use super::larc::{self, Larc as L};
        use crate::error::Error;
        use core::fmt;
        /* crate::driver::step */
        fn f<'a>(x: &'a str) -> crate::error::Error { let _ = ('\"', '\\'', \"crate :: driver\"); super::larc::f() }
        mod tests { use super::*; use super::super::larc; }
        impl Iterator for A { fn f() -> impl Fn() + use<'_> {} }
    ";
    assert_eq!(faults_of(&[("rules/sgd.rs", source)]), [""; 0]);
    let driver = "use crate::rules::larc; use crate::{error::Error, lanes::Backend};";
    assert_eq!(faults_of(&[("driver/apply.rs", driver)]), [""; 0]);
    // A folder's list of exports is not a dependency.
    let offers =
        [("kernel/mod.rs", "mod a; pub(crate) use a::A; pub use self::a::B;"), ("kernel/a.rs", "use super::C;")];
    assert_eq!(faults_of(&offers), [""; 0]);
}

#[test]
fn arrows_that_run_up_are_found() {
    let up = ["rules/sgd.rs uses driver/step.rs, which is not below it"];
    for source in [
        "use crate::driver::step::Step;",
        "pub use crate::driver::step;",
        "pub(crate) use crate::{\n    error::Error,\n    driver::{\n        step::{A, B as C},\n    },\n};",
        "use super::super::driver::step::*;",
        "fn f() -> crate::driver::step::Step { todo!() }",
        "fn f() { super::super::driver::step::f::<u32>(); }",
        "mod inner { fn f() { super::super::super::driver::step::f() } }",
        "#[serde(with = \"crate::driver::step\")] x: f64",
        "macro_rules! f { () => { $crate::driver::step::f() } }",
    ] {
        assert_eq!(faults_of(&[("rules/sgd.rs", source)]), up, "{source}");
    }
    let sideways = faults_of(&[("kernel/max.rs", "use crate::rules::larc::Larc;")]);
    assert_eq!(sideways, ["kernel/max.rs uses rules/larc.rs, which is not below it"]);
    let error = faults_of(&[("lanes/avx2.rs", "use crate::error::Error;")]);
    assert_eq!(error, ["lanes/avx2.rs uses error.rs, which is not below it"]);
    assert_eq!(faults_of(&[("roof/mod.rs", "")]), ["roof/mod.rs is on no floor"]);
}

#[test]
fn imports_through_the_root_are_found() {
    for source in
        ["use crate::Sgd;", "use crate::{Sgd, error::Error};", "fn f(x: crate::Sgd) {}", "use super::super::Sgd;"]
    {
        let faults = faults_of(&[("driver/apply.rs", source)]);
        assert!(matches!(&faults[..], [fault] if fault.ends_with("Sgd through lib.rs")), "{source}: {faults:?}");
    }
    let inline = faults_of(&[("driver/apply.rs", "use crate::rule::Rule;")]);
    assert_eq!(inline, ["driver/apply.rs imports crate::rule::Rule through lib.rs"]);
}

#[test]
fn circles_are_found() {
    let two = faults_of(&[("kernel/a.rs", "use super::b::B;"), ("kernel/b.rs", "use crate::kernel::a::A;")]);
    assert_eq!(two, ["a circle: kernel/a.rs uses kernel/b.rs uses kernel/a.rs"]);
    let three = [
        ("kernel/a.rs", "use super::b::B;"),
        ("kernel/b.rs", "fn f() { super::c::f() }"),
        ("kernel/c.rs", "use super::a;"),
        ("kernel/d.rs", "use super::a;"),
    ];
    assert_eq!(faults_of(&three), ["a circle: kernel/a.rs uses kernel/b.rs uses kernel/c.rs uses kernel/a.rs"]);
    let with_mod = faults_of(&[("kernel/mod.rs", "mod a; use a::A;"), ("kernel/a.rs", "use super::C;")]);
    assert_eq!(with_mod, ["a circle: kernel/a.rs uses kernel/mod.rs uses kernel/a.rs"]);
    // An export that the folder also uses itself is a dependency.
    let offered = [("kernel/mod.rs", "mod a; pub use a::A; trait B: A {}"), ("kernel/a.rs", "use super::B;")];
    assert_eq!(faults_of(&offered), with_mod);
}
