//! Many rows into an index that nobody else uses, some at a time.

use crate::{
    error::Result,
    index::{Changes, Durability, Index, Table, Value},
    store::index_error,
};

/// Bytes of keys and values after which rows are written.
const BATCH_BYTES: usize = 4 << 20;

/// What a row costs beside its key and value, roughly.
const ROW_BYTES: usize = 64;

pub(super) struct Writer<'a> {
    index: &'a dyn Index,
    writes: Vec<(Table, Vec<u8>, Option<Value>)>,
    bytes: usize,
}

impl<'a> Writer<'a> {
    pub fn new(index: &'a dyn Index) -> Self {
        Writer { index, writes: Vec::new(), bytes: 0 }
    }

    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Value) -> Result<()> {
        self.write(table, key, Some(value))
    }

    pub fn delete(&mut self, table: Table, key: Vec<u8>) -> Result<()> {
        self.write(table, key, None)
    }

    /// Rows become visible some time before [`Writer::flush`] returns, in their order.
    pub fn write(&mut self, table: Table, key: Vec<u8>, value: Option<Value>) -> Result<()> {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len) + ROW_BYTES;
        self.writes.push((table, key, value));
        if self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    pub fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        let changes = Changes { conditions: Vec::new(), writes: std::mem::take(&mut self.writes) };
        self.index.write(&changes, Durability::Buffered).map(drop).map_err(index_error)
    }
}
