//! What it costs to ask who may do what.
//!
//! In: policies of 10 and of 10,000 patterns, and a file of users. Out: the time of one question: in a repository
//! that was asked about before, in one that was not, and of a login that was right before. `docs/performance.md`
//! says how to read it.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use orlop_api::access::{Access, Action, Actions, Subject};
use orlop_auth::{Auth, Metrics, Options, Pattern, Policy, Rights, Rules};

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MEASUREMENT: Duration = Duration::from_millis(1500);
const WARM_UP: Duration = Duration::from_millis(500);

/// Repositories that are asked about in turn: more than are remembered, so that each is as if it were new.
const REPOSITORIES: usize = 200_000;

/// The password is `a password`.
const LINE: &str = "alice:$2a$05$CCCCCCCCCCCCCCCCCCCCC.0ZCmltPmFYn.Vq3Fu0Flw6HKr.62nye\n";

/// One pattern for each team, a few beginnings that many share, and some that begin with anything.
fn policy(patterns: usize) -> Policy {
    let rules = |user: String| {
        let rights =
            Rights { users: vec![user], groups: vec!["ops".to_owned()], actions: Actions::FULL, ..Rights::default() };
        Rules { policies: vec![rights], default: Actions::of(&[Action::Read]), ..Rules::default() }
    };
    let text = |number: usize| match number {
        0 => "**".to_owned(),
        1 => "${username}/**".to_owned(),
        _ if number % 1000 == 7 => format!("**/mirror-{number}"),
        _ if number % 10 == 3 => format!("shared/team-{number}*/**"),
        _ => format!("team-{number}/**"),
    };
    let repositories = (0..patterns).map(|number| {
        let text = text(number);
        (Pattern::new(&text).expect("a pattern"), rules(format!("user-{number}")))
    });
    Policy::new(repositories.collect(), Rights::default(), Vec::new(), Metrics::default())
}

fn questions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("access");
    let subject = Subject::user("user-5", vec!["a".into(), "b".into(), "c".into()]);
    let repositories: Vec<String> = (0..REPOSITORIES).map(|number| format!("team-{number}/app/image")).collect();
    for patterns in [10, 10_000] {
        let policy = policy(patterns);
        group.bench_function(BenchmarkId::new("asked_before", patterns), |bencher| {
            bencher.iter(|| policy.actions(black_box(&subject), black_box("team-5/app/image")));
        });
        let mut next = repositories.iter().cycle();
        group.bench_function(BenchmarkId::new("new", patterns), |bencher| {
            bencher.iter(|| policy.actions(black_box(&subject), next.next().expect("it never ends")));
        });
    }
    group.finish();
}

fn logins(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("htpasswd");
    std::fs::write(&path, LINE).expect("written");
    let auth = Auth::open(Options { htpasswd: Some(path), ..Options::default() }).expect("usable");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let request = http::Request::get("/v2/").header("authorization", "Basic YWxpY2U6YSBwYXNzd29yZA==");
    let head = request.body(()).expect("a request").into_parts().0;
    let mut group = criterion.benchmark_group("access");
    group.bench_function("login_known", |bencher| {
        bencher.iter(|| runtime.block_on(auth.identify(&head)).expect("the password is right"));
    });
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default().without_plots().sample_size(10).measurement_time(MEASUREMENT).warm_up_time(WARM_UP)
}

criterion_group! {
    name = access;
    config = settings();
    targets = questions, logins
}
criterion_main!(access);
