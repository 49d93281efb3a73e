//! Brings a local cluster up: whatever does not run is started, as early and as much at once as its needs allow.
//!
//! The first server makes the cluster; its credentials give tokens; with them all the rest starts together.

mod manifests;
mod waiting;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;
use trireme_client::{Client, Kubeconfig, Link};
use trireme_proto::v1::cluster_client::ClusterClient;
use trireme_proto::v1::{CreateTokenRequest, JoinRole};

use self::waiting::passes;
use crate::command::agent::RuntimeKind;
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::local::layout::Layout;
use crate::local::plan::{Plan, ServerPlan, Wish};
use crate::local::process::{ProcessRecord, spawn};
use crate::local::progress::Progress;
use crate::object::Object;

/// How long a join token of a local cluster is valid, in seconds.
const TOKEN_TTL_SECONDS: u64 = 600;

/// A local cluster that is being brought up, or that stands.
pub(crate) struct Up {
    /// Where it is.
    pub(crate) layout: Layout,
    /// What it consists of.
    pub(crate) plan: Plan,
    progress: Progress,
    /// The processes that this program started, with their names.
    children: Vec<(String, Child)>,
    deadline: Instant,
}

impl Up {
    /// Reads or makes the plan. Nothing is started yet.
    pub(crate) fn prepare(layout: Layout, wish: &Wish) -> Result<Self> {
        let progress = Progress::start();
        let made = |plan: &Plan| plan.servers.iter().any(|server| is_made(&layout, server));
        let plan = match Plan::read(&layout)?.filter(made) {
            Some(mut plan) => {
                plan.grow(wish)?;
                plan
            }
            None => Plan::new(&Wish {
                runtime: settled(wish.runtime),
                ..wish.clone()
            })?,
        };
        Ok(Self {
            layout,
            plan,
            progress,
            children: Vec::new(),
            deadline: Instant::now() + limits::UP_TIMEOUT,
        })
    }

    /// Starts what does not run, and waits until the cluster stands.
    pub(crate) async fn start(&mut self) -> Result<()> {
        self.check_ports()?;
        self.plan.write(&self.layout)?;
        self.write_etcd_endpoints()?;
        let servers = self.plan.servers.clone();
        let (there, new): (Vec<_>, Vec<_>) = servers.into_iter().partition(|server| is_made(&self.layout, server));
        for server in &there {
            self.start_server(server, &[], None)?;
        }
        let mut new = new.into_iter();
        if there.is_empty() {
            let first = new.next().context("a plan has a server")?;
            self.start_server(&first, &["--cluster-init".to_owned()], None)?;
        }
        self.write_kubeconfig().await?;
        let client = self.client()?;
        self.start_rest(&client, new.collect()).await?;
        self.wait_for_members(&client).await?;
        self.wait_for_nodes(&client).await
    }

    /// Tells other programs where etcd's API is served, if it is.
    fn write_etcd_endpoints(&self) -> Result<()> {
        let endpoints = self.plan.etcd_endpoints();
        if endpoints.is_empty() {
            return Ok(());
        }
        let path = self.layout.etcd_endpoints();
        std::fs::write(&path, endpoints.join(",")).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether the process of this name runs.
    fn runs(&self, name: &str) -> bool {
        ProcessRecord::read(&self.layout.pid(name)).is_some_and(|record| record.is_alive())
    }

    /// A port that someone else has is told before anything is started.
    fn check_ports(&self) -> Result<()> {
        for server in self.plan.servers.iter().filter(|server| !self.runs(&server.name)) {
            for port in [server.api_port, server.peer_port].into_iter().chain(server.etcd_port) {
                if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
                    let help =
                        "stop what uses it, or choose others with --base-port (for a cluster that is not made yet)";
                    return Err(Failure::new(Exit::Local, format!("port {port} of 127.0.0.1 is in use"))
                        .help(help)
                        .into());
                }
            }
        }
        Ok(())
    }

    fn start_server(&mut self, server: &ServerPlan, how: &[String], token: Option<&str>) -> Result<()> {
        let data_dir = self.layout.server(&server.name);
        let mut arguments: Vec<String> = ["server", "--name", &server.name, "--data-dir"]
            .map(str::to_owned)
            .to_vec();
        arguments.push(data_dir.display().to_string());
        arguments.extend(["--listen".to_owned(), server.address()]);
        arguments.extend(["--peer-listen".to_owned(), format!("127.0.0.1:{}", server.peer_port)]);
        if let Some(port) = server.etcd_port {
            arguments.extend([
                "--etcd-listen".to_owned(),
                format!("127.0.0.1:{port}"),
                "--etcd-insecure".to_owned(),
            ]);
        }
        arguments.extend(["--advertise-address", "127.0.0.1", "--tls-san", "localhost"].map(str::to_owned));
        arguments.extend(how.iter().cloned());
        self.start_process(&server.name, &arguments, token)
    }

    fn start_agent(&mut self, name: &str, token: Option<&str>) -> Result<()> {
        let mut arguments: Vec<String> = ["agent", "--name", name, "--data-dir"].map(str::to_owned).to_vec();
        arguments.push(self.layout.agent(name).display().to_string());
        let runtime = if self.plan.runtime == RuntimeKind::Process {
            "process"
        } else {
            "cri"
        };
        arguments.extend([
            "--runtime".to_owned(),
            runtime.to_owned(),
            "--join".to_owned(),
            self.plan.addresses().join(","),
        ]);
        if let Some(image_dir) = &self.plan.image_dir {
            arguments.extend(["--image-dir".to_owned(), image_dir.display().to_string()]);
        }
        self.start_process(name, &arguments, token)
    }

    /// Starts a process, unless it runs.
    fn start_process(&mut self, name: &str, arguments: &[String], token: Option<&str>) -> Result<()> {
        if self.runs(name) {
            self.progress.step(format!("{name} runs already"));
            return Ok(());
        }
        let child = spawn(arguments, token, &self.layout.log(name))?;
        let pid = i32::try_from(child.id()).context("a process id fits")?;
        if let Some(record) = ProcessRecord::of(pid) {
            record.write(&self.layout.pid(name))?;
        }
        self.progress.step(format!("{name} started (process {pid})"));
        self.children.push((name.to_owned(), child));
        Ok(())
    }

    /// The process that ended since the last look, if one did, with how it ended.
    pub(crate) fn ended(&mut self) -> Option<(String, std::process::ExitStatus)> {
        for position in 0..self.children.len() {
            if let Ok(Some(status)) = self.children[position].1.try_wait() {
                return Some((self.children.swap_remove(position).0, status));
            }
        }
        None
    }

    /// Makes the admin's kubeconfig, with all servers in it, from the one that the first server wrote.
    async fn write_kubeconfig(&mut self) -> Result<()> {
        let first = self.plan.servers.first().context("a plan has a server")?.name.clone();
        let made = self.layout.server(&first).join("admin.kubeconfig");
        while !made.exists() && !self.layout.kubeconfig().exists() {
            self.pause("the first server").await?;
        }
        let source = if made.exists() { made } else { self.layout.kubeconfig() };
        let mut kubeconfig = Kubeconfig::read(&source)?;
        kubeconfig.set_servers(&self.plan.addresses())?;
        Ok(kubeconfig.write(&self.layout.kubeconfig())?)
    }

    /// A client whose calls fail at once: the waiting is done here, where a dead process is noticed.
    fn client(&self) -> Result<Client> {
        let mut config = Kubeconfig::read(&self.layout.kubeconfig())?
            .access(None, self.layout.root())?
            .config;
        config.retry_for = Duration::ZERO;
        Ok(Client::new(config)?)
    }

    /// Starts the servers that have to join, and the agents, all at once.
    async fn start_rest(&mut self, client: &Client, new: Vec<ServerPlan>) -> Result<()> {
        if !new.is_empty() {
            let token = self.token(client, JoinRole::Server).await?;
            let others = self.plan.servers.iter().filter(|server| !new.contains(server));
            let join: Vec<String> = others.map(ServerPlan::address).collect();
            for server in &new {
                self.start_server(server, &["--join".to_owned(), join.join(",")], Some(&token))?;
            }
        }
        let token = if self.plan.agents.iter().all(|agent| agent.joined) {
            None
        } else {
            Some(self.token(client, JoinRole::Node).await?)
        };
        for agent in self.plan.agents.clone() {
            self.start_agent(&agent.name, token.as_deref().filter(|_| !agent.joined))?;
        }
        Ok(())
    }

    async fn token(&mut self, client: &Client, role: JoinRole) -> Result<String> {
        loop {
            let request = CreateTokenRequest {
                role: role.into(),
                ttl_seconds: TOKEN_TTL_SECONDS,
                description: "for `trireme up`".to_owned(),
            };
            let call = |link: Link| {
                let request = request.clone();
                async move { ClusterClient::new(link.channel).create_token(request).await }
            };
            match client.write(call).await {
                Ok(answer) => return Ok(answer.token),
                // A token too many does no harm: it ends by itself.
                Err(error) if passes(&error) => self.pause("the first server to lead").await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Where everything is, and what to try next.
    pub(crate) fn summary(&self) -> String {
        let down = if self.layout.root() == std::path::absolute(DEFAULT_DATA_DIR).unwrap_or_default() {
            "trireme down".to_owned()
        } else {
            format!("trireme down --data-dir {}", self.layout.root().display())
        };
        let etcd = match self.plan.etcd_endpoints() {
            endpoints if endpoints.is_empty() => String::new(),
            endpoints => format!("etcd API  {}\n  ", endpoints.join(", ")),
        };
        format!(
            "\nThe cluster is up after {:.1} s: {} servers, {} nodes.\n\n  \
             servers   {}\n  {etcd}data      {}\n  logs      {}\n\nTry:\n\n  \
             export KUBECONFIG={}\n  trireme get pods -o wide\n  trireme cluster status\n  trireme describe node {}\n  \
             {down}\n",
            self.progress.seconds(),
            self.plan.servers.len(),
            self.plan.agents.len(),
            self.plan.addresses().join(", "),
            self.layout.root().display(),
            self.layout.root().join("logs").display(),
            self.layout.kubeconfig().display(),
            self.plan.agents.first().map_or("NAME", |agent| agent.name.as_str()),
        )
    }
}

/// Where a local cluster is if nothing else is said.
pub(crate) const DEFAULT_DATA_DIR: &str = ".trireme";

/// `auto` is settled once, so that a cluster does not change its runtime between two starts.
fn settled(runtime: RuntimeKind) -> RuntimeKind {
    match runtime {
        RuntimeKind::Auto => match crate::command::agent::choose(RuntimeKind::Auto, None::<PathBuf>) {
            trireme_node_agent::RuntimeChoice::Process => RuntimeKind::Process,
            _ => RuntimeKind::Cri,
        },
        settled => settled,
    }
}

/// Whether a server's data is there.
fn is_made(layout: &Layout, server: &ServerPlan) -> bool {
    layout.server(&server.name).join("server.json").exists()
}

fn is_ready(object: &Object) -> bool {
    object.condition("Ready").is_some_and(|(status, _, _)| status == "True")
}
