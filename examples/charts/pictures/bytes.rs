//! Bytes per weight that the crate itself keeps for a model.

use super::paper::{BLUE, GREEN, GREY, ORANGE, PURPLE, font, picture};
use half::bf16;
use layerwise::rule::{Rule, RuleState};
use layerwise::{Adam, AdamConfig, LarcConfig, Memory, NovoGrad, NovoGradConfig, Optimizer, Sgd, SgdConfig};
use plotters::prelude::*;
use std::error::Error;

/// Long enough that the few bytes of a layer's state do not matter.
const WEIGHTS: usize = 1 << 16;

/// Bytes per weight of each part.
#[derive(Debug, PartialEq)]
pub struct Bytes {
    pub name: &'static str,
    /// Weights with their lower halves, 16-bit copy, gradients, momentum, second moment.
    pub parts: [usize; 5],
}

const PARTS: [(&str, RGBColor); 5] =
    [("weights", GREY), ("16-bit copy", PURPLE), ("gradients", BLUE), ("momentum", GREEN), ("second moment", ORANGE)];

/// What a rule keeps for each weight: its memory with these settings, minus the state of a layer.
fn kept<R: Rule>(optimizer: &Optimizer<R>, set: impl Fn(Memory<R::State>) -> Memory<R::State>) -> usize
where
    R::State: RuleState,
{
    (set(optimizer.memory([WEIGHTS])).bytes() - size_of::<R::State>()) / WEIGHTS
}

fn whole<M>(memory: M) -> M {
    memory
}

/// The settings that the picture compares.
pub fn table() -> Result<Vec<Bytes>, Box<dyn Error>> {
    let larc = SgdConfig { larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
    let (plain, larc) = (Sgd::new(larc)?, Sgd::new(SgdConfig { momentum: 0.9, ..larc })?);
    let novograd = NovoGrad::new(NovoGradConfig::DEFAULT)?;
    let adam = Adam::new(AdamConfig::TORCH_ADAMW)?;
    let (f32, half) = (size_of::<f32>(), size_of::<bf16>());
    let lower = kept(&plain, |memory| memory.split_weights(|_| true));
    let momentum = kept(&larc, whole);
    let halved = kept(&larc, |memory| memory.bf16_momentum());
    let second = kept(&adam, whole) - momentum;
    let bytes = |name, parts| Bytes { name, parts };
    Ok(vec![
        bytes("SGD, LARC without momentum", [f32, 0, f32, kept(&plain, whole), 0]),
        bytes("SGD, LARC with momentum; NovoGrad", [f32, 0, f32, kept(&novograd, whole), 0]),
        bytes("the same, 16-bit gradients and copy, bf16 momentum", [f32, half, half, halved, 0]),
        bytes("the same, split bf16 weights, 16-bit gradients", [half + lower, 0, half, momentum, 0]),
        bytes("the same with bf16 momentum", [half + lower, 0, half, halved, 0]),
        bytes("Adam, AdamW, LAMB", [f32, 0, f32, momentum, second]),
        bytes("the same, 16-bit gradients and copy", [f32, half, half, momentum, second]),
        bytes("the same, split bf16 weights, bf16 momentum", [half + lower, 0, half, halved, second]),
    ])
}

/// A bar for each setting.
pub fn draw() -> Result<String, Box<dyn Error>> {
    let table = table()?;
    picture("Bytes a weight of weights, gradients and what an optimizer keeps", (860, 340), |root| {
        for (row, Bytes { name, parts }) in table.iter().enumerate() {
            let y = 14 + 34 * row as i32;
            root.draw(&Text::new(*name, (14, y + 4), font(16)))?;
            let mut x = 400;
            for ((_, colour), bytes) in PARTS.iter().zip(parts) {
                let end = x + 24 * *bytes as i32;
                root.draw(&Rectangle::new([(x, y), (end, y + 24)], colour.filled()))?;
                if *bytes > 0 {
                    root.draw(&Text::new(
                        bytes.to_string(),
                        (x + 8, y + 4),
                        ("sans-serif", 16).into_font().color(&RGBColor(255, 255, 254)),
                    ))?;
                }
                x = end;
            }
            root.draw(&Text::new(parts.iter().sum::<usize>().to_string(), (x + 8, y + 4), font(16)))?;
        }
        let mut x = 250;
        for (name, colour) in PARTS {
            root.draw(&Rectangle::new([(x, 304), (x + 14, 318)], colour.filled()))?;
            root.draw(&Text::new(name, (x + 19, 303), font(14)))?;
            x += 34 + 8 * name.len() as i32;
        }
        Ok(())
    })
}
