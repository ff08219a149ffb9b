//! `layerwise.h` as a C compiler sees it: names are read from the header, and a C program prints their values.

use std::env;
use std::fmt::Write as _;
use std::process::Command;

/// The header without its comments.
pub fn text() -> String {
    let all = include_str!("../../include/layerwise.h");
    let mut pieces = all.split("/*");
    let mut code = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        code += piece.split_once("*/").expect("comments end").1;
    }
    code
}

/// Structs, and the names of their fields. Those of a union in a struct are its own.
pub fn structs(header: &str) -> Vec<(&str, Vec<&str>)> {
    let mut structs = Vec::new();
    for text in header.split("typedef struct ").skip(1) {
        let (name, rest) = text.split_once(" {").expect("a body");
        let (body, _) = rest.split_once(&format!("}} {name};")).expect("the name again at its end");
        structs.push((name, body.split(';').filter_map(field).collect()));
    }
    structs
}

/// The name in a declaration such as `union { const void *data` or `uint8_t reserved[4]`.
fn field(declaration: &str) -> Option<&str> {
    let declaration = declaration.split('[').next()?.trim();
    assert!(!declaration.contains(','), "one field in each declaration: {declaration}");
    let name = declaration.rsplit([' ', '*', '}']).next()?;
    (!name.is_empty()).then_some(name)
}

/// Constants: those of enumerations, and each `#define` of a number.
pub fn constants(header: &str) -> Vec<&str> {
    let enumerations = header.split("enum {").skip(1).filter_map(|text| text.split('}').next());
    let mut names: Vec<_> = enumerations.flat_map(|body| body.split(',')).filter_map(|c| c.split('=').next()).collect();
    for line in header.lines().filter_map(|line| line.strip_prefix("#define ")) {
        if let Some((name, value)) = line.split_once(' ')
            && !name.contains('(')
            && !value.contains('{')
        {
            names.push(name);
        }
    }
    names.iter().map(|name| name.trim()).collect()
}

/// C that prints a line for each struct and each field.
pub fn layout(structs: &[(&str, Vec<&str>)]) -> String {
    let mut code = String::new();
    for (name, fields) in structs {
        _ = writeln!(code, "printf(\"{name}: %zu bytes, aligned to %zu\\n\", sizeof({name}), _Alignof({name}));");
        for field in fields {
            let (size, offset) = (format!("sizeof((({name} *)0)->{field})"), format!("offsetof({name}, {field})"));
            _ = writeln!(code, "printf(\"{name}.{field}: %zu bytes at %zu\\n\", {size}, {offset});");
        }
    }
    code
}

/// C that prints a line for each constant: its name and its value.
pub fn values(constants: &[&str]) -> String {
    constants.iter().map(|name| format!("printf(\"{name} %lld\\n\", (long long){name});\n")).collect()
}

/// The output of a C program with these statements. `name` is that of its files.
pub fn print(statements: &str, name: &str) -> String {
    let code = format!("#include \"layerwise.h\"\n#include <stdio.h>\nint main(void) {{\n{statements}return 0;\n}}\n");
    // Next to the test program.
    let program = env::current_exe().expect("the path of the tests").with_file_name(name);
    let source = program.with_extension("c");
    std::fs::write(&source, code).expect("a place for the program");
    let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I", concat!(env!("CARGO_MANIFEST_DIR"), "/include")]);
    let status = compiler.arg(&source).arg("-o").arg(&program).status().expect("a C compiler");
    assert!(status.success(), "the program does not compile");
    let output = Command::new(&program).output().expect("the program runs");
    assert!(output.status.success(), "the program does not run");
    String::from_utf8(output.stdout).expect("text")
}
