//! One connection: reads what has come, runs all of it, waits once for the disk, writes all replies.
//!
//! Memory grows with bytes that have arrived, and with replies up to a bound: while a client does not
//! take its replies nothing more is read from it, and one that takes none for long is disconnected.
//! An idle connection holds no buffers.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use super::{
    ahead,
    buffers::{self, KEPT_LEN_MAX},
    command::{
        client::wrong_door,
        later::{self, Later},
        pubsub::write_push,
    },
    exec::{self, Next},
    fail::{Fail, text_of},
    parse::{Broken, OwnedArgs, Parser},
    pubsub::Push,
    reply::Reply,
    session::{Replies, Session},
    shared::{Client, Shared},
    turn::Turn,
};
use crate::node::{READY_WAIT, rests::Rests};

/// Bytes that are read at once, into a buffer that the connections of a thread share.
const READ_LEN: usize = 64 << 10;
/// Replies are sent when there are so many, also in the middle of a batch.
const SEND_FROM: usize = 1 << 20;
/// What an argument may have beyond the longest value, so that the error names the limit.
const ARG_SLACK: usize = 64 << 10;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_LEN]);
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client has gone, or is told to go.
    Done,
    Io(io::Error),
    /// It took no replies, or sent half a request, for too long.
    Stalled,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Io(error)
    }
}

/// What stands between the client and the commands.
struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    session: Session,
    parser: Parser,
    /// What has come and was not run yet.
    pending: Vec<u8>,
    /// Since when the first request in there is incomplete; bytes that trickle do not change it.
    begun: Option<Instant>,
    out: Vec<u8>,
    rests: Rests,
    turn: Rc<Turn>,
    /// Since when there has been no room for the command at hand.
    no_room_since: Option<Instant>,
}

/// What a connection waits for.
enum Event {
    /// So many bytes have come; none: the client has ended.
    Read(io::Result<usize>),
    Push(Option<Push>),
    Killed,
    Stop,
    TooLate,
}

/// Why running a batch has stopped.
enum Pause {
    /// A request is not complete, or there is none.
    NeedsMore,
    /// There is enough to be sent.
    Full,
    NoRoom(usize),
    Later(Later, OwnedArgs),
    /// Nothing more is read.
    Close,
}

/// Serves a client until either side has had enough, or the server stops.
pub(super) async fn run(
    stream: TcpStream,
    shared: Arc<Shared>,
    client: Arc<Client>,
    turn: Rc<Turn>,
    stop: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("cannot set TCP_NODELAY: {error}");
    }
    let arg_len_max = shared.node.settings().max_value_bytes + ARG_SLACK;
    let mut connection = Connection {
        stream,
        session: Session::new(client.clone()),
        parser: Parser::new(arg_len_max),
        pending: Vec::new(),
        begun: None,
        out: Vec::new(),
        rests: Rests::default(),
        turn,
        no_room_since: None,
        shared: shared.clone(),
    };
    match connection.serve(stop).await {
        Err(End::Stalled) => {
            shared.counters.slow_readers.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(peer = %client.peer, "a client took too long, its connection is closed");
        }
        Err(End::Io(error)) => tracing::debug!(peer = %client.peer, %error, "a connection has ended"),
        Ok(()) | Err(End::Done) => {}
    }
    connection.session.leave(&shared);
}

impl Connection {
    async fn serve(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), End> {
        loop {
            match self.next(&mut stop).await {
                Event::Read(Ok(0)) | Event::Stop => return Ok(()),
                Event::Read(len) => {
                    self.shared.counters.read_bytes.fetch_add(len? as u64, Ordering::Relaxed);
                    self.work().await?;
                }
                Event::Push(push) => self.send_pushes(push).await?,
                Event::Killed if self.session.client.is_killed() => return Err(End::Done),
                Event::Killed => {}
                Event::TooLate => return Err(End::Stalled),
            }
        }
    }

    /// Waits for what happens next. Bytes that have come are then in `pending`.
    async fn next(&mut self, stop: &mut watch::Receiver<bool>) -> Event {
        let Connection { stream, session, pending, begun, shared, .. } = self;
        // Half a request must become a whole one in time.
        *begun = (!pending.is_empty()).then(|| begun.unwrap_or_else(Instant::now));
        let deadline = begun.map(|begun| begun + shared.settings.request_deadline);
        let inbox = &mut session.inbox;
        let push = async {
            match inbox {
                Some(inbox) => inbox.next().await,
                None => std::future::pending().await,
            }
        };
        let too_late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Event::Stop,
            () = session.client.killed.notified() => Event::Killed,
            read = poll_fn(|cx| poll_read(stream, pending, cx)) => Event::Read(read),
            push = push => Event::Push(push),
            () = too_late => Event::TooLate,
        }
    }

    /// Runs everything that is complete, and sends the replies.
    async fn work(&mut self) -> Result<(), End> {
        loop {
            match self.batch() {
                Pause::NeedsMore => {
                    self.flush().await?;
                    if self.pending.capacity() > KEPT_LEN_MAX {
                        self.pending.shrink_to(self.pending.len());
                    }
                    return Ok(());
                }
                Pause::Full => self.flush().await?,
                Pause::NoRoom(bytes) => {
                    self.flush().await?;
                    self.wait_for_room(bytes).await;
                }
                Pause::Later(later, args) => {
                    self.flush().await?;
                    self.run_later(later, args).await;
                }
                Pause::Close => {
                    self.flush().await?;
                    return Err(End::Done);
                }
            }
        }
    }

    /// Runs commands until there is a reason to stop.
    fn batch(&mut self) -> Pause {
        buffers::lend(&mut self.out);
        let mut at = 0;
        let mut commands = 0;
        let mut ahead = 0;
        let pause = loop {
            if self.session.closing {
                break Pause::Close;
            }
            if self.out.len() >= SEND_FROM {
                break Pause::Full;
            }
            let rest = &self.pending[at..];
            let len = match self.parser.next(rest) {
                Ok(Some(len)) => len,
                Ok(None) if rest.len() > self.shared.message_len_max() => {
                    let what = format!("too big a request, max={}", self.shared.message_len_max());
                    refuse_broken(&Broken::Protocol(what), &mut self.out);
                    break Pause::Close;
                }
                Ok(None) => break Pause::NeedsMore,
                Err(broken) => {
                    refuse_broken(&broken, &mut self.out);
                    break Pause::Close;
                }
            };
            if ahead == 0 {
                ahead = ahead::fetch(&self.shared.node, self.session.namespace, &self.pending[at..]);
            }
            ahead -= 1;
            let args = self.parser.args(&self.pending[at..]);
            if args.len() == 0 {
                at += len;
                continue;
            }
            commands += 1;
            match exec::run(&self.shared, &mut self.session, args, &mut self.out, &mut self.rests) {
                Next::Go => {
                    at += len;
                    self.no_room_since = None;
                }
                // It stays where it is, and is read again.
                Next::NoRoom(bytes) => break Pause::NoRoom(bytes),
                Next::Later(later) => {
                    let args = OwnedArgs::of(args);
                    at += len;
                    break Pause::Later(later, args);
                }
            }
        };
        self.pending.drain(..at);
        if self.pending.is_empty() {
            buffers::take_back(&mut self.pending);
        }
        if at > 0 {
            self.begun = None;
        }
        self.shared.counters.commands.fetch_add(commands, Ordering::Relaxed);
        pause
    }

    /// Waits until the command at hand may be tried again; refuses it if that takes too long.
    async fn wait_for_room(&mut self, bytes: usize) {
        let since = *self.no_room_since.get_or_insert_with(Instant::now);
        let refusal = match self.shared.node.room(bytes).await {
            Err(error) => Some(text_of(&error)),
            // There is room in the log, and none in the cache.
            Ok(()) if since.elapsed() >= READY_WAIT => {
                Some("ERR overloaded: there has been no room for this write for long".to_owned())
            }
            Ok(()) => None,
        };
        if let Some(text) = refusal {
            self.no_room_since = None;
            self.refuse_next(&text);
        }
    }

    /// Replies with an error to the request at the head of what is pending, without running it.
    fn refuse_next(&mut self, text: &str) {
        let mut parser = Parser::new(usize::MAX >> 1);
        if let Ok(Some(len)) = parser.next(&self.pending) {
            self.pending.drain(..len);
            self.shared.note_error(text);
            // It may have been an EXEC, which ends the transaction whatever becomes of it.
            self.session.queue = None;
            self.session.watched.clear();
            if self.session.replies == Replies::On {
                Reply::new(&mut self.out, self.session.proto).error(text);
            }
            self.session.replies = self.session.replies.after_one();
        }
    }

    async fn run_later(&mut self, later: Later, args: OwnedArgs) {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.session.proto);
        match later::run(&self.shared, later, args.args(), &mut reply).await {
            Ok(()) => {}
            Err(Fail::Text(text)) => {
                reply.truncate(0);
                self.shared.note_error(&text);
                reply.error(&text);
            }
            Err(other) => unreachable!("it writes to no key: {other:?}"),
        }
        if !self.session.is_silent {
            self.out.extend_from_slice(&out);
        }
    }

    /// Sends the replies, once what they rest on is safe.
    async fn flush(&mut self) -> Result<(), End> {
        let rests = std::mem::take(&mut self.rests);
        if self.out.is_empty() {
            self.shared.node.let_go(rests);
            buffers::take_back(&mut self.out);
            return Ok(());
        }
        let began = self.shared.latency.is_on().then(|| self.shared.node.uptime());
        let settled = self.turn.settle(&self.shared.node, rests).await;
        if let Some(began) = began {
            self.shared.note_sync(began);
        }
        if let Err(error) = &settled {
            // None of these replies may be told. The client learns that, and that no more come.
            self.out.clear();
            Reply::new(&mut self.out, self.session.proto).error(&text_of(error));
        }
        self.send().await?;
        if settled.is_err() { Err(End::Done) } else { Ok(()) }
    }

    async fn send_pushes(&mut self, first: Option<Push>) -> Result<(), End> {
        let mut next = first;
        while let Some(push) = next {
            write_push(&push, self.session.proto, &mut self.out);
            next = match &mut self.session.inbox {
                Some(inbox) if self.out.len() < SEND_FROM => inbox.try_next(),
                _ => None,
            };
        }
        self.send().await
    }

    /// Writes everything, as fast as the client takes it.
    async fn send(&mut self) -> Result<(), End> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.try_write(&self.out[sent..]) {
                Ok(len) => sent += len,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let deadline = Instant::now() + self.shared.settings.stall_deadline;
                    let killed = self.session.client.killed.notified();
                    tokio::select! {
                        writable = timeout_at(deadline, self.stream.writable()) => {
                            writable.map_err(|_| End::Stalled)??;
                        }
                        () = killed => return Err(End::Stalled),
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.shared.counters.written_bytes.fetch_add(sent as u64, Ordering::Relaxed);
        buffers::take_back(&mut self.out);
        Ok(())
    }
}

/// Takes what has come into the buffer of this thread, and what there is of it to `pending`: so an idle
/// connection has no buffer. Whoever reads much lets others have their turn in between.
fn poll_read(stream: &mut TcpStream, pending: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    READ_BUFFER.with_borrow_mut(|buffer| {
        let mut read = ReadBuf::new(buffer);
        let polled = Pin::new(stream).poll_read(cx, &mut read);
        if !read.filled().is_empty() {
            buffers::lend(pending);
            pending.extend_from_slice(read.filled());
        }
        polled.map_ok(|()| read.filled().len())
    })
}

/// What a client is told whose bytes are no request.
pub(super) fn refuse_broken(broken: &Broken, out: &mut Vec<u8>) {
    match broken {
        Broken::Http => out.extend_from_slice(wrong_door().as_bytes()),
        broken => Reply::new(out, super::reply::Proto::Two).error(&format!("ERR {broken}")),
    }
}

/// Tells a client that there are too many, and ends.
pub(super) async fn turn_away(stream: TcpStream) {
    let text = b"-ERR max number of clients reached\r\n";
    let written = timeout(std::time::Duration::from_secs(1), stream.writable()).await;
    if let Ok(Ok(())) = written {
        // It is told if it can be; either way the connection ends.
        stream.try_write(text).ok();
    }
}
