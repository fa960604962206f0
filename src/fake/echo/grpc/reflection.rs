//! `ServerReflection`: what services there are, and how their messages look (gRPC, "Server Reflection Protocol").

use bytes::Bytes;
use futures_util::stream::{Stream, try_unfold};
use prost::Message as _;

use super::descriptors::{self, File};
use super::messages::{Messages, decode};
use super::proto::{
    Answer, ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse, Question,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};
use crate::grpc::{GrpcCode, GrpcStatus};

/// An answer to each question.
pub(super) fn answers(messages: Messages) -> impl Stream<Item = Result<Bytes, GrpcStatus>> {
    try_unfold(messages, |mut messages| async move {
        let Some(message) = messages.next().await? else {
            return Ok(None);
        };
        let asked: ServerReflectionRequest = decode(message)?;
        let response = ServerReflectionResponse {
            valid_host: asked.host.clone(),
            answer: Some(answer(asked.question.as_ref())),
            original_request: Some(asked),
        };
        Ok(Some((response.encode_to_vec().into(), messages)))
    })
}

fn answer(question: Option<&Question>) -> Answer {
    match question {
        Some(Question::FileByFilename(name)) => file(name, |file| file.name == *name),
        Some(Question::FileContainingSymbol(symbol)) => file(symbol, |file| file.symbols.contains(symbol)),
        Some(Question::FileContainingExtension(asked)) => {
            not_found(&format!("{} of {}", asked.extension_number, asked.containing_type))
        }
        Some(Question::AllExtensionNumbersOfType(name)) => {
            if descriptors::files().iter().any(|file| file.messages.contains(name)) {
                Answer::ExtensionNumbers(ExtensionNumberResponse {
                    base_type_name: name.clone(),
                    extension_number: Vec::new(),
                })
            } else {
                not_found(name)
            }
        }
        Some(Question::ListServices(_)) => Answer::Services(ListServiceResponse {
            service: descriptors::services()
                .map(|name| ServiceResponse { name: name.to_owned() })
                .collect(),
        }),
        None => Answer::Error(ErrorResponse {
            error_code: GrpcCode::INVALID_ARGUMENT.number().into(),
            error_message: "the request asks nothing that is known here".into(),
        }),
    }
}

fn file(name: &str, is_wanted: impl Fn(&&File) -> bool) -> Answer {
    match descriptors::files().iter().find(is_wanted) {
        Some(file) => Answer::FileDescriptors(FileDescriptorResponse {
            file_descriptor_proto: vec![file.encoded.clone()],
        }),
        None => not_found(name),
    }
}

fn not_found(what: &str) -> Answer {
    Answer::Error(ErrorResponse {
        error_code: GrpcCode::NOT_FOUND.number().into(),
        error_message: format!("not found: {what}"),
    })
}
