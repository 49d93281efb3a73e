//! `logs`: shows a container's log, and follows it across servers without losing or repeating lines.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use trireme_client::{ApiError, ClientError};
use trireme_proto::v1::{ApiResource, LogsRequest};

use crate::duration;
use crate::exit::{Exit, Failure};
use crate::object::Object;
use crate::output::print;
use crate::resolve::{Discovery, qualified, reference};
use crate::resources::{Resources, Selection};
use crate::session::Session;

/// Flags of `logs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme logs hello-5d9c7
  trireme logs deploy/hello -f --tail 20
  trireme logs hello-5d9c7 -c main --previous
  trireme logs -l app=hello --prefix")]
pub(crate) struct LogsArgs {
    /// POD, or TYPE/NAME of something that has pods
    #[arg(required_unless_present = "selector", conflicts_with = "selector")]
    target: Option<String>,
    /// The container, if the pod has several
    #[arg(short = 'c', long, default_value = "", hide_default_value = true)]
    container: String,
    /// Go on with new lines
    #[arg(short = 'f', long)]
    follow: bool,
    /// The log of the container's previous run
    #[arg(short = 'p', long)]
    previous: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<i64>,
    /// Begin each line with its time
    #[arg(long)]
    timestamps: bool,
    /// Only what is younger
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    since: Option<Duration>,
    /// The logs of all pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Begin each line with the pod's name
    #[arg(long)]
    prefix: bool,
}

/// Runs the verb.
pub(crate) async fn run(args: LogsArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let resources = session.resources();
    let pods_kind = discovery.resource("pods")?;
    let pods = match (&args.selector, &args.target) {
        (Some(selector), _) => {
            let selection = Selection {
                labels: selector.clone(),
                ..Default::default()
            };
            let pods = resources
                .list(&reference(pods_kind, &session.namespace, ""), &selection)
                .await?;
            if pods.is_empty() {
                eprintln!("No resources found in {} namespace.", session.namespace);
            }
            pods
        }
        (None, Some(target)) => vec![find_pod(target, &discovery, &resources, pods_kind, session).await?],
        (None, None) => return Err(Failure::usage("no pod is named").into()),
    };
    let prefix = args.prefix || pods.len() > 1 && args.follow;
    let streams = pods.iter().map(|pod| {
        let request = LogsRequest {
            namespace: pod.namespace().to_owned(),
            pod: pod.name().to_owned(),
            container: args.container.clone(),
            follow: args.follow,
            previous: args.previous,
            tail_lines: args.tail,
            timestamps: args.timestamps || args.follow,
            since_seconds: args
                .since
                .map(|since| i64::try_from(since.as_secs().max(1)).unwrap_or(i64::MAX)),
        };
        let prefix = if prefix {
            format!("[pod/{}] ", pod.name())
        } else {
            String::new()
        };
        Stream {
            session,
            request,
            prefix,
            strip: args.follow && !args.timestamps,
            last: None,
            rest: Vec::new(),
        }
    });
    if args.follow {
        futures::future::try_join_all(streams.map(Stream::run)).await?;
    } else {
        for stream in streams {
            stream.run().await?;
        }
    }
    Ok(())
}

/// A pod by name, or one of the pods of something that selects pods.
async fn find_pod(
    target: &str,
    discovery: &Discovery,
    resources: &Resources,
    pods_kind: &ApiResource,
    session: &Session,
) -> Result<Object> {
    let Some((kind, name)) = target.split_once('/') else {
        return resources.get(&reference(pods_kind, &session.namespace, target)).await;
    };
    let resource = discovery.resource(kind)?;
    let object = resources.get(&reference(resource, &session.namespace, name)).await?;
    if resource == pods_kind {
        return Ok(object);
    }
    let title = format!("{}/{name}", qualified(resource));
    let labels = selector_of(&object).ok_or_else(|| {
        Failure::usage(format!("{title} selects no pods, so it has no logs"))
            .help("name a pod, or something with a selector")
    })?;
    let selection = Selection {
        labels,
        ..Default::default()
    };
    let mut pods = resources
        .list(&reference(pods_kind, &session.namespace, ""), &selection)
        .await?;
    pods.sort_by_key(|pod| {
        (
            rank(pod),
            std::cmp::Reverse(pod.text("/metadata/creationTimestamp").to_owned()),
            pod.name().to_owned(),
        )
    });
    let count = pods.len();
    match pods.into_iter().next() {
        Some(pod) => {
            if count > 1 {
                eprintln!("Found {count} pods, using pod/{}", pod.name());
            }
            Ok(pod)
        }
        None => Err(Failure::new(Exit::NotFound, format!("{title} has no pods"))
            .help(format!("see `trireme describe {title}`"))
            .into()),
    }
}

/// Pods that run come first, then those that ran.
fn rank(pod: &Object) -> u8 {
    let ready = pod.condition("Ready").is_some_and(|(status, _, _)| status == "True");
    match (pod.text("/status/phase"), ready) {
        ("Running", true) => 0,
        ("Running", false) => 1,
        ("Succeeded" | "Failed", _) => 2,
        _ => 3,
    }
}

/// The label selector of an object's pods, as text; both forms that Kubernetes has.
fn selector_of(object: &Object) -> Option<String> {
    let selector = object.value().pointer("/spec/selector")?.as_object()?;
    let is_structured = selector.contains_key("matchLabels") || selector.contains_key("matchExpressions");
    let pointer = if is_structured {
        "/spec/selector/matchLabels"
    } else {
        "/spec/selector"
    };
    let mut parts: Vec<String> = object.texts(pointer).iter().map(|(k, v)| format!("{k}={v}")).collect();
    for expression in object.list("/spec/selector/matchExpressions") {
        let key = expression.get("key")?.as_str()?;
        let values: Vec<&str> = expression
            .get("values")
            .and_then(|v| v.as_array())
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_str())
            .collect();
        let values = values.join(",");
        parts.push(match expression.get("operator")?.as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

/// One log on its way to the user.
struct Stream<'s> {
    session: &'s Session,
    request: LogsRequest,
    prefix: String,
    /// Whether times were asked for only to know where to go on.
    strip: bool,
    /// The time of the last line that was shown.
    last: Option<Timestamp>,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
}

impl Stream<'_> {
    async fn run(mut self) -> Result<()> {
        let mut failures_in_a_row = 0;
        loop {
            let before = self.last;
            let error = match self.receive().await {
                Ok(()) => break,
                Err(error) => error,
            };
            if self.last != before {
                failures_in_a_row = 0;
            }
            failures_in_a_row += 1;
            // Only a follower knows by the lines' times where to go on; and a refusal will not change.
            let refused = matches!(&error, ClientError::Api(_));
            if refused || !self.request.follow || failures_in_a_row > RESUMES {
                return Err(error.into());
            }
            tracing::debug!(%error, "the log goes on through another server");
            tokio::time::sleep(RESUME_PAUSE).await;
            self.go_on();
        }
        self.show(b"")
    }

    /// The next request repeats a little; what was shown is passed over by its time.
    fn go_on(&mut self) {
        self.rest.clear();
        let Some(last) = self.last else {
            return;
        };
        let elapsed = Timestamp::now().as_second() - last.as_second();
        self.request.since_seconds = Some(elapsed.max(0) + 2);
        self.request.tail_lines = None;
    }

    async fn receive(&mut self) -> Result<(), ClientError> {
        let (mut stub, link) = self.session.client.resources().await?;
        let failed = |status: tonic::Status| {
            let error = ApiError::from_status(&status);
            if error.from_server && error.code != tonic::Code::Unavailable {
                return ClientError::Api(Box::new(error));
            }
            self.session.client.connection().abandon(&link);
            ClientError::Unavailable { message: error.message }
        };
        let mut stream = stub.logs(self.request.clone()).await.map_err(&failed)?.into_inner();
        let mut resumed_after = self.last;
        while let Some(chunk) = stream.message().await.map_err(&failed)? {
            let mut bytes = std::mem::take(&mut self.rest);
            bytes.extend_from_slice(&chunk.data);
            let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |p| p + 1);
            self.rest = bytes.split_off(end);
            let mut out = Vec::with_capacity(bytes.len());
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                take_line(
                    line,
                    &self.prefix,
                    self.strip,
                    &mut self.last,
                    &mut resumed_after,
                    &mut out,
                );
            }
            write_out(&out).map_err(|e| ClientError::Decode(e.to_string()))?;
        }
        Ok(())
    }

    /// Shows what is left at the end: a last line without a line break.
    fn show(&mut self, more: &[u8]) -> Result<()> {
        let mut line = std::mem::take(&mut self.rest);
        line.extend_from_slice(more);
        if line.is_empty() {
            return Ok(());
        }
        let mut out = Vec::new();
        take_line(&line, &self.prefix, self.strip, &mut self.last, &mut None, &mut out);
        write_out(&out)
    }
}

/// How often in a row a follower looks for another server.
const RESUMES: usize = 30;

/// The pause before it does.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

/// Adds a line to the output, unless it was shown before the stream was resumed.
fn take_line(
    line: &[u8],
    prefix: &str,
    strip: bool,
    last: &mut Option<Timestamp>,
    resumed_after: &mut Option<Timestamp>,
    out: &mut Vec<u8>,
) {
    let space = line.iter().position(|b| *b == b' ');
    let time = space
        .and_then(|end| std::str::from_utf8(&line[..end]).ok())
        .and_then(|t| t.parse::<Timestamp>().ok());
    if let (Some(time), Some(shown)) = (time, *resumed_after) {
        if time <= shown {
            return;
        }
        *resumed_after = None;
    }
    if time.is_some() {
        *last = time;
    }
    out.extend_from_slice(prefix.as_bytes());
    let body = match (strip, time, space) {
        (true, Some(_), Some(end)) => &line[end + 1..],
        _ => line,
    };
    out.extend_from_slice(body);
}

fn write_out(bytes: &[u8]) -> Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(text) => print(text),
        Err(_) => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes)?;
            Ok(out.flush()?)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_resumed_log_repeats_nothing() {
        let mut last = None;
        let mut out = Vec::new();
        let first: [&[u8]; 2] = [b"2026-01-01T00:00:01.5Z one\n", b"2026-01-01T00:00:02Z two\n"];
        for line in first {
            take_line(line, "", true, &mut last, &mut None, &mut out);
        }
        let mut resumed = last;
        let again: [&[u8]; 3] = [
            b"2026-01-01T00:00:01.5Z one\n",
            b"2026-01-01T00:00:02Z two\n",
            b"2026-01-01T00:00:03Z three\n",
        ];
        for line in again {
            take_line(line, "", true, &mut last, &mut resumed, &mut out);
        }
        assert_eq!(String::from_utf8(out).unwrap(), "one\ntwo\nthree\n");
    }

    #[test]
    fn lines_keep_their_form() {
        let mut out = Vec::new();
        take_line(b"plain text\n", "[pod/a] ", true, &mut None, &mut None, &mut out);
        take_line(b"2026-01-01T00:00:01Z x", "", false, &mut None, &mut None, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "[pod/a] plain text\n2026-01-01T00:00:01Z x"
        );
    }

    #[test]
    fn selectors_of_both_forms() {
        let check = |selector: serde_json::Value, expected: Option<&str>| {
            let object = Object::new(json!({"apiVersion": "v1", "kind": "X", "spec": {"selector": selector}})).unwrap();
            assert_eq!(selector_of(&object).as_deref(), expected);
        };
        check(json!({"app": "a", "b": "c"}), Some("app=a,b=c"));
        check(json!({"matchLabels": {"app": "a"}}), Some("app=a"));
        let expressions =
            json!([{"key": "k", "operator": "In", "values": ["x", "y"]}, {"key": "z", "operator": "DoesNotExist"}]);
        check(json!({"matchExpressions": expressions}), Some("k in (x,y),!z"));
        check(json!({}), None);
    }
}
