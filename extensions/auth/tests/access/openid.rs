//! Logins at a provider of OpenID Connect: one that can be told to lie, and one that other people have written.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use http::{Request, header::COOKIE};
use orlop_api::{
    access::{Access, Action, Actions},
    front::{BasePath, Front},
};
use orlop_auth::{
    Auth, Claims, Metrics, Options, Origin, Outbound, Pattern, Policy, ProviderKind, ProviderOptions, Providers,
    Rights, Rules,
};
use serde_json::{Value, json};

use crate::{
    browser::{Browser, parameter, place},
    provider::{CLIENT, Lie, Provider, SECRET, percent_decoded},
    rig::{Answer, Rig},
};

/// Where pages of another origin are served that browsers may be sent to.
const PAGES: &str = "https://ui.example.org";

pub fn provider(name: &str, kind: ProviderKind) -> ProviderOptions {
    ProviderOptions {
        name: name.to_owned(),
        label: "Our login".to_owned(),
        client_id: CLIENT.to_owned(),
        client_secret: Some(SECRET.to_owned()),
        scopes: vec!["email".to_owned(), "groups".to_owned()],
        kind,
    }
}

fn oidc(name: &str, issuer: &str, claims: Claims) -> ProviderOptions {
    provider(name, ProviderKind::OpenId { issuer: issuer.to_owned(), claims })
}

/// alice@example.org reads team-a; the group dev owns it.
pub fn policy() -> Policy {
    let rights = |users: &[&str], groups: &[&str], actions| Rights {
        users: users.iter().map(|user| (*user).to_owned()).collect(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        actions,
        ..Rights::default()
    };
    let read = Actions::of(&[Action::Read]);
    let team = Rules {
        policies: vec![rights(&["alice@example.org"], &[], read), rights(&[], &["dev", "acme/dev"], Actions::FULL)],
        ..Rules::default()
    };
    let pattern = Pattern::new("team-a/**").expect("a pattern");
    Policy::new(vec![(pattern, team)], Rights::default(), Vec::new(), Metrics::default())
}

pub async fn rig(providers: Vec<ProviderOptions>, external_url: Option<&str>) -> Rig {
    let outbound = Outbound::new(None).expect("a client");
    let providers = Providers::open(providers, &[PAGES.to_owned()], outbound).expect("usable");
    let external_url = external_url.map(|text| Origin::new(text).expect("an origin"));
    Rig::of(Options { policy: Some(policy()), providers: Some(providers), external_url, ..Options::default() }, None)
        .await
}

fn alice() -> Value {
    json!({ "sub": "1", "email": "alice@example.org" })
}

/// A whole login, from the page that offers it to the answer that comes back with it.
async fn log_in(rig: &Rig, browser: &mut Browser, provider: &Provider, claims: Value) -> Answer {
    let answer = browser.send(rig, "GET", "/zot/auth/login?provider=oidc&callback_ui=/home", "").await.expect(302);
    let query = provider.log_in(place(&answer), claims);
    browser.send(rig, "GET", &format!("/zot/auth/callback/oidc?{query}"), "").await
}

/// What somebody may do: nothing, read, or everything.
async fn level(rig: &Rig, browser: &mut Browser) -> u16 {
    match browser.ask(rig, "GET", "/v2/team-a/none/tags/list").await.status.as_u16() {
        404 => browser.ask(rig, "POST", "/v2/team-a/none/blobs/uploads/").await.status.as_u16(),
        status => status,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_begins_a_session_with_name_and_groups() {
    let provider = Provider::start().await;
    let claims = Claims { groups: "token_groups".to_owned(), ..Claims::default() };
    let rig = rig(vec![oidc("oidc", &provider.address, claims)], None).await;
    let mut browser = Browser::new();
    let answer = browser.send(&rig, "GET", "/zot/auth/login?provider=oidc&callback_ui=/home", "").await.expect(302);
    let address = place(&answer);
    assert!(address.starts_with(&format!("{}/authorize?", provider.address)), "{address}");
    assert_eq!(parameter(address, "scope"), Some("openid+email+groups"));
    let redirect = percent_decoded(parameter(address, "redirect_uri").expect("an address"));
    assert_eq!(redirect, "http://a/zot/auth/callback/oidc");
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.ends_with("; Path=/zot/auth/callback; Max-Age=600; SameSite=Lax; HttpOnly"), "{cookie}");
    let claims = json!({ "sub": "1", "email": "alice@example.org", "token_groups": "dev" });
    let query = provider.log_in(address, claims);
    let answer = browser.send(&rig, "GET", &format!("/zot/auth/callback/oidc?{query}"), "").await.expect(302);
    assert_eq!(place(&answer), "/home");
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["session", "user"], "what was under way is over");
    assert_eq!(browser.cookies["user"], "alice@example.org");
    assert_eq!(level(&rig, &mut browser).await, 202, "the group of the signed token counts");
    let answer = browser.ask(&rig, "POST", "/zot/auth/logout").await.expect(200);
    let end: Value = serde_json::from_str(&answer.body).expect("JSON");
    let end = end["endSessionUrl"].as_str().expect("an address");
    assert!(end.starts_with(&format!("{}/end?", provider.address)), "{end}");
    assert_eq!(parameter(end, "client_id"), Some(CLIENT));
    assert_eq!(parameter(end, "post_logout_redirect_uri").map(percent_decoded).as_deref(), Some("http://a/login"));
    assert_eq!(level(&rig, &mut browser).await, 401);
    rig.stop().await;
}

/// Below a path of a larger site: the provider sends browsers back to where the registry is, and nobody else on the
/// host gets its cookies.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_below_a_path_stays_below_it() {
    let provider = Provider::start().await;
    for external in [None, Some("https://site.example.org")] {
        let outbound = Outbound::new(None).expect("a client");
        let providers = vec![oidc("oidc", &provider.address, Claims::default())];
        let options = Options {
            policy: Some(policy()),
            providers: Some(Providers::open(providers, &[], outbound).expect("usable")),
            external_url: external.map(|text| Origin::new(text).expect("an origin")),
            base_path: "/site/registry".to_owned(),
            ..Options::default()
        };
        let base_path = BasePath::new(&options.base_path).expect("a path");
        let rig = Rig::serve(options, Front { base_path, ..Front::default() }, Default::default()).await;
        let mut browser = Browser::new();
        let login = "/site/registry/zot/auth/login?provider=oidc&callback_ui=https://elsewhere.example";
        let answer = browser.send(&rig, "GET", login, "").await.expect(302);
        let redirect = percent_decoded(parameter(place(&answer), "redirect_uri").expect("an address"));
        let home = format!("{}/site/registry", external.unwrap_or("http://a"));
        assert_eq!(redirect, format!("{home}/zot/auth/callback/oidc"));
        let cookie = answer.header("set-cookie").expect("a cookie");
        assert!(cookie.contains("; Path=/site/registry/zot/auth/callback; Max-Age=600; "), "{cookie}");
        let query = provider.log_in(place(&answer), alice());
        browser.send(&rig, "GET", &format!("/zot/auth/callback/oidc?{query}"), "").await.expect(404);
        let back = format!("/site/registry/zot/auth/callback/oidc?{query}");
        let answer = browser.send(&rig, "GET", &back, "").await.expect(302);
        assert_eq!(place(&answer), "/site/registry/", "home, for what is no page of ours");
        let cookies: Vec<_> = answer.headers("set-cookie").collect();
        for (cookie, path) in cookies.iter().zip(["", "", "/zot/auth/callback"]) {
            assert!(cookie.contains(&format!("; Path=/site/registry{path}; ")), "{cookies:?}");
        }
        assert_eq!(cookies.len(), 3, "{cookies:?}");
        let tags = "/site/registry/v2/team-a/none/tags/list";
        browser.ask(&rig, "GET", tags).await.expect(404);
        let answer = browser.ask(&rig, "POST", "/site/registry/zot/auth/logout").await.expect(200);
        let end: Value = serde_json::from_str(&answer.body).expect("JSON");
        let back = parameter(end["endSessionUrl"].as_str().expect("an address"), "post_logout_redirect_uri");
        assert_eq!(back.map(percent_decoded), Some(format!("{home}/login")));
        assert!(browser.cookies.is_empty(), "{browser:?}");
        browser.ask(&rig, "GET", tags).await.expect(401);
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_page_to_go_on_to_the_answer_says_that_it_is_done() {
    let provider = Provider::start().await;
    let rig = rig(vec![oidc("oidc", &provider.address, Claims::default())], Some("https://registry.example.org")).await;
    let mut browser = Browser::new();
    let answer = browser.send(&rig, "GET", "/zot/auth/login?provider=oidc", "").await.expect(302);
    let redirect = percent_decoded(parameter(place(&answer), "redirect_uri").expect("an address"));
    assert_eq!(redirect, "https://registry.example.org/zot/auth/callback/oidc");
    let query = provider.log_in(place(&answer), alice());
    let answer = browser.send(&rig, "GET", &format!("/zot/auth/callback/oidc?{query}"), "").await.expect(201);
    assert_eq!(answer.header("location"), None);
    assert!(answer.headers("set-cookie").all(|cookie| cookie.ends_with("; Secure")), "{answer:?}");
    assert_eq!(level(&rig, &mut browser).await, 403, "alice may read, and no more");
    rig.stop().await;
}

/// A provider that is taken out of the configuration lets nobody in any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_provider() {
    let provider = Provider::start().await;
    let rig = rig(vec![oidc("oidc", &provider.address, Claims::default())], None).await;
    let mut browser = Browser::new();
    log_in(&rig, &mut browser, &provider, alice()).await.expect(302);
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = Request::get("/v2/").header(COOKIE, cookies.join("; ")).header("x-zot-api-client", "zot-ui");
    let head = request.body(()).expect("a request").into_parts().0;
    let with = |name: &str| {
        let outbound = Outbound::new(None).expect("a client");
        let known = vec![oidc(name, &provider.address, Claims::default())];
        let providers = Some(Providers::open(known, &[], outbound).expect("usable"));
        rig.auth.renewed(Options { providers, ..Options::default() }).expect("usable")
    };
    let user = async |auth: &Auth| auth.identify(&head).await.expect("no error").name().map(str::to_owned);
    assert_eq!(user(&with("oidc")).await.as_deref(), Some("alice@example.org"));
    assert_eq!(user(&with("other")).await, None);
    rig.stop().await;
}

/// S-66, CVE-2024-22244: somebody is sent to a page that looks like ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_ends_on_a_page_of_ours() {
    let provider = Provider::start().await;
    let rig = rig(vec![oidc("oidc", &provider.address, Claims::default())], None).await;
    for (wanted, expected) in [
        ("/home", "/home"),
        ("https%3A%2F%2Fui.example.org%2Fhome", "https://ui.example.org/home"),
        ("https%3A%2F%2Fevil", "/"),
        ("https://evil", "/"),
        ("//evil", "/"),
        ("/%5C%5Cevil", "/"),
        ("javascript:alert(1)", "/"),
        ("/%09/evil", "/"),
        ("/home%0d%0aSet-Cookie:%20a=b", "/"),
        ("https://ui.example.org@evil/", "/"),
        ("https://ui.example.org.evil/", "/"),
    ] {
        let mut browser = Browser::new();
        let target = format!("/zot/auth/login?provider=oidc&callback_ui={wanted}");
        let answer = browser.send(&rig, "GET", &target, "").await.expect(302);
        let query = provider.log_in(place(&answer), alice());
        let answer = browser.send(&rig, "GET", &format!("/zot/auth/callback/oidc?{query}"), "").await.expect(302);
        assert_eq!(place(&answer), expected, "{wanted}");
    }
    rig.stop().await;
}

/// S-128: what comes back belongs to the login that this browser has begun, and counts once.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_once_for_the_browser_and_provider_it_is_for() {
    let (one, other) = (Provider::start().await, Provider::start().await);
    let claims = Claims::default;
    let rig = rig(vec![oidc("oidc", &one.address, claims()), oidc("other", &other.address, claims())], None).await;
    let begin = async |browser: &mut Browser, name: &str| {
        let answer = browser.send(&rig, "GET", &format!("/zot/auth/login?provider={name}"), "").await.expect(302);
        place(&answer).to_owned()
    };
    let back = async |browser: &mut Browser, name: &str, query: &str| {
        let answer = browser.send(&rig, "GET", &format!("/zot/auth/callback/{name}?{query}"), "").await;
        assert!(!answer.body.contains(SECRET) && !answer.body.contains("code-"), "{answer:?}");
        answer
    };
    // Without the cookie: somebody else's login is planted here (RFC 6749 section 10.12).
    let mut mallory = Browser::new();
    let address = begin(&mut mallory, "oidc").await;
    let query = one.log_in(&address, alice());
    back(&mut Browser::new(), "oidc", &query).await.expect(401);
    // With the cookie of another login.
    let mut victim = Browser::new();
    begin(&mut victim, "oidc").await;
    back(&mut victim, "oidc", &query).await.expect(401);
    assert_eq!(one.asked("/token"), 0, "no code was taken anywhere");
    // Another state, none, or two.
    for change in ["state=x", "", "state=x&state=y"] {
        let mut browser = Browser::new();
        let address = begin(&mut browser, "oidc").await;
        let query = one.log_in(&address, alice());
        let code = query.split('&').next().expect("a code");
        back(&mut browser, "oidc", &format!("{code}&{change}")).await.expect(401);
    }
    // Mix-up: what one provider gave is brought back as if the other had (RFC 9700 section 4.4).
    let mut browser = Browser::new();
    let address = begin(&mut browser, "oidc").await;
    let query = one.log_in(&address, alice());
    back(&mut browser, "other", &query).await.expect(401);
    let mut browser = Browser::new();
    let address = begin(&mut browser, "oidc").await;
    let query = one.log_in(&address, alice());
    back(&mut browser, "oidc", &format!("{query}&iss=http%3A%2F%2Fevil.example")).await.expect(401);
    assert_eq!((one.asked("/token"), other.asked("/token")), (0, 0), "no code was taken anywhere");
    // Replay: the same answer with the same cookie.
    let mut browser = Browser::new();
    let address = begin(&mut browser, "oidc").await;
    let query = one.log_in(&address, alice());
    let mut copy = browser.clone();
    back(&mut browser, "oidc", &query).await.expect(201);
    back(&mut copy, "oidc", &query).await.expect(401);
    assert_eq!(one.asked("/token"), 1, "the code was taken once");
    // Another code for a login that is complete, and no code at all.
    let mut browser = Browser::new();
    let address = begin(&mut browser, "oidc").await;
    let query = one.log_in(&address, alice());
    let state = query.split('&').nth(1).expect("a state");
    back(&mut browser.clone(), "oidc", &format!("{state}&error=access_denied")).await.expect(401);
    back(&mut browser, "oidc", &query).await.expect(401);
    rig.stop().await;
}

/// S-58: rights that somebody lost at the provider are lost here, in every browser, when he logs in again.
#[tokio::test(flavor = "multi_thread")]
async fn groups_that_are_gone_give_no_rights() {
    let provider = Provider::start().await;
    let rig = rig(vec![oidc("oidc", &provider.address, Claims::default())], None).await;
    let with = |groups: Value| json!({ "sub": "1", "email": "alice@example.org", "groups": groups });
    let (mut first, mut second) = (Browser::new(), Browser::new());
    log_in(&rig, &mut first, &provider, with(json!(["dev", "other"]))).await.expect(302);
    assert_eq!(level(&rig, &mut first).await, 202);
    log_in(&rig, &mut second, &provider, with(json!(["other"]))).await.expect(302);
    for browser in [&mut second, &mut first] {
        assert_eq!(level(&rig, browser).await, 403, "alice may read, and no more");
    }
    rig.stop().await;
}

/// S-59 and S-128: what is not signed by the provider, for us and for this login, is worth nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_says_is_checked() {
    let provider = Provider::start().await;
    let rig = rig(vec![oidc("oidc", &provider.address, Claims::default())], None).await;
    for lie in [
        Lie::Audience,
        Lie::Issuer,
        Lie::Nonce,
        Lie::NoNonce,
        Lie::Expired,
        Lie::Unsigned,
        Lie::Hmac,
        Lie::Key,
        Lie::NoToken,
        Lie::OtherUser,
    ] {
        provider.lie(lie);
        let mut browser = Browser::new();
        let answer = log_in(&rig, &mut browser, &provider, alice()).await;
        assert_eq!(answer.status.as_u16(), 401, "{lie:?}: {answer:?}");
        assert!(browser.cookies.is_empty(), "{lie:?}: {browser:?}");
    }
    provider.lie(Lie::None);
    for claims in [
        json!({ "sub": "1" }),
        json!({ "sub": "1", "email": "alice@example.org", "email_verified": false }),
        json!({ "sub": "1", "email": "alice\n@example.org" }),
    ] {
        let answer = log_in(&rig, &mut Browser::new(), &provider, claims.clone()).await;
        assert_eq!(answer.status.as_u16(), 401, "{claims}");
    }
    log_in(&rig, &mut Browser::new(), &provider, alice()).await.expect(302);
    rig.stop().await;
}

/// A provider that is down keeps nobody from anything but itself. zot does not start without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_asked_again_later() {
    let provider = Provider::start().await;
    provider.lie(Lie::Redirect);
    let rig = rig(vec![oidc("oidc", &provider.address, Claims::default())], None).await;
    rig.as_user("alice", "GET", "/v2/", "").await.expect(200);
    assert_eq!(provider.asked("/.well-known/openid-configuration"), 0, "nobody has wanted to log in there");
    let mut browser = Browser::new();
    browser.send(&rig, "GET", "/zot/auth/login?provider=oidc", "").await.expect(502);
    assert_eq!(provider.asked("/elsewhere"), 0, "S-128: who is asked does not choose who is asked next");
    provider.lie(Lie::None);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while browser.send(&rig, "GET", "/zot/auth/login?provider=oidc", "").await.status != 302 {
        assert!(std::time::Instant::now() < deadline, "it is not asked again");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(provider.asked("/.well-known/openid-configuration"), 2, "and left alone in between");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_that_there_are_can_be_chosen_and_no_others() {
    let provider = Provider::start().await;
    let rig = rig(vec![oidc("oidc", &provider.address, Claims::default())], None).await;
    for target in ["/zot/auth/login", "/zot/auth/login?provider=github", "/zot/auth/login?provider=oidc&provider=oidc"]
    {
        let answer = rig.send("GET", target, "", "").await.expect(400);
        assert!(answer.body.contains("one of oidc"), "{answer:?}");
    }
    rig.send("GET", "/zot/auth/callback/github?code=a&state=b", "", "").await.expect(401);
    let answer = rig.send("GET", "/v2/_zot/ext/mgmt", "", "").await.expect(200);
    let document: Value = serde_json::from_str(&answer.body).expect("JSON");
    let expected = json!({ "htpasswd": {}, "openid": { "providers": { "oidc": { "name": "Our login" } } } });
    assert_eq!(document["http"]["auth"], expected);
    assert!(!answer.body.contains(SECRET) && !answer.body.contains(&provider.address), "{answer:?}");
    rig.stop().await;
}

/// A provider that other people have written, if scripts/setup has fetched it.
struct Mock {
    process: Child,
    address: String,
}

impl Mock {
    fn start(user: &Value) -> Self {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let base =
            || std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).map(|base| base.join("orlop"));
        let cache = std::env::var_os("ORLOP_CACHE").map(PathBuf::from).or_else(base).expect("HOME is set");
        let packages = cache.join("oidc-provider");
        assert!(packages.exists(), "{} is not there: run scripts/setup test", packages.display());
        let mut process = Command::new("python3")
            .args(["-W", "ignore", "-m", "oidc_provider_mock", "--port", "0", "--require-nonce", "true"])
            .arg("--user-claims")
            .arg(user.to_string())
            .env("PYTHONPATH", &packages)
            .env("AUTHLIB_INSECURE_TRANSPORT", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let mut said = lines.map_while(Result::ok);
        let address = said.by_ref().find_map(|line| {
            let (_, rest) = line.split_once("running on ")?;
            Some(rest.split(' ').next()?.to_owned())
        });
        // Nobody must make it wait for a reader.
        std::thread::spawn(move || said.for_each(drop));
        Mock { process, address: address.expect("it says where it is") }
    }

    /// Logs somebody in at the address that a browser was sent to; gives where the browser is sent back to.
    async fn log_in(&self, address: &str, user: &str) -> String {
        let body = format!("sub={user}");
        let request = http::Request::post(address).header("content-type", "application/x-www-form-urlencoded");
        let request = request.body(body.into()).expect("a request");
        let answer = Outbound::new(None).expect("a client").send(request).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 302, "{answer:?}");
        answer.headers()["location"].to_str().expect("an address").to_owned()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_of_somebody_else_is_understood() {
    let user = json!({ "sub": "alice", "email": "alice@example.org", "preferred_username": "al", "groups": ["dev"] });
    let mock = Mock::start(&user);
    let claims = Claims { username: "email".to_owned(), ..Claims::default() };
    let rig = rig(
        vec![ProviderOptions { scopes: vec!["openid".into(), "email".into()], ..oidc("oidc", &mock.address, claims) }],
        None,
    );
    let rig = rig.await;
    let mut browser = Browser::new();
    let answer = browser.send(&rig, "GET", "/zot/auth/login?provider=oidc&callback_ui=/home", "").await.expect(302);
    let back = mock.log_in(place(&answer), "alice").await;
    let target = back.strip_prefix("http://a").expect("our address");
    let mut copy = browser.clone();
    let answer = browser.send(&rig, "GET", target, "").await.expect(302);
    assert_eq!(place(&answer), "/home");
    assert_eq!(browser.cookies["user"], "alice@example.org");
    assert_eq!(level(&rig, &mut browser).await, 202, "dev owns team-a");
    copy.send(&rig, "GET", target, "").await.expect(401);
    let answer = browser.ask(&rig, "POST", "/zot/auth/logout").await.expect(200);
    assert!(answer.body.contains("/oauth2/end_session?"), "{answer:?}");
    rig.stop().await;
}
