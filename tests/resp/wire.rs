//! A small client of the Redis protocol that waits: both versions of it, pipelines, and bytes that
//! are no request.
//!
//! [`Value`] prints itself in one line, so that a table of expected replies can be read: `+OK`,
//! `-ERR …`, `:1`, `"bytes"`, `nil`, `nil-array`, `[a, b]`, `{k: v}`, `~[a]` (a set), `>[a]` (a push).

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// No reply takes longer, unless the server hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A reply as it came.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Verbatim(String),
    Nil,
    NilArray,
    Double(f64),
    Bool(bool),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
}

impl Value {
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    pub fn is_array(&self) -> bool {
        matches!(self, Value::Array(_))
    }

    /// The number that it is.
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Value::Int(number) => *number,
            other => panic!("no number: {other}"),
        }
    }

    /// The text that it is, in whatever form.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Simple(text) | Value::Verbatim(text) | Value::Error(text) => text.clone(),
            other => panic!("no text: {other}"),
        }
    }

    /// The elements of an array, a set or a push.
    #[track_caller]
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items,
            other => panic!("no array: {other}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => write!(f, "+{text}"),
            Value::Error(text) => write!(f, "-{text}"),
            Value::Int(number) => write!(f, ":{number}"),
            Value::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Value::Verbatim(text) => write!(f, "={text:?}"),
            Value::Nil => f.write_str("nil"),
            Value::NilArray => f.write_str("nil-array"),
            Value::Double(number) => write!(f, ",{number}"),
            Value::Bool(flag) => write!(f, "#{flag}"),
            Value::Array(items) => list(f, "[", items),
            Value::Set(items) => list(f, "~[", items),
            Value::Push(items) => list(f, ">[", items),
            Value::Map(pairs) => {
                f.write_str("{")?;
                for (n, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if n == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, begin: &str, items: &[Value]) -> fmt::Result {
    f.write_str(begin)?;
    for (n, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if n == 0 { "" } else { ", " })?;
    }
    f.write_str("]")
}

/// One connection.
pub struct Client {
    input: BufReader<TcpStream>,
    pub stream: TcpStream,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).expect("the server takes connections")
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { input: BufReader::new(stream.try_clone()?), stream })
    }

    /// With the third version of the protocol.
    pub fn connect3(address: SocketAddr) -> Client {
        let mut client = Client::connect(address);
        assert!(!client.say("HELLO 3").is_error());
        client
    }

    /// A command as one types it: words between blanks, `''` for an empty one.
    #[track_caller]
    pub fn say(&mut self, line: &str) -> Value {
        self.run(&words(line))
    }

    /// A command of any bytes.
    #[track_caller]
    pub fn run<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.try_run(args).unwrap_or_else(|e| panic!("no reply to {:?}: {e}", shown(args)))
    }

    pub fn try_run<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.stream.write_all(&request(args))?;
        self.reply()
    }

    /// Bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server reads");
    }

    /// The next reply, whether or not it was asked for.
    pub fn reply(&mut self) -> io::Result<Value> {
        let line = self.line()?;
        let (kind, text) = line.split_at_checked(1).ok_or_else(|| bad(&line))?;
        let number = || text.parse::<i64>().map_err(|_| bad(&line));
        Ok(match kind {
            "+" => Value::Simple(text.to_owned()),
            "-" => Value::Error(text.to_owned()),
            ":" => Value::Int(number()?),
            "_" => Value::Nil,
            "," => Value::Double(text.parse().map_err(|_| bad(&line))?),
            "#" => Value::Bool(text == "t"),
            "$" if text == "-1" => Value::Nil,
            "*" if text == "-1" => Value::NilArray,
            "$" => Value::Bulk(self.body(number()?)?),
            "=" => {
                let body = String::from_utf8_lossy(&self.body(number()?)?).into_owned();
                Value::Verbatim(body.strip_prefix("txt:").ok_or_else(|| bad(&body))?.to_owned())
            }
            "*" => Value::Array(self.replies(number()?)?),
            "~" => Value::Set(self.replies(number()?)?),
            ">" => Value::Push(self.replies(number()?)?),
            "%" => {
                let pairs = (0..number()?).map(|_| Ok((self.reply()?, self.reply()?)));
                Value::Map(pairs.collect::<io::Result<_>>()?)
            }
            _ => return Err(bad(&line)),
        })
    }

    #[track_caller]
    pub fn next(&mut self) -> Value {
        self.reply().expect("a reply")
    }

    /// Whether the server has closed the connection, once it has said everything.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.input.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(e) => e.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Everything that the server says until it closes the connection.
    pub fn read_all(&mut self) -> String {
        let mut rest = Vec::new();
        self.input.read_to_end(&mut rest).expect("the connection is closed in order");
        String::from_utf8_lossy(&rest).into_owned()
    }

    fn replies(&mut self, count: i64) -> io::Result<Vec<Value>> {
        (0..count).map(|_| self.reply()).collect()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    fn body(&mut self, len: i64) -> io::Result<Vec<u8>> {
        let mut body = vec![0; len as usize + 2];
        self.input.read_exact(&mut body)?;
        body.truncate(len as usize);
        Ok(body)
    }
}

fn bad(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is no reply: {line:?}"))
}

/// A request as it goes to the wire.
pub fn request<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend(format!("${}\r\n", arg.len()).bytes().chain(arg.iter().copied()).chain(*b"\r\n"));
    }
    out
}

/// The words of a line: `''` is an empty one.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| if word == "''" { String::new() } else { word.to_owned() }).collect()
}

/// A command as a person reads it.
pub fn shown<A: AsRef<[u8]>>(args: &[A]) -> String {
    let words: Vec<String> = args.iter().map(|arg| arg.as_ref().escape_ascii().to_string()).collect();
    words.join(" ")
}
