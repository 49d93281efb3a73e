//! From a method, a path and its parameters to a verb. Pure, but for the list of kinds.

use http::Method;
use trireme_logic::kinds;

use super::{path::Place, query::Query};
use crate::{pipeline::Verb, status::ApiError};

/// Parts of objects whose routes exist but which are not served yet: resource and subresource.
const NOT_SERVED_YET: [(&str, &str); 7] = [
    ("pods", "attach"),
    ("pods", "exec"),
    ("pods", "portforward"),
    ("pods", "proxy"),
    ("services", "proxy"),
    ("nodes", "proxy"),
    ("serviceaccounts", "token"),
];

/// What a request asks for.
///
/// # Errors
/// `NotFound` for what is not served, `MethodNotAllowed`, `NotImplemented`.
pub(super) fn verb_of(method: &Method, place: &Place, query: &Query) -> Result<Verb, ApiError> {
    let resource = &place.resource;
    let not_found = || ApiError::not_found_other("the server could not find the requested resource");
    let ops = kinds::by_resource(&resource.group, &resource.version, &resource.resource).ok_or_else(not_found)?;
    let info = ops.info();
    let is_named = !resource.name.is_empty();
    let is_everywhere = info.namespaced && resource.namespace.is_empty();
    if (!info.namespaced && !resource.namespace.is_empty()) || (is_everywhere && is_named) {
        return Err(not_found());
    }
    let part = (resource.resource.as_str(), resource.subresource.as_str());
    if resource.group.is_empty() && NOT_SERVED_YET.contains(&part) {
        return Err(ApiError::not_implemented(format!(
            "{}/{} is not served by this server yet",
            part.0, part.1
        )));
    }
    if !part.1.is_empty() && !info.subresources.contains(&part.1) {
        return Err(not_found());
    }
    let wants_watch = place.is_watch || query.boolean("watch").unwrap_or(false);
    let is_namespaces = (info.group, info.plural) == ("", "namespaces");
    let is_whole = part.1.is_empty();
    let verb = match (method.as_str(), is_named) {
        // One object that is named in the path is followed only by the old prefix.
        ("GET", true) if place.is_watch => Some(Verb::Watch),
        ("GET", true) => Some(Verb::Get),
        ("GET", false) if wants_watch => Some(Verb::Watch),
        ("GET", false) => Some(Verb::List),
        _ if place.is_watch => None,
        ("POST", false) if !is_everywhere => Some(Verb::Create),
        ("POST", true) if !is_whole => Some(Verb::Create),
        ("PUT", true) => Some(Verb::Update),
        ("PATCH", true) => Some(Verb::Patch),
        ("DELETE", true) => Some(Verb::Delete),
        ("DELETE", false) if !is_everywhere && !is_namespaces => Some(Verb::DeleteCollection),
        _ => None,
    };
    verb.ok_or_else(not_allowed)
}

pub(super) fn not_allowed() -> ApiError {
    ApiError::method_not_allowed("the server does not allow this method on the requested resource")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, target: &str) -> Result<Verb, u16> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let method: Method = method.parse().expect("a method");
        let place = Place::parse(path).expect("a place");
        let query = Query::parse(query).expect("a query");
        verb_of(&method, &place, &query).map_err(|error| error.reason().http_code())
    }

    #[test]
    fn methods_and_paths_make_verbs() {
        for (method, target, expected) in [
            ("GET", "/api/v1/pods", Ok(Verb::List)),
            ("GET", "/api/v1/pods?watch=true", Ok(Verb::Watch)),
            ("GET", "/api/v1/pods?watch=1", Ok(Verb::Watch)),
            ("GET", "/api/v1/pods?watch=false", Ok(Verb::List)),
            ("GET", "/api/v1/watch/pods", Ok(Verb::Watch)),
            ("GET", "/api/v1/watch/namespaces/a/pods/b", Ok(Verb::Watch)),
            ("GET", "/api/v1/namespaces/a/pods/b", Ok(Verb::Get)),
            ("GET", "/api/v1/namespaces/a/pods/b?watch=true", Ok(Verb::Get)),
            ("GET", "/api/v1/namespaces/a", Ok(Verb::Get)),
            ("GET", "/api/v1/namespaces/a/pods/b/log", Ok(Verb::Get)),
            ("POST", "/api/v1/namespaces/a/pods", Ok(Verb::Create)),
            ("POST", "/api/v1/namespaces", Ok(Verb::Create)),
            ("POST", "/api/v1/namespaces/a/pods/b/binding", Ok(Verb::Create)),
            (
                "PUT",
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                Ok(Verb::Update),
            ),
            ("PUT", "/api/v1/namespaces/a/finalize", Ok(Verb::Update)),
            ("PATCH", "/api/v1/nodes/n", Ok(Verb::Patch)),
            ("DELETE", "/api/v1/nodes/n", Ok(Verb::Delete)),
            ("DELETE", "/api/v1/nodes", Ok(Verb::DeleteCollection)),
            ("DELETE", "/api/v1/namespaces/a/pods", Ok(Verb::DeleteCollection)),
            // What there is no route for.
            ("DELETE", "/api/v1/namespaces", Err(405)),
            ("DELETE", "/api/v1/pods", Err(405)),
            ("POST", "/api/v1/pods", Err(405)),
            ("POST", "/api/v1/namespaces/a/pods/b", Err(405)),
            ("PUT", "/api/v1/namespaces/a/pods", Err(405)),
            ("PATCH", "/api/v1/namespaces/a/pods", Err(405)),
            ("HEAD", "/api/v1/pods", Err(405)),
            ("POST", "/api/v1/watch/namespaces/a/pods", Err(405)),
            ("GET", "/api/v1/pods/b", Err(404)),
            ("GET", "/api/v1/namespaces/a/nodes", Err(404)),
            ("GET", "/api/v1/ships", Err(404)),
            ("GET", "/api/v2/pods", Err(404)),
            ("GET", "/apis/apps/v1/pods", Err(404)),
            ("GET", "/api/v1/namespaces/a/configmaps/b/scale", Err(404)),
            ("POST", "/api/v1/namespaces/a/pods/b/exec", Err(501)),
            ("GET", "/api/v1/namespaces/a/services/b/proxy/x/y", Err(501)),
            ("POST", "/api/v1/namespaces/a/serviceaccounts/b/token", Err(501)),
        ] {
            assert_eq!(ask(method, target), expected, "{method} {target}");
        }
    }
}
