//! The parameters that operations take in their query, each described once.

/// A parameter of the query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    /// Its name.
    pub(super) name: &'static str,
    /// `string`, `integer` or `boolean`.
    pub(super) kind: &'static str,
    /// What it means.
    pub(super) description: &'static str,
}

/// Parameters of operations, by their names in [`ALL`].
pub(super) type Names = &'static [&'static str];

/// Of every operation: stands at its path.
pub(super) const OF_PATHS: Names = &["pretty"];

/// Of lists and watches.
pub(super) const LIST: Names = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];

/// Of creations and replacements.
pub(super) const WRITE: Names = &["dryRun", "fieldManager", "fieldValidation"];

/// Of patches.
pub(super) const PATCH: Names = &["dryRun", "fieldManager", "fieldValidation", "force"];

/// Of deletions.
pub(super) const DELETE: Names = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];

/// Of deletions of collections.
pub(super) const DELETE_COLLECTION: Names = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];

/// Of a subresource that is read or connected to.
pub(super) fn of_subresource(name: &str) -> Names {
    match name {
        "log" => &[
            "container",
            "follow",
            "insecureSkipTLSVerifyBackend",
            "limitBytes",
            "previous",
            "sinceSeconds",
            "stream",
            "tailLines",
            "timestamps",
        ],
        "exec" => &["command", "container", "stderr", "stdin", "stdout", "tty"],
        "attach" => &["container", "stderr", "stdin", "stdout", "tty"],
        "portforward" => &["ports"],
        "proxy" => &["path"],
        _ => &[],
    }
}

const fn text(name: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        kind: "string",
        description,
    }
}

const fn number(name: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        kind: "integer",
        description,
    }
}

const fn flag(name: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        kind: "boolean",
        description,
    }
}

/// Every parameter, by name.
pub(super) const ALL: &[Parameter] = &[
    flag(
        "allowWatchBookmarks",
        "Watches also send bookmarks, which tell how far they have come.",
    ),
    text("command", "One word of the command to run; repeat it for each."),
    text("container", "The container; may be left out if there is one only."),
    text("continue", "The token of the page before, to get the next one."),
    text("dryRun", "`All` does everything but keep the change."),
    text("fieldManager", "Who makes the change, for the ownership of fields."),
    text("fieldSelector", "Only objects whose fields have these values."),
    text(
        "fieldValidation",
        "What unknown and repeated fields lead to: `Ignore`, `Warn` or `Strict`, which refuses the request.",
    ),
    flag("follow", "Goes on with what is logged from now on."),
    flag(
        "force",
        "Takes over fields that others own. For server-side apply only.",
    ),
    number(
        "gracePeriodSeconds",
        "Seconds the object has to end by itself; 0 removes it at once.",
    ),
    flag(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "Deletes even an object that cannot be decoded any more, skipping finalizers.",
    ),
    flag(
        "insecureSkipTLSVerifyBackend",
        "Takes the log from a node that cannot prove who it is.",
    ),
    text("labelSelector", "Only objects whose labels match."),
    number(
        "limit",
        "The most objects in one answer; the answer then tells how to go on.",
    ),
    number("limitBytes", "The most bytes of the log."),
    flag(
        "orphanDependents",
        "Old form of `propagationPolicy`: true for `Orphan`, false for `Background`.",
    ),
    text("path", "The path on the other server."),
    number("ports", "The ports to forward."),
    text("pretty", "`true` indents the answer."),
    flag("previous", "The log of the container's run before this one."),
    text(
        "propagationPolicy",
        "What happens to owned objects: `Orphan`, `Background` or `Foreground`.",
    ),
    text(
        "resourceVersion",
        "The revision that the answer must show, or after which a watch begins.",
    ),
    text(
        "resourceVersionMatch",
        "How `resourceVersion` is meant in lists: `NotOlderThan` or `Exact`.",
    ),
    flag("sendInitialEvents", "Watches begin with the objects that there are."),
    number("sinceSeconds", "Only what was logged in these last seconds."),
    flag("stderr", "Sends what the command writes to its standard error."),
    flag("stdin", "Passes on input to the command."),
    flag("stdout", "Sends what the command writes to its standard output."),
    text("stream", "Which output of the container: `All`, `Stdout` or `Stderr`."),
    number("tailLines", "Only so many lines from the end."),
    number(
        "timeoutSeconds",
        "Ends a list or watch after so many seconds, whatever happens.",
    ),
    flag("timestamps", "Begins each line with its time."),
    flag("tty", "Gives the command a terminal."),
    flag("watch", "Streams the changes of the objects instead of listing them."),
];

/// The parameter of the name.
///
/// # Panics
/// If [`ALL`] has none of the name: every list here is checked by a test.
pub(super) fn by_name(name: &str) -> &'static Parameter {
    ALL.iter()
        .find(|parameter| parameter.name == name)
        .expect("every parameter that is named is described")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_described_once() {
        assert!(ALL.iter().map(|parameter| parameter.name).is_sorted());
        let subresources = ["log", "exec", "attach", "portforward", "proxy"].map(of_subresource);
        let lists = [OF_PATHS, LIST, WRITE, PATCH, DELETE, DELETE_COLLECTION];
        for name in lists.iter().chain(&subresources).copied().flatten() {
            assert_eq!(&by_name(name).name, name);
        }
    }
}
