//! One login over one connection: look the user up as the account that may, then be him.
//!
//! In: a name and a password that is not empty. Out: the groups of the user if the directory takes them, and nothing
//! if it does not. The connection is closed with it: whoever has bound as one user is not asked about another.

use std::{sync::Arc, time::Duration};

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry, SearchOptions};
use rustls::ClientConfig;

use super::{Security, account::Account, filter::UserFilter};

/// How long the directory may search, in seconds: it then knows that nobody waits any more.
const SEARCH_SECONDS_MAX: i32 = 10;

/// Entries that are asked for: of more than one none is the user's.
const ENTRIES_MAX: i32 = 2;

/// The most groups of a user; the others do not count.
const GROUPS_MAX: usize = 2_000;

/// "No attributes" (RFC 4511 section 4.5.1.8).
const NO_ATTRIBUTES: &str = "1.1";

/// The password of nobody.
const DECOY: &str = "?";

/// Result codes of RFC 4511 section 4.1.9.
const SUCCESS: u32 = 0;
const SIZE_LIMIT_EXCEEDED: u32 = 4;

/// What a directory answers to a user whose password is wrong, who has none, or whom it keeps out for other reasons,
/// such as too many wrong ones: constraintViolation, noSuchObject, inappropriateAuthentication, invalidCredentials,
/// insufficientAccessRights, unwillingToPerform.
const REFUSALS: [u32; 6] = [19, 32, 48, 49, 50, 53];

/// Where users are, and how they are asked for.
pub struct Place {
    /// `ldap://` or `ldaps://`, a host and a port.
    pub url: String,
    pub security: Security,
    pub base: String,
    pub scope: Scope,
    pub filter: UserFilter,
    pub group_attribute: Option<String>,
    pub tls: Arc<ClientConfig>,
    /// How long opening the connection may take.
    pub connect_time_max: Duration,
}

/// Why a directory said neither yes nor no.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("cannot be reached: {0}")]
    Unreachable(LdapError),
    #[error("does not let in the account that looks users up: {0}")]
    Account(LdapError),
    #[error("cannot be searched: {0}")]
    Search(LdapError),
    #[error("did not answer whether a password is right: {0}")]
    Bind(LdapError),
    #[error("answered what is no answer")]
    Nonsense,
}

/// The entry of a user.
struct Found {
    name: String,
    groups: Vec<Box<str>>,
}

impl Place {
    /// The groups of the user, if this is his password.
    pub async fn log_in(
        &self,
        account: Option<&Account>,
        user: &str,
        password: &str,
    ) -> Result<Option<Vec<Box<str>>>, DirectoryError> {
        // Directories take a name without a password for nobody in particular, and let that in (RFC 4513 section
        // 5.1.2).
        if password.is_empty() {
            return Ok(None);
        }
        let mut ldap = self.connect(account).await?;
        let Some(Found { name, groups }) = self.find(&mut ldap, user).await? else {
            // A refusal takes as many steps for who does not exist as for who does.
            let _ = ldap.simple_bind(&self.base, DECOY).await;
            return Ok(None);
        };
        let answer = ldap.simple_bind(&name, password).await.map_err(DirectoryError::Bind)?;
        match answer.rc {
            SUCCESS => Ok(Some(groups)),
            refusal if REFUSALS.contains(&refusal) => Ok(None),
            _ => Err(DirectoryError::Bind(answer.into())),
        }
    }

    /// The groups of a user, whoever asks.
    pub async fn look_up(
        &self,
        account: Option<&Account>,
        user: &str,
    ) -> Result<Option<Vec<Box<str>>>, DirectoryError> {
        let mut ldap = self.connect(account).await?;
        Ok(self.find(&mut ldap, user).await?.map(|found| found.groups))
    }

    /// A connection of the account that may look users up. Without one it is nobody's, as every connection is that has
    /// not bound.
    async fn connect(&self, account: Option<&Account>) -> Result<Ldap, DirectoryError> {
        let settings = LdapConnSettings::new()
            .set_conn_timeout(self.connect_time_max)
            .set_config(self.tls.clone())
            .set_starttls(self.security == Security::StartTls);
        let opened = LdapConnAsync::with_settings(settings, &self.url).await;
        let (connection, mut ldap) = opened.map_err(DirectoryError::Unreachable)?;
        // It ends with the handle, and what goes wrong with it shows there.
        tokio::spawn(async move { connection.drive().await.ok() });
        if let Some(Account { name, password }) = account {
            let bound = ldap.simple_bind(name, password).await.and_then(|result| result.success());
            bound.map_err(DirectoryError::Account)?;
        }
        Ok(ldap)
    }

    /// The one entry of this name. What is in another directory is not asked for there: a directory must not choose
    /// who sees a password.
    async fn find(&self, ldap: &mut Ldap, user: &str) -> Result<Option<Found>, DirectoryError> {
        let attribute = self.group_attribute.as_deref();
        let options = SearchOptions::new().sizelimit(ENTRIES_MAX).timelimit(SEARCH_SECONDS_MAX);
        let filter = self.filter.of(user);
        let attributes = [attribute.unwrap_or(NO_ATTRIBUTES)];
        let searched = ldap.with_search_options(options).search(&self.base, self.scope, &filter, attributes).await;
        let searched = searched.map_err(DirectoryError::Search)?;
        let entries: Vec<_> =
            searched.0.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate()).collect();
        match searched.1.rc {
            SUCCESS | SIZE_LIMIT_EXCEEDED => {}
            _ => return Err(DirectoryError::Search(searched.1.into())),
        }
        let count = entries.len();
        let mut entries = entries.into_iter();
        let (Some(entry), None) = (entries.next(), entries.next()) else {
            if count > 1 {
                tracing::warn!(user, "several entries of the directory have this name, so that none is let in");
            }
            return Ok(None);
        };
        let entry = SearchEntry::construct(entry);
        // Without a name to bind as, the bind would be nobody's.
        if entry.dn.is_empty() {
            return Err(DirectoryError::Nonsense);
        }
        let is_wanted = |name: &str| attribute.is_some_and(|attribute| name.eq_ignore_ascii_case(attribute));
        let values = entry.attrs.into_iter().filter(|(name, _)| is_wanted(name)).flat_map(|(_, values)| values);
        let groups = values.filter(|group| !group.is_empty()).take(GROUPS_MAX).map(String::into_boxed_str).collect();
        Ok(Some(Found { name: entry.dn, groups }))
    }
}
