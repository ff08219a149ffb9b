//! Invalid arguments are refused, and then nothing is written.

mod common;

use candle_core::{DType, Result, Tensor, Var};
use candle_nn::{Optimizer as _, VarMap};
use common::{CPU, bits, numbers, optimizers, store, variable};
use layerwise::{AnyOptimizer, LayerConfig};
use layerwise_candle::Layerwise;

fn optimizer() -> AnyOptimizer {
    optimizers()[3].1
}

/// The message of an expected error. (candle adds a backtrace if the environment asks for one.)
fn refused<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_string(),
    }
}

#[test]
fn variables_of_types_that_cannot_be_trained() -> Result<()> {
    for dtype in [DType::F16, DType::F64, DType::F8E4M3] {
        let var = Var::zeros((2, 2), dtype, &CPU)?;
        let message = refused(Layerwise::named([("x".to_string(), var)], optimizer(), 0.1));
        assert_eq!(
            message,
            format!("x: a variable of {dtype:?}; keep it in F32 and use `to_dtype` of it in the model")
        );
    }
    Ok(())
}

#[test]
fn one_variable_under_two_names_and_two_under_one() -> Result<()> {
    let (a, b) = (variable(&[2], 1)?, variable(&[2], 2)?);
    let named = |vars: [(&str, &Var); 2]| {
        Layerwise::named(vars.map(|(name, var)| (name.to_string(), var.clone())), optimizer(), 0.1)
    };
    assert!(refused(named([("a", &a), ("tied", &a)])).starts_with("tied is there under another name"));
    assert_eq!(refused(named([("a", &a), ("a", &b)])), "there are two variables a");
    assert!(refused(Layerwise::new(vec![a.clone(), a], (optimizer(), 0.1))).starts_with("1 is there"));
    Ok(())
}

#[test]
fn gradients_of_another_shape_or_type_and_rates_that_are_none() -> Result<()> {
    let (a, b) = (variable(&[2, 3], 1)?, variable(&[2, 3], 2)?);
    let before = [bits(&a)?, bits(&b)?];
    let vars = [("a", &a), ("b", &b)].map(|(name, var)| (name.to_string(), var.clone()));
    let mut ours = Layerwise::named(vars, optimizer(), 0.1)?;
    let good = Tensor::from_vec(numbers(6, 4), (2, 3), &CPU)?;
    for (bad, message) in [
        (good.t()?, "b: a gradient of [3, 2] for a variable of [2, 3]"),
        (good.to_dtype(DType::F64)?, "b: a gradient of F64 on Cpu; it must be F32, BF16 or F16 on the CPU"),
    ] {
        assert_eq!(refused(ours.step(&store([(&a, good.clone()), (&b, bad)])?)), message);
        assert!(ours.summary().is_none());
    }
    let grads = store([(&a, good.clone()), (&b, good)])?;
    for rate in [-1.0, f64::NAN, f64::INFINITY] {
        ours.set_learning_rate(rate);
        assert_eq!(refused(ours.step(&grads)), format!("learning rate {rate} is not a finite number >= 0"));
    }
    ours.set_learning_rate(0.1);
    ours.set_gradient_scale(0.0);
    assert_eq!(refused(ours.step(&grads)), "gradient scale 0 is out of range");
    assert_eq!([bits(&a)?, bits(&b)?], before);

    // After all that, steps still work.
    ours.set_gradient_scale(1.0);
    ours.step(&grads)?;
    assert_eq!(ours.summary().map(|summary| summary.applied), Some(2));
    assert_ne!([bits(&a)?, bits(&b)?], before);
    Ok(())
}

#[test]
fn configurations_out_of_range() -> Result<()> {
    let mut ours = Layerwise::named([("a".to_string(), variable(&[2], 1)?)], optimizer(), 0.1)?;
    let refused = |result: Result<()>| refused(result);
    let message = refused(ours.configure(|_, _| LayerConfig { rate: -1.0, ..LayerConfig::DEFAULT }));
    assert_eq!(message, "a: a rate of -1");
    let message = refused(ours.configure(|_, _| LayerConfig { decay: f64::NAN, ..LayerConfig::DEFAULT }));
    assert_eq!(message, "a: a decay of NaN");
    Ok(())
}

#[test]
fn files_of_other_variables_or_rules() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("layerwise-candle-refused-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let path = directory.join("state.safetensors");
    let a = |shape: &[usize]| variable(shape, 1).map(|var| ("a".to_string(), var));
    let b = || variable(&[2], 2).map(|var| ("b".to_string(), var));
    let [_, (_, momentum), _, (_, novograd), (_, adam), _] = optimizers();

    let mut saved = Layerwise::named([a(&[2, 3])?, b()?], adam, 0.1)?;
    saved.save(&path)?;
    saved.load(&path)?;

    let mut fewer = Layerwise::named([a(&[2, 3])?], adam, 0.1)?;
    assert!(refused(fewer.load(&path)).ends_with("has 6 arrays, 3 are expected"));
    let mut more = Layerwise::named([a(&[2, 3])?, b()?, ("c".to_string(), variable(&[1], 3)?)], adam, 0.1)?;
    assert!(refused(more.load(&path)).contains("c.state"));
    let mut other_shape = Layerwise::named([a(&[3, 2])?, b()?], adam, 0.1)?;
    assert_eq!(refused(other_shape.load(&path)), "a.momentum: is F32 of [2, 3], not F32 of [3, 2]");
    let mut other_rule = Layerwise::named([a(&[2, 3])?, b()?], momentum, 0.1)?;
    assert!(refused(other_rule.load(&path)).ends_with("has 6 arrays, 4 are expected"));

    // Weights are not a state, and neither is a truncated file.
    VarMap::new().save(&path)?;
    assert!(refused(saved.load(&path)).ends_with("not saved by this version of layerwise-candle"));
    saved.save(&path)?;
    let bytes = std::fs::read(&path)?;
    std::fs::write(&path, &bytes[..bytes.len() - 1])?;
    refused(saved.load(&path));
    refused(saved.load(directory.join("none")));

    let mut nameless = Layerwise::new(vec![variable(&[2], 1)?], (novograd, 0.1))?;
    assert!(refused(nameless.save(&path)).starts_with("variables without names"));
    assert!(refused(nameless.load(&path)).starts_with("variables without names"));
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
