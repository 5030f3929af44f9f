//! The account that looks users up: `{"bindDN": "...", "bindPassword": "..."}` in a file of its own, so that its
//! password is in no configuration. It is read for each login that reaches the directory, which makes a change count
//! at once; a file that cannot be used leaves the account as it was, and the log says so.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;

/// The largest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Why a file cannot be used. What is in it is in no message.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{}: expected {{\"bindDN\": \"...\", \"bindPassword\": \"...\"}}, both not empty and nothing else, in at most \
         {FILE_BYTES_MAX} bytes",
        path.display()
    )]
    Malformed { path: PathBuf },
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    #[serde(rename = "bindDN")]
    pub name: String,
    #[serde(rename = "bindPassword")]
    pub password: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The account as its file has it now.
pub struct AccountFile {
    path: PathBuf,
    last: Mutex<Arc<Account>>,
}

impl AccountFile {
    pub fn open(path: &Path) -> Result<Self, AccountError> {
        let account = read(path)?;
        Ok(AccountFile { path: path.to_owned(), last: Mutex::new(Arc::new(account)) })
    }

    /// Reads the file; for a thread that may be busy for long.
    pub fn current(&self) -> Arc<Account> {
        let found = read(&self.path);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(account) if account == **last => {}
            Ok(account) => {
                tracing::info!(path = %self.path.display(), "the account that looks users up has changed");
                *last = Arc::new(account);
            }
            Err(error) => tracing::error!(%error, "the account that looks users up stays as it was"),
        }
        last.clone()
    }
}

fn read(path: &Path) -> Result<Account, AccountError> {
    let unreadable = |source| AccountError::Unreadable { path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
    let is_whole = text.len() as u64 <= FILE_BYTES_MAX;
    let account = serde_json::from_slice::<Account>(&text).ok();
    // An empty password is no password: directories take it for nobody in particular (RFC 4513 section 5.1.2).
    let account = account.filter(|account| is_whole && !account.name.is_empty() && !account.password.is_empty());
    account.ok_or_else(|| AccountError::Malformed { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_counts_and_a_wrong_one_does_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("credentials.json");
        assert!(matches!(AccountFile::open(&path), Err(AccountError::Unreadable { .. })));
        let write = |text: &str| fs::write(&path, text).expect("written");
        write(r#"{"bindDN": "cn=a", "bindPassword": "one"}"#);
        let file = AccountFile::open(&path).expect("an account");
        write(r#"{"bindDN": "cn=a", "bindPassword": "two"}"#);
        assert_eq!(file.current().password, "two");
        for text in [
            "",
            "{}",
            r#"{"bindDN": "cn=a"}"#,
            r#"{"bindDN": "", "bindPassword": "secret"}"#,
            r#"{"bindDN": "cn=a", "bindPassword": ""}"#,
            r#"{"bindDN": "cn=a", "bindPassword": "secret", "more": 1}"#,
            r#"{"bindDN": "cn=a", "bindPassword": "secret"#,
        ] {
            write(text);
            assert_eq!(file.current().password, "two", "{text}");
            let error = AccountFile::open(&path).map(drop).expect_err("refused").to_string();
            assert!(error.contains("bindPassword") && !error.contains("secret"), "{error}");
        }
        fs::remove_file(&path).expect("removed");
        assert_eq!(file.current().password, "two");
        assert!(!format!("{:?}", file.current()).contains("two"));
    }
}
