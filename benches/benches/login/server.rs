//! The server of this bench: a registry that everybody may read and one user may push to.

use std::{io::Read, path::Path, sync::Arc};

use orlop_api::{
    Policy as ApiPolicy, Registry,
    access::{Action, Actions},
    limits::Limits,
};
use orlop_auth::{Auth, Metrics, Options, Pattern, Policy, Rights, Rules};
use orlop_engine::Engine;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The password is `a password`.
const LINE: &str = "alice:$2a$05$CCCCCCCCCCCCCCCCCCCCC.0ZCmltPmFYn.Vq3Fu0Flw6HKr.62nye\n";

/// Serves a new store in `directory` until standard input ends, and says where on standard output.
pub fn serve(directory: &Path, repeats: bool) {
    let htpasswd = directory.join("htpasswd");
    std::fs::write(&htpasswd, LINE).expect("written");
    let read = Actions::of(&[Action::Read]);
    let everything = Rules { default: read, anonymous: read, ..Rules::default() };
    let admin = Rights { users: vec!["alice".to_owned()], actions: Actions::FULL, ..Rights::default() };
    let pattern = Pattern::new("**").expect("a pattern");
    let policy = Policy::new(vec![(pattern, everything)], admin, Vec::new(), Metrics::default());
    let options = Options { htpasswd: Some(htpasswd), policy: Some(policy), ..Options::default() };
    let auth = Arc::new(Auth::open(options).expect("usable"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        let engine = Engine::open(&directory.join("root"), orlop_engine::Options::default()).await.expect("opened");
        let registry = Registry::new(engine.clone(), Limits::default(), ApiPolicy::default());
        let registry = registry.with_repeats(repeats).with_access(auth);
        let server = registry.bind(([127, 0, 0, 1], 0).into(), None).expect("bound");
        println!("{}", server.local_addr().expect("bound"));
        let ended = tokio::task::spawn_blocking(|| {
            let mut rest = Vec::new();
            let _ = std::io::stdin().read_to_end(&mut rest);
        });
        server.run(async { drop(ended.await) }).await.expect("served");
        engine.close().await.expect("closed");
    });
}
