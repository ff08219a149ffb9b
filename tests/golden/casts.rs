//! Casts between 32 and 16 bits: rows of bit patterns, inputs that must stay NaN, and hashes over many more. The
//! reference must produce them, and with the feature `half` the crate on every instruction set.

use crate::files::File;
use crate::inputs::Inputs;
use crate::keys::Keys;
use crate::reference::cast;
use serde_json::Value;

/// A format: its sign, its infinity, and the one NaN that is compared for all.
#[derive(Clone, Copy)]
struct Format {
    sign: u32,
    infinity: u32,
    nan: u32,
}

const F32: Format = Format { sign: 1 << 31, infinity: 0x7f80_0000, nan: cast::NAN };
const BF16: Format = Format { sign: 1 << 15, infinity: 0x7f80, nan: cast::NAN_BF16 as u32 };
const F16: Format = Format { sign: 1 << 15, infinity: 0x7c00, nan: cast::NAN_F16 as u32 };

impl Format {
    fn bytes(self) -> usize {
        if self.sign == F32.sign { 4 } else { 2 }
    }

    fn is_nan(self, x: u32) -> bool {
        x & !self.sign > self.infinity
    }

    /// The same number, with one NaN for all.
    fn unify(self, x: u32) -> u32 {
        if self.is_nan(x) { self.nan } else { x }
    }
}

/// A cast, and the names of the fields that files have for it.
struct Column {
    rows: &'static str,
    /// Inputs that must stay NaN. They are for the saturating cast too.
    nans: &'static str,
    hash: &'static str,
    to: Format,
    cast: Cast,
}

/// Narrowing casts have hashes of many inputs, widening ones of all. Each has the cast of the reference.
enum Cast {
    Narrow(fn(u32) -> u16),
    Widen(fn(u16) -> u32),
}

/// An implementation of casts: its name, and a function from inputs to outputs.
type By = (String, Box<dyn Fn(&Column, &[u32]) -> Vec<u32>>);

/// All implementations of casts.
fn everyone() -> Vec<By> {
    #[allow(unused_mut, reason = "without 16 bits that is all")]
    let mut everyone: Vec<By> = vec![("the reference".to_string(), Box::new(Column::by_reference))];
    #[cfg(feature = "half")]
    for (name, backend) in crate::backends::backends() {
        everyone.push((name.to_string(), Box::new(move |column, inputs| column.by_crate(backend, inputs))));
    }
    everyone
}

const fn narrow(rows: &'static str, nans: &'static str, to: Format, cast: fn(u32) -> u16) -> Column {
    Column { rows, nans, hash: rows, to, cast: Cast::Narrow(cast) }
}

const fn widen(rows: &'static str, nans: &'static str, hash: &'static str, cast: fn(u16) -> u32) -> Column {
    Column { rows, nans, hash, to: F32, cast: Cast::Widen(cast) }
}

/// Every cast that files have rows of.
const COLUMNS: [Column; 6] = [
    narrow("f32_to_bf16", "f32_to_bf16_nan", BF16, cast::f32_to_bf16),
    narrow("f32_to_bf16_saturating", "f32_to_bf16_nan", BF16, cast::f32_to_bf16_saturating),
    narrow("f32_to_f16", "f32_to_f16_nan", F16, cast::f32_to_f16),
    narrow("f32_to_f16_saturating", "f32_to_f16_nan", F16, cast::f32_to_f16_saturating),
    widen("bf16_to_f32", "bf16_to_f32_nan", "bf16_to_f32_all", cast::bf16_to_f32),
    widen("f16_to_f32", "f16_to_f32_nan", "f16_to_f32_all", cast::f16_to_f32),
];

pub fn is(value: &Value) -> bool {
    value["peer"] == "IEEE casts" || COLUMNS.iter().any(|column| value.get(column.rows).is_some())
}

pub fn replay(file: &File, _: &Inputs) -> String {
    let mut keys = Keys::new("IEEE casts", &file.value);
    let mut hashes = keys.part("hashes");
    let multiplier = hashes.read("multiplier", bits).unwrap_or(1);
    keys.no_matter(&["schema", "peer", "peer_version", "source", "notes"]);
    hashes.no_matter(&["notes"]);
    let (mut rows, mut nans, mut count) = (0, 0, 0);
    let everyone = everyone();
    for column in &COLUMNS {
        let (of_rows, of_nans, hash) = (keys.get(column.rows), keys.get(column.nans), hashes.get(column.hash));
        for by in &everyone {
            rows += column.check_rows(by, of_rows);
            nans += column.check_nans(by, of_nans);
            count += column.check_hash(by, hash, multiplier);
        }
    }
    assert!(rows > 0, "there are no casts");
    keys.finish();
    hashes.finish();
    let names: Vec<&str> = everyone.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    format!("IEEE casts by {names}: {rows} rows and {nans} NaNs, {count} casts in hashes, all bits the same")
}

/// A pattern in hexadecimal digits.
fn bits(value: &Value) -> Option<u32> {
    u32::from_str_radix(value.as_str()?, 16).ok()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.map_or(&[], |value| value.as_array().expect("a list").as_slice())
}

impl Column {
    fn by_reference(&self, inputs: &[u32]) -> Vec<u32> {
        let cast = |input: &u32| match self.cast {
            Cast::Narrow(cast) => cast(*input).into(),
            Cast::Widen(cast) => cast((*input).try_into().expect("an input of 16 bits")),
        };
        inputs.iter().map(cast).collect()
    }

    #[cfg(feature = "half")]
    fn by_crate(&self, backend: Option<layerwise::Backend>, inputs: &[u32]) -> Vec<u32> {
        match self.cast {
            Cast::Narrow(_) => {
                let saturating = self.rows.ends_with("saturating");
                crate::crate_casts::narrow(self.to.infinity == F16.infinity, saturating, backend, inputs)
            }
            Cast::Widen(_) => crate::crate_casts::widen(self.rows.starts_with("f16"), backend, inputs),
        }
    }

    /// The outputs of inputs, with one NaN for all.
    fn cast(&self, by: &By, inputs: &[u32]) -> Vec<u32> {
        by.1(self, inputs).into_iter().map(|output| self.to.unify(output)).collect()
    }

    fn check_rows(&self, by: &By, rows: Option<&Value>) -> usize {
        let row = |row: &Value| bits(&row[0]).zip(bits(&row[1])).unwrap_or_else(|| panic!("{}: {row}", self.rows));
        let (inputs, outputs): (Vec<u32>, Vec<u32>) = list(rows).iter().map(row).unzip();
        for ((input, output), expected) in inputs.iter().zip(self.cast(by, &inputs)).zip(outputs) {
            let (of, who, expected) = (self.rows, &by.0, self.to.unify(expected));
            assert!(output == expected, "{of}: {input:x} becomes {output:x} instead of {expected:x} by {who}");
        }
        inputs.len()
    }

    fn check_nans(&self, by: &By, inputs: Option<&Value>) -> usize {
        let input = |input: &Value| bits(input).unwrap_or_else(|| panic!("{}: {input}", self.nans));
        let inputs: Vec<u32> = list(inputs).iter().map(input).collect();
        for (input, output) in inputs.iter().zip(self.cast(by, &inputs)) {
            assert!(self.to.is_nan(output), "{}: {input:x} does not stay NaN by {}", self.nans, by.0);
        }
        inputs.len()
    }

    /// Compares the hash of many outputs; returns how many.
    fn check_hash(&self, by: &By, hash: Option<&Value>, multiplier: u32) -> usize {
        let Some(hash) = hash else { return 0 };
        let inputs: Vec<u32> = match self.cast {
            Cast::Narrow(_) => (0..1 << 20_u32).map(|i: u32| i.wrapping_mul(multiplier)).collect(),
            Cast::Widen(_) => (0..1 << 16).collect(),
        };
        let outputs = self.cast(by, &inputs);
        let bytes = outputs.iter().flat_map(|output| output.to_le_bytes().into_iter().take(self.to.bytes()));
        let (of, who, ours) = (self.hash, &by.0, format!("{:016x}", fnv(bytes)));
        assert!(*hash == ours.as_str(), "{of}: the hash of the outputs is {ours} instead of {hash} by {who}");
        inputs.len()
    }
}

/// 64-bit FNV-1a.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
