//! Waits for many connections at once, or until a moment that may lie between two milliseconds.
//!
//! epoll alone counts in milliseconds, which is longer than an answer takes: a request that is due
//! in the middle of one would be late by our own fault. So the moment is a timer among the
//! connections.

use std::{io, net::TcpStream, os::fd::OwnedFd};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};

/// Ready connections that one call tells of.
const EVENTS_MAX: usize = 256;
const TIMER: u64 = u64::MAX;
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The connections of one thread, by their numbers.
pub(super) struct Events {
    epoll: OwnedFd,
    timer: OwnedFd,
    armed_for: Option<u64>,
    ready: Vec<Event>,
}

impl Events {
    pub(super) fn new() -> io::Result<Events> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Events { epoll, timer, armed_for: None, ready: Vec::with_capacity(EVENTS_MAX) })
    }

    /// From now on tells when this connection can be read. One that is closed leaves by itself.
    pub(super) fn add(&self, connection: &TcpStream, number: usize) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, connection, EventData::new_u64(number as u64), EventFlags::IN)?)
    }

    /// Whether to tell, too, when it can be written.
    pub(super) fn tell_writable(&self, connection: &TcpStream, number: usize, tell: bool) -> io::Result<()> {
        let flags = if tell { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, connection, EventData::new_u64(number as u64), flags)?)
    }

    /// Waits until a connection is ready or the moment has come, and gives the numbers of those
    /// that are ready. Both moments are nanoseconds since the same start.
    pub(super) fn wait(&mut self, now: u64, until: u64, numbers: &mut Vec<usize>) -> io::Result<()> {
        let is_over = until <= now;
        if !is_over && self.armed_for != Some(until) {
            self.arm(until - now)?;
            self.armed_for = Some(until);
        }
        self.ready.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), is_over.then_some(&AT_ONCE)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let told = self.ready.iter().map(|event| event.data.u64()).filter(|&number| number != TIMER);
        numbers.extend(told.map(|number| number as usize));
        Ok(())
    }

    /// Setting it anew also takes back that it has gone off.
    fn arm(&self, nanos: u64) -> io::Result<()> {
        let value =
            Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as _ };
        let once = Itimerspec { it_interval: AT_ONCE, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}
