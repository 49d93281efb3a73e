//! What each kind is filled up with.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{json_of, object, pod};

pub(super) fn check(given: &Value, expected: &Expect) {
    let mut object = object(given);
    object.set_defaults();
    let text = serde_json::to_string_pretty(&json_of(&*object)).expect("is JSON");
    expected.assert_eq(&text);
}

/// One object of every kind, as users write them.
pub(super) fn examples() -> Vec<Value> {
    let meta = json!({"name": "web", "namespace": "shop"});
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}});
    let mounting = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
        {"name": "main", "image": "web:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}});
    let ending = json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"restartPolicy": "OnFailure", "containers": [{"name": "main", "image": "web:1"}]}});
    let mut examples = vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "1"}, "binaryData": {"b": "AAE="}}),
        json!({"apiVersion": "v1", "kind": "Event", "metadata": meta, "involvedObject": {"kind": "Pod", "name": "web", "namespace": "shop"},
            "reason": "Started", "message": "it started", "type": "Normal", "count": 2}),
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta,
            "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "100m", "memory": "1Mi"}}]}}),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"capacity": {"cpu": "2"}}}),
        pod(json!({"containers": [{"name": "main", "image": "web", "resources": {"limits": {"cpu": "1"}}}]})),
        json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": meta, "spec": {"template": template}}),
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": "3"}}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"a": "MQ=="}, "stringData": {"b": "2"}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}),
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": meta,
            "data": {"spec": {"template": {"b": [1, "2"], "a": null}}}, "revision": 3}),
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta,
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}}),
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta,
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta,
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "serviceName": "web", "template": mounting,
                "volumeClaimTemplates": [{"metadata": {"name": "data"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}}),
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta,
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 5,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}}),
        json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": meta,
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 5, "targetCPUUtilizationPercentage": 70}}),
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta,
            "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": ending}}}}),
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": ending}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta,
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.000006Z"}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}),
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": meta, "eventTime": "2026-01-02T03:04:05.000006Z",
            "regarding": {"kind": "Pod", "name": "web", "namespace": "shop"}, "reason": "Started", "note": "it started",
            "type": "Normal", "action": "Start", "reportingController": "a.b/c", "reportingInstance": "c-1"}),
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta,
            "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "web"}}}}),
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000}),
    ];
    examples.extend(super::networking::examples());
    examples.extend(super::volumes::examples());
    examples.extend(super::templates::examples());
    examples.extend(super::roles::examples());
    examples.extend(super::certificates::examples());
    examples
}

/// The example of a kind.
pub(super) fn example(kind: &str) -> Value {
    examples()
        .into_iter()
        .find(|json| json["kind"] == kind)
        .unwrap_or_else(|| panic!("an example of {kind}"))
}

#[test]
fn examples_name_every_kind_and_are_valid() {
    let mut given: Vec<String> = examples()
        .iter()
        .map(|json| json["kind"].as_str().unwrap_or_default().to_owned())
        .collect();
    let mut kinds: Vec<&str> = crate::kinds::KINDS.iter().map(|ops| ops.info().kind).collect();
    given.sort_unstable();
    kinds.sort_unstable();
    assert_eq!(given, kinds);
    for json in examples() {
        assert_eq!(super::complaints(&json), "", "{json}");
    }
}

#[test]
fn defaulting_twice_is_defaulting_once() {
    for given in examples().into_iter().chain([full_pod()]) {
        let mut once = object(&given);
        once.set_defaults();
        // Through JSON and back, as clients do it.
        let mut twice = object(&json_of(&*once));
        twice.set_defaults();
        // Equal to the last byte, so that nothing of it counts as a change.
        assert_eq!(json_of(&*twice), json_of(&*once));
        assert_eq!(twice.to_protobuf(), once.to_protobuf(), "{}", json_of(&*once));
    }
}

/// A pod that leaves something open in every corner.
fn full_pod() -> Value {
    pod(json!({
        "hostNetwork": true,
        "serviceAccount": "robot",
        "containers": [{
            "name": "main",
            "image": "web",
            "ports": [{"containerPort": 80}],
            "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
            "livenessProbe": {"httpGet": {"port": 80}},
            "readinessProbe": {"grpc": {"port": 80}, "periodSeconds": 3},
            "lifecycle": {"preStop": {"httpGet": {"port": "http"}}},
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
        }],
        "initContainers": [{"name": "init", "image": "init:2"}],
        "volumes": [
            {"name": "a"},
            {"name": "b", "secret": {"secretName": "s"}},
            {"name": "c", "configMap": {"name": "m"}},
            {"name": "d", "hostPath": {"path": "/d"}},
            {"name": "e", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        ],
        "affinity": {
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]},
            "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]},
        },
    }))
}

#[test]
fn pod_defaults() {
    check(
        &full_pod(),
        &expect![[r#"
            {
              "apiVersion": "v1",
              "kind": "Pod",
              "metadata": {
                "name": "web",
                "namespace": "shop"
              },
              "spec": {
                "affinity": {
                  "nodeAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                      {
                        "preference": {},
                        "weight": 1
                      }
                    ]
                  },
                  "podAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                      {
                        "podAffinityTerm": {
                          "topologyKey": ""
                        },
                        "weight": 1
                      }
                    ]
                  }
                },
                "containers": [
                  {
                    "env": [
                      {
                        "name": "NODE",
                        "valueFrom": {
                          "fieldRef": {
                            "apiVersion": "v1",
                            "fieldPath": "spec.nodeName"
                          }
                        }
                      }
                    ],
                    "image": "web",
                    "imagePullPolicy": "Always",
                    "lifecycle": {
                      "preStop": {
                        "httpGet": {
                          "path": "/",
                          "port": "http",
                          "scheme": "HTTP"
                        }
                      }
                    },
                    "livenessProbe": {
                      "failureThreshold": 3,
                      "httpGet": {
                        "path": "/",
                        "port": 80,
                        "scheme": "HTTP"
                      },
                      "periodSeconds": 10,
                      "successThreshold": 1,
                      "timeoutSeconds": 1
                    },
                    "name": "main",
                    "ports": [
                      {
                        "containerPort": 80,
                        "hostPort": 80,
                        "protocol": "TCP"
                      }
                    ],
                    "readinessProbe": {
                      "failureThreshold": 3,
                      "grpc": {
                        "port": 80,
                        "service": ""
                      },
                      "periodSeconds": 3,
                      "successThreshold": 1,
                      "timeoutSeconds": 1
                    },
                    "resources": {
                      "limits": {
                        "cpu": "1",
                        "memory": "1Gi"
                      },
                      "requests": {
                        "cpu": "500m",
                        "memory": "1Gi"
                      }
                    },
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File"
                  }
                ],
                "dnsPolicy": "ClusterFirst",
                "enableServiceLinks": true,
                "hostNetwork": true,
                "initContainers": [
                  {
                    "image": "init:2",
                    "imagePullPolicy": "IfNotPresent",
                    "name": "init",
                    "resources": {},
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File"
                  }
                ],
                "restartPolicy": "Always",
                "schedulerName": "default-scheduler",
                "securityContext": {},
                "serviceAccount": "robot",
                "serviceAccountName": "robot",
                "terminationGracePeriodSeconds": 30,
                "volumes": [
                  {
                    "emptyDir": {},
                    "name": "a"
                  },
                  {
                    "name": "b",
                    "secret": {
                      "defaultMode": 420,
                      "secretName": "s"
                    }
                  },
                  {
                    "configMap": {
                      "defaultMode": 420,
                      "name": "m"
                    },
                    "name": "c"
                  },
                  {
                    "hostPath": {
                      "path": "/d",
                      "type": ""
                    },
                    "name": "d"
                  },
                  {
                    "name": "e",
                    "projected": {
                      "defaultMode": 420,
                      "sources": [
                        {
                          "serviceAccountToken": {
                            "expirationSeconds": 3600,
                            "path": "token"
                          }
                        }
                      ]
                    }
                  }
                ]
              },
              "status": {}
            }"#]],
    );
}

#[test]
fn deployment_defaults() {
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
        {"name": "main", "image": "web:1", "resources": {"limits": {"cpu": "1"}}}]}});
    let spec = json!({"selector": {"matchLabels": {"app": "web"}}, "template": template});
    check(
        &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}),
        &expect![[r#"
        {
          "apiVersion": "apps/v1",
          "kind": "Deployment",
          "metadata": {
            "name": "web"
          },
          "spec": {
            "progressDeadlineSeconds": 600,
            "replicas": 1,
            "revisionHistoryLimit": 10,
            "selector": {
              "matchLabels": {
                "app": "web"
              }
            },
            "strategy": {
              "rollingUpdate": {
                "maxSurge": "25%",
                "maxUnavailable": "25%"
              },
              "type": "RollingUpdate"
            },
            "template": {
              "metadata": {
                "labels": {
                  "app": "web"
                }
              },
              "spec": {
                "containers": [
                  {
                    "image": "web:1",
                    "imagePullPolicy": "IfNotPresent",
                    "name": "main",
                    "resources": {
                      "limits": {
                        "cpu": "1"
                      }
                    },
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File"
                  }
                ],
                "dnsPolicy": "ClusterFirst",
                "restartPolicy": "Always",
                "schedulerName": "default-scheduler",
                "securityContext": {},
                "terminationGracePeriodSeconds": 30
              }
            }
          },
          "status": {}
        }"#]],
    );
}

#[test]
fn recreate_has_no_rolling_update() {
    let given = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "strategy": {"type": "Recreate"}}});
    let mut deployment = object(&given);
    deployment.set_defaults();
    let spec = &json_of(&*deployment)["spec"];
    assert_eq!(
        (&spec["strategy"], &spec["replicas"]),
        (&json!({"type": "Recreate"}), &json!(0))
    );
}

#[test]
fn replication_controller_takes_labels_and_selector_from_its_template() {
    let mut controller = object(&example("ReplicationController"));
    controller.set_defaults();
    let json = json_of(&*controller);
    assert_eq!(json["spec"]["selector"], json!({"app": "web"}));
    assert_eq!(json["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(json["spec"]["replicas"], json!(1));
}

#[test]
fn new_workload_defaults() {
    for (kind, expected) in [
        (
            "DaemonSet",
            expect![[r#"
            {
              "apiVersion": "apps/v1",
              "kind": "DaemonSet",
              "metadata": {
                "name": "web",
                "namespace": "shop"
              },
              "spec": {
                "revisionHistoryLimit": 10,
                "selector": {
                  "matchLabels": {
                    "app": "web"
                  }
                },
                "template": {
                  "metadata": {
                    "labels": {
                      "app": "web"
                    }
                  },
                  "spec": {
                    "containers": [
                      {
                        "image": "web:1",
                        "imagePullPolicy": "IfNotPresent",
                        "name": "main",
                        "resources": {},
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File"
                      }
                    ],
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30
                  }
                },
                "updateStrategy": {
                  "rollingUpdate": {
                    "maxSurge": 0,
                    "maxUnavailable": 1
                  },
                  "type": "RollingUpdate"
                }
              },
              "status": {
                "currentNumberScheduled": 0,
                "desiredNumberScheduled": 0,
                "numberMisscheduled": 0,
                "numberReady": 0
              }
            }"#]],
        ),
        (
            "StatefulSet",
            expect![[r#"
            {
              "apiVersion": "apps/v1",
              "kind": "StatefulSet",
              "metadata": {
                "name": "web",
                "namespace": "shop"
              },
              "spec": {
                "persistentVolumeClaimRetentionPolicy": {
                  "whenDeleted": "Retain",
                  "whenScaled": "Retain"
                },
                "podManagementPolicy": "OrderedReady",
                "replicas": 1,
                "revisionHistoryLimit": 10,
                "selector": {
                  "matchLabels": {
                    "app": "web"
                  }
                },
                "serviceName": "web",
                "template": {
                  "metadata": {
                    "labels": {
                      "app": "web"
                    }
                  },
                  "spec": {
                    "containers": [
                      {
                        "image": "web:1",
                        "imagePullPolicy": "IfNotPresent",
                        "name": "main",
                        "resources": {},
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File",
                        "volumeMounts": [
                          {
                            "mountPath": "/data",
                            "name": "data"
                          }
                        ]
                      }
                    ],
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30
                  }
                },
                "updateStrategy": {
                  "rollingUpdate": {
                    "maxUnavailable": 1,
                    "partition": 0
                  },
                  "type": "RollingUpdate"
                },
                "volumeClaimTemplates": [
                  {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {
                      "name": "data"
                    },
                    "spec": {
                      "accessModes": [
                        "ReadWriteOnce"
                      ],
                      "resources": {
                        "requests": {
                          "storage": "1Gi"
                        }
                      },
                      "volumeMode": "Filesystem"
                    },
                    "status": {
                      "phase": "Pending"
                    }
                  }
                ]
              },
              "status": {
                "availableReplicas": 0,
                "replicas": 0
              }
            }"#]],
        ),
        (
            "CronJob",
            expect![[r#"
            {
              "apiVersion": "batch/v1",
              "kind": "CronJob",
              "metadata": {
                "name": "web",
                "namespace": "shop"
              },
              "spec": {
                "concurrencyPolicy": "Allow",
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {
                  "metadata": {},
                  "spec": {
                    "template": {
                      "metadata": {
                        "labels": {
                          "app": "web"
                        }
                      },
                      "spec": {
                        "containers": [
                          {
                            "image": "web:1",
                            "imagePullPolicy": "IfNotPresent",
                            "name": "main",
                            "resources": {},
                            "terminationMessagePath": "/dev/termination-log",
                            "terminationMessagePolicy": "File"
                          }
                        ],
                        "dnsPolicy": "ClusterFirst",
                        "restartPolicy": "OnFailure",
                        "schedulerName": "default-scheduler",
                        "securityContext": {},
                        "terminationGracePeriodSeconds": 30
                      }
                    }
                  }
                },
                "schedule": "*/5 * * * *",
                "successfulJobsHistoryLimit": 3,
                "suspend": false
              },
              "status": {}
            }"#]],
        ),
        (
            "Job",
            expect![[r#"
            {
              "apiVersion": "batch/v1",
              "kind": "Job",
              "metadata": {
                "labels": {
                  "app": "web"
                },
                "name": "web",
                "namespace": "shop"
              },
              "spec": {
                "backoffLimit": 6,
                "completionMode": "NonIndexed",
                "completions": 1,
                "manualSelector": false,
                "parallelism": 1,
                "podReplacementPolicy": "TerminatingOrFailed",
                "suspend": false,
                "template": {
                  "metadata": {
                    "labels": {
                      "app": "web"
                    }
                  },
                  "spec": {
                    "containers": [
                      {
                        "image": "web:1",
                        "imagePullPolicy": "IfNotPresent",
                        "name": "main",
                        "resources": {},
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File"
                      }
                    ],
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "OnFailure",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30
                  }
                }
              },
              "status": {}
            }"#]],
        ),
        (
            "HorizontalPodAutoscaler",
            expect![[r#"
            {
              "apiVersion": "autoscaling/v2",
              "kind": "HorizontalPodAutoscaler",
              "metadata": {
                "name": "web",
                "namespace": "shop"
              },
              "spec": {
                "behavior": {
                  "scaleDown": {
                    "policies": [
                      {
                        "periodSeconds": 15,
                        "type": "Percent",
                        "value": 100
                      }
                    ],
                    "selectPolicy": "Max",
                    "stabilizationWindowSeconds": 60
                  },
                  "scaleUp": {
                    "policies": [
                      {
                        "periodSeconds": 15,
                        "type": "Pods",
                        "value": 4
                      },
                      {
                        "periodSeconds": 15,
                        "type": "Percent",
                        "value": 100
                      }
                    ],
                    "selectPolicy": "Max",
                    "stabilizationWindowSeconds": 0
                  }
                },
                "maxReplicas": 5,
                "metrics": [
                  {
                    "resource": {
                      "name": "cpu",
                      "target": {
                        "averageUtilization": 80,
                        "type": "Utilization"
                      }
                    },
                    "type": "Resource"
                  }
                ],
                "minReplicas": 1,
                "scaleTargetRef": {
                  "apiVersion": "apps/v1",
                  "kind": "Deployment",
                  "name": "web"
                }
              },
              "status": {
                "currentMetrics": [],
                "desiredReplicas": 0
              }
            }"#]],
        ),
        (
            "PodDisruptionBudget",
            expect![[r#"
            {
              "apiVersion": "policy/v1",
              "kind": "PodDisruptionBudget",
              "metadata": {
                "name": "web",
                "namespace": "shop"
              },
              "spec": {
                "minAvailable": "50%",
                "selector": {
                  "matchLabels": {
                    "app": "web"
                  }
                }
              },
              "status": {
                "currentHealthy": 0,
                "desiredHealthy": 0,
                "disruptionsAllowed": 0,
                "expectedPods": 0
              }
            }"#]],
        ),
        (
            "PriorityClass",
            expect![[r#"
            {
              "apiVersion": "scheduling.k8s.io/v1",
              "kind": "PriorityClass",
              "metadata": {
                "name": "high"
              },
              "preemptionPolicy": "PreemptLowerPriority",
              "value": 1000
            }"#]],
        ),
    ] {
        check(&example(kind), &expected);
    }
}

#[test]
fn jobs_are_filled_up_by_what_they_say() {
    let job = |spec: Value| {
        let mut given = example("Job");
        json_patch::merge(&mut given, &json!({"spec": spec}));
        let mut job = object(&given);
        job.set_defaults();
        json_of(&*job)["spec"].clone()
    };
    for (spec, field, expected) in [
        (json!({}), "completions", json!(1)),
        (json!({"parallelism": 3}), "completions", json!(null)),
        (json!({"completions": 3}), "parallelism", json!(1)),
        (json!({}), "backoffLimit", json!(6)),
        (json!({"backoffLimitPerIndex": 1}), "backoffLimit", json!(i32::MAX)),
        (json!({}), "podReplacementPolicy", json!("TerminatingOrFailed")),
        (
            json!({"podFailurePolicy": {"rules": []}}),
            "podReplacementPolicy",
            json!("Failed"),
        ),
    ] {
        assert_eq!(job(spec.clone())[field], expected, "{spec} {field}");
    }
    let policy = json!({"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "A"}]}]}});
    let status = &job(policy)["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"];
    assert_eq!(*status, json!("True"));
}

#[test]
fn strategies_without_a_rolling_update_get_none() {
    for kind in ["DaemonSet", "StatefulSet"] {
        let mut given = example(kind);
        given["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        let mut set = object(&given);
        set.set_defaults();
        assert_eq!(
            json_of(&*set)["spec"]["updateStrategy"],
            json!({"type": "OnDelete"}),
            "{kind}"
        );
    }
}

#[test]
fn service_defaults() {
    let service =
        |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec});
    check(
        &service(json!({"ports": [{"port": 80}]})),
        &expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Service",
          "metadata": {
            "name": "web"
          },
          "spec": {
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": [
              "IPv4"
            ],
            "ipFamilyPolicy": "SingleStack",
            "ports": [
              {
                "port": 80,
                "protocol": "TCP",
                "targetPort": 80
              }
            ],
            "sessionAffinity": "None",
            "type": "ClusterIP"
          },
          "status": {
            "loadBalancer": {}
          }
        }"#]],
    );
    check(
        &service(
            json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 80, "targetPort": "http"}]}),
        ),
        &expect![[r#"
            {
              "apiVersion": "v1",
              "kind": "Service",
              "metadata": {
                "name": "web"
              },
              "spec": {
                "allocateLoadBalancerNodePorts": true,
                "externalTrafficPolicy": "Cluster",
                "internalTrafficPolicy": "Cluster",
                "ipFamilies": [
                  "IPv4"
                ],
                "ipFamilyPolicy": "SingleStack",
                "ports": [
                  {
                    "port": 80,
                    "protocol": "TCP",
                    "targetPort": "http"
                  }
                ],
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {
                  "clientIP": {
                    "timeoutSeconds": 10800
                  }
                },
                "type": "LoadBalancer"
              },
              "status": {
                "loadBalancer": {}
              }
            }"#]],
    );
    check(
        &service(json!({"clusterIP": "None"})),
        &expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Service",
          "metadata": {
            "name": "web"
          },
          "spec": {
            "clusterIP": "None",
            "clusterIPs": [
              "None"
            ],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": [
              "IPv4"
            ],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "type": "ClusterIP"
          },
          "status": {
            "loadBalancer": {}
          }
        }"#]],
    );
    check(
        &service(json!({"type": "ExternalName", "externalName": "example.com"})),
        &expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Service",
          "metadata": {
            "name": "web"
          },
          "spec": {
            "externalName": "example.com",
            "sessionAffinity": "None",
            "type": "ExternalName"
          },
          "status": {
            "loadBalancer": {}
          }
        }"#]],
    );
}

#[test]
fn other_defaults() {
    for (kind, expected) in [
        (
            "LimitRange",
            expect![[r#"
            {
              "apiVersion": "v1",
              "kind": "LimitRange",
              "metadata": {
                "name": "web",
                "namespace": "shop"
              },
              "spec": {
                "limits": [
                  {
                    "default": {
                      "cpu": "2"
                    },
                    "defaultRequest": {
                      "cpu": "2",
                      "memory": "1Mi"
                    },
                    "max": {
                      "cpu": "2"
                    },
                    "min": {
                      "cpu": "100m",
                      "memory": "1Mi"
                    },
                    "type": "Container"
                  }
                ]
              }
            }"#]],
        ),
        (
            "Namespace",
            expect![[r#"
            {
              "apiVersion": "v1",
              "kind": "Namespace",
              "metadata": {
                "labels": {
                  "kubernetes.io/metadata.name": "shop"
                },
                "name": "shop"
              },
              "spec": {},
              "status": {
                "phase": "Active"
              }
            }"#]],
        ),
        (
            "Node",
            expect![[r#"
            {
              "apiVersion": "v1",
              "kind": "Node",
              "metadata": {
                "name": "n1"
              },
              "spec": {},
              "status": {
                "allocatable": {
                  "cpu": "2"
                },
                "capacity": {
                  "cpu": "2"
                },
                "daemonEndpoints": {
                  "kubeletEndpoint": {
                    "Port": 0
                  }
                },
                "nodeInfo": {
                  "architecture": "",
                  "bootID": "",
                  "containerRuntimeVersion": "",
                  "kernelVersion": "",
                  "kubeProxyVersion": "",
                  "kubeletVersion": "",
                  "machineID": "",
                  "operatingSystem": "",
                  "osImage": "",
                  "systemUUID": ""
                }
              }
            }"#]],
        ),
        (
            "Secret",
            expect![[r#"
            {
              "apiVersion": "v1",
              "data": {
                "a": "MQ==",
                "b": "Mg=="
              },
              "kind": "Secret",
              "metadata": {
                "name": "web",
                "namespace": "shop"
              },
              "type": "Opaque"
            }"#]],
        ),
        (
            "EndpointSlice",
            expect![[r#"
            {
              "addressType": "IPv4",
              "apiVersion": "discovery.k8s.io/v1",
              "endpoints": [
                {
                  "addresses": [
                    "10.0.0.1"
                  ],
                  "conditions": {}
                }
              ],
              "kind": "EndpointSlice",
              "metadata": {
                "name": "web",
                "namespace": "shop"
              },
              "ports": [
                {
                  "name": "",
                  "port": 80,
                  "protocol": "TCP"
                }
              ]
            }"#]],
        ),
    ] {
        check(&example(kind), &expected);
    }
}
