//! Running the server under the tracer, and attaching the tracer to one of its threads.
//!
//! The tracer counts calls in each thread by itself, so "the n-th" means something only for one
//! thread: the committer's third sync is another one than the checkpointer's third.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

use crate::support::process::{Process, binary};

/// Which call fails, and how.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Name of the call.
    pub call: &'static str,
    /// The error, by its name in C.
    pub error: &'static str,
    /// The how-manieth of its thread.
    pub n: usize,
    /// All later ones too.
    pub and_later: bool,
}

impl Fault {
    fn options(self) -> [String; 4] {
        let Fault { call, error, n, and_later } = self;
        let later = if and_later { "+" } else { "" };
        [
            "-e".into(),
            format!("trace={call}"),
            "-e".into(),
            format!("inject={call}:error={error}:when={n}{later}"),
        ]
    }
}

/// Flags that make log files and snapshots small, so that a short load meets all there is, and leave
/// values as they are: a trace is searched for their bytes.
pub const SMALL: [&str; 4] = ["--segment-size", "64KiB", "--compress", "none"];

/// Starts the server under the tracer, with all its threads. The process is the server itself;
/// the tracer ends with it, and before its output does.
pub fn serve(data_dir: &Path, flags: &[&str], trace: &Path, options: &[impl AsRef<OsStr>]) -> Process {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-y", "-o"]).arg(trace).args(options);
    command.arg(binary()).args(["--port", "0", "--resp-port", "off", "--data-dir"]).arg(data_dir).args(flags);
    Process::start(&mut command)
}

/// Starts the server with this fault in every thread.
pub fn serve_with_fault(data_dir: &Path, flags: &[&str], trace: &Path, fault: Fault) -> Process {
    serve(data_dir, flags, trace, &fault.options())
}

/// A tracer that was attached to a running process. It ends with that process.
pub struct Attached {
    tracer: Child,
    words: Option<JoinHandle<()>>,
}

impl Attached {
    /// Attaches to one thread; `None` for all of them. From here on its calls are counted.
    pub fn to(server: &Process, thread: Option<&str>, trace: &Path, fault: Fault) -> Attached {
        let mut command = Command::new("strace");
        command.args(["-y", "-o"]).arg(trace).args(fault.options());
        match thread {
            Some(name) => command.args(["-p", &thread_id(server.id(), name).to_string()]),
            None => command.args(["-f", "-p", &server.id().to_string()]),
        };
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut tracer = spawned.expect("strace runs");
        let mut words = BufReader::new(tracer.stderr.take().expect("piped"));
        let mut said = String::new();
        while !said.contains("attached") {
            let read = words.read_line(&mut said).expect("what the tracer says can be read");
            assert!(read > 0, "the tracer cannot attach, is that permitted here? It said: {said}");
        }
        // More threads may come and be told of; nobody needs to know.
        let words = std::thread::spawn(move || words.lines().for_each(drop));
        Attached { tracer, words: Some(words) }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // It has ended if the server has.
        self.tracer.kill().ok();
        self.tracer.wait().ok();
        if let Some(words) = self.words.take() {
            words.join().ok();
        }
    }
}

/// The lines of the calls that were made to fail.
pub fn injected(trace: &Path) -> Vec<String> {
    let text = fs::read(trace).unwrap_or_default();
    let lines = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect::<Vec<_>>();
    lines.into_iter().filter(|line| line.contains("(INJECTED)")).collect()
}

fn thread_id(process: u32, name: &str) -> u32 {
    for entry in fs::read_dir(format!("/proc/{process}/task")).expect("the server runs") {
        let path = entry.expect("a thread").path();
        // A thread may end between the two looks.
        let comm = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if comm.trim_end() == name {
            let id = path.file_name().and_then(|id| id.to_str()).and_then(|id| id.parse().ok());
            return id.expect("threads have numbers");
        }
    }
    panic!("the server has no thread of that name: {name}");
}
