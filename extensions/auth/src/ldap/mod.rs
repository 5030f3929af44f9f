//! Users whom an LDAP directory knows (RFC 4511).
//!
//! ```text
//!   name, password -> logins that were right within the last minute
//!                  -> a place among those that ask the directory at the same time
//!     v account    as whom users are looked up      v trust   whom the directory's certificate is believed
//!     v filter     how a name is looked for         v login   look up, then bind as the one entry that was found
//! ```
//!
//! A login that was right is remembered for [`LdapOptions::remembered`], so that a pull of many requests asks the
//! directory once; a wrong one never is. A directory that does not answer within [`LOGIN_TIME_MAX`] is an error of its
//! own and no refusal: clients come again after it, and do not ask people for another password.

mod account;
mod filter;
mod login;
mod trust;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use ldap3::Scope;
use orlop_api::access::{Subject, Unidentified};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

pub use self::{account::AccountError, filter::FilterError};
use self::{
    account::AccountFile,
    filter::UserFilter,
    login::{DirectoryError, Place},
};
use crate::{
    evidence::{Evidence, Source},
    logins::{Known, Logins, Waits, subject_bytes},
};

/// Connections to the directory at the same time, one for each login that it is asked about.
pub const CONNECTIONS_MAX: usize = 16;

/// How long a login may take, from waiting for a connection to the last answer.
pub const LOGIN_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a login that was right is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(60);

/// Logins that may wait for the directory; whoever comes beyond is told to come again.
const WAITING_MAX: usize = 512;

/// The longest name of a user, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// How passwords are kept from who listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte: `ldaps://`.
    Tls,
    /// TLS that is asked for on a plain connection (RFC 4511 section 4.14).
    StartTls,
    /// Not at all.
    Plain,
}

impl Security {
    /// The port that directories listen on.
    pub fn port(self) -> u16 {
        match self {
            Security::Tls => 636,
            Security::StartTls | Security::Plain => 389,
        }
    }
}

/// A directory and where in it users are.
#[derive(Debug, Clone)]
pub struct LdapOptions {
    /// A host name or an address.
    pub host: String,
    pub port: u16,
    pub security: Security,
    /// PEM file with the roots that the directory's certificate has to lead to; without one those of the system.
    pub authorities: Option<PathBuf>,
    /// Takes any certificate for the directory's.
    pub skip_verify: bool,
    /// JSON file with the name and the password of the account that looks users up; without one nobody in particular
    /// does.
    pub credentials: Option<PathBuf>,
    /// The name of the entry below which users are.
    pub base: String,
    /// Looks below the whole subtree, and not only at the entries right below `base`.
    pub subtree: bool,
    /// The attribute that has the names of users.
    pub user_attribute: String,
    /// What must hold for an entry beside its name (RFC 4515).
    pub user_filter: Option<String>,
    /// The attribute whose values are the groups of a user, as they are written there.
    pub group_attribute: Option<String>,
    /// [`REMEMBERED`], except in tests.
    pub remembered: Duration,
    /// [`LOGIN_TIME_MAX`], except in tests.
    pub login_time_max: Duration,
}

/// Why a directory cannot be used. Whether it can be reached shows with the first login.
#[derive(Debug, thiserror::Error)]
pub enum LdapError {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("the roots of its certificate cannot be used: {0}")]
    Authorities(io::Error),
}

impl LdapOptions {
    /// Checks what can be checked without opening a file.
    pub fn check(&self) -> Result<(), FilterError> {
        self.filter()?;
        self.group_attribute.as_deref().map_or(Ok(()), |name| filter::attribute(name).map(drop))
    }

    fn filter(&self) -> Result<UserFilter, FilterError> {
        UserFilter::new(&self.user_attribute, self.user_filter.as_deref())
    }

    fn url(&self) -> String {
        let scheme = if self.security == Security::Tls { "ldaps" } else { "ldap" };
        let host = match self.host.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => self.host.clone(),
        };
        format!("{scheme}://{host}:{}", self.port)
    }
}

/// Who was let in, and when.
#[derive(Clone)]
struct Login {
    since: Instant,
    subject: Subject,
}

impl Known for Login {
    fn bytes(&self) -> u64 {
        subject_bytes(&self.subject)
    }
}

/// A directory that is asked who somebody is.
pub struct Ldap {
    place: Place,
    account: Option<AccountFile>,
    logins: Logins<Login>,
    remembered: Duration,
    login_time_max: Duration,
    connections: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Ldap {
    /// Reads the files that the options name; does not connect.
    pub fn open(options: &LdapOptions) -> Result<Arc<Self>, LdapError> {
        options.check()?;
        let account = options.credentials.as_deref().map(AccountFile::open).transpose()?;
        let tls = trust::client(options.authorities.as_deref(), options.skip_verify).map_err(LdapError::Authorities)?;
        let place = Place {
            url: options.url(),
            security: options.security,
            base: options.base.clone(),
            scope: if options.subtree { Scope::Subtree } else { Scope::OneLevel },
            filter: options.filter()?,
            group_attribute: options.group_attribute.clone(),
            tls,
            connect_time_max: options.login_time_max,
        };
        Ok(Arc::new(Ldap {
            place,
            account,
            logins: Logins::new(),
            remembered: options.remembered,
            login_time_max: options.login_time_max,
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// The user with this name and this password, with his groups. Errors: `Busy`, and `Unavailable` if the
    /// directory does not say.
    pub async fn user(self: &Arc<Self>, user: &str, password: &str) -> Result<Option<Subject>, Unidentified> {
        if password.is_empty() || user.len() > NAME_BYTES_MAX {
            return Ok(None);
        }
        self.known(user, password).await
    }

    /// Whether this login was right not long ago; nobody is asked.
    pub fn has_seen(&self, user: &str, password: &str) -> bool {
        let said = if password.is_empty() { None } else { self.logins.said(user, password) };
        said.is_some_and(|login| login.since.elapsed() < self.remembered)
    }

    /// The groups of a user whom the directory knows, without his password; remembered as logins are. Errors: as for
    /// logins.
    pub async fn groups(self: &Arc<Self>, user: &str) -> Result<Option<Vec<Box<str>>>, Unidentified> {
        // No login has an empty password, so that this is taken for none.
        Ok(self.known(user, "").await?.map(|subject| subject.groups().to_vec()))
    }

    async fn known(self: &Arc<Self>, user: &str, password: &str) -> Result<Option<Subject>, Unidentified> {
        let holds = |login: &Login| login.since.elapsed() < self.remembered;
        let check = self.check(user, password);
        // Also whoever waits for an equal login has his answer in time.
        let known = timeout(self.login_time_max, self.logins.known(user, password, holds, check)).await;
        match known {
            Ok(known) => Ok(known?.map(|login| login.subject)),
            Err(_) => {
                let (url, seconds) = (&self.place.url, self.login_time_max.as_secs_f32());
                tracing::error!(url, seconds, "the directory has not answered in time");
                Err(Unidentified::Unavailable)
            }
        }
    }

    /// Asks the directory; with an empty password only whether it knows the user.
    async fn check(self: &Arc<Self>, user: &str, password: &str) -> Result<Option<Login>, Unidentified> {
        let _waits = Waits::begin(&self.waiting, WAITING_MAX)?;
        let permit = self.connections.clone().acquire_owned().await.map_err(|_| Unidentified::Busy)?;
        let (this, name, password) = (self.clone(), user.to_owned(), password.to_owned());
        // A task of its own: it ends in time whoever waits for it, and what a strange answer makes of it stays in it.
        let asked = tokio::spawn(async move {
            let _permit = permit;
            timeout(this.login_time_max, this.ask(&name, &password)).await
        });
        let answer = match asked.await {
            Ok(Ok(answer)) => answer,
            // Whoever waits has said so already.
            Ok(Err(_)) => return Err(Unidentified::Unavailable),
            Err(_) => Err(DirectoryError::Nonsense),
        };
        match answer {
            Ok(groups) => Ok(groups.map(|groups| {
                let evidence = Evidence { source: Source::Directory, ..Evidence::default() };
                Login { since: Instant::now(), subject: Subject::user(user, groups).with_evidence(Arc::new(evidence)) }
            })),
            Err(error) => {
                tracing::error!(url = self.place.url, %error, "the directory");
                Err(Unidentified::Unavailable)
            }
        }
    }

    async fn ask(self: &Arc<Self>, user: &str, password: &str) -> Result<Option<Vec<Box<str>>>, DirectoryError> {
        let this = self.clone();
        let read = spawn_blocking(move || this.account.as_ref().map(AccountFile::current)).await;
        let account = read.map_err(|_| DirectoryError::Nonsense)?;
        match password {
            "" => self.place.look_up(account.as_deref(), user).await,
            _ => self.place.log_in(account.as_deref(), user, password).await,
        }
    }
}
