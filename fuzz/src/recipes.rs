//! Recipes: any text, and configurations made of all keys, with valid and invalid values.

use crate::harness::Host;
use crate::harness::compare::non_negative;
use crate::input;
use crate::schedules;
use arbitrary::{Result, Unstructured};
use layerwise::recipe::{Configuration, Recipe, RecipeError, Training};
use layerwise::schedule::{LossScaleState, LossScaler, LossScaling, RatePolicy, Schedule};
use layerwise::{AnyRule, NonFinite, NovoGrad, NovoGradConfig, Sgd, SgdConfig, Step};
use serde_json::{Value, json};

pub fn recipes(u: &mut Unstructured) -> Result<()> {
    if u.ratio(1, 4)? {
        let bytes = u.peek_bytes(u.len()).unwrap_or_default();
        return std::str::from_utf8(bytes).map_or(Ok(()), |text| any_text(u, text));
    }
    let words = configuration(u)?;
    let recipe = read(&text(&words));
    changed(u, &words, &recipe)?;
    match recipe {
        Ok(recipe) => trains(u, &recipe, &words),
        Err(error) => {
            assert!(!format!("{error}").is_empty());
            Ok(())
        }
    }
}

/// Keys and their values, in the order of the file.
type Words = Vec<(String, Value)>;

/// A configuration as text, in the order of its keys.
fn text(words: &Words) -> String {
    let word = |(name, value): &(String, Value)| format!("{}: {value}", Value::from(name.as_str()));
    format!("{{{}}}", words.iter().map(word).collect::<Vec<_>>().join(", "))
}

/// A recipe from the text of an object. Its typed error must match that of the deserializer.
fn read(text: &str) -> std::result::Result<Recipe, RecipeError> {
    let configuration: Configuration = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let recipe = Recipe::try_from(configuration);
    match (&recipe, serde_json::from_str::<Recipe>(text)) {
        (Ok(recipe), Ok(other)) => assert_eq!(*recipe, other),
        (Err(error), Err(other)) => assert!(other.to_string().contains(&error.to_string()), "{error}: {other}"),
        (recipe, other) => panic!("{recipe:?} and {other:?}"),
    }
    recipe
}

/// Any text is a recipe that trains, or is refused.
fn any_text(u: &mut Unstructured, text: &str) -> Result<()> {
    let Ok(recipe) = serde_json::from_str::<Recipe>(text) else { return Ok(()) };
    let words = serde_json::from_str::<serde_json::Map<String, Value>>(text).unwrap();
    trains(u, &recipe, &words.into_iter().collect())
}

/// A JSON number, or a string, in which `f64` numbers are exact.
fn number(u: &mut Unstructured, usual: &[f64]) -> Result<Value> {
    let x = input::setting(u, usual)?;
    Ok(if x.is_finite() && u.arbitrary()? { json!(x) } else { json!(format!("{x}")) })
}

/// A value of any type, for keys of another type.
fn anything(u: &mut Unstructured) -> Result<Value> {
    Ok(match u.int_in_range(0..=6)? {
        0 => Value::Null,
        1 => json!(u.arbitrary::<bool>()?),
        2 => json!(u.arbitrary::<i64>()?),
        3 => json!(u.arbitrary::<f64>()?),
        4 => json!(["Backoff", "mixed", "clip", "", "1e400", "é"][u.choose_index(6)?]),
        5 => json!([0.5, [], "1"]),
        _ => json!({"learning_rate": 1, "deeper": {"scale": [1]}}),
    })
}

/// Adds a key: mostly with this value, now and then with any.
fn put(u: &mut Unstructured, words: &mut Words, word: &str, value: Value) -> Result<()> {
    let value = if u.ratio(1, 32)? { anything(u)? } else { value };
    words.push((word.to_string(), value));
    Ok(())
}

/// Adds some of the keys of a table, each with its own number.
fn some(u: &mut Unstructured, words: &mut Words, numbers: &[(&str, f64)]) -> Result<()> {
    for (word, usual) in numbers {
        if u.arbitrary()? {
            let value = number(u, &[*usual])?;
            put(u, words, word, value)?;
        }
    }
    Ok(())
}

/// An object with these keys, in which a repeated key counts once.
fn table(words: Words) -> Value {
    Value::Object(words.into_iter().collect())
}

/// Whole numbers, mostly.
fn count(u: &mut Unstructured) -> Result<Value> {
    Ok(if u.ratio(1, 16)? { number(u, &[1.0, 0.5])? } else { json!(schedules::steps(u)?) })
}

fn configuration(u: &mut Unstructured) -> Result<Words> {
    let mut words = vec![];
    let optimizer = *u.choose(&["Momentum", "SGD", "Adam", "LazyAdamOptimizer", "AdamW", "NovoGrad"])?;
    put(u, &mut words, "optimizer", json!(optimizer))?;
    let params = optimizer_params(u, optimizer)?;
    put(u, &mut words, "optimizer_params", params)?;
    rates(u, &mut words)?;
    if u.ratio(1, 3)? {
        let params = larc_params(u)?;
        put(u, &mut words, "larc_params", params)?;
    } else if u.ratio(1, 3)? {
        let norm = number(u, &[1.0])?;
        put(u, &mut words, "max_grad_norm", norm)?;
    }
    if u.ratio(1, 4)? {
        put(u, &mut words, "regularizer", json!("l2_regularizer"))?;
        let scale = number(u, &[0.01, 0.0])?;
        put(u, &mut words, "regularizer_params", json!({ "scale": scale }))?;
    }
    loss_scaling(u, &mut words)?;
    if u.arbitrary()? {
        let iter_size = json!(u.int_in_range(1..=4)?);
        put(u, &mut words, "iter_size", iter_size)?;
    }
    let (length, value) = (*u.choose(&["num_epochs", "max_steps"])?, count(u)?);
    put(u, &mut words, length, value)?;
    Ok(words)
}

fn optimizer_params(u: &mut Unstructured, optimizer: &str) -> Result<Value> {
    let mut words = vec![];
    match optimizer {
        "Momentum" => {
            let momentum = number(u, &[0.9])?;
            put(u, &mut words, "momentum", momentum)?;
            put(u, &mut words, "use_nesterov", json!(true))?;
        }
        "SGD" => {}
        "NovoGrad" => {
            some(u, &mut words, &[("beta1", 0.95), ("beta2", 0.98), ("epsilon", 1e-8), ("weight_decay", 0.001)])?;
            for word in ["grad_averaging", "eps_inside_sqrt", "ema_persisted"] {
                if u.arbitrary()? {
                    let flag = json!(u.arbitrary::<bool>()?);
                    put(u, &mut words, word, flag)?;
                }
            }
        }
        _ => {
            some(u, &mut words, &[("beta1", 0.9), ("beta2", 0.999), ("epsilon", 1e-8)])?;
            if optimizer == "AdamW" {
                let decay = number(u, &[0.01])?;
                put(u, &mut words, "weight_decay", decay)?;
            }
        }
    }
    Ok(table(words))
}

fn rates(u: &mut Unstructured, words: &mut Words) -> Result<()> {
    let policies = [
        "fixed_lr",
        "piecewise_constant",
        "exp_decay",
        "poly_decay",
        "cosine_decay",
        "transformer_policy",
        "inv_poly_decay",
    ];
    let name = *u.choose(&policies)?;
    let mut params = vec![];
    let learning_rate = number(u, &[0.02, 1.0])?;
    put(u, &mut params, "learning_rate", learning_rate)?;
    let mut counts: &[&str] = &["decay_steps", "begin_decay_at", "warmup_steps"];
    match name {
        "fixed_lr" => counts = &[],
        "piecewise_constant" => {
            let boundaries = [number(u, &[1.0])?, number(u, &[2.0, 30.0])?];
            put(u, &mut params, "boundaries", json!(boundaries))?;
            put(u, &mut params, "decay_rates", json!([0.5, "0.1"]))?;
            counts = &["steps_per_epoch"];
        }
        "exp_decay" => {
            let decay_rate = number(u, &[0.5])?;
            put(u, &mut params, "decay_rate", decay_rate)?;
            put(u, &mut params, "use_staircase_decay", json!(true))?;
            some(u, &mut params, &[("min_lr", 1e-5)])?;
            counts = &["decay_steps", "begin_decay_at"];
        }
        "transformer_policy" => {
            put(u, &mut params, "d_model", json!(512))?;
            some(u, &mut params, &[("max_lr", 0.1), ("coefficient", 2.0)])?;
            counts = &["warmup_steps"];
        }
        _ => some(u, &mut params, &[("min_lr", 1e-5), ("power", 2.0)])?,
    }
    for word in counts {
        if u.arbitrary()? {
            let steps = count(u)?;
            put(u, &mut params, word, steps)?;
        }
    }
    put(u, words, "lr_policy", json!(name))?;
    put(u, words, "lr_policy_params", table(params))
}

fn larc_params(u: &mut Unstructured) -> Result<Value> {
    let mut words = vec![];
    let eta = number(u, &[0.002])?;
    put(u, &mut words, "larc_eta", eta)?;
    some(u, &mut words, &[("min_update", 1e-7), ("epsilon", 1e-8)])?;
    if u.arbitrary()? {
        let mode = *u.choose(&["clip", "scale"])?;
        put(u, &mut words, "larc_mode", json!(mode))?;
    }
    Ok(table(words))
}

fn loss_scaling(u: &mut Unstructured, words: &mut Words) -> Result<()> {
    let dtype = *u.choose(&["mixed", "mixed", "float32"])?;
    put(u, words, "dtype", json!(dtype))?;
    let mut params = vec![];
    let scaling = match u.int_in_range(0..=3)? {
        0 => return Ok(()),
        1 => number(u, &[512.0])?,
        2 => {
            some(u, &mut params, &[("scale_min", 1.0), ("scale_max", 64.0), ("step_factor", 2.0)])?;
            some(u, &mut params, &[("step_window", 3.0)])?;
            json!("Backoff")
        }
        _ => {
            some(u, &mut params, &[("scale_min", 1.0), ("scale_max", 64.0), ("log_max", 16.0), ("beta1", 0.9)])?;
            some(u, &mut params, &[("beta2", 0.99), ("overflow_std_dev", 3.09)])?;
            json!("LogMax")
        }
    };
    put(u, words, "loss_scaling", scaling)?;
    put(u, words, "loss_scaling_params", table(params))
}

/// Changes of a configuration and their effect on a recipe, valid or not.
fn changed(u: &mut Unstructured, words: &Words, recipe: &std::result::Result<Recipe, RecipeError>) -> Result<()> {
    let with = |at: usize, word: &str, value: Value| {
        let mut words = words.clone();
        words.insert(at, (word.into(), value));
        words
    };
    let at = u.choose_index(words.len() + 1)?;
    // Keys that do not affect training are ignored, and so are nulls; the order does not matter.
    let mut same = vec![with(at, "logdir", anything(u)?), with(at, "decoder_params", anything(u)?)];
    if words.iter().all(|(word, _)| word != "iter_size") {
        same.push(with(at, "iter_size", Value::Null));
    }
    for words in same {
        assert_eq!(read(&text(&words)), *recipe, "{words:?}");
    }
    let Ok(recipe) = recipe else { return Ok(()) };
    assert_eq!(read(&text(&words.iter().rev().cloned().collect())).as_ref(), Ok(recipe));
    // Unknown, repeated and missing keys are refused.
    let unknown = RecipeError::Unknown { place: "momentums".into() };
    assert_eq!(read(&text(&with(at, "momentums", anything(u)?))), Err(unknown));
    let (word, value) = u.choose(words)?;
    if !value.is_null() {
        let place = word.clone();
        assert_eq!(read(&text(&with(words.len(), word, value.clone()))), Err(RecipeError::Unknown { place }));
    }
    if ["optimizer", "lr_policy", "num_epochs", "max_steps"].contains(&word.as_str()) {
        let rest = words.iter().filter(|(other, _)| other != word).cloned().collect();
        let error = read(&text(&rest)).unwrap_err();
        assert!(matches!(&error, RecipeError::Missing { place } if place.contains(word.as_str())), "{error}");
    }
    Ok(())
}

/// A recipe gives a training run whose parts are in range and work.
fn trains(u: &mut Unstructured, recipe: &Recipe, words: &Words) -> Result<()> {
    let batches = schedules::steps(u)?;
    let training = match (recipe.training(batches), length(words, batches)) {
        (Ok(training), Some(length)) => {
            assert_eq!((training.steps, training.steps_per_epoch), length);
            training
        }
        (Err(RecipeError::Value { place, .. }), None) => {
            assert!(["iter_size", "num_epochs"].contains(&place.as_str()), "{place}");
            return Ok(());
        }
        (training, length) => panic!("{training:?} of {length:?} steps"),
    };
    assert!(training.iter_size >= 1 && training.steps >= 1);
    assert!(training.loss_scaler.is_none() || training.is_mixed);
    written_and_read(&training);
    let optimizer = training.optimizer();
    let clips = optimizer.policy().clip_norm;
    assert!(clips.is_none_or(|norm| non_negative(norm) && norm > 0.0));
    let skips = optimizer.policy().non_finite == NonFinite::SkipStep;
    assert_eq!(skips, training.loss_scaler.is_some());
    steps(u, &training)
}

/// The numbers of steps of a run and of an epoch, from the keys alone; `None` if they are invalid.
fn length(words: &Words, batches: u64) -> Option<(u64, u64)> {
    let number = |name: &str| {
        let value = words.iter().find(|(word, value)| word == name && !value.is_null()).map(|(_, value)| value)?;
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
        Some(number.unwrap() as u64)
    };
    if let Some(steps) = number("max_steps") {
        return Some((steps, 0));
    }
    let per_epoch = batches / number("iter_size").unwrap_or(1);
    let steps = number("num_epochs").unwrap().checked_mul(per_epoch)?;
    (per_epoch > 0).then_some((steps, per_epoch))
}

/// The parts of a training run survive writing and reading.
fn written_and_read(training: &Training) {
    let policy = training.schedule.policy();
    let text = serde_json::to_string(policy).unwrap();
    let read: RatePolicy<Vec<f64>> = serde_json::from_str(&text).unwrap();
    assert_eq!(Schedule::try_from(read).as_ref(), Ok(&training.schedule), "{text}");
    if let Some(scaler) = &training.loss_scaler {
        let text = serde_json::to_string(scaler.scaling()).unwrap();
        let read: LossScaling = serde_json::from_str(&text).unwrap();
        assert_eq!(LossScaler::new(read).as_ref(), Ok(scaler), "{text}");
    }
    match training.optimizer().rule() {
        AnyRule::Sgd(rule) => {
            let text = serde_json::to_string(rule.config()).unwrap();
            let read: SgdConfig = serde_json::from_str(&text).unwrap();
            assert_eq!((read, Sgd::new(read).is_ok()), (*rule.config(), true));
        }
        AnyRule::NovoGrad(rule) => {
            let text = serde_json::to_string(rule.config()).unwrap();
            let read: NovoGradConfig = serde_json::from_str(&text).unwrap();
            assert_eq!((read, NovoGrad::new(read).is_ok()), (*rule.config(), true));
        }
        AnyRule::Adam(rule) => {
            let text = serde_json::to_string(rule.config()).unwrap();
            assert_eq!(serde_json::from_str::<layerwise::AdamConfig>(&text).unwrap(), *rule.config());
        }
        other => panic!("no rule of OpenSeq2Seq: {other:?}"),
    }
}

/// A few steps of a training loop, each compared with the contract.
fn steps(u: &mut Unstructured, training: &Training) -> Result<()> {
    let optimizer = training.optimizer();
    let len = u.int_in_range(0..=40)?;
    let mut host = Host::for_optimizer(&optimizer, &input::numbers(u, len)?);
    let (mut count, mut state) = (u.int_in_range(0..=100)?, LossScaleState::START);
    for _ in 0..u.int_in_range(0..=3)? {
        let scale = training.loss_scaler.as_ref().map_or(1.0, |scaler| scaler.scale(&state));
        let rate = training.schedule.rate(count);
        host.set_gradients(&input::numbers(u, len)?);
        let result = host.step(&optimizer, Step::new(rate).gradient_scale(1.0 / scale));
        // (A scale below 10⁻³⁰⁸ has no finite reciprocal, and a rate may overflow `f64`.)
        assert_eq!(result.is_ok(), non_negative(rate) && (1.0 / scale).is_finite(), "rate {rate}, scale {scale}");
        let Ok(report) = result else { return Ok(()) };
        let largest = host.gradients.get().iter().fold(0.0_f64, |most, g| most.max(f64::from(g.abs()))) / scale;
        let skip = match &training.loss_scaler {
            Some(scaler) => scaler.update(&mut state, report.applied(), largest).skip,
            None => false,
        };
        count += u64::from(!skip);
    }
    Ok(())
}
