//! The server as a process of its own. Dropping it kills it: no run leaves one behind.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::name;

/// No start and no stop takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often its end is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A server that was started, and whatever it says.
#[derive(Debug)]
pub struct Server {
    child: Child,
    listening: mpsc::Receiver<SocketAddr>,
    address: Option<SocketAddr>,
    output: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts `program` with these arguments and does not wait.
    ///
    /// # Errors
    /// The system's, if it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> io::Result<Server> {
        Server::spawn(Command::new(program).args(arguments))
    }

    /// Starts the server by this command, such as a tracer that runs it, and does not wait.
    ///
    /// # Errors
    /// The system's, if it cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Server> {
        let mut child = command
            .env_remove(name::ENV_LOG)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = Arc::new(Mutex::new(String::new()));
        let (found, listening) = mpsc::channel();
        let readers = vec![
            read(child.stdout.take().expect("piped"), output.clone(), Some(found)),
            read(child.stderr.take().expect("piped"), output.clone(), None),
        ];
        Ok(Server { child, listening, address: None, output, readers })
    }

    /// Its number in the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it serves, and tells where.
    ///
    /// # Errors
    /// What it said instead.
    pub fn address(&mut self) -> Result<SocketAddr, String> {
        if self.address.is_none() {
            self.address = self.listening.recv_timeout(PATIENCE).ok();
        }
        self.address.ok_or_else(|| self.silent())
    }

    /// The same, letting other tasks run.
    ///
    /// # Errors
    /// What it said instead.
    pub async fn address_async(&mut self) -> Result<SocketAddr, String> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.listening.try_recv() {
                Ok(address) => self.address = Some(address),
                Err(mpsc::TryRecvError::Empty) if self.address.is_none() && Instant::now() < give_up => {
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
                Err(_) => {}
            }
            return self.address.ok_or_else(|| self.silent());
        }
    }

    fn silent(&self) -> String {
        format!("the server does not come up, it said:\n{}", self.output())
    }

    /// SIGKILL; back when it is gone. The status tells whether it was gone before.
    ///
    /// # Errors
    /// The system's, or that it does not end.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.wait()
    }

    /// SIGTERM; does not wait.
    ///
    /// # Errors
    /// The system's.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGINT; does not wait.
    ///
    /// # Errors
    /// The system's.
    pub fn interrupt(&self) -> io::Result<()> {
        self.signal(Signal::INT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Its end, if it has ended.
    ///
    /// # Errors
    /// The system's.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            for reader in self.readers.drain(..) {
                reader.join().expect("reading does not panic");
            }
        }
        Ok(status)
    }

    /// Waits for its end, and until everything that it said has been read.
    ///
    /// # Errors
    /// The system's, or that it does not end.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > give_up {
                return Err(self.hangs());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The same, letting other tasks run.
    ///
    /// # Errors
    /// The system's, or that it does not end.
    pub async fn wait_async(&mut self) -> io::Result<ExitStatus> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.ended()? {
                Some(status) => return Ok(status),
                None if Instant::now() > give_up => return Err(self.hangs()),
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    fn hangs(&self) -> io::Error {
        let text = format!("the server does not end, it said:\n{}", self.output());
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    /// What it has said so far on either stream.
    pub fn output(&self) -> String {
        self.output.lock().expect("no panic with the output").clone()
    }
}

impl Drop for Server {
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
                // Nobody waits for a start that is to be killed.
                found.send(address).ok();
            }
        }
    })
}

/// A start that was refused for want of something: as long as nothing was acknowledged nothing can
/// be lost, and a full disk makes room for no new log segment, whatever is in the old ones. Any
/// other refusal may hide that the data cannot be read any more.
pub(super) fn is_for_lack_of_means(code: Option<i32>, acknowledged: u64, said: &str) -> bool {
    const REFUSED: i32 = 5;
    // ENOSPC, EDQUOT.
    let is_full = ["(os error 28)", "(os error 122)"].iter().any(|error| said.contains(error));
    code == Some(REFUSED) && (acknowledged == 0 || is_full)
}

#[cfg(test)]
mod tests {
    use super::is_for_lack_of_means;

    #[test]
    fn only_a_refusal_that_can_hide_no_loss_is_for_lack_of_means() {
        let full = "cannot prepare a log segment: No space left on device (os error 28)";
        let newer = "log frame of a newer version";
        for (code, acknowledged, said, expected) in [
            (Some(5), 0, newer, true),
            (Some(5), 7, full, true),
            (Some(5), 7, newer, false),
            (Some(6), 0, full, false),
            (None, 0, full, false),
        ] {
            let told = is_for_lack_of_means(code, acknowledged, said);
            assert_eq!(told, expected, "{code:?} {acknowledged} {said}");
        }
    }
}
