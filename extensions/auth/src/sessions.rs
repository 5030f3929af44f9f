//! Sessions of browsers: who has logged in, sealed into a cookie that the browser keeps.
//!
//! ```text
//!   login                 -> a new id, sealed with user, provider and groups   cookie `session`, hidden from scripts
//!   cookie of a request   -> opened, in its time, not ended                    otherwise nobody
//!   logout                -> the id is spent                                   at once, for every copy of the cookie
//! ```
//!
//! What is kept here is bounded: ids that were ended early, and the groups that users had when they last logged in. A
//! session has these groups, not those of its own beginning, so that a right that somebody lost is lost in every
//! browser when he next logs in with one. With a key of this process sessions end with it; with a key of the operator
//! they go on, except those with so many groups that no cookie takes them. Which sessions were ended is forgotten with
//! the process.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue, header::SET_COOKIE};
use quick_cache::{Weighter, sync::Cache};
use serde::{Deserialize, Serialize};

use crate::{
    cookie::{self, Cookie, Site},
    evidence::Source,
    logins::fill_random,
    seal::Sealer,
    spent::{ID_BYTES, Id, Span, Spent},
};

/// The cookie that shows who somebody is; the names of both are zot's.
const SESSION: &str = "session";

/// The cookie with the name of the user, for the page to show.
const USER: &str = "user";

/// How long a session lasts, as in zot.
const LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);

/// The longest value of the cookie in bytes: with its name and attributes a browser takes 4096.
const COOKIE_BYTES_MAX: usize = 3800;

/// Users whose groups are expected to be known; more make the table grow.
const USERS_EXPECTED: usize = 1024;

/// Bytes of groups that are known. Users who have not logged in for long are forgotten beyond that.
const GROUPS_BYTES_MAX: u64 = 32 << 20;

/// Bytes that an entry of the table takes beside its texts.
const ENTRY_BYTES: usize = 128;

/// What a sealed text is for.
const PURPOSE: &str = "session";

/// Who logged in, and how.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    pub user: &'a str,
    pub groups: &'a [Box<str>],
    /// The provider that says so; empty for a password.
    pub provider: &'a str,
    /// What stands for the password, where it is known: the session ends with it.
    pub password: Option<&'a str>,
}

/// Sessions, those of this process and of others with the same key.
pub struct Sessions {
    sealer: Sealer,
    ended: Spent,
    /// Logins that came back. Anybody can make these, so that they must not crowd out the others.
    #[cfg(feature = "openid")]
    completed: Spent,
    groups: Cache<String, Arc<Groups>, Bytes>,
}

/// The groups of a user when he last logged in.
struct Groups {
    since: u64,
    names: Vec<Box<str>>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<String, Arc<Groups>> for Bytes {
    fn weight(&self, key: &String, groups: &Arc<Groups>) -> u64 {
        let names = groups.names.iter().map(|name| name.len() + size_of::<Box<str>>()).sum::<usize>();
        (ENTRY_BYTES + key.len() + names) as u64
    }
}

/// A session that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub user: String,
    pub groups: Vec<Box<str>>,
    pub provider: String,
    /// As [`Login::password`], hashed.
    password: Option<String>,
    id: Id,
    span: Span,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Record {
    id: Id,
    begins: u64,
    user: String,
    provider: String,
    /// `None`: too many for a cookie.
    groups: Option<Vec<Box<str>>>,
    password: Option<String>,
}

impl Session {
    /// Who knows the user, if not the file of users.
    pub fn source(&self) -> Option<Source> {
        match (self.provider.is_empty(), &self.password) {
            (false, _) => Some(Source::Elsewhere),
            (true, None) => Some(Source::Directory),
            (true, Some(_)) => None,
        }
    }

    /// Whether the password that the session began with is still the one. `current` is what stands for it now.
    pub fn has_password(&self, current: Option<&str>) -> bool {
        self.password.is_none() || self.password == current.map(hashed)
    }
}

impl Sessions {
    /// With a key of this process.
    pub fn fleeting() -> Self {
        Sessions::with(Sealer::random())
    }

    pub fn with(sealer: Sealer) -> Self {
        let groups = Cache::with_weighter(USERS_EXPECTED, GROUPS_BYTES_MAX, Bytes);
        Sessions {
            sealer,
            ended: Spent::new(),
            #[cfg(feature = "openid")]
            completed: Spent::new(),
            groups,
        }
    }

    /// Whether the sessions of either are good for the other.
    pub fn has_key_of(&self, other: &Sessions) -> bool {
        self.sealer.open(PURPOSE, &other.sealer.seal(PURPOSE, &[])).is_some()
    }

    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Where logins are written down that came back.
    #[cfg(feature = "openid")]
    pub fn completed(&self) -> &Spent {
        &self.completed
    }

    /// The session that a request brings, if it has one that goes on.
    pub fn read(&self, headers: &HeaderMap) -> Option<Session> {
        self.read_at(headers, now())
    }

    fn read_at(&self, headers: &HeaderMap, now: u64) -> Option<Session> {
        let content = self.sealer.open(PURPOSE, cookie::read(headers, SESSION)?)?;
        let Record { id, begins, user, provider, groups, password } = serde_json::from_slice(&content).ok()?;
        let span = span(begins);
        if now >= span.ends || self.ended.is_spent(&id, span) {
            return None;
        }
        let known = self.groups.get(&key(&provider, &user));
        let groups = match known.filter(|known| known.since >= begins) {
            Some(known) => known.names.clone(),
            None => groups?,
        };
        Some(Session { user, groups, provider, password, id, span })
    }

    /// Begins a session, and ends the one that the browser had: nobody who knew that one is logged in by it.
    pub fn begin(&self, login: Login<'_>, headers: &HeaderMap, site: Site<'_>, answer: &mut HeaderMap) {
        self.begin_at(login, headers, site, answer, now());
    }

    fn begin_at(&self, login: Login<'_>, headers: &HeaderMap, site: Site<'_>, answer: &mut HeaderMap, now: u64) {
        if let Some(old) = self.read_at(headers, now) {
            self.end_at(&old, now);
        }
        let Login { user, groups, provider, password } = login;
        let known = Groups { since: now, names: groups.to_vec() };
        self.groups.insert(key(provider, user), Arc::new(known));
        let mut id = [0; ID_BYTES];
        fill_random(&mut id);
        let mut record = Record {
            id,
            begins: now,
            user: user.to_owned(),
            provider: provider.to_owned(),
            groups: Some(groups.to_vec()),
            password: password.map(hashed),
        };
        let mut sealed = self.seal(&record);
        if sealed.len() > COOKIE_BYTES_MAX {
            record.groups = None;
            sealed = self.seal(&record);
        }
        answer.append(SET_COOKIE, given(SESSION, &sealed, site));
        answer.append(SET_COOKIE, given(USER, user, site));
    }

    fn seal(&self, record: &Record) -> String {
        let content = serde_json::to_vec(record).expect("it has nothing that JSON cannot say");
        self.sealer.seal(PURPOSE, &content)
    }

    /// Ends a session at once, whoever else has a copy of its cookie.
    pub fn end(&self, session: &Session) {
        self.end_at(session, now());
    }

    fn end_at(&self, session: &Session, now: u64) {
        self.ended.spend(session.id, session.span, now);
    }
}

/// Whether a request brings the cookie of a session, good or not.
pub fn is_brought(headers: &HeaderMap) -> bool {
    cookie::has(headers, SESSION)
}

/// Makes the browser forget its session.
pub fn forget(site: Site<'_>, answer: &mut HeaderMap) {
    for name in [SESSION, USER] {
        let cookie = Cookie { lifetime: Duration::ZERO, ..kept(name, "", site) };
        answer.append(SET_COOKIE, cookie.value());
    }
}

fn given(name: &str, value: &str, site: Site<'_>) -> HeaderValue {
    kept(name, value, site).value()
}

fn kept<'a>(name: &'a str, value: &'a str, site: Site<'a>) -> Cookie<'a> {
    let (path, is_secure) = (site.path(), site.is_secure);
    Cookie { name, value, path, lifetime: LIFETIME, is_hidden: name == SESSION, is_secure }
}

fn span(begins: u64) -> Span {
    Span { begins, ends: begins.saturating_add(LIFETIME.as_millis() as u64) }
}

/// No name of a provider has a NUL.
fn key(provider: &str, user: &str) -> String {
    [provider, "\0", user].concat()
}

fn hashed(password: &str) -> String {
    blake3::hash(password.as_bytes()).to_hex().to_string()
}

/// In milliseconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    const SITE: Site<'_> = Site { base_path: "", is_secure: true };

    const SECRET: &str = "a key of the operator";
    const HOUR: u64 = 60 * 60 * 1000;

    fn persistent() -> Sessions {
        Sessions::with(Sealer::of(SECRET, "").expect("a key"))
    }

    fn login<'a>(user: &'a str, groups: &'a [Box<str>]) -> Login<'a> {
        Login { user, groups, provider: "oidc", password: None }
    }

    fn groups(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    /// What a browser sends that has got these answers.
    fn sent(answer: &HeaderMap) -> HeaderMap {
        let cookies = answer.get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().expect("ASCII"));
        let pairs: Vec<&str> = cookies.filter_map(|cookie| cookie.split(';').next()).collect();
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&pairs.join("; ")).expect("a field"))])
    }

    fn begun(sessions: &Sessions, login: Login<'_>, now: u64) -> HeaderMap {
        let mut answer = HeaderMap::new();
        sessions.begin_at(login, &HeaderMap::new(), SITE, &mut answer, now);
        sent(&answer)
    }

    #[test]
    fn a_session_lasts_two_hours() {
        let sessions = Sessions::fleeting();
        let browser = begun(&sessions, login("alice", &groups(&["a", "b"])), 10);
        let session = sessions.read_at(&browser, 2 * HOUR + 9).expect("it goes on");
        assert_eq!((session.user.as_str(), session.provider.as_str()), ("alice", "oidc"));
        assert_eq!(session.groups, groups(&["a", "b"]));
        assert_eq!(sessions.read_at(&browser, 2 * HOUR + 10), None, "it is over");
        assert_eq!(Sessions::fleeting().read_at(&browser, 11), None, "of another process");
    }

    /// GHSA-prh4-vhfh-24mj and its kind: what is shown to scripts, other sites and eavesdroppers is nothing.
    #[test]
    fn the_cookies_are_for_whom_they_are_meant() {
        let mut answer = HeaderMap::new();
        Sessions::fleeting().begin(login("alice", &[]), &HeaderMap::new(), SITE, &mut answer);
        let cookies: Vec<&str> =
            answer.get_all(SET_COOKIE).iter().map(|value| value.to_str().expect("ASCII")).collect();
        assert!(cookies[0].starts_with("session=") && !cookies[0].contains("alice"));
        assert!(cookies[0].ends_with("; Path=/; Max-Age=7200; SameSite=Lax; HttpOnly; Secure"), "{}", cookies[0]);
        assert_eq!(cookies[1], "user=alice; Path=/; Max-Age=7200; SameSite=Lax; Secure");
        let mut answer = HeaderMap::new();
        forget(Site { is_secure: false, ..SITE }, &mut answer);
        assert!(answer.get_all(SET_COOKIE).iter().all(|cookie| cookie.to_str().is_ok_and(|c| c.contains("Max-Age=0"))));
    }

    #[test]
    fn below_a_path_nobody_else_on_the_host_gets_them() {
        let mut answer = HeaderMap::new();
        let site = Site { base_path: "/registry", is_secure: true };
        Sessions::fleeting().begin(login("alice", &[]), &HeaderMap::new(), site, &mut answer);
        forget(site, &mut answer);
        let cookies = answer.get_all(SET_COOKIE).iter().map(|value| value.to_str().expect("ASCII"));
        assert_eq!(cookies.filter(|cookie| cookie.contains("; Path=/registry; ")).count(), 4);
    }

    /// Session fixation: who has planted or seen a session is not in the one that a login begins.
    #[test]
    fn a_login_begins_a_new_session_and_ends_the_old_one() {
        let sessions = Sessions::fleeting();
        let planted = begun(&sessions, login("mallory", &[]), 10);
        let mut answer = HeaderMap::new();
        sessions.begin_at(login("alice", &[]), &planted, SITE, &mut answer, 20);
        assert_eq!(sessions.read_at(&planted, 21), None);
        assert_eq!(sessions.read_at(&sent(&answer), 21).map(|session| session.user).as_deref(), Some("alice"));
    }

    #[test]
    fn an_ended_session_is_over_in_every_copy() {
        let sessions = Sessions::fleeting();
        let (one, other) = (begun(&sessions, login("alice", &[]), 10), begun(&sessions, login("alice", &[]), 10));
        sessions.end_at(&sessions.read_at(&one, 11).expect("it goes on"), 12);
        assert_eq!(sessions.read_at(&one, 13), None);
        assert!(sessions.read_at(&other, 13).is_some(), "another browser of the same user");
    }

    #[test]
    fn a_cookie_that_was_changed_is_none() {
        let sessions = Sessions::fleeting();
        let browser = begun(&sessions, login("alice", &[]), 10);
        let field = browser[COOKIE].to_str().expect("ASCII").to_owned();
        let of = |field: &str| HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(field).expect("a field"))]);
        assert!(sessions.read_at(&of(&field), 11).is_some());
        for at in "session=".len()..field.find(';').expect("two cookies") {
            let changed = if field.as_bytes()[at] == b'A' { "B" } else { "A" };
            assert_eq!(sessions.read_at(&of(&[&field[..at], changed, &field[at + 1..]].concat()), 11), None, "{at}");
        }
        let (session, _) = field.split_once(';').expect("two cookies");
        assert_eq!(sessions.read_at(&of(&format!("{session}; session=x")), 11), None, "two are none");
        assert_eq!(sessions.read_at(&of("user=alice"), 11), None);
    }

    /// Rights that somebody lost are lost in all his sessions when he logs in again.
    #[test]
    fn groups_are_those_of_the_last_login() {
        let sessions = Sessions::fleeting();
        let old = begun(&sessions, login("alice", &groups(&["g1", "g2"])), 10);
        let new = begun(&sessions, login("alice", &groups(&["g1"])), 20);
        for browser in [&old, &new] {
            assert_eq!(sessions.read_at(browser, 21).expect("it goes on").groups, groups(&["g1"]));
        }
        let elsewhere = Login { provider: "github", ..login("alice", &[]) };
        begun(&sessions, elsewhere, 30);
        assert_eq!(sessions.read_at(&new, 31).expect("it goes on").groups, groups(&["g1"]), "of another provider");
    }

    #[test]
    fn with_a_key_of_the_operator_sessions_outlive_the_process() {
        let browser = begun(&persistent(), login("alice", &groups(&["a"])), 10);
        let session = persistent().read_at(&browser, 11).expect("it goes on");
        assert_eq!((session.user.as_str(), session.groups), ("alice", groups(&["a"])));
    }

    #[test]
    fn groups_that_no_cookie_takes_are_known_while_the_process_runs() {
        let many: Vec<Box<str>> = (0..500).map(|number| format!("group-{number:03}").into()).collect();
        let sessions = persistent();
        let browser = begun(&sessions, login("alice", &many), 10);
        assert!(browser[COOKIE].len() < 4096);
        assert_eq!(sessions.read_at(&browser, 11).expect("it goes on").groups, many);
        assert_eq!(persistent().read_at(&browser, 11), None, "it has to log in again, rather than go on with less");
    }

    #[test]
    fn a_session_ends_with_the_password_it_began_with() {
        let sessions = Sessions::fleeting();
        let with_password = Login { provider: "", password: Some("hash"), ..login("alice", &[]) };
        let session = sessions.read_at(&begun(&sessions, with_password, 10), 11).expect("it goes on");
        assert!(session.has_password(Some("hash")));
        assert!(!session.has_password(Some("other")) && !session.has_password(None));
        let without = sessions.read_at(&begun(&sessions, login("alice", &[]), 10), 11).expect("it goes on");
        assert!(without.has_password(None) && without.has_password(Some("hash")));
    }
}
