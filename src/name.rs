//! Everything that a rename of the product would change, so that a rename is one commit.

/// The product, as it appears in texts and in the name of the binary.
pub const PRODUCT: &str = "emberkeep";
/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The `Server` header.
pub const SERVER: &str = concat!("emberkeep/", env!("CARGO_PKG_VERSION"));
/// Where the data lives unless told otherwise.
pub const DATA_DIR: &str = "./emberkeep-data";
/// The first eight bytes of a binary export.
pub const EXPORT_MAGIC: &[u8; 8] = b"EMBKHFS\0";
/// The environment variable that sets the log level.
pub const ENV_LOG: &str = "EMBERKEEP_LOG";

/// Header names of our own, in the lower case that HTTP libraries want.
pub mod header {
    /// The log sequence that a write got.
    pub const SEQ: &str = "emberkeep-seq";
    /// The level that is asked for, or that was reached.
    pub const DURABILITY: &str = "emberkeep-durability";
    /// Milliseconds that an entry still has.
    pub const TTL_MS: &str = "emberkeep-ttl-ms";
    /// When an entry expires, in milliseconds since 1970.
    pub const EXPIRES_AT: &str = "emberkeep-expires-at";
}
