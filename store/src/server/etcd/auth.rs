//! The Auth service, which is not served: who may do what is decided by certificates.

use std::convert::Infallible;
use std::future::{Ready, ready};

use tonic::Status;
use tonic::codegen::{Context, Poll, Service, http};
use tonic::server::NamedService;

/// Answers every method with the reason.
#[derive(Clone, Copy)]
pub(super) struct AuthServer;

impl NamedService for AuthServer {
    const NAME: &'static str = "etcdserverpb.Auth";
}

impl<B> Service<http::Request<B>> for AuthServer {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: http::Request<B>) -> Self::Future {
        let why = "etcd's users and roles are not served: the cluster's certificates say who may use this API";
        ready(Ok(Status::unimplemented(why).into_http()))
    }
}
