//! Objects and lists below a key that takes a whole document of its own.
//!
//! The same rules as for all keys: unknown ones are refused with the nearest known one, repeated
//! ones are refused, upper and lower case are the same, and every error names the full path, with
//! places in lists as `policies[0]`.

use std::collections::HashSet;

use super::{
    error::ErrorKind,
    nearest,
    value::{Problem, Value},
};

/// A value and the path that leads to it.
#[derive(Clone)]
pub struct Node<'v> {
    pub path: String,
    pub value: &'v Value,
}

impl<'v> Node<'v> {
    pub fn new(path: &str, value: &'v Value) -> Self {
        Node { path: path.to_owned(), value }
    }

    /// Visits every key of an object, in the file's order, with its documented spelling.
    pub fn each_key(
        &self,
        known: &'static [&'static str],
        mut visit: impl FnMut(&'static str, Node<'v>) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        let entries = self.value.object().map_err(|problem| self.error(problem))?;
        for (index, (name, value)) in entries.iter().enumerate() {
            let key = format!("{}.{name}", self.path);
            if entries[..index].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                return Err(ErrorKind::Duplicate { key });
            }
            let Some(spelling) = known.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
                let nearest = nearest::nearest(name, known.iter().map(|known| (*known).to_owned()));
                let nearest = format!("{}.{}", self.path, nearest.expect("every object has keys"));
                return Err(ErrorKind::Unknown { key, nearest });
            };
            visit(spelling, Node { path: key, value })?;
        }
        Ok(())
    }

    /// Visits every entry of an object whose keys are the operator's own, at most `len_max`, in the file's order.
    pub fn each_entry(
        &self,
        len_max: usize,
        mut visit: impl FnMut(&'v str, Node<'v>) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        let entries = self.value.object().map_err(|problem| self.error(problem))?;
        if entries.len() > len_max {
            return Err(self.unusable(format!("it has {} entries, expected at most {len_max}", entries.len())));
        }
        let mut seen = HashSet::new();
        for (name, value) in entries {
            let path = format!("{}.{name}", self.path);
            if !seen.insert(name) {
                return Err(ErrorKind::Duplicate { key: path });
            }
            visit(name, Node { path, value })?;
        }
        Ok(())
    }

    /// Reads every value of a list of at most `len_max`.
    pub fn each<T>(
        &self,
        expected: &'static str,
        len_max: usize,
        read: impl FnMut(Node<'v>) -> Result<T, ErrorKind>,
    ) -> Result<Vec<T>, ErrorKind> {
        let values = self.value.list(expected).map_err(|problem| self.error(problem))?;
        if values.len() > len_max {
            return Err(self.unusable(format!("it has {} elements, expected at most {len_max}", values.len())));
        }
        let node = |(index, value)| Node { path: format!("{}[{index}]", self.path), value };
        values.iter().enumerate().map(node).map(read).collect()
    }

    pub fn bool(&self) -> Result<bool, ErrorKind> {
        self.value.bool().map_err(|problem| self.error(problem))
    }

    pub fn whole(&self, expected: &'static str) -> Result<u64, ErrorKind> {
        self.value.whole(expected).map_err(|problem| self.error(problem))
    }

    pub fn text(&self, expected: &'static str) -> Result<&'v str, ErrorKind> {
        self.value.text(expected).map_err(|problem| self.error(problem))
    }

    /// The type is right and the value is not.
    pub fn unusable(&self, reason: impl ToString) -> ErrorKind {
        self.error(Problem::Unusable(reason.to_string()))
    }

    fn error(&self, problem: Problem) -> ErrorKind {
        ErrorKind::Value { key: self.path.clone(), problem }
    }
}
