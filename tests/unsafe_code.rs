//! The page on unsafe code has a row for each unsafe block.

#[test]
fn the_page_lists_every_block() {
    let files =
        [("avx2.rs", include_str!("../src/lanes/avx2.rs")), ("avx512.rs", include_str!("../src/lanes/avx512.rs"))];
    // A block belongs to the last function before it.
    let functions = |(file, source): (&str, &'static str)| {
        let before = source.match_indices("unsafe {").map(|(at, _)| &source[..at]).collect::<Vec<_>>();
        let name =
            move |before: &'static str| before.rsplit("fn ").next().and_then(|rest| rest.split(['(', '<']).next());
        before.into_iter().filter_map(name).map(move |name| format!("{file}: {name}")).collect::<Vec<_>>()
    };
    let blocks: Vec<String> = files.into_iter().flat_map(functions).collect();
    let page = include_str!("../docs/unsafe_code.md");
    let rows: Vec<&str> = page.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(rows, blocks);
}
