//! What it costs to find the owners of a new pod's fields, in microseconds and bytes.
//!
//! Run it optimised: `cargo run --release -p trireme-logic --example owners_cost`.

use std::time::{Duration, Instant};

use trireme_logic::{
    apply::{Change, Part, owners_of_new},
    kinds,
};
use trireme_proto::api::meta::v1::Time;

/// A pod as people write them: about 2 KB of JSON once it has its defaults.
const POD: &str = r#"{"metadata": {"name": "web-7d4b9c6f5-abcde", "namespace": "shop",
    "labels": {"app": "web", "tier": "frontend", "pod-template-hash": "7d4b9c6f5"},
    "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090"}},
  "spec": {"serviceAccountName": "web", "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "web", "effect": "NoSchedule"}],
    "volumes": [{"name": "config", "configMap": {"name": "web"}}, {"name": "cache", "emptyDir": {}}],
    "containers": [
      {"name": "web", "image": "registry.example/web:1.2.3", "args": ["--listen", ":8080"],
       "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
       "env": [{"name": "MODE", "value": "production"}, {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "web", "key": "key"}}}],
       "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
       "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
       "volumeMounts": [{"name": "config", "mountPath": "/etc/web"}, {"name": "cache", "mountPath": "/var/cache/web"}]},
      {"name": "proxy", "image": "registry.example/proxy:4", "resources": {"requests": {"cpu": "10m"}}}]}}"#;

/// The least that a pod may be.
const SMALL_POD: &str = r#"{"metadata": {"name": "bench-1", "namespace": "shop", "labels": {"app": "bench"}},
    "spec": {"containers": [{"name": "main", "image": "trireme.local/hello:1"}]}}"#;

const ROUNDS: u32 = 20_000;

fn main() {
    for (name, json) in [("small", SMALL_POD), ("typical", POD)] {
        let ops = kinds::by_kind("", "Pod").expect("a kind");
        let json = serde_json::from_str(json).expect("JSON");
        let mut pod = ops.from_json_value(json).expect("a pod");
        pod.set_defaults();
        let bytes = pod.to_protobuf().len();
        let change = Change {
            schema: None,
            api_version: "v1",
            part: Part::Object { status_apart: true },
            now: Time::from_unix_seconds(1_800_000_000),
        };
        let owners = || owners_of_new(&change, "kubectl", pod.new_fields().expect("has JSON"));
        let fields = owners()[0].fields_v1.clone().unwrap_or_default();
        println!(
            "{name} pod: {bytes} bytes; owners: {:.1} us, {} bytes; for comparison, its JSON: {:.1} us, its protobuf: {:.1} us",
            micros(measure(|| drop(owners()))),
            fields.raw.len(),
            micros(measure(|| drop(pod.to_json()))),
            micros(measure(|| drop(pod.to_protobuf()))),
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn measure(work: impl Fn()) -> Duration {
    for _ in 0..ROUNDS / 10 {
        work();
    }
    let began = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    began.elapsed() / ROUNDS
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
