//! The kinds that lead traffic to pods, and keep it from them.

use expect_test::expect;
use serde_json::{Value, json};

use super::{cells, complaints, create::created, defaults, invalid::check, invalid::example, updates};
use crate::limits;

/// One object of each of these kinds, as users write them.
pub(super) fn examples() -> Vec<Value> {
    let meta = json!({"name": "web", "namespace": "shop"});
    vec![
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": meta,
            "subsets": [{"addresses": [{"ip": "10.0.0.1", "nodeName": "n1"}], "ports": [{"port": 80}]}]}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta,
            "spec": {"ingressClassName": "front", "tls": [{"hosts": ["*.example.com"], "secretName": "certificate"}],
                "rules": [{"host": "shop.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix",
                    "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "front"},
            "spec": {"controller": "example.com/front",
                "parameters": {"apiGroup": "example.com", "kind": "Settings", "name": "all"}}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta,
            "spec": {"podSelector": {"matchLabels": {"app": "web"}},
                "ingress": [{"ports": [{"port": 80, "endPort": 90}], "from": [{"namespaceSelector": {}}]}],
                "egress": [{"ports": [{"port": "dns", "protocol": "UDP"}],
                    "to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}]}}),
    ]
}

#[test]
fn what_they_are_filled_up_with() {
    let of_kind = |kind: &str| example(kind, json!({}));
    defaults::check(
        &of_kind("Endpoints"),
        &expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Endpoints",
          "metadata": {
            "name": "web",
            "namespace": "shop"
          },
          "subsets": [
            {
              "addresses": [
                {
                  "ip": "10.0.0.1",
                  "nodeName": "n1"
                }
              ],
              "ports": [
                {
                  "port": 80,
                  "protocol": "TCP"
                }
              ]
            }
          ]
        }"#]],
    );
    defaults::check(
        &example(
            "Ingress",
            json!({"spec": {"rules": null, "tls": null, "defaultBackend": {"service": {"name": "web"}}}}),
        ),
        &expect![[r#"
            {
              "apiVersion": "networking.k8s.io/v1",
              "kind": "Ingress",
              "metadata": {
                "name": "web",
                "namespace": "shop"
              },
              "spec": {
                "defaultBackend": {
                  "service": {
                    "name": "web",
                    "port": {}
                  }
                },
                "ingressClassName": "front"
              },
              "status": {
                "loadBalancer": {}
              }
            }"#]],
    );
    defaults::check(
        &of_kind("IngressClass"),
        &expect![[r#"
        {
          "apiVersion": "networking.k8s.io/v1",
          "kind": "IngressClass",
          "metadata": {
            "name": "front"
          },
          "spec": {
            "controller": "example.com/front",
            "parameters": {
              "apiGroup": "example.com",
              "kind": "Settings",
              "name": "all",
              "scope": "Cluster"
            }
          }
        }"#]],
    );
    defaults::check(
        &of_kind("NetworkPolicy"),
        &expect![[r#"
        {
          "apiVersion": "networking.k8s.io/v1",
          "kind": "NetworkPolicy",
          "metadata": {
            "name": "web",
            "namespace": "shop"
          },
          "spec": {
            "egress": [
              {
                "ports": [
                  {
                    "port": "dns",
                    "protocol": "UDP"
                  }
                ],
                "to": [
                  {
                    "ipBlock": {
                      "cidr": "10.0.0.0/8",
                      "except": [
                        "10.1.0.0/16"
                      ]
                    }
                  }
                ]
              }
            ],
            "ingress": [
              {
                "from": [
                  {
                    "namespaceSelector": {}
                  }
                ],
                "ports": [
                  {
                    "endPort": 90,
                    "port": 80,
                    "protocol": "TCP"
                  }
                ]
              }
            ],
            "podSelector": {
              "matchLabels": {
                "app": "web"
              }
            },
            "policyTypes": [
              "Ingress",
              "Egress"
            ]
          }
        }"#]],
    );
    let closed = created(&example(
        "NetworkPolicy",
        json!({"spec": {"podSelector": null, "egress": null}}),
    ));
    assert_eq!(closed["spec"]["policyTypes"], json!(["Ingress"]));
    assert_eq!(closed["spec"]["podSelector"], json!({}));
}

#[test]
fn how_they_begin() {
    let ingress = created(&example(
        "Ingress",
        json!({"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}}),
    ));
    assert_eq!(ingress["status"], json!({"loadBalancer": {}}));
    for kind in ["Ingress", "IngressClass", "NetworkPolicy"] {
        assert_eq!(
            created(&example(kind, json!({})))["metadata"]["generation"],
            1,
            "{kind}"
        );
    }
}

#[test]
fn endpoints_are_refused() {
    check(
        &example(
            "Endpoints",
            json!({"subsets": [
                {},
                {"addresses": [{"ip": "10.0.0"}, {"ip": "127.0.0.1", "hostname": "a.b"}, {"ip": "fe80::1"}],
                    "notReadyAddresses": [{"ip": "0.0.0.0"}, {"ip": "224.0.0.1", "nodeName": "N"}],
                    "ports": [{"port": 0}, {"name": "a b", "port": 70000, "protocol": "ICMP"}]}]}),
        ),
        &expect![[r#"
            subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`
            subsets[1].addresses[0].ip: Invalid value: "10.0.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            subsets[1].addresses[1].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
            subsets[1].addresses[1].hostname: Invalid value: "a.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            subsets[1].addresses[2].ip: Invalid value: "fe80::1": may not be in the link-local range (169.254.0.0/16, fe80::/10)
            subsets[1].notReadyAddresses[0].ip: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0 or ::)
            subsets[1].notReadyAddresses[1].ip: Invalid value: "224.0.0.1": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)
            subsets[1].notReadyAddresses[1].nodeName: Invalid value: "N": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            subsets[1].ports[0].name: Required value
            subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
            subsets[1].ports[1].name: Invalid value: "a b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            subsets[1].ports[1].port: Invalid value: 70000: must be between 1 and 65535, inclusive
            subsets[1].ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
        "#]],
    );
}

#[test]
fn ingresses_are_refused() {
    check(
        &example("Ingress", json!({"spec": {"rules": null, "ingressClassName": "A"}})),
        &expect![[r#"
            spec: Invalid value: []: either `defaultBackend` or `rules` must be specified
            spec.ingressClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        "#]],
    );
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let path = |more: Value| {
        let mut path = json!({"path": "/a", "pathType": "Exact", "backend": backend});
        json_patch::merge(&mut path, &more);
        path
    };
    check(
        &example(
            "Ingress",
            json!({
                "metadata": {"annotations": {"kubernetes.io/ingress.class": "other"}},
                "spec": {
                    "tls": [{"hosts": ["*.*.a", "A"], "secretName": "a_b"}],
                    "rules": [
                        {"host": "10.0.0.1"},
                        {"host": "*a.b", "http": {"paths": []}},
                        {"host": "a_b", "http": {"paths": [
                            path(json!({"pathType": null})),
                            path(json!({"pathType": "Regex"})),
                            path(json!({"path": "a//b/."})),
                            path(json!({"path": "a", "pathType": "ImplementationSpecific"})),
                            path(json!({"backend": null})),
                            path(json!({"backend": {"service": null, "resource": {"kind": "", "name": "a/b", "apiGroup": "A"}}})),
                            path(json!({"backend": {"service": {"name": "", "port": {"name": "a"}}}})),
                            path(json!({"backend": {"service": {"name": "1a", "port": {"name": "A", "number": null}}}})),
                            path(json!({"backend": {"service": {"port": {"number": 70000}}}})),
                            path(json!({"backend": {"service": {"port": null}}})),
                        ]}},
                    ],
                },
            }),
        ),
        &expect![[r#"
            spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
            spec.rules[1].host: Invalid value: "*a.b": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.rules[1].http.paths: Required value
            spec.rules[2].host: Invalid value: "a_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.rules[2].http.paths[0].pathType: Required value: pathType must be specified
            spec.rules[2].http.paths[1].pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"
            spec.rules[2].http.paths[2].path: Invalid value: "a//b/.": must be an absolute path
            spec.rules[2].http.paths[2].path: Invalid value: "a//b/.": must not contain '//'
            spec.rules[2].http.paths[2].path: Invalid value: "a//b/.": cannot end with '/.'
            spec.rules[2].http.paths[3].path: Invalid value: "a": must be an absolute path
            spec.rules[2].http.paths[4].backend: Invalid value: "": resource or service backend is required
            spec.rules[2].http.paths[5].backend.resource.apiGroup: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.rules[2].http.paths[5].backend.resource.kind: Required value
            spec.rules[2].http.paths[5].backend.resource.name: Invalid value: "a/b": may not contain '/'
            spec.rules[2].http.paths[6].backend.service.name: Required value
            spec.rules[2].http.paths[6].backend: Invalid value: "": cannot set both port name & port number
            spec.rules[2].http.paths[7].backend.service.name: Invalid value: "1a": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.rules[2].http.paths[7].backend.service.port.name: Invalid value: "A": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.rules[2].http.paths[7].backend.service.port.name: Invalid value: "A": must contain at least one letter (a-z)
            spec.rules[2].http.paths[8].backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive
            spec.rules[2].http.paths[9].backend: Required value: port name or number is required
            spec.tls[0].hosts[0]: Invalid value: "*.*.a": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.tls[0].hosts[1]: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.tls[0].secretName: Invalid value: "a_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            annotations.kubernetes.io/ingress.class: Invalid value: "other": must match `ingressClassName` when both are specified
        "#]],
    );
    let both = json!({"service": {"name": "web", "port": {"number": 1}}, "resource": {"kind": "A", "name": "a"}});
    check(
        &example("Ingress", json!({"spec": {"defaultBackend": both}})),
        &expect![[r#"
            spec.defaultBackend: Invalid value: "": cannot set both resource and service backends
        "#]],
    );
}

#[test]
fn ingress_classes_are_refused() {
    for (spec, expected) in [
        (
            json!({"controller": "", "parameters": null}),
            expect![[r#"
            spec.controller: Required value
        "#]],
        ),
        (
            json!({"controller": "example.com", "parameters": {"scope": "Namespace"}}),
            expect![[r#"
                spec.controller: Invalid value: "example.com": must be a domain-prefixed path (such as "acme.io/foo")
                spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'
            "#]],
        ),
        (
            json!({"controller": "Example/a b", "parameters": {"namespace": "shop", "kind": "", "name": "a/b", "apiGroup": "A"}}),
            expect![[r#"
                spec.controller: Invalid value: "Example": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                spec.controller: Invalid value: "a b": Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')
                spec.parameters.apiGroup: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                spec.parameters.kind: Required value
                spec.parameters.name: Invalid value: "a/b": may not contain '/'
                spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'
            "#]],
        ),
        (
            json!({"parameters": {"scope": "Planet"}}),
            expect![[r#"
            spec.parameters.scope: Unsupported value: "Planet": supported values: "Cluster", "Namespace"
        "#]],
        ),
    ] {
        check(&example("IngressClass", json!({"spec": spec})), &expected);
    }
    let named = |bytes: usize| {
        let prefix = "example.com/";
        let name = format!("{prefix}{}", "a".repeat(bytes - prefix.len()));
        complaints(&example("IngressClass", json!({"spec": {"controller": name}})))
    };
    assert_eq!(named(limits::INGRESS_CONTROLLER_BYTES), "");
    assert!(named(limits::INGRESS_CONTROLLER_BYTES + 1).starts_with("spec.controller: Too long"));
}

#[test]
fn network_policies_are_refused() {
    let rule = |ports: Value, peers: Value| json!({"ports": ports, "from": peers});
    check(
        &example(
            "NetworkPolicy",
            json!({"spec": {
                "podSelector": {"matchLabels": {"a b": "c"}},
                "egress": null,
                "policyTypes": ["Ingress", "Both"],
                "ingress": [
                    rule(
                        json!([
                            {"protocol": "ICMP", "endPort": 3}, {"port": 0}, {"port": 80, "endPort": 79},
                            {"port": "http", "endPort": 80}, {"port": "HTTP"}, {"port": 80, "endPort": 70000},
                        ]),
                        json!([
                            {}, {"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}},
                            {"ipBlock": {"cidr": ""}}, {"ipBlock": {"cidr": "10.0.0.0"}},
                            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8", "11.0.0.0/16", "::/9", "x", "10.9.0.0/16"]}},
                            {"ipBlock": {"cidr": "::/0", "except": ["2001:db8::/32"]}},
                        ]),
                    ),
                ],
            }}),
        ),
        &expect![[r#"
            spec.podSelector.matchLabels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"
            spec.ingress[0].ports[0].endPort: Invalid value: 3: may not be specified when `port` is not specified
            spec.ingress[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.ingress[0].ports[2].endPort: Invalid value: 79: must be greater than or equal to `port`
            spec.ingress[0].ports[3].endPort: Invalid value: 80: may not be specified when `port` is non-numeric
            spec.ingress[0].ports[4].port: Invalid value: "HTTP": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.ingress[0].ports[4].port: Invalid value: "HTTP": must contain at least one letter (a-z)
            spec.ingress[0].ports[5].endPort: Invalid value: 70000: must be between 1 and 65535, inclusive
            spec.ingress[0].from[0]: Required value: must specify a peer
            spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer
            spec.ingress[0].from[2].ipBlock.cidr: Required value
            spec.ingress[0].from[3].ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.ingress[0].from[4].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`
            spec.ingress[0].from[4].ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`
            spec.ingress[0].from[4].ipBlock.except[2]: Invalid value: "::/9": must be a strict subset of `cidr`
            spec.ingress[0].from[4].ipBlock.except[3]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.policyTypes[1]: Unsupported value: "Both": supported values: "Ingress", "Egress"
        "#]],
    );
    check(
        &example(
            "NetworkPolicy",
            json!({"spec": {"policyTypes": ["Ingress", "Egress", "Ingress"]}}),
        ),
        &expect![[r#"
            spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two policyTypes
        "#]],
    );
}

#[test]
fn changes_are_counted() {
    for (kind, patch) in [
        ("Ingress", json!({"spec": {"ingressClassName": "other"}})),
        ("IngressClass", json!({"spec": {"parameters": null}})),
        ("NetworkPolicy", json!({"spec": {"egress": null}})),
    ] {
        assert_eq!(updates::generation_after(kind, &patch), 2, "{kind}");
        assert_eq!(
            updates::generation_after(kind, &json!({"metadata": {"labels": {"a": "b"}}})),
            1,
            "{kind}"
        );
    }
}

#[test]
fn what_may_change() {
    updates::check(
        "Endpoints",
        &json!({"subsets": [{"addresses": [{"ip": "10.0.0.1", "nodeName": "n2"}]}]}),
        &expect![[r#"
            subsets[0].addresses[0].nodeName: Forbidden: Cannot change NodeName for 10.0.0.1 to n2
        "#]],
    );
    updates::check(
        "IngressClass",
        &json!({"spec": {"controller": "example.com/other"}}),
        &expect![[r#"
            spec.controller: Invalid value: "example.com/other": field is immutable
        "#]],
    );
    updates::check(
        "Ingress",
        &json!({"spec": {"ingressClassName": "other"}}),
        &expect![[""]],
    );
    // Only a new one must not name two classes.
    updates::check(
        "Ingress",
        &json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "other"}}}),
        &expect![[""]],
    );
    updates::check("NetworkPolicy", &json!({"spec": {"egress": null}}), &expect![[""]]);
    let ways = json!([{"ip": "10.0.0", "hostname": "a_b"}, {"hostname": "10.0.0.1"}]);
    updates::check_status(
        "Ingress",
        &json!({}),
        &json!({"loadBalancer": {"ingress": ways}}),
        &expect![[r#"
            status.loadBalancer.ingress[0].ip: Invalid value: "10.0.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            status.loadBalancer.ingress[0].hostname: Invalid value: "a_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            status.loadBalancer.ingress[1].hostname: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
        "#]],
    );
}

#[test]
fn tables() {
    cells::check(
        &example("Endpoints", json!({})),
        &expect![[r#"
        Endpoints: 10.0.0.1:80
        Age: 3h
    "#]],
    );
    let many = json!([
        {"addresses": [{"ip": "10.0.0.1"}, {"ip": "2001:db8::1"}], "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 90}]},
        {"addresses": [{"ip": "10.0.0.3"}]},
    ]);
    for (subsets, cell) in [
        (json!([]), "<none>"),
        (json!([{"notReadyAddresses": [{"ip": "10.0.0.1"}]}]), ""),
        (json!([{"addresses": [{"ip": "10.0.0.1"}]}]), "10.0.0.1"),
        (many, "10.0.0.1:80,[2001:db8::1]:80,10.0.0.1:90 + 2 more..."),
    ] {
        let object = super::object(&example("Endpoints", json!({"subsets": subsets})));
        assert_eq!(object.cells(crate::testing::at(0))[0], cell);
    }
    cells::check(
        &example(
            "Ingress",
            json!({"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"hostname": "a.b"}]}}}),
        ),
        &expect![[r#"
            Class: front
            Hosts: shop.example.com
            Address: 10.0.0.1,a.b
            Ports: 80, 443
            Age: 3h
        "#]],
    );
    let host = |name: &str| json!({"host": name});
    for (rules, cell) in [
        (json!([]), "*"),
        (json!([host("")]), "*"),
        (json!([host("a"), host(""), host("b")]), "a,b"),
        (json!([host("a"), host("b"), host("c")]), "a,b,c"),
        (json!([host("a"), host("b"), host("c"), host("")]), "a,b,c + 1 more..."),
    ] {
        let object = super::object(&example("Ingress", json!({"spec": {"rules": rules, "tls": null}})));
        let cells = object.cells(crate::testing::at(0));
        assert_eq!((cells[1].as_str(), cells[3].as_str()), (cell, "80"));
    }
    cells::check(
        &example("IngressClass", json!({})),
        &expect![[r#"
        Controller: example.com/front
        Parameters: Settings.example.com/all
        Age: 3h
    "#]],
    );
    cells::check(
        &example("IngressClass", json!({"spec": {"parameters": null}})),
        &expect![[r#"
            Controller: example.com/front
            Parameters: <none>
            Age: 3h
        "#]],
    );
    cells::check(
        &example("NetworkPolicy", json!({})),
        &expect![[r#"
        Pod-Selector: app=web
        Age: 3h
    "#]],
    );
    let open = example("NetworkPolicy", json!({"spec": {"podSelector": {"matchLabels": null}}}));
    cells::check(
        &open,
        &expect![[r#"
        Pod-Selector: <none>
        Age: 3h
    "#]],
    );
}
