//! Lists of `f64` numbers, each in the form of `exact`.

use super::exact::Exact;
use core::fmt;
use core::marker::PhantomData;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(list: &impl AsRef<[f64]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.as_ref().iter().map(|x| Exact(*x)))
}

pub(crate) fn deserialize<'de, L: FromIterator<f64>, D: Deserializer<'de>>(deserializer: D) -> Result<L, D::Error> {
    deserializer.deserialize_seq(Numbers(PhantomData))
}

/// Visits a list of numbers and collects it.
struct Numbers<L>(PhantomData<L>);

impl<'de, L: FromIterator<f64>> Visitor<'de> for Numbers<L> {
    type Value = L;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<L, A::Error> {
        core::iter::from_fn(|| list.next_element().transpose()).map(|x| x.map(|Exact(x)| x)).collect()
    }
}
