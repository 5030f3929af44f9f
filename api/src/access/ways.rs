//! The ways to log in, as everybody may know them: names and addresses, and nothing that is secret.

/// What a registry offers to those who want to log in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways {
    /// A name and a password, wherever they are checked.
    pub password: bool,
    /// Tokens of somebody else.
    pub bearer: Option<Bearer>,
    /// Where browsers are sent.
    pub providers: Vec<Provider>,
    /// Keys that users make for themselves.
    pub api_keys: bool,
}

/// Who gives out tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The address of the token endpoint.
    pub realm: String,
    pub service: String,
}

/// A provider of logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// In addresses.
    pub name: String,
    /// For people; may be empty.
    pub label: String,
}
