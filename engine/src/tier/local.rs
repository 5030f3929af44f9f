//! Blobs as files of the store: `blobs/ALGORITHM/AA/HEX`, AA being the first byte.

use std::{io, sync::Arc};

use super::{Listed, Stored, Tier, TierOp};
use crate::{
    Algorithm, Digest,
    io::{Buffer, Disk, EntryKind, Handle, Linked, Op, STRAY_SUFFIX, StorePath, keep, sync_directory},
};

/// Directories per algorithm: one for each value of a digest's first byte.
const FAN_OUT: u32 = 256;

pub struct LocalTier {
    disk: Arc<dyn Disk>,
}

impl LocalTier {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        LocalTier { disk }
    }

    fn parent(algorithm: Algorithm) -> StorePath {
        StorePath::root().join("blobs").join(algorithm.name())
    }

    fn directory(algorithm: Algorithm, first_byte: u8) -> StorePath {
        LocalTier::parent(algorithm).join(&format!("{first_byte:02x}"))
    }

    /// What the keys of all digests begin with whose files are in a shard.
    pub(crate) fn shard_prefix(shard: u32) -> [u8; 2] {
        let algorithm = Algorithm::ALL[(shard / FAN_OUT) as usize];
        [algorithm as u8, u8::try_from(shard % FAN_OUT).expect("below 256")]
    }

    /// Where a blob's file is, relative to the store's root.
    pub fn path(digest: &Digest) -> StorePath {
        LocalTier::directory(digest.algorithm(), digest.as_bytes()[0]).join(&digest.hex())
    }
}

impl LocalTier {
    /// Whether there is a plain file in this place.
    async fn is_stray(&self, place: &StorePath) -> io::Result<bool> {
        Ok(self.strays().await?.iter().any(|(path, _)| path == place.as_str()))
    }
}

impl Tier for LocalTier {
    fn place<'a>(&'a self, staged: &'a Handle, len: u64, digest: &'a Digest) -> TierOp<'a, ()> {
        Box::pin(async move {
            let path = LocalTier::path(digest);
            let mut kept = keep(&*self.disk, staged, Some(len), &path).await;
            if kept.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData)
                && let Some(displaced) = self.disk.displace(&path.parent())
            {
                displaced.await?;
                kept = keep(&*self.disk, staged, Some(len), &path).await;
            }
            if kept? == Linked::Exists {
                // No record points here, or it says that the bytes are damaged.
                self.disk.unlink(&path).await?;
                if keep(&*self.disk, staged, Some(len), &path).await? == Linked::Exists {
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{path} came back")));
                }
            }
            Ok(())
        })
    }

    fn open<'a>(&'a self, digest: &'a Digest) -> TierOp<'a, Handle> {
        self.disk.open(&LocalTier::path(digest), false)
    }

    fn read(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        self.disk.read(file, buffer, offset, len)
    }

    fn reread(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        self.disk.reread(file, buffer, offset, len)
    }

    fn remove<'a>(&'a self, digest: &'a Digest) -> TierOp<'a, ()> {
        Box::pin(async move {
            let path = LocalTier::path(digest);
            self.disk.unlink(&path).await?;
            match sync_directory(&*self.disk, &path.parent()).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            }
        })
    }

    fn list(&self, shard: u32) -> TierOp<'_, Vec<Listed>> {
        Box::pin(async move {
            let algorithm = Algorithm::ALL[(shard / FAN_OUT) as usize];
            let first_byte = u8::try_from(shard % FAN_OUT).expect("below 256");
            let directory = LocalTier::directory(algorithm, first_byte);
            let entries = match self.disk.list(&directory).await {
                // Then it has nothing of ours, and the next blob moves what is there.
                Err(error) if error.kind() == io::ErrorKind::InvalidData && self.is_stray(&directory).await? => {
                    return Ok(Vec::new());
                }
                entries => entries?,
            };
            let listed = entries.into_iter().map(|entry| {
                let digest = format!("{algorithm}:{}", entry.name).parse::<Digest>().ok();
                match digest {
                    Some(digest) if entry.kind == EntryKind::File && digest.as_bytes()[0] == first_byte => {
                        Listed::Stored(Stored { digest, size: entry.size })
                    }
                    _ => Listed::Foreign(format!("{directory}/{}", entry.name)),
                }
            });
            Ok(listed.collect())
        })
    }

    fn shards(&self) -> u32 {
        FAN_OUT * Algorithm::ALL.len() as u32
    }

    fn occupied(&self) -> TierOp<'_, Vec<u32>> {
        Box::pin(async move {
            let mut occupied = Vec::new();
            for (first, algorithm) in (0..).step_by(FAN_OUT as usize).zip(Algorithm::ALL) {
                let entries = self.disk.list(&LocalTier::parent(algorithm)).await?;
                let shards = entries.iter().filter(|entry| entry.kind != EntryKind::File);
                let bytes = shards.filter_map(|entry| u8::from_str_radix(&entry.name, 16).ok());
                occupied.extend(bytes.map(|byte| first + u32::from(byte)));
            }
            occupied.sort_unstable();
            occupied.dedup();
            Ok(occupied)
        })
    }

    fn strays(&self) -> TierOp<'_, Vec<(String, u64)>> {
        Box::pin(async move {
            let mut strays = Vec::new();
            for algorithm in Algorithm::ALL {
                let parent = LocalTier::parent(algorithm);
                for entry in self.disk.list(&parent).await? {
                    let place = entry.name.strip_suffix(STRAY_SUFFIX).unwrap_or(&entry.name);
                    if entry.kind == EntryKind::File && place.len() == 2 && u8::from_str_radix(place, 16).is_ok() {
                        strays.push((format!("{parent}/{}", entry.name), entry.size));
                    }
                }
            }
            Ok(strays)
        })
    }
}
