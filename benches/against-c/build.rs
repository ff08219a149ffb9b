//! Compiles the C once for each instruction set.

fn main() {
    println!("cargo:rerun-if-changed=src/kernels.c");
    for (name, width, flags) in [
        ("sse2", "16", vec!["-msse2"]),
        ("avx2", "32", vec!["-mavx2", "-mfma"]),
        ("avx512", "64", vec!["-mavx512f", "-mfma"]),
    ] {
        let mut build = cc::Build::new();
        build.file("src/kernels.c").opt_level(3).define("SUFFIX", name).define("WIDTH", width);
        for flag in flags {
            build.flag(flag);
        }
        build.compile(&format!("kernels_{name}"));
    }
}
