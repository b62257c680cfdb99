//! Reads a trace.

use std::{fs, path::Path};

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub id: u32,
    /// In bytes; 0 where the trace has no sizes.
    pub size: u32,
}

/// All requests of a file, in their order.
///
/// # Errors
/// What is wrong with the file.
#[expect(clippy::disallowed_methods, reason = "an example reads its input as any program does")]
pub fn read(path: &Path) -> Result<Vec<Request>, String> {
    let failed = |why: String| format!("cannot read {}: {why}", path.display());
    let mut bytes = fs::read(path).map_err(|e| failed(e.to_string()))?;
    let mut name = path.to_string_lossy().into_owned();
    if let Some(inner) = name.strip_suffix(".zst") {
        name = inner.to_owned();
        bytes = decompressed(&bytes).map_err(|e| failed(e.to_string()))?;
    }
    let (words, rest) = bytes.as_chunks();
    let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let sized = name.ends_with(".idsz");
    if !rest.is_empty() || (sized && !words.len().is_multiple_of(2)) {
        return Err(failed("its end is missing".to_owned()));
    }
    Ok(if sized {
        words.as_chunks().0.iter().map(|&[id, size]| Request { id, size }).collect()
    } else {
        words.into_iter().map(|id| Request { id, size: 0 }).collect()
    })
}

fn decompressed(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut decoder = zstd::Decoder::new(bytes)?;
    // Traces are compressed with a window of 128 MiB.
    decoder.window_log_max(27)?;
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut out)?;
    Ok(out)
}
