//! Three servers in one process over loopback: founding, joining, writing through any of them, the leader's loops.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use trireme_client::{Api, Client, ClientConfig, Kubeconfig, token::Token};
use trireme_control_plane::{ServerConfig, ServerError, Start, run_server};
use trireme_proto::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{Container, Namespace, Pod, PodSpec, PodTemplateSpec},
        meta::v1::{LabelSelector, ObjectMeta},
    },
    v1::{CreateTokenRequest, JoinRole},
};
use trireme_store::{Retention, Timings};

const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    shutdown: CancellationToken,
    server: JoinHandle<Result<(), ServerError>>,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn start(directory: &Path, name: &str, start: Start) -> Running {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let config = ServerConfig {
        name: name.to_owned(),
        data_dir: directory.join(name),
        start,
        listen: local(free_port()),
        peer_listen: local(free_port()),
        etcd_listen: None,
        advertise_host: "127.0.0.1".to_owned(),
        subject_alt_names: Vec::new(),
        timings: Timings::default(),
        retention: Retention::default(),
        #[cfg(feature = "faults")]
        faults: Default::default(),
    };
    let shutdown = CancellationToken::new();
    Running {
        server: tokio::spawn(run_server(config, shutdown.clone())),
        shutdown,
    }
}

async fn until<T, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn client_of(directory: &Path, name: &str) -> Client {
    let home = directory.join(name);
    let path = home.join("admin.kubeconfig");
    let config = until("the kubeconfig", || async {
        Kubeconfig::read(&path)
            .ok()
            .map(|file| file.access(None, &home).expect("a context").config)
    })
    .await;
    let own = ClientConfig {
        endpoints: vec![config.endpoints[0].clone()],
        ..config
    };
    Client::new(own).expect("a client")
}

async fn server_token(client: &Client) -> Token {
    let answer = until("a token", || async {
        let request = CreateTokenRequest {
            role: JoinRole::Server as i32,
            ..CreateTokenRequest::default()
        };
        let (mut cluster, _) = client.cluster().await.ok()?;
        cluster.create_token(request).await.ok()
    })
    .await;
    answer.into_inner().token.parse().expect("a token")
}

fn deployment(replicas: i32) -> Deployment {
    let labels = std::collections::BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    let container = Container {
        name: "main".to_owned(),
        image: "trireme.local/hello:1".to_owned(),
        ..Container::default()
    };
    Deployment {
        metadata: Some(ObjectMeta {
            name: "web".to_owned(),
            namespace: "default".to_owned(),
            ..ObjectMeta::default()
        }),
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            selector: Some(LabelSelector {
                match_labels: labels.clone(),
                ..LabelSelector::default()
            }),
            template: Some(PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels,
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    containers: vec![container],
                    ..PodSpec::default()
                }),
            }),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_join_vote_and_serve_and_the_leader_runs_its_loops() {
    let directory = TempDir::new().expect("a directory");
    let directory = directory.path();
    let first = start(directory, "s1", Start::ClusterInit);
    let client = client_of(directory, "s1").await;
    let token = server_token(&client).await;
    let address = client.connection().config().endpoints[0].clone();
    let join = || Start::Join {
        servers: vec![address.clone()],
        token: token.clone(),
        replaces: String::new(),
    };
    let second = start(directory, "s2", join());
    let third = start(directory, "s3", join());

    until("three healthy servers", || async {
        let members = client.cluster_status().await.ok()?.members;
        let healthy = members
            .iter()
            .filter(|member| member.health == "Healthy" && member.role != "Learner")
            .count();
        (healthy == 3).then_some(())
    })
    .await;

    let follower = client_of(directory, "s3").await;
    let namespaces: Api<Namespace> = Api::all(&follower);
    until("the default namespace", || async {
        namespaces.get_opt("default").await.ok()?
    })
    .await;
    let deployments: Api<Deployment> = Api::namespaced(&follower, "default");
    let stored = deployments
        .create(&deployment(3))
        .await
        .expect("a follower takes writes");
    assert_ne!(stored.metadata.expect("metadata").resource_version, "");

    let pods: Api<Pod> = Api::namespaced(&client, "default");
    let names = until("three pods", || async {
        let pods = pods.list("app=web", "").await.ok()?.items;
        (pods.len() == 3).then(|| {
            pods.into_iter()
                .map(|pod| pod.metadata.unwrap_or_default().name)
                .collect::<Vec<_>>()
        })
    })
    .await;
    assert!(names.iter().all(|name| name.starts_with("web-")), "{names:?}");
    until("a reason why they are pending", || async {
        let pods = pods.list("app=web", "").await.ok()?.items;
        let told = pods
            .iter()
            .filter_map(|pod| pod.status.as_ref())
            .flat_map(|status| &status.conditions);
        told.filter(|condition| condition.r#type == "PodScheduled" && condition.message.contains("no nodes available"))
            .nth(2)
            .map(drop)
    })
    .await;

    for running in [third, second, first] {
        running.shutdown.cancel();
        running.server.await.expect("no panic").expect("a clean end");
    }
}
