//! An image with one step and nothing else, to measure its code size. `RULE` is `larc`, `novograd`, `adamw`, `lamb`,
//! `norm` or unset. With `MOMENTUM=none`, LARC and NovoGrad have no momentum. With the feature `half`, the momentum has
//! 16 bits.

#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;
use layerwise::{
    Adam, AdamConfig, AdamState, Element, LarcConfig, LayerMemory, NovoGrad, NovoGradConfig, NovoGradState, Sgd,
    SgdState, TrustRatio, l2_norm,
};
use layerwise_cortex_m::{adam, larc, novograd};

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    loop {}
}

const HAS_MOMENTUM: bool = option_env!("MOMENTUM").is_none();
const LARC: Sgd = larc(LarcConfig::DEFAULT, if HAS_MOMENTUM { 0.9 } else { 0.0 });
const NOVOGRAD: NovoGrad = novograd(NovoGradConfig {
    beta1: if HAS_MOMENTUM { NovoGradConfig::DEFAULT.beta1 } else { 0.0 },
    weight_decay: 0.001,
    ..NovoGradConfig::DEFAULT
});
const ADAMW: Adam = adam(AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT });
const LAMB: Adam = adam(AdamConfig { trust_ratio: Some(TrustRatio::DEFAULT), ..*ADAMW.config() });

/// The first letters of `RULE`, which can be compared in a constant.
const RULE: [u8; 3] = match option_env!("RULE") {
    Some(rule) => [rule.as_bytes()[0], rule.as_bytes()[1], rule.as_bytes()[2]],
    None => *b"---",
};

/// (Inlined, so that the settings are constants.)
#[inline(always)]
fn adam_step(adam: &Adam, w: &mut [f32], g: &[f32], m: &mut [impl Element]) {
    let (mut v, mut state) = ([0.0; 8], AdamState::default());
    let layer = LayerMemory::new(w, g, black_box(&mut state)).momentum(m);
    _ = black_box(adam.step_layer(black_box(0.1), layer.second_moment(black_box(&mut v[..]))));
}

#[cortex_m_rt::entry]
fn main() -> ! {
    // Slices of any length, as far as the compiler knows.
    #[cfg(not(feature = "half"))]
    let [mut w, mut g, mut m] = [[0.5_f32; 8]; 3];
    #[cfg(feature = "half")]
    let ([mut w, mut g], mut m) = ([[0.5_f32; 8]; 2], [half::bf16::ZERO; 8]);
    let (w, g, m) = (black_box(&mut w[..]), black_box(&mut g[..]), black_box(&mut m[..]));
    match &RULE {
        b"lar" => {
            let mut state = SgdState::default();
            let layer = LayerMemory::new(w, g, black_box(&mut state));
            let layer = if HAS_MOMENTUM { layer.momentum(m) } else { layer };
            _ = black_box(LARC.step_layer(black_box(0.1), layer));
        }
        b"nov" => {
            static mut STATE: NovoGradState = NovoGradState { second_moment: 0.0, max_second_moment: 0.0, steps: 0 };
            // SAFETY: this function runs once, and nothing else knows the state.
            let state = unsafe { &mut *&raw mut STATE };
            let layer = LayerMemory::new(w, g, state);
            let layer = if HAS_MOMENTUM { layer.momentum(m) } else { layer };
            _ = black_box(NOVOGRAD.step_layer(black_box(0.1), layer));
        }
        b"ada" => adam_step(&ADAMW, w, g, m),
        b"lam" => adam_step(&LAMB, w, g, m),
        b"nor" => _ = black_box(l2_norm(g)),
        _ => _ = black_box((w, g, m)),
    }
    loop {}
}
