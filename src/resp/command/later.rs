//! Commands that wait: for the disk, for a snapshot, for time to pass.

use std::{sync::Arc, time::Duration};

use emberkeep_storage::Fsync;
use tokio::time::timeout;

use crate::{
    node::error::Code,
    resp::{
        fail::{Done, Fail},
        number, parameters,
        parse::Args,
        reply::Reply,
        shared::Shared,
    },
};

/// The commands that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    Wait,
    WaitAof,
    Save,
    BgSave,
    BgRewrite,
    Config,
}

/// Runs one of them.
pub async fn run(shared: &Arc<Shared>, later: Later, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    match later {
        Later::Wait => wait(args, reply),
        Later::WaitAof => wait_aof(shared, args, reply).await,
        Later::Save => save(shared, reply).await,
        Later::BgSave => bgsave(shared, "Background saving started", reply),
        Later::BgRewrite => bgsave(shared, "Background append only file rewriting started", reply),
        Later::Config => parameters::config(shared, args, reply).await,
    }
}

fn millis(text: &[u8]) -> Result<u64, Fail> {
    let millis = number::integer(text).ok_or(Fail::text("ERR timeout is not an integer or out of range"))?;
    u64::try_from(millis).map_err(|_| Fail::text("ERR timeout is negative"))
}

/// There are no replicas, and none can come while somebody waits: the answer is known at once.
fn wait(args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    number::integer(&args[1]).ok_or(Fail::NOT_AN_INTEGER)?;
    millis(&args[2])?;
    reply.int(0);
    Ok(())
}

async fn wait_aof(shared: &Shared, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let local = number::integer(&args[1]).ok_or(Fail::NOT_AN_INTEGER)?;
    number::integer(&args[2]).filter(|n| *n >= 0).ok_or(Fail::NOT_AN_INTEGER)?;
    if !(0..=1).contains(&local) {
        return Err(Fail::text("ERR value is out of range, value must between 0 and 1"));
    }
    let millis = millis(&args[3])?;
    if shared.node.settings().fsync == Fsync::Off {
        return Err(Fail::text(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    let everything = shared.node.everything();
    let synced = match (local, millis) {
        (0, _) => true,
        (_, 0) => shared.node.settle(everything).await.map(|()| true)?,
        _ => match timeout(Duration::from_millis(millis), shared.node.settle(everything)).await {
            Ok(settled) => settled.map(|()| true)?,
            Err(_) => false,
        },
    };
    reply.array(2);
    reply.int(synced.into());
    reply.int(0);
    Ok(())
}

async fn save(shared: &Shared, reply: &mut Reply<'_>) -> Done {
    match shared.node.snapshot().await {
        Ok(_) => {
            reply.ok();
            Ok(())
        }
        Err(e) if e.code() == Code::SnapshotRunning => {
            Err(Fail::text("ERR Background save already in progress"))
        }
        Err(e) => Err(e.into()),
    }
}

/// Goes on when nobody waits any more; what it met is in the log of the server.
fn bgsave(shared: &Arc<Shared>, started: &str, reply: &mut Reply<'_>) -> Done {
    let shared = shared.clone();
    tokio::task::spawn_local(async move {
        if let Err(error) = shared.node.snapshot().await {
            tracing::warn!(%error, "no snapshot: the old one and the log stay");
        }
    });
    reply.simple(started);
    Ok(())
}
