//! Structs have the same size, alignment and offsets in `layerwise.h` and in Rust.

use super::header;
use crate::*;
use std::mem::offset_of;

fn size_of_field<S, F>(_: impl Fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// A line for each struct and each of its fields, as the C program writes them.
macro_rules! lines {
    ($($name:ident { $($field:ident),* })*) => {[$(
        format!("{}: {} bytes, aligned to {}", stringify!($name), size_of::<$name>(), align_of::<$name>()),
        $(line(stringify!($name), stringify!($field), size_of_field(|s: &$name| &s.$field), offset_of!($name, $field)),)*
    )*]};
}

fn line(name: &str, field: &str, size: usize, offset: usize) -> String {
    // `type` is a keyword in Rust.
    format!("{name}.{}: {size} bytes at {offset}", field.trim_start_matches("r#"))
}

fn of_rust() -> Vec<String> {
    let mut lines = lines! {
        lw_error { layer, value, status, what, text }
        lw_larc { eta, eps, min_update, max_update, min_norm, mode, zero_norm, decay_in_ratio, only_with_decay, reserved }
        lw_luc { trust, eps, freezes_zeros, reserved }
        lw_sgd {
            momentum, dampening, weight_decay, dampen_first_step, nesterov, rate_in_momentum, maximize,
            starts_at_gradient, reserved
        }
        lw_novograd {
            beta1, beta2, eps, eps_root, weight_decay, max_rate, decay_mode, v_init, gradient_averaging,
            bias_correction, norm, amsgrad, starts_at_gradient, raw_momentum, rate_in_momentum, maximize, reserved
        }
        lw_adam {
            beta1, beta2, eps, eps_root, weight_decay, max_rate, ratio_eps, max_weights, max_ratio, decay_mode,
            bias_correction, grad_averaging, maximize, trust_ratio, ratio_only_with_decay, reserved
        }
        lw_optimizer { rule, non_finite, reserved, clip_norm, larc, luc }
        lw_array { data, r#type }
        lw_const_array { data, r#type }
        lw_layer_config { rate, decay, adapt, frozen, reserved }
        lw_state { numbers }
        lw_norms { weights, gradients }
        lw_layer {
            len, weights, gradients, momentum, second_moment, lower, copy, config, norms, saturate, state
        }
        lw_report { gradient_norm, weight_norm, factor, effective_rate, clipped, outcome, reserved }
        lw_summary { applied, skipped, overflowed, gradient_norm, clip }
        lw_span { start, len, config }
        lw_flat {
            len, weights, gradients, momentum, second_moment, lower, copy, spans, count, states, norms, saturate, gaps
        }
        lw_range { start, end }
        lw_measured {}
        lw_decision { lr, gradient_scale, clip, gradient_norm, skip, reserved }
        lw_planned {}
        lw_schedule {
            learning_rate, min_lr, power, decay_rate, max_lr, coefficient, decay_steps, begin_decay_at, warmup_steps,
            steps_per_epoch, d_model, boundaries, decay_rates, boundary_count, policy, use_staircase_decay, reserved
        }
        lw_loss_scaler {
            scale, scale_min, scale_max, step_factor, log_max, beta1, beta2, overflow_std_dev, step_window, kind,
            as_executed, reserved
        }
        lw_loss_state { numbers }
        lw_training { optimizer, schedule, loss_scaler, iter_size, steps, steps_per_epoch, is_mixed, reserved }
    }
    .to_vec();
    // The union has no name in C, so its fields are those of the struct there.
    let union = offset_of!(lw_optimizer, of);
    lines.push(line("lw_optimizer", "sgd", size_of::<lw_sgd>(), union));
    lines.push(line("lw_optimizer", "novograd", size_of::<lw_novograd>(), union));
    lines.push(line("lw_optimizer", "adam", size_of::<lw_adam>(), union));
    // The contents of these two belong to the library, and other code cannot name the field.
    lines.push(line("lw_measured", "own", size_of::<lw_measured>(), 0));
    lines.push(line("lw_planned", "own", size_of::<lw_planned>(), 0));
    lines
}

#[test]
fn structs_are_those_of_the_header() {
    let header = header::text();
    // The C program covers exactly what the header declares.
    let structs = header::structs(&header);
    assert_eq!(structs.len(), header.matches("struct").count(), "a struct that is not found");
    let printed = header::print(&header::layout(&structs), "layout");
    let mut of_c: Vec<_> = printed.lines().collect();
    let mut of_rust = of_rust();
    of_c.sort_unstable();
    of_rust.sort_unstable();
    for line in &of_rust {
        assert!(of_c.contains(&&**line), "not in C: {line}");
    }
    for line in &of_c {
        assert!(of_rust.iter().any(|other| other == line), "not in Rust: {line}");
    }
    assert_eq!(of_c, of_rust);
}
