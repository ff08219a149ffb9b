//! Every instruction set that this processor has, in one process.

use layerwise::rule::Rule;
use layerwise::{Backend, Optimizer};

/// The backends of this processor by name, and `None` for what the crate chooses by itself.
pub fn backends() -> impl Iterator<Item = (&'static str, Option<Backend>)> {
    Backend::available().map(|backend| (backend.name(), Some(backend))).chain([("its own choice", None)])
}

/// An optimizer on a backend.
pub fn on<R: Rule>(optimizer: Optimizer<R>, backend: Option<Backend>) -> Optimizer<R> {
    match backend {
        Some(backend) => optimizer.on(backend),
        None => optimizer,
    }
}

/// Names the case that a test is about, if the test fails while this is alive.
pub struct Case<F: Fn() -> String>(pub F);

impl<F: Fn() -> String> Drop for Case<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed: {}", (self.0)());
        }
    }
}
