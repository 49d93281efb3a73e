//! The listener with TLS: a server started by hand, called with the admin's certificate, with none, with a
//! stranger's, and by a client without TLS; and the port for the other servers.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use trireme_client::Kubeconfig;
use trireme_proto::etcd::server::kv_client::KvClient;
use trireme_proto::peer::v1::{ConditionRequest, peer_client::PeerClient};
use trireme_tests::harness::{free_ports, poll_until};

use crate::etcdctl::{Ctl, is_installed};
use crate::limits::throw_garbage;
use crate::target::{PATIENCE, one, server};

pub(crate) async fn check() -> Result<()> {
    let directory = tempfile::Builder::new().prefix("trireme-test.").tempdir()?;
    let port = free_ports(9)?;
    let mut ours = start(&directory.path().join("ours"), port)?;
    let mut strange = start(&directory.path().join("theirs"), port + 3)?;
    let access = access(&directory.path().join("ours")).await?;
    let other = self::access(&directory.path().join("theirs")).await?;
    let endpoint = format!("https://127.0.0.1:{}", port + 2);

    let admin = access.identity.context("the admin has a certificate")?;
    let ca = Certificate::from_pem(&access.ca_pem);
    let tls = || {
        ClientTlsConfig::new()
            .ca_certificate(ca.clone())
            .domain_name("127.0.0.1")
    };
    let identity = Identity::from_pem(&admin.cert_pem, &admin.key_pem);
    poll_until("the admin to be served", PATIENCE, || async {
        let mut kv = client(&endpoint, tls().identity(identity.clone())).await?;
        kv.range(one("a")).await?;
        Ok(Some(()))
    })
    .await?;

    let nobody = client(&endpoint, tls()).await?.range(one("a")).await;
    ensure!(
        nobody.is_err_and(|status| status.code() == Code::Unauthenticated),
        "without a certificate"
    );
    let stranger = other.identity.context("the other admin has a certificate")?;
    let stranger = Identity::from_pem(&stranger.cert_pem, &stranger.key_pem);
    let refused = match client(&endpoint, tls().identity(stranger)).await {
        Ok(mut kv) => kv.range(one("a")).await.is_err(),
        Err(_) => true,
    };
    ensure!(refused, "another cluster's certificate");
    let plain = Endpoint::from_shared(format!("http://127.0.0.1:{}", port + 2))?.connect_lazy();
    ensure!(KvClient::new(plain).range(one("a")).await.is_err(), "without TLS");
    for port in port..port + 3 {
        let address = format!("127.0.0.1:{port}");
        throw_garbage(&address).await.with_context(|| address.clone())?;
    }
    // The admin is still served.
    client(&endpoint, tls().identity(identity.clone()))
        .await?
        .range(one("a"))
        .await?;
    servers_alone(directory.path(), port + 1, tls(), &identity).await?;
    stock_client(directory.path(), &endpoint, &access.ca_pem, &admin).await?;
    exposed(&directory.path().join("exposed"), port + 6).await?;
    ours.kill().await?;
    strange.kill().await?;
    Ok(())
}

fn start(data_dir: &Path, port: u16) -> Result<tokio::process::Child> {
    let etcd = format!("127.0.0.1:{}", port + 2);
    let mut command = server("alone", data_dir, port, &etcd);
    command.arg("--cluster-init").spawn().context("starting a server")
}

/// The port for the other servers takes servers of this cluster and nobody else, also if it is a server of another.
async fn servers_alone(folder: &Path, port: u16, tls: ClientTlsConfig, admin: &Identity) -> Result<()> {
    let server_of = |cluster: &str| -> Result<Identity> {
        let pki = folder.join(cluster).join("pki");
        let (certificate, key) = (pki.join("server.crt"), pki.join("server.key"));
        Ok(Identity::from_pem(std::fs::read(certificate)?, std::fs::read(key)?))
    };
    let endpoint = format!("https://127.0.0.1:{port}");
    let ask = async |tls: ClientTlsConfig| -> Result<u64> {
        let endpoint = Endpoint::from_shared(endpoint.clone())?.tls_config(tls)?;
        let mut peer = PeerClient::new(endpoint.connect().await?);
        Ok(peer.condition(ConditionRequest {}).await?.into_inner().server_id)
    };
    ensure!(ask(tls.clone().identity(server_of("ours")?)).await? > 0);
    for (whose, identity) in [
        ("another cluster's server's", server_of("theirs")?),
        ("the admin's", admin.clone()),
    ] {
        let answered = ask(tls.clone().identity(identity)).await;
        ensure!(answered.is_err(), "with {whose} certificate: {answered:?}");
    }
    let answered = ask(tls).await;
    ensure!(answered.is_err(), "without a certificate: {answered:?}");
    Ok(())
}

/// The stock `etcdctl`, with its certificate and without.
async fn stock_client(folder: &Path, endpoint: &str, ca_pem: &str, admin: &trireme_client::Identity) -> Result<()> {
    if !is_installed().await {
        return Ok(());
    }
    let files = [
        ("--cacert", "ca.pem", ca_pem),
        ("--cert", "cert.pem", &admin.cert_pem),
        ("--key", "key.pem", &admin.key_pem),
    ];
    let mut options = Vec::new();
    for (flag, name, pem) in files {
        let path = folder.join(name);
        std::fs::write(&path, pem)?;
        options.extend([flag.to_owned(), path.display().to_string()]);
    }
    let of = |options: &[String]| Ctl {
        endpoints: endpoint.to_owned(),
        options: options.to_vec(),
    };
    let ctl = of(&options);
    ensure!(ctl.ok(&["put", "tls", "1"]).await? == "OK\n");
    ensure!(ctl.ok(&["get", "tls", "--print-value-only"]).await? == "1\n");
    // Only the CA's certificate, none of its own.
    let nobody = of(&options[..2]);
    let said = nobody.refused(&["get", "tls", "--command-timeout", "5s"]).await?;
    ensure!(said.contains("certificate"), "{said}");
    Ok(())
}

/// Without TLS only a loopback address is served.
async fn exposed(data_dir: &Path, port: u16) -> Result<()> {
    let mut command = server("alone", data_dir, port, "0.0.0.0:0");
    let output = command
        .args(["--cluster-init", "--etcd-insecure"])
        .stderr(Stdio::piped())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains("loopback"), "{said}");
    ensure!(!data_dir.join("server.json").exists(), "nothing was made");
    Ok(())
}

async fn access(data_dir: &Path) -> Result<trireme_client::ClientConfig> {
    let path = data_dir.join("admin.kubeconfig");
    poll_until("the admin's credentials", PATIENCE, || async {
        Ok(Some(Kubeconfig::read(&path)?.access(None, data_dir)?.config))
    })
    .await
}

async fn client(endpoint: &str, tls: ClientTlsConfig) -> Result<KvClient<Channel>> {
    let endpoint = Endpoint::from_shared(endpoint.to_owned())?.tls_config(tls)?;
    Ok(KvClient::new(endpoint.connect().await?))
}
