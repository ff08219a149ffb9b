//! Checkpoints: a whole training run in one file, independent of the number of ranks.
//!
//! Words of 8 bytes, least significant first: a mark, the rule, the step, the micro-batches, the lengths of weights,
//! momentum, second moment and states, these arrays (an `f32` in a word, for simplicity), and a hash of all before.

use crate::Result;
use crate::model::RULES;
use crate::state::{Whole, fnv};
use std::path::Path;

const MARK: u64 = u64::from_le_bytes(*b"lw tree1");

/// Writes a checkpoint next to the old one, then renames it: if the job dies meanwhile, the old one stays whole.
pub fn save(path: &Path, rule: &str, whole: &Whole) -> Result<()> {
    let rule = RULES.iter().position(|other| *other == rule).ok_or("a rule of this example")?;
    let arrays = [&whole.weights, &whole.momentum, &whole.second_moment];
    let mut words = vec![MARK, rule as u64, whole.step as u64, whole.leaves as u64];
    words.extend(arrays.map(|x| x.len() as u64));
    words.push(whole.states.len() as u64);
    words.extend(arrays.into_iter().flatten().map(|x| u64::from(x.to_bits())));
    words.extend(whole.states.iter().flatten().map(|x| x.to_bits()));
    words.push(words.iter().copied().fold(0, fnv));
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    let new = path.with_extension("new");
    std::fs::write(&new, bytes)
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(())
}

pub fn load(path: &Path, rule: &str) -> Result<Whole> {
    let of_file = |what: &str| format!("{}: {what}", path.display());
    let bytes = std::fs::read(path).map_err(|error| of_file(&error.to_string()))?;
    let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().copied().map(u64::from_le_bytes).collect();
    parse(&words, bytes.len(), rule)
        .ok_or_else(|| of_file("this is no checkpoint of this rule, or it is damaged").into())
}

fn parse(words: &[u64], bytes: usize, rule: &str) -> Option<Whole> {
    let (hash, words) = words.split_last()?;
    let ([mark, of_rule, step, leaves, lengths @ ..], mut rest) = words.split_first_chunk::<8>()?;
    let is_whole = bytes == 8 * (words.len() + 1) && *hash == words.iter().copied().fold(0, fnv);
    if !is_whole || *mark != MARK || RULES.get(usize::try_from(*of_rule).ok()?) != Some(&rule) {
        return None;
    }
    let mut next = |len: u64| -> Option<&[u64]> {
        let (array, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        rest = after;
        Some(array)
    };
    let [weights, momentum, second_moment, states] = *lengths;
    let mut floats = |len| Some(next(len)?.iter().map(|x| f32::from_bits(*x as u32)).collect::<Vec<_>>());
    let (weights, momentum, second_moment) = (floats(weights)?, floats(momentum)?, floats(second_moment)?);
    let states = next(states.checked_mul(3)?)?.as_chunks::<3>().0.iter().map(|s| s.map(f64::from_bits)).collect();
    let (step, leaves) = (usize::try_from(*step).ok()?, usize::try_from(*leaves).ok()?);
    rest.is_empty().then_some(Whole { step, leaves, weights, momentum, second_moment, states })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_and_damage_is_found() {
        let path = std::env::temp_dir().join(format!("layerwise-checkpoint-{}", std::process::id()));
        let whole = Whole {
            step: 7,
            leaves: 24,
            weights: vec![1.0, -0.0, f32::NAN],
            momentum: vec![2.0; 3],
            second_moment: vec![],
            states: vec![[1.0, 2.0, 3.0], [0.1; 3]],
        };
        save(&path, "larc", &whole).unwrap();
        assert_eq!(load(&path, "larc").unwrap().differ(&whole), 0);
        assert!(load(&path, "lamb").is_err());
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert!(load(&path, "larc").is_err(), "byte {at}");
        }
        for len in 0..bytes.len() {
            std::fs::write(&path, &bytes[..len]).unwrap();
            assert!(load(&path, "larc").is_err(), "cut off at {len}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(load(&path, "larc").is_err());
    }
}
