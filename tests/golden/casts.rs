//! Casts between 32 and 16 bits: rows of bit patterns, inputs that must stay NaN, and hashes over many more.

use crate::files::File;
use crate::inputs::Inputs;
use crate::keys::Keys;
use crate::reference::cast;
use serde_json::Value;

/// A format: its sign, its infinity, and the NaN that stands for all.
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

/// A cast, and the names of what is known of it.
struct Column {
    rows: &'static str,
    /// Inputs that must stay NaN. They are for the saturating cast too.
    nans: &'static str,
    hash: &'static str,
    to: Format,
    cast: Cast,
}

/// Narrowing casts have hashes of many inputs, widening ones of all.
enum Cast {
    Narrow(fn(u32) -> u16),
    Widen(fn(u16) -> u32),
}

const fn narrow(rows: &'static str, nans: &'static str, to: Format, cast: fn(u32) -> u16) -> Column {
    Column { rows, nans, hash: rows, to, cast: Cast::Narrow(cast) }
}

const fn widen(rows: &'static str, nans: &'static str, hash: &'static str, cast: fn(u16) -> u32) -> Column {
    Column { rows, nans, hash, to: F32, cast: Cast::Widen(cast) }
}

/// Every cast that files have rows of, by everyone who makes it.
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
    for column in &COLUMNS {
        rows += column.check_rows(keys.get(column.rows));
        nans += column.check_nans(keys.get(column.nans));
        count += column.check_hash(hashes.get(column.hash), multiplier);
    }
    assert!(rows > 0, "there are no casts");
    keys.finish();
    hashes.finish();
    format!("IEEE casts by the reference, {rows} rows and {nans} NaNs, {count} casts in hashes, all bits the same")
}

/// A pattern in hexadecimal digits.
fn bits(value: &Value) -> Option<u32> {
    u32::from_str_radix(value.as_str()?, 16).ok()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.map_or(&[], |value| value.as_array().expect("a list").as_slice())
}

impl Column {
    fn cast(&self, input: u32) -> u32 {
        self.to.unify(match self.cast {
            Cast::Narrow(cast) => cast(input).into(),
            Cast::Widen(cast) => cast(input.try_into().expect("an input of 16 bits")),
        })
    }

    fn check_rows(&self, rows: Option<&Value>) -> usize {
        for row in list(rows) {
            let (Some(input), Some(expected)) = (bits(&row[0]), bits(&row[1])) else { panic!("{}: {row}", self.rows) };
            let (output, expected) = (self.cast(input), self.to.unify(expected));
            assert!(output == expected, "{}: {input:x} becomes {output:x} instead of {expected:x}", self.rows);
        }
        list(rows).len()
    }

    fn check_nans(&self, inputs: Option<&Value>) -> usize {
        for input in list(inputs) {
            let input = bits(input).unwrap_or_else(|| panic!("{}: {input}", self.nans));
            assert!(self.to.is_nan(self.cast(input)), "{}: {input:x} does not stay NaN", self.rows);
        }
        list(inputs).len()
    }

    /// Compares the hash of many outputs; returns how many.
    fn check_hash(&self, hash: Option<&Value>, multiplier: u32) -> usize {
        let Some(hash) = hash else { return 0 };
        let inputs: Vec<u32> = match self.cast {
            Cast::Narrow(_) => (0..1 << 20_u32).map(|i: u32| i.wrapping_mul(multiplier)).collect(),
            Cast::Widen(_) => (0..1 << 16).collect(),
        };
        let bytes = inputs.iter().flat_map(|input| self.cast(*input).to_le_bytes().into_iter().take(self.to.bytes()));
        let ours = format!("{:016x}", fnv(bytes));
        assert!(*hash == ours.as_str(), "{}: the hash of the outputs is {ours} instead of {hash}", self.hash);
        inputs.len()
    }
}

/// FNV-1a of 64 bits.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
