//! A connection of HTTP/1.1 between the requests that need hyper.
//!
//! In: the stream at the boundary of a request, and the answers that may be given again. Out: such answers, each
//! with one write of head and body; at the first request that is anything else, [`End::HandOver`], and a stream
//! that still begins with every byte of it. Nothing is parsed twice in two ways: what is not surely plain is
//! not touched here, and what was answered here ended where any parser puts its end.

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::Method;
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Handler,
    answers::{Answers, Holds, Repeated},
    date,
    live::Generation,
    observation::Observation,
    plain::{self, Begin, PLAIN_HEAD_BYTES_MAX, begin},
    preface::{Rewound, Stream},
    response_body::{Delivery, ResponseBody},
    service::Service,
    supervisor::Graceful,
    trace::Traced,
};
use crate::{
    front::{Seen, Unreadable},
    limits::size,
    metrics::MethodClass,
};

/// Pieces of a body that are written at once.
const PIECES_MAX: usize = 8;

/// Bytes of a body that are gathered before a write: as much as a socket towards the same machine takes, and
/// more than one towards another mostly has room for.
const GATHERED_BYTES: usize = 1 << 20;

/// Why a connection leaves this path.
#[derive(Debug)]
pub(super) enum End {
    /// The next request is not for us.
    HandOver,
    /// In order, by the client or because it was asked for.
    Closed,
    /// The socket or the body of an answer failed.
    Failed,
}

pub(super) struct Shortcut<S, H: Handler> {
    stream: Rewound<S>,
    service: Arc<Service<H>>,
    answers: Arc<Answers<H::Body>>,
    /// The rules of `generation`, or newer ones: they are asked for anew only when it has passed, so that a request
    /// costs no more than the one look that answers need anyway.
    rules: H::Rules,
    generation: Generation,
    /// By these rules the connection comes from a proxy that is trusted.
    is_proxy: bool,
    headers_max: usize,
    /// Read and not yet answered: `buffer[begin..end]`.
    buffer: Box<[u8; PLAIN_HEAD_BYTES_MAX]>,
    begin: usize,
    end: usize,
    sending: Option<Sending<H::Body>>,
    /// The head of the answer, of which the first `head_sent` bytes are written.
    head: Vec<u8>,
    head_sent: usize,
    /// What is to be written after the head.
    pieces: VecDeque<Bytes>,
    /// No further request is answered.
    closing: bool,
}

/// An answer under way.
enum Sending<B> {
    /// All of it is in `pieces`.
    Gathered(Observation),
    /// More comes from the body, which reports its own delivery.
    Stream(ResponseBody<B>),
}

impl<S: Stream, H: Handler> Shortcut<S, H> {
    pub(super) fn new(stream: Rewound<S>, service: Arc<Service<H>>, answers: Arc<Answers<H::Body>>) -> Self {
        let generation = answers.generation();
        let rules = service.handler.rules();
        Shortcut {
            stream,
            is_proxy: service.is_proxy(rules.as_ref()),
            rules,
            generation,
            headers_max: size(service.limits.headers_max),
            service,
            answers,
            buffer: Box::new([0; PLAIN_HEAD_BYTES_MAX]),
            begin: 0,
            end: 0,
            sending: None,
            head: Vec::new(),
            head_sent: 0,
            pieces: VecDeque::new(),
            closing: false,
        }
    }

    /// The stream, with what was read and not used. Not to be called while an answer is under way.
    pub(super) fn into_stream(mut self) -> Rewound<S> {
        self.stream.put_back(Bytes::copy_from_slice(&self.buffer[self.begin..self.end]));
        self.stream
    }

    /// Looks at what was read: begins an answer, or says what to do instead.
    fn look(&mut self) -> Look {
        self.follow();
        let (request, length) = match begin(&self.buffer[self.begin..self.end], self.headers_max) {
            Begin::Plain(request, length) => (request, length),
            Begin::Partial => return Look::ReadMore,
            Begin::Other => return Look::HandOver,
        };
        let is_head = request.is_head;
        let target = request.target;
        let request = self.answers.asked(&request);
        let Some(answer) = self.answers.get(&request, self.generation) else { return Look::HandOver };
        let head = &self.buffer[self.begin..self.begin + length];
        let Ok(seen) = self.seen(head) else { return Look::HandOver };
        match answer.lasting.as_ref().map_or(Holds::Yes, |lasting| lasting.holds(seen.client)) {
            Holds::Yes => {}
            Holds::Unknown => return Look::HandOver,
            Holds::Over => {
                self.answers.forget(&request);
                return Look::HandOver;
            }
        }
        if let Some(rates) = &self.rules.as_ref().rates {
            let method = if is_head { Method::HEAD } else { Method::GET };
            // Whoever refuses it asks again; what is refused counts for nothing.
            if rates.admit(seen.client, &method).is_err() {
                return Look::HandOver;
            }
        }
        let Some(repeated) = answer.repeat.again() else {
            self.answers.forget(&request);
            return Look::HandOver;
        };
        let method = if is_head { MethodClass::Head } else { MethodClass::Get };
        let (observer, peer) = (&self.service.observer, &self.service.peer);
        let traced = Traced::again(observer.tracer.as_ref(), is_head, target, head, (peer, &seen));
        if let (Some(traced), Some(lasting)) = (&traced, &answer.lasting) {
            traced.subject().set(lasting.subject());
        }
        let client = self.is_proxy.then_some(seen.client);
        let mut observation = Observation::repeat(observer.clone(), client, method, answer.route).traced(traced);
        observation.answered(answer.status);
        self.begin += length;
        self.head.clear();
        self.head_sent = 0;
        self.head.extend_from_slice(&answer.head);
        date::end_head(&mut self.head);
        self.sending = Some(match repeated {
            Repeated::Memory(body) => {
                observation.bytes_out = body.len() as u64;
                if !body.is_empty() {
                    self.pieces.push_back(body);
                }
                Sending::Gathered(observation)
            }
            Repeated::Stream(body) => {
                let delivery = Delivery::Socket(self.service.deliveries.clone());
                Sending::Stream(ResponseBody::new(Some(body), false, delivery, observation))
            }
        });
        Look::Answer
    }

    /// Goes by the rules that are in force now.
    fn follow(&mut self) {
        let generation = self.answers.generation();
        if generation != self.generation {
            self.generation = generation;
            self.rules = self.service.handler.rules();
            self.is_proxy = self.service.is_proxy(self.rules.as_ref());
        }
    }

    /// Whose request this head is.
    fn seen(&self, head: &[u8]) -> Result<Seen, Unreadable> {
        let connected = self.service.peer.client;
        match self.is_proxy {
            false => Ok(Seen { client: connected, scheme: None }),
            true => self.rules.as_ref().proxies.see(connected, |name| plain::values(head, name)),
        }
    }

    /// Reads behind what is there. False at the end of the stream.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        let mut buffer = ReadBuf::new(&mut self.buffer[self.end..]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        let bytes = buffer.filled().len();
        self.end += bytes;
        Poll::Ready(Ok(bytes > 0))
    }

    /// Sends the answer under way to its end.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let ended = self.gather(context)?;
            if self.head_sent == self.head.len() && self.pieces.is_empty() {
                ready!(ended);
                break;
            }
            let mut slices = [IoSlice::new(&[]); PIECES_MAX + 1];
            slices[0] = IoSlice::new(&self.head[self.head_sent..]);
            for (slice, piece) in slices[1..].iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
            }
            let from = usize::from(self.head_sent == self.head.len());
            let slices = &slices[from..=self.pieces.len()];
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        match self.sending.take() {
            Some(Sending::Gathered(observation)) => observation.complete(),
            // The body says that it was handed over, the flush that it was delivered.
            Some(Sending::Stream(body)) => drop(body),
            None => {}
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Takes from the body what is to be written next. Ready once there is nothing more.
    fn gather(&mut self, context: &mut Context<'_>) -> io::Result<Poll<()>> {
        let Some(Sending::Stream(body)) = &mut self.sending else { return Ok(Poll::Ready(())) };
        let mut gathered: usize = self.pieces.iter().map(Bytes::len).sum();
        while gathered < GATHERED_BYTES && self.pieces.len() < PIECES_MAX {
            if body.is_end_stream() {
                return Ok(Poll::Ready(()));
            }
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(None) => return Ok(Poll::Ready(())),
                Poll::Ready(Some(Err(error))) => return Err(io::Error::other(error)),
                // No answer that is repeated has trailers.
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    if !data.is_empty() {
                        gathered += data.len();
                        self.pieces.push_back(data);
                    }
                }
            }
        }
        Ok(Poll::Pending)
    }

    /// Forgets bytes that the socket took.
    fn advance(&mut self, mut written: usize) {
        let of_head = written.min(self.head.len() - self.head_sent);
        self.head_sent += of_head;
        written -= of_head;
        while let Some(piece) = self.pieces.front_mut() {
            let of_piece = written.min(piece.len());
            piece.advance(of_piece);
            written -= of_piece;
            if !piece.is_empty() {
                break;
            }
            self.pieces.pop_front();
        }
    }
}

enum Look {
    Answer,
    ReadMore,
    HandOver,
}

impl<S: Stream, H: Handler> Future for Shortcut<S, H> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        loop {
            if this.sending.is_some() {
                if ready!(this.poll_send(context)).is_err() {
                    return Poll::Ready(End::Failed);
                }
                if this.begin < this.end && !this.closing {
                    // The begin of a head that came together with the request before it: its clock runs.
                    this.service.observer.activity.bytes_read();
                }
            }
            if this.closing {
                // The client may have gone; then there is nobody to tell.
                let _ = ready!(Pin::new(&mut this.stream).poll_shutdown(context));
                return Poll::Ready(End::Closed);
            }
            if this.begin < this.end {
                match this.look() {
                    Look::Answer => continue,
                    Look::HandOver => return Poll::Ready(End::HandOver),
                    Look::ReadMore => {}
                }
            }
            match ready!(this.poll_more(context)) {
                Ok(true) => {}
                Ok(false) if this.begin == this.end => this.closing = true,
                // Half a head: hyper knows what to do with it.
                Ok(false) => return Poll::Ready(End::HandOver),
                Err(_) => return Poll::Ready(End::Failed),
            }
        }
    }
}

impl<S: Stream, H: Handler> Graceful<End> for Shortcut<S, H> {
    fn end_gracefully(self: Pin<&mut Self>) {
        self.get_mut().closing = true;
    }
}
