//! The format of a training file: how it is written, and where its parts are.
//!
//! A layer `x` has the tensors `x`, its weights, `x.momentum` and `x.second_moment` if the rule keeps them, all `F32`
//! of its shape in C order, and `x.state`, three `F64` numbers. `layerwise.steps` has two `U64` numbers: how many steps
//! have begun, and how many have ended. Other tensors are ignored.

use crate::error::Error;
use crate::settings::Settings;
use layerwise::LayerConfig;
use layerwise::rule::{Moments, Rule, RuleState};
use ndarray::{ArrayRef, ArrayViewD, IxDyn};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, View};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The metadata entry with the settings. It is the only one: several would be in a random order, and the same training
/// must write the same file.
const SETTINGS: &str = "layerwise-tensors";

pub(crate) const STEPS: &str = "layerwise.steps";
pub(crate) const MOMENTUM: &str = "momentum";
pub(crate) const SECOND_MOMENT: &str = "second_moment";
pub(crate) const STATE: &str = "state";

/// The byte ranges of a layer in a file.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) config: LayerConfig,
    pub(crate) weights: Range<usize>,
    /// Empty if the rule keeps none; the same for the second moment.
    pub(crate) momentum: Range<usize>,
    pub(crate) second_moment: Range<usize>,
    pub(crate) state: Range<usize>,
}

impl Place {
    /// The arrays of `f32`, with their names.
    pub(crate) fn arrays(&self) -> impl Iterator<Item = (String, &Range<usize>)> {
        let moment = |of, range| (tensor(&self.name, of), range);
        let moments = [moment(MOMENTUM, &self.momentum), moment(SECOND_MOMENT, &self.second_moment)];
        std::iter::once((self.name.clone(), &self.weights)).chain(moments.into_iter().filter(|(_, at)| !at.is_empty()))
    }
}

/// The checked header of a file.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) settings: Settings,
    metadata: Metadata,
    /// Where the tensors begin.
    start: usize,
}

impl Head {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Error> {
        let (len, metadata) = SafeTensors::read_metadata(bytes)?;
        let entry = metadata.metadata().as_ref().and_then(|entries| entries.get(SETTINGS));
        let settings = Settings::read(entry.ok_or(Error::NoState)?)?;
        Ok(Head { settings, metadata, start: size_of::<u64>() + len })
    }

    /// Where the layers are, for a rule that keeps these moments.
    pub(crate) fn places(&self, moments: Moments) -> Result<Vec<Place>, Error> {
        let places = self.settings.layers.iter().map(|layer| self.place(&layer.name, layer.config, moments));
        let places = places.collect::<Result<Vec<_>, Error>>()?;
        let mut names = HashSet::new();
        for (name, _) in places.iter().flat_map(Place::arrays) {
            if let Some(twice) = names.replace(name) {
                return Err(Error::Name(twice));
            }
        }
        Ok(places)
    }

    fn place(&self, name: &str, config: LayerConfig, moments: Moments) -> Result<Place, Error> {
        let shape = self.metadata.info(name).ok_or_else(|| Error::Missing(name.to_string()))?.shape.clone();
        let moment = |of, is_kept| match (is_kept, tensor(name, of)) {
            (true, tensor) => self.find(&tensor, Dtype::F32, &shape),
            (false, tensor) if self.metadata.info(&tensor).is_some() => Err(Error::Unexpected(tensor)),
            (false, _) => Ok(0..0),
        };
        Ok(Place {
            weights: self.find(name, Dtype::F32, &shape)?,
            momentum: moment(MOMENTUM, moments >= Moments::First)?,
            second_moment: moment(SECOND_MOMENT, moments >= Moments::FirstAndSecond)?,
            state: self.find(&tensor(name, STATE), Dtype::F64, &[3])?,
            name: name.to_string(),
            shape,
            config,
        })
    }

    /// Where the counts of steps are.
    pub(crate) fn steps(&self) -> Result<Range<usize>, Error> {
        self.find(STEPS, Dtype::U64, &[2])
    }

    /// The range of a tensor, which must have this type and shape.
    fn find(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Range<usize>, Error> {
        let info = self.metadata.info(name).ok_or_else(|| Error::Missing(name.to_string()))?;
        if (info.dtype, &info.shape[..]) != (dtype, shape) {
            let (expected, found) = (format!("{dtype} of {shape:?}"), format!("{} of {:?}", info.dtype, info.shape));
            return Err(Error::Tensor { name: name.to_string(), expected, found });
        }
        // (The length of the file was checked with its header.)
        Ok(self.start + info.data_offsets.0..self.start + info.data_offsets.1)
    }
}

/// The name of a tensor that belongs to a layer.
pub(crate) fn tensor(layer: &str, of: &str) -> String {
    format!("{layer}.{of}")
}

/// The bytes of a range. (It is within the file: that was checked with the header.)
pub(crate) fn part<'a>(bytes: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    bytes.get(range.clone()).unwrap_or_default()
}

/// Numbers of a file, for any byte order of the machine.
pub(crate) fn numbers<T, const N: usize>(bytes: &[u8], number: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    bytes.as_chunks().0.iter().map(move |bytes| number(*bytes))
}

/// How many steps have ended; an error if one was torn.
pub(crate) fn steps_ended(bytes: &[u8]) -> Result<u64, Error> {
    let mut counts = numbers(bytes, u64::from_le_bytes);
    match (counts.next(), counts.next()) {
        (Some(begun), Some(ended)) if begun == ended => Ok(ended),
        (_, ended) => Err(Error::Torn { step: ended.unwrap_or_default() }),
    }
}

/// A tensor to write.
pub(crate) struct Tensor<'a> {
    pub(crate) shape: Vec<usize>,
    pub(crate) numbers: Numbers<'a>,
}

pub(crate) enum Numbers<'a> {
    /// In the order of its indices, whatever its memory order.
    Array(ArrayViewD<'a, f32>),
    /// In the same memory order as an array.
    Like(ArrayViewD<'a, ()>, &'a [f32]),
    State([f64; 3]),
    Steps([u64; 2]),
    Bytes(Dtype, &'a [u8]),
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        match self.numbers {
            Numbers::Array(_) | Numbers::Like(..) => Dtype::F32,
            Numbers::State(_) => Dtype::F64,
            Numbers::Steps(_) => Dtype::U64,
            Numbers::Bytes(dtype, _) => dtype,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.numbers {
            Numbers::Array(array) => bytes(array),
            Numbers::Like(order, numbers) if order.is_standard_layout() => bytes_of(numbers),
            Numbers::Like(order, numbers) => {
                let mut array = order.map(|()| 0.0_f32);
                if let Some(to) = array.as_slice_memory_order_mut() {
                    to.copy_from_slice(numbers);
                }
                bytes(&array).into_owned().into()
            }
            Numbers::State(numbers) => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::Steps(numbers) => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::Bytes(_, bytes) => Cow::Borrowed(bytes),
        }
    }

    fn data_len(&self) -> usize {
        match &self.numbers {
            Numbers::Array(array) => array.len() * size_of::<f32>(),
            Numbers::Like(_, numbers) => size_of_val(*numbers),
            Numbers::State(numbers) => size_of_val(numbers),
            Numbers::Steps(numbers) => size_of_val(numbers),
            Numbers::Bytes(_, bytes) => bytes.len(),
        }
    }
}

/// The bytes of a file for an array: as they are, if it is in C order.
fn bytes(array: &ArrayRef<f32, IxDyn>) -> Cow<'_, [u8]> {
    match array.as_slice() {
        Some(numbers) => bytes_of(numbers),
        None => array.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

/// The same for a slice: as they are, if the machine is little-endian.
fn bytes_of(numbers: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(numbers))
    } else {
        numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
    }
}

/// Writes a training file.
pub(crate) fn write(path: &Path, settings: &Settings, tensors: Vec<(String, Tensor<'_>)>) -> Result<(), Error> {
    let mut names = HashSet::new();
    if let Some((name, _)) = tensors.iter().find(|(name, _)| !names.insert(name)) {
        return Err(Error::Name(name.clone()));
    }
    let settings = serde_json::to_string(settings).map_err(Error::Settings)?;
    write_tensors(path, tensors, Some([(SETTINGS.to_string(), settings)].into()))
}

/// Writes any file of tensors with distinct names.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: Vec<(String, Tensor<'_>)>,
    entries: Option<HashMap<String, String>>,
) -> Result<(), Error> {
    replace(path, |temporary| Ok(safetensors::serialize_to_file(tensors, entries, temporary)?))
}

/// Writes a temporary file next to `path`, and renames it when it is on disk: after any crash there is either the old
/// file or the new one. A mapped file is not replaced, because training would continue in a file without a name.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    if let Ok(old) = File::open(path)
        && matches!(old.try_lock(), Err(TryLockError::WouldBlock))
    {
        return Err(Error::Locked);
    }
    let mut temporary = path.as_os_str().to_os_string();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let written = write(&temporary).and_then(|()| {
        File::open(&temporary)?.sync_all()?;
        Ok(fs::rename(&temporary, path)?)
    });
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    // The new name is on disk when its directory is. (Only Unix can open directories.)
    if cfg!(unix) {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// The state of a layer, if it is valid.
pub(crate) fn state<S: RuleState>(bytes: &[u8]) -> Option<S> {
    let mut state = [0.0; 3];
    for (to, number) in state.iter_mut().zip(numbers(bytes, f64::from_le_bytes)) {
        *to = number;
    }
    S::from_numbers(state)
}

/// The state of a layer, if a step of the rule can have produced it.
pub(crate) fn accepted<R: Rule>(bytes: &[u8], rule: &R) -> Option<R::State> {
    state(bytes).filter(|state| rule.accepts(*state))
}
