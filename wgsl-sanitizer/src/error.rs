//! The reasons why a shader cannot be interpreted.

/// The reason why a shader was not interpreted. There are no findings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not valid WGSL. Contains naga's message, with file, line and column.
    #[error("{0}")]
    Wgsl(String),
    /// The shader has no such entry point.
    #[error("no compute entry point `{entry}`: there is {}", listed(.available))]
    Entry {
        /// The requested entry point.
        entry: String,
        /// The compute entry points of the shader.
        available: Vec<String>,
    },
    /// The value of an `override` constant is missing, belongs to no constant, or does not fit the constant's type.
    #[error("constants of `{entry}`: {message}")]
    Constant {
        /// The entry point.
        entry: String,
        /// What is wrong.
        message: String,
    },
    /// The shader uses a construct that the interpreter does not support.
    #[error("{place}: {what} is not supported")]
    Unsupported {
        /// File, line and column of the construct.
        place: String,
        /// The construct, by its WGSL name.
        what: String,
    },
    /// The bound buffer does not fit the shader's declaration, or no buffer is bound.
    #[error("@group({group}) @binding({binding}) {name}: {ty}: {message}")]
    Binding {
        /// The number of the binding's `@group`.
        group: u32,
        /// The number of the binding's `@binding`.
        binding: u32,
        /// Name of the variable.
        name: String,
        /// Type of the variable, in WGSL.
        ty: String,
        /// What is wrong and how to correct it.
        message: String,
    },
    /// The value of a setting is invalid. The text says why.
    #[error("{0}")]
    Setting(String),
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        _ => names.join(", "),
    }
}
