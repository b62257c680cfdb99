//! A Redis-compatible server in memory, as far as an import goes. It goes away when it is told to, and
//! keeps what it was asked.

use std::{
    collections::BTreeMap,
    io::{BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use emberkeep::tool::import::resp::Reply;

/// The time of every fake, in seconds since 1970: not that of this machine.
pub const TIME: u64 = 4_000_000_000;

pub struct Fake {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
pub struct Inner {
    pub run_id: String,
    pub dbs: BTreeMap<u32, BTreeMap<Vec<u8>, Item>>,
    /// Commands that came, their words with spaces between.
    pub seen: Vec<String>,
    /// After so many more commands every connection ends, without an answer to the last.
    pub cut_after: Option<usize>,
    /// Then nobody is let in any more.
    pub stays_down: bool,
    pub is_down: bool,
    /// A SET of this key is refused with this error.
    pub refuses: Option<(Vec<u8>, String)>,
    pub password: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub kind: &'static str,
    pub value: Vec<u8>,
    /// What PTTL says.
    pub left: i64,
    /// The PXAT of the SET that has made it.
    pub expires: Option<u64>,
}

impl Item {
    pub fn text(value: impl Into<Vec<u8>>) -> Item {
        Item { kind: "string", value: value.into(), left: -1, expires: None }
    }
}

impl Fake {
    pub fn start(run_id: &str) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Mutex::new(Inner { run_id: run_id.into(), ..Inner::default() }));
        let shared = inner.clone();
        // Ends with the test binary.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Fake { address, inner }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Puts an item into a database.
    pub fn put(&self, db: u32, key: impl Into<Vec<u8>>, item: Item) {
        self.lock().dbs.entry(db).or_default().insert(key.into(), item);
    }

    /// Commands that begin with this word.
    pub fn seen(&self, word: &str) -> Vec<String> {
        self.lock().seen.iter().filter(|line| line.starts_with(word)).cloned().collect()
    }
}

/// One connection until it ends, or the server is told to go away.
fn serve(mut stream: &TcpStream, shared: &Mutex<Inner>) {
    let mut input = BufReader::new(stream);
    let mut session = Session { db: 0, queue: None, is_known: false };
    while let Ok(Reply::Array(words)) = Reply::read(&mut input) {
        let words: Vec<Vec<u8>> = words.into_iter().map(bytes).collect();
        let mut inner = shared.lock().unwrap();
        if inner.goes_away() {
            return;
        }
        inner.seen.push(words.iter().map(|w| String::from_utf8_lossy(w)).collect::<Vec<_>>().join(" "));
        let reply = session.answer(&mut inner, &words);
        drop(inner);
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

impl Inner {
    fn goes_away(&mut self) -> bool {
        match &mut self.cut_after {
            Some(0) => {
                self.cut_after = None;
                self.is_down = self.stays_down;
                return true;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.is_down
    }
}

struct Session {
    db: u32,
    /// Replies of a transaction.
    queue: Option<Vec<Vec<u8>>>,
    is_known: bool,
}

impl Session {
    fn answer(&mut self, inner: &mut Inner, words: &[Vec<u8>]) -> Vec<u8> {
        let text: Vec<String> = words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        let command = text[0].as_str();
        if inner.password.is_some() && !self.is_known && command != "AUTH" {
            return b"-NOAUTH Authentication required.\r\n".to_vec();
        }
        match command {
            "MULTI" => {
                self.queue = Some(Vec::new());
                return status("OK");
            }
            "EXEC" => return array(&self.queue.take().expect("MULTI before EXEC")),
            _ => {}
        }
        let reply = self.single(inner, command, &text, words);
        match &mut self.queue {
            Some(queue) => {
                queue.push(reply);
                status("QUEUED")
            }
            None => reply,
        }
    }

    fn single(&mut self, inner: &mut Inner, command: &str, text: &[String], words: &[Vec<u8>]) -> Vec<u8> {
        match command {
            "AUTH" => {
                self.is_known = inner.password == text.last().cloned();
                if self.is_known {
                    status("OK")
                } else {
                    b"-WRONGPASS invalid username-password pair\r\n".to_vec()
                }
            }
            "INFO" => bulk(&info(inner, &text[1])),
            "TIME" => array(&[bulk(TIME.to_string().as_bytes()), bulk(b"0")]),
            "SELECT" if text[1].parse::<u32>().unwrap() > 15 => b"-ERR DB index is out of range\r\n".to_vec(),
            "SELECT" => {
                self.db = text[1].parse().unwrap();
                status("OK")
            }
            "SCAN" => scan(inner.dbs.entry(self.db).or_default(), &text[1..]),
            "SET" => self.set(inner, words, text),
            "TYPE" => status(self.item(inner, &words[1]).map_or("none", |item| item.kind)),
            "STRLEN" | "GET" => match self.item(inner, &words[1]) {
                Some(item) if item.kind != "string" => b"-WRONGTYPE wrong kind of value\r\n".to_vec(),
                Some(item) if command == "STRLEN" => integer(item.value.len() as i64),
                None if command == "STRLEN" => integer(0),
                Some(item) => bulk(&item.value),
                None => b"$-1\r\n".to_vec(),
            },
            "PTTL" => integer(self.item(inner, &words[1]).map_or(-2, |item| item.left)),
            other => format!("-ERR unknown command '{other}'\r\n").into_bytes(),
        }
    }

    fn item<'i>(&self, inner: &'i Inner, key: &[u8]) -> Option<&'i Item> {
        inner.dbs.get(&self.db)?.get(key)
    }

    fn set(&self, inner: &mut Inner, words: &[Vec<u8>], text: &[String]) -> Vec<u8> {
        let [_, key, value, ..] = words else { panic!("a SET has a key and a value") };
        if let Some((refused, error)) = &inner.refuses
            && refused == key
        {
            return format!("-{error}\r\n").into_bytes();
        }
        let db = inner.dbs.entry(self.db).or_default();
        if text[3..].contains(&"NX".to_owned()) && db.contains_key(key) {
            return b"$-1\r\n".to_vec();
        }
        let at = text.iter().position(|word| word == "PXAT");
        let expires = at.map(|at| text[at + 1].parse().unwrap());
        db.insert(key.clone(), Item { expires, ..Item::text(value.clone()) });
        status("OK")
    }
}

fn info(inner: &Inner, section: &str) -> Vec<u8> {
    if section == "server" {
        return format!("# Server\r\nrun_id:{}\r\n", inner.run_id).into_bytes();
    }
    let line = |(db, keys): (&u32, &BTreeMap<_, _>)| format!("db{db}:keys={},expires=0\r\n", keys.len());
    inner.dbs.iter().map(line).collect::<String>().into_bytes()
}

/// A cursor is the number of keys before it.
fn scan(keys: &BTreeMap<Vec<u8>, Item>, text: &[String]) -> Vec<u8> {
    let option = |name: &str| text.iter().position(|word| word == name).map(|at| text[at + 1].as_str());
    let cursor: usize = text[0].parse().unwrap();
    let count: usize = option("COUNT").unwrap().parse().unwrap();
    let prefix = option("MATCH").map_or("", |pattern| pattern.trim_end_matches('*'));
    let page: Vec<_> = keys.keys().skip(cursor).take(count).collect();
    let next = if cursor + page.len() < keys.len() { cursor + page.len() } else { 0 };
    let found: Vec<_> =
        page.iter().filter(|key| key.starts_with(prefix.as_bytes())).map(|key| bulk(key)).collect();
    array(&[bulk(next.to_string().as_bytes()), array(&found)])
}

fn bytes(reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Bulk(bytes) => bytes,
        other => panic!("a command is made of strings, got {other:?}"),
    }
}

fn status(text: &str) -> Vec<u8> {
    format!("+{text}\r\n").into_bytes()
}

fn integer(n: i64) -> Vec<u8> {
    format!(":{n}\r\n").into_bytes()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [format!("*{}\r\n", items.len()).into_bytes(), items.concat()].concat()
}
