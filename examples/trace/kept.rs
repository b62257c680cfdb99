//! Results that outlive a run: one line each, `trace,capacity,policy,one stripe,default stripes`.
//! Each is also told as it comes.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

use emberkeep::node::policy_name;

use crate::reference::Cell;

/// What earlier runs have found, and where this one adds to it.
#[derive(Default)]
pub struct Kept {
    known: HashMap<String, (f64, f64)>,
    file: Option<File>,
}

impl Kept {
    /// Reads the file, if there is one, and opens it for more.
    ///
    /// # Errors
    /// What cannot be read.
    #[expect(clippy::disallowed_methods, reason = "an example reads and writes as any program does")]
    pub fn open(path: &Path) -> Result<Kept, String> {
        let failed = |e: std::io::Error| format!("cannot keep results in {}: {e}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        let text = fs::read_to_string(path).map_err(failed)?;
        let known = text.lines().filter_map(parse).collect();
        Ok(Kept { known, file: Some(file) })
    }

    /// Gives a cell its ratios, if they are known.
    pub fn fill(&self, cell: &mut Cell) {
        if let Some(&(one_stripe, default_stripes)) = self.known.get(&name(cell)) {
            (cell.one_stripe, cell.default_stripes) = (one_stripe, default_stripes);
        }
    }

    /// Tells a result and keeps it.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn add(&mut self, cell: &Cell) -> Result<(), String> {
        let line = format!("{},{:.3},{:.3}", name(cell), cell.one_stripe, cell.default_stripes);
        println!("{line} table {:.3}", cell.reference);
        match &mut self.file {
            Some(file) => writeln!(file, "{line}").map_err(|e| format!("cannot keep a result: {e}")),
            None => Ok(()),
        }
    }
}

fn name(cell: &Cell) -> String {
    format!("{},{},{}", cell.trace, cell.capacity, policy_name(cell.policy))
}

fn parse(line: &str) -> Option<(String, (f64, f64))> {
    let (line, default_stripes) = line.rsplit_once(',')?;
    let (name, one_stripe) = line.rsplit_once(',')?;
    Some((name.to_owned(), (one_stripe.parse().ok()?, default_stripes.parse().ok()?)))
}
