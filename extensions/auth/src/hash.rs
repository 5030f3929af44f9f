//! Hashes of passwords as htpasswd files have them: bcrypt (`$2a$`, `$2b$`, `$2y$`) and SHA crypt (`$5$`, `$6$`; "Unix
//! crypt using SHA-256 and SHA-512", Drepper 2008). Older kinds can be guessed too fast and are refused.

use sha_crypt::{PasswordVerifier, ShaCrypt};

/// The costliest bcrypt hash that is accepted: several seconds for a login. `htpasswd -B` makes hashes of cost 5,
/// most other tools of 10 to 12.
const BCRYPT_COST_MAX: u32 = 16;

/// The most rounds of SHA crypt that are accepted: several seconds. Without a number there are 5,000.
const ROUNDS_MAX: u32 = 5_000_000;

const ROUNDS_DEFAULT: u32 = 5_000;

/// Rounds of SHA crypt that take about as long as bcrypt of cost 1.
const ROUNDS_PER_BCRYPT: u64 = 40;

/// Costs what a login of an unknown user costs where there are no users at all. Nobody knows its password.
const DECOY: &str = "$2b$10$abcdefghijklmnopqrstuuAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a text is no hash of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    #[error("it is neither bcrypt ($2a$, $2b$, $2y$) nor SHA crypt ($5$, $6$); make it with: htpasswd -B")]
    Kind,
    #[error("it is cut off or has characters that no such hash has")]
    Malformed,
    #[error("it costs more than bcrypt of {BCRYPT_COST_MAX} or SHA crypt of {ROUNDS_MAX} rounds")]
    Costly,
}

/// The hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    text: Box<str>,
    is_bcrypt: bool,
    /// How long it takes, in rounds of bcrypt.
    work: u64,
}

impl Hash {
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let (is_bcrypt, work) = match text.as_bytes() {
            [b'$', b'2', b'a' | b'b' | b'y', b'$', ..] => (true, bcrypt_work(text)?),
            [b'$', b'5' | b'6', b'$', ..] => (false, sha_work(text)?),
            _ => return Err(HashError::Kind),
        };
        Ok(Hash { text: text.into(), is_bcrypt, work })
    }

    /// What is hashed for users that do not exist.
    pub fn decoy() -> Self {
        Hash::parse(DECOY).expect("a test parses it")
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn work(&self) -> u64 {
        self.work
    }

    /// Whether this is the hash of `password`. Takes as long as the hash is meant to: milliseconds to seconds.
    pub fn is_of(&self, password: &str) -> bool {
        match self.is_bcrypt {
            true => bcrypt::verify(password, &self.text).unwrap_or(false),
            false => ShaCrypt::default().verify_password(password.as_bytes(), &*self.text).is_ok(),
        }
    }
}

/// `$2b$CC$` and 22 + 31 characters.
fn bcrypt_work(text: &str) -> Result<u64, HashError> {
    let is_encoded = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    if text.len() != 60 || text.as_bytes()[6] != b'$' || !text.as_bytes()[7..].iter().all(is_encoded) {
        return Err(HashError::Malformed);
    }
    let cost = text.get(4..6).and_then(|cost| cost.parse::<u32>().ok()).ok_or(HashError::Malformed)?;
    match cost {
        4..=BCRYPT_COST_MAX => Ok(1 << cost),
        0..4 => Err(HashError::Malformed),
        _ => Err(HashError::Costly),
    }
}

/// `$6$` or `$6$rounds=N$`, a salt of at most 16 characters, `$`, and 43 or 86 characters.
fn sha_work(text: &str) -> Result<u64, HashError> {
    let length = if text.starts_with("$5$") { 43 } else { 86 };
    let is_encoded = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    let mut fields: Vec<&str> = text[3..].split('$').collect();
    let rounds = match fields[0].strip_prefix("rounds=") {
        Some(number) => {
            fields.remove(0);
            number.parse::<u32>().map_err(|_| HashError::Malformed)?
        }
        None => ROUNDS_DEFAULT,
    };
    let [salt, hash] = fields[..] else { return Err(HashError::Malformed) };
    if salt.len() > 16 || hash.len() != length || !salt.bytes().chain(hash.bytes()).all(is_encoded) {
        return Err(HashError::Malformed);
    }
    match rounds {
        1000..=ROUNDS_MAX => Ok(u64::from(rounds).div_ceil(ROUNDS_PER_BCRYPT)),
        0..1000 => Err(HashError::Malformed),
        _ => Err(HashError::Costly),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by other implementations: bcrypt's own test vectors, and those of the SHA crypt specification.
    const KNOWN: [(&str, &str); 7] = [
        ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("U*U", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
        ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
        ("Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"),
        (
            "Hello world!",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        ),
        (
            "Hello world!",
            "$6$rounds=10000$saltstringsaltst$\
             OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
        ),
    ];

    #[test]
    fn known_hashes_are_of_their_passwords_only() {
        for (password, text) in KNOWN {
            let hash = Hash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(hash.is_of(password), "{text}");
            assert!(!hash.is_of(&format!("{password}x")) && !hash.is_of("hello world!"), "{text}");
        }
        assert!(!Hash::decoy().is_of("") && !Hash::decoy().is_of("password"));
    }

    #[test]
    fn other_texts_are_no_hashes() {
        for (text, error) in [
            ("", HashError::Kind),
            ("secret", HashError::Kind),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", HashError::Kind),
            ("$apr1$abc$def", HashError::Kind),
            ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", HashError::Kind),
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe", HashError::Malformed),
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyO:W", HashError::Malformed),
            ("$2a$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", HashError::Malformed),
            ("$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", HashError::Costly),
            ("$5$", HashError::Malformed),
            ("$5$saltstring$5B8vYYiY", HashError::Malformed),
            ("$5$rounds=x$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", HashError::Malformed),
            ("$5$rounds=999999999$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", HashError::Costly),
            ("$5$rounds=10$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", HashError::Malformed),
        ] {
            assert_eq!(Hash::parse(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn costs_are_comparable() {
        let work = |text: &str| Hash::parse(text).map(|hash| hash.work()).unwrap_or(0);
        assert!(work(KNOWN[3].1) < work(KNOWN[4].1), "more rounds");
        assert!(work(KNOWN[0].1) < Hash::decoy().work());
    }
}
