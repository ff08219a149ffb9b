//! Every instruction set that this processor has, in one process.

use layerwise::rule::Rule;
use layerwise::{Backend, Optimizer};

/// The backends of this processor by name, and `None` for the crate's own choice.
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

/// Prints the current case if the test fails while this is alive.
pub struct Case<F: Fn() -> String>(pub F);

impl<F: Fn() -> String> Drop for Case<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed: {}", (self.0)());
        }
    }
}
