//! Who may do what in a registry.
//!
//! ```text
//!   head of a request
//!     v credentials  what it brings: nothing, a name with a password, a token
//!     v htpasswd     users of a file   users  its lines   hash  their passwords   logins  those that were right
//!     v ldap         users of a directory
//!     v keys         what users have made for their programs
//!     v certificates users who show one
//!     v bearer       tokens that others have issued
//!     v exchange     one for the other at the token endpoint   form  how they are brought there
//!     v tokens       what stands for a password for a while
//!     v lasting      what was right and needs no second look
//!     v throttle     failed logins: whoever fails again and again waits
//!     v evidence     what a credential says beside the name: how far it goes, and what it claims
//!     v browser      sessions of browsers   sessions  sealed cookies   openid  logins at providers
//!     v challenge    what a client is told that has to say who it is
//!     v condition    what has to hold for a policy to count   expression  how that is said
//!     v policy       what users may do in which repositories, compiled for looking up   pattern  their names
//! ```
//!
//! In: [`Options`], which the configuration is read into. Out: [`Auth`], which the API asks about every request.
//! The meaning of users, groups, patterns and actions is zot's; further ways to show who one is belong into
//! [`Auth::identify`](orlop_api::access::Access::identify) and know nothing of policies.

#![forbid(unsafe_code)]

mod auth;
mod base64url;
#[cfg(feature = "bearer")]
pub mod bearer;
mod browser;
mod certificates;
mod challenge;
#[cfg(feature = "conditions")]
mod condition;
mod cookie;
mod credentials;
mod evidence;
mod exchange;
#[cfg(feature = "conditions")]
pub mod expression;
mod form;
mod hash;
mod htpasswd;
mod keys;
mod lasting;
#[cfg(feature = "ldap")]
pub mod ldap;
mod logins;
#[cfg(feature = "openid")]
mod openid;
#[cfg(feature = "outbound")]
mod outbound;
mod pattern;
mod policy;
#[cfg(any(feature = "outbound", feature = "ldap"))]
mod roots;
mod seal;
mod sessions;
mod spent;
mod throttle;
mod tokens;
mod users;

pub use auth::{Auth, Options};
pub use certificates::{Attribute, CertificateRules};
pub use challenge::{Origin, OriginError};
#[cfg(feature = "conditions")]
pub use condition::{Condition, REQUEST};
pub use credentials::{Credentials, Malformed};
pub use evidence::{Evidence, Extent, Reach, Scopes, Source};
#[cfg(feature = "conditions")]
pub use expression::{Expression, ExpressionError};
pub use htpasswd::HtpasswdError;
pub use keys::{KEYS_MAX, KEYS_OF_USER_MAX, Key, Keys, KeysError};
#[cfg(feature = "openid")]
pub use openid::{Claims, Kind as ProviderKind, ProviderError, ProviderOptions, Providers};
#[cfg(feature = "outbound")]
pub use outbound::{Outbound, OutboundError};
pub use pattern::{Pattern, PatternError};
pub use policy::{Metrics, Policy, Repositories, Rights, Rules};
pub use seal::{Sealer, WeakSecret};
pub use sessions::Sessions;
pub use throttle::FAILURES_DEFAULT;
pub use users::{UserError, Users};
