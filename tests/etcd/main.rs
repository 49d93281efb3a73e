//! etcd's API as its clients see it: the stock `etcdctl`, generated clients and the `etcd-client` crate, against three
//! servers. What is expected is checked against Debian's etcd as well, where it is installed, so that nothing is
//! expected here that etcd itself does not do.

mod admin;
mod coordination;
mod disk;
mod etcdctl;
mod flood;
mod kv;
mod lease;
mod library;
mod limits;
mod metrics;
mod slow;
mod target;
mod tls;
mod watch;

use anyhow::{Context, Result};
use target::{Etcd, Peer, Target, Trireme};

/// Checks of one matter; each keeps to keys of its own.
async fn all(target: &Target) -> Result<()> {
    kv::check(target).await.context("keys")?;
    watch::check(target).await.context("watches")?;
    lease::check(target).await.context("leases")?;
    coordination::check(target).await.context("locks and elections")?;
    limits::check(target).await.context("limits")
}

#[tokio::test]
async fn does_what_etcd_does() -> Result<()> {
    let trireme = Trireme::start().await?;
    let target = Target::new(Peer::Trireme, trireme.endpoints()?)?;
    all(&target).await?;
    metrics::check(&trireme).await.context("metrics")?;
    admin::check(&trireme, &target).await?;
    limits::garbage_harms_nobody(&trireme, &target).await
}

/// The judge is judged: what is expected above is what etcd does.
#[tokio::test]
async fn etcd_does_what_is_expected() -> Result<()> {
    let Some(etcd) = Etcd::start().await? else {
        eprintln!("skipped: no etcd is installed");
        return Ok(());
    };
    let target = Target::new(Peer::Etcd, vec![etcd.endpoint()])?;
    all(&target).await
}

#[tokio::test]
async fn the_stock_command_line_works() -> Result<()> {
    let trireme = Trireme::start().await?;
    etcdctl::check(&trireme).await
}

#[tokio::test]
async fn the_rust_library_works() -> Result<()> {
    let trireme = Trireme::start().await?;
    library::check(&trireme).await
}

#[tokio::test]
async fn leases_and_watches_outlive_the_leader() -> Result<()> {
    let trireme = Trireme::start().await?;
    let target = Target::new(Peer::Trireme, trireme.endpoints()?)?;
    admin::leader_changes(&trireme, &target).await
}

#[tokio::test]
async fn watchers_cost_little() -> Result<()> {
    let trireme = Trireme::start().await?;
    slow::check(&trireme).await
}

#[tokio::test]
async fn a_flood_of_large_reads_harms_nobody_else() -> Result<()> {
    let trireme = Trireme::start().await?;
    flood::check(&trireme).await
}

#[tokio::test]
async fn certificates_decide_who_is_served() -> Result<()> {
    tls::check().await
}

#[tokio::test]
async fn a_failing_disk_ends_its_server_and_no_other() -> Result<()> {
    if is_root() {
        disk::a_failing_disk_ends_its_server().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_full_disk_can_be_cleared() -> Result<()> {
    if is_root() {
        disk::a_full_disk_can_be_cleared().await?;
    }
    Ok(())
}

/// Whether file systems can be made here.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("not tested: only root can mount");
    }
    root
}
