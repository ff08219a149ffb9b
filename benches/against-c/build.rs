//! Compiles the C twice for each instruction set: with fused multiply-adds, if the machine has them, and without. (The
//! other package that times it uses the same build.)

fn main() {
    println!("cargo:rerun-if-changed=../against-c/src/kernels.c");
    for (name, width, flags) in [
        ("sse2", "16", vec!["-msse2"]),
        ("avx2", "32", vec!["-mavx2", "-mfma"]),
        ("avx512", "64", vec!["-mavx512f", "-mfma"]),
    ] {
        for (suffix, contraction) in [("", "-ffp-contract=fast"), ("_unfused", "-ffp-contract=off")] {
            let name = format!("{name}{suffix}");
            let mut build = cc::Build::new();
            build.file("../against-c/src/kernels.c").opt_level(3).define("SUFFIX", &*name).define("WIDTH", width);
            build.flags(&flags).flag(contraction).compile(&format!("kernels_{name}"));
        }
    }
}
