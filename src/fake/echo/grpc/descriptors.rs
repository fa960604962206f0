//! The descriptors of the services, as reflection gives them.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    MethodDescriptorProto, OneofDescriptorProto, ServiceDescriptorProto,
};

/// A file of descriptors.
pub(super) struct File {
    pub(super) name: String,
    /// The full names of its services.
    services: Vec<String>,
    /// The full names of its messages.
    pub(super) messages: Vec<String>,
    /// The full names of everything in it.
    pub(super) symbols: Vec<String>,
    /// The descriptor, as protobuf.
    pub(super) encoded: Bytes,
}

/// All files.
pub(super) fn files() -> &'static [File] {
    static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
        let reflection = ["v1", "v1alpha"].map(reflection);
        [echo(), health()]
            .into_iter()
            .chain(reflection)
            .map(|file| File::new(&file))
            .collect()
    });
    &FILES
}

/// The full names of all services.
pub(super) fn services() -> impl Iterator<Item = &'static str> {
    files().iter().flat_map(|file| &file.services).map(String::as_str)
}

fn echo() -> FileDescriptorProto {
    let message = message(
        "EchoMessage",
        &[
            field("text", 1, Type::String),
            field("data", 2, Type::Bytes),
            field("count", 3, Type::Uint32),
            field("every_ms", 4, Type::Uint32),
            field("status", 5, Type::Uint32),
            field("status_message", 6, Type::String),
            field("number", 7, Type::Uint32),
        ],
    );
    let summary = [field("messages", 1, Type::Uint32), field("bytes", 2, Type::Uint64)];
    let method =
        |name, output, client, server| method("squall.echo.v1", (name, "EchoMessage", output), (client, server));
    let methods = vec![
        method("Echo", "EchoMessage", false, false),
        method("Repeat", "EchoMessage", false, true),
        method("Collect", "EchoSummary", true, false),
        method("Chat", "EchoMessage", true, true),
    ];
    file(
        ("squall/echo/v1/echo.proto", "squall.echo.v1"),
        vec![message, self::message("EchoSummary", &summary)],
        service("Echo", methods),
    )
}

fn health() -> FileDescriptorProto {
    let package = "grpc.health.v1";
    let request = message("HealthCheckRequest", &[field("service", 1, Type::String)]);
    let status = field("status", 1, Type::Enum).of(".grpc.health.v1.HealthCheckResponse.ServingStatus");
    let mut response = message("HealthCheckResponse", &[status]);
    let values = (0..).zip(["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]);
    response.enum_type.push(EnumDescriptorProto {
        name: Some("ServingStatus".into()),
        value: values
            .map(|(number, name)| EnumValueDescriptorProto {
                name: Some(name.into()),
                number: Some(number),
                ..EnumValueDescriptorProto::default()
            })
            .collect(),
        ..EnumDescriptorProto::default()
    });
    let method = |name, streams| {
        method(
            package,
            (name, "HealthCheckRequest", "HealthCheckResponse"),
            (false, streams),
        )
    };
    let methods = vec![method("Check", false), method("Watch", true)];
    file(
        ("grpc/health/v1/health.proto", package),
        vec![request, response],
        service("Health", methods),
    )
}

fn reflection(version: &str) -> FileDescriptorProto {
    let package = format!("grpc.reflection.{version}");
    let own = |name: &str| format!(".{package}.{name}");
    let in_request = |field: MessageField| field.one_of("message_request");
    let in_response = |field: MessageField| field.one_of("message_response");
    let messages = vec![
        message(
            "ServerReflectionRequest",
            &[
                field("host", 1, Type::String),
                in_request(field("file_by_filename", 3, Type::String)),
                in_request(field("file_containing_symbol", 4, Type::String)),
                in_request(field("file_containing_extension", 5, Type::Message).of(own("ExtensionRequest"))),
                in_request(field("all_extension_numbers_of_type", 6, Type::String)),
                in_request(field("list_services", 7, Type::String)),
            ],
        ),
        message(
            "ExtensionRequest",
            &[
                field("containing_type", 1, Type::String),
                field("extension_number", 2, Type::Int32),
            ],
        ),
        message(
            "ServerReflectionResponse",
            &[
                field("valid_host", 1, Type::String),
                field("original_request", 2, Type::Message).of(own("ServerReflectionRequest")),
                in_response(field("file_descriptor_response", 4, Type::Message).of(own("FileDescriptorResponse"))),
                in_response(
                    field("all_extension_numbers_response", 5, Type::Message).of(own("ExtensionNumberResponse")),
                ),
                in_response(field("list_services_response", 6, Type::Message).of(own("ListServiceResponse"))),
                in_response(field("error_response", 7, Type::Message).of(own("ErrorResponse"))),
            ],
        ),
        message(
            "FileDescriptorResponse",
            &[field("file_descriptor_proto", 1, Type::Bytes).repeated()],
        ),
        message(
            "ExtensionNumberResponse",
            &[
                field("base_type_name", 1, Type::String),
                field("extension_number", 2, Type::Int32).repeated(),
            ],
        ),
        message(
            "ListServiceResponse",
            &[field("service", 1, Type::Message).of(own("ServiceResponse")).repeated()],
        ),
        message("ServiceResponse", &[field("name", 1, Type::String)]),
        message(
            "ErrorResponse",
            &[
                field("error_code", 1, Type::Int32),
                field("error_message", 2, Type::String),
            ],
        ),
    ];
    let types = (
        "ServerReflectionInfo",
        "ServerReflectionRequest",
        "ServerReflectionResponse",
    );
    let methods = vec![method(&package, types, (true, true))];
    file(
        (&format!("grpc/reflection/{version}/reflection.proto"), &package),
        messages,
        service("ServerReflection", methods),
    )
}

/// A field of a message.
struct MessageField {
    descriptor: FieldDescriptorProto,
    /// The group of which at most one field is set.
    group: Option<&'static str>,
}

fn field(name: &str, number: i32, kind: Type) -> MessageField {
    let mut descriptor = FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        json_name: Some(camel_case(name)),
        ..FieldDescriptorProto::default()
    };
    descriptor.set_type(kind);
    descriptor.set_label(Label::Optional);
    MessageField {
        descriptor,
        group: None,
    }
}

impl MessageField {
    /// Of this message or enum, by its full name.
    fn of(mut self, name: impl Into<String>) -> MessageField {
        self.descriptor.type_name = Some(name.into());
        self
    }

    fn repeated(mut self) -> MessageField {
        self.descriptor.set_label(Label::Repeated);
        self
    }

    fn one_of(self, group: &'static str) -> MessageField {
        MessageField {
            group: Some(group),
            ..self
        }
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut text, word| {
        let (start, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        text.push_str(&start.to_ascii_uppercase());
        text.push_str(rest);
        text
    })
}

fn message(name: &str, fields: &[MessageField]) -> DescriptorProto {
    let mut groups: Vec<&str> = Vec::new();
    let mut descriptors = Vec::new();
    for MessageField { descriptor, group } in fields {
        let mut descriptor = descriptor.clone();
        if let Some(group) = group {
            let at = groups.iter().position(|known| known == group);
            let at = at.unwrap_or_else(|| {
                groups.push(group);
                groups.len() - 1
            });
            descriptor.oneof_index = i32::try_from(at).ok();
        }
        descriptors.push(descriptor);
    }
    DescriptorProto {
        name: Some(name.into()),
        field: descriptors,
        oneof_decl: groups
            .into_iter()
            .map(|name| OneofDescriptorProto {
                name: Some(name.into()),
                ..OneofDescriptorProto::default()
            })
            .collect(),
        ..DescriptorProto::default()
    }
}

/// A method with its name, the types of its messages, and which side sends several.
fn method(
    package: &str,
    (name, input, output): (&str, &str, &str),
    (client, server): (bool, bool),
) -> MethodDescriptorProto {
    MethodDescriptorProto {
        name: Some(name.into()),
        input_type: Some(format!(".{package}.{input}")),
        output_type: Some(format!(".{package}.{output}")),
        client_streaming: client.then_some(true),
        server_streaming: server.then_some(true),
        ..MethodDescriptorProto::default()
    }
}

fn service(name: &str, method: Vec<MethodDescriptorProto>) -> ServiceDescriptorProto {
    ServiceDescriptorProto {
        name: Some(name.into()),
        method,
        ..ServiceDescriptorProto::default()
    }
}

fn file(
    (name, package): (&str, &str),
    messages: Vec<DescriptorProto>,
    service: ServiceDescriptorProto,
) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(name.into()),
        package: Some(package.into()),
        message_type: messages,
        service: vec![service],
        syntax: Some("proto3".into()),
        ..FileDescriptorProto::default()
    }
}

impl File {
    fn new(file: &FileDescriptorProto) -> File {
        let mut built = File {
            name: file.name().to_owned(),
            services: Vec::new(),
            messages: Vec::new(),
            symbols: Vec::new(),
            encoded: file.encode_to_vec().into(),
        };
        let package = file.package();
        for service in &file.service {
            let name = format!("{package}.{}", service.name());
            let methods = service.method.iter().map(|method| format!("{name}.{}", method.name()));
            built.symbols.extend(methods);
            built.symbols.push(name.clone());
            built.services.push(name);
        }
        for message in &file.message_type {
            let name = format!("{package}.{}", message.name());
            let fields = message.field.iter().map(|field| format!("{name}.{}", field.name()));
            built.symbols.extend(fields);
            for group in &message.oneof_decl {
                built.symbols.push(format!("{name}.{}", group.name()));
            }
            for kind in &message.enum_type {
                // The values of an enum are named beside it, not within it.
                let values = kind.value.iter().map(|value| format!("{name}.{}", value.name()));
                built.symbols.extend(values);
                built.symbols.push(format!("{name}.{}", kind.name()));
            }
            built.symbols.push(name.clone());
            built.messages.push(name);
        }
        built
    }
}
