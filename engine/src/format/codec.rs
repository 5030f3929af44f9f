//! Little-endian fields in sequence, the base of all records.

/// Bytes in the index that are not what this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a malformed {record} record")]
pub struct Malformed {
    pub record: &'static str,
}

/// Appends fields to a record.
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    pub fn new(version: u8) -> Self {
        Encoder(vec![version])
    }

    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A length of 32 bits, then the bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.u32(u32::try_from(value.len()).expect("record fields are far below 4 GiB"));
        self.0.extend_from_slice(value);
    }

    /// Bytes to the end of the record.
    pub fn rest(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    pub fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes fields off a record; every length is bounded by what is there.
pub(super) struct Decoder<'a> {
    record: &'static str,
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub fn new(record: &'static str, version: u8, bytes: &'a [u8]) -> Result<Self, Malformed> {
        match bytes.split_first() {
            Some((found, rest)) if *found == version => Ok(Decoder { record, rest }),
            _ => Err(Malformed { record }),
        }
    }

    pub fn malformed(&self) -> Malformed {
        Malformed { record: self.record }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.malformed())
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()?;
        self.take(usize::try_from(len).map_err(|_| self.malformed())?)
    }

    pub fn with<T>(&mut self, read: impl FnOnce(&'a [u8]) -> Option<(T, &'a [u8])>) -> Result<T, Malformed> {
        let (value, rest) = read(self.rest).ok_or(self.malformed())?;
        self.rest = rest;
        Ok(value)
    }

    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The record must end here.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}
