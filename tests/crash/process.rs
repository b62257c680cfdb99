//! The server as a process of its own. Dropping it kills it: no test leaves one behind.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// No start and no stop in these tests takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_emberkeep");

pub struct Process {
    child: Child,
    listening: mpsc::Receiver<SocketAddr>,
    address: Option<SocketAddr>,
    output: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it over `data_dir` on a port that the system chooses, and does not wait.
    pub fn serve(data_dir: &Path, flags: &[&str]) -> Process {
        let data_dir = data_dir.to_str().expect("temporary directories have plain names");
        Process::run(&[&["--port", "0", "--data-dir", data_dir], flags].concat())
    }

    /// Starts it with these arguments and does not wait.
    pub fn run(arguments: &[&str]) -> Process {
        Process::start(Command::new(PROGRAM).args(arguments))
    }

    /// Starts the server by this command, such as a tracer that runs it, and does not wait.
    pub fn start(command: &mut Command) -> Process {
        let mut child = command
            .env_remove("EMBERKEEP_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let output = Arc::new(Mutex::new(String::new()));
        let (found, listening) = mpsc::channel();
        let readers = vec![
            read(child.stdout.take().expect("piped"), output.clone(), Some(found)),
            read(child.stderr.take().expect("piped"), output.clone(), None),
        ];
        Process { child, listening, address: None, output, readers }
    }

    /// Its number in the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it serves, and tells where.
    pub fn address(&mut self) -> Result<SocketAddr, String> {
        if self.address.is_none() {
            self.address = self.listening.recv_timeout(PATIENCE).ok();
        }
        self.address.ok_or_else(|| format!("the server does not come up, it said:\n{}", self.output()))
    }

    /// Waits until it serves or has ended; where it serves, if it does.
    pub fn address_or_end(&mut self) -> Option<SocketAddr> {
        // The sender goes when the output ends.
        self.address = self.listening.recv_timeout(PATIENCE).ok();
        self.address
    }

    /// SIGKILL; back when it is gone. The status tells whether it was gone before.
    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().expect("it can be killed");
        self.wait()
    }

    /// Sends a signal by name, such as `TERM`, and does not wait.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status();
        assert!(sent.expect("sh runs").success(), "cannot send the signal {name}");
    }

    /// Waits for its end, and until everything that it said has been read.
    pub fn wait(&mut self) -> ExitStatus {
        let give_up = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(Instant::now() < give_up, "the server does not end, it said:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(2));
        };
        for reader in self.readers.drain(..) {
            reader.join().expect("reading does not panic");
        }
        status
    }

    /// What it has said so far on either stream.
    pub fn output(&self) -> String {
        self.output.lock().expect("no panic with the output").clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Collects the lines of one stream; the address in them is told to whoever waits.
fn read(
    stream: impl Read + Send + 'static,
    output: Arc<Mutex<String>>,
    found: Option<mpsc::Sender<SocketAddr>>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let address = line.strip_prefix("listening on http://").and_then(|text| text.parse().ok());
            *output.lock().expect("no panic with the output") += &(line + "\n");
            if let (Some(address), Some(found)) = (address, &found) {
                // Nobody waits in the rounds that kill it while it starts.
                found.send(address).ok();
            }
        }
    })
}
