//! `cluster restore` and `cluster recover`: a new cluster out of what is left. Both work on folders of this machine.

use std::path::PathBuf;

use anyhow::{Error, Result};
use clap::Args;
use trireme_control_plane::server::{
    RefoundError, Restore, inspect, recover as recover_data, restore as restore_backup,
};
use trireme_control_plane::{BackupError, RecoverError, RestoreError, Survivor};

use crate::command::server::host_name;
use crate::exit::{Exit, Failure};
use crate::output::{print, say};

/// Flags of `cluster restore`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme cluster restore monday.backup --data-dir /var/lib/trireme --name oar-1
  trireme cluster restore monday.backup --data-dir /var/lib/trireme --name oar-1 --pki-dir /safe/pki

It makes the first server of a cluster with a new id; start it with `trireme server`, and let others join it as usual.
Without --pki-dir the cluster has a new certificate authority: agents join it anew with tokens, and keep their names.
With --pki-dir (a copy of the folder pki of an old server) agents and admins go on with the certificates that they have;
be sure then that no server of the old cluster runs any more.
Resource versions begin far above all that were ever seen, so that whoever watches begins anew.")]
pub(crate) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// Where the new server keeps everything; absent or empty
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The new server's name; otherwise the host's name
    #[arg(long)]
    name: Option<String>,
    /// A folder with the old cluster's ca.crt and ca.key, to keep its certificates valid
    #[arg(long, value_name = "DIR")]
    pki_dir: Option<PathBuf>,
}

/// Flags of `cluster recover`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme cluster recover --data-dir /var/lib/trireme
  trireme cluster recover --data-dir /var/lib/trireme --yes-i-may-lose-writes

For when most servers are lost for good and the rest cannot form a quorum. Stop the server first. Without the last flag it
only says what would be kept, and what may be lost. Of several servers that are left, take the one whose last log entry has
the greatest term, then the greatest index.")]
pub(crate) struct RecoverArgs {
    /// The folder of the server that is left
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Do it, and lose what only the other servers had
    #[arg(long)]
    yes_i_may_lose_writes: bool,
}

/// Runs `cluster restore`.
pub(crate) async fn restore(args: RestoreArgs) -> Result<()> {
    let RestoreArgs {
        file,
        data_dir,
        name,
        pki_dir,
    } = args;
    let name = name.map_or_else(host_name, Ok)?;
    let wish = Restore {
        backup: file.clone(),
        data_dir: data_dir.clone(),
        name: name.clone(),
        pki: pki_dir.clone(),
    };
    let (header, refounded) = restore_backup(wish).await.map_err(explain)?;
    let agents = if pki_dir.is_some() {
        "Agents and admins go on with the certificates that they have."
    } else {
        "The certificate authority is new: agents join with tokens (`trireme token create`)."
    };
    say(format!(
        "{} restored: revision {} of cluster {}; it goes on as revision {}.\n{agents}\nStart its first server, and \
         then let others join (`trireme cluster add`):\n\n  trireme server --name {name} --data-dir {}\n",
        file.display(),
        header.revision,
        header.cluster_id,
        refounded.revision,
        data_dir.display()
    ))
}

/// Runs `cluster recover`.
pub(crate) async fn recover(args: RecoverArgs) -> Result<()> {
    let data_dir = args.data_dir;
    if !args.yes_i_may_lose_writes {
        let survivor = inspect(&data_dir).await.map_err(explain)?;
        print(&report(&survivor))?;
        return Err(
            Failure::new(Exit::Conflict, "nothing was changed: a recovery may lose writes")
                .help("if the other servers are lost for good, run it again with --yes-i-may-lose-writes")
                .into(),
        );
    }
    let (survivor, refounded) = recover_data(&data_dir).await.map_err(explain)?;
    print(&report(&survivor))?;
    say(format!(
        "\nrecovered: a cluster of one, server id {}, revision {} goes on as {}. Start it as before, with \
         `trireme server --data-dir {}`.\nThe old servers must never run again: delete their data, and let new ones join \
         (`trireme cluster add`).",
        refounded.server_id,
        refounded.former_revision,
        refounded.revision,
        data_dir.display()
    ))
}

fn report(survivor: &Survivor) -> String {
    let Survivor {
        cluster_id,
        server_id,
        members,
        last_entry: (term, index),
        committed_index,
        applied: _,
    } = survivor;
    let open = index.saturating_sub(*committed_index);
    let open = match open {
        0 => String::new(),
        1 => " The last of them was perhaps never acknowledged; it is kept, too.".to_owned(),
        more => format!(" The last {more} of them were perhaps never acknowledged; they are kept, too."),
    };
    format!(
        "Server {server_id} of cluster {cluster_id} (servers {}).\n\
         Kept: everything up to entry {index} (term {term}), where its log ends.{open}\n\
         Lost: writes that were acknowledged after that and never reached this server. Nobody can tell whether there are \
         any.\n",
        members.join(", ")
    )
}

/// Gives each failure its exit code and remedy.
fn explain(error: RefoundError) -> Error {
    let whole = |error: RefoundError| {
        let error = Error::new(error);
        Failure::of(&error).message
    };
    let (exit, help) = match &error {
        RefoundError::Restore { source, .. } => match source {
            RestoreError::Backup(BackupError::Io(_)) => (Exit::Local, "check the name of the backup"),
            RestoreError::Backup(_) => (Exit::Invalid, "nothing was changed; use another backup"),
            RestoreError::NotEmpty { .. } | RestoreError::Write(_) => (Exit::Local, "nothing was changed"),
        },
        RefoundError::Recover { source, .. } => match source {
            RecoverError::Nothing { .. } => (Exit::Local, "pass the folder that the server was started with"),
            RecoverError::Damaged(_) => (Exit::Invalid, "nothing was changed"),
            RecoverError::Write(_) => (Exit::Local, "stop the server first, if it runs"),
        },
        RefoundError::NotEmpty { .. } => (Exit::Local, "choose another --data-dir, or delete what is in it"),
        RefoundError::Home(_) | RefoundError::Pki(_) | RefoundError::Io { .. } => (Exit::Local, ""),
    };
    Failure::new(exit, whole(error)).help(help).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_kept_and_what_may_be_lost() {
        let survivor = |committed_index| Survivor {
            cluster_id: "c".to_owned(),
            server_id: 2,
            members: vec!["oar-1".to_owned(), "oar-2".to_owned()],
            last_entry: (5, 120),
            committed_index,
            applied: (100, 90),
        };
        let told = report(&survivor(117));
        assert!(told.contains("servers oar-1, oar-2"), "{told}");
        assert!(told.contains("up to entry 120 (term 5)"), "{told}");
        assert!(
            told.contains("The last 3 of them were perhaps never acknowledged"),
            "{told}"
        );
        assert!(told.contains("Lost: writes"), "{told}");
        assert!(!report(&survivor(120)).contains("perhaps"));
    }
}
