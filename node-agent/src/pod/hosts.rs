//! The hosts file of a pod's containers: the pod's own name and address, and the aliases that its object lists. Pure.

use super::spec::{hostname, spec_of};
use std::net::IpAddr;
use trireme_proto::api::core::v1::Pod;

/// The file's name below the pod's directory.
pub(crate) const FILE_NAME: &str = "etc-hosts";
/// Where containers find it.
pub(crate) const CONTAINER_PATH: &str = "/etc/hosts";
/// The domain below which the pods of a named subdomain are.
const CLUSTER_DOMAIN: &str = "cluster.local";
const LOCAL_ENTRIES: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
";

/// The content. On the host's network it is the host's own file, of which `of_host` is the text, and the aliases.
pub(crate) fn content(pod: &Pod, addresses: &[IpAddr], of_host: &str) -> String {
    let spec = spec_of(pod);
    let mut text = "# Written by the Trireme agent; changes are lost.\n".to_owned();
    if spec.host_network {
        text.push_str(of_host);
        if !of_host.ends_with('\n') {
            text.push('\n');
        }
    } else {
        text.push_str(LOCAL_ENTRIES);
        let meta = pod.metadata.clone().unwrap_or_default();
        let name = hostname(spec, &meta.name);
        let names = if spec.subdomain.is_empty() {
            name
        } else {
            let domain = format!("{}.{}.svc.{CLUSTER_DOMAIN}", spec.subdomain, meta.namespace);
            format!("{name}.{domain}\t{name}")
        };
        for address in addresses {
            text.push_str(&format!("{address}\t{names}\n"));
        }
    }
    for alias in &spec.host_aliases {
        text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use trireme_proto::api::core::v1::{HostAlias, PodSpec};
    use trireme_proto::api::meta::v1::ObjectMeta;

    fn check(change: impl FnOnce(&mut PodSpec), expected: &str) {
        let mut pod = Pod {
            metadata: Some(ObjectMeta {
                name: "web-0".to_owned(),
                namespace: "shop".to_owned(),
                ..ObjectMeta::default()
            }),
            ..Pod::default()
        };
        change(pod.spec.get_or_insert_default());
        let text = content(&pod, &["10.1.2.3".parse().unwrap()], "127.0.0.1\thost");
        let (_, text) = text.split_once('\n').unwrap();
        assert_eq!(text, expected);
    }

    #[test]
    fn a_pod_knows_itself_and_its_aliases() {
        check(|_| {}, &format!("{LOCAL_ENTRIES}10.1.2.3\tweb-0\n"));
        check(
            |spec| {
                spec.hostname = "one".to_owned();
                spec.subdomain = "web".to_owned();
                spec.host_aliases.push(HostAlias {
                    ip: "10.9.9.9".to_owned(),
                    hostnames: vec!["db".to_owned(), "db.old".to_owned()],
                });
            },
            &format!("{LOCAL_ENTRIES}10.1.2.3\tone.web.shop.svc.cluster.local\tone\n10.9.9.9\tdb\tdb.old\n"),
        );
        check(|spec| spec.host_network = true, "127.0.0.1\thost\n");
    }
}
