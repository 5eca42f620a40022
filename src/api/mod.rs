//! The gRPC face of the issuer, and the contract its clients compile against.
//!
//! [`proto`] is what `proto/mayfly/v1/*.proto` compiles to. Rules do not live here: a service translates a call into a use
//! case of the issuer and its outcome into a reply.

pub mod grpc;

/// Messages, clients and servers of `mayfly.v1`, generated from `proto/mayfly/v1/*.proto`.
pub mod proto {
    #![expect(
        clippy::pedantic,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        reason = "generated code; its documentation is in the proto files"
    )]

    tonic::include_proto!("mayfly.v1");
}

/// The compiled descriptors of `mayfly.v1`, as server reflection hands them out.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");
