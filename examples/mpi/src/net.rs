//! The few MPI calls that are needed.

use mpi::Count;
use mpi::collective::SystemOperation;
use mpi::datatype::{Partition, PartitionMut};
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

pub struct Net {
    pub world: SimpleCommunicator,
    pub rank: usize,
    pub ranks: usize,
}

/// Counts and places of the parts of a buffer, one for each rank.
fn parts(lengths: impl Iterator<Item = usize>) -> (Vec<Count>, Vec<Count>) {
    let count = |len: usize| Count::try_from(len).expect("MPI counts in 32 bits: send a longer vector in segments");
    let counts: Vec<Count> = lengths.map(count).collect();
    let places = counts.iter().scan(0, |place, count| Some(std::mem::replace(place, *place + count))).collect();
    (counts, places)
}

impl Net {
    pub fn new(world: SimpleCommunicator) -> Net {
        let (rank, ranks) = (world.rank() as usize, world.size() as usize);
        Net { world, rank, ranks }
    }

    /// Gathers the pieces of all ranks in order.
    pub fn all_gather<T: Equivalence + Clone + Default>(
        &self,
        piece: &[T],
        lengths: impl Iterator<Item = usize>,
    ) -> Vec<T> {
        let (counts, places) = parts(lengths);
        let mut all = vec![T::default(); counts.iter().sum::<Count>() as usize];
        self.world.all_gather_varcount_into(piece, &mut PartitionMut::new(&mut all[..], counts, places));
        all
    }

    /// Sends a part of a buffer to each rank, and receives one from each.
    pub fn all_to_all(
        &self,
        sent: &[f32],
        lengths: impl Iterator<Item = usize>,
        received: impl Iterator<Item = usize>,
    ) -> Vec<f32> {
        let (counts, places) = parts(lengths);
        let sent = Partition::new(sent, counts, places);
        let (counts, places) = parts(received);
        let mut all = vec![0.0_f32; counts.iter().sum::<Count>() as usize];
        self.world.all_to_all_varcount_into(&sent, &mut PartitionMut::new(&mut all[..], counts, places));
        all
    }

    /// MPI's own sum of blocks of equal length: each rank gets its own block.
    pub fn reduce_scatter<T: Equivalence>(&self, blocks: &[T], own: &mut [T]) {
        self.world.reduce_scatter_block_into(blocks, own, SystemOperation::sum());
    }

    /// The element-wise maximum over all ranks.
    pub fn max(&self, x: &[u8]) -> Vec<u8> {
        let mut max = vec![0; x.len()];
        self.world.all_reduce_into(x, &mut max[..], SystemOperation::max());
        max
    }
}
