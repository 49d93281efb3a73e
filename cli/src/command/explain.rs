//! `explain`: what the fields of a kind mean, from the server's own documentation.

use anyhow::Result;
use clap::Args;
use trireme_proto::v1::{ExplainField, ExplainRequest, ExplainResponse};

use crate::exit::Failure;
use crate::output::print;
use crate::resolve::reference;
use crate::session::Session;

/// Flags of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trireme explain pods
  trireme explain deploy.spec.strategy
  trireme explain pods.spec.containers --recursive")]
pub(crate) struct ExplainArgs {
    /// TYPE[.FIELD...]
    path: String,
    /// Show all fields below, with their types only
    #[arg(long)]
    recursive: bool,
}

/// Last element of a path that asks for everything below.
const RECURSIVE: &str = "*";

/// Width of the text, in columns.
const WIDTH: usize = 96;

/// Runs the verb.
pub(crate) async fn run(args: ExplainArgs, session: &Session) -> Result<()> {
    let discovery = session.discovery().await?;
    let mut parts = args.path.split('.');
    let kind = parts
        .next()
        .filter(|k| !k.is_empty())
        .ok_or_else(|| Failure::usage("no kind is named"))?;
    let resource = discovery.resource(kind)?;
    let mut path: Vec<String> = parts.map(str::to_owned).collect();
    if args.recursive {
        path.push(RECURSIVE.to_owned());
    }
    let request = ExplainRequest {
        resource: Some(reference(resource, "", "")),
        path,
    };
    let call = |link: trireme_client::Link| {
        let request = request.clone();
        async move {
            trireme_proto::v1::resources_client::ResourcesClient::new(link.channel)
                .explain(request)
                .await
        }
    };
    let answer = session.client.read(call).await?;
    print(&render(&answer, args.recursive))
}

fn render(answer: &ExplainResponse, recursive: bool) -> String {
    let mut text = format!("KIND:     {}\nVERSION:  {}\n", answer.kind, answer.api_version);
    if !answer.r#type.is_empty() {
        text.push_str(&format!("TYPE:     {}\n", answer.r#type));
    }
    text.push_str("\nDESCRIPTION:\n");
    text.push_str(&wrap(&answer.description, 4));
    if !answer.fields.is_empty() {
        text.push_str("\nFIELDS:\n");
        for field in &answer.fields {
            add_field(&mut text, field, 1, recursive);
        }
    }
    text
}

fn add_field(text: &mut String, field: &ExplainField, depth: usize, recursive: bool) {
    let indentation = "  ".repeat(depth);
    let required = if field.required { " -required-" } else { "" };
    text.push_str(&format!("{indentation}{}\t<{}>{required}\n", field.name, field.r#type));
    if recursive {
        field
            .fields
            .iter()
            .for_each(|inner| add_field(text, inner, depth + 1, true));
    } else {
        text.push_str(&wrap(&field.description, 4));
        text.push('\n');
    }
}

/// Breaks text into lines, with an indentation; an empty text has a placeholder.
fn wrap(text: &str, indentation: usize) -> String {
    let margin = " ".repeat(indentation);
    if text.trim().is_empty() {
        return format!("{margin}<no description>\n");
    }
    let mut out = String::new();
    for paragraph in text.split("\n\n") {
        if !out.is_empty() {
            out.push('\n');
        }
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && indentation + line.chars().count() + 1 + word.chars().count() > WIDTH {
                out.push_str(&format!("{margin}{line}\n"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        out.push_str(&format!("{margin}{line}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn looks() {
        let answer = ExplainResponse {
            kind: "Pod".to_owned(),
            api_version: "v1".to_owned(),
            description: "Containers that run together.".to_owned(),
            r#type: "Pod".to_owned(),
            fields: vec![ExplainField {
                name: "spec".to_owned(),
                r#type: "PodSpec".to_owned(),
                description: "What is wanted. ".repeat(10),
                required: true,
                fields: vec![ExplainField {
                    name: "nodeName".to_owned(),
                    r#type: "string".to_owned(),
                    ..Default::default()
                }],
            }],
        };
        expect![[r#"
            KIND:     Pod
            VERSION:  v1
            TYPE:     Pod

            DESCRIPTION:
                Containers that run together.

            FIELDS:
              spec	<PodSpec> -required-
                What is wanted. What is wanted. What is wanted. What is wanted. What is wanted. What is
                wanted. What is wanted. What is wanted. What is wanted. What is wanted.

        "#]]
        .assert_eq(&render(&answer, false));
        assert!(render(&answer, true).contains("    nodeName\t<string>\n"));
    }
}
