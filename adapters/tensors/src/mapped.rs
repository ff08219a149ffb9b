//! A file as a buffer.

use crate::error::Error;
use memmap2::MmapMut;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// A file that is mapped into memory for a [`Checkpoint`](crate::Checkpoint), and locked while it is.
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
    /// [`Error::Locked`] if another `Mapped` has it, in this process or another, and whatever the system says.
    ///
    /// # Safety
    ///
    /// While it is mapped, nobody else may change or shorten the file. (The lock keeps out those who ask for one.)
    #[allow(unsafe_code, reason = "a mapped file can be changed by others")]
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::Locked,
            TryLockError::Error(error) => Error::Io(error),
        })?;
        // SAFETY: the caller's promise is the one that `map_mut` wants.
        let map = unsafe { MmapMut::map_mut(&file)? };
        Ok(Mapped { map, _file: file })
    }

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
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
