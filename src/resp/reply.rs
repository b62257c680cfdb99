//! Replies as they go to the wire, in RESP2 or RESP3.
//!
//! One place decides how a kind of reply looks in either version; whoever replies says only what it
//! is. Format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

/// The version of the protocol that a client has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proto {
    /// The first one; what a connection begins with.
    Two,
    /// With maps, sets, doubles and pushes.
    Three,
}

/// Writes replies, one behind the other.
#[derive(Debug)]
pub(super) struct Reply<'a> {
    out: &'a mut Vec<u8>,
    proto: Proto,
}

impl<'a> Reply<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, proto: Proto) -> Reply<'a> {
        Reply { out, proto }
    }

    pub(super) fn proto(&self) -> Proto {
        self.proto
    }

    /// From here on in this version.
    pub(super) fn set_proto(&mut self, proto: Proto) {
        self.proto = proto;
    }

    pub(super) fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A status without line breaks.
    pub(super) fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error: a code in upper case, and what is wrong. Line breaks become spaces.
    pub(super) fn error(&mut self, text: &str) {
        self.out.push(b'-');
        self.out.extend(text.bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.out.extend_from_slice(b"\r\n");
    }

    pub(super) fn int(&mut self, number: i64) {
        self.number(b':', number);
    }

    pub(super) fn bulk(&mut self, bytes: &[u8]) {
        self.number(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A text for people that may have several lines.
    pub(super) fn verbatim(&mut self, text: &str) {
        match self.proto {
            Proto::Two => self.bulk(text.as_bytes()),
            Proto::Three => {
                self.number(b'=', text.len() as i64 + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text.as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// No value.
    pub(super) fn nil(&mut self) {
        self.out.extend_from_slice(match self.proto {
            Proto::Two => b"$-1\r\n",
            Proto::Three => b"_\r\n",
        });
    }

    /// No array.
    pub(super) fn nil_array(&mut self) {
        self.out.extend_from_slice(match self.proto {
            Proto::Two => b"*-1\r\n",
            Proto::Three => b"_\r\n",
        });
    }

    /// A value or none.
    pub(super) fn bulk_or_nil(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.nil(),
        }
    }

    /// So many replies follow.
    pub(super) fn array(&mut self, len: usize) {
        self.number(b'*', len as i64);
    }

    /// So many pairs follow.
    pub(super) fn map(&mut self, len: usize) {
        match self.proto {
            Proto::Two => self.array(2 * len),
            Proto::Three => self.number(b'%', len as i64),
        }
    }

    /// So many replies follow, in no order.
    pub(super) fn set(&mut self, len: usize) {
        self.number(if self.proto == Proto::Two { b'*' } else { b'~' }, len as i64);
    }

    /// So many replies follow that nobody asked for now.
    pub(super) fn push(&mut self, len: usize) {
        self.number(if self.proto == Proto::Two { b'*' } else { b'>' }, len as i64);
    }

    /// Replies that were written elsewhere.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Bytes that wait to be sent.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written after there were so many bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    fn number(&mut self, kind: u8, number: i64) {
        self.out.push(kind);
        push_number(self.out, number);
        self.out.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Decimal digits, without going through a string.
fn push_number(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(proto: Proto, write: impl Fn(&mut Reply<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, proto));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        for number in [0, 7, -7, 10, i64::MAX, i64::MIN, 1_234_567_890] {
            assert_eq!(written(Proto::Two, |r| r.int(number)), format!(":{number}\r\n"));
        }
    }

    #[test]
    fn each_kind_has_its_form_in_both_versions() {
        type Write = fn(&mut Reply<'_>);
        let table: [(Write, &str, &str); 9] = [
            (|r| r.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
            (|r| r.nil(), "$-1\r\n", "_\r\n"),
            (|r| r.nil_array(), "*-1\r\n", "_\r\n"),
            (|r| r.map(2), "*4\r\n", "%2\r\n"),
            (|r| r.set(3), "*3\r\n", "~3\r\n"),
            (|r| r.push(3), "*3\r\n", ">3\r\n"),
            (|r| r.verbatim("hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (|r| r.simple("PONG"), "+PONG\r\n", "+PONG\r\n"),
            (|r| r.error("ERR two\r\nlines"), "-ERR two  lines\r\n", "-ERR two  lines\r\n"),
        ];
        for (write, two, three) in table {
            assert_eq!(written(Proto::Two, write), two);
            assert_eq!(written(Proto::Three, write), three);
        }
    }
}
