//! A registry that can be exchanged for another one of the same store while it is served.
//!
//! In: a registry with other limits, policy, front or access. What has become true after the exchange: every request whose
//! head comes from then on is decided and answered by the new one alone. Requests under way go on by the rules under
//! which they were admitted, to their end; none of their answers is kept for others.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Request, Response};

use crate::{
    body::ResponseBody,
    front::Front,
    limits::{LimitError, Limits},
    registry::Registry,
    server::{Handler, Live, RequestBody},
};

/// What a server asks. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Current {
    registry: Arc<ArcSwap<Registry>>,
    live: Arc<Live>,
}

impl Current {
    /// Errors: a limit out of its range.
    pub(crate) fn new(registry: Registry) -> Result<Self, LimitError> {
        let live = Live::new(Limits::clone(&registry.limits))?;
        Ok(Current { registry: Arc::new(ArcSwap::from_pointee(registry)), live })
    }

    /// The registry that answers now.
    pub fn registry(&self) -> Arc<Registry> {
        self.registry.load_full()
    }

    /// Lets `next` answer from now on; make it with [`Registry::renewed`]. The limits of a connection are those of
    /// its begin, but for `connections_max`, which counts at once. Errors: a limit out of its range; then nothing changes.
    pub fn exchange(&self, next: Registry) -> Result<(), LimitError> {
        self.live.set_limits(Limits::clone(&next.limits))?;
        self.registry.store(Arc::new(next));
        // After it: an answer counts as made by the new rules only if its request began when they were in force.
        self.live.advance();
        Ok(())
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

/// The registry that answers one request.
pub struct InForce(Arc<Registry>);

impl AsRef<Front> for InForce {
    fn as_ref(&self) -> &Front {
        self.0.front()
    }
}

impl Handler for Current {
    type Body = ResponseBody;
    type Rules = InForce;

    fn rules(&self) -> InForce {
        InForce(self.registry())
    }

    async fn handle(&self, InForce(registry): InForce, request: Request<RequestBody>) -> Response<ResponseBody> {
        registry.answer(request).await
    }
}
