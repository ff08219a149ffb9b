//! What a host hands over to a step, and what it gets back.

pub(crate) mod bytes;
pub(crate) mod carried;
pub(crate) mod layer;
pub(crate) mod report;
pub(crate) mod table;
