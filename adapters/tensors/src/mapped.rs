//! A file as a buffer.

use crate::error::Error;
use memmap2::MmapMut;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// A file mapped into memory for a [`Checkpoint`](crate::Checkpoint), and locked while it is mapped.
#[derive(Debug)]
pub struct Mapped {
    map: MmapMut,
    /// Holds the lock.
    _file: File,
}

impl Mapped {
    /// Maps a file.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another `Mapped` has it, in this process or another, and [`Error::Io`].
    ///
    /// # Safety
    ///
    /// While the file is mapped, nothing else may change or truncate it. (The lock only stops programs that use locks.)
    #[allow(unsafe_code, reason = "a mapped file can be changed by others")]
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::Locked,
            TryLockError::Error(error) => Error::Io(error),
        })?;
        // SAFETY: the caller upholds the contract of `map_mut`.
        let map = unsafe { MmapMut::map_mut(&file)? };
        Ok(Mapped { map, _file: file })
    }

    /// Waits until everything written is on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn flush(&self) -> Result<(), Error> {
        Ok(self.map.flush()?)
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl AsMut<[u8]> for Mapped {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}
