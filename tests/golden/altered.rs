//! Stored files with something wrong in them: each must fail, and say what it is.

use crate::files;
use crate::inputs::Inputs;
use serde_json::{Value, json};

/// Puts a value at a place like `layers/3/w`, new or not. In a name, `~` means a slash.
fn put(mut to: &mut Value, place: &str, value: Value) {
    for step in place.split('/') {
        to = match step.parse::<usize>() {
            Ok(index) => &mut to[index],
            Err(_) => &mut to[step.replace('~', "/")],
        };
    }
    *to = value;
}

/// A stored file with one value altered, and a part of the expected message.
fn assert_fails(name: &str, place: &str, value: Value, said: &str) {
    let mut file = files::stored(&format!("traces/{name}.json.gz"));
    let altered = format!("{name} with {place} = {value}");
    put(&mut file.value, place, value);
    match crate::try_replay(&file, &Inputs::stored()) {
        Ok(_) => panic!("{altered} passes"),
        Err(failure) => assert!(failure.contains(said), "{altered}: {failure}"),
    }
}

#[test]
fn numbers_that_are_off_fail() {
    for (name, place, value) in [
        ("torch_adam", "layers/0/w/0/0", json!(0.5)),
        ("torch_adam", "layers/0/m/0/0", json!(0.5)),
        ("torch_adam", "layers/0/v2/0/0", json!(0.5)),
        ("nemo_novograd_default", "layers/0/v/3", json!(0.5)),
        ("timm_nvnovograd_amsgrad", "layers/0/max_exp_avg_sq/3", json!(0.5)),
        ("os2s_larc_clip_sgd", "layers/0/larc_update/3", json!(0.5)),
        ("timm_lamb_globalclip", "global_norm/3", json!(0.5)),
        ("os2s_lr_policies", "cases/5/lr_f32/3", json!(0.5)),
        ("os2s_scaler_backoff", "scale/5", json!(3.0)),
        ("os2s_scaler_logmax", "scale/5", json!(3.0)),
        ("os2s_global_norm_clip", "steps/2/scale", json!(0.5)),
        ("os2s_mixed_precision_larc_backoff", "steps/2/master32/3", json!(0.5)),
    ] {
        assert_fails(name, place, value, "is off by");
    }
    assert_fails("os2s_mixed_precision_larc_backoff", "steps/2/w16/3", json!(0.5), "is not rounded to 0.5");
    assert_fails("os2s_mixed_precision_larc_backoff", "steps/2/loss_scale_after", json!(2), "the scale becomes");
    assert_fails("cast_bits", "f32_to_f16/3/1", json!("3c00"), "f32_to_f16: 800000 becomes 0 instead of 3c00");
    assert_fails("cast_bits", "f32_to_f16_nan/3", json!("3f800000"), "does not stay NaN");
    assert_fails("cast_bits", "hashes/f32_to_bf16", json!("abe9"), "the hash of the outputs");
}

#[test]
fn what_is_not_known_fails() {
    for (name, place, value, what) in [
        ("torch_adam", "config", json!(null), "its kind"),
        ("torch_adam", "peer", json!("torch.optim.Adagrad"), "the peer torch.optim.Adagrad"),
        ("torch_adam", "config/weight_dekay", json!(0.1), "torch.optim.Adam: the setting weight_dekay (0.1)"),
        ("timm_lamb_globalclip", "clip_scope", json!("group"), "the clip_scope group"),
        ("os2s_lr_policies", "peer", json!("torch"), "the peer torch"),
        ("os2s_lr_policies", "cases/5/policy", json!("sqrt_decay"), "the policy sqrt_decay"),
        ("os2s_lr_policies", "cases/5/params/cycle", json!(true), "poly_decay: the setting cycle (true)"),
        ("os2s_scaler_backoff", "algorithm", json!("Forward"), "the loss scaler Forward"),
        ("os2s_scaler_backoff", "params/window", json!(3), "Backoff: the setting window (3)"),
        ("os2s_mixed_precision_larc_backoff", "peer", json!("torch"), "the peer torch"),
        ("cast_bits", "f32_to_f8", json!([]), "the setting f32_to_f8 ([])"),
    ] {
        assert_fails(name, place, value, &format!("{what} is not known"));
    }
}

#[test]
fn settings_that_the_crate_does_not_have_fail() {
    for (name, setting) in [("torch_adam", "amsgrad"), ("timm_lamb", "caution"), ("optax_adam", "nesterov")] {
        let said = format!("the setting {setting} is on, which this crate does not have");
        assert_fails(name, &format!("config/{setting}"), json!(true), &said);
    }
    let name = "apex_fused_novograd_default";
    assert_fails(name, "config/norm_type", json!(1), "the setting norm_type cannot be 1");
}

#[test]
#[cfg(all(feature = "serde", feature = "alloc"))]
fn recipes_that_are_not_as_they_must_be_fail() {
    let shipped = &files::stored("traces/os2s_recipes.json.gz").value["image2label/alexnet_owt.py"];
    let with = |place: &str, value: Value| {
        let mut recipe = shipped.clone();
        put(&mut recipe, place, value);
        recipe
    };
    let name = "os2s_recipes";
    assert_fails(name, "new", with("optimizer", json!("RMSprop")), "new: optimizer is RMSprop, but must be");
    assert_fails(name, "new", with("warmup", json!(1)), "new: warmup has no meaning here");
    let other = with("optimizer_params/momentum", json!(0.5));
    assert_fails(name, "image2label~alexnet_owt.py", other, "momentum: 0.5");
    // A rate at which it cannot train.
    assert_fails(name, "new", with("lr_policy_params/learning_rate", json!(100)), "new: ");
}
